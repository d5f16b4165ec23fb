"""A file with `llm` for agentgateway: as the user wrote it, variables and comments too, less what is Torana's own."""

from __future__ import annotations

from typing import Any, Final

from torana.config.convert.agentgateway_backends import FORMATS
from torana.config.convert.emit import emit
from torana.config.convert.report import Fidelity, Report
from torana.config.convert.written import WrittenFile, member
from torana.config.standalone.schema.connection import KeyFile
from torana.config.standalone.schema.file import File
from torana.config.standalone.schema.llm import LlmModel, LlmProvider, VirtualModel
from torana.config.standalone.schema.traffic import RateLimit
from torana.config.standalone.shape import Shape, keys
from torana.config.yaml.nodes import Entry, Mapping, Node, Scalar, Sequence
from torana.llm.providers import PROVIDERS
from torana.llm.providers.facts import ProviderFacts
from torana.model.backend import ProviderKind

_OWN_PRESETS: Final = {
    kind.value: PROVIDERS[kind] for kind in (ProviderKind.LMSTUDIO, ProviderKind.PERPLEXITY, ProviderKind.VLLM)
}
"""Providers that agentgateway has no name for."""

_GONE: Final = object()
"""Stands for a value of which nothing is left."""

_FAILOVER: Final = "agentgateway goes to the next target when `health` of the model before it has evicted it"


def file_for_agentgateway(text: str, where: str, report: Report) -> str:
    """`text` is a configuration that compiles."""
    written = WrittenFile(text, where)
    return emit(_Less(written, report).tree, written)


class _Less:
    """`tree` is the file's, with nodes of it wherever nothing within them changes."""

    def __init__(self, file: WrittenFile, report: Report) -> None:
        self._file = file
        self._report = report
        self._changes = 0
        self.tree = self._kept(Shape(record=File), file.root, "")

    def _tell(self, fidelity: Fidelity, subject: str, what: str, node: Node) -> None:
        self._report.add(fidelity, subject, what, line=self._file.line(node))
        self._changes += fidelity is not Fidelity.EXACT

    def _kept(self, shape: Shape, node: Node, where: str) -> Any:
        """The node without what agentgateway does not know; _GONE when that was all of it."""
        match node:
            case Mapping() if shape.record is not None:
                return self._object(shape, node, where)
            case Mapping() if shape.values is not None:
                inner = shape.values
                return _mapping(node, {k: self._kept(inner, e.value, f"{where}.{k}") for k, e in node.entries.items()})
            case Sequence() if shape.items is not None:
                inner = shape.items
                kept = [self._kept(inner, each, f"{where}[{index}]") for index, each in enumerate(node.items)]
                kept = [each for each in kept if each is not _GONE]
                return Sequence(kept, node.start, node.end) if kept or not node.items else _GONE
            case Scalar() if shape.record is KeyFile and not self._file.has_reference(node):
                what = "the key is written out here, and in the new file: a variable would keep it out of both"
                self._tell(Fidelity.EXACT, where, what, node)
        return node

    def _object(self, shape: Shape, node: Mapping, where: str) -> Any:
        record = shape.record
        assert record is not None
        if issubclass(record, RateLimit) and "key" in node.entries:
            what = "one bucket for all is what there is: a limit by key is left out"
            self._tell(Fidelity.MANUAL, where, what, node)
            return _GONE
        before = self._changes
        known, values = keys(record), {}
        for name, entry in node.entries.items():
            here = f"{where}.{name}" if where else name
            key = known[record.spellings.get(name, name)]
            if key.own:
                self._tell(Fidelity.UNSUPPORTED, here, "is Torana's own", entry.key)
            else:
                values[name] = self._kept(key.shape, entry.value, here)
        made = _mapping(node, values)
        if record in (LlmModel, LlmProvider):
            made = self._named(made, node, where)
        if record is VirtualModel and member(node, "routing", "failover") is not None:
            self._tell(Fidelity.APPROXIMATE, f"{where}.routing.failover", _FAILOVER, node)
        if record in (LlmModel, VirtualModel) and self._changes == before:
            self._tell(Fidelity.EXACT, f"model {self._file.text(member(node, 'name'))}", "", node)
        return made

    def _named(self, made: Any, node: Mapping, where: str) -> Any:
        """A model, or a provider of several, with its preset in words that agentgateway knows."""
        name = self._file.text(member(node, "provider"))
        facts = _OWN_PRESETS.get(name or "")
        if facts is None:
            return made if name != "openai" else _values(made) | {"provider": "openAI"}
        what = f"agentgateway has no provider {name}: it is a custom one now"
        self._tell(Fidelity.APPROXIMATE, f"{where}.provider", what, node)
        values = _values(made)
        params = _placed(_values(values.get("params")), self._file.text(member(node, "params", "pathPrefix")), facts)
        return values | {"provider": {"custom": {"formats": _formats(facts)}}, "params": params}


def _mapping(node: Mapping, values: dict[str, Any]) -> Any:
    entries = {name: Entry(node.entries[name].key, each) for name, each in values.items() if each is not _GONE}
    return Mapping(entries, node.start, node.end) if entries or not node.entries else _GONE


def _values(node: Any) -> dict[str, Any]:
    return {name: entry.value for name, entry in node.entries.items()} if isinstance(node, Mapping) else {}


def _placed(params: dict[str, Any], prefix: str | None, facts: ProviderFacts) -> dict[str, Any]:
    """`params` that say where the provider is, as its preset did."""
    if "baseUrl" in params:
        return params
    if "hostOverride" in params:
        return params if "pathPrefix" in params else params | {"pathPrefix": facts.base}
    port = "" if facts.port == (443 if facts.tls else 80) else f":{facts.port}"
    base = f"{'https' if facts.tls else 'http'}://{facts.host}{port}{prefix if prefix is not None else facts.base}"
    return {name: value for name, value in params.items() if name != "pathPrefix"} | {"baseUrl": base}


def _formats(facts: ProviderFacts) -> list[dict[str, Any]]:
    served = {operation.name.lower(): path for operation, path in (facts.operations or {}).items()}
    return [{"type": FORMATS[name], "path": path} for name, path in served.items() if name in FORMATS]
