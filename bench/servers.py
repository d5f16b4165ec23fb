"""The servers of a measurement: nginx as the provider, nginx as a plain proxy, and Torana; and what they cost.

Each runs on the core it is given, on a port that was free, from a configuration written for it, and is stopped by its
own handle.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")
_STOP_SECONDS = 10

# nginx reads a parameter of up to 4 KiB (NGX_CONF_BUFFER), less its quotes; longer texts are joined from several.
_NGINX_PARAMETER = 4000


class Server(NamedTuple):
    """A running server: its port, and the process at the root of its tree (0 when there is none to account for)."""

    port: int
    pid: int = 0


class Cost(NamedTuple):
    """What a tree of processes has used so far: CPU time in seconds, and resident memory in bytes."""

    cpu: float
    rss: int


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


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
def provider(folder: Path, core: int, size: int) -> Iterator[Server]:
    """Nginx that answers every request with the same chat completion of `size` bytes, out of memory."""
    port, answer = free_port(), chat_answer(size)
    parts = [answer[start : start + _NGINX_PARAMETER] for start in range(0, size, _NGINX_PARAMETER)]
    joined = "".join(f"${{part{index}}}" for index in range(len(parts)))
    server = "\n".join(
        [
            f"listen 127.0.0.1:{port} backlog=4096;",
            "access_log off;",
            "default_type application/json;",
            *(f"set $part{index} '{part}';" for index, part in enumerate(parts)),
            f'return 200 "{joined}";',
        ]
    )
    with _running(_nginx(folder, "provider", f"server {{\n{server}\n}}"), core, folder / "provider.out") as pid:
        yield Server(port, pid)


@contextmanager
def nginx_proxy(folder: Path, core: int, to: int) -> Iterator[Server]:
    """Nginx as the plain proxy to compare with: one worker, pooled connections, credential set, access log written."""
    port = free_port()
    http = f"""
    upstream provider {{ server 127.0.0.1:{to}; keepalive 512; }}
    server {{
      listen 127.0.0.1:{port} backlog=4096;
      access_log {folder}/proxy-access.log combined buffer=64k flush=1s;
      client_body_buffer_size 64k;
      proxy_buffers 16 4k;
      location / {{
        proxy_pass http://provider;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Authorization "Bearer sk-bench";
      }}
    }}"""
    with _running(_nginx(folder, "proxy", http), core, folder / "proxy.out") as pid:
        yield Server(port, pid)


@contextmanager
def torana(folder: Path, core: int, to: int, command: list[str]) -> Iterator[Server]:
    """Torana as it runs by default: one worker, model and credential configured, access log, metrics and usage on."""
    port = free_port()
    config = folder / "torana.yaml"
    config.write_text(f"""
config:
  adminAddr: "127.0.0.1:{free_port()}"
  statsAddr: "127.0.0.1:{free_port()}"
  readinessAddr: "127.0.0.1:{free_port()}"
binds:
- port: {port}
  listeners:
  - routes:
    - policies:
        urlRewrite:
          authority:
            full: 127.0.0.1:{to}
        backendAuth:
          key: sk-bench
      backends:
      - ai:
          name: bench
          hostOverride: 127.0.0.1:{to}
          provider:
            openAI:
              model: configured
""")
    with _running([*command, "-f", str(config)], core, folder / "torana-access.log") as pid:
        yield Server(port, pid)


def cost(pid: int) -> Cost:
    """CPU time and memory of a process and all below it (proc(5): stat fields 4, 14, 15 and 24)."""
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
        costs[child] = Cost((int(fields[11]) + int(fields[12])) / _TICKS, int(fields[21]) * page)
    tree = [child for child in costs if _descends(child, pid, parents)]
    return Cost(sum(costs[child].cpu for child in tree), sum(costs[child].rss for child in tree))


def _descends(child: int, ancestor: int, parents: dict[int, int]) -> bool:
    while child not in (0, ancestor):
        child = parents.get(child, 0)
    return child == ancestor


def _nginx(folder: Path, name: str, http: str) -> list[str]:
    config = folder / f"{name}.conf"
    config.write_text(f"""
worker_processes 1;
daemon off;
pid {folder}/{name}.pid;
error_log stderr warn;
events {{ worker_connections 8192; }}
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
def _running(command: list[str], core: int, output: Path) -> Iterator[int]:
    with output.open("wb") as log:
        process = subprocess.Popen(["taskset", "-c", str(core), *command], stdout=log, stderr=log)
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
