"""What manifests mean: files, folders, lists, namespaces, Secrets, age and defaults."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from torana.config.kubernetes.manifests import Manifests, Reading
from torana.config.kubernetes.objects import Object
from torana.config.problem import ConfigError
from torana.model.policy import Authority, AuthorityKind

GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gateway}
spec:
  gatewayClassName: any
  listeners: [{name: a, port: 80, protocol: HTTP}, {name: b, port: 81, protocol: HTTP}]
"""


def objects(text: str, env: Mapping[str, str] | None = None, namespace: str = "default") -> list[Object]:
    reading = Reading(paths=("-",), stdin=text, env=env, namespace=namespace)
    return [found for found in Manifests(reading).examine().objects if found.kind != "Namespace"]


def secret(data: Mapping[str, Any], string_data: Mapping[str, Any]) -> str:
    fields = {"data": data, "stringData": string_data}
    return json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, **fields})


def value(text: str, env: Mapping[str, str] | None = None) -> str | None:
    (found,) = objects(text, env)
    encoded = found.body["data"].get("Authorization")
    return base64.b64decode(encoded).decode() if encoded is not None else None


def config_map(name: str, namespace: str = "") -> str:
    place = f", namespace: {namespace}" if namespace else ""
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}{place}}}\n"


def test_folders_and_files(tmp_path: Path) -> None:
    """A folder is all its YAML and JSON, below it too, sorted by path; hidden and other files are passed over."""
    for path in ("b.yaml", "a.yml", "c/d.json", "..data/e.yaml", "notes.txt"):
        file = tmp_path / path
        file.parent.mkdir(exist_ok=True)
        name = file.stem
        json_text = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
        file.write_text(json_text if file.suffix == ".json" else config_map(name))
    examined = Manifests(Reading(paths=(str(tmp_path), str(tmp_path / "a.yml")))).examine()
    assert [found.name for found in examined.objects if found.kind == "ConfigMap"] == ["a", "b", "d"]
    assert {tmp_path, tmp_path / "c", tmp_path / "c" / "d.json"} <= set(examined.watched)


def test_documents_and_lists() -> None:
    """Documents are divided by `---`, empty ones are none, and a List is its items, each at its own line."""
    items = "kind: List\napiVersion: v1\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: b}\n"
    text = f"---\n# nothing\n---\n{config_map('a')}---\n{items}"
    found = objects(text)
    assert [(each.name, each.place.line if each.place else 0) for each in found] == [("a", 4), ("b", 11)]


def test_namespaces() -> None:
    """An object without a namespace is in the default one, and a namespace exists, with its label, by being used."""
    reading = Reading(paths=("-",), stdin=f"{config_map('a')}---\n{config_map('b', 'other')}", namespace="mine")
    examined = Manifests(reading).examine()
    assert [found.namespace for found in examined.objects if found.kind == "ConfigMap"] == ["mine", "other"]
    labels = {found.name: found.labels for found in examined.objects if found.kind == "Namespace"}
    assert labels == {name: {"kubernetes.io/metadata.name": name} for name in ("mine", "other")}


def test_age() -> None:
    """Without a creationTimestamp an object that stands earlier is older; with one it is younger than all of those."""
    real = config_map("c").replace("{name", '{creationTimestamp: "2026-01-01T00:00:00Z", name')
    found = objects(f"{real}---\n{config_map('b')}---\n{config_map('a')}")
    assert [each.name for each in sorted(found, key=lambda each: each.created)] == ["b", "a", "c"]


def test_defaults() -> None:
    """Fields that are left out have the CRD's defaults, as an API server stores them; `null` is left out."""
    text = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: chat}
spec:
  parentRefs: [{name: gateway, namespace: null}]
"""
    (route,) = objects(text)
    assert route.spec["parentRefs"] == [{"name": "gateway", "group": "gateway.networking.k8s.io", "kind": "Gateway"}]
    assert route.spec["rules"] == [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}]


@pytest.mark.parametrize(
    ("data", "string_data", "expected"),
    [
        ({}, {"Authorization": "sk-a"}, "sk-a"),
        ({"Authorization": "c2stYg=="}, {}, "sk-b"),
        ({"Authorization": "c2stYg=="}, {"Authorization": "sk-a"}, "sk-a"),
        ({"Authorization": "c2st\nYg=="}, {}, "sk-b"),
        ({}, {"Authorization": "pa$$word and $more"}, "pa$$word and $more"),
        ({}, {"Authorization": None}, None),
    ],
)
def test_secrets(data: dict[str, Any], string_data: dict[str, Any], expected: str | None) -> None:
    """What is in stringData wins over data, which is base64; values may have dollar signs; an empty entry is absent."""
    assert value(secret(data, string_data)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("$KEY", "sk-e"), ("Bearer ${KEY}", "Bearer sk-e"), ("${NONE:-sk-d}", "sk-d"), ("$$KEY", "$KEY")],
)
def test_expanded(text: str, expected: str) -> None:
    """With --expand-env the variables in stringData are filled in, and `$$` is a dollar sign."""
    assert value(secret({}, {"Authorization": text}), {"KEY": "sk-e"}) == expected


def test_an_unset_variable_is_an_error() -> None:
    """With --expand-env a variable that is not set is told by name; it is not filled in with nothing."""
    with pytest.raises(ConfigError, match=r"stringData\.Authorization: KEY is not set; export KEY="):
        objects(secret({}, {"Authorization": "$KEY"}), {})


def test_only_secrets_are_expanded() -> None:
    """Variables elsewhere than in a Secret's stringData stay as they are."""
    (found,) = objects(f"{config_map('a')}data: {{key: $KEY}}", {"KEY": "filled in"})
    assert found.body["data"] == {"key": "$KEY"}


