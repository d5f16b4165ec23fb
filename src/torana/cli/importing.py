"""`torana import`."""

from __future__ import annotations

from pathlib import Path

from torana.cli.converted import hand_over, read
from torana.cli.serve import give_up
from torana.config.convert.from_litellm import from_litellm
from torana.config.problem import ConfigError
from torana.config.sources import StartError


def import_litellm(file: str, output: Path | None) -> None:
    try:
        text, where, _ = read(file)
        converted = from_litellm(text, where)
    except (ConfigError, StartError) as error:
        give_up(error)
    hand_over(converted, output)
