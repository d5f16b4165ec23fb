"""Model and usage of whole answers."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torana.llm.usage import Answer, Usage, decoded_copy, read_answer, usage_of

CHAT = {
    "prompt_tokens": 11,
    "completion_tokens": 20,
    "total_tokens": 31,
    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 7},
}


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        (CHAT, Usage(11, 20, 4, 0, 7)),
        ({**CHAT, "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 5}}, Usage(11, 20, 4, 5, 7)),
        ({"prompt_tokens": "5", "prompt_tokens_details": {"cache_write_tokens": 3}}, Usage(5, 0, 0, 3)),
        ({"prompt_tokens": 5, "total_tokens": 5}, Usage(5)),
        ({"prompt_tokens": 5, "completion_tokens": 6, "prompt_tokens_details": None}, Usage(5, 6)),
        (
            {
                "input_tokens": 9,
                "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 4},
                "output_tokens": 8,
                "output_tokens_details": {"reasoning_tokens": 2},
            },
            Usage(9, 8, 3, 4, 2),
        ),
        (
            {
                "input_tokens": 9,
                "cache_read_input_tokens": 100,
                "cache_creation_input_tokens": 10,
                "cache_creation": {"ephemeral_5m_input_tokens": 10},
                "output_tokens": 8,
            },
            Usage(119, 8, 100, 10),
        ),
        ({"input_tokens": 9, "cache_read_input_tokens": None, "output_tokens": 8}, Usage(9, 8)),
        (
            {"input_tokens": 9, "output_tokens": 8, "output_tokens_details": {"thinking_tokens": 5}},
            Usage(9, 8, reasoning_tokens=5),
        ),
        ({"prompt_tokens": "12", "completion_tokens": 3.0}, Usage(12, 3)),
        ({"prompt_tokens": None, "completion_tokens": True}, Usage()),
        ({"prompt_tokens": -1, "completion_tokens": "many"}, Usage()),
        ({"prompt_tokens": 1.5, "completion_tokens": 1e300}, Usage()),
        ({"prompt_tokens": 10**30, "completion_tokens": "9" * 5000}, Usage()),
        ({"prompt_tokens": 1, "prompt_tokens_details": [], "completion_tokens_details": "x"}, Usage(1)),
        ({}, None),
        ({"total_tokens": 3}, Usage(3)),
        ({"type": "duration", "seconds": 9}, None),
        (
            {"type": "tokens", "input_tokens": 14, "input_token_details": {"audio_tokens": 14}, "output_tokens": 45},
            Usage(14, 45),
        ),
        ({"input_tokens": 50, "output_tokens": 4160, "input_tokens_details": {"image_tokens": 40}}, Usage(50, 4160)),
        ({"billed_units": {"search_units": 1}}, None),
        ({"billed_units": {"input_tokens": 2}}, Usage(2)),
        ({"billed_units": {"input_tokens": 2}, "tokens": {"input_tokens": 9, "output_tokens": 3}}, Usage(9, 3)),
        ({"tokens": {"tokens": {"input_tokens": 1}}, "total_tokens": 1}, None),
        (None, None),
        ("12", None),
        ([], None),
    ],
)
def test_usage_has_one_meaning(usage: Any, read: Usage | None) -> None:
    """Each API family's usage reads to the same counts, totals including their parts; what is no count is 0."""
    assert usage_of(usage) == read
    assert read_answer(json.dumps({"model": "m", "usage": usage}).encode()) == Answer("m", read)


def test_usage_in_meta() -> None:
    """Cohere's rerank and embed have it in `meta`."""
    meta = {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 12, "images": 0}}
    assert read_answer(json.dumps({"id": "e", "meta": meta}).encode()) == Answer(None, Usage(12))


@pytest.mark.parametrize("body", [b"", b"oops", b"[]", b"null", b'{"usage":', b'{"usage":"\xff"}', b"\x1f\x8b"])
def test_what_is_no_answer_is_none(body: bytes) -> None:
    """An answer that is no JSON object tells nothing, and reading it does not fail."""
    assert read_answer(body) is None


@pytest.mark.parametrize("body", [b"{}", b'{"model":7,"usage":7}', b'{"model":null,"usage":null}'])
def test_an_answer_may_tell_nothing(body: bytes) -> None:
    """Members that are absent or odd are None."""
    assert read_answer(body) == Answer(None, None)


NAMES = st.sampled_from([*CHAT, "input_tokens", "output_tokens", "cached_tokens"])
SCALARS = st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text())


