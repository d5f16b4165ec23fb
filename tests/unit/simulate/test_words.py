"""Words, tokens and vectors: the same from the same seed, everywhere."""

from __future__ import annotations

import math
import struct

from hypothesis import given
from hypothesis import strategies as st

from torana.simulate import words


def test_sentences_stay_as_they_are() -> None:
    """Text of a seed never changes between releases: users compare whole answers."""
    assert (
        "".join(words.sentences(b"a seed", 10))
        == "Meadow tunnel morning glacier prairie feather violet archer. Turtle quartz"
    )


@given(st.binary(), st.integers(1, 200), st.integers(1, 200))
def test_longer_begins_with_shorter(seed: bytes, one: int, other: int) -> None:
    """A longer answer of the same seed begins with the shorter one."""
    shorter, longer = sorted((one, other))
    assert words.sentences(seed, longer)[:shorter] == words.sentences(seed, shorter)


@given(st.text())
def test_tokens_join_to_their_text(text: str) -> None:
    """No character of a text is lost or moved by taking it apart."""
    assert "".join(words.tokens_of(text, 1000)) == text
    assert "".join(words.fragments_of(text)) == text


@given(st.binary(), st.integers(1, 64))
def test_vectors_have_length_one(seed: bytes, dimensions: int) -> None:
    """A vector is normalised, as those of OpenAI's models are."""
    values = struct.unpack(f"<{dimensions}f", words.vector(seed, dimensions))
    assert math.isclose(math.hypot(*values), 1.0, rel_tol=1e-5)
