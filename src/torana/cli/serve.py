"""`torana -f FILE`: serve, or with --validate-only just check."""

from __future__ import annotations

import re
import sys
from typing import NoReturn

import click

from torana.app import run, validate
from torana.config.problem import ConfigError
from torana.config.sources import Standalone, StartError
from torana.http.dial import Override

_HOST = r"(\[[0-9A-Fa-f:.]+\]|[^\s:\[\]]+)"
_OVERRIDE = re.compile(rf"{_HOST}:([0-9]{{1,5}}):{_HOST}(?::([0-9]{{1,5}}))?")


def serve(file: str | None, text: str | None, *, validate_only: bool, workers: int | None, resolve: list[str]) -> None:
    overrides = parse_overrides(resolve)
    try:
        source = source_of(file, text)
        if validate_only:
            for warning in validate(source).warnings:
                click.echo(str(warning), err=True)
            click.echo("Configuration is valid!")
        else:
            run(source, overrides, workers)
    except (ConfigError, StartError) as error:
        give_up(error)


def source_of(file: str | None, text: str | None) -> Standalone:
    """The one of `-f` and `-c` that was given. Exits 2 for none and for both. Raises StartError."""
    if (file is None) == (text is None):
        raise click.BadParameter("give a configuration with either -f FILE (`-f -` reads standard input) or -c YAML")
    return Standalone.of(file, text)


def give_up(error: ConfigError | StartError) -> NoReturn:
    """Problems to standard error, exit 1."""
    if isinstance(error, ConfigError):
        for problem in error.problems:
            click.echo(str(problem), err=True)
    else:
        click.echo(f"torana: {error}", err=True)
    sys.exit(1)


def parse_overrides(entries: list[str]) -> dict[tuple[str, int], Override]:
    """`HOST:PORT:ADDRESS[:PORT]`, as curl's --resolve; IPv6 stands in brackets. Exits 2 for anything else.

    Host names have no case (RFC 9110, section 4.2.3); those of a configuration are in lower case.
    """
    overrides: dict[tuple[str, int], Override] = {}
    for entry in entries:
        parts = _OVERRIDE.fullmatch(entry)
        host, port, address, own = parts.groups() if parts else ("", "0", "", None)
        if not all(0 < int(number) < 65536 for number in (port, own or port)):
            message = f"{entry!r} is not HOST:PORT:ADDRESS[:PORT], for example api.x.ai:443:127.0.0.1:8443"
            raise click.BadParameter(message, param_hint="--resolve")
        overrides[host.strip("[]").lower(), int(port)] = Override(address.strip("[]"), int(own or port))
    return overrides
