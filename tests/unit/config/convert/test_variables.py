"""Variables in what is migrated and exported: by their own names, wherever they stand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from torana.config.convert.migrate import migrate
from torana.config.convert.original import Original
from torana.config.convert.report import Converted
from torana.config.convert.to_agentgateway import to_agentgateway
from torana.config.convert.to_kubernetes import to_kubernetes
from torana.config.convert.to_litellm import to_litellm

_EVERYWHERE = """
binds:
- port: 3000
  listeners:
  - name: $NAME
    routes:
    - policies:
        cors: {allowOrigins: ["*"], allowMethods: [$WORD], allowHeaders: [$WORD], exposeHeaders: [$WORD]}
        requestHeaderModifier: {set: {$WORD: $WORD}}
      backends:
      - policies:
          sessionAffinity: {header: $WORD}
        ai:
          provider: {openAI: {model: $MODEL}}
          hostOverride: "https://$HOST"
          policies:
            ai:
              overrides: {a: {b: [$WORD, "x $WORD"]}}
              defaults: {$WORD: 1}
              prompts: {prepend: [{role: $WORD, content: $WORD}]}
            requestHeaderModifier: {set: {x-a: $WORD, x-b: "b $WORD"}}
"""


def _exported(make: Callable[[Original], Converted]) -> Converted:
    return make(Original(_EVERYWHERE, "f", Path(), {}))


@pytest.mark.parametrize(
    "make",
    [
        lambda: migrate(_EVERYWHERE, "f"),
        lambda: _exported(to_agentgateway),
        lambda: _exported(to_kubernetes),
        lambda: _exported(to_litellm),
    ],
    ids=["migrate", "agentgateway", "kubernetes", "litellm"],
)
def test_no_variable_has_a_name_of_ours(make: Callable[[], Converted]) -> None:
    """A variable stands in the result and in the report as its author wrote it, even where it is an unusual place."""
    made = make()
    assert "torana-variable" not in made.text + "\n".join(map(str, made.report.findings))
    assert "$WORD" in made.text or "os.environ/WORD" in made.text


def test_litellm_reads_variables_at_any_depth() -> None:
    """A whole value is LiteLLM's reference, also in a member of a member; one in the middle of a text is to be done."""
    made = _exported(to_litellm)
    (deployment,) = yaml.safe_load(made.text)["model_list"]
    params = deployment["litellm_params"]
    assert params["extra_body"] == {"a": {"b": ["os.environ/WORD", "x $WORD"]}}
    assert params["extra_headers"] == {"x-a": "os.environ/WORD", "x-b": "b $WORD"}
    told = [each.subject for each in made.report.findings if "whole values only" in each.what]
    assert [subject.partition(": ")[2] for subject in told] == ["model", "api_base", "a", "requestHeaders.x-b"]
