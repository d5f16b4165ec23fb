"""HTTPS listeners: certificates by SNI, hosts that do not fit them, and client certificates."""

from __future__ import annotations

import contextlib
import socket
import ssl
from pathlib import Path

import pytest
import trustme

from tests.e2e.conftest import StartGateway
from tests.e2e.harness import Gateway
from tests.e2e.wire import Answer, Connection, IncompleteError, ask
from tests.ports import free_port


def pair(folder: Path, ca: trustme.CA, *names: str) -> str:
    """A certificate's files, as YAML's `cert` and `key`."""
    leaf = ca.issue_cert(*names)
    stem = folder / names[0].replace("*", "any")
    leaf.cert_chain_pems[0].write_to_path(f"{stem}.pem")
    leaf.private_key_pem.write_to_path(f"{stem}.key")
    return f"cert: {stem}.pem, key: {stem}.key"


def listener(name: str, hostname: str | None, tls: str | None) -> str:
    host = f"    hostname: '{hostname}'\n" if hostname else ""
    secure = f"    protocol: HTTPS\n    tls: {{{tls}}}\n" if tls else ""
    return (
        f"  - name: {name}\n{host}{secure}"
        f"    routes: [{{policies: {{directResponse: {{status: 200, body: {name}}}}}}}]\n"
    )


@pytest.fixture(scope="module")
def ports(
    shared_gateway: StartGateway, tmp_path_factory: pytest.TempPathFactory, ca: trustme.CA
) -> tuple[Gateway, int, int, int]:
    """A gateway, and its ports for several names, for client certificates, and for TLS 1.2 only."""
    folder = tmp_path_factory.mktemp("certificates")
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    mutual, old = free_port(), free_port()
    text = (
        "binds:\n- port: $GATEWAY_PORT\n  listeners:\n"
        + listener("one", "one.example", pair(folder, ca, "one.example"))
        + listener("two", "two.example", pair(folder, ca, "two.example"))
        + listener("wild", "*.wild.example", pair(folder, ca, "*.wild.example"))
        + f"- port: {mutual}\n  listeners:\n"
        + listener("mutual", None, pair(folder, ca, "mutual.example") + f", root: {folder}/ca.pem")
        + f"- port: {old}\n  listeners:\n"
        + listener("old", None, pair(folder, ca, "old.example") + ", maxTLSVersion: TLS_V1_2")
    )
    gateway = shared_gateway(text)
    return gateway, gateway.port, mutual, old


