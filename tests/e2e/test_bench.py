"""`torana bench`: what a request costs by one's own configuration, without asking anybody outside."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

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
