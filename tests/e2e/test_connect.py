"""Where a request goes: the forms of an address, TLS or not, whom to trust, and what `Host` says there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme

from tests.e2e.conftest import StartGateway, StartStandIn
from tests.e2e.harness import Gateway
from tests.e2e.routes import ai_route, bind, host_route
from tests.e2e.stand_in import StandIn
from tests.e2e.wire import Answer, post
from tests.ports import free_port

BODY: dict[str, object] = {"messages": []}
PEERS = ("plain", "secure", "six", "unix")


class Peers(NamedTuple):
    """The stand-ins: in plaintext, with TLS, on IPv6, on a Unix socket; and with TLS by a CA nobody trusts."""

    plain: StandIn
    secure: StandIn
    six: StandIn
    unix: StandIn
    foreign: StandIn

    def forget(self) -> None:
        for peer in self:
            peer.forget()


class Reached(NamedTuple):
    """A way to write a backend, which of the stand-ins is reached by it, and the `Host` and the SNI seen there."""

    name: str
    backend: str
    policies: str
    peer: str
    host: str
    sni: str | None = None


AUTHORITY = "urlRewrite: {{authority: {}}}".format

TARGETS = [
    # hostOverride, in all its forms
    Reached("host-port", 'hostOverride: "plain.example:8080"', "", "plain", "plain.example:8080"),
    Reached("host", "hostOverride: plain.example", "", "plain", "plain.example"),
    Reached("host-tls", "hostOverride: secure.example", "backendTLS: {}", "secure", "secure.example", "secure.example"),
    Reached("http", 'hostOverride: "http://plain.example:8080"', "", "plain", "plain.example:8080"),
    Reached("http-80", 'hostOverride: "http://plain.example"', "", "plain", "plain.example"),
    Reached(
        "https-port", 'hostOverride: "https://secure.example:8443"', "", "secure", "secure.example:8443",
        "secure.example",
    ),
    Reached("https", 'hostOverride: "https://secure.example"', "", "secure", "secure.example", "secure.example"),
    Reached("six", 'hostOverride: "[::1]:$SIX"', "", "six", "[::1]:$SIX"),
    Reached("unix", "hostOverride: unix:$UNIX", "", "unix", "localhost"),
    # without it, the authority of urlRewrite; else the provider's own place
    Reached("authority", "", AUTHORITY('{full: "plain.example:8080"}'), "plain", "plain.example:8080"),
    Reached(
        "authority-tls", "", AUTHORITY("{full: secure.example}") + ", backendTLS: {}", "secure", "secure.example",
        "secure.example",
    ),
    Reached("authority-host", "", AUTHORITY("{host: plain.example}"), "plain", "plain.example:$PORT"),
    Reached("provider", "", "", "secure", "api.openai.com", "api.openai.com"),
    Reached("provider-auto", "", AUTHORITY("auto"), "secure", "api.openai.com", "api.openai.com"),
    # :443 does not start TLS; backendTLS does, on any port
    Reached("plain-443", 'hostOverride: "plain.example:443"', "", "plain", "plain.example:443"),
    Reached(
        "tls-8443", 'hostOverride: "secure.example:8443"', "backendTLS: {}", "secure", "secure.example:8443",
        "secure.example",
    ),
    # Host
    Reached(
        "full-443", "hostOverride: secure.example", AUTHORITY('{full: "other.example:443"}') + ", backendTLS: {}",
        "secure", "other.example", "secure.example",
    ),
    Reached(
        "full-80-tls", "hostOverride: secure.example", AUTHORITY('{full: "other.example:80"}') + ", backendTLS: {}",
        "secure", "other.example:80", "secure.example",
    ),
    Reached(
        "full-80", "hostOverride: plain.example", AUTHORITY('{full: "other.example:80"}'), "plain", "other.example",
    ),
    Reached(
        "full-443-plain", "hostOverride: plain.example", AUTHORITY('{full: "other.example:443"}'), "plain",
        "other.example:443",
    ),
    Reached(
        "full-port", "hostOverride: plain.example", AUTHORITY('{full: "other.example:9"}'), "plain", "other.example:9"
    ),
    Reached(
        "host-kept", "hostOverride: plain.example", AUTHORITY("{host: other.example}"), "plain", "other.example:$PORT",
    ),
    Reached("port-kept", "hostOverride: plain.example", AUTHORITY("{port: 77}"), "plain", "client.example:77"),
    Reached("auto", 'hostOverride: "plain.example:8080"', AUTHORITY("auto"), "plain", "plain.example:8080"),
    Reached("none", "hostOverride: plain.example", AUTHORITY("none"), "plain", "client.example:$PORT"),
    # SNI and the name that is checked
    Reached(
        "hostname", "hostOverride: alias.example", "backendTLS: {hostname: secure.example}", "secure", "alias.example",
        "secure.example",
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def peers(shared_stand_in: StartStandIn, tmp_path_factory: pytest.TempPathFactory) -> Peers:
    unix = tmp_path_factory.mktemp("unix") / "socket"
    return Peers(
        shared_stand_in(),
        shared_stand_in("secure.example", "api.openai.com"),
        shared_stand_in(host="::1"),
        shared_stand_in(unix=unix),
        shared_stand_in("foreign.example", "secure.example", ca=trustme.CA()),
    )


def resolved(peers: Peers) -> list[str]:
    return [
        *(word for port in (80, 443, 8080) for word in peers.plain.resolve("plain.example", port)),
        *(word for port in (443, 8443) for word in peers.secure.resolve("secure.example", port)),
        *peers.secure.resolve("api.openai.com", 443),
        *peers.secure.resolve("alias.example", 443),
        *peers.foreign.resolve("foreign.example", 443),
    ]


@pytest.fixture(scope="module")
def targets(shared_gateway: StartGateway, peers: Peers, trust: dict[str, str]) -> Gateway:
    socket = peers.unix.path
    text = bind(
        ai_route(case.name, case.backend or "tokenize: false", case.policies)
        .replace("$SIX", str(peers.six.port))
        .replace("$UNIX", str(socket))
        for case in TARGETS
    )
    return shared_gateway(text, *resolved(peers), env=trust)


@pytest.mark.parametrize("case", TARGETS, ids=lambda case: case.name)
def test_reaches(case: Reached, targets: Gateway, peers: Peers) -> None:
    """An address leads where it says, with TLS when it says so, and the upstream sees the right Host and SNI."""
    peers.forget()
    host = f"client.example:{targets.port}"
    answer = post(targets.port, f"/{case.name}/v1/chat/completions", BODY, {"Host": host})
    assert answer.status == 200, answer.text
    for name in PEERS:
        assert len(getattr(peers, name).seen) == (name == case.peer), f"{case.peer} is reached, and {name} is not"
    seen = getattr(peers, case.peer).one
    assert seen["host"] == case.host.replace("$PORT", str(targets.port)).replace("$SIX", str(peers.six.port))
    assert seen.tls == (case.peer == "secure")
    assert seen.sni == case.sni


def test_port_443_in_plaintext_is_warned_of(targets: Gateway) -> None:
    """A target with port 443 and without TLS gets a warning at load that names its line and the cure."""
    line = next(n for n, text in enumerate(targets.file.read_text().splitlines(), 1) if "plain.example:443" in text)
    warnings = [text for text in targets.log.splitlines() if " warn " in text]
    assert len(warnings) == 1, warnings
    for part in (f"config.yaml:{line}:", "hostOverride", "plain.example:443", "backendTLS: {}"):
        assert part in warnings[0]


# --- trust ---


class Trusted(NamedTuple):
    """TLS settings and what becomes of a connection by them: None is an answer, else a part of the error's text."""

    name: str
    host: str
    tls: str
    failure: str | None = None


