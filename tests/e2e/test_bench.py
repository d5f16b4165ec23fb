"""`torana bench`: what a request costs by one's own configuration, without asking anybody outside."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from pathlib import Path

from tests.e2e.harness import command, environment, until
from tests.e2e.simulator import Simulator, simulating
from tests.e2e.test_command import torana_command
from tests.ports import free_port

CONFIG = """\
config: {statsAddr: "127.0.0.1:%(taken)s"}
binds:
- port: 3000
  listeners:
  - routes:
    - hostnames: [llm.example]
      policies: {%(policies)s}
      backends:
      - ai: {name: it, hostOverride: "%(upstream)s", provider: {openAI: {model: configured}}}
"""
QUICK = ("--seconds", "1.2", "--connections", "4", "--rate", "50")


def config(upstream: str, policies: str = "backendAuth: {key: sk-test}") -> str:
    return CONFIG % {"upstream": upstream, "policies": policies, "taken": free_port()}


def asked(simulator: Simulator) -> int:
    """How many requests the simulator has had."""
    with urllib.request.urlopen(f"http://127.0.0.1:{simulator.port}/journal", timeout=30) as answer:
        return len(json.load(answer)["requests"])


def test_prints_both_ways(tmp_path: Path) -> None:
    """Without more options the upstream is simulated, TLS and all, and both ways are told with what Torana adds."""
    text = config("api.example.invalid:443", "backendAuth: {key: sk-test}, backendTLS: {}")
    done = torana_command(tmp_path, "bench", "-c", text, *QUICK)
    assert done.returncode == 0, done.stderr
    direct, through, added = done.stdout.splitlines()[1:4]
    assert re.fullmatch(r"direct( +[\d,.]+){3} *", direct)
    assert re.fullmatch(r"through Torana( +[\d,.]+){3,4} *", through)
    assert re.fullmatch(r"added( +-?[\d.]+){2}", added)


def test_asks_upstream_only_when_allowed(tmp_path: Path) -> None:
    """The configured upstream, be it on this very machine, is asked with --allow-upstream and never without."""
    with simulating() as simulator:
        text = config(f"127.0.0.1:{simulator.port}")
        done = torana_command(tmp_path, "bench", "-c", text, *QUICK)
        assert (done.returncode, asked(simulator)) == (0, 0), done.stderr
        done = torana_command(tmp_path, "bench", "-c", text, *QUICK, "--allow-upstream")
        assert done.returncode == 0, done.stderr
        assert asked(simulator) > 0


def test_models_are_simulated_too(tmp_path: Path) -> None:
    """Of an `llm` the first model is asked by its name, and the upstreams of all models are simulated as others are."""
    port, listening = free_port(), free_port()
    with simulating() as simulator:
        text = f"""\
config: {{statsAddr: "127.0.0.1:{port}"}}
llm:
  port: {listening}
  models:
  - {{name: "own-*", provider: openAI, params: {{baseUrl: "http://127.0.0.1:{simulator.port}/v1", apiKey: sk-test}}}}
  - {{name: other, provider: openAI, params: {{apiKey: sk-test}}}}
"""
        done = torana_command(tmp_path, "bench", "-c", text, *QUICK)
        assert (done.returncode, asked(simulator)) == (0, 0), done.stderr


MESSAGES_FIRST = """\
llm:
  models:
  - {name: "claude-*", provider: anthropic, params: {apiKey: sk-test}}
  - {name: other, provider: openAI, params: {apiKey: sk-test}}
"""


def test_the_first_model_that_can_be_simulated(tmp_path: Path) -> None:
    """A model whose provider speaks an API that is not simulated is named and passed over for the next."""
    done = torana_command(tmp_path, "bench", "-c", MESSAGES_FIRST, *QUICK)
    assert done.returncode == 0, done.stderr
    assert done.stderr == (
        "torana: claude-* needs POST /v1/messages, but `torana simulate` speaks OpenAI's API alone; "
        "other is asked instead\n"
    )


def test_no_model_can_be_simulated(tmp_path: Path) -> None:
    """Where no upstream can be simulated, no figures are made up, and the error says what can be done."""
    text = MESSAGES_FIRST.rpartition("  - ")[0]
    done = torana_command(tmp_path, "bench", "-c", text, *QUICK)
    assert (done.returncode, done.stdout) == (1, "")
    assert "claude-* needs POST /v1/messages" in done.stderr
    assert "--allow-upstream" in done.stderr


def test_translated_calls_are_the_gateways_own(tmp_path: Path) -> None:
    """Straight to the upstream goes what the gateway sends it, in its words and with its headers, both ways alike."""
    with simulating() as simulator:
        text = f"""\
llm:
  port: {free_port()}
  models:
  - {{name: it, provider: anthropic, params: {{baseUrl: "http://127.0.0.1:{simulator.port}/v1", apiKey: sk-test}}}}
"""
        done = torana_command(tmp_path, "bench", "-c", text, *QUICK, "--allow-upstream")
        with urllib.request.urlopen(f"http://127.0.0.1:{simulator.port}/journal", timeout=10) as answer:
            sent = json.load(answer)["requests"][0]
    assert done.returncode == 1  # it has no such path
    assert sent["path"] == "/v1/messages"
    assert sent["headers"]["anthropic-version"]
    assert sent["body"]["max_tokens"]


def test_a_url_that_no_route_takes(tmp_path: Path) -> None:
    """What the gateway would refuse is told with the address of the configuration, and with the option that helps."""
    done = torana_command(tmp_path, "bench", "-c", config("a.example:80"), "--url", "http://b.example:3000/")
    assert done.returncode == 1
    assert done.stderr.startswith("torana: http://b.example:3000/: ")
    assert done.stderr.endswith("Choose another with --url\n")


def test_sigterm_ends_all_of_it(tmp_path: Path) -> None:
    """SIGTERM, as CI sends it when time is up, leaves neither the gateway nor the simulated upstream behind."""
    words = command("bench", "-c", config("a.example:80"))
    with subprocess.Popen(words, stderr=subprocess.PIPE, env=environment({}, tmp_path), cwd=tmp_path) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        until(lambda: len(children.read_text().split()) > 1, "the gateway and the upstream run")
        process.terminate()
        process.communicate(timeout=60)  # all of them have the other end of its standard error
    assert process.returncode == 143


def test_failed_requests_are_told(tmp_path: Path) -> None:
    """Requests that fail, here by a limit of the configuration, are counted with an example, and the exit is 1."""
    limit = "localRateLimit: [{maxTokens: 40, tokensPerFill: 1, fillInterval: 60s}]"
    done = torana_command(tmp_path, "bench", "-c", config("a.example.invalid:80", limit), *QUICK)
    assert done.returncode == 1
    assert re.search(r"[\d]+ requests failed, through Torana: HTTP/1.1 429 ", done.stderr), done.stderr


def test_unreachable_upstream(tmp_path: Path) -> None:
    """An allowed upstream that is not there is named, with the reason."""
    port = free_port()
    done = torana_command(tmp_path, "bench", "-c", config(f"127.0.0.1:{port}"), *QUICK, "--allow-upstream")
    assert done.returncode == 1
    assert f"torana: direct: 127.0.0.1:{port} cannot be reached" in done.stderr


def test_unknown_port(tmp_path: Path) -> None:
    """A URL whose port the configuration does not listen on is answered with those that it does."""
    done = torana_command(tmp_path, "bench", "-c", config("a.example:80"), "--url", "http://localhost:3001/")
    assert (done.returncode, done.stderr) == (1, "torana: nothing listens on port 3001; configured: 3000\n")
