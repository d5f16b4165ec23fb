"""The command: where the configuration comes from, checking it, and how it says that something is wrong."""

from __future__ import annotations

import json
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

import torana
from tests.e2e.harness import Gateway, Source, command, environment, until
from tests.e2e.wire import ask
from tests.ports import free_port

ANSWERING = """\
binds:
- port: $GATEWAY_PORT
  listeners:
  - routes:
    - policies: {directResponse: {status: 200, body: "$GREETING"}}
"""


def torana_command(
    folder: Path, *words: str, text: str | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end; `text` is its standard input."""
    return subprocess.run(
        command(*words),
        input=text or "",
        env=environment(env or {}, folder),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("source", ["file", "stdin", "text"])
def test_sources(source: Source, tmp_path: Path) -> None:
    """The configuration comes from a file, from standard input or from the command line, with variables filled in."""
    gateway = Gateway(ANSWERING, tmp_path, env={"GREETING": "hello there"}, source=source)
    try:
        assert ask(gateway.port, "GET", "/").text == "hello there"
    finally:
        gateway.stop()
    assert gateway.process.returncode == 0, gateway.log


def test_validate_only_opens_no_socket(tmp_path: Path) -> None:
    """A good configuration is said to be, on stdout with exit 0, even where all its ports are taken."""
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        text = ANSWERING.replace("$GATEWAY_PORT", str(port)) + f"config: {{adminAddr: 'localhost:{port}'}}\n"
        done = torana_command(tmp_path, "-c", text, "--validate-only", env={"GREETING": "x"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "Configuration is valid!\n", "")


def test_validate_only_shows_warnings(tmp_path: Path) -> None:
    """What is only doubtful is said on stderr, and the configuration is valid all the same."""
    text = "binds: [{port: 3000, listeners: [{routes: [{backends: [{host: 'a.example:443'}]}]}]}]"
    done = torana_command(tmp_path, "-f", "-", "--validate-only", text=text)
    assert (done.returncode, done.stdout) == (0, "Configuration is valid!\n")
    assert "<stdin>:1:" in done.stderr
    assert "plaintext, on port 443" in done.stderr


@pytest.mark.parametrize("words", [["--validate-only"], []], ids=["validate", "serve"])
def test_all_problems_at_once(words: list[str], tmp_path: Path) -> None:
    """Every problem of a file is told with file, line, column and key path, on stderr, with exit 1."""
    (tmp_path / "bad.yaml").write_text(
        "binds:\n"
        "- port: 3000\n"
        "  listeners:\n"
        "  - routes:\n"
        "    - policies: {urlRewrit: {}, remoteRateLimit: {}}\n"
        "    - policies: {directResponse: {status: many}}\n"
    )
    done = torana_command(tmp_path, "-f", "bad.yaml", *words)
    assert (done.returncode, done.stdout) == (1, "")
    first, second, third = done.stderr.splitlines()
    routes = "binds[0].listeners[0].routes"
    assert first == f'bad.yaml:5:18: error: {routes}[0].policies: unknown key "urlRewrit"; did you mean "urlRewrite"?'
    assert second == f'bad.yaml:5:33: error: {routes}[0].policies: "remoteRateLimit" is not supported yet'
    assert third.startswith(f"bad.yaml:6:43: error: {routes}[1].policies.directResponse.status")


@pytest.mark.parametrize(
    "words",
    [
        ["--no-such-option"],
        ["-f"],
        ["-f", "a.yaml", "-c", "binds: []"],
        ["--validate-only"],
        ["-f", "a.yaml", "--workers", "0"],
        ["-f", "a.yaml", "--workers", "many"],
        ["-c", "binds: []", "--resolve", "nonsense"],
        ["-c", "binds: []", "--resolve", "host:port:address"],
        ["no-such-command"],
        ["explain", "-c", "binds: []"],
    ],
)
def test_usage_errors(words: list[str], tmp_path: Path) -> None:
    """A wrong use of the command is told on stderr, with exit 2."""
    done = torana_command(tmp_path, *words)
    assert (done.returncode, done.stdout) == (2, ""), done
    assert done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-f", "missing.yaml"], "missing.yaml: cannot be read: No such file or directory"),
        (["-f", "."], "Is a directory"),
        (["-f", "latin.yaml"], "is not UTF-8 text"),
        (["-c", ""], "the configuration is empty"),
        (["-c", "binds: ["], "this is not YAML"),
    ],
)
def test_unreadable_configuration(words: list[str], says: str, tmp_path: Path) -> None:
    """What cannot be read at all is told in a line, with exit 1."""
    (tmp_path / "latin.yaml").write_bytes(b"binds: \xff")
    done = torana_command(tmp_path, *words)
    assert (done.returncode, done.stdout) == (1, ""), done
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_port_in_use(workers: str, tmp_path: Path) -> None:
    """A port that another process has is named, with the reason, and the command exits 1."""
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        text = ANSWERING.replace("$GATEWAY_PORT", str(port))
        text += "config: {adminAddr: 'off', statsAddr: 'off', readinessAddr: 'off'}\n"
        done = torana_command(tmp_path, "-c", text, "--workers", workers, env={"GREETING": "x"})
    assert done.returncode == 1
    assert f"cannot listen on port {port}: Address already in use" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize("setting", ["adminAddr", "statsAddr", "readinessAddr"])
def test_operations_port_in_use(setting: str, tmp_path: Path) -> None:
    """The same for an operations address, once, in the system's words, with what names it: setting and variable."""
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        address = f"{'127.0.0.1' if setting == 'adminAddr' else '[::]'}:{port}"
        addresses = {"adminAddr": "off", "statsAddr": "off", "readinessAddr": "off"} | {setting: address}
        text = ANSWERING.replace("$GATEWAY_PORT", str(free_port())) + f"config: {json.dumps(addresses)}\n"
        done = torana_command(tmp_path, "-c", text, env={"GREETING": "x"})
    assert done.returncode == 1
    variable = {"adminAddr": "ADMIN_ADDR", "statsAddr": "STATS_ADDR", "readinessAddr": "READINESS_ADDR"}[setting]
    hint = f"set another address there or in {variable}, or `off`"
    assert done.stderr == f"torana: cannot listen on {address} (config.{setting}): Address already in use; {hint}\n"


def test_version(tmp_path: Path) -> None:
    """`--version` and `-V` print the version."""
    for word in ("--version", "-V"):
        assert torana_command(tmp_path, word).stdout == f"torana {torana.__version__}\n"


def test_schema(tmp_path: Path) -> None:
    """`torana schema` prints the JSON Schema of the configuration file."""
    schema = json.loads(torana_command(tmp_path, "schema").stdout)
    assert "binds" in json.dumps(schema)


@pytest.mark.parametrize("words", ["explain -f - http://a", "migrate -f -", "status -"])
def test_closed_standard_input(words: str, tmp_path: Path) -> None:
    """A standard input that is closed is an empty one, which is told as that and not as a traceback."""
    done = _shell(f'exec "$@" {words} <&-', tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "empty" in done.stderr or "no object" in done.stderr


def test_closed_standard_output(tmp_path: Path) -> None:
    """A gateway without standard files serves, and its log goes to nobody's socket."""
    port = free_port()
    text = (
        ANSWERING.replace("$GATEWAY_PORT", str(port)) + "config: {adminAddr: off, statsAddr: off, readinessAddr: off}"
    )
    env = environment({"GREETING": "hello there"}, tmp_path)
    words = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command("-c", text)]

    def listens() -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        return False

    with subprocess.Popen(words, env=env, cwd=tmp_path) as process:
        try:
            until(listens, "the gateway")
            assert [ask(port, "GET", "/").text for _ in range(3)] == ["hello there"] * 3
        finally:
            process.terminate()
    assert process.returncode == 0


def test_full_disk(tmp_path: Path) -> None:
    """An output that cannot be written is told in one line, with exit 1."""
    done = _shell('exec "$@" schema > /dev/full', tmp_path)
    assert (done.returncode, done.stderr) == (1, "torana: cannot write: No space left on device\n")


def _shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """`script`, of which "$@" is the command, to its end."""
    return subprocess.run(
        ["sh", "-c", script, "sh", *command()],
        env=environment({}, folder),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
