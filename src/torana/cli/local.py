"""`torana local`: a real model on this machine, and the gateway in front of it."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from pathlib import Path

import click

from torana.cli.serve import give_up
from torana.cli.serve import serve as serve_gateway
from torana.config.sources import StartError
from torana.local import LocalModel, LocalModelError, ModelServer, find_model, local_config, welcome, write_config


def local(port: int, model: Path | None, *, threads: int, verbose: bool) -> None:
    """Serve `model`, or the small one that is installed; exit 1, saying what to install or mend, when that fails."""
    _check_port(port)
    try:
        file = find_model() if model is None else str(model)
        alias = "smollm2" if model is None else model.stem
        run_local(ModelServer(file, alias, threads=threads, verbose=verbose), port, _serve)
    except LocalModelError as error:
        click.echo(f"torana: {error}", err=True)
        sys.exit(1)


def _check_port(port: int) -> None:
    """Exit 1 for one that is taken: before a model is loaded for it, and before anybody is told that it is there."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # else connections that are over count
            probe.bind(("", port))
    except OSError as error:
        give_up(StartError(f"cannot listen on port {port}: {error.strerror}; choose another with --port"))


def run_local(server: ModelServer, gateway_port: int, serve: Callable[[Path], None]) -> None:
    """Start the model, write the gateway's configuration for it, say how to call it, and `serve` that file.

    Raises LocalModelError, which says what to install or mend; the model stops when `serve` returns or raises.
    """
    click.echo("Starting the model ...")
    with LocalModel(server) as model:
        file = write_config(local_config(model.port, gateway_port, server.alias), gateway_port)
        click.echo(welcome(gateway_port, server.alias, server.file, file))
        serve(file)


def _serve(file: Path) -> None:
    serve_gateway(str(file), None, validate_only=False, workers=None, resolve=[])
