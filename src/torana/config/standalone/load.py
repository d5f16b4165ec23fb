"""The way from a text to a Config: expand, compose, decode, translate; the one entry to this dialect."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from torana.config.loaded import Loaded
from torana.config.problem import ConfigError, in_order
from torana.config.standalone.decode import decode
from torana.config.standalone.expand import expand
from torana.config.standalone.files import Files, ReadFile
from torana.config.standalone.schema.file import File
from torana.config.standalone.translate import translate
from torana.config.yaml.compose import NotYamlError, compose
from torana.config.yaml.findings import Findings

_BYTE_ORDER_MARK = "\ufeff"


def read_text(path: Path) -> str:
    """Raises OSError and UnicodeDecodeError."""
    return path.read_text(encoding="utf-8")


def load(
    text: str,
    where: str,
    env: Mapping[str, str],
    base_dir: Path,
    *,
    read_file: ReadFile = read_text,
    cpus: int | None = None,
) -> Loaded:
    """Load the text of a configuration. Raises ConfigError with all problems of the step that could not be finished.

    `where` names the text in problems: a file name, `<stdin>` or `-c`. Relative file names in it count from `base_dir`.
    `cpus` is what a percentage of `workerThreads` is taken of; None asks the machine.
    """
    expansion = expand(text.removeprefix(_BYTE_ORDER_MARK), where, env)
    if expansion.problems:
        raise ConfigError(expansion.problems)
    try:
        document = compose(expansion.source)
    except NotYamlError as error:
        raise ConfigError(error.problems) from None
    findings = Findings(document)
    file = decode(File, findings)
    if file is None:
        raise ConfigError(findings.problems)
    files = Files(base_dir, read_file, findings)
    config = translate(file, env, cpus or os.cpu_count() or 1, findings, files)
    # A named backend is looked at once a use of it, so its faults are found as often.
    problems = tuple(dict.fromkeys(findings.problems))
    if findings.failed:
        raise ConfigError(problems, files.read)
    return Loaded(config, in_order(problems), tuple(files.read), expansion.source.hidden)
