"""Inbound: the body of a client's request, as the attempts to pass it on need it."""

from __future__ import annotations

import time

from torana.http.body import too_large
from torana.http.request import Request
from torana.http.server import ServerConnection
from torana.llm.multipart import Form
from torana.proxy.room import FREE, Room


class Inbound:
    """`content` is the whole body once it has been read; `spent` tells that it went upstream without being kept.

    What is spent cannot be sent again. Everything else can: a body that was gathered, and one nobody has touched yet.
    `gathering`: the body is being waited for, or never came. `gathered_at` (of time.monotonic) is when the last of it
    did, 0 where nobody waited for it. `form` is what a form goes through on its way. `kept` are the octets of it that
    were counted in the process's `room`.
    """

    __slots__ = ("client", "content", "form", "gathered_at", "gathering", "kept", "request", "room", "spent")

    def __init__(self, request: Request, client: ServerConnection, room: Room) -> None:
        self.request = request
        self.client = client
        self.content: bytes | None = None
        self.form: Form | None = None
        self.gathered_at = 0.0
        self.gathering = False
        self.kept = 0
        self.room = room
        self.spent = False

    @property
    def complete(self) -> bool:
        """Whether the client has sent all of it: before that, a wait may well be the client's."""
        return self.request.body.done

    async def gather(self, limit: int) -> bytes:
        """The whole body. Raises BODY_TOO_LARGE over `limit` octets, OVERLOADED, or the error the body failed with."""
        if self.content is None:
            length = self.request.content_length
            if length is not None and length > limit:
                raise too_large(limit)
            if length is not None and length > FREE:
                self.grow(length)
            self.gathering = True
            self.content = await self.request.body.gather(limit, self.grow)
            self.gathering = False
            if len(self.content) > FREE:
                self.grow(len(self.content))
            self.gathered_at = time.monotonic()
        elif len(self.content) > limit:
            raise too_large(limit)
        return self.content

    async def gather_if_short(self, limit: int) -> None:
        """Keep the body for further attempts, unless it is longer than `limit` octets; then it stays to be streamed.

        Raises OVERLOADED, or the error the body failed with.
        """
        body = self.request.body
        length = self.request.content_length
        if self.content is not None or (length is not None and length > limit):
            return
        if length is not None and length > FREE:
            self.grow(length)
        self.gathering = True
        await body.peek(limit, self.grow)
        self.gathering = False
        if body.size > FREE:
            self.grow(min(body.size, limit))
        if body.done and body.size <= limit:
            self.content = b"".join(body.take())
            self.gathered_at = time.monotonic()

    def grow(self, size: int) -> None:
        """So many octets of it are held, or soon will be. Raises OVERLOADED where that is too much with all others."""
        if size > FREE and size > self.kept:
            self.room.take(size - self.kept, self.kept)
            self.kept = size

    def let_go(self) -> None:
        """It went upstream, or nowhere."""
        self.content = None
        if self.kept:
            self.room.give(self.kept)
            self.kept = 0
