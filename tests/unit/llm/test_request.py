"""A request body on its way upstream: which model it carries, and that nothing else in it changes."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from torana.errors import GatewayError, Reason
from torana.llm.request import (
    members_of,
    options_of,
    prepare,
    refused_options,
    refuses_stream_options,
    without,
    without_halves,
)

# --- which model ---


@pytest.mark.parametrize(
    ("body", "configured", "sent", "asked"),
    [
        (b'{"model":"a"}', None, "a", "a"),
        (b'{"model":"a"}', "b", "b", "a"),
        (b'{"model":"b"}', "b", "b", "b"),
        (b'{"model":""}', "b", "b", ""),
        (b'{"model":null}', "b", "b", None),
        (b'{"model":7}', "b", "b", None),
        (b'{"model":["a"]}', "b", "b", None),
        (b'{"model":"\xff"}', "b", "b", None),
        (b"{}", "b", "b", None),
        (b"{ }", "b", "b", None),
        (b'{"n":1}', "b", "b", None),
        (b'{"model":"\\u0061"}', "a", "a", "a"),
        (b'{"model":"a"}', 'b"\\\n\xe9', 'b"\\\n\xe9', "a"),
    ],
)
def test_the_configured_model_always_wins(body: bytes, configured: str | None, sent: str, asked: str | None) -> None:
    """The configured model goes upstream whatever the client wrote; without one, the client's does."""
    prepared = prepare(body, configured, add_usage=False)
    assert (prepared.model, prepared.asked_model) == (sent, asked)
    assert json.loads(prepared.body)["model"] == sent


@pytest.mark.parametrize("body", [b"{}", b'{"model":null}', b'{"model":""}'])
def test_no_model_anywhere(body: bytes) -> None:
    """A request without a model is refused with words that tell where to set one."""
    with pytest.raises(GatewayError) as caught:
        prepare(body, None, add_usage=False)
    assert caught.value.reason is Reason.MODEL_MISSING
    assert caught.value.param == "model"
    assert "configuration" in caught.value.message


@pytest.mark.parametrize("model", ["1", "{}", "true"])
def test_a_model_that_is_no_text(model: str) -> None:
    """A model that is no text is told apart from none; a configured one takes its place all the same."""
    body = b'{"model":%b}' % model.encode()
    with pytest.raises(GatewayError) as caught:
        prepare(body, None, add_usage=False)
    assert (caught.value.reason, caught.value.param) == (Reason.MODEL_NO_TEXT, "model")
    assert prepare(body, "mine", add_usage=False).body == b'{"model":"mine"}'


# --- what is refused ---


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b" \r\n", "empty"),
        (b"secret", "byte 0"),
        (b'{"model":"a"', "truncated"),
        (b'{"model":"a",}', "byte 13"),
        (b'{"model":"a"} x', "trailing characters (byte"),
        (b'{"secret":"\\ud83d is half an emoji"', "truncated"),
        (b'{"secret":"\\ud83d","x":01}', "byte 24"),
        (b'{"secret":"' + b"\\ud83d" * 100_001 + b'"}', "surrogate"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'"secret"', "must be a JSON object"),
        (b'{"secret\xff":1}', "not valid UTF-8"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        ('\ufeff{"model":"a"}'.encode(), "byte order mark"),
        ('{"model":"a"}'.encode("utf-16"), "UTF-16"),
        ('{"model":"a"}'.encode("utf-16-be"), "UTF-16"),
        ('{"model":"a"}'.encode("utf-16-le"), "UTF-16"),
        ('{"model":"a"}'.encode("utf-32"), "UTF-32"),
        (b"\x1f\x8b\x08\x00secret", "gzip"),
    ],
)
def test_what_is_no_json_object_is_refused(body: bytes, words: str) -> None:
    """A body that is no JSON object in UTF-8 is refused with the fault's kind or place, and none of the body."""
    with pytest.raises(GatewayError) as caught:
        prepare(body, "m", add_usage=True)
    assert caught.value.reason is Reason.BAD_JSON
    assert words in caught.value.message
    assert "secret" not in caught.value.message


# --- what does not change ---


