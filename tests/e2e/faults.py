"""What can go wrong between a gateway and a model: places where nobody answers, and relays that break as they are told.

A relay is a StandIn that hands each request to a real model and its answer back, piece by piece: up to the point of its
fault. An answer in events is cut between events, however the model's server writes them.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from enum import Enum
from typing import NamedTuple

from tests.e2e.stand_in import HangUpError, Script, StandIn, Visit, reset, stall
from tests.e2e.wire import TIMEOUT, Headers, Reader, render_request, value

_EVENTS_BEFORE = 3  # of a stream that breaks off in its middle: the role and two pieces of text


class Point(Enum):
    """How far things go well."""

    ACCEPTED = "accepted"
    HELLO = "the gateway's TLS hello is here"
    REQUEST = "the request is here"
    HALF_HEAD = "half of the head is sent"
    HEAD = "the head is sent"
    FIRST_EVENT = "the role is sent"
    MIDDLE = "some content is sent"


class Act(Enum):
    """And what happens then."""

    CLOSE = "an orderly close"
    RESET = "a reset (TCP RST)"
    STALL = "silence, on an open connection"
    GARBAGE = "bytes that mean nothing"
    END = "the regular end of an answer that is not complete"


class Fault(NamedTuple):
    point: Point
    act: Act


def relay(model: str, fault: Fault | None = None) -> Script:
    """The script of a StandIn in front of `model` (host:port)."""
    host, _, port = model.rpartition(":")

    def script(visit: Visit) -> None:
        _break(visit, fault, Point.REQUEST)
        seen = visit.seen
        with closing(socket.create_connection((host, int(port)), TIMEOUT)) as upstream:
            upstream.sendall(render_request(int(port), seen.method, seen.target, seen.headers, seen.body))
            reader = Reader(upstream)
            first, headers = reader.head()
            head = "\r\n".join([first, *(f"{name}: {text}" for name, text in headers), "", ""]).encode()
            if fault is not None and fault.point is Point.HALF_HEAD:
                visit.send(head[: len(head) // 2])
                _do(visit, fault.act)
            visit.send(head)
            _break(visit, fault, Point.HEAD)
            _pass_on(visit, reader, headers, fault)

    return script


def break_early(provider: StandIn, fault: Fault) -> None:
    """Make a stand-in fail before it has read a request; its certificate, if any, is never used."""

    def greeting(sock: socket.socket) -> None:
        if fault.point is Point.HELLO:
            sock.recv(65536)
        if fault.act is Act.RESET:
            reset(sock)
        if fault.act is Act.STALL:
            stall(sock)
        if fault.act is Act.GARBAGE:
            sock.sendall(b"220 mail.test ESMTP\r\n")
        raise HangUpError

    provider.greeting = greeting


@contextmanager
def refusing() -> Iterator[int]:
    """A port that is taken, and that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@contextmanager
def unaccepting() -> Iterator[int]:
    """A port whose queue of connections is full: who connects there waits for ever."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
        for filler in fillers:
            filler.close()


def _pass_on(visit: Visit, reader: Reader, headers: Headers, fault: Fault | None) -> None:
    if (value(headers, "transfer-encoding") or "").lower() != "chunked":
        body = reader.body(headers)
        if fault is not None:
            visit.send(body[: len(body) // 2])
            _do(visit, fault.act)
        visit.send(body)
        return
    for number, event in enumerate(_events(reader), 1):
        visit.chunk(event)
        if number == 1:
            _break(visit, fault, Point.FIRST_EVENT)
        if number == _EVENTS_BEFORE:
            _break(visit, fault, Point.MIDDLE)
    visit.end()


def _events(reader: Reader) -> Iterator[bytes]:
    held = b""
    for chunk in iter(reader.chunk, b""):
        *events, held = (held + chunk).split(b"\n\n")
        yield from (event + b"\n\n" for event in events)


def _break(visit: Visit, fault: Fault | None, here: Point) -> None:
    if fault is not None and fault.point is here:
        _do(visit, fault.act)


def _do(visit: Visit, act: Act) -> None:
    """Never returns normally."""
    if act is Act.RESET:
        visit.reset()
    if act is Act.STALL:
        visit.stall()
    if act is Act.GARBAGE:
        visit.send(b"this is neither a head nor a chunk\r\n\r\n")
    if act is Act.END:
        visit.end()
    visit.close()
