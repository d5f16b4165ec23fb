"""The operations endpoints while something is in their way: an address that is not there, numbers that take long."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from tests.http.conftest import Connect
from tests.http.wire import TIMEOUT
from tests.ports import free_port
from torana.admin import endpoints
from torana.admin.endpoints import AdminError, Endpoints
from torana.model.config import Settings
from torana.telemetry.series import State
from torana.telemetry.trouble import Trouble


class _Subject:
    """A gateway of which there is nothing to tell."""

    workers = 1
    synchronized = True
    troubles: tuple[Trouble, ...] = ()

    def __init__(self) -> None:
        self.pending: list[str] = []

    async def states(self) -> list[State]:
        return []

    def dump(self) -> Any:
        return {}

    def quit(self) -> None:
        """It goes on."""


@pytest.fixture
async def operations() -> AsyncIterator[Endpoints]:
    made = Endpoints(_Subject())
    yield made
    made.close()


def _only(**addresses: str) -> Settings:
    none = Settings(admin_address=None, stats_address=None, readiness_address=None)
    return msgspec.structs.replace(none, **addresses)


def _stands_for(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    async def resolve(_: str) -> list[str]:
        return [*addresses]

    monkeypatch.setattr(endpoints, "_addresses", resolve)


async def test_a_host_that_is_there_in_part(
    operations: Endpoints, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a host's addresses those that the machine has are enough: `localhost` is ::1 too, where IPv6 is off."""
    _stands_for(monkeypatch, "2001:db8::1", "127.0.0.1")
    port = free_port()
    await operations.start(_only(admin_address=f"localhost:{port}"))
    wire = await connect(port)
    await wire.send(b"GET /config_dump HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (await wire.message()).status == 200


async def test_a_host_that_is_not_there(operations: Endpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host without any address of this machine is refused, and the setting is named."""
    _stands_for(monkeypatch, "2001:db8::1")
    with pytest.raises(AdminError, match=r"config\.adminAddr\): Cannot assign requested address"):
        await operations.start(_only(admin_address=f"elsewhere.test:{free_port()}"))


async def test_a_port_that_is_taken(operations: Endpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that is taken at one of a host's addresses is refused, whatever there is at the others."""
    _stands_for(monkeypatch, "127.0.0.1", "2001:db8::1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AdminError, match=r"config\.adminAddr\): Address already in use"):
            await operations.start(_only(admin_address=f"localhost:{port}"))


async def test_numbers_that_take_long(operations: Endpoints, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the numbers of a scrape are made into text, the event loop serves others."""
    asked, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow(*_: object, **__: object) -> tuple[bytes, str]:
        loop.call_soon_threadsafe(asked.set)
        return b"done\n" if go_on.wait(TIMEOUT) else b"the loop was held up\n", "text/plain"

    monkeypatch.setattr(endpoints, "render", slow)
    port = free_port()
    await operations.start(_only(stats_address=f"127.0.0.1:{port}"))
    wire = await connect(port)
    await wire.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(2 * TIMEOUT):
        await asked.wait()
    go_on.set()
    assert (await wire.message()).body == b"done\n"
