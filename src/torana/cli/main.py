"""`torana -f config.yaml` and its subcommands."""

from __future__ import annotations

import os
import sys
from typing import Annotated

os.environ.setdefault("TYPER_USE_RICH", "0")  # plain help starts three times faster, and reads the same in a log

import typer

from torana import __version__

_HELP = "The gateway between applications that speak OpenAI's API and every provider that does."

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None, help=_HELP
)

FileOption = Annotated[
    str | None, typer.Option("-f", "--file", metavar="FILE", help="Configuration file; `-` reads standard input.")
]
TextOption = Annotated[str | None, typer.Option("-c", "--config", metavar="YAML", help="Configuration as a text.")]
ResolveOption = Annotated[
    list[str] | None,
    typer.Option(
        "--resolve",
        metavar="HOST:PORT:ADDRESS[:PORT]",
        help="Connect to ADDRESS for HOST:PORT; Host, SNI and certificate check stay. May be given again.",
    ),
]


def _version(value: bool) -> None:
    if value:
        typer.echo(f"torana {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def serve(
    context: typer.Context,
    file: FileOption = None,
    text: TextOption = None,
    validate_only: Annotated[
        bool, typer.Option("--validate-only", help="Check the configuration, open no socket, and say what is wrong.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, max=256, help="Processes that share the ports.")] = None,
    resolve: ResolveOption = None,
    _: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Run the gateway with a configuration, or one of the commands below."""
    if context.invoked_subcommand is not None:
        return
    from torana.cli.serve import serve as run  # late: `--version` and `--help` need none of it

    run(file, text, validate_only=validate_only, workers=workers, resolve=resolve or [])


def main() -> None:
    """The console script."""
    from torana.cli import commands

    commands.register(app)
    sys.exit(app())