def test_values_are_hidden() -> None:
    """The values of Secrets are handed on as what no dump may show, and an object's repr has none of them."""
    loaded = Manifests(Reading(paths=("-",), stdin=secret({}, {"Authorization": "sk-a\n"}))).load()
    assert [each.reveal() for each in loaded.hidden] == ["sk-a"]
    (found,) = objects(secret({}, {"Authorization": "sk-a"}))
    assert "sk-a" not in repr(found)


def test_lists_in_lists() -> None:
    """The items of a List may be Lists, and a list of one kind is one too, as `kubectl get` prints."""
    inner = {"apiVersion": "v1", "kind": "ConfigMapList", "items": [json_map("a"), json_map("b")]}
    outer = {"apiVersion": "v1", "kind": "List", "items": [inner, json_map("c")]}
    assert [each.name for each in objects(json.dumps(outer))] == ["a", "b", "c"]


def json_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


def test_stdin_given_twice() -> None:
    """Standard input is read once, however often it is named, as a file is."""
    assert len(Manifests(Reading(paths=("-", "-"), stdin=GATEWAY)).examine().objects) == len(
        Manifests(Reading(paths=("-",), stdin=GATEWAY)).examine().objects
    )


def test_addresses() -> None:
    """What is listened on is in the configuration, and in the status of a Gateway."""
    examined = Manifests(Reading(paths=("-",), stdin=GATEWAY, addresses=("127.0.0.1", "::1"))).examine()
    assert [bind.places for bind in examined.translation.config.binds] == [
        "127.0.0.1:80 and [::1]:80",
        "127.0.0.1:81 and [::1]:81",
    ]
    (status,) = examined.translation.statuses
    assert [each["value"] for each in status.status["addresses"]] == ["127.0.0.1", "::1"]
    everywhere = Manifests(Reading(paths=("-",), stdin=GATEWAY, addresses=("0.0.0.0",))).examine()
    assert "addresses" not in everywhere.translation.statuses[0].status


@pytest.mark.parametrize(
    ("number", "hint"), [(443, "--port-map 443=8443 "), (9000, "--port-map 9000=9001 "), (8080, "--port-map 80=8081 ")]
)
def test_port_hint(number: int, hint: str) -> None:
    """What helps against a port that cannot be opened is told by the Gateway's own port."""
    assert Manifests(Reading(paths=("-",), ports={80: 8080})).port_hint(number).startswith(hint)


@pytest.mark.parametrize(("text", "told"), [("", ["nothing is served: no Gateway here listens"]), ("GATEWAY", [])])
def test_nothing_served(text: str, told: list[str]) -> None:
    """Files without a Gateway that listens are told when they are to be served."""
    loaded = Manifests(Reading(paths=("-",), stdin=GATEWAY if text else config_map("a"))).load()
    assert [problem.what for problem in loaded.warnings] == told


def test_ports_are_mapped() -> None:
    """--port-map puts a port in place of a Gateway's; two that become one are an error."""
    mapped = Manifests(Reading(paths=("-",), stdin=GATEWAY, ports={80: 8080})).load()
    assert sorted(bind.port for bind in mapped.config.binds) == [81, 8080]
    with pytest.raises(ConfigError, match="two ports"):
        Manifests(Reading(paths=("-",), stdin=GATEWAY, ports={80: 81})).load()


def test_redirects_lead_to_mapped_ports() -> None:
    """A redirect that names no port leads to the one that is listened on, where --port-map has put another."""
    route = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: moved}
spec:
  parentRefs: [{name: gateway, port: 80}]
  rules: [{filters: [{type: RequestRedirect, requestRedirect: {hostname: a.example}}]}]
"""
    config = Manifests(Reading(paths=("-",), stdin=f"{GATEWAY}---{route}", ports={80: 8080})).load().config
    (redirect,) = (
        route.policies.redirect for bind in config.binds for listener in bind.listeners for route in listener.routes
    )
    assert redirect is not None
    assert redirect.authority == Authority(AuthorityKind.FULL, "a.example:8080")
