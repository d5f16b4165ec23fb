"""What one request costs, in a number that is the same on every machine."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.loops import new_loop
from tests.unit.proxy.line import ANSWER, ENDING, EVENT, Line
from torana.proxy import gateway
from torana.telemetry.record import Record

pytestmark = pytest.mark.skipif(
    not str(gateway.__file__).endswith(".py"), reason="what is compiled makes no Python calls that could be counted"
)

_HERE = Path(__file__).parent

BUDGET = 140
"""Python-level calls of one proxied chat request, head to account, with metrics and access log (140 on 22 November
2026). Lower it when the line gets cheaper; a change that needs more says in its commit what the calls buy."""

EVENT_BUDGET = 20
"""The same of a streamed event that comes alone: received, read for usage and errors, written (19)."""

BURST = 50
BURST_BUDGET = 5.5
"""The same of each event where BURST of them come in one piece (5.3)."""


def test_calls_of_one_request() -> None:
    """A proxied request, warmed up, costs no more Python calls than its budget."""

    async def requests(calls: Calls) -> None:
        line = Line()
        try:
            for _ in range(20):
                await line.request()
            for _ in range(10):
                await calls.count(line.request())
        finally:
            line.close()

    calls = _run(requests)
    assert calls.least.total() <= BUDGET, str(calls)


@pytest.mark.parametrize(("events", "budget"), [(1, EVENT_BUDGET), (BURST, BURST_BUDGET)], ids=["alone", "in-a-burst"])
def test_calls_of_one_event(events: int, budget: float) -> None:
    """A streamed event costs no more Python calls than its budget, and the client gets it as it came."""
    sent = EVENT * events

    async def stream(calls: Calls) -> None:
        line = Line()
        try:
            await line.begin()
            for _ in range(20):
                assert await line.pass_on(sent) == sent
            for _ in range(10):
                await calls.count(line.pass_on(sent))
            assert (await line.pass_on(ENDING)).endswith(b"0\r\n\r\n")
            assert await line.request() == ANSWER, "the connection goes on after the stream"
        finally:
            line.close()

    calls = _run(stream)
    assert calls.least.total() <= budget * events, str(calls)


class Calls:
    """Python calls by function, without the test's own, of the cheapest of what was counted.

    The cheapest, for a garbage collection in between may call hooks of its own.
    """

    def __init__(self) -> None:
        self._counts: list[Counter[str]] = []

    def __str__(self) -> str:
        return "\n".join(f"{count:3} {name}" for name, count in self.least.most_common())

    @property
    def least(self) -> Counter[str]:
        return min(self._counts, key=Counter.total)

    async def count(self, step: Coroutine[Any, Any, bytes]) -> None:
        calls: Counter[str] = Counter()

        def note(frame: FrameType, event: str, _: object) -> None:
            file = Path(frame.f_code.co_filename)
            if event == "call" and file.parent != _HERE:
                calls[f"{file.name}:{frame.f_code.co_qualname}"] += 1

        sys.setprofile(note)
        try:
            await step
        finally:
            sys.setprofile(None)
        self._counts.append(calls)


def _run(count: Callable[[Calls], Coroutine[Any, Any, None]]) -> Calls:
    calls = Calls()
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(count(calls))
    return calls


def test_what_they_buy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The request that is counted is a whole one: its answer is the upstream's, and its record is complete."""
    records: list[Record] = []

    async def once() -> bytes:
        line = Line()
        real = line.metrics.count

        def count(record: Record) -> None:
            records.append(record)
            real(record)

        monkeypatch.setattr(line.metrics, "count", count)
        try:
            return await line.request()
        finally:
            line.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(once()) == ANSWER
    (record,) = records
    assert (record.method, record.host, record.path) == ("POST", "localhost:3000", "/v1/chat/completions")
    assert (record.status, record.reason, record.error, record.retries) == (200, "Upstream", None, 0)
    assert (record.placement.listener, record.placement.route, record.backend) == ("listener0", "route0", "bench")
    assert (record.protocol, record.operation, record.model, record.response_model) == ("llm", "chat", "m1", "m1")
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens) == (5, 2)
    assert record.answer_bytes == len(ANSWER.partition(b"\r\n\r\n")[2])
    assert record.ended > record.started
