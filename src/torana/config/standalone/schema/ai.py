"""What is done to the calls of a language model."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from torana.config.standalone.schema.record import JsonValues, Name, Record

RouteType = Annotated[
    Literal[
        "completions",
        "messages",
        "responses",
        "embeddings",
        "rerank",
        "realtime",
        "anthropicTokenCount",
        "models",
        "detect",
        "passthrough",
    ],
    Meta(extra={"not_yet": ("generateContent", "geminiCountTokens")}),
]


class PromptMessage(Record, frozen=True):
    """A message that is put into every conversation."""

    role: Annotated[Name, Meta(description="Who says it, such as `system`.")]
    content: Annotated[str, Meta(description="What is said.")]


class Prompts(Record, frozen=True):
    """Messages that are put into every conversation."""

    prepend: Annotated[tuple[PromptMessage, ...], Meta(description="Before the client's.")] = ()
    append: Annotated[tuple[PromptMessage, ...], Meta(description="Behind the client's.")] = ()


class AiPolicy(Record, frozen=True):
    """What is done to calls: `overrides`, then `defaults`, `modelAliases` and `prompts`."""

    not_yet = ("promptGuard", "transformations", "finalTransformations", "promptCaching")

    defaults: Annotated[
        JsonValues | None, Meta(description="Members of the body, with any JSON value, for calls that leave them out.")
    ] = None
    overrides: Annotated[
        JsonValues | None, Meta(description="Members of the body, with any JSON value, whatever the call says.")
    ] = None
    prompts: Annotated[Prompts | None, Meta(description="Messages that are put into every conversation.")] = None
    model_aliases: Annotated[
        dict[str, Name] | None,
        Meta(
            description="Other names for models: what a call may say, and what goes on. An exact name comes first, "
            "then the longest that has a `*` and fits."
        ),
    ] = None
    routes: Annotated[
        dict[str, RouteType] | None,
        Meta(
            description="What requests are, by the ending of their path: the longest that fits, `*` for all others; "
            "chat completions where none fits. Left out: what the path looks like."
        ),
    ] = None
