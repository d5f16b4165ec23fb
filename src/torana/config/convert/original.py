"""A configuration of any dialect, compiled with names in place of its variables: what an export is made of.

So no value of a variable can get into what is exported. Where a number or a file has to stand, a variable cannot keep
its name: there its value is taken, and that is reported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torana.config.convert.report import Fidelity, Report
from torana.config.convert.written import masked
from torana.config.kubernetes.manifests import Manifests, Reading
from torana.config.kubernetes.objects import Options
from torana.config.problem import ConfigError, Problem
from torana.config.standalone.expand import expand, references
from torana.config.standalone.load import load, read_text
from torana.config.yaml.source import Source
from torana.model.config import Config
from torana.model.secret import Secret

_IMPLIED_PORT = 8080
_OBJECT = re.compile(r"^(?:apiVersion|kind)\s*:", re.MULTILINE)
_DOLLAR = re.compile(r"\$(?=[A-Za-z_{$])")
_NAME = re.compile(r"\$\{?([A-Za-z_]\w*)")
_DEFAULT = re.compile(r"\$\{([A-Za-z_]\w*):-[^}\n]*\}")
_OTHER = re.compile(r"[^A-Z0-9]+")


class Original:
    """The configuration, and the way from its texts back to what the user wrote."""

    def __init__(self, text: str, where: str, folder: Path, env: Mapping[str, str]) -> None:
        """Raises ConfigError."""
        self.report = Report(where)
        self._files: dict[str, str] = {}
        self._placeholders: dict[str, str] = {}
        self._folder = folder
        self._text = text
        self._masked = masked(text, where)
        try:
            self.config = self._load()
        except ConfigError as error:
            self._masked = masked(self._filled(text, error, env), where)
            try:
                self.config = self._load()
            except ConfigError as again:
                raise self._readable(again) from None

    @property
    def is_manifests(self) -> bool:
        return len(_OBJECT.findall(self._text)) > 1

    @property
    def llm_file(self) -> str | None:
        """The text as it was given, where it is a file that has `llm`."""
        listeners = (listener for bind in self.config.binds for listener in bind.listeners)
        has = any(route.models for listener in listeners for route in listener.routes)
        return self._text if has and not self.is_manifests else None

    def _load(self) -> Config:
        text = self._masked.source.text
        if self.is_manifests:
            options = Options(class_names=(), implicit_gateway=_IMPLIED_PORT)
            return Manifests(Reading(paths=("-",), stdin=text, options=options)).load().config
        return load(text, self.report.where, {}, self._folder, read_file=self._read).config

    def _read(self, path: Path) -> str:
        text = read_text(path)
        name = str(path.relative_to(self._folder)) if path.is_relative_to(self._folder) else str(path)
        self._files.setdefault(text, name)
        self._files.setdefault(text.strip(), name)
        return text

    def _filled(self, text: str, error: ConfigError, env: Mapping[str, str]) -> str:
        """The text with the values of those variables whose names cannot stand where they are."""
        filled = text
        places = {(problem.line, problem.column) for problem in error.problems}
        for match in reversed(list(references(text))):
            place = Source(self.report.where, text, text).place(match.start())
            if not places & {(place.line, place.column), (place.line, place.column - 1)}:
                continue
            made = expand(match[0], self.report.where, env)
            if made.problems:
                what = f"${_name(match)} stands for a number or a file, and has no value"
                raise ConfigError([Problem(self.report.where, place.line, place.column, "", what, "export it")])
            filled = filled[: match.start()] + made.source.text + filled[match.end() :]
            what = "its value is written out: a number or a file is needed here"
            self.report.add(Fidelity.APPROXIMATE, f"${_name(match)}", what, line=place.line)
        return filled

    def _readable(self, error: ConfigError) -> ConfigError:
        def words(text: str) -> str:
            return _DEFAULT.sub(r"${\1}", self._masked.restored(text))

        return ConfigError(
            Problem(
                self.report.where if each.where == "<stdin>" else each.where,
                each.line,
                each.column,
                each.path,
                words(each.what),
                words(each.hint),
                each.severity,
            )
            for each in error.problems
        )

    # Texts

    def text(self, text: str) -> str:
        """As a file with our variables has it: references as they were written, other dollar signs doubled."""
        return self._masked.restored(_DOLLAR.sub("$$", text))

    def plain(self, text: str) -> str:
        """References as they were written, in a file where a dollar sign is nothing special."""
        return self._masked.restored(text)

    def restored(self, tree: Any) -> Any:
        """The tree with references as they were written in every text of it, also where nobody thought of one."""
        match tree:
            case str():
                return self._masked.restored(tree)
            case list():
                return [self.restored(each) for each in tree]
            case dict():
                return {self.restored(key): self.restored(value) for key, value in tree.items()}
            case _:
                return tree

    def variable(self, text: str) -> str | None:
        """The name of the variable that this text is."""
        written = self._masked.reference(text)
        found = _NAME.match(written) if written is not None else None
        return found[1] if found else None

    def has_variable(self, text: str) -> bool:
        return self._masked.restored(text) != text

    def file(self, text: str) -> str | None:
        """The file that this text was read from, as the configuration names it."""
        return self._files.get(text)

    # Credentials

    def key(self, secret: Secret, owner: str) -> str:
        """A credential as a file with our variables has it; one that is not in the user's own text is a variable."""
        text = secret.reveal()
        if self.has_variable(text):
            return self.text(text)
        line = self.line(text)
        if not line or self.is_manifests:
            return self.placeholder(secret, owner, "stands in no text of this file")
        what = "the key is written out here, and in the new file: a variable would keep it out of both"
        self.report.add(Fidelity.EXACT, f"{owner}: key", what, line=line)
        return self.text(text)

    def placeholder(self, secret: Secret, owner: str, why: str) -> str:
        """A variable of its own for a credential that is not to be written down."""
        text = secret.reveal()
        name, number = variable_for(owner), 2
        while self._placeholders.setdefault(name, text) != text:
            name, number = f"{variable_for(owner)}_{number}", number + 1
        what = f"export it as {name}: it {why}"
        self.report.add(Fidelity.MANUAL, f"{owner}: key", what, line=self.line(text))
        return f"${name}"

    def tell_settings(self) -> None:
        """What is the process's own goes with no export."""
        plain = Config()
        if self.config.settings != plain.settings:
            self.report.add(Fidelity.MANUAL, "config", "settings of the process are left out: take over what is alike")
        if self.config.limits != plain.limits:
            self.report.add(Fidelity.MANUAL, "frontendPolicies.http", "is left out: take over what is alike")

    def line(self, text: str) -> int:
        """The line in which this text stands first; 0 for none."""
        offset = self._text.find(text) if text else -1
        return self._text.count("\n", 0, offset) + 1 if offset >= 0 else 0


def variable_for(owner: str) -> str:
    """`OPENAI_API_KEY` for openai."""
    name = _OTHER.sub("_", owner.upper()).strip("_")
    return f"{'_' if name[:1].isdigit() else ''}{name or 'PROVIDER'}_API_KEY"


def _name(reference: re.Match[str]) -> str:
    return reference["name"] or reference["braced"]
