"""The process at work: it stops, reloads and replaces its workers without failing a request."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.e2e.conftest import StartGateway, StartStandIn
from tests.e2e.harness import Gateway, alive, until
from tests.e2e.routes import ai_route, bind, host_route, route
from tests.e2e.stand_in import StandIn, Visit, delta
from tests.e2e.wire import Answer, Connection, IncompleteError, ask, post
from tests.ports import free_port

one_and_two = pytest.mark.parametrize("workers", [1, 2], ids=["one-worker", "two-workers"])


def answering(body: str) -> str:
    return bind([route("x", "backends: []", f"directResponse: {{status: 200, body: '{body}'}}", "{}")])


class Held:
    """A script that holds every answer back until it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def __call__(self, visit: Visit) -> None:
        assert self.let_go.wait(20)
        visit.reply(200, [], b"done")


def in_flight(gateway: Gateway, provider: StandIn, count: int) -> list[Connection]:
    """Connections with a request each that is waiting at the stand-in."""
    connections = [Connection(gateway.port) for _ in range(count)]
    for connection in connections:
        connection.request("GET", "/x")
    provider.wait(count)
    return connections


@pytest.fixture
def slow(stand_in: StartStandIn) -> tuple[StandIn, Held]:
    """A stand-in, and the script that holds its answers back."""
    provider = stand_in()
    held = Held()
    provider.script = held
    return provider, held


def forwarding(top: str = "") -> str:
    return bind([host_route("x", "provider.example:80", matches="{}")], top=top)


# --- stopping ---


@one_and_two
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["term", "int"])
def test_drains(number: signal.Signals, workers: int, gateway: StartGateway, slow: tuple[StandIn, Held]) -> None:
    """On SIGTERM and Ctrl-C no new connection is taken, requests under way get their answers, and the exit is 0."""
    provider, held = slow
    running = gateway(forwarding(), *provider.resolve("provider.example", 80), workers=workers)
    connections = in_flight(running, provider, 20)
    running.signal(number)
    running.wait_for_log("draining")

    def refused() -> bool:
        try:
            Connection(running.port).close()
        except OSError:
            return True
        return False

    until(refused, "the port to be closed")
    held.let_go.set()
    for connection in connections:
        answer = connection.answer()
        assert (answer.status, answer.body, answer.complete) == (200, b"done", True)
        assert answer["connection"] == "close", "the client learns that the connection ends"
        connection.close()
    assert running.wait() == 0
    assert "stopped" in running.log
    assert "cut off" not in running.log


def test_drains_a_stream(gateway: StartGateway, stand_in: StartStandIn) -> None:
    """A stream that is open when the signal comes goes on to its end."""
    provider = stand_in()
    go = threading.Event()

    def script(visit: Visit) -> None:
        visit.begin()
        visit.event(delta("before"))
        assert go.wait(10)
        visit.event(delta("after"))
        visit.end()

    provider.script = script
    text = bind([ai_route("x", "hostOverride: provider.example")])
    running = gateway(text, *provider.resolve("provider.example", 80))
    with Connection(running.port) as connection:
        connection.request("POST", "/x/v1/chat/completions", None, b'{"stream": true}')
        connection.start()
        assert b"before" in connection.reader.chunk()
        running.signal(signal.SIGTERM)
        running.wait_for_log("draining")
        go.set()
        assert b"after" in connection.reader.chunk()
        assert connection.reader.chunk() == b""
    assert running.wait() == 0


