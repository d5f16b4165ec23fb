"""A Secret of a file: its values as an API server would store them. None of them is ever shown.

In the documentation's heredocs the shell fills in `$MISTRAL_API_KEY` before kubectl sees it. In a file nobody does, so
such a value would be sent to the provider as it stands: it is refused, or filled in when that is asked for.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from torana.config.kubernetes.documents import Manifest
from torana.config.problem import Problem, Severity

_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_VARIABLE = re.compile(r"(?:Bearer )?\$\{?[A-Z_][A-Z0-9_]*\}?")
"""A value that is nothing but a variable, or a token that is; a password with a dollar sign in it is left in peace."""
_REFERENCE = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<name>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*)(?::-(?P<otherwise>[^}]*))?\})"
)


def stored(manifest: Manifest, env: Mapping[str, str] | None) -> tuple[dict[str, Any], list[Problem]]:
    """The members of the object, all its values under `data` in base64. `env` None leaves variables alone."""
    reader = _Reader(manifest, env)
    data = reader.data() | reader.string_data()  # Secret API: stringData wins over data
    return {"data": data, "stringData": None}, reader.problems


def values(body: dict[str, Any]) -> list[str]:
    """The texts of a stored Secret, as far as they are texts."""
    found = (base64.b64decode(value) for value in body.get("data", {}).values())
    return [text for text in (value.decode("utf-8", "ignore").strip() for value in found) if text]


class _Reader:
    def __init__(self, manifest: Manifest, env: Mapping[str, str] | None) -> None:
        self._manifest = manifest
        self._env = env
        self.problems: list[Problem] = []

    def data(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, value in self._entries("data"):
            try:
                decoded = base64.b64decode("".join(value.split()), validate=True)
            except (binascii.Error, ValueError):
                hint = "plain text belongs under stringData"
                self._error("data", name, "Invalid value: is not base64", hint)
                continue
            text = decoded.decode("utf-8", "replace").strip()
            if _VARIABLE.fullmatch(text):
                self._error("data", name, "a variable that nobody has filled in, in base64", "encode its value")
            found[name] = base64.b64encode(decoded).decode()
        return found

    def string_data(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, value in self._entries("stringData"):
            text = self._expanded(name, value)
            if _VARIABLE.fullmatch(text.strip()) and self._env is None:
                hint = "pipe the file through the shell or envsubst, or give --expand-env"
                self._error("stringData", name, "a variable that nobody has filled in", hint)
            found[name] = base64.b64encode(text.encode()).decode()
        return found

    def _entries(self, field: str) -> list[tuple[str, str]]:
        """The entries that are text. One that is empty counts as absent: `$KEY` unset in a heredoc leaves that."""
        entries: list[tuple[str, str]] = []
        for name, value in (self._manifest.body.get(field) or {}).items():
            if not _KEY.fullmatch(name):
                self._error(field, name, "Invalid value: a key has letters, digits, `-`, `_` and `.` alone")
            elif value is None:
                what = "has no value, and counts as absent"
                problem = self._manifest.problem((field, name), what, "is a variable unset?", Severity.WARNING)
                self.problems.append(problem)
            elif not isinstance(value, str):
                self._error(field, name, "Invalid value: must be text", "put it in quotes")
            else:
                entries.append((name, value))
        return entries

    def _expanded(self, name: str, text: str) -> str:
        env = self._env
        if env is None:
            return text

        def value(match: re.Match[str]) -> str:
            if match["dollar"]:
                return "$"
            variable = match["name"] or match["braced"]
            if variable in env:
                return env[variable]
            if match["otherwise"] is None:
                self._error("stringData", name, f"{variable} is not set", f"export {variable}=...")
            return match["otherwise"] or ""

        return _REFERENCE.sub(value, text)

    def _error(self, field: str, name: str, what: str, hint: str = "") -> None:
        self.problems.append(self._manifest.problem((field, name), what, hint))
