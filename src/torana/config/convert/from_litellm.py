"""`torana import --from litellm`: the configuration of LiteLLM's proxy as `llm`.

Deployments that share a `model_name` become internal models under a virtual one. Whatever is not read here is reported,
so nothing of the file is lost unseen. Source: https://docs.litellm.ai/docs/proxy/config_settings.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final

from torana.config.convert.emit import emit
from torana.config.convert.litellm_deployments import Deployment, Deployments, plain_value
from torana.config.convert.report import Converted, Fidelity, Report
from torana.config.convert.written import WrittenFile, items, member
from torana.config.problem import ConfigError, Problem
from torana.config.yaml.nodes import Mapping, Node, Scalar

_AUTH: Final = "the gateway would take requests of anybody who reaches its port: guard it before it is opened to others"
_RETRIED: Final = "what failed is sent once more, when no other model is left to take it"
_UNTIL_HEAD: Final = "holds until the answer begins; see `totalTimeout` for the whole of it"
_EVICTED: Final = "failures are counted in a row, not by the minute"
_TURNED: Final[dict[str, tuple[str, str, str]]] = {
    "router_settings.num_retries": ("retry", "attempts", _RETRIED),
    "litellm_settings.num_retries": ("retry", "attempts", _RETRIED),
    "router_settings.timeout": ("timeout", "requestTimeout", _UNTIL_HEAD),
    "litellm_settings.request_timeout": ("timeout", "requestTimeout", _UNTIL_HEAD),
    "router_settings.stream_timeout": ("timeout", "firstByteTimeout", "holds for every answer, streamed or not"),
    "router_settings.cooldown_time": ("eviction", "duration", _EVICTED),
    "router_settings.allowed_fails": ("eviction", "consecutiveFailures", _EVICTED),
}
"""A number -> the policy it goes into, its member there, and what is different."""
_SETTINGS: Final[dict[str, tuple[Fidelity, str]]] = {
    "router_settings.retry_policy": (
        Fidelity.MANUAL,
        "retries are not counted by the kind of error: see `retry.codes`",
    ),
    "litellm_settings.drop_params": (
        Fidelity.APPROXIMATE,
        "what a translation cannot carry is left out and named in a header of the answer; the rest goes on",
    ),
    "litellm_settings.set_verbose": (Fidelity.MANUAL, "see `config.logging.level`"),
    "litellm_settings.json_logs": (Fidelity.MANUAL, "see `config.logging.format`"),
    "general_settings.master_key": (Fidelity.MANUAL, f"keys of clients are not imported: {_AUTH}"),
    "general_settings.custom_auth": (Fidelity.MANUAL, f"it is code: {_AUTH}"),
    "general_settings.database_url": (Fidelity.UNSUPPORTED, "the configuration is a file; nothing is in a database"),
}
_COUNTS = ("attempts", "consecutiveFailures")
_ALIKE = ("simple-shuffle",)
_BALANCED = (
    "least-busy",
    "latency-based-routing",
    "usage-based-routing",
    "usage-based-routing-v2",
    "cost-based-routing",
)
_FALLBACKS = ("fallbacks", "default_fallbacks")
_SECTIONS = ("router_settings", "litellm_settings", "general_settings")


def from_litellm(text: str, where: str) -> Converted:
    """Raises ConfigError when the text is no YAML, or has no `model_list`."""
    file = WrittenFile(text, where, variables=False)
    if not items(member(file.root, "model_list")):
        hint = "LiteLLM's models are a list under `model_list`"
        raise ConfigError([Problem(where, 1, 1, "", "this is no configuration of LiteLLM's proxy", hint)])
    report = Report(where)
    return Converted(emit(_Import(file, report).tree()), report)


class _Import:
    def __init__(self, file: WrittenFile, report: Report) -> None:
        self._file = file
        self._report = report
        self._groups: dict[str, list[Deployment]] = {}
        self._virtual: dict[str, dict[str, Any]] = {}
        self._others: dict[str, list[str]] = {}
        self._turned: dict[str, dict[str, Any]] = {}

    def tree(self) -> dict[str, Any]:
        reader = Deployments(self._file, self._report)
        for entry in items(member(self._file.root, "model_list")):
            made = reader.read(entry)
            if made is not None:
                self._groups.setdefault(made.name, []).append(made)
        self._others = self._fallbacks()
        models = [model for name, group in self._groups.items() for model in self._group(name, group)]
        self._aliases()
        self._settings()
        virtual = [{"name": name, "routing": routing} for name, routing in self._virtual.items()]
        policies = {"localRateLimit": self._limits() or None, **self._turned}
        eviction = policies.pop("eviction", None)
        if eviction is not None:
            models = [{**model, "health": {"eviction": eviction}} for model in models]
        return {"llm": {"models": models, "virtualModels": virtual or None, "policies": _none_if_empty(policies)}}

    # Groups of deployments

    def _group(self, name: str, group: list[Deployment]) -> list[dict[str, Any]]:
        """One deployment is a model. Several, and one with others to fall back to, are internal and a virtual one."""
        if not self._split(name):
            self._tell_alone(name, group)
            return [group[0].tree]
        for number, each in enumerate(group):
            each.tree = {**each.tree, "name": self._targets(name)[number], "visibility": "internal"}
        self._virtual[name] = self._routing(name, group)
        return [each.tree for each in group]

    def _split(self, name: str) -> bool:
        """A virtual model has one exact name."""
        return "*" not in name and (len(self._groups[name]) > 1 or bool(self._takers(name)))

    def _tell_alone(self, name: str, group: list[Deployment]) -> None:
        what = "is left out: a name with a `*` cannot stand for several models"
        for each in group[1:]:
            self._report.add(Fidelity.MANUAL, f"model_list: {name}", what, line=each.line)
        if self._takers(name):
            what = "nothing takes over for it: a name with a `*` cannot stand for several models"
            self._report.add(Fidelity.MANUAL, f"model_list: {name}", what, line=group[0].line)

    def _takers(self, name: str) -> list[str]:
        """The groups that take over, less those that did not come across."""
        return [each for each in self._others.get(name, []) if each in self._groups and each != name]

    def _targets(self, name: str) -> list[str]:
        """The names that its deployments have as models."""
        if not self._split(name):
            return [name]
        return [f"{name}-{number}" for number, _ in enumerate(self._groups[name], 1)]

    def _routing(self, name: str, group: list[Deployment]) -> dict[str, Any]:
        orders = sorted({each.order for each in group})
        others = self._takers(name)
        if len(orders) == 1 and not others:
            return {"weighted": {"targets": [{"model": each.tree["name"], "weight": each.weight} for each in group]}}
        if len({each.weight for each in group}) > 1:
            what = "weights count no more beside priorities: those of one priority share evenly"
            self._report.add(Fidelity.APPROXIMATE, f"model_list: {name}", what, line=group[0].line)
        targets = [
            {"model": each.tree["name"], "priority": orders.index(each.order)}
            for each in sorted(group, key=lambda each: each.order)
        ]
        for priority, other in enumerate(others, len(orders)):
            targets += [{"model": target, "priority": priority} for target in self._targets(other)]
        return {"failover": {"targets": targets}}

    def _fallbacks(self) -> dict[str, list[str]]:
        """Model -> those that take over; `*` is every model without an entry of its own."""
        found: dict[str, list[str]] = {}
        for section in ("litellm_settings", "router_settings"):
            for entry in items(member(self._file.root, section, "fallbacks")):
                for name, others in entry.entries.items() if isinstance(entry, Mapping) else ():
                    found[name] = [self._file.text(each) or "" for each in items(others.value)]
                    self._told(f"{section}.fallbacks: {name}", found[name], entry)
            default = member(self._file.root, section, "default_fallbacks")
            if default is not None:
                found["*"] = [self._file.text(each) or "" for each in items(default)]
                self._told(f"{section}.default_fallbacks", found["*"], default)
        for name in list(found):
            if name != "*" and name not in self._groups:
                del found[name]
        if "*" in found:
            return {name: found.get(name, found["*"]) for name in self._groups}
        return found

    def _told(self, subject: str, others: list[str], node: Node) -> None:
        missing = [name for name in others if name not in self._groups]
        if missing:
            what = f"{', '.join(missing)} cannot take over: no such model came across"
            self._report.add(Fidelity.MANUAL, subject, what, line=self._file.line(node))
        else:
            self._report.add(Fidelity.EXACT, subject, "a virtual model with failover", line=self._file.line(node))

    def _aliases(self) -> None:
        aliases = member(self._file.root, "router_settings", "model_group_alias")
        for alias, entry in aliases.entries.items() if isinstance(aliases, Mapping) else ():
            line = self._file.line(entry.key)
            node = member(entry.value, "model") or entry.value
            name = self._file.text(node) or ""
            if name not in self._groups:
                what = f"{name} is no model that came across"
                self._report.add(Fidelity.MANUAL, f"model_group_alias: {alias}", what, line=line)
                continue
            self._virtual[alias] = self._virtual.get(name) or {"weighted": {"targets": [{"model": name, "weight": 1}]}}
            hidden = self._file.text(member(entry.value, "hidden")) == "true"
            fidelity = Fidelity.APPROXIMATE if hidden else Fidelity.EXACT
            what = "a virtual model" + (", which is in the list of models" if hidden else "")
            self._report.add(fidelity, f"model_group_alias: {alias}", what, line=line)

    # What holds for all

    def _limits(self) -> list[dict[str, Any]]:
        """One bucket for the gateway in place of one a deployment: right in sum, where each of them has a limit."""
        everything = [each for group in self._groups.values() for each in group]
        limits = []
        for key, kind in (("rpm", "requests"), ("tpm", "tokens")):
            given = [each for each in everything if key in each.limits]
            amounts = [each.limits[key] for each in given]
            if given and len(given) == len(everything):
                what = "one limit for the gateway: the sum of all, whichever model is asked"
                total = sum(amounts)
                limits.append({"maxTokens": total, "tokensPerFill": total, "fillInterval": "1m", "type": kind})
            else:
                what = "`llm.policies.localRateLimit` is for all models, and not all of them have a limit"
            fidelity = Fidelity.APPROXIMATE if len(given) == len(everything) else Fidelity.MANUAL
            for each in given:
                self._report.add(fidelity, f"model_list: {each.name}: {key}", what, line=each.line)
        return limits

    def _settings(self) -> None:
        assert isinstance(self._file.root, Mapping)
        for name, top in self._file.root.entries.items():
            if name == "model_list":
                continue
            if name not in _SECTIONS or not isinstance(top.value, Mapping):
                self._unread(name, top.key)
                continue
            for key, entry in top.value.entries.items():
                self._setting(name, key, entry.value, self._file.line(entry.key))

    def _setting(self, section: str, key: str, value: Node, line: int) -> None:
        subject = f"{section}.{key}"
        if subject in ("router_settings.model_group_alias", *(f"{section}.{name}" for name in _FALLBACKS)):
            return
        if subject == "router_settings.routing_strategy":
            self._strategy(self._file.text(value) or "", line)
            return
        if key.endswith("_fallbacks"):
            what = "a fallback by kind of error: one for all errors has been imported where there was one"
            self._report.add(Fidelity.UNSUPPORTED, subject, what, line=line)
            return
        if isinstance(value, Scalar) and plain_value(value) in (None, False, "", 0):
            return
        if subject in _TURNED and isinstance(value, Scalar) and _is_number(plain_value(value)):
            if self._outdone(subject):
                self._report.add(Fidelity.EXACT, subject, "left out: that of router_settings goes before it", line=line)
            else:
                self._turn(subject, plain_value(value))
                self._report.add(Fidelity.APPROXIMATE, subject, _TURNED[subject][2], line=line)
            return
        fidelity, what = _SETTINGS.get(subject, (Fidelity.UNSUPPORTED, "has no counterpart"))
        self._report.add(fidelity, subject, what, line=line)

    def _outdone(self, subject: str) -> bool:
        """Whether the router has a number of its own for the same: that is what LiteLLM goes by."""
        for other, turned in _TURNED.items():
            if other != subject and turned[:2] == _TURNED[subject][:2] and other.startswith("router_settings."):
                node = member(self._file.root, *other.split("."))
                return isinstance(node, Scalar) and _is_number(plain_value(node))
        return False

    def _turn(self, subject: str, value: Any) -> None:
        policy, key, _ = _TURNED[subject]
        count = round(value) + (key == "consecutiveFailures")  # one more than is allowed
        self._turned.setdefault(policy, {})[key] = count if key in _COUNTS else f"{value:g}s"

    def _strategy(self, name: str, line: int) -> None:
        subject = f"router_settings.routing_strategy: {_word(name)}"
        if name in _ALIKE:
            self._report.add(Fidelity.EXACT, subject, "drawn by weight", line=line)
        elif name in _BALANCED:
            what = "drawn by weight; with failover the better of two drawn is asked, by load and latency"
            self._report.add(Fidelity.APPROXIMATE, subject, what, line=line)
        else:
            self._report.add(Fidelity.UNSUPPORTED, subject, "drawn by weight instead", line=line)

    def _unread(self, name: str, key: Node) -> None:
        what = "export the variables before the start" if name == "environment_variables" else "has no counterpart"
        fidelity = Fidelity.MANUAL if name == "environment_variables" else Fidelity.UNSUPPORTED
        self._report.add(fidelity, _word(name), what, line=self._file.line(key))


def _is_number(value: object) -> bool:
    """One that a policy can have."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _none_if_empty(tree: dict[str, Any]) -> dict[str, Any] | None:
    return tree if any(value is not None for value in tree.values()) else None


def _word(text: str) -> str:
    """Names and choices may be shown; anything that could be a credential may not."""
    return text if re.fullmatch(r"[a-z0-9_.-]{1,40}", text) else "(not shown)"
