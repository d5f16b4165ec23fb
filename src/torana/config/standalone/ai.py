"""What is done to the calls of a language model, from the file's words to the model's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from torana.config.standalone.schema import ai as schema
from torana.config.standalone.schema.backends import Ai, AiProvider
from torana.config.standalone.schema.llm import LlmParams
from torana.config.standalone.schema.providers import Format as WrittenFormat
from torana.config.syntax import path_fault
from torana.config.yaml.findings import Findings
from torana.config.yaml.nodes import Path
from torana.llm.operation import Operation
from torana.model.backend import BodyEdits, Format, Message
from torana.model.route import OperationRule

_OPERATIONS = {
    "completions": Operation.CHAT_COMPLETIONS,
    "messages": Operation.MESSAGES,
    "responses": Operation.RESPONSES,
    "embeddings": Operation.EMBEDDINGS,
    "rerank": Operation.RERANK,
    "realtime": Operation.REALTIME,
    "anthropicTokenCount": Operation.COUNT_TOKENS,
    "models": Operation.MODELS,
}
"""agentgateway's names; `detect` and `passthrough` are no operations."""


def edits(policy: schema.AiPolicy) -> BodyEdits | None:
    prompts = policy.prompts or schema.Prompts()
    return body_edits(policy.overrides, policy.defaults, _messages(prompts.prepend), _messages(prompts.append))


def body_edits(
    overrides: Mapping[str, Any] | None,
    defaults: Mapping[str, Any] | None,
    prepend: tuple[Message, ...] = (),
    append: tuple[Message, ...] = (),
) -> BodyEdits | None:
    """None when nothing is changed."""
    made = BodyEdits(_members(overrides), _members(defaults), prepend, append)
    return None if made == BodyEdits() else made


def aliases(policy: schema.AiPolicy, path: Path, findings: Findings) -> tuple[tuple[str, str], ...]:
    given = policy.model_aliases or {}
    for name in given:
        if name.count("*") > 1:
            findings.error((*path, "modelAliases", name), "this name has more than one `*`", "leave one of them")
    return tuple(given.items())


def operation_rules(routes: Mapping[str, str]) -> tuple[OperationRule, ...]:
    return tuple(OperationRule(suffix, _operation(kind)) for suffix, kind in routes.items())


def formats(written: tuple[WrittenFormat, ...] | None, path: Path, findings: Findings) -> tuple[Format, ...] | None:
    if written is None:
        return None
    if not written:
        findings.error(path, "lists no format, so that nothing could be served", "list some, or leave it out")
    for index, each in enumerate(written):
        if each.path is not None:
            findings.fault((*path, index, "path"), each.path, path_fault(each.path))
    return tuple(Format(_operation(each.type), each.path) for each in written)


def check_place(given: Ai | AiProvider | LlmParams, path: Path, findings: Findings) -> None:
    """What is said of a provider's paths, wherever it stands."""
    if given.path_override is not None:
        bare = given.path_override.partition("?")[0]  # it is sent as it stands, so it may hold a query
        findings.fault((*path, "pathOverride"), given.path_override, path_fault(bare))
    if given.path_prefix is not None:
        findings.fault((*path, "pathPrefix"), given.path_prefix, path_fault(given.path_prefix))
    if given.tokenize:
        findings.error((*path, "tokenize"), "counting tokens before the call is not supported yet")


def _operation(kind: str) -> str:
    return _OPERATIONS[kind].name.lower() if kind in _OPERATIONS else kind


def _members(values: Mapping[str, Any] | None) -> tuple[tuple[str, str], ...]:
    return tuple((name, msgspec.json.encode(value).decode()) for name, value in (values or {}).items())


def _messages(written: tuple[schema.PromptMessage, ...]) -> tuple[Message, ...]:
    return tuple(Message(each.role, each.content) for each in written)
