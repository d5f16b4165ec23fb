"""What a dialect hands to the process: a configuration that can run, and what was noticed on the way."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torana.config.problem import Problem
from torana.model.config import Config
from torana.model.secret import Secret


class Loaded(NamedTuple):
    """A configuration that can run.

    `files` are all the files it names, and the folders it was read from: when one changes, so may the configuration.
    `hidden` are values that came from environment variables, which may be secrets wherever they stand.
    """

    config: Config
    warnings: tuple[Problem, ...]
    files: tuple[Path, ...]
    hidden: frozenset[Secret]
