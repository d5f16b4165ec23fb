"""What one request costs, in a number that is the same on every machine."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

import pytest
import uvloop

from tests.unit.proxy.line import ANSWER, Line
from torana.telemetry.record import Record

BUDGET = 140
"""Python-level calls of one proxied chat request, head to account, with metrics and access log (140 on 22 November
2026). Lower it when the line gets cheaper; a change that needs more says in its commit what the calls buy."""


def test_calls_of_one_request() -> None:
    """A proxied request, warmed up, costs no more Python calls than its budget."""
    calls: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            calls[f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_qualname}"] += 1

    async def cheapest() -> Counter[str]:
        line = Line()
        try:
            for _ in range(20):
                await line.request()
            costs = []
            for _ in range(10):  # the least of some: a garbage collection in between may call hooks of its own
                calls.clear()
                sys.setprofile(count)
                try:
                    await line.request()
                finally:
                    sys.setprofile(None)
                costs.append(calls.copy())
        finally:
            line.close()
        return min(costs, key=Counter.total)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        cost = runner.run(cheapest())
    assert cost.total() <= BUDGET, "\n".join(f"{count:3} {name}" for name, count in cost.most_common())


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

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
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
