"""The files that a configuration names: read once each, checked, and remembered for the watcher."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import TypeAlias

from torana.config.pem import certificates_fault, key_fault
from torana.config.yaml.findings import Findings
from torana.config.yaml.nodes import Path

ReadFile: TypeAlias = Callable[[FilePath], str]
"""The text of a file; raises OSError or UnicodeDecodeError."""


class Files:
    """Every method takes the key path that names the file, reports what is wrong there, and gives None then."""

    def __init__(self, base: FilePath, read: ReadFile, findings: Findings) -> None:
        self.read: list[FilePath] = []
        """All files named, readable or not, in the order they were met."""
        self._base = base
        self._read = read
        self._findings = findings
        self._texts: dict[FilePath, str | OSError | UnicodeDecodeError] = {}
        self._faults: dict[tuple[str, ...], str | None] = {}

    def text(self, name: str, path: Path) -> str | None:
        """The whole text of a file. A relative name counts from the configuration's own folder."""
        if not name:
            self._findings.error(path, "names no file", "give the path of a file")
            return None
        file = self._base / name
        if file not in self._texts:
            self._texts[file] = self._read_once(file)
            self.read.append(file)
        text = self._texts[file]
        if isinstance(text, str):
            return text
        if isinstance(text, OSError):
            # The reason alone: an OSError's text repeats the path, which may come from a variable.
            self._findings.error(path, f"cannot read {self._named(path, name)}: {text.strerror or 'unreadable'}")
        else:
            self._findings.error(path, f"{self._named(path, name)} is not UTF-8 text")
        return None

    def certificates(self, name: str, path: Path) -> str | None:
        """A file of one or more certificates in PEM form."""
        text = self.text(name, path)
        if text is None or not self._usable(name, path, text):
            return None
        return text

    def key(self, name: str, path: Path, cert: str | None) -> str | None:
        """The key of a certificate that was read before; without one the key cannot be checked."""
        text = self.text(name, path)
        if text is None or cert is None or not self._usable(name, path, cert, text):
            return None
        return text

    def _read_once(self, file: FilePath) -> str | OSError | UnicodeDecodeError:
        if "\0" in str(file):
            return OSError(errno.EINVAL, "no file's name holds a NUL")
        try:
            return self._read(file)
        except (OSError, UnicodeDecodeError) as error:
            return error

    def _usable(self, name: str, path: Path, *texts: str) -> bool:
        """A certificate, or a certificate and its key; the same pair is checked once."""
        if texts not in self._faults:
            self._faults[texts] = key_fault(*texts) if len(texts) == 2 else certificates_fault(*texts)
        fault = self._faults[texts]
        if fault is not None:
            self._findings.error(path, f"{self._named(path, name)} {fault}")
        return fault is None

    def _named(self, path: Path, name: str) -> str:
        hidden = self._findings.hides(path)
        return "the file that this variable names" if hidden else f"the file {self._findings.quote(path, name)}"
