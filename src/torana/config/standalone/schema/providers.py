"""The APIs that backends speak."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from torana.config.like_openai import LIKE_OPENAI
from torana.config.standalone.schema.record import Empty, Name, Record

_MODEL = "The model to use; replaces the request's. Left out: the request's."

FormatType = Annotated[
    Literal["completions", "messages", "responses", "embeddings", "rerank", "realtime", "anthropicTokenCount"],
    Meta(description="The operation.", extra={"not_yet": ("generateContent", "geminiCountTokens")}),
]


class OpenAi(Record, frozen=True):
    """OpenAI's API, at `api.openai.com` or, with `hostOverride`, at any provider that offers the same."""

    not_yet = ("moderation",)
    empty = Empty.REFUSED

    model: Annotated[Name | None, Meta(description=_MODEL)] = None


class Anthropic(Record, frozen=True):
    """Anthropic's API, at `api.anthropic.com`; its key goes into `x-api-key`."""

    empty = Empty.REFUSED

    model: Annotated[Name | None, Meta(description=_MODEL)] = None


class Format(Record, frozen=True):
    """An operation that a provider serves."""

    type: FormatType
    path: Annotated[
        str | None, Meta(description="Its path, where that is not the base path and the operation's ending.")
    ] = None


class CustomFormats(Record, frozen=True):
    """Any provider that speaks an API like OpenAI's."""

    empty = Empty.REFUSED

    provider_override: Annotated[Name | None, Meta(description="What logs and metrics call it.")] = None
    formats: Annotated[
        tuple[Format, ...] | None,
        Meta(description="What it serves: other calls are translated, where they can be. Left out: everything."),
    ] = None


class Custom(CustomFormats, frozen=True):
    """An OpenAI-style provider without a place of its own: needs `hostOverride` or `urlRewrite.authority`."""

    model: Annotated[Name | None, Meta(description=_MODEL)] = None


class Provider(Record, frozen=True):
    """Which API the backend speaks. Give exactly one key."""

    not_yet = ("gemini", "vertex", "bedrock", "azure", "azureOpenAI", "copilot")
    instead: ClassVar[Mapping[str, str]] = {
        name: f"its API like OpenAI's can be had with provider: {{custom: {{}}}}, hostOverride: {place} and "
        f"pathPrefix: {base}"
        for name, (place, base) in LIKE_OPENAI.items()
    }
    exactly_one = ("openAI", "anthropic", "custom")
    spellings: ClassVar[Mapping[str, str]] = {"openai": "openAI"}

    open_ai: Annotated[OpenAi | None, Meta(description="OpenAI, or a provider that offers OpenAI's API.")] = field(
        default=None, name="openAI"
    )
    anthropic: Annotated[Anthropic | None, Meta(description="Anthropic, or a provider that offers its API.")] = None
    custom: Annotated[Custom | None, Meta(description="An OpenAI-style provider without a place of its own.")] = None
