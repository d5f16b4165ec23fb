"""Inbound: the body of a client's request, as the attempts to pass it on need it."""

from __future__ import annotations

import time

from torana.http.body import too_large
from torana.http.request import Request
from torana.http.server import ServerConnection
from torana.llm.multipart import Form


class Inbound:
    """`content` is the whole body once it has been read; `spent` tells that it went upstream without being kept.

    What is spent cannot be sent again. Everything else can: a body that was gathered, and one nobody has touched yet.
    `gathering`: the body is being waited for, or never came. `gathered_at` (of time.monotonic) is when the last of it
    did, 0 where nobody waited for it. `form` is what a form goes through on its way.
    """

    __slots__ = ("client", "content", "form", "gathered_at", "gathering", "request", "spent")

    def __init__(self, request: Request, client: ServerConnection) -> None:
        self.request = request
        self.client = client
        self.content: bytes | None = None
        self.form: Form | None = None
        self.gathered_at = 0.0
        self.gathering = False
        self.spent = False

    @property
    def complete(self) -> bool:
        """Whether the client has sent all of it: before that, a wait may well be the client's."""
        return self.request.body.done

    async def gather(self, limit: int) -> bytes:
        """The whole body. Raises BODY_TOO_LARGE over `limit` octets, or the error the body failed with."""
        if self.content is None:
            length = self.request.content_length
            if length is not None and length > limit:
                raise too_large(limit)
            self.gathering = True
            self.content = await self.request.body.gather(limit)
            self.gathering = False
            self.gathered_at = time.monotonic()
        elif len(self.content) > limit:
            raise too_large(limit)
        return self.content

    async def gather_if_short(self, limit: int) -> None:
        """Keep the body for further attempts, unless it is longer than `limit` octets; then it stays to be streamed."""
        body = self.request.body
        length = self.request.content_length
        if self.content is not None or (length is not None and length > limit):
            return
        self.gathering = True
        await body.peek(limit)
        self.gathering = False
        if body.done and body.size <= limit:
            self.content = b"".join(body.take())
            self.gathered_at = time.monotonic()
