"""Answering: what the upstream says goes to the client in the turn of the event loop in which it arrives.

The bytes of a body are the upstream's. What is learned from them (model, usage, the first token) is read on the side.
An answer that breaks off is never made to look complete: a stream of events gets one error event in OpenAI's form, and
in every case the connection is closed without the ending that the framing asks for.
"""

from __future__ import annotations

import asyncio

from torana.errors import GatewayError, Reason
from torana.exchange import Exchange
from torana.http.message import HOP_BY_HOP, Framing, ResponseHead, end_hop, render
from torana.http.server import ServerConnection
from torana.proxy.ask import Asked
from torana.proxy.passage import MOST_READ, Rewritten
from torana.proxy.reply import listed
from torana.proxy.snapshot import CompiledRoute

_WITH_LENGTH = HOP_BY_HOP
_WITHOUT_LENGTH = HOP_BY_HOP | {b"content-length"}
_REWRITTEN = frozenset((b"content-type", b"content-length", b"content-encoding"))
_UNTRANSLATED = b"x-torana-untranslated"


async def pass_on(exchange: Exchange, client: ServerConnection, asked: Asked, route: CompiledRoute) -> None:
    """Head and body of the answer, to the end. An answer that breaks off is ended here and noted in the record.

    Raises what kept an answer that is to be gathered from being whole: ANSWER_TOO_LARGE, or what it broke off with; and
    EmptyStreamError.
    """
    head = asked.head
    record = exchange.record
    body = asked.connection.body
    passage = asked.passage
    end_hop(head.fields)
    if isinstance(passage, Rewritten):
        await _pass_rewritten(exchange, client, asked, route, passage)
        return
    whole = route.response_buffer is not None and await route.response_buffer.gather(head, body)
    chunks = passage.read(body.take())
    if asked.held:
        chunks = asked.held + chunks
    done = body.done
    if done:
        chunks += passage.end()  # before the head: a stream without a word is no answer
    record.status = head.status
    if route.after or asked.upstream.after is not None or record.untranslated:
        apply_policies(exchange, asked, route)
    framing = Framing.CHUNKED if head.framing is Framing.CLOSE or passage.resized else head.framing
    if whole and head.framing is not Framing.LENGTH:
        framing = Framing.LENGTH
        head.fields.append((b"content-length", b"content-length", b"%d" % body.size))
    parts = _head(head, framing)
    client.start(parts, framing)
    if done:
        client.finish(parts, chunks)
    else:
        client.write(chunks, parts)
        body.attach(lambda chunks: client.write(passage.read(chunks)))
        client.couple(asked.connection)  # after `attach`, which lets the upstream go on
        try:
            await body.finished()
            last = passage.end()
        except GatewayError as error:
            client.write(passage.broken(error))
            client.cut()
            record.reason = error.reason.fault.label
            record.error = f"{error.message} ({error.detail})" if error.detail else error.message
        except asyncio.CancelledError:  # the client has left; what it got is paid for all the same
            passage.tell(record)
            raise
        else:
            client.finish(None, last)
    record.answer_bytes = body.size
    passage.tell(record)


async def _pass_rewritten(
    exchange: Exchange, client: ServerConnection, asked: Asked, route: CompiledRoute, passage: Rewritten
) -> None:
    """An answer that the client gets in other words: all of it is read first."""
    head, body = asked.head, asked.connection.body
    await body.peek(MOST_READ)
    if not body.done:
        message = f"The upstream's answer is larger than {MOST_READ:,} bytes, too large to be translated."
        raise GatewayError(Reason.ANSWER_TOO_LARGE, message)
    content = passage.whole(b"".join(body.take()))
    head.fields[:] = [field for field in head.fields if field[0] not in _REWRITTEN]
    head.fields.append((b"content-type", b"content-type", b"application/json"))
    head.fields.append((b"content-length", b"content-length", b"%d" % len(content)))
    exchange.record.status = head.status
    apply_policies(exchange, asked, route)
    parts = _head(head, Framing.LENGTH)
    client.start(parts, Framing.LENGTH)
    client.finish(parts, [content] if exchange.method != b"HEAD" else None)
    exchange.record.answer_bytes = len(content)
    passage.tell(exchange.record)


def apply_policies(exchange: Exchange, asked: Asked, route: CompiledRoute) -> None:
    fields = asked.head.fields
    if asked.upstream.after is not None:
        asked.upstream.after.apply(fields)
    if exchange.record.untranslated:
        fields.append((_UNTRANSLATED, _UNTRANSLATED, listed(exchange.record.untranslated)))
    for policy in route.after:
        policy(exchange, fields)


def _head(head: ResponseHead, framing: Framing) -> list[bytes]:
    """The answer's head as it came, without what was meant for the hop to the gateway."""
    drops = _WITHOUT_LENGTH if framing is Framing.CHUNKED else _WITH_LENGTH
    parts = [b"HTTP/1.1 %d %b\r\n" % (head.status, head.phrase)]
    render(parts, head.fields, drops)
    return parts
