"""What `migrate`, `import` and `export` have in common: a text in, a text out, and the report beside it."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from torana.config.convert.report import Converted, Fidelity
from torana.config.sources import StartError

INCOMPLETE = 3
"""Something is left for a person to do: not a failure to read (1), nor of the command line (2)."""


def read(file: str) -> tuple[str, str, Path]:
    """The text, its name in reports, and the folder that names in it count from. Raises StartError."""
    try:
        if file == "-":
            return sys.stdin.buffer.read().decode("utf-8-sig"), "<stdin>", Path()
        return Path(file).read_text(encoding="utf-8-sig"), file, Path(file).parent
    except OSError as error:
        raise StartError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise StartError(f"{file}: is not UTF-8 text (byte {error.start})") from error


def hand_over(converted: Converted, output: Path | None) -> None:
    """The text to the file or to standard output, the report to standard error; exits 3 when not all came across."""
    if output is None:
        click.echo(converted.text, nl=False)
    else:
        try:
            output.write_text(converted.text, encoding="utf-8")
        except OSError as error:
            click.echo(f"torana: {output}: cannot be written: {error.strerror}", err=True)
            sys.exit(1)
    for finding in converted.report.findings:
        click.echo(str(finding), err=True)
    click.echo(converted.report.summary, err=True)
    if not converted.report.complete:
        left = f"{Fidelity.MANUAL.value} and {Fidelity.UNSUPPORTED.value}"
        click.echo(f"torana: what is {left} is not in the result", err=True)
        sys.exit(INCOMPLETE)
