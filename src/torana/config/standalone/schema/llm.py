"""One address for many models: what clients may ask for, and where each is."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from torana.config.like_openai import LIKE_OPENAI
from torana.config.standalone.schema.connection import BackendAuth, BackendTls, BackendTunnel, KeyFile
from torana.config.standalone.schema.listeners import HeaderMatch, ListenerTls
from torana.config.standalone.schema.policies import Cors, HeaderModifier
from torana.config.standalone.schema.providers import CustomFormats
from torana.config.standalone.schema.record import Empty, Expression, JsonValues, Name, Port, Record
from torana.config.standalone.schema.traffic import ConditionalRateLimits, Health, RateLimit, Retry, Timeout

_NOT_YET = ("gemini", "vertex", "bedrock", "azure", "copilot")
_INSTEAD = {
    name: f"its API like OpenAI's can be had with provider: {{custom: {{}}}} and params: {{baseUrl: {place}{base}}}"
    for name, (place, base) in LIKE_OPENAI.items()
}
_PRESETS_NOT_YET = {"not_yet": _NOT_YET, "instead": _INSTEAD}

Preset = Literal[
    "openAI",
    "openai",
    "anthropic",
    "baseten",
    "cerebras",
    "cohere",
    "deepinfra",
    "deepseek",
    "fireworks",
    "groq",
    "huggingface",
    "lmstudio",
    "mistral",
    "ollama",
    "openrouter",
    "perplexity",
    "togetherai",
    "vllm",
    "xai",
]


class OwnProvider(Record, frozen=True):
    """A provider that has no name here."""

    not_yet = _NOT_YET
    instead = _INSTEAD
    exactly_one: ClassVar[tuple[str, ...]] = ("custom",)

    custom: Annotated[
        CustomFormats | None, Meta(description="A provider with an API like OpenAI's, at `params.baseUrl`.")
    ] = None


class ModelProvider(OwnProvider, frozen=True):
    """A provider that has no name here, or one of `llm.providers`. Give exactly one key."""

    exactly_one = ("custom", "reference")

    reference: Annotated[Name | None, Meta(description="The name of one of `llm.providers`.")] = None


class LlmParams(Record, frozen=True):
    """Where a provider is, its key, and the model to ask it for."""

    not_yet = (
        "awsRegion",
        "vertexRegion",
        "vertexProject",
        "azureResourceName",
        "azureResourceType",
        "azureApiVersion",
        "azureProjectName",
    )

    model: Annotated[
        Name | None, Meta(description="The provider's name for the model. Left out: the one that clients use.")
    ] = None
    api_key: Annotated[str | KeyFile | None, Meta(description="The provider's key, or the file that holds it.")] = None
    base_url: Annotated[
        str | None,
        Meta(
            description="Where the provider is: `https://api.groq.com/openai/v1` and the like, to which the endings of "
            "operations are added. Left out: the provider's own."
        ),
    ] = None
    host_override: Annotated[
        str | None, Meta(description="An older way: where to connect, as in `ai.hostOverride`.")
    ] = None
    path_override: Annotated[
        str | None, Meta(description="The path that goes on, whatever the client's; its query is dropped.")
    ] = None
    path_prefix: Annotated[str | None, Meta(description="An older way: the base path, such as `/openai/v1`.")] = None
    tokenize: Annotated[
        bool | None, Meta(description="Counting tokens before the call; only `false` is supported.")
    ] = None


class ModelPolicies(Record, frozen=True):
    """What is done to the calls of a model, and how its provider is reached."""

    not_yet: ClassVar[tuple[str, ...]] = ("promptCaching", "transformation")

    defaults: Annotated[
        JsonValues | None, Meta(description="Members of the body, with any JSON value, for calls that leave them out.")
    ] = None
    overrides: Annotated[
        JsonValues | None, Meta(description="Members of the body, with any JSON value, whatever the call says.")
    ] = None
    request_headers: Annotated[HeaderModifier | None, Meta(description="Changes headers of the request.")] = None
    response_headers: Annotated[HeaderModifier | None, Meta(description="Changes headers of the answer.")] = None
    tls: Annotated[BackendTls | None, Meta(description="TLS towards the provider, where `https://` is not enough.")] = (
        None
    )
    backend_tls: Annotated[BackendTls | None, Meta(description="An older name of `tls`.")] = field(
        default=None, name="backendTLS"
    )
    auth: Annotated[
        BackendAuth | None, Meta(description="The provider's credential, where `params.apiKey` is not enough.")
    ] = None
    health: Annotated[Health | None, Meta(description="When the provider gets no more calls for a while.")] = None
    backend_tunnel: Annotated[
        BackendTunnel | None, Meta(description="A forward proxy that the provider is reached through.")
    ] = None


class LlmProvider(Record, frozen=True):
    """A provider that several models share."""

    name: Annotated[Name, Meta(description="The name that models use: `provider: {reference: NAME}`.")]
    provider: Annotated[Preset | OwnProvider, Meta(description="Who it is.", extra=_PRESETS_NOT_YET)]
    params: Annotated[LlmParams | None, Meta(description="Where it is, and its key.")] = None
    defaults: Annotated[
        ModelPolicies | None, Meta(description="What holds for its models that do not say it themselves.")
    ] = None


class ModelMatch(Record, frozen=True):
    """Calls that a model takes besides its name; all rules given have to hold."""

    headers: Annotated[tuple[HeaderMatch, ...], Meta(description="Rules for headers.")] = ()


class LlmModel(ModelPolicies, frozen=True, kw_only=True):
    """A model that clients may ask for, and where it is."""

    not_yet = (
        "authorization",
        "finalTransformation",
        "guardrails",
        "passthrough",
        "promptCaching",
        "transformation",
    )

    name: Annotated[
        Name, Meta(description="What clients call it: a name, or the beginning or the end of names with a `*`.")
    ]
    provider: Annotated[Preset | ModelProvider, Meta(description="Who has it.", extra=_PRESETS_NOT_YET)]
    id: Annotated[str | None, Meta(description="Accepted, and without effect.")] = None
    visibility: Annotated[
        Literal["public", "internal"],
        Meta(description="`internal`: clients get at it through virtual models only, and no list shows it."),
    ] = "public"
    params: Annotated[LlmParams | None, Meta(description="Where it is, the key, and its name there.")] = None
    matches: Annotated[
        tuple[ModelMatch, ...], Meta(description="Calls it takes: any of these; all of its name when left out.")
    ] = ()


class WeightedTarget(Record, frozen=True):
    """A model's share."""

    model: Annotated[Name, Meta(description="One of `llm.models`, internal ones too.")]
    weight: Annotated[int, Meta(ge=0, description="It is picked in proportion to this; 0 is never picked.")] = 1


