"""`torana -f config.yaml` and its subcommands."""

from __future__ import annotations

import errno
import os
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
    if (command := context.invoked_subcommand) is not None:
        if option := options.given(context, context.params):
            told = f"{option} has no effect before `{command}`: what that takes stands behind it, see `torana {command}"
            raise click.BadParameter(f"{told} --help`")
        return
    from torana.cli.serve import serve  # late: `--version` and `--help` need none of it

    serve(file, text, validate_only=validate_only, workers=workers, resolve=[*resolve])


for _command in commands.COMMANDS:
    app.add_command(_command)


def main() -> None:
    """The console script."""
    _fill_standard_files()
    try:
        sys.exit(app(prog_name="torana"))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        sys.exit(f"torana: cannot write: {error.strerror}")


def _fill_standard_files() -> None:
    """Those of 0 to 2 that are closed lead nowhere: else the next socket would be, say, standard output."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - it stays