TRUST = [
    Trusted("system", "secure.example:443", "{}"),
    Trusted("unknown-ca", "foreign.example:443", "{}", "certificate is not accepted"),
    Trusted("own-root", "foreign.example:443", "{root: foreign.pem}"),
    Trusted("wrong-root", "secure.example:443", "{root: foreign.pem}", "certificate is not accepted"),
    Trusted("wrong-name", "alias.example:443", "{}", "certificate is not accepted"),
    Trusted("wrong-hostname", "secure.example:443", "{hostname: alias.example}", "certificate is not accepted"),
    Trusted("insecure", "foreign.example:443", "{insecure: true}"),
    Trusted("insecure-name", "alias.example:443", "{insecure: true}"),
    Trusted("insecure-host", "alias.example:443", "{insecureHost: true}"),
    Trusted("insecure-host-foreign", "foreign.example:443", "{insecureHost: true}", "certificate is not accepted"),
    Trusted("both-insecure", "foreign.example:443", "{insecure: true, insecureHost: true}", "not accepted"),
    Trusted("names", "alias.example:443", "{subjectAltNames: [none.example, secure.example]}"),
    Trusted("other-names", "secure.example:443", "{subjectAltNames: [none.example]}", "certificate is not accepted"),
    Trusted("not-tls", "plain.example:8080", "{}", "does not seem to speak TLS"),
]


