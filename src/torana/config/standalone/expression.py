"""CEL in the file: checked when it is read, so that no request is the first to find its faults."""

from __future__ import annotations

from collections.abc import Sequence

from torana.config.yaml.findings import Findings
from torana.config.yaml.nodes import Path
from torana.policies.expression import Sees, expression_fault

_MOST_CONDITIONS = 64  # as in agentgateway; every request may have to try them all


def check_expression(text: str | None, path: Path, findings: Findings, sees: Sees, hint: str = "") -> None:
    """None is no expression. `sees` is what there is when it is evaluated."""
    fault = expression_fault(text, sees) if text is not None else None
    if text is None or fault is None:
        return
    if findings.hides(path):
        findings.error(path, "the value of this variable is no expression that can be used here", hint)
    else:
        findings.error(path, f"{findings.quote(path, text)}: {fault}", hint)


def check_conditions(
    conditions: Sequence[str | None],
    path: Path,
    findings: Findings,
    sees: Sees = Sees.REQUEST,
    key: str = "condition",
) -> None:
    """The entries of a `conditional` list, of which the first that is true is taken; None is always true.

    Each entry has its condition under `key`.
    """
    if not 1 <= len(conditions) <= _MOST_CONDITIONS:
        findings.error(path, f"has {len(conditions)} entries", f"give it from 1 to {_MOST_CONDITIONS}")
    for index, condition in enumerate(conditions):
        if condition is None and index < len(conditions) - 1:
            hint = f"give it a `{key}`, or put it last"
            findings.error((*path, index), "has no condition, so that the entries after it are never reached", hint)
        body = "a member of the body is llmRequest.NAME" if sees is Sees.CALL else ""
        check_expression(condition, (*path, index, key), findings, sees, body)
