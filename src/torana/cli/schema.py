"""`torana schema`."""

from __future__ import annotations

import msgspec
import typer

from torana.config.standalone.json_schema import schema as json_schema


def schema() -> None:
    typer.echo(msgspec.json.format(msgspec.json.encode(json_schema()), indent=2).decode())