@pytest.fixture(scope="module")
def trusting(
    shared_gateway: StartGateway,
    shared_stand_in: StartStandIn,
    tmp_path_factory: pytest.TempPathFactory,
    trust: dict[str, str],
    peers: Peers,
) -> Gateway:
    folder = tmp_path_factory.mktemp("roots")
    foreign = trustme.CA()
    foreign.cert_pem.write_to_path(str(folder / "foreign.pem"))
    by_foreign = shared_stand_in("foreign.example", ca=foreign)
    routes = [
        ai_route(
            case.name,
            f'hostOverride: "{case.host}"',
            f"backendTLS: {case.tls}".replace("foreign.pem", str(folder / "foreign.pem")),
        )
        for case in TRUST
    ]
    arguments = [word for word in resolved(peers) if word != peers.foreign.resolve("foreign.example", 443)[1]]
    arguments = [*(part for word in arguments if word != "--resolve" for part in ("--resolve", word))]
    return shared_gateway(bind(routes), *arguments, *by_foreign.resolve("foreign.example", 443), env=trust)


@pytest.mark.parametrize("case", TRUST, ids=lambda case: case.name)
def test_trusts(case: Trusted, trusting: Gateway) -> None:
    """A certificate is accepted by the rules of backendTLS; else 503 names the host, the phase `tls` and the time."""
    answer = post(trusting.port, f"/{case.name}/v1/chat/completions", BODY)
    if case.failure is None:
        assert answer.status == 200, answer.text
        return
    check_no_connection(answer, case.host, "tls")
    assert case.failure in answer.error["message"]


def check_no_connection(answer: Answer, host: str, phase: str) -> None:
    assert answer.status == 503, answer.text
    assert answer.error["code"] == "upstream_connect_failed"
    assert f"Cannot connect to {host} (phase {phase}): " in answer.error["message"]
    assert " ms." in answer.error["message"], "the text says how long it took"


def test_ssl_cert_dir(gateway: StartGateway, stand_in: StartStandIn, tmp_path: Path, trust: dict[str, str]) -> None:
    """SSL_CERT_DIR names a folder of trusted certificates, as for every program with OpenSSL."""
    folder = tmp_path / "certificates"
    folder.mkdir()
    for name in hashed_names(Path(trust["SSL_CERT_FILE"])):
        shutil.copy(trust["SSL_CERT_FILE"], folder / name)
    secure = stand_in("secure.example")
    text = bind([ai_route("x", 'hostOverride: "https://secure.example"')])
    env = {"SSL_CERT_DIR": str(folder), "SSL_CERT_FILE": "/nonexistent"}
    running = gateway(text, *secure.resolve("secure.example", 443), env=env)
    answer = post(running.port, "/x/v1/chat/completions", BODY)
    assert answer.status == 200, answer.text


