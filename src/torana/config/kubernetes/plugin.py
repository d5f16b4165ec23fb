"""Plugin: a program of the kubeconfig that hands out a token (client-go, credential plugins), held to a time.

lightkube's own waits for ever: one that hangs would keep a watch, or the lease, from ever being tried again.
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
from lightkube.core.exceptions import ConfigError

_LONGEST = 30.0  # seconds for an answer; some ask a server on the other side of the world


class Plugin(ExecAuth):
    """The token is kept until the API server refuses it. Raises ConfigError, ValueError, KeyError or OSError."""

    _bearer: str | None = None

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        if self._bearer is not None:
            request.headers["Authorization"] = self._bearer
            response = yield request
            if response.status_code != httpx2.codes.UNAUTHORIZED:
                return
        command, env = self._prepare()
        answer = json.loads(await _output(command, env))
        request.headers["Authorization"] = self._bearer = f"Bearer {answer['status']['token']}"
        yield request


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
