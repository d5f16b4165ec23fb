"""Words, tokens and vectors that follow from a seed, and nothing else: no clock, no chance, no locale."""

from __future__ import annotations

import hashlib
import math
import re
import struct
import sys
from itertools import islice

# 64, so that a byte picks each as often as any other.
_WORDS = (  # noqa: SIM905 - the list literal would be 64 lines
    "river stone bridge garden morning silver window paper lantern harbour quiet meadow copper "
    "signal winter orchard gate archer ember valley marble thunder linen compass anchor forest "
    "violet mirror canyon pepper saddle temple cedar island feather hollow candle prairie ribbon "
    "summit walnut desert ladder falcon velvet timber coral glacier basket engine pigeon tunnel "
    "harvest needle oyster planet quartz rocket shadow turtle umbrella village willow zephyr"
).split()
_SENTENCE = 8  # words; short enough that an answer of the usual 16 tokens has two
_TOKEN = re.compile(r"\s*\S+|\s+")
_FRAGMENT = 4  # characters of JSON that count as one token, about what real tokenisers make of it


def sentences(seed: bytes, count: int) -> list[str]:
    """`count` tokens of made-up prose. A longer answer from the same seed begins with the same words."""
    tokens = []
    for place, byte in enumerate(hashlib.shake_256(seed).digest(count)):
        word = _WORDS[byte % len(_WORDS)]
        first, last = place % _SENTENCE == 0, place % _SENTENCE == _SENTENCE - 1
        token = f"{' ' if place else ''}{word.capitalize() if first else word}{'.' if last else ''}"
        tokens.append(sys.intern(token))  # a few hundred there are; a long answer costs 8 octets a token, not 60
    return tokens


def tokens_of(text: str, most: int) -> list[str]:
    """The first `most` tokens of a text: its words, each with the space before it. Joined they are the text again."""
    return [match.group() for match in islice(_TOKEN.finditer(text), most)]


def fragments_of(text: str) -> list[str]:
    """A JSON text cut into tokens without regard for its structure, as models stream it."""
    return [text[start : start + _FRAGMENT] for start in range(0, len(text), _FRAGMENT)]


def word(seed: bytes) -> str:
    return _WORDS[number(seed) % len(_WORDS)]


def number(seed: bytes) -> int:
    """From 0 to 99."""
    return hashlib.sha256(seed).digest()[0] % 100


def vector(seed: bytes, dimensions: int) -> bytes:
    """A vector of length 1 as little-endian 32-bit floats, which is what OpenAI's base64 form holds."""
    drawn = struct.unpack(f"<{dimensions}i", hashlib.shake_256(seed).digest(4 * dimensions))
    length = math.sqrt(sum(value * value for value in drawn)) or 1.0
    return struct.pack(f"<{dimensions}f", *[value / length for value in drawn])
