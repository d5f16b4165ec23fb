"""What the configuration changes in a body, byte for byte."""

from __future__ import annotations

import pytest

from torana.errors import GatewayError, Reason
from torana.llm.edits import Aliases, Edits
from torana.llm.operation import Operation
from torana.model.backend import BodyEdits, Message

CHAT = Operation.CHAT_COMPLETIONS
BE_KIND = Message("system", "Be kind.")
BYE = Message("user", "Bye \u00fc.")


def made(body: bytes, edits: BodyEdits, operation: Operation = CHAT) -> bytes:
    return Edits(edits).made(body, operation)


BODY = b'{ "model" : "m",\n "top_p": 0.50, "logit_bias": { "1" : 1.0, "1": 2 }, "user": null }'


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        (BodyEdits(), BODY),
        (BodyEdits(defaults=(("top_p", "1"), ("user", '"u"'))), BODY),
        (BodyEdits(defaults=(("seed", "7"),)), BODY[:-2] + b',"seed":7 }'),
        (BodyEdits(overrides=(("top_p", "1"),)), BODY.replace(b"0.50", b"1")),
        (BodyEdits(overrides=(("seed", '{"a":[]}'),)), BODY[:-2] + b',"seed":{"a":[]} }'),
        (BodyEdits(overrides=(("seed", "1"),), defaults=(("seed", "2"),)), BODY[:-2] + b',"seed":1 }'),
        (BodyEdits(overrides=(("user", "3"),), defaults=(("user", "4"),)), BODY.replace(b"null", b"3")),
    ],
)
def test_members(edits: BodyEdits, expected: bytes) -> None:
    """A default is for what the client left out, an override wins over it and the client; no other byte changes."""
    assert made(BODY, edits) == expected


@pytest.mark.parametrize("name", ["Max_Tokens", "MAX_TOKENS", "max_to\u212aens", "max_token\u017f"])
def test_no_second_member_gets_past_an_override(name: str) -> None:
    """What is set cannot be had otherwise by a name in other letter case, which servers in Go read as the same."""
    edits = BodyEdits(overrides=(("max_tokens", "9"),), prepend=(BE_KIND,))
    body = f'{{"{name}":7,"max_tokens":8,"Messages":[],"n":1}}'.encode()
    messages = b'"messages":[{"role":"system","content":"Be kind."}]'
    assert made(body, edits) == b'{"max_tokens":9,"n":1,' + messages + b"}"
    assert made(body, BodyEdits()) == body


def test_an_empty_object() -> None:
    """A body without members gets those of the configuration."""
    assert made(b"{ }", BodyEdits(defaults=(("a", "1"),), overrides=(("b", "2"),))) == b'{"a":1,"b":2 }'


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            b'{"messages": [{"content": "\\u00fc", "x": 1.0}]}',
            '{"messages": [{"role":"system","content":"Be kind."},{"content": "\\u00fc", "x": 1.0},'
            '{"role":"user","content":"Bye ü."}]}'.encode(),
        ),
        (
            b'{"a":1}',
            '{"a":1,"messages":[{"role":"system","content":"Be kind."},{"role":"user","content":"Bye ü."}]}'.encode(),
        ),
        (
            b'{"messages": null}',
            '{"messages": [{"role":"system","content":"Be kind."},{"role":"user","content":"Bye ü."}]}'.encode(),
        ),
        (b'{"messages": 7}', b'{"messages": 7}'),
        (b'{"messages": "hi"}', b'{"messages": "hi"}'),
    ],
)
def test_messages_of_a_chat(body: bytes, expected: bytes) -> None:
    """Messages stand before and behind the client's, which stay as they came; what is no conversation is left alone."""
    assert made(body, BodyEdits(prepend=(BE_KIND,), append=(BYE,))) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"input": "hi"}', b'{"input": [{"role":"system","content":"Be kind."},{"role":"user","content":"hi"}]}'),
        (b'{"input": [ {"a": 1} ]}', b'{"input": [{"role":"system","content":"Be kind."},{"a": 1}]}'),
        (
            b'{"input": "\xff"}',
            b'{"input": [{"role":"system","content":"Be kind."},{"role":"user","content":"\xff"}]}',
        ),
        (b'{"input": null}', b'{"input": [{"role":"system","content":"Be kind."}]}'),
        (b'{"input": {}}', b'{"input": {}}'),
    ],
)
def test_messages_of_responses(body: bytes, expected: bytes) -> None:
    """Responses has its conversation in `input`, whose text, however odd, is the only message; none goes without."""
    assert made(body, BodyEdits(prepend=(BE_KIND,)), Operation.RESPONSES) == expected