def test_stops_while_a_file_is_silent(gateway: StartGateway, tmp_path: Path) -> None:
    """A thread that waits for a file, as on a network whose server is gone, does not hold up the end."""
    running = gateway(answering("x"))
    silent = tmp_path / "silent.pem"
    os.mkfifo(silent)
    tls = f"protocol: HTTPS\n    tls: {{cert: {silent}, key: {silent}}}\n"
    running.write(f"binds:\n- port: {free_port()}\n  listeners:\n  - name: tls\n    {tls}    routes: []\n")

    def opened() -> int | None:
        try:
            return os.open(silent, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads it yet
            return None

    held = until(opened, "the file to be read")
    running.signal(signal.SIGTERM)
    assert running.wait(8) == 0
    assert "stopped" in running.log
    os.close(held or 0)


def test_stops_under_load(gateway: StartGateway, stand_in: StartStandIn) -> None:
    """Under load, every request that has reached its upstream when the signal comes is answered."""
    provider = stand_in()
    provider.script = lambda visit: visit.reply(200, [], visit.seen.target.encode())
    running = gateway(forwarding(), *provider.resolve("provider.example", 80))
    answered: set[str] = set()
    started = threading.Event()

    def client(number: int) -> None:
        with Connection(running.port) as connection:
            for count in range(100_000):
                target = f"/{number}/{count}"
                try:
                    answer = connection.ask("GET", target)
                except (OSError, IncompleteError):
                    return  # closed between two requests
                if answer.complete:
                    answered.add(answer.text)
                if count == 20:
                    started.set()
                if answer["connection"] == "close":
                    return

    threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    assert started.wait(10)
    running.signal(signal.SIGTERM)
    assert running.wait() == 0
    for thread in threads:
        thread.join(10)
    unanswered = {seen.target for seen in provider.seen} - answered
    assert not unanswered, f"reached the upstream and got no answer: {unanswered}"


@one_and_two
def test_second_signal(workers: int, gateway: StartGateway, slow: tuple[StandIn, Held]) -> None:
    """A second signal ends the process at once, whatever is under way, and frees its port."""
    provider, held = slow
    text = f"config:\n  connectionTerminationDeadline: 60s\n{forwarding()}"
    running = gateway(text, *provider.resolve("provider.example", 80), workers=workers)
    (connection,) = in_flight(running, provider, 1)
    children = running.workers() if workers > 1 else []
    running.signal(signal.SIGINT)
    running.wait_for_log("draining")
    running.signal(signal.SIGINT)
    running.wait()
    with pytest.raises(IncompleteError):
        connection.start()
    until(lambda: not any(map(alive, children)), "the workers to end too")
    held.let_go.set()
    connection.close()


@one_and_two
def test_deadline(workers: int, gateway: StartGateway, slow: tuple[StandIn, Held]) -> None:
    """Requests that take longer than connectionTerminationDeadline are cut off, and the log says so."""
    provider, held = slow
    text = f"config:\n  connectionTerminationDeadline: 300ms\n{forwarding()}"
    running = gateway(text, *provider.resolve("provider.example", 80), workers=workers)
    (connection,) = in_flight(running, provider, 1)
    running.signal(signal.SIGTERM)
    assert running.wait() == 0
    assert "cut off" in running.log
    with pytest.raises(IncompleteError):
        connection.start()
    held.let_go.set()
    connection.close()


def test_quit_by_request(gateway: StartGateway) -> None:
    """POST /quitquitquit drains and ends the process as a signal does."""
    running = gateway(answering("x"))
    port = int(running.admin.rpartition(":")[2])
    assert ask(port, "GET", "/quitquitquit").status == 404
    assert ask(port, "POST", "/quitquitquit", None, b"").status == 200
    assert running.wait() == 0


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost"}, 200),
        ({"Host": "LOCALHOST.:15000"}, 200),
        ({"Host": "[::1]:15000"}, 200),
        ({"Host": "192.0.2.1"}, 200),
        ({"Host": "rebound.example:15000"}, 403),
        ({"Host": "localhost.example"}, 403),
        ({"Host": "127.0.0.1.example"}, 403),
        ({"Host": ""}, 403),
        ({"Origin": "http://a.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost"}, 403),
    ],
)
def test_admin_is_not_for_web_pages(headers: dict[str, str], status: int, quiet: Gateway) -> None:
    """The admin address answers 403 to what a page in a browser may send: an Origin, or a Host pointed here."""
    port = int(quiet.admin.rpartition(":")[2])
    answer = ask(port, "GET", "/config_dump", headers)
    assert answer.status == status
    assert (b"binds" in answer.body) is (status == 200)
    if status == 403:
        assert ask(port, "POST", "/quitquitquit", headers, b"").status == 403
        assert quiet.process.poll() is None
    stats = int(quiet.stats.rpartition(":")[2])
    assert ask(stats, "GET", "/metrics", headers).status == 200, "only the admin address is so"


@pytest.fixture(scope="module")
def quiet(shared_gateway: StartGateway) -> Gateway:
    """A gateway that nobody else uses or ends."""
    return shared_gateway(answering("x"))


def test_admin_at_a_socket(gateway: StartGateway, tmp_path: Path) -> None:
    """At a Unix socket, which no page reaches, any Host will do."""
    path = tmp_path / "admin"
    gateway(answering("x"), env={"ADMIN_ADDR": f"unix:{path}"})
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        sock.sendall(b"GET /config_dump HTTP/1.1\r\nHost: any.example\r\nConnection: close\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 200 ")