@pytest.mark.parametrize("body", [b'{"model":"m","n":1}', b' { "n" : 1 ,\n\t"model" : "m" } \r\n'])
@pytest.mark.parametrize("configured", [None, "m"])
def test_nothing_to_change_returns_the_same_object(body: bytes, configured: str | None) -> None:
    """A body that needs no change is not copied."""
    assert prepare(body, configured, add_usage=True).body is body


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (b'{"model":"a","x":1.0E+2}', b'{"model":"new","x":1.0E+2}'),
        (b'{ "model" : "a" , "x" : [ 1 ] }\n', b'{ "model" : "new" , "x" : [ 1 ] }\n'),
        (b'{"x": {"model": "a"}, "model":\t"a"}', b'{"x": {"model": "a"}, "model":\t"new"}'),
        (b'{"x": "\\"model\\":\\"a\\"", "model": null}', b'{"x": "\\"model\\":\\"a\\"", "model": "new"}'),
        (b'{"mod\\u0065l":"a"}', b'{"mod\\u0065l":"new"}'),
        (b'{"caf\\u00e9":1,"model":"a"}', b'{"caf\\u00e9":1,"model":"new"}'),
        (b'{"x":1}', b'{"x":1,"model":"new"}'),
        (b'{"x": 1\n}', b'{"x": 1,"model":"new"\n}'),
        (b"{ \n}", b'{"model":"new" \n}'),
        (b"{}", b'{"model":"new"}'),
    ],
)
def test_only_the_model_changes(body: bytes, sent: bytes) -> None:
    """The model's value is put in its place, or before the closing brace; the layout around it stays."""
    assert prepare(body, "new", add_usage=False).body == sent


HALVES = [
    (rb'"\ud83d"', rb'"\ufffd"'),
    (rb'"\uDE00 \uD83D"', rb'"\ufffd \ufffd"'),
    (rb'"\ud83d\ud83d\ude00\ude00"', rb'"\ufffd\ud83d\ude00\ufffd"'),
    (rb'"\\\ud83d \\ud83d \\\\\ude00"', rb'"\\\ufffd \\ud83d \\\\\ufffd"'),
    (rb'"\\ud83d\ude00 \\\ud83d\ude00"', rb'"\\ud83d\ufffd \\\ud83d\ude00"'),
    (rb'{ "\ud83d" : ["\ude00"] }', rb'{ "\ufffd" : ["\ufffd"] }'),
]


@pytest.mark.parametrize("half", [half for half, _ in HALVES])
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(
    ("body", "configured", "sent"),
    [
        (b'{"model":"a","x":%b}', None, b'{"model":"a","x":%b}'),
        (b'{"model":"a","x":%b}', "new", b'{"model":"new","x":%b}'),
        (b'{ "x" : %b , "model" : "a" }', "new", b'{ "x" : %b , "model" : "new" }'),
        (b'{"x":%b, "n": 1}', "new", b'{"x":%b, "n": 1,"model":"new"}'),
    ],
)
def test_half_an_emoji_is_passed_on(half: bytes, large: bool, body: bytes, configured: str | None, sent: bytes) -> None:
    """A text that was cut in the middle of a surrogate pair is JSON all the same, and the provider's to judge."""
    asked, expected = body % half, sent % half
    if large:
        asked, expected = padded(asked), padded(expected)
    assert prepare(asked, configured, add_usage=True).body == expected


@pytest.mark.parametrize(("half", "whole"), [*HALVES, (rb'"\ud83d\ude00 \\n \u00fc"',) * 2, (b'"a"',) * 2])
def test_half_an_emoji_where_it_must_be_read(half: bytes, whole: bytes) -> None:
    """What is read of half a pair is U+FFFD, of the same length; whole pairs and all other text stay."""
    assert without_halves(half) == whole
    assert members_of(b'{"x":%b}' % half)["x"] == msgspec.Raw(whole)


@pytest.mark.parametrize(
    ("body", "configured", "sent"),
    [
        (b'{"model":"evil","model":"good"}', "good", b'{"model":"good"}'),
        (b'{"model":"good","model":"evil"}', "good", b'{"model":"good"}'),
        (b'{"model":"evil", "n": 1, "mod\\u0065l":"good"}', "good", b'{"model":"good","n":1}'),
        (b'{"\\u006dodel":"evil","model":"x"}', "good", b'{"model":"good"}'),
        (b'{"model":"a","n":12,"n":1,"model":"b"}', None, b'{"model":"b","n":1}'),
        (b'{"model":"evil","model":"good"}', None, b'{"model":"good"}'),
        (b'{"n":1,"n":1,"model":"good"}', "good", b'{"n":1,"model":"good"}'),
        (b'{"model":"good","Model":"evil"}', "good", b'{"model":"good"}'),
        (b'{"MODEL":"good","model":"good"}', "good", b'{"model":"good"}'),
        (b'{"mOdEl":"evil"}', "good", b'{"model":"good"}'),
    ],
)
def test_no_second_model_gets_past_a_check(body: bytes, configured: str | None, sent: bytes) -> None:
    """A repeated key, an escaped key, or one in other letter case cannot carry another model than the one reported."""
    assert prepare(body, configured, add_usage=False).body == sent


def padded(body: bytes) -> bytes:
    """The same with a first member that makes it large; `body` is an object."""
    before, _, rest = body.partition(b"{")
    comma = b"" if rest.lstrip().startswith(b"}") else b","
    return before + b'{"padding":"' + b"a" * 70_000 + b'"' + comma + rest


