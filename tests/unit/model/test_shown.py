"""What may be shown, by name."""

from __future__ import annotations

import pytest

from torana.model.shown import is_credential, shown, shown_text


@pytest.mark.parametrize(
    ("name", "masked"),
    [
        *((name, True) for name in ("Authorization", "proxy-authorisation", "x-auth", "Cookie", "api_key", "apikey")),
        *((name, True) for name in ("passwd", "pwd", "sig", "X-Amz-Signature", "client-secret", "access_token")),
        *((name, False) for name in ("author", ":authority", "accept", "x-team", "design", "content-type", "v")),
        *((name, True) for name in ("token", "api_token", "x-tokens", "tokens_key", "refreshToken")),
        *((name, False) for name in ("tokens", "max_tokens", "max_completion_tokens", "maxOutputTokens")),
    ],
)
def test_names(name: str, masked: bool) -> None:
    """A name that sounds like a credential is one; those that only look alike are not."""
    assert is_credential(name) is masked


@pytest.mark.parametrize(
    ("text", "as_shown"),
    [
        ("/v1/x?api_key=sk-1", "/v1/x?api_key=***"),
        ("/v1/x?a=1&token=sk-1&b=2", "/v1/x?a=1&token=***&b=2"),
        ("/x?key=a?b=c&d=e", "/x?key=***&d=e"),
        ("/x?api%5Fkey=sk-1#part", "/x?api%5Fkey=***#part"),
        ("/x?key=&a=b", "/x?key=&a=b"),
        ("/x?odd=1", "/x?odd=***"),
        ("see https://a.example/?key=sk-1 and go", "see https://a.example/?key=*** and go"),
        ("key=not a query", "key=not a query"),
        ("/x", "/x"),
    ],
)
def test_parameters(text: str, as_shown: str) -> None:
    """In any text, the values of query parameters are masked by their decoded names, and nothing else is."""
    assert shown_text(text, "odd") == as_shown


def test_lists_of_names_are_no_pairs() -> None:
    """Pairs are masked wherever they stand in a list; a list of two names is none."""
    assert shown({"x": [["x-api-key", "1"], ["a", "2"]], "y": ["x-api-key", "b"]}) == {
        "x": [["x-api-key", "***"], ["a", "2"]],
        "y": ["x-api-key", "b"],
    }


@pytest.mark.parametrize(
    ("value", "as_shown"),
    [
        ('{"team": 1}', '{"team": 1}'),
        ('{"api_key":"sk-1","max_tokens":9}', '{"api_key":"***","max_tokens":9}'),
        ('[{"deep":{"token":"t"}}]', '[{"deep":{"token":"***"}}]'),
        ("{no JSON", "{no JSON"),
    ],
)
def test_members_of_json(value: str, as_shown: str) -> None:
    """What is set in bodies is JSON as text; members within it are masked by their names too."""
    assert shown({"overrides": (("metadata", value),)}) == {"overrides": [["metadata", as_shown]]}