@pytest.mark.parametrize("operation", [Operation.MESSAGES, Operation.COUNT_TOKENS])
@pytest.mark.parametrize(
    ("system", "between"),
    [
        (b"", b""),
        (b'"system": null, ', b""),
        (b'"system": "Yours.", ', b'{"type":"text","text":"Yours."},'),
        (b'"system": "\xff", ', b'{"type":"text","text":"\xff"},'),
        (b'"system": 7, ', b"7,"),
        (b'"system": [{"type": "text", "text": "Yours.", "n": 1.0}], ',
         b'{"type": "text", "text": "Yours.", "n": 1.0},'),
    ],
)  # fmt: skip
def test_messages_of_anthropic(operation: Operation, system: bytes, between: bytes) -> None:
    """Messages has no system role: what would be one goes into `system`, in its order; the rest as elsewhere."""
    edits = BodyEdits(prepend=(BE_KIND,), append=(Message("system", "Briefly."), Message("assistant", "{")))
    wanted = b'[{"type":"text","text":"Be kind."},' + between + b'{"type":"text","text":"Briefly."}]'
    got = made(b"{" + system + b'"messages": [ {"a": 1.0} ]}', edits, operation)
    messages = b'"messages": [{"a": 1.0},{"role":"assistant","content":"{"}]'
    if system:
        assert got == b'{"system": ' + wanted + b", " + messages + b"}"
    else:
        assert got == b"{" + messages + b',"system":' + wanted + b"}"


def test_half_an_emoji_is_no_way_around() -> None:
    """A text that was cut in the middle of a surrogate pair gets the prompts as well."""
    got = made(b'{"input":"\\ud83d"}', BodyEdits(prepend=(BE_KIND,)), Operation.RESPONSES)
    assert got == b'{"input":[{"role":"system","content":"Be kind."},{"role":"user","content":"\\ufffd"}]}'


def test_a_system_prompt_alone() -> None:
    """Where only the system prompt changes, the conversation stays as it came."""
    got = made(b'{"messages": [ 1 ]}', BodyEdits(prepend=(BE_KIND,)), Operation.MESSAGES)
    assert got == b'{"messages": [ 1 ],"system":[{"type":"text","text":"Be kind."}]}'


def test_no_conversation() -> None:
    """An operation without a conversation gets members, and no messages."""
    edits = BodyEdits(defaults=(("dimensions", "8"),), prepend=(BE_KIND,))
    assert made(b'{"input": "x"}', edits, Operation.EMBEDDINGS) == b'{"input": "x","dimensions":8}'


def test_a_conversation_by_default() -> None:
    """Messages are put around what an override says, too."""
    edits = BodyEdits(overrides=(("messages", "[1]"),), append=(Message("user", "2"),))
    assert made(b'{"messages":[0]}', edits) == b'{"messages":[1,{"role":"user","content":"2"}]}'


def test_what_is_no_object() -> None:
    """A body that is no JSON object is refused as ever."""
    with pytest.raises(GatewayError) as caught:
        made(b"[]", BodyEdits(defaults=(("a", "1"),)))
    assert caught.value.reason is Reason.BAD_JSON


@pytest.mark.parametrize(
    ("model", "target"),
    [
        ("fast", "gpt-4o-mini"), ("gpt-4", "exact"), ("gpt-4o", "long"), ("gpt-5", "short"), ("x-latest", "ending"),
        ("gpt-latest", "ending"), ("other", None), ("", None),
    ],
)  # fmt: skip
def test_aliases(model: str, target: str | None) -> None:
    """An exact name comes first, then the pattern that spells out most of the name."""
    aliases = Aliases(
        (
            ("gpt-*", "short"),
            ("gpt-4*", "long"),
            ("*-latest", "ending"),
            ("fast", "gpt-4o-mini"),
            ("gpt-4", "exact"),
        )
    )
    assert aliases.of(model) == target