@pytest.mark.parametrize("body", [b'{"model":"a","Model":"b"}'])
def test_look_alikes_stay_without_a_configured_model(body: bytes) -> None:
    """Where the gateway sets no model, a member that merely resembles it is the client's own business."""
    assert prepare(body, None, add_usage=False).body is body


SPACE = st.text(alphabet=" \t\n\r", max_size=2)
KEYS = st.one_of(st.sampled_from(["model", "stream", "stream_options", "messages"]), st.text(max_size=4))
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
)


class Member:
    """One member of a body, as it is written."""

    def __init__(self, before: str, key: str, colon: str, value: str, after: str) -> None:
        self.head = f"{before}{key}{colon}"
        self.value = value
        self.after = after


@st.composite
def laid_out(draw: st.DrawFn) -> tuple[dict[str, Any], list[Member]]:
    """An object without repeated names, and its members written with any space and any escapes JSON allows."""
    data = draw(st.dictionaries(KEYS, VALUES, max_size=5))
    members = []
    for name, value in data.items():
        key = json.dumps(name, ensure_ascii=draw(st.booleans()))
        space = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t: ")]))
        text = json.dumps(value, ensure_ascii=draw(st.booleans()), separators=space)
        members.append(Member(draw(SPACE), key, draw(SPACE) + ":" + draw(SPACE), text, draw(SPACE)))
    return data, members


@given(laid_out(), SPACE, SPACE, st.sampled_from(["m", "gpt-4o", 'odd "name"', "\xe9"]), st.booleans())
def test_any_body_in_any_layout(
    body: tuple[dict[str, Any], list[Member]], before: str, after: str, model: str, add_usage: bool
) -> None:
    """Whatever the layout, the new values stand where the old ones stood, and all other bytes are the client's."""
    data, members = body
    raw = (before + "{" + ",".join(m.head + m.value + m.after for m in members) + "}" + after).encode()
    prepared = prepare(raw, model, add_usage)

    changed = dict(data)
    if data.get("model") != model:
        changed["model"] = model
    options = data.get("stream_options")
    unasked = options is None or (isinstance(options, dict) and options.get("include_usage") is not True)
    assert prepared.usage_added == (add_usage and data.get("stream") is True and unasked)
    if prepared.usage_added:
        changed["stream_options"] = {**(options or {}), "include_usage": True}
    assert json.loads(prepared.body) == changed

    # The layout with a gap where a value was changed or members were added; all around the gaps must be equal.
    added = b",?[^,].*" if changed.keys() != data.keys() else b""
    pattern = re.escape(before.encode()) + rb"\{"
    for number, (name, member) in enumerate(zip(data, members, strict=True), 1):
        value = re.escape(member.value.encode()) if changed[name] is data[name] else b".+"
        last = number == len(members)
        pattern += re.escape(member.head.encode()) + value + (added if last else b"")
        pattern += re.escape(member.after.encode()) + (b"" if last else b",")
    pattern += (b"" if members else added) + rb"\}" + re.escape(after.encode())
    assert re.fullmatch(pattern, prepared.body, re.DOTALL)
    if changed == data:
        assert prepared.body is raw


@given(laid_out(), st.integers(min_value=0), st.sampled_from(["model", "stream", "n"]))
def test_a_repeated_member_is_sent_once(body: tuple[dict[str, Any], list[Member]], at: int, name: str) -> None:
    """However a key is repeated, the upstream gets it once, so all parsers read the same."""
    _, members = body
    texts = [m.head + m.value + m.after for m in members]
    texts.insert(at % (len(texts) + 1), f'"{name}":1')
    texts.append(f' "{name}" : 2')
    prepared = prepare(("{" + ",".join(texts) + "}").encode(), "m", add_usage=False)
    names: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        names[:] = [key for key, _ in pairs]

    json.loads(prepared.body, object_pairs_hook=note)
    assert len(names) == len(set(names))
    assert names.count(name) == 1


@given(laid_out(), st.booleans(), st.sampled_from([None, "m"]), st.booleans())
def test_a_large_body_is_changed_as_a_small_one(
    body: tuple[dict[str, Any], list[Member]], compact: bool, model: str | None, repeats: bool
) -> None:
    """What is cut into pieces, for it is large, comes out as it would if it were small."""
    data, members = body
    small = b"{" + b",".join((m.head + m.value + m.after).encode() for m in members) + b"}"
    if compact:
        small = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    if repeats and members:
        small = small[:-1] + f',{members[0].head}"again"'.encode() + b"}"
    results: list[tuple[bytes, str, bool] | Reason] = []
    for each in (small, padded(small)):
        try:
            prepared = prepare(each, model, add_usage=True)
        except GatewayError as error:
            results.append(error.reason)
        else:
            sent = prepared.body if each is not small else padded(prepared.body)
            results.append((sent, prepared.model, prepared.usage_added))
    assert results[0] == results[1]


