"""`torana -f config.yaml` and its subcommands."""

from __future__ import annotations

import sys

import click

from torana import __version__
from torana.cli import commands, options


@click.group(
    "torana",
    invoke_without_command=True,
    no_args_is_help=True,
    context_settings={"show_default": True},
    help="The gateway between applications that speak OpenAI's API and every provider that does.",
)
@options.file
@options.text
@click.option("--validate-only", is_flag=True, help="Check the configuration, open no socket, and say what is wrong.")
@options.workers
@options.resolve
@click.version_option(__version__, "-V", "--version", message="torana %(version)s", help="Print the version.")
@click.pass_context
def app(
    context: click.Context,
    file: str | None,
    text: str | None,
    validate_only: bool,
    workers: int | None,
    resolve: tuple[str, ...],
) -> None:
    """Run the gateway with a configuration, or one of the commands below."""
    if context.invoked_subcommand is not None:
        return
    from torana.cli.serve import serve  # late: `--version` and `--help` need none of it

    serve(file, text, validate_only=validate_only, workers=workers, resolve=[*resolve])


for _command in commands.COMMANDS:
    app.add_command(_command)


def main() -> None:
    """The console script."""
    sys.exit(app(prog_name="torana"))
