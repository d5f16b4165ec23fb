"""The command's own words: help, version, and wrong uses."""

from __future__ import annotations

import socket

import pytest
from click.testing import CliRunner

from torana import __version__
from torana.cli.main import app
from torana.cli.serve import parse_overrides
from torana.http.dial import Override

RUNNER = CliRunner()


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_version(flag: str) -> None:
    """The version is one line, with exit 0, whatever else is given."""
    done = RUNNER.invoke(app, [flag, "-f", "none.yaml"])
    assert (done.exit_code, done.stdout) == (0, f"torana {__version__}\n")


@pytest.mark.parametrize(
    "words", [[], ["explain"], ["schema"], ["simulate"], ["local"], ["migrate"], ["import"], ["export"]]
)
def test_help(words: list[str]) -> None:
    """`--help` tells how to use the command and each of its subcommands, with exit 0."""
    done = RUNNER.invoke(app, [*words, "--help"])
    assert done.exit_code == 0
    assert done.stdout.startswith("Usage: " + " ".join(["torana", *words]))
    assert "--help" in done.stdout


def test_every_command_is_listed() -> None:
    """The help of the command lists its subcommands."""
    listed = RUNNER.invoke(app, ["--help"]).stdout.partition("Commands:")[2].split()
    assert {"explain", "schema", "simulate", "local", "migrate", "import", "export"} <= {*listed}


def test_no_arguments() -> None:
    """Without arguments the command tells how to use it; that is no success, since nothing is served."""
    done = RUNNER.invoke(app, [])
    assert done.exit_code == 2
    assert "Usage: " in done.output


_CONFIG = ["-c", "binds: []"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--nonsense"], "No such option '--nonsense'"),
        (["nonsense"], "No such command 'nonsense'"),
        (["-f"], "requires an argument"),
        (["-f", "a.yaml", *_CONFIG], "either -f FILE"),
        (["--validate-only"], "either -f FILE"),
        ([*_CONFIG, "--workers", "0"], "--workers"),
        ([*_CONFIG, "--workers", "two"], "--workers"),
        ([*_CONFIG, "--resolve", "a:1"], "--resolve"),
        (["explain"], "URL"),
        (["explain", "http://a"], "either -f FILE"),
        (["explain", "http://a", "-f", "a.yaml", *_CONFIG], "either -f FILE"),
        (["explain", *_CONFIG, "http://a", "--resolve", "a"], "--resolve"),
        (["explain", *_CONFIG, "http://a", "-H", "no-colon"], "-H"),
        (["explain", *_CONFIG, "http://a", "-H", ": x"], "-H"),
        (["explain", *_CONFIG, "localhost:3000/v1"], "whole URL"),
        (["explain", *_CONFIG, "/v1/models"], "whole URL"),
        (["explain", *_CONFIG, "ftp://a/"], "whole URL"),
        (["explain", *_CONFIG, "http:///v1"], "whole URL"),
        (["explain", *_CONFIG, "http://a:port/"], "no URL"),
        (["explain", *_CONFIG, "http://a:99999/"], "no URL"),
        (["explain", *_CONFIG, "http://[::1/"], "no URL"),
        (["explain", *_CONFIG, "http://a", "--expand-env"], "--expand-env has no effect here: it needs --manifests"),
        (["explain", *_CONFIG, "http://a", "-n", "b"], "--namespace has no effect here: it needs --manifests"),
        (["explain", *_CONFIG, "http://a", "--class-name", "b"], "--class-name has no effect here"),
        (["kubernetes", "--expand-env"], "--expand-env has no effect here: it needs --manifests PATH"),
        (["kubernetes", "--namespace", "default"], "--namespace has no effect here: it needs --manifests PATH"),
        (["kubernetes", "--on-duplicate", "last"], "--on-duplicate has no effect here: it needs --manifests PATH"),
        (["kubernetes", "--port-map", "80=8080"], "--port-map has no effect here: it needs --manifests PATH"),
        (["kubernetes", "--validate-only"], "--validate-only has no effect here: it needs --manifests PATH"),
        (["kubernetes", "--manifests", "a", "--kubeconfig", "b"], "--kubeconfig has no effect here: it needs no --man"),
        (["kubernetes", "a", "--context", "b"], "--context has no effect here: it needs no --manifests"),
        (["kubernetes", "a", "--lease-namespace", "b"], "--lease-namespace has no effect here: it needs no --man"),
        ([*_CONFIG, "bench"], "--config has no effect before `bench`"),
        (["--workers", "2", "kubernetes", "a"], "--workers has no effect before `kubernetes`"),
        (["--validate-only", "status", "a"], "--validate-only has no effect before `status`"),
        (["bench", *_CONFIG, "--seconds", "nan"], "nan is not a number"),
        (["bench", *_CONFIG, "--rate", "inf"], "--rate"),
        (["simulate", "--tokens-per-second", "inf"], "inf is not a number"),
        (["simulate", "--first-token", "nan"], "nan is not a number"),
        (["simulate", "--port", "65536"], "--port"),
        (["simulate", "--tokens", "0"], "--tokens"),
        (["simulate", "--api-key", ""], "not empty"),
        (["local", "--port", "0"], "--port"),
        (["local", "--model", "nowhere.gguf"], "'nowhere.gguf' does not exist"),
    ],
)
def test_wrong_uses(words: list[str], says: str) -> None:
    """A wrong use exits 2, and standard error says what is wrong with it."""
    done = RUNNER.invoke(app, words)
    assert done.exit_code == 2, done.output
    assert says in " ".join(done.stderr.split())
    assert done.stdout == ""


