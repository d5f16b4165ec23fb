"""`torana local`: a real model on this machine, and the gateway in front of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import typer

from torana.cli.serve import serve
from torana.local import LocalModel, LocalModelError, ModelServer, find_model, local_config, welcome, write_config


def run_local(server: ModelServer, gateway_port: int, serve: Callable[[Path], None]) -> None:
    """Start the model, write the gateway's configuration for it, say how to call it, and `serve` that file.

    Raises LocalModelError, which says what to install or mend; the model stops when `serve` returns or raises.
    """
    typer.echo("Starting the model ...")
    with LocalModel(server) as model:
        file = write_config(local_config(model.port, gateway_port, server.alias), gateway_port)
        typer.echo(welcome(gateway_port, server.alias, server.file, file))
        serve(file)


def local(port: int, model: Path | None, *, threads: int, verbose: bool) -> None:
    """Exits 1, saying what to do, when the model cannot be served."""
    try:
        file = str(model) if model is not None else find_model()
        alias = model.stem if model is not None else "smollm2"
        server = ModelServer(file, alias=alias, threads=threads, verbose=verbose)
        run_local(server, port, lambda config: serve(str(config), None, validate_only=False, workers=None, resolve=[]))
    except LocalModelError as error:
        typer.echo(f"torana: {error}", err=True)
        sys.exit(1)
