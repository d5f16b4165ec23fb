"""`torana status`: the table, the YAML, and an exit code for CI."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
import yaml
from click.testing import CliRunner

from torana.cli.main import app
from torana.cli.status import Output, status
from torana.config.kubernetes.manifests import Reading
from torana.config.kubernetes.objects import Options

GATEWAY: dict[str, object] = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "Gateway",
    "metadata": {"name": "gateway"},
    "spec": {"gatewayClassName": "any", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
}


def route(parent: str) -> dict[str, object]:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "chat"},
        "spec": {"parentRefs": [{"name": parent}]},
    }


def reading(tmp_path: Path, *objects: dict[str, object]) -> Reading:
    file = tmp_path / "objects.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    return Reading(paths=(str(file),))


@pytest.mark.parametrize(("parent", "code"), [("gateway", 0), ("another", 1)])
def test_exit_code(parent: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0 when everything is as it should be; 1 when it is not, a route without a Gateway being no exception."""
    with pytest.raises(SystemExit) as ended:
        status(reading(tmp_path, GATEWAY, route(parent)), Output.TABLE)
    assert ended.value.code == code
    head, gateway, chat = capsys.readouterr().out.splitlines()
    assert head.split() == ["KIND", "NAMESPACE", "NAME", "ACCEPTED", "RESOLVEDREFS", "PROGRAMMED", "MESSAGE"]
    assert gateway.split() == ["Gateway", "default", "gateway", "True", "True", "True"]
    assert ("no Gateway here takes it" in chat) == bool(code)


@pytest.mark.parametrize(
    ("described", "words"),
    [
        (True, 'has class "any" of controller other.example/it; --controller-name other.example/it would make it ours'),
        (False, 'has class "any", which is not ours; --class-name any would make it so'),
    ],
)
def test_a_gateway_of_others(described: bool, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another controller's Gateway is no fault and says whose it is; so does a route without another parent."""
    given: dict[str, object] = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GatewayClass",
        "metadata": {"name": "any"},
        "spec": {"controllerName": "other.example/it"},
    }
    objects = [given, GATEWAY] if described else [GATEWAY]
    how = reading(tmp_path, *objects)
    how = msgspec.structs.replace(how, options=Options(class_names=() if described else ("torana",)))
    with pytest.raises(SystemExit) as ended:
        status(how, Output.TABLE)
    assert ended.value.code == 0
    assert words in capsys.readouterr().out
    how = msgspec.structs.replace(reading(tmp_path, *objects, route("gateway")), options=how.options)
    with pytest.raises(SystemExit) as ended:
        status(how, Output.TABLE)
    assert ended.value.code == 1
    assert f"Gateway default/gateway {words}" in capsys.readouterr().out


@pytest.mark.parametrize("output", [Output.YAML, Output.JSON])
def test_whole(output: Output, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As YAML or JSON the statuses are a List, each with the object's names and its conditions."""
    with pytest.raises(SystemExit):
        status(reading(tmp_path, GATEWAY), output)
    (item,) = yaml.safe_load(capsys.readouterr().out)["items"]
    assert item["metadata"] == {"name": "gateway", "namespace": "default"}
    assert {each["type"] for each in item["status"]["conditions"]} >= {"Accepted", "Programmed"}
    assert {each["observedGeneration"] for each in item["status"]["conditions"]} == {1}


def test_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Objects that are refused are told on standard error, there is no table, and the exit code is 1."""
    with pytest.raises(SystemExit) as ended:
        status(reading(tmp_path, {**GATEWAY, "spec": {}}), Output.TABLE)
    told = capsys.readouterr()
    assert (ended.value.code, told.out) == (1, "")
    assert "spec.listeners: Required value" in told.err


def test_an_error_without_a_condition(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A policy that no Gateway leads to has no condition; what is wrong with it fails in CI all the same."""
    validation = {"hostname": "api.x.ai", "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "absent"}]}
    policy: dict[str, object] = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "BackendTLSPolicy",
        "metadata": {"name": "tls"},
        "spec": {"targetRefs": [{"group": "", "kind": "Service", "name": "chat"}], "validation": validation},
    }
    with pytest.raises(SystemExit) as ended:
        status(reading(tmp_path, GATEWAY, policy), Output.TABLE)
    assert ended.value.code == 1
    assert "error: BackendTLSPolicy default/tls: ConfigMap default/absent not found" in capsys.readouterr().err


def test_where_it_would_listen(tmp_path: Path) -> None:
    """`torana status` takes --address and --port-map as serving does, and shows what comes of them."""
    file = tmp_path / "gateway.json"
    file.write_text(json.dumps(GATEWAY))
    words = ["status", str(file), "--address", "127.0.0.1", "--port-map", "80=8080", "-o", "json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["items"][0]["status"]["addresses"] == [{"type": "IPAddress", "value": "127.0.0.1"}]
    done = CliRunner().invoke(app, words[:-2])
    assert "listens on 127.0.0.1:8080" in done.stderr
