"""The journal: bounded, readable, and without secrets."""

from __future__ import annotations

import json

import pytest

from torana.http.request import Request
from torana.simulate.journal import Journal, mask


@pytest.mark.parametrize(
    ("credential", "shown"),
    [
        ("Bearer sk-abcdefgh1234", "Bearer ***1234"),
        ("Bearer short-key", "Bearer ***"),
        ("sk-abcdefgh1234", "***1234"),
        ("session=secret; other=abcd", "***abcd"),
        ("", "***"),
    ],
)
def test_mask(credential: str, shown: str) -> None:
    """Of a credential its last four characters are shown, and none of a short one."""
    assert mask(credential) == shown


def test_credentials_of_a_request() -> None:
    """Keys are masked wherever providers take them: in headers, and in the query."""
    journal, request = Journal(), Request()
    request.query = b"api-version=1&key=canary-abcdefgh&flag&access_token="
    request.fields = [(b"x-goog-api-key", b"x-goog-api-key", b"canary-abcdefgh")]
    journal.record(request, b"")
    (entry,) = json.loads(journal.render())["requests"]
    assert entry["query"] == "api-version=1&key=***efgh&flag&access_token="
    assert entry["headers"] == {"x-goog-api-key": "***efgh"}


def test_bounds() -> None:
    """The last 100 requests are kept, and 64 KiB of each body."""
    journal = Journal()
    for number in range(101):
        request = Request()
        request.path = b"/%d" % number
        request.fields = [(b"x-a", b"X-A", b"1"), (b"x-a", b"x-a", b"2")]
        journal.record(request, b"x" * 70_000)
    requests = json.loads(journal.render())["requests"]
    assert [requests[0]["path"], requests[-1]["path"], len(requests)] == ["/1", "/100", 100]
    assert requests[0]["headers"] == {"x-a": "1, 2"}
    assert len(requests[0]["body"]) == 65_536
    assert requests[0]["truncated"]


@pytest.mark.parametrize(("body", "read"), [(b"", None), (b'{"a": 1}', {"a": 1}), (b"\xffx", "\ufffdx")])
def test_bodies(body: bytes, read: object) -> None:
    """A body is its JSON, else its text, else null."""
    journal = Journal()
    journal.record(Request(), body)
    assert json.loads(journal.render())["requests"][0]["body"] == read