def hashed_names(certificate: Path) -> list[str]:
    """What `openssl rehash` would call it."""
    done = subprocess.run(
        ["openssl", "x509", "-noout", "-subject_hash", "-in", str(certificate)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("needs the openssl command")
    return [f"{done.stdout.strip()}.0"]


def test_client_certificate(gateway: StartGateway, stand_in: StartStandIn, ca: trustme.CA, tmp_path: Path) -> None:
    """`cert` and `key` are shown to an upstream that asks for a certificate; without them it sees none."""
    leaf = ca.issue_cert("gateway.example")
    leaf.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    leaf.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    ca.cert_pem.write_to_path(str(tmp_path / "root.pem"))
    secure = stand_in("secure.example", client_ca=ca)
    tls = f"root: {tmp_path}/root.pem"
    text = bind(
        [
            ai_route("with", "hostOverride: secure.example",
                     f"backendTLS: {{{tls}, cert: {tmp_path}/cert.pem, key: {tmp_path}/key.pem}}"),
            ai_route("without", "hostOverride: secure.example", f"backendTLS: {{{tls}}}"),
        ]
    )  # fmt: skip
    running = gateway(text, *secure.resolve("secure.example", 443))
    assert post(running.port, "/with/v1/chat/completions", BODY).status == 200
    assert post(running.port, "/without/v1/chat/completions", BODY).status == 200
    names = [seen.certificate and seen.certificate["subjectAltName"] for seen in secure.seen]
    assert names == [(("DNS", "gateway.example"),), None]


# --- failures ---


def test_failures_to_connect(gateway: StartGateway, stand_in: StartStandIn) -> None:
    """503 names host, phase and time taken; plaintext to a TLS port is 502 with a hint at the missing backendTLS."""
    gone = free_port()
    secure = stand_in("secure.example")
    text = bind(
        [
            ai_route("refused", f'hostOverride: "127.0.0.1:{gone}"'),
            ai_route("nameless", 'hostOverride: "no-such-name.invalid:80"'),
            ai_route("plain-443", 'hostOverride: "secure.example:443"'),
            ai_route("socketless", "hostOverride: unix:/nonexistent/socket"),
        ]
    )
    running = gateway(text, *secure.resolve("secure.example", 443))

    answer = post(running.port, "/refused/v1/chat/completions", BODY)
    check_no_connection(answer, f"127.0.0.1:{gone}", "connect")
    assert "connection refused" in answer.error["message"]

    check_no_connection(post(running.port, "/nameless/v1/chat/completions", BODY), "no-such-name.invalid:80", "dns")
    check_no_connection(
        post(running.port, "/socketless/v1/chat/completions", BODY), "unix:/nonexistent/socket", "connect"
    )

    answer = post(running.port, "/plain-443/v1/chat/completions", BODY)
    assert answer.status == 502, answer.text
    assert "add `backendTLS: {}`" in answer.error["message"], "the error's text hints at the likely slip"


def test_plain_backend_forms(shared_gateway: StartGateway, peers: Peers, trust: dict[str, str]) -> None:
    """A plain `host` backend takes the same forms, and urlRewrite's authority changes its Host only."""
    peers.forget()
    text = bind(
        [
            host_route("port", "plain.example:8080"),
            host_route("tls", "secure.example:443", "backendTLS: {}"),
            host_route("https", "https://secure.example"),
            host_route("unix", f"unix:{peers.unix.path}"),
            host_route("authority", "plain.example:8080", AUTHORITY("{full: other.example}")),
        ]
    )
    running = shared_gateway(text, *resolved(peers), env=trust)
    for name in ("port", "tls", "https", "unix", "authority"):
        assert post(running.port, f"/{name}/x", BODY).status == 200
    assert [seen["host"] for seen in peers.plain.seen] == ["plain.example:8080", "other.example"]
    assert [seen["host"] for seen in peers.secure.seen] == ["secure.example", "secure.example"]
    assert [seen["host"] for seen in peers.unix.seen] == ["localhost"]
