"""`torana simulate`: a deterministic OpenAI-compatible server, with faults on request."""

from __future__ import annotations

import json
import sys

import click

from torana.simulate.dials import LONGEST, MAX_TOKENS, Dials
from torana.simulate.run import CannotSimulateError, run
from torana.simulate.service import MODELS


def simulate(
    host: str, port: int, *, first_token: float, tokens_per_second: float, tokens: int, api_key: str | None
) -> None:
    """Serve until SIGINT or SIGTERM; exit 1 when the address cannot be had."""
    if not first_token <= LONGEST:
        raise click.BadParameter(f"at most {LONGEST:g} seconds", param_hint="--first-token")
    if tokens > MAX_TOKENS:
        raise click.BadParameter(f"at most {MAX_TOKENS}", param_hint="--tokens")
    if api_key is not None and not (api_key.isascii() and api_key.strip()):
        raise click.BadParameter("a key is ASCII text, as HTTP headers are, and not empty", param_hint="--api-key")
    dials = Dials(first_token=first_token, tokens_per_second=tokens_per_second, tokens=tokens)
    try:
        run(host, port, dials, api_key, lambda origin: click.echo(_welcome(origin, keyed=api_key is not None)))
    except CannotSimulateError as error:
        click.echo(f"torana: {error}", err=True)
        sys.exit(1)


def _welcome(origin: str, *, keyed: bool) -> str:
    """One line: the base URL, and a command to try it with. The key itself is not repeated."""
    body = json.dumps({"model": MODELS[0], "messages": [{"role": "user", "content": "Hello"}]})
    key = ' -H "authorization: Bearer $OPENAI_API_KEY"' if keyed else ""
    return f"Simulating OpenAI on {origin}/v1, try: curl {origin}/v1/chat/completions{key} -d '{body}'"
