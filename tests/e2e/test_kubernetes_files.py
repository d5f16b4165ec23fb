"""The second seed on a machine without a cluster: its documents verbatim, piped through the shell, TLS included.

The providers' names lead to stand-ins through `--resolve`; their certificates are by a private CA that SSL_CERT_FILE
names, so connecting, SNI and the check are real.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.conftest import StartStandIn
from tests.e2e.harness import environment
from tests.e2e.manifests import GATEWAY, TORANA, ManifestGateway, heredocs, seed
from tests.e2e.stand_in import Script, StandIn
from tests.e2e.wire import Answer, post

KEYS = {"MISTRAL_API_KEY": "sk-of-mistral", "DEEPSEEK_API_KEY": "sk-of-deepseek"}
BODY = {
    "model": "",
    "messages": [{"role": "system", "content": "You are a poet."}, {"role": "user", "content": "Write a haiku."}],
}


class Provider(NamedTuple):
    """What the seed promises of one provider."""

    name: str
    host: str
    model: str
    key: str
    answer: bytes


_ANSWERS = [answer.encode() for answer in seed().answers]
PROVIDERS = [
    Provider("mistral", "api.mistral.ai", "mistral-medium-2505", "sk-of-mistral", _ANSWERS[0]),
    Provider("deepseek", "api.deepseek.com", "deepseek-chat", "sk-of-deepseek", _ANSWERS[1]),
]
providers = pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)


class Running(NamedTuple):
    gateway: ManifestGateway
    stand_ins: dict[str, StandIn]


@pytest.fixture(scope="module")
def running(
    shared_stand_in: StartStandIn, trust: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """The whole seed and a Gateway, as one would type it: heredocs, a pipe, and the command."""
    stand_ins = {provider.name: shared_stand_in(provider.host) for provider in PROVIDERS}
    script = f"{heredocs([*seed().documents, GATEWAY])} | {TORANA} kubernetes --manifests -"
    resolve = [word for provider in PROVIDERS for word in stand_ins[provider.name].resolve(provider.host, 443)]
    gateway = ManifestGateway(script, tmp_path_factory.mktemp("seed"), *resolve, env=KEYS | trust)
    yield Running(gateway, stand_ins)
    gateway.stop()
    print(f"--- the log:\n{gateway.log}")  # noqa: T201 - pytest shows it when the test has failed


def test_the_seed_has_eight_documents() -> None:
    """Nothing of the seed is left out: four documents for each of its two providers, and an answer each."""
    found = seed()
    assert len(found.documents) == 8
    assert len(found.answers) == 2


@providers
@pytest.mark.parametrize("below", ["", "/anything", "?a=b"])
def test_serves(provider: Provider, below: str, running: Running) -> None:
    """The provider gets its own path, Host, SNI, key and model; the client gets the sample answer byte for byte."""
    stand_in = running.stand_ins[provider.name]
    stand_in.forget()
    stand_in.script = _answer(provider.answer)
    answer = post(running.gateway.port, f"/{provider.name}{below}", BODY)
    assert (answer.status, answer.body) == (200, provider.answer)
    seen = stand_in.one
    assert seen.line == "POST /v1/chat/completions HTTP/1.1"
    assert seen["host"] == provider.host
    assert seen.tls
    assert seen.sni == provider.host
    assert seen["authorization"] == f"Bearer {provider.key}"
    assert json.loads(seen.body) == BODY | {"model": provider.model}


def test_a_prefix_ends_at_a_slash(running: Running) -> None:
    """Gateway API: PathPrefix compares whole elements of a path, so /mistralx belongs to no route."""
    assert post(running.gateway.port, "/mistralx", BODY).status == 404


def test_no_key_is_told(running: Running) -> None:
    """A key of a Secret is in no dump of the configuration and in no line of the log."""
    told = json.dumps(running.gateway.config_dump()) + running.gateway.log
    assert not [key for key in KEYS.values() if key in told]


# --- Changes --------------------------------------------------------------------------------------------------------


@pytest.fixture
def mistral(
    stand_in: StartStandIn, trust: dict[str, str], tmp_path: Path
) -> Iterator[tuple[ManifestGateway, StandIn, Path]]:
    """Mistral's documents in a folder, a file each, served with a Gateway that is supplied."""
    folder = tmp_path / "manifests"
    folder.mkdir()
    for name, document in zip(("secret", "backend", "route", "tls"), seed().documents[:4], strict=True):
        (folder / f"{name}.yaml").write_text(document.replace("$MISTRAL_API_KEY", "sk-first"))
    provider = stand_in("api.mistral.ai")
    script = f"{TORANA} kubernetes --manifests {folder} --implicit-gateway $GATEWAY_PORT"
    gateway = ManifestGateway(script, tmp_path, *provider.resolve("api.mistral.ai", 443), env=trust)
    yield gateway, provider, folder
    gateway.stop()
    print(f"--- the log:\n{gateway.log}")  # noqa: T201 - pytest shows it when the test has failed


