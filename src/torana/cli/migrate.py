"""`torana migrate`."""

from __future__ import annotations

from pathlib import Path

from torana.cli.converted import hand_over, read
from torana.cli.serve import give_up
from torana.config.convert.migrate import migrate as convert
from torana.config.problem import ConfigError
from torana.config.sources import StartError


def migrate(file: str, output: Path | None) -> None:
    try:
        text, where, _ = read(file)
        converted = convert(text, where)
    except (ConfigError, StartError) as error:
        give_up(error)
    hand_over(converted, output)