TOLD = {"prompt_tokens": 1, "completion_tokens": 2}
MISLEADING = st.sampled_from([
    None, "x", {"usage": TOLD}, {"model": "inner", "usage": TOLD}, [{"usage": TOLD, "model": "inner"}],
    {"choices": [], "usage": TOLD}, '"usage":{"prompt_tokens":9}', '","usage":{"prompt_tokens":9},"x":"', 'x"usage',
])  # fmt: skip


@st.composite
def long_answers(draw: st.DrawFn) -> dict[str, Any]:
    """Members in any order, one of them long, and others that look like the ones that count."""
    long = draw(st.sampled_from(["choices", "content", "output", "data", "embeddings", "results"]))
    members = {
        "model": draw(st.sampled_from(["m", "m", None, 7])),
        "usage": draw(st.sampled_from([CHAT, TOLD, {"input_tokens": 3}, {"total_tokens": 4}, None, "x"])),
        "meta": draw(st.sampled_from([None, {"tokens": {"input_tokens": 5}}])),
        long: [draw(MISLEADING), "a" * 9000, draw(MISLEADING)],
        draw(st.sampled_from(["id", 'x"usage', 'x"choices', 'x"model', "\\"])): draw(MISLEADING),
        "system_fingerprint": draw(MISLEADING),
    }
    names = draw(st.permutations(list(members)))
    return {name: members[name] for name in names[: draw(st.integers(4, len(names)))]}


@given(long_answers(), st.sampled_from([(",", ":"), (", ", ": ")]))
def test_a_long_answer_tells_what_it_would_if_it_were_short(answer: dict[str, Any], space: tuple[str, str]) -> None:
    """What a long answer tells is read from its top level alone, wherever its long member stands."""
    model = answer.get("model")
    usage = usage_of(answer.get("usage")) or usage_of(answer.get("meta"))
    expected = Answer(model if isinstance(model, str) else None, usage)
    assert read_answer(json.dumps(answer, separators=space).encode()) == expected


@pytest.mark.parametrize(
    "answer",
    [
        {"id": "x", "model": "m", "choices": [{"message": {"content": "TEXT"}}], "usage": CHAT, "service_tier": None},
        {"model": "m", "id": "x", "content": [{"text": "TEXT"}], "stop_reason": "end_turn", "usage": TOLD},
        {"object": "list", "data": [{"embedding": "TEXT"}], "model": "m", "usage": TOLD},
        {"id": "x", "model": "m", "output": [{"text": "TEXT"}], "temperature": 1, "usage": TOLD, "user": None},
    ],
    ids=["chat", "messages", "embeddings", "responses"],
)
def test_the_middle_of_a_long_answer_is_not_read(answer: dict[str, Any]) -> None:
    """An answer in the order in which providers write it is read from its ends, in microseconds whatever its size."""
    text = json.dumps(answer).encode().replace(b"TEXT", b"a" * 9000)
    told = read_answer(text)
    assert told == Answer("m", usage_of(answer["usage"]))
    assert read_answer(text.replace(b"a" * 9000, b"a" * 9000 + b"\0")) == told, "skipping would have stumbled over it"


@given(st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner)))
def test_no_value_makes_reading_fail(value: Any) -> None:
    """Usage of any type at any place reads to counts or to None."""
    usage = usage_of(value)
    assert usage is None or min(usage.input_tokens, usage.output_tokens, usage.cached_tokens) >= 0


def bare(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


TEXT = b'{"usage":{"prompt_tokens":1}}' * 20


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("", TEXT),
        ("identity", TEXT),
        ("gzip", gzip.compress(TEXT, mtime=0)),
        ("GZip ", gzip.compress(TEXT, mtime=0)),
        ("x-gzip", gzip.compress(TEXT, mtime=0)),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", bare(TEXT)),
    ],
)
def test_a_copy_is_decoded(encoding: str, packed: bytes) -> None:
    """A copy comes out of each encoding, however it is cut, up to exactly the limit."""
    pieces = [packed[at : at + 7] for at in range(0, len(packed), 7)]
    assert decoded_copy(pieces, encoding, len(TEXT)) == TEXT
    assert decoded_copy(pieces, encoding, len(TEXT) - 1) is None


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("br", b"x"),
        ("gzip, gzip", gzip.compress(TEXT, mtime=0)),
        ("gzip", TEXT),
        ("gzip", gzip.compress(TEXT, mtime=0)[:-1]),
        ("gzip", b""),
        ("deflate", b"\xff\xff"),
        ("gzip", gzip.compress(bytes(50_000_000), mtime=0)),
    ],
)
def test_what_cannot_be_decoded_is_none(encoding: str, packed: bytes) -> None:
    """An unknown encoding, damaged or cut data, and a body that unpacks to more than the limit are None."""
    assert decoded_copy([packed], encoding, 1_000_000) is None
