"""The servers of a measurement: how each is started on its core, the providers, and what a process tree costs.

Each runs on the cores it is given, on a port that was free, from a configuration written for it, and is stopped by its
own handle.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import trustme

_TICKS = os.sysconf("SC_CLK_TCK")
_STOP_SECONDS = 10
_START_SECONDS = 10

# nginx reads a parameter of up to 4 KiB (NGX_CONF_BUFFER), less its quotes; longer texts are joined from several.
_NGINX_PARAMETER = 4000

SMALL, LARGE = 1024, 16384
"""The two sizes of an answer in bytes; a request of LARGE is answered in kind, every other with SMALL."""


class Server(NamedTuple):
    """A running server: its port, and the process at the root of its tree (0 when there is none to account for)."""

    port: int
    pid: int = 0


class Provider(NamedTuple):
    """What plays the provider: a port on 127.0.0.1, and the file of the root its certificate is from, if it has one."""

    port: int
    root: Path | None = None

    @property
    def origin(self) -> str:
        return f"http{'s' if self.root else ''}://{self.host}:{self.port}"

    @property
    def host(self) -> str:
        return "localhost" if self.root else "127.0.0.1"


class Cost(NamedTuple):
    """What a tree of processes has used so far: CPU time in seconds, and resident memory in bytes."""

    cpu: float
    rss: int


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def chat_request(size: int) -> bytes:
    """A chat request of `size` bytes; none smaller than its frame."""
    head, tail = b'{"model":"asked-for","messages":[{"role":"user","content":"', b'"}]}'
    return head + b"a" * (size - len(head) - len(tail)) + tail


def chat_answer(size: int) -> str:
    """A chat completion with usage, `size` bytes long."""
    answer = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "configured",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 200, "completion_tokens": 200, "total_tokens": 400},
    }
    padding = size - len(json.dumps(answer))
    answer["choices"][0]["message"]["content"] = "a" * padding  # type: ignore[index]
    return json.dumps(answer)


@contextmanager
def provider(folder: Path, core: str, *, tls: bool = False) -> Iterator[Provider]:
    """Nginx that answers every request with a chat completion out of memory, LARGE for requests of about that size."""
    port, root, secured = free_port(), None, ""
    if tls:
        root, authority = folder / "root.pem", trustme.CA()
        authority.cert_pem.write_to_path(str(root))
        certificate = authority.issue_cert("localhost")
        certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "provider.pem"))
        secured = f"ssl_certificate {folder}/provider.pem; ssl_certificate_key {folder}/provider.pem;"
    small, large = _variables("small", SMALL), _variables("large", LARGE)
    server = "\n".join(
        [
            # Gateways change the length a little: another model, other whitespace.
            f'map $content_length $answer {{ default "{small.joined}"; "~^1[5-7][0-9][0-9][0-9]$" "{large.joined}"; }}',
            "server {",
            f"listen 127.0.0.1:{port} backlog=4096 {'ssl' if tls else ''}; {secured}",
            "access_log off;",
            "client_max_body_size 0;",
            "default_type application/json;",
            *(f"set {name} '{part}';" for name, part in [*small.parts, *large.parts]),
            'return 200 "$answer";',
            "}",
        ]
    )
    with running(nginx(folder, "provider", server), core, folder / "provider.out"):
        _await_port(port)
        yield Provider(port, root)


@contextmanager
def stream_source(folder: Path, core: str, program: str) -> Iterator[Provider]:
    """bench/source.c: a provider that only streams."""
    port = free_port()
    with running([program, str(port)], core, folder / "source.out"):
        _await_port(port)
        yield Provider(port)


def _await_port(port: int) -> None:
    """Raises ConnectionError."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port)):
                return
        except ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


class _Variables(NamedTuple):
    parts: list[tuple[str, str]]
    joined: str


def _variables(name: str, size: int) -> _Variables:
    answer = chat_answer(size)
    starts = range(0, size, _NGINX_PARAMETER)
    parts = [(f"${name}{at}", answer[start : start + _NGINX_PARAMETER]) for at, start in enumerate(starts)]
    return _Variables(parts, "".join(f"${{{variable[1:]}}}" for variable, _ in parts))


def cost(pid: int) -> Cost:
    """CPU time and memory of a process and all below it, those that have ended too (proc(5): stat fields 14 to 17)."""
    page = os.sysconf("SC_PAGE_SIZE")
    parents: dict[int, int] = {}
    costs: dict[int, Cost] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The second field, the name, may hold anything; the rest comes after its closing parenthesis.
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        child = int(stat.parent.name)
        parents[child] = int(fields[1])
        costs[child] = Cost(sum(map(int, fields[11:15])) / _TICKS, int(fields[21]) * page)
    tree = [child for child in costs if _descends(child, pid, parents)]
    return Cost(sum(costs[child].cpu for child in tree), sum(costs[child].rss for child in tree))


def has_ended(pid: int) -> bool:
    """Whether a process that was started here has ended (proc(5): state Z, until it is waited for)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def _descends(child: int, ancestor: int, parents: dict[int, int]) -> bool:
    while child not in (0, ancestor):
        child = parents.get(child, 0)
    return child == ancestor


def nginx(folder: Path, name: str, http: str) -> list[str]:
    config = folder / f"{name}.conf"
    config.write_text(f"""
worker_processes 1;
daemon off;
pid {folder}/{name}.pid;
error_log stderr warn;
events {{ worker_connections 16384; }}
http {{
  client_body_temp_path {folder}/{name}-body;
  proxy_temp_path {folder}/{name}-proxy;
  fastcgi_temp_path {folder}/{name}-fastcgi;
  uwsgi_temp_path {folder}/{name}-uwsgi;
  scgi_temp_path {folder}/{name}-scgi;
  keepalive_requests 1000000000;
  {http}
}}
""")
    return ["nginx", "-c", str(config), "-e", "stderr"]


@contextmanager
def running(command: list[str], cores: str, output: Path, environment: dict[str, str] | None = None) -> Iterator[int]:
    """The process id of a command on these cores; it is ended at the end, by force after a while."""
    # Python keeps what it has compiled, as it does where a gateway is installed.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with output.open("wb") as log:
        process = subprocess.Popen(
            ["taskset", "-c", cores, *command], stdout=log, stderr=log, env=inherited | (environment or {})
        )
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