@pytest.fixture
def client(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


def over_tls(port: int, context: ssl.SSLContext, name: str, host: str) -> Answer:
    with Connection(port, tls=context, name=name) as connection:
        return connection.ask("GET", "/", {"Host": host})


@pytest.mark.parametrize(
    ("name", "listener_name"),
    [("one.example", "one"), ("two.example", "two"), ("a.wild.example", "wild"), ("TWO.example", "two")],
)
def test_certificate_by_name(
    name: str, listener_name: str, ports: tuple[Gateway, int, int, int], client: ssl.SSLContext
) -> None:
    """Each name gets its listener's certificate, which the client checks, and its listener's routes."""
    answer = over_tls(ports[1], client, name, name)
    assert (answer.status, answer.text) == (200, listener_name)


def test_misdirected(ports: tuple[Gateway, int, int, int], client: ssl.SSLContext) -> None:
    """A Host of another listener than the connection was made for is 421; one of no listener is 404."""
    answer = over_tls(ports[1], client, "one.example", "two.example")
    assert answer.status == 421
    assert answer.error["code"] == "misdirected_request"
    assert "one.example" in answer.error["message"]
    assert over_tls(ports[1], client, "one.example", "none.example").status == 404


def test_unknown_name(ports: tuple[Gateway, int, int, int], client: ssl.SSLContext) -> None:
    """A name for which there is no certificate ends the handshake: no other name's certificate is shown."""
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    with pytest.raises((ssl.SSLError, ConnectionError)):  # the alert is written but not sent: uvloop aborts before
        over_tls(ports[1], client, "none.example", "none.example")


def test_plaintext_to_tls(ports: tuple[Gateway, int, int, int]) -> None:
    """Plain HTTP to a TLS port gets no answer that could be taken for one, and the port goes on serving."""
    with contextlib.suppress(IncompleteError, ConnectionError):
        pytest.fail(f"an answer came: {ask(ports[1], 'GET', '/')}")


def test_server_name_is_logged(ports: tuple[Gateway, int, int, int], client: ssl.SSLContext) -> None:
    """The access log of a TLS request has its listener, and the name the connection was made for."""
    over_tls(ports[1], client, "two.example", "two.example:77")
    line = ports[0].wait_for_log("http.host=two.example:77 ")
    assert "listener=two " in line
    assert "tls.sni=two.example " in line


def test_client_certificate(ports: tuple[Gateway, int, int, int], client: ssl.SSLContext, ca: trustme.CA) -> None:
    """With `root`, a client needs a certificate of that CA; without one, or with another's, it is not served."""

    def served(context: ssl.SSLContext) -> bool:
        try:
            return over_tls(ports[2], context, "mutual.example", "any").text == "mutual"
        except (ssl.SSLError, IncompleteError, OSError):
            return False

    assert not served(client), "no certificate"
    stranger = ssl.create_default_context()
    ca.configure_trust(stranger)
    trustme.CA().issue_cert("client.example").configure_cert(stranger)
    assert not served(stranger), "a certificate by a CA that is not the listener's"
    ca.issue_cert("client.example").configure_cert(client)
    assert served(client)


def test_versions(ports: tuple[Gateway, int, int, int], client: ssl.SSLContext) -> None:
    """A listener speaks no newer version than its newest, and none older than TLS 1.2."""
    with Connection(ports[3], tls=client, name="old.example") as connection:
        assert isinstance(connection.sock, ssl.SSLSocket)
        assert connection.sock.version() == "TLSv1.2"
    with Connection(ports[1], tls=client, name="one.example") as connection:
        assert isinstance(connection.sock, ssl.SSLSocket)
        assert connection.sock.version() == "TLSv1.3"
    client.minimum_version = ssl.TLSVersion.TLSv1_3
    with pytest.raises((ssl.SSLError, ConnectionError)):  # as of an unknown name
        over_tls(ports[3], client, "old.example", "old.example")


def test_silent_handshake_holds_nobody_up(ports: tuple[Gateway, int, int, int], client: ssl.SSLContext) -> None:
    """A client that connects to a TLS port and says nothing does not keep others waiting."""
    with socket.create_connection(("127.0.0.1", ports[1])):
        assert over_tls(ports[1], client, "one.example", "one.example").status == 200


def test_listeners_by_host(gateway: StartGateway) -> None:
    """In plaintext the Host decides: exact name, then the longest wildcard, then the listener without one."""
    running = gateway(
        "binds:\n- port: $GATEWAY_PORT\n  listeners:\n"
        + listener("any", None, None)
        + listener("wide", "*.example", None)
        + listener("narrow", "*.a.example", None)
        + listener("exact", "x.a.example", None)
    )
    hosts = {"x.a.example": "exact", "y.a.example": "narrow", "b.example:80": "wide", "else": "any", "[::1]": "any"}
    assert {host: ask(running.port, "GET", "/", {"Host": host}).text for host in hosts} == hosts


def test_several_ports(gateway: StartGateway) -> None:
    """Each bind has a port and listeners of its own, on IPv4 and IPv6."""
    second = free_port()
    text = "binds:\n- port: $GATEWAY_PORT\n  listeners:\n" + listener("first", None, None)
    text += f"- port: {second}\n  listeners:\n" + listener("second", None, None)
    running = gateway(text)
    assert ask(running.port, "GET", "/").text == "first"
    assert ask(second, "GET", "/").text == "second"
    with Connection(second, host="::1") as connection:
        assert connection.ask("GET", "/").text == "second"
