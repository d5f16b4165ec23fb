"""The texts that `--manifests` names: files, folders with all that is in them, and standard input."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from torana.config.problem import Problem

STDIN = "-"
_STDIN_NAME = "<stdin>"
_SUFFIXES = frozenset({".yaml", ".yml", ".json"})


class Text(NamedTuple):
    where: str
    text: str


class Texts(NamedTuple):
    """`watched` are the files and folders that were looked at: a new file changes its folder."""

    texts: list[Text]
    watched: list[Path]
    problems: list[Problem]


def read(paths: Iterable[str], stdin: str) -> Texts:
    """Files in the order given, those of a folder sorted by path. One that is named twice is read once."""
    found = Texts([], [], [])
    read_before: set[Path] = set()
    for path in paths:
        if path == STDIN:
            if any(text.where == _STDIN_NAME for text in found.texts):
                continue
            found.texts.append(Text(_STDIN_NAME, stdin))
            continue
        for file in _files(Path(path), found):
            if file not in read_before:
                read_before.add(file)
                found.watched.append(file)
                _read(file, found)
    return found


def _files(path: Path, found: Texts) -> list[Path]:
    """A name that begins with a dot is passed over within folders: `..data` is how Kubernetes mounts a ConfigMap."""
    if not path.is_dir():
        return [path]
    below = [item for item in sorted(path.rglob("*")) if not _is_hidden(item.relative_to(path))]
    found.watched.extend([path, *(item for item in below if item.is_dir())])
    files = [item for item in below if item.suffix in _SUFFIXES and item.is_file()]
    if not files:
        found.problems.append(Problem(str(path), 0, 0, "", "no manifests in this folder", "*.yaml, *.yml, *.json"))
    return files


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _read(file: Path, found: Texts) -> None:
    try:
        found.texts.append(Text(str(file), file.read_text(encoding="utf-8-sig")))
    except OSError as error:
        found.problems.append(Problem(str(file), 0, 0, "", f"cannot be read: {error.strerror}"))
    except UnicodeDecodeError as error:
        found.problems.append(Problem(str(file), 0, 0, "", f"is not UTF-8 text (byte {error.start})"))
