"""Every way an upstream can fail, with real processes: the gateway, a real model as the reserve, and what breaks.

Each call goes to a provider that fails at one point, and has a reserve. Both are relays in front of one and the same
model server; what fails by a status is `torana simulate`, and so is the reserve where it has to keep to a time itself.
What came of each is a row of docs/resilience.md.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import pytest
import trustme

from tests.e2e.conftest import Model, StartGateway, StartStandIn
from tests.e2e.faults import Act, Point, break_early, refusing, relay, unaccepting
from tests.e2e.harness import Gateway, until
from tests.e2e.resilience.failures import CASES, FIRST_CONTENT, Case
from tests.e2e.resilience.page import Page, Row
from tests.e2e.routes import bind, route
from tests.e2e.simulator import simulating
from tests.e2e.stand_in import StandIn
from tests.e2e.wire import Answer, Connection, events, value

PATH = "/v1/chat/completions"
ASKED = {"model": "smollm2", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 4, "temperature": 0}

LATE = 30.0
"""Seconds that a call may take beyond its limit, on a busy machine; only what hangs takes as long."""


class Failing(NamedTuple):
    """Where a case's call goes first: the authority, what is there if anything is, and the model it is asked for."""

    authority: str
    provider: StandIn | None = None
    model: str | None = None


class Places(NamedTuple):
    """Where calls go: each case's own, and the two reserves."""

    failing: dict[str, Failing]
    model: StandIn
    simulator: StandIn

    def reserve(self, case: Case) -> StandIn:
        return self.simulator if case.failure.limit is FIRST_CONTENT else self.model


class Line(NamedTuple):
    gateway: Gateway
    places: Places
    api_key: str


@pytest.fixture(scope="module")
def line(
    model_server: Model, shared_gateway: StartGateway, shared_stand_in: StartStandIn, trust: dict[str, str]
) -> Iterator[Line]:
    """One gateway with a route, a failing provider and a reserve for each case."""
    model, quick = shared_stand_in(), shared_stand_in()
    model.script = relay(model_server.authority)
    with ExitStack() as stack:
        simulator = f"127.0.0.1:{stack.enter_context(simulating()).port}"
        quick.script = relay(simulator)
        failing = {case.id: _failing(case, stack, shared_stand_in, model_server, simulator) for case in CASES}
        places = Places(failing, model, quick)
        text = bind(_route(case, places) for case in CASES)
        yield Line(shared_gateway(text, env=trust), places, model_server.api_key)


def _failing(case: Case, stack: ExitStack, start: StartStandIn, model: Model, simulator: str) -> Failing:
    how = case.failure.how
    if how == "unknown":
        return Failing("nobody.invalid:80")
    if how == "refusing":
        return Failing(f"127.0.0.1:{stack.enter_context(refusing())}")
    if how == "unaccepting":
        return Failing(f"127.0.0.1:{stack.enter_context(unaccepting())}")
    if how == "untrusted":
        provider = start("127.0.0.1", ca=trustme.CA())
        return Failing(f"127.0.0.1:{provider.port}", provider)
    provider = start()
    if isinstance(how, str):
        provider.script = relay(simulator)
        return Failing(f"127.0.0.1:{provider.port}", provider, how)
    if how.point in (Point.ACCEPTED, Point.HELLO):
        break_early(provider, how)
    else:
        provider.script = relay(model.authority, how)
    return Failing(f"127.0.0.1:{provider.port}", provider)


def _route(case: Case, places: Places) -> str:
    limit, failing = case.failure.limit, places.failing[case.id]
    policies = f", policies: {{{limit.text}}}" if limit is not None and limit.of_provider else ""
    model = f"{{model: {failing.model}}}" if failing.model else "{}"
    scheme = "https" if case.failure.tls else "http"
    first = f'{{name: it, hostOverride: "{scheme}://{failing.authority}", provider: {{openAI: {model}}}{policies}}}'
    second = (
        f'{{name: reserve, hostOverride: "http://127.0.0.1:{places.reserve(case).port}", provider: {{openAI: {{}}}}}}'
    )
    groups = f"groups: [{{providers: [{first}]}}, {{providers: [{second}]}}]"
    return route(
        case.id,
        f"hostnames: [{case.id}.test]\n      backends: [{{ai: {{{groups}}}}}]",
        limit.text if limit is not None and not limit.of_provider else "",
        "{}",
    )


