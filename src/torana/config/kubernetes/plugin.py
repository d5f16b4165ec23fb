"""Plugin: a program of the kubeconfig that hands out a token (client-go, credential plugins), held to a time.

lightkube's own knows no v1, and waits for ever: a program that hangs would keep a watch, or the lease, from ever being
tried again.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncGenerator
from contextlib import suppress

import httpx2
from lightkube.config.client_adapter import ExecAuth
from lightkube.config.models import UserExec
from lightkube.core.exceptions import ConfigError

_VERSIONS = tuple(f"client.authentication.k8s.io/{version}" for version in ("v1alpha1", "v1beta1", "v1"))
_LONGEST = 30.0  # seconds for an answer; some ask a server on the other side of the world


class Plugin(ExecAuth):
    """The token is kept until the API server refuses it. Raises ConfigError, ValueError, KeyError or OSError.

    All watches begin at once: one of them asks the program, and the others wait for what comes of it.
    """

    def __init__(self, program: UserExec) -> None:
        super().__init__(program)
        self._newest: str | None = None
        self._asking: asyncio.Task[str] | None = None

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        used = self._newest
        if used is not None:
            request.headers["Authorization"] = f"Bearer {used}"
            response = yield request
            if response.status_code != httpx2.codes.UNAUTHORIZED:
                return
        if self._newest == used:
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._token())
            self._newest = await asyncio.shield(self._asking)
        request.headers["Authorization"] = f"Bearer {self._newest}"
        yield request

    async def _token(self) -> str:
        program = self._exec
        if program.apiVersion not in _VERSIONS:
            raise ConfigError(f"the plugin {program.command} is of {program.apiVersion}, and not of {_VERSIONS[-1]}")
        asked = {"apiVersion": program.apiVersion, "kind": "ExecCredential", "spec": {"interactive": False}}
        own = {each.name: each.value for each in program.env or ()}
        env = {**os.environ, **own, "KUBERNETES_EXEC_INFO": json.dumps(asked)}
        match json.loads(await _output([program.command, *(program.args or ())], env)):
            case {"status": {"token": str(token)}} if token:
                return token
        raise ConfigError(f"the plugin {program.command} has handed out no token, which alone is supported")


async def _output(command: list[str], env: dict[str, str]) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *command, env=env, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, start_new_session=True
    )
    try:
        async with asyncio.timeout(_LONGEST):
            output, complaint = await process.communicate()
    except TimeoutError as error:
        raise ConfigError(f"the plugin {command[0]} has not answered within {_LONGEST:g} seconds") from error
    finally:
        with suppress(ProcessLookupError):  # whatever it began goes with it
            os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()  # its end, and that of its pipes
    if process.returncode != 0:
        raise ConfigError(f"the plugin {command[0]} ended with {process.returncode}: {complaint.decode()}")
    return output