def test_a_good_configuration() -> None:
    """`--validate-only` says that a configuration is valid, with exit 0."""
    done = RUNNER.invoke(app, [*_CONFIG, "--validate-only"])
    assert (done.exit_code, done.stdout) == (0, "Configuration is valid!\n")


@pytest.mark.parametrize("words", [["--validate-only"], []])
def test_a_bad_configuration(words: list[str]) -> None:
    """A configuration with problems exits 1, all of them on standard error."""
    done = RUNNER.invoke(app, ["-c", "bindz: []\nconfigs: {}", *words])
    assert (done.exit_code, done.stdout) == (1, "")
    assert "bindz" in done.stderr
    assert "configs" in done.stderr


@pytest.mark.parametrize(
    ("entry", "place", "to"),
    [
        ("api.x.ai:443:127.0.0.1:8443", ("api.x.ai", 443), Override("127.0.0.1", 8443)),
        ("api.x.ai:443:127.0.0.1", ("api.x.ai", 443), Override("127.0.0.1", 443)),
        ("api.x.ai:443:[::1]:8443", ("api.x.ai", 443), Override("::1", 8443)),
        ("api.x.ai:443:[fe80::1]", ("api.x.ai", 443), Override("fe80::1", 443)),
        ("[::1]:80:127.0.0.1:8080", ("::1", 80), Override("127.0.0.1", 8080)),
        ("[::1]:80:[::2]", ("::1", 80), Override("::2", 80)),
        ("a:1:other.example:65535", ("a", 1), Override("other.example", 65535)),
    ],
)
def test_overrides(entry: str, place: tuple[str, int], to: Override) -> None:
    """`--resolve HOST:PORT:ADDRESS[:PORT]` names a place and where to connect instead, IPv6 in brackets."""
    assert parse_overrides([entry]) == {place: to}


def test_overrides_have_no_case() -> None:
    """The host is compared without case, as host names are; a configuration's are in lower case."""
    assert parse_overrides(["API.X.AI:443:127.0.0.1:8443"]) == {("api.x.ai", 443): Override("127.0.0.1", 8443)}


def test_several_overrides() -> None:
    """`--resolve` may be given again; for one place the last one counts."""
    assert parse_overrides([]) == {}
    assert parse_overrides(["a:1:b", "c:2:d:3", "a:1:e"]) == {
        ("a", 1): Override("e", 1),
        ("c", 2): Override("d", 3),
    }


@pytest.mark.parametrize(
    "entry",
    ["", "a", "a:443", "a:443:", ":443:b", "a::b", "a:x:b", "a:443:b:x", "a:443:b:", "a:443:b:1:2", "a:443:::1",
     "a:443:[::1", "a:443:::1]", "a:443:[]", "a:443:[::1]8080", "a:443:[::1]x:80", "::1:80:b", "a:0:b", "a:65536:b",
     "a:443:b:0", "a:443:b:65536", "a:\u00b2:b", "a:\u0663:b", "a:-1:b", "a b:443:c", "a:443:b\n"],
)  # fmt: skip
def test_no_overrides(entry: str) -> None:
    """Anything else is a wrong use, which exits 2 and shows the right form."""
    done = RUNNER.invoke(app, [*_CONFIG, "--validate-only", "--resolve", entry])
    assert done.exit_code == 2
    assert "is not HOST:PORT:ADDRESS[:PORT]" in " ".join(done.stderr.split())


def test_the_list_of_commands_is_told_in_whole_sentences() -> None:
    """What the help says of each command fits into its line at the usual width: nothing ends in dots."""
    listed = RUNNER.invoke(app, ["--help"], terminal_width=80).stdout.partition("Commands:")[2]
    assert "..." not in listed
    assert all(line.endswith(".") for line in listed.splitlines() if line.strip())


def test_a_port_that_is_taken_is_told_before_a_model_is_loaded() -> None:
    """`torana local` on a taken port says so at once, and how to choose another; no address is promised before."""
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        done = RUNNER.invoke(app, ["local", "--port", str(port)])
    assert done.exit_code == 1
    assert done.output == f"torana: cannot listen on port {port}: Address already in use; choose another with --port\n"
