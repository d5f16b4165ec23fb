"""Free ports: each test process has blocks of its own, so that none is given what another one was told is free."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from itertools import chain, cycle, islice
from pathlib import Path

_PORTS = range(10_000, 32_000)
"""Below those that the kernel takes for clients, and for servers that leave it the choice."""
_BLOCK = 200
_MOST_BLOCKS = 5


def free_port() -> int:
    """A port nobody listens on, on any address; of this process alone, and not to be had again for hundreds more."""
    for port in islice(_ports, _BLOCK * _MOST_BLOCKS):
        if not (_is_taken(socket.AF_INET, "0.0.0.0", port) or _is_taken(socket.AF_INET6, "::", port)):
            return port
    raise AssertionError("no free port was found")


def _is_taken(family: socket.AddressFamily, address: str, port: int) -> bool:
    """What cannot be had for another reason, such as a machine without IPv6, is not taken."""
    try:
        with socket.socket(family) as sock:
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address, port))
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False


def _blocks() -> Iterator[range]:
    """Blocks that no other process has. A lock on a file says so, and is given back with the end of the process."""
    folder = Path(tempfile.gettempdir()) / f"torana-test-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for first in _PORTS[::_BLOCK]:
        lock = os.open(folder / str(first), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
        else:
            yield range(first, first + _BLOCK)


_ports = cycle(chain.from_iterable(islice(_blocks(), _MOST_BLOCKS)))
