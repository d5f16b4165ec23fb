"""What becomes of a test that waits for what never comes."""

from __future__ import annotations

import asyncio

import pytest

from tests.loops import new_loop


def test_a_timeout_ends_what_waits() -> None:
    """A timeout's failure, raised within uvloop, ends all that waits there, with its words."""
    ended: list[str] = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            ended.append(str(error))
            raise

    async def run() -> None:
        waiting = asyncio.gather(wait(), wait())
        await asyncio.sleep(0)  # they wait
        asyncio.get_running_loop().call_soon(pytest.fail, "Timeout")
        await waiting

    with asyncio.Runner(loop_factory=new_loop) as runner, pytest.raises(asyncio.CancelledError):
        runner.run(run())
    assert ended == ["Timeout", "Timeout"]