def test_not_ready_while_draining(gateway: StartGateway, slow: tuple[StandIn, Held]) -> None:
    """Readiness fails while the process drains, so that nobody sends it more."""
    provider, held = slow
    running = gateway(forwarding(), *provider.resolve("provider.example", 80))
    assert running.get(running.readiness, "/healthz/ready").text == "ready\n"
    (connection,) = in_flight(running, provider, 1)
    running.signal(signal.SIGTERM)
    running.wait_for_log("draining")
    answer = running.get(running.readiness, "/healthz/ready")
    assert (answer.status, answer.text) == (500, "not ready, pending: draining\n")
    held.let_go.set()
    assert connection.answer().status == 200
    connection.close()
    assert running.wait() == 0


# --- reloading ---


class Load:
    """Clients that ask again and again; what went wrong is in `failures`."""

    def __init__(self, port: int, check: Callable[[Answer], bool]) -> None:
        self.failures: list[str] = []
        self.answers = 0
        self._port = port
        self._check = check
        self._stop = threading.Event()

    @contextmanager
    def running(self, clients: int) -> Iterator[None]:
        """Half of the clients keep their connection, half make one for each request."""
        threads = [threading.Thread(target=self._client, args=(bool(number % 2),)) for number in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(10)

    def _client(self, keep: bool) -> None:
        connection = Connection(self._port)
        try:
            while not self._stop.is_set():
                answer = connection.ask("GET", "/x")
                self.answers += 1
                if not answer.complete or not self._check(answer):
                    self.failures.append(repr(answer))
                if not keep:
                    connection.close()
                    connection = Connection(self._port)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong is what is looked for
            self.failures.append(repr(error))
        finally:
            connection.close()


@one_and_two
def test_reloads_under_load(workers: int, gateway: StartGateway) -> None:
    """Forty changes within seconds fail no request, and what is served at last is the last of them."""
    running = gateway(answering("version 0"), workers=workers)
    load = Load(running.port, lambda answer: answer.status == 200 and answer.text.startswith("version "))

    def served(body: str) -> bool:
        return ask(running.port, "GET", "/x").text == body

    with load.running(4):
        for number in range(1, 41):
            running.write(answering(f"version {number}"))
            time.sleep(0.05)  # the pace of the changes, not a wait
            if number % 10 == 0:
                until(partial(served, f"version {number}"), f"version {number} to be served")
        for _ in range(10):
            assert served("version 40")
        until(lambda: load.failures or load.answers > 200, "200 answers")
    assert not load.failures, load.failures[:5]
    until(lambda: running.log.count("configuration reloaded") >= 4, "a reload for each ten changes to be told of")
    assert "refused" not in running.log


def test_reload_says_what_changed(gateway: StartGateway) -> None:
    """One line of the log tells what a reload changed and how long it took."""
    running = gateway(answering("x"))
    line = running.reload(answering("x").replace("routes:\n", "routes:\n    - name: new\n"))
    assert re.search(r"configuration reloaded: \+1 route, [0-9]+ ms$", line), line


@one_and_two
def test_bad_reload(workers: int, gateway: StartGateway) -> None:
    """A bad configuration is told of with its line while the old one serves; a gauge is 0 until it is mended."""
    running = gateway(answering("old"), workers=workers)
    assert synchronized(running) == 1
    running.reload(answering("new").replace("directResponse", "directRespons"), "is refused, the former one stays")
    line = next(n for n, text in enumerate(running.file.read_text().splitlines(), 1) if "directRespons" in text)
    assert f"config.yaml:{line}:" in running.wait_for_log('did you mean "directResponse"?')
    assert ask(running.port, "GET", "/x").text == "old"
    assert synchronized(running) == 0
    running.reload(answering("mended"))
    assert ask(running.port, "GET", "/x").text == "mended"
    assert synchronized(running) == 1


def synchronized(running: Gateway) -> float:
    found = re.search(r"^agentgateway_config_synchronized (\S+)$", running.metrics(), re.MULTILINE)
    assert found is not None
    return float(found[1])


def test_reload_to_a_taken_port(gateway: StartGateway, stand_in: StartStandIn) -> None:
    """A new port that cannot be opened refuses the reload as a whole."""
    running = gateway(answering("old"))
    taken = stand_in().port
    changed = answering("new") + f"- port: {taken}\n  listeners: [{{routes: []}}]\n"
    running.reload(changed, "is refused, the former one stays")
    running.wait_for_log(f"cannot listen on port {taken}: Address already in use")
    assert ask(running.port, "GET", "/x").text == "old"
    assert synchronized(running) == 0


@one_and_two
def test_reload_of_ports(workers: int, gateway: StartGateway) -> None:
    """A reload opens the ports that are new and closes those that are gone."""
    running = gateway(answering("x"), workers=workers)
    second = free_port()
    running.reload(answering("x") + answering("y").replace("binds:\n", "").replace("$GATEWAY_PORT", str(second)))
    assert ask(second, "GET", "/x").text == "y"
    running.reload(answering("z"))
    assert ask(running.port, "GET", "/x").text == "z"

    def closed() -> bool:
        try:
            Connection(second).close()
        except OSError:
            return True
        return False

    until(closed, "the port that is gone to be closed")


@one_and_two
def test_stream_survives_a_reload(workers: int, gateway: StartGateway, stand_in: StartStandIn) -> None:
    """A stream goes on by the configuration it began with, even when its route is gone; what is new by the new one."""
    provider = stand_in()
    go = threading.Event()

    def script(visit: Visit) -> None:
        visit.begin()
        visit.event(delta("before"))
        assert go.wait(10)
        visit.event(delta("after"))
        visit.event(b"[DONE]")
        visit.end()

    provider.script = script
    text = bind([ai_route("x", "hostOverride: provider.example")])
    running = gateway(text, *provider.resolve("provider.example", 80), workers=workers)
    with Connection(running.port) as connection:
        connection.request("POST", "/x/v1/chat/completions", None, b'{"stream": true}')
        connection.start()
        assert b"before" in connection.reader.chunk()
        running.reload(answering("new"))
        assert ask(running.port, "GET", "/x").text == "new"
        go.set()
        assert b"after" in connection.reader.chunk()
        assert b"[DONE]" in connection.reader.chunk()
        assert connection.reader.chunk() == b""
        assert connection.ask("GET", "/x").text == "new", "the connection goes on, by the new configuration"


def test_reload_keeps_upstream_connections(gateway: StartGateway, stand_in: StartStandIn) -> None:
    """A reload that leaves a backend where it is leaves its connections open."""
    provider = stand_in()
    running = gateway(forwarding(), *provider.resolve("provider.example", 80))
    ask(running.port, "GET", "/x")
    running.reload(forwarding().replace("name: x", "name: y"))
    ask(running.port, "GET", "/x")
    assert [seen.connection for seen in provider.seen] == [0, 0]


def test_new_file_is_watched(gateway: StartGateway, stand_in: StartStandIn, tmp_path: Path) -> None:
    """A file that only a reload has named is watched from then on."""
    provider = stand_in()
    key = tmp_path / "key"
    key.write_text("sk-1")
    running = gateway(answering("x"), *provider.resolve("provider.example", 80))
    running.reload(bind([host_route("x", "provider.example:80", f"backendAuth: {{key: {{file: {key}}}}}", "{}")]))
    key.write_text("sk-2")
    running.wait_for_log("configuration reloaded", 2)
    ask(running.port, "GET", "/x")
    assert provider.one["authorization"] == "Bearer sk-2"


def test_sighup(gateway: StartGateway) -> None:
    """SIGHUP reloads even when no file has changed."""
    running = gateway(answering("x"))
    running.signal(signal.SIGHUP)
    assert "no change" in running.wait_for_log("configuration reloaded")


def test_settings_need_a_start(gateway: StartGateway) -> None:
    """A changed `config` block is told of: it takes effect at the next start."""
    running = gateway(answering("x"))
    running.reload(f"config:\n  connectionTerminationDeadline: 7s\n{answering('y')}")
    assert " warn " in running.wait_for_log("takes effect at the next start")
    assert ask(running.port, "GET", "/x").text == "y"


@one_and_two
def test_secret_rotates(workers: int, gateway: StartGateway, stand_in: StartStandIn, tmp_path: Path) -> None:
    """A key in a file of its own is read again when the file changes, also in the way Kubernetes changes it."""
    provider = stand_in()
    data = tmp_path / "..data"
    folders = [tmp_path / "..1", tmp_path / "..2"]
    for number, folder in enumerate(folders):
        folder.mkdir()
        (folder / "key").write_text(f"sk-{number}\n")
    data.symlink_to(folders[0].name)
    (tmp_path / "key").symlink_to("..data/key")
    policies = f"backendAuth: {{key: {{file: {tmp_path}/key}}}}"
    text = bind([ai_route("x", "hostOverride: provider.example", policies)])
    running = gateway(text, *provider.resolve("provider.example", 80), workers=workers)

    def key() -> str | None:
        provider.forget()
        assert post(running.port, "/x/v1/chat/completions", {}).status == 200
        return provider.one["authorization"]

    assert key() == "Bearer sk-0"
    (tmp_path / "..new").symlink_to(folders[1].name)
    (tmp_path / "..new").rename(data)
    until(lambda: key() == "Bearer sk-1", "the new key behind the swapped link")
    (folders[1] / "key").write_text("sk-2")
    until(lambda: key() == "Bearer sk-2", "the new key in the changed file")
    (folders[1] / "key").write_text("")
    running.wait_for_log("the former one stays")
    assert key() == "Bearer sk-2", "an empty file is no key"


@one_and_two
def test_certificate_rotates(workers: int, gateway: StartGateway, ca: trustme.CA, tmp_path: Path) -> None:
    """A listener's certificate is read again when its files change, without failing a connection."""

    def issue() -> None:
        leaf = ca.issue_cert("gateway.example")
        for name, pem in (("cert", leaf.cert_chain_pems[0]), ("key", leaf.private_key_pem)):
            pem.write_to_path(str(tmp_path / f"{name}.new"))
        for name in ("key", "cert"):  # between the two the pair does not fit, which must do no harm
            (tmp_path / f"{name}.new").rename(tmp_path / f"{name}.pem")

    issue()
    context = ssl.create_default_context()
    ca.configure_trust(context)
    text = answering("x").replace(
        "  - routes:",
        f"  - protocol: HTTPS\n    tls: {{cert: {tmp_path}/cert.pem, key: {tmp_path}/key.pem}}\n    routes:",
    )
    running = gateway(text, workers=workers)

    def serial() -> Any:
        with Connection(running.port, tls=context, name="gateway.example") as connection:
            assert connection.ask("GET", "/x").text == "x"
            assert isinstance(connection.sock, ssl.SSLSocket)
            return (connection.sock.getpeercert() or {})["serialNumber"]

    first = serial()
    with Connection(running.port, tls=context, name="gateway.example") as open_one:
        assert open_one.ask("GET", "/x").text == "x"
        issue()
        until(lambda: all(serial() != first for _ in range(4)), "the new certificate")
        assert open_one.ask("GET", "/x").text == "x", "a connection that is open stays so"


# --- workers ---


def test_killed_worker_is_replaced(gateway: StartGateway) -> None:
    """A worker that is killed is replaced, and requests are served all the while."""
    running = gateway(answering("x"), workers=2)
    before = running.workers()
    assert len(before) == 2
    os.kill(before[0], signal.SIGKILL)
    running.wait_for_log(f"worker {before[0]} ended with status -9; starting another")
    for _ in range(20):
        assert ask(running.port, "GET", "/x").text == "x"
    until(lambda: served_by(running) == 2, "the new worker to listen")
    after = running.workers()
    assert len(after) == 2
    assert before[1] in after
    for _ in range(20):
        assert ask(running.port, "GET", "/x").text == "x"
    running.reload(answering("y"))
    for _ in range(20):
        assert ask(running.port, "GET", "/x").text == "y", "the new worker takes part in reloads"


def served_by(running: Gateway) -> int:
    """Workers that take connections: each has a listening socket of its own on the port."""
    suffix = f":{running.port:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()
    return sum(1 for line in lines if line.split()[1].endswith(suffix) and line.split()[3] == "0A")


def test_workers_end_with_their_parent(gateway: StartGateway) -> None:
    """When the parent is killed its workers end too, and the port is free."""
    running = gateway(answering("x"), workers=2)
    children = running.workers()
    running.process.kill()
    running.wait()
    until(lambda: not any(map(alive, children)), "the workers to end")


def test_workers_are_summed(gateway: StartGateway) -> None:
    """The numbers of all workers are one: every request counts once, whoever served it."""
    running = gateway(answering("x"), workers=2)
    for _ in range(60):
        assert ask(running.port, "GET", "/x").status == 200

    def counted() -> bool:
        found = re.search(r'^agentgateway_requests_total\{.*route="x".*\} (\S+)$', running.metrics(), re.MULTILINE)
        return found is not None and float(found[1]) == 60

    until(counted, "60 requests in the metrics")
    assert "agentgateway_workers 2.0" in running.metrics()
    assert json.loads(running.get(running.admin, "/config_dump").body)["config"]["binds"]
