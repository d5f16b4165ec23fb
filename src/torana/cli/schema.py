"""`torana schema`."""

from __future__ import annotations

import click
import msgspec

from torana.config.standalone.json_schema import schema as json_schema


def schema() -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(json_schema()), indent=2).decode())