def test_a_rotated_secret_is_live(mistral: tuple[ManifestGateway, StandIn, Path]) -> None:
    """A Secret that changes in its file is used by the next request, without a restart."""
    gateway, provider, folder = mistral
    assert _key_sent(gateway, provider) == "Bearer sk-first"
    _replace(folder / "secret.yaml", "sk-first", "sk-second")
    gateway.wait_for_log("configuration reloaded")
    assert _key_sent(gateway, provider) == "Bearer sk-second"


def test_a_broken_file_changes_nothing(mistral: tuple[ManifestGateway, StandIn, Path]) -> None:
    """A file that is refused is told with its place; what ran goes on, and the mended file takes effect."""
    gateway, provider, folder = mistral
    _replace(folder / "backend.yaml", "port: 443", "prot: 443")
    line = gateway.wait_for_log("backend.yaml:")
    assert 'spec.ai.llm.prot: unknown field; did you mean "port"?' in line
    assert _key_sent(gateway, provider) == "Bearer sk-first"
    _replace(folder / "secret.yaml", "sk-first", "sk-second")
    _replace(folder / "backend.yaml", "prot: 443", "port: 443")
    gateway.wait_for_log("configuration reloaded")
    assert _key_sent(gateway, provider) == "Bearer sk-second"


def test_a_new_file_is_seen(mistral: tuple[ManifestGateway, StandIn, Path]) -> None:
    """A file that is put into the folder, and one that is taken away, count without a restart."""
    gateway, provider, folder = mistral
    more = folder / "more" / "second.yaml"
    text = (folder / "route.yaml").read_text().replace("name: mistral\n  namespace", "name: second\n  namespace", 1)
    more.parent.mkdir()
    more.write_text(text.replace("value: /mistral", "value: /second"))
    gateway.wait_for_log("configuration reloaded")
    assert post(gateway.port, "/second", BODY).status == 200
    provider.wait()
    more.unlink()
    gateway.wait_for_log("configuration reloaded", 2)
    assert post(gateway.port, "/second", BODY).status == 404


# --- Validating -----------------------------------------------------------------------------------------------------


def test_validates_for_ci(tmp_path: Path) -> None:
    """The whole seed is good: a table with every object, and exit code 0; no socket is opened."""
    done = _command(
        f"{heredocs([*seed().documents, GATEWAY])} | {TORANA} kubernetes --validate-only --manifests -", tmp_path
    )
    assert done.returncode == 0, done
    rows = [line.split()[:4] for line in done.stdout.splitlines()]
    assert ["Backend", "gloo-system", "mistral", "True"] in rows
    assert ["HTTPRoute", "gloo-system", "deepseek", "True"] in rows


def test_a_missing_key_fails_in_ci(tmp_path: Path) -> None:
    """With the variable of a key unset the Secret has no value: the Backend is not accepted, and the exit code is 1."""
    script = f"unset MISTRAL_API_KEY; {heredocs([*seed().documents, GATEWAY])} | {TORANA} status --manifests -"
    done = _command(script, tmp_path)
    assert done.returncode == 1, done
    row = next(line for line in done.stdout.splitlines() if line.split()[:3] == ["Backend", "gloo-system", "mistral"])
    assert row.split()[3] == "False"
    assert "mistral-secret" in row


def test_explains(tmp_path: Path) -> None:
    """What would happen to a request is told of manifests too, its key masked."""
    words = "--implicit-gateway 8080 --manifests - -d '{}' http://localhost:8080/mistral"
    done = _command(f"{heredocs(seed().documents)} | {TORANA} explain {words}", tmp_path)
    assert done.returncode == 0, done
    assert "SNI api.mistral.ai" in done.stdout
    assert "authorization: Bearer ***" in done.stdout


def _command(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", script],
        env=environment(KEYS | {"GATEWAY_PORT": "8080"}, folder),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def _answer(body: bytes) -> Script:
    return lambda visit: visit.reply(200, [("Content-Type", "application/json")], body)


def _key_sent(gateway: ManifestGateway, provider: StandIn) -> str | None:
    provider.forget()
    answer: Answer = post(gateway.port, "/mistral", BODY)
    assert answer.status == 200, answer
    return provider.one["authorization"]


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
