"""`torana local`: a real model on this machine, and the gateway in front of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import typer

from torana.local import LocalModel, ModelServer, local_config, welcome, write_config


def run_local(server: ModelServer, gateway_port: int, serve: Callable[[Path], None]) -> None:
    """Start the model, write the gateway's configuration for it, say how to call it, and `serve` that file.

    Raises LocalModelError, which says what to install or mend; the model stops when `serve` returns or raises.
    """
    typer.echo("Starting the model ...")
    with LocalModel(server) as model:
        file = write_config(local_config(model.port, gateway_port, server.alias), gateway_port)
        typer.echo(welcome(gateway_port, server.alias, server.file, file))
        serve(file)