@pytest.fixture(scope="module")
def page(request: pytest.FixtureRequest) -> Iterator[Page | None]:
    """The page as it is; with `--golden-rewrite` one to be filled, which takes its place."""
    if not request.config.getoption("--golden-rewrite"):
        yield Page.read()
        return
    filled = Page()
    yield filled
    filled.write(_key(case) for case in CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_failure(case: Case, line: Line, page: Page, request: pytest.FixtureRequest) -> None:
    """A call whose provider fails ends as its row in docs/resilience.md says, in time, counted, and leaving nothing."""
    failing, reserve = line.places.failing[case.id], line.places.reserve(case)
    retries, asked = _metric(line, "retries_total"), len(reserve.seen)
    began = time.monotonic()
    answer = _call(line, case)
    took = time.monotonic() - began
    saved = len(reserve.seen) > asked
    if saved:
        took = reserve.seen[-1].at - began
        assert [value(seen.headers, "x-retry-attempt") for seen in reserve.seen[asked:]] == ["1"]
    logged = line.gateway.wait_for_log(re.compile(rf" info request .*http\.host={case.id}\.test "))
    told = re.search(r' attempts="\S+ ([^",]+)"', logged)
    why = told[1] if told else ""

    assert ("retry.attempt=1 " in logged) == saved == (_metric(line, "retries_total") - retries == 1)
    label = f'upstream_attempt_failures_total{{backend="[^"]*",endpoint="{failing.authority}",reason="{why}"}}'
    if failing.provider is not None:
        assert _metric(line, label) == (1 if why else 0), "the failure is counted once, by the reason that the log has"
        whole = isinstance(case.failure.how, str) or case.failure.how.act is Act.END
        until(partial(_has_at_most, failing.provider, 1 if whole else 0), "the failed connection to be closed")
    until(lambda: _metric(line, "downstream_open_connections") == 0, "the client's connection to be closed")
    until(partial(_has_at_most, reserve, 1), "the reserve to have one connection, which all cases share")

    limit = case.failure.limit
    assert took < LATE + (limit.seconds if limit is not None else 0)
    when = f"after `{limit.name}`" if limit is not None and took > 0.5 * limit.seconds else "at once"
    row = Row(*_key(case), _gets(answer, case, saved), when if saved else "no", case.failure.told(why))
    if request.config.getoption("--golden-rewrite"):
        page.rows[row.key] = row
    assert row == page.rows.get(row.key), "docs/resilience.md says otherwise; `make golden` rewrites it"


def test_every_failure_is_on_the_page(request: pytest.FixtureRequest) -> None:
    """The page has a row for each failure, in their order, and no other."""
    if request.config.getoption("--golden-rewrite"):
        pytest.skip("the page is being written")
    assert list(Page.read().rows) == [_key(case) for case in CASES]


def _has_at_most(provider: StandIn, count: int) -> bool:
    """Connections: one whose answer was a whole one, if an error, is kept for the next request."""
    return provider.open <= count


def _key(case: Case) -> tuple[str, str, str]:
    return case.failure.phase, case.failure.name, "streamed" if case.stream else "whole"


def _call(line: Line, case: Case) -> Answer:
    headers = {
        "Host": f"{case.id}.test", "Authorization": f"Bearer {line.api_key}", "Content-Type": "application/json"
    }  # fmt: skip
    with Connection(line.gateway.port) as connection:
        return connection.ask("POST", PATH, headers, json.dumps({**ASKED, "stream": case.stream}).encode())


def _metric(line: Line, label: str) -> float:
    """The sum of the series whose name and labels fit the pattern."""
    pattern = re.compile(rf"^agentgateway_{label} (\S+)$", re.MULTILINE)
    return sum(float(number) for number in pattern.findall(line.gateway.metrics()))


def _gets(answer: Answer, case: Case, saved: bool) -> str:
    """What the client got, in the words of the page."""
    whose = "the reserve's" if saved else "the failing one's"
    if answer.status != 200:
        return f"{answer.status} `{answer.error['code']}`"
    if not case.stream:
        if not answer.complete:
            return "200, fewer bytes than announced"
        (choice,) = answer.json()["choices"]
        assert choice["finish_reason"]
        assert choice["message"]["content"]
        return f"200, {whose} whole answer"
    got = events(answer.body)
    if not answer.complete:
        assert "error" in got[-1], "a stream that breaks off ends with an error event"
        return f"200, what there was, then an error event (`{got[-1]['error']['code']}`)"
    _is_one_clean_stream(got)
    return f"200, {whose} whole stream"


def _is_one_clean_stream(got: list[Any]) -> None:
    """One answer from its role to its end, with nothing of another in it."""
    assert got[-1] == "[DONE]"
    chunks = [event for event in got[:-1] if event["choices"]]
    assert len({str(chunk["id"]) for chunk in chunks}) == 1
    choices = [chunk["choices"][0] for chunk in chunks]
    assert [bool(choice["delta"].get("role")) for choice in choices].count(True) == 1
    assert "".join(choice["delta"].get("content") or "" for choice in choices)
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["length"]
