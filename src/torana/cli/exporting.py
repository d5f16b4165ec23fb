"""`torana export`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, TypeAlias

from torana.cli.converted import hand_over, read
from torana.cli.serve import give_up
from torana.config.convert.original import Original
from torana.config.convert.report import Converted
from torana.config.convert.to_agentgateway import to_agentgateway
from torana.config.convert.to_kubernetes import to_kubernetes
from torana.config.convert.to_litellm import to_litellm
from torana.config.problem import ConfigError
from torana.config.sources import StartError

Form: TypeAlias = Literal["litellm", "agentgateway", "kubernetes"]

_EXPORTS: Final[dict[Form, Callable[[Original], Converted]]] = {
    "litellm": to_litellm,
    "agentgateway": to_agentgateway,
    "kubernetes": to_kubernetes,
}


def export(form: Form, file: str, output: Path | None) -> None:
    try:
        original = Original(*read(file), os.environ)
    except (ConfigError, StartError) as error:
        give_up(error)
    hand_over(_EXPORTS[form](original), output)
