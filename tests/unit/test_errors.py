"""The table of reasons, and the answers made from it."""

from __future__ import annotations

import json
import re
from collections import Counter
from http import HTTPStatus

import pytest

from tests.unit.exchanges import fields
from torana.errors import GatewayError, Reason
from torana.proxy.reply import error_reply, render_reply, request_id

_LABELS = {
    "DirectResponse", "NotFound", "NoHealthyBackend", "Internal", "InvalidRequest", "Timeout", "UpstreamFailure",
    "Authorization", "ClientClosed", "RateLimit",
}  # fmt: skip
"""The values of agentgateway's `reason` label that exist here, and ClientClosed for what no answer can reach."""


def test_codes_are_unique() -> None:
    """A code names one reason: clients can tell all of them apart."""
    codes = Counter(reason.fault.code for reason in Reason)
    assert [code for code, count in codes.items() if count > 1] == []
    assert [code for code in codes if not re.fullmatch("[a-z]+(_[a-z]+)*", code)] == []


def test_no_reason_hides_another() -> None:
    """Two reasons with the same row would be one to an Enum."""
    assert len(Reason) == len(Reason.__members__)


@pytest.mark.parametrize("reason", Reason)
def test_rows(reason: Reason) -> None:
    """A status exists; the client's faults are 4xx of the types that APIs have for them, ours are 5xx."""
    fault = reason.fault
    known = {status.value for status in HTTPStatus} | {499}
    assert fault.status in known
    if fault.status < 500 or reason is Reason.HTTP_VERSION:
        assert fault.type == ("rate_limit_error" if fault.status == 429 else "invalid_request_error")
    else:
        assert fault.type == "api_error"
    assert fault.label in _LABELS


@pytest.mark.parametrize("reason", Reason)
def test_reply(reason: Reason) -> None:
    """An answer has the row's status, OpenAI's form with four keys, and the id; the detail is for the log only.

    An SDK that would ask again is told when that is of no use.
    """
    reply = error_reply(GatewayError(reason, 'No "é"\n.', "a detail", "messages[0]"), "id-1")
    assert reply.status == reason.fault.status
    hint = [] if reason.fault.mends else [("x-should-retry", "false")]
    assert reply.fields == fields(("content-type", "application/json"), ("x-request-id", "id-1"), *hint)
    assert json.loads(reply.body) == {
        "error": {
            "message": 'No "é"\n.',
            "type": reason.fault.type,
            "param": "messages[0]",
            "code": reason.fault.code,
        }
    }
    head = b"".join(render_reply(reply)).split(b"\r\n")
    assert head[0].startswith(b"HTTP/1.1 %d " % reason.fault.status)
    assert b"content-length: %d" % len(reply.body) in head


def test_what_mends() -> None:
    """A client is told not to repeat what is wrong with its request or with the configuration."""
    assert {reason for reason in Reason if reason.fault.mends} == {
        Reason.REQUEST_TIMEOUT, Reason.RATE_LIMITED, Reason.INTERNAL, Reason.BAD_ANSWER, Reason.UPSTREAM_CLOSED,
        Reason.CONNECT_FAILED, Reason.CUT_OFF, Reason.OVERLOADED, Reason.CONNECT_TIMEOUT, Reason.UPSTREAM_TIMEOUT,
    }  # fmt: skip


def test_no_param() -> None:
    """An error that is about no parameter says null."""
    assert json.loads(error_reply(GatewayError(Reason.NO_ROUTE, "x"), "i").body)["error"]["param"] is None


def test_an_error_reads_like_its_message() -> None:
    """In a traceback an error is its message, without the detail."""
    assert str(GatewayError(Reason.INTERNAL, "It failed.", "secret detail")) == "It failed."


@pytest.mark.parametrize("given", ["abc-123", "!", "~" * 128])
def test_the_clients_id_is_kept(given: str) -> None:
    """A client's own x-request-id is used when it is a short visible text."""
    assert request_id(fields(("X-Request-Id", given), ("x-request-id", "second"))) == given


@pytest.mark.parametrize("given", ["", "a b", "a\n", "é", "~" * 129, "\x00"])
def test_other_ids_are_replaced(given: str) -> None:
    """Anything else, and nothing, is replaced by an id of our own, a new one each time."""
    ours = {request_id(fields(("x-request-id", given))), request_id(fields(("x-request-id", given))), request_id([])}
    assert len(ours) == 3
    assert [one for one in ours if not re.fullmatch("[0-9a-f]{32}", one)] == []
