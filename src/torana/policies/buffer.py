"""buffer: bodies that are whole before they go on, within limits of their own.

An upstream gets a gathered request in one go, with its length; a client gets an answer that it has whole or not at all.
"""

from __future__ import annotations

from typing import Protocol

from torana.errors import GatewayError, Reason
from torana.exchange import Exchange
from torana.http.body import Body
from torana.http.message import Framing, ResponseHead, field
from torana.model.policy import BodyBuffer


class Gathers(Protocol):
    """The body of a request; `content` is all of it once it was gathered."""

    content: bytes | None

    async def gather_if_short(self, limit: int) -> None:
        """One longer than `limit` octets stays to be streamed."""


class RequestBuffer:
    """Gathers the body of a request. Over the limit it is refused, or with `fail_open` streamed as without."""

    def __init__(self, rule: BodyBuffer) -> None:
        self._rule = rule

    async def wait(self, _: Exchange, body: Gathers) -> None:
        """Raises BODY_TOO_LARGE, or the error the body failed with."""
        await body.gather_if_short(self._rule.max_bytes)
        fits = body.content is not None and len(body.content) <= self._rule.max_bytes
        if not fits and not self._rule.fail_open:
            raise GatewayError(
                Reason.BODY_TOO_LARGE,
                f"The request body is larger than the {self._rule.max_bytes:,} bytes that this route takes. Send a "
                "smaller one, or raise buffer.request.maxBytes in the gateway's configuration.",
            )


class ResponseBuffer:
    """Gathers the body of an answer before its head goes out.

    A stream of events is never gathered: it is sent to be read as it comes, and may have no end. What has no body, and
    with `fail_open` what is over the limit, goes out as without.
    """

    def __init__(self, rule: BodyBuffer) -> None:
        self._rule = rule

    async def gather(self, head: ResponseHead, body: Body) -> bool:
        """Whether the body is here, all of it. Raises ANSWER_TOO_LARGE, or the error the body failed with."""
        kind = field(head.fields, b"content-type") or b""
        if head.framing is Framing.NONE or kind.lower().startswith(b"text/event-stream"):
            return False
        limit = self._rule.max_bytes
        if head.framing is not Framing.LENGTH or int(field(head.fields, b"content-length") or 0) <= limit:
            await body.peek(limit)
            if body.done and body.size <= limit:
                return True
        if self._rule.fail_open:
            return False
        raise GatewayError(
            Reason.ANSWER_TOO_LARGE,
            f"The upstream's answer is larger than the {limit:,} bytes of buffer.response.maxBytes.",
        )
