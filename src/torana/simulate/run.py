"""Running the service: a port, signals, an end."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
from collections.abc import Callable

import uvloop

from torana.http.server import Server
from torana.http.sweep import Sweep
from torana.model.config import Limits
from torana.proxy.reply import refuse
from torana.simulate.dials import Dials
from torana.simulate.service import Service

_LIMITS = Limits(max_connections=1000)
_OF_THE_PORT = (errno.EADDRINUSE, errno.EACCES)
_DRAIN = 1.0  # seconds answers under way may take to finish at the end; a stalled one never would


class CannotSimulateError(Exception):
    """The address cannot be listened on; the text says why."""


def run(host: str, port: int, dials: Dials, api_key: str | None, ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM. `ready` is called once with the origin, `http://host:port`, when it is listening.

    Raises CannotSimulateError.
    """
    uvloop.run(_run(host, port, Service(dials, api_key, _LIMITS.max_body_bytes), ready))


async def _run(host: str, port: int, service: Service, ready: Callable[[str], None]) -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    bound = _bind(host, port)
    port = bound.getsockname()[1]
    sweep = Sweep()
    sweep.start()
    server = Server(service.handle, refuse, _LIMITS, sweep, port)
    listening = await server.accept_on(bound, None)
    ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
    await over.wait()
    listening.close()
    server.drain()
    await server.drained(_DRAIN)
    sweep.stop()


def _bind(host: str, port: int) -> socket.socket:
    """Port 0 takes a free one. Raises CannotSimulateError."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        is_name = isinstance(error, socket.gaierror)
        reason = error.strerror if is_name or error.errno is None else os.strerror(error.errno)
        option = "--port" if not is_name and error.errno in _OF_THE_PORT else "--host"
        raise CannotSimulateError(f"cannot listen on {host}:{port}: {reason}; choose another with {option}") from error