class Weighted(Record, frozen=True):
    """Models that share the calls."""

    targets: Annotated[tuple[WeightedTarget, ...], Meta(description="The models, and their shares.")]


class FailoverTarget(Record, frozen=True):
    """A model's turn."""

    model: Annotated[Name, Meta(description="One of `llm.models`, internal ones too.")]
    priority: Annotated[int, Meta(ge=0, description="0 is asked first; those of the same number are balanced.")] = 0


class Failover(Record, frozen=True):
    """Models of which the next takes what the ones before it cannot."""

    targets: Annotated[tuple[FailoverTarget, ...], Meta(description="The models, and their turns.")]


class ConditionalTarget(Record, frozen=True):
    """A model for some calls."""

    model: Annotated[Name, Meta(description="One of `llm.models`, internal ones too.")]
    when: Annotated[
        Expression | None,
        Meta(
            description='Of the call: `request.headers["x-tier"] == "gold"`, or a member of the body as '
            "`llmRequest.stream`. Left out, and then in the last entry only: always."
        ),
    ] = None


class ConditionalModels(Record, frozen=True):
    """Models of which the first whose condition is true takes the call."""

    targets: Annotated[tuple[ConditionalTarget, ...], Meta(description="Up to 64 models, and their conditions.")]


class Routing(Record, frozen=True):
    """Which model a virtual one stands for. Give exactly one key."""

    exactly_one = ("weighted", "failover", "conditional")

    weighted: Annotated[Weighted | None, Meta(description="Several, by shares.")] = None
    failover: Annotated[Failover | None, Meta(description="The first, and others while it cannot.")] = None
    conditional: Annotated[ConditionalModels | None, Meta(description="One, by what the call says.")] = None


class VirtualModel(Record, frozen=True):
    """A name that clients may ask for, which stands for other models."""

    name: Annotated[Name, Meta(description="What clients call it.")]
    routing: Annotated[Routing, Meta(description="What it stands for.")]


class LlmPolicies(Record, frozen=True):
    """What holds for the calls of all models."""

    not_yet = (
        "apiKey",
        "authorization",
        "basicAuth",
        "extAuthz",
        "extProc",
        "guardrails",
        "jwtAuth",
        "oidc",
        "remoteRateLimit",
        "transformations",
    )

    cors: Annotated[Cors | None, Meta(description="Which web pages of other origins may call.")] = None
    local_rate_limit: Annotated[
        tuple[RateLimit, ...] | ConditionalRateLimits | None,
        Meta(description="How many requests or tokens may come; all limits of the list hold."),
    ] = None
    timeout: Annotated[Timeout | None, Meta(description="Torana's own: how long an answer may take.")] = None
    retry: Annotated[
        Retry | None, Meta(description="Torana's own: what is sent once more when nobody has answered.")
    ] = None


class Llm(Record, frozen=True):
    """One address for many models. It listens on `port`, or is attached to `gateways`."""

    empty = Empty.REFUSED

    gateways: Annotated[
        str | tuple[str, ...] | None,
        Meta(
            description="Gateways that it is attached to: `name` or `name/listener`. Left out, and without `port`: the "
            "gateway `default`, where there is one."
        ),
    ] = None
    port: Annotated[Port | None, Meta(description="Its own port; 4000 when left out, and no gateway is there.")] = None
    tls: Annotated[ListenerTls | None, Meta(description="The certificate of its own port.")] = None
    providers: Annotated[tuple[LlmProvider, ...], Meta(description="Providers that several models share.")] = ()
    models: Annotated[
        tuple[LlmModel, ...],
        Meta(
            description="The models. An exact name comes first, then the longest pattern that fits, then the order of "
            "the list."
        ),
    ] = ()
    virtual_models: Annotated[tuple[VirtualModel, ...], Meta(description="Names that stand for other models.")] = ()
    policies: Annotated[LlmPolicies | None, Meta(description="What holds for the calls of all models.")] = None
