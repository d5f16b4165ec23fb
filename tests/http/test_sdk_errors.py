"""What the official SDKs make of the gateway's errors: their exception classes, and whether they ask again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest

from tests.http.calls import once
from tests.http.conftest import Line, StartLine, StartUpstream, routed
from tests.http.streams import CONTENT, ROLE, stream
from tests.http.wire import until
from tests.ports import free_port
from torana.model.backend import Backend, Provider, ProviderKind, Target, alone
from torana.model.config import Limits
from torana.model.policy import RateLimit, RoutePolicies
from torana.model.route import ModelRoute, PathMatch, Route, RouteMatch

HELLO: Any = [{"role": "user", "content": "Hi"}]


def backend(port: int) -> Backend:
    return Backend("up", Target("127.0.0.1", port), provider=Provider(ProviderKind.OPENAI))


class Clients:
    """Both SDKs before one gateway; `sent` counts the requests that they make."""

    def __init__(self, line: Line, retries: int) -> None:
        self.line = line
        base = f"http://127.0.0.1:{line.port}"
        self.openai = openai.AsyncOpenAI(base_url=f"{base}/v1", api_key="k", max_retries=retries)
        self.anthropic = anthropic.AsyncAnthropic(base_url=base, api_key="k", max_retries=retries)

    async def chat(self, model: str = "m", **members: Any) -> Any:
        return await self.openai.chat.completions.create(model=model, messages=HELLO, **members)

    async def message(self, model: str = "m", **members: Any) -> Any:
        return await self.anthropic.messages.create(model=model, max_tokens=9, messages=HELLO, **members)

    def requests(self) -> int:
        return len(self.line.log.read_text().splitlines())

    async def close(self) -> None:
        await self.openai.close()
        await self.anthropic.close()


@pytest.fixture
async def clients() -> AsyncIterator[list[Clients]]:
    """Those that a test makes, closed at its end."""
    made: list[Clients] = []
    yield made
    for each_ in made:
        await each_.close()


def both(clients: list[Clients], line: Line, retries: int = 0) -> Clients:
    clients.append(Clients(line, retries))
    return clients[-1]


@pytest.mark.parametrize(
    ("status", "code", "by_openai", "by_anthropic", "kind"),
    [
        (400, "missing_model", openai.BadRequestError, anthropic.BadRequestError, "invalid_request_error"),
        (404, "model_not_found", openai.NotFoundError, anthropic.NotFoundError, "not_found_error"),
        (404, "route_not_found", openai.NotFoundError, anthropic.NotFoundError, "not_found_error"),
        (413, "request_body_too_large", openai.APIStatusError, anthropic.RequestTooLargeError, "request_too_large"),
        (429, "rate_limit_exceeded", openai.RateLimitError, anthropic.RateLimitError, "rate_limit_error"),
        (502, "upstream_closed", openai.InternalServerError, anthropic.InternalServerError, "api_error"),
        (503, "upstream_connect_failed", openai.InternalServerError, anthropic.ServiceUnavailableError,
         "overloaded_error"),
    ],
)  # fmt: skip
async def test_classes(
    status: int,
    code: str,
    by_openai: type[openai.APIStatusError],
    by_anthropic: type[anthropic.APIStatusError],
    kind: str,
    line: StartLine,
    upstream: StartUpstream,
    clients: list[Clients],
) -> None:
    """Every SDK raises the class that its users catch, with our words, code and id."""
    provider = await upstream(once())
    started = await line(limits=Limits(max_body_bytes=20 if status == 413 else 1000))
    up = backend(provider.port if status == 502 else free_port())
    models = (ModelRoute("known", (alone(up),)),)
    match code:
        case "route_not_found":
            route = Route("r", matches=(RouteMatch(PathMatch(value="/x")),), backends=(alone(up),))
        case "model_not_found" | "missing_model":
            route = Route("r", models=models)
        case "rate_limit_exceeded":
            route = Route("r", backends=(alone(up),), policies=RoutePolicies(rate_limits=(RateLimit(1, 1, 60),)))
        case _:
            route = Route("r", backends=(alone(up),))
    await started.apply(routed(started.config, route))
    sdk = both(clients, started)
    model = "" if code == "missing_model" else "m"
    if status == 429:
        with pytest.raises(openai.APIStatusError):
            await sdk.chat()  # takes what there is
    with pytest.raises(by_openai) as chat:
        await sdk.chat(model)
    assert (chat.value.status_code, chat.value.code) == (status, code)
    assert chat.value.request_id
    with pytest.raises(by_anthropic) as message:
        await sdk.message(model)
    assert message.value.status_code == status
    assert isinstance(message.value.body, dict)
    assert message.value.body["error"]["type"] == kind
    assert message.value.request_id


async def test_no_repetition_of_what_it_cannot_mend(line: StartLine, clients: list[Clients]) -> None:
    """A 500 that is a fault of the configuration is asked for once, although SDKs repeat every 500."""
    started = await line()
    await started.apply(routed(started.config, Route("empty")))
    sdk = both(clients, started, retries=2)
    for ask, error in ((sdk.chat, openai.InternalServerError), (sdk.message, anthropic.InternalServerError)):
        before = sdk.requests()
        with pytest.raises(error):
            await ask()
        await until(lambda: sdk.requests() == before + 1)  # noqa: B023 - it ends with this round


async def test_what_may_go_well_is_repeated(line: StartLine, upstream: StartUpstream, clients: list[Clients]) -> None:
    """An upstream that closes is asked again by the SDK."""
    provider = await upstream(once())
    started = await line(provider.port)
    sdk = both(clients, started, retries=1)
    with pytest.raises(openai.InternalServerError):
        await sdk.chat()
    await started.logged("UpstreamFailure")
    assert len(provider.wires) == 2


async def collect(stream: AsyncIterator[Any], into: list[Any]) -> None:
    """What came before the error stays in `into`."""
    async for event in stream:
        into.append(event)  # noqa: PERF401 - a comprehension would lose it


async def test_streams(line: StartLine, upstream: StartUpstream, clients: list[Clients]) -> None:
    """A stream that breaks off raises in the SDK, of both APIs, and is never taken for a whole one."""
    provider = await upstream(once(stream(ROLE, CONTENT, end=b"")))
    started = await line(provider.port)
    sdk = both(clients, started)
    chunks: list[Any] = []
    with pytest.raises(openai.APIError, match="closed"):
        await collect(await sdk.chat(stream=True), chunks)
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", "Hi"]
    events: list[Any] = []
    with pytest.raises(anthropic.APIStatusError, match="closed") as error:
        await collect(await sdk.message(stream=True), events)
    told = [event.type for event in events]
    assert "content_block_delta" in told
    assert "message_stop" not in told
    assert error.value.type == "api_error"


async def test_a_stream_of_responses(line: StartLine, upstream: StartUpstream, clients: list[Clients]) -> None:
    """A stream of Responses that breaks off raises in OpenAI's SDK too, in the gateway's words."""
    spoken = b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"Hi"}\n\n'
    provider = await upstream(once(stream(spoken, end=b"")))
    sdk = both(clients, await line(provider.port))
    events: list[Any] = []
    with pytest.raises(openai.APIError, match="closed") as error:
        await collect(await sdk.openai.responses.create(model="m", input="Hi", stream=True), events)
    assert [event.type for event in events] == ["response.output_text.delta"]
    assert error.value.code == "upstream_closed"


async def test_counting_and_listing(line: StartLine, clients: list[Clients]) -> None:
    """Both SDKs read the list of models, and Anthropic's an estimate of tokens."""
    started = await line()
    models = tuple(ModelRoute(name, (alone(backend(free_port())),)) for name in ("gpt-4o", "claude"))
    await started.apply(routed(started.config, Route("llm", models=models)))
    sdk = both(clients, started)
    assert [model.id async for model in sdk.openai.models.list()] == ["gpt-4o", "claude"]
    assert (await sdk.openai.models.retrieve("claude")).id == "claude"
    assert [model.id async for model in sdk.anthropic.models.list()] == ["gpt-4o", "claude"]
    assert (await sdk.anthropic.models.retrieve("claude")).display_name == "claude"
    assert (await sdk.anthropic.messages.count_tokens(model="claude", messages=HELLO)).input_tokens == 5