def test_a_large_compact_body_is_not_copied() -> None:
    """Of a large body in compact JSON only what changes is made anew; without changes it is the client's own object."""
    body = padded(b'{"model":"a","stream":true}')
    first, model, second, added, end = prepare(body, "new", add_usage=True).pieces
    assert (model, added) == (b'"new"', b',"stream_options":{"include_usage":true}')
    views = [each for each in (first, second, end) if isinstance(each, memoryview)]
    assert [view.obj is body for view in views] == [True] * 3
    assert prepare(body, "a", add_usage=False).body is body


# --- asking for the stream's usage ---


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        (b"", b',"stream_options":{"include_usage":true}'),
        (b',"stream_options":null', b',"stream_options":{"include_usage":true}'),
        (b',"stream_options":{}', b',"stream_options":{"include_usage":true}'),
        (b',"stream_options":{"include_usage":false}', b',"stream_options":{"include_usage":true}'),
        (b',"stream_options":{"include_usage":null}', b',"stream_options":{"include_usage":true}'),
        (b',"stream_options":{ "x": 1 }', b',"stream_options":{"x":1,"include_usage":true}'),
        (b',"stream_options":{"include_usage":true}', None),
        (b',"stream_options":{ "include_usage" : true , "x":1}', None),
        (b',"stream_options":"odd"', None),
        (b',"stream_options":[]', None),
    ],
)
def test_usage_is_asked_for_once(options: bytes, sent: bytes | None) -> None:
    """A stream whose client did not ask for usage asks for it; other options stay, and odd ones are not touched."""
    body = b'{"model":"m","stream":true' + options + b"}"
    prepared = prepare(body, None, add_usage=True)
    assert prepared.stream
    assert prepared.usage_added == (sent is not None)
    assert prepared.body == (body if sent is None else b'{"model":"m","stream":true' + sent + b"}")
    assert prepare(body, None, add_usage=False).body is body


@pytest.mark.parametrize("stream", [b"false", b"null", b"1", b'"true"'])
def test_only_true_streams(stream: bytes) -> None:
    """Nothing but `true` is a stream, and nothing but a stream is asked for its usage."""
    body = b'{"model":"m","stream":' + stream + b"}"
    prepared = prepare(body, None, add_usage=True)
    assert not prepared.stream
    assert prepared.body is body


@pytest.mark.parametrize(
    ("status", "body", "refuses"),
    [
        (400, b'{"error":{"message":"Unknown parameter: stream_options"}}', True),
        (422, b'{"detail":[{"loc":["body","stream_options"],"msg":"Extra inputs are not permitted"}]}', True),
        (400, b'{"error":{"message":"Unknown parameter: n"}}', False),
        (500, b"stream_options", False),
        (200, b"stream_options", False),
    ],
)
def test_a_refusal_of_the_option_is_recognised(status: int, body: bytes, refuses: bool) -> None:
    """Only a 400 or 422 that names the option is a reason to ask again without it."""
    assert refuses_stream_options(status, body) is refuses


# --- what may be left out ---


@pytest.mark.parametrize(
    ("status", "body", "names"),
    [
        (400, b'{"error":{"message":"`reasoning_effort` is not supported with this model"}}', ["reasoning_effort"]),
        (400, b"Model grok-4 does not support parameter reasoningEffort.", ["reasoning_effort"]),
        (400, b'{"error":{"message":"\\"llama3\\" does not support thinking"}}', ["reasoning_effort"]),
        (422, b'{"message":"body.prompt_cache_key: property is unsupported"}', ["prompt_cache_key"]),
        (422, b'[{"loc":["body","verbosity"]},{"loc":["body","service_tier"]}]', ["verbosity", "service_tier"]),
        (400, b"Unknown parameter: n", []),
        (500, b"reasoning_effort", []),
        (200, b"reasoning_effort", []),
    ],
)
def test_refusals_name_the_options(status: int, body: bytes, names: list[str]) -> None:
    """Only a 400 or 422 that names an option, in the provider's words for it, is a reason to ask again without it."""
    assert refused_options(status, body) == names


def test_options_that_may_be_left_out() -> None:
    """Options are known by name, and by value where one value may be refused and another not."""
    body = b'{"model":"m", "reasoning_effort":"max", "prompt_cache_key":"k", "user":"u"}'
    assert options_of(body) == {"reasoning_effort": b'"max"', "prompt_cache_key": b""}
    assert without(body, ["prompt_cache_key", "x"]) == b'{"model":"m","reasoning_effort":"max","user":"u"}'
