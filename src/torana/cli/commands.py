"""The subcommands and their arguments. What they do is in a file each, imported when one is called."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from torana.cli import options

_OF_MANIFESTS = ("expand_env", "namespace", "on_duplicate", "address", "port_map", "validate_only")
_OF_A_CLUSTER = ("kubeconfig", "context", "lease_namespace", "publish_service")


@click.command
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    from torana.cli.schema import schema as run

    run()


@click.command
@click.argument("url", metavar="URL")
@options.file
@options.text
@click.option("-X", "--request", "method", metavar="METHOD", help="POST with -d, else GET.")
@click.option("-H", "--header", metavar="NAME: VALUE", multiple=True)
@click.option("-d", "--data", metavar="BODY", help="A body, or @FILE.")
@options.resolve
@click.option("--json", is_flag=True, help="Print JSON.")
@options.manifests
@options.implicit_gateway
@options.expand_env
@options.namespace
@options.class_name
@click.pass_context
def explain(
    call: click.Context,
    url: str,
    file: str | None,
    text: str | None,
    method: str | None,
    header: tuple[str, ...],
    data: str | None,
    resolve: tuple[str, ...],
    json: bool,
    manifests: tuple[str, ...],
    implicit_gateway: int | None,
    expand_env: bool,
    namespace: str,
    class_name: tuple[str, ...],
) -> None:
    """Say what would happen to a request, without sending it.

    That is its route and why, path, headers, model, and where it would go.

    URL is a whole one, for example http://localhost:3000/v1/chat/completions.
    """
    from torana.cli.explain import explain as run

    reading, given = None, [*resolve]
    if manifests:
        if file is not None or text is not None:
            raise click.BadParameter("give either --manifests, or -f or -c")
        from torana.cli import kubernetes as files

        how = files.options([], [*class_name], implicit_gateway)
        reading = files.reading(
            [*manifests],
            how,
            namespace=namespace,
            expand_env=expand_env,
            on_duplicate="error",
            port_map=[],
            addresses=[],
            resolve=given,
        )
        given = [entry for entry in given if "=" not in entry]
    else:
        options.refuse(call, ("implicit_gateway", "expand_env", "namespace", "class_name"), "--manifests PATH")
    run(file, text, url, method=method, headers=[*header], data=data, resolve=given, as_json=json, manifests=reading)


@click.command
@click.option("--port", metavar="PORT", type=click.IntRange(0, 65535), default=9000, help="0 takes a free one.")
@click.option("--host", metavar="ADDRESS", default="127.0.0.1", help="Address to listen on.")
@click.option(
    "--first-token",
    metavar="SECONDS",
    type=options.Decimal(0),
    default=0.0,
    help="Delay before the first token.",
)
@click.option(
    "--tokens-per-second",
    metavar="NUMBER",
    type=options.Decimal(0),
    default=0.0,
    help="Pace of streams; 0 is as fast as possible.",
)
@click.option(
    "--tokens",
    metavar="NUMBER",
    type=click.IntRange(1),
    default=16,
    help="Length of an answer; a smaller max_tokens cuts it.",
)
@click.option("--api-key", metavar="KEY", help="Answer 401 to any other key.")
def simulate(
    port: int, host: str, first_token: float, tokens_per_second: float, tokens: int, api_key: str | None
) -> None:
    """Run a stand-in for OpenAI that fails on request.

    It has no model: the same request gets the same answer. For trying out, demos and tests.
    """
    from torana.cli.simulate import simulate as run

    run(host, port, first_token=first_token, tokens_per_second=tokens_per_second, tokens=tokens, api_key=api_key)


@click.command
@options.file
@options.text
@click.option("--url", metavar="URL", help="What is asked; by default chat completions of the first listener.")
@click.option("--seconds", metavar="NUMBER", type=options.Decimal(1, 3600), default=48.0, help="How long in all.")
@click.option(
    "--rate",
    metavar="NUMBER",
    type=options.Decimal(1, 100_000),
    default=200.0,
    help="Requests a second at which latencies are taken.",
)
@click.option(
    "--connections", metavar="NUMBER", type=click.IntRange(1, 900), default=32, help="Connections of the load."
)
@options.workers
@click.option("--allow-upstream", is_flag=True, help="Ask the real upstream; it may charge for it, or cut you off.")
def bench(
    file: str | None,
    text: str | None,
    url: str | None,
    seconds: float,
    rate: float,
    connections: int,
    workers: int | None,
    allow_upstream: bool,
) -> None:
    """Measure what a request costs on this machine.

    It is sent to a simulated upstream, directly and through the gateway.
    """
    from torana.cli.bench import Shape
    from torana.cli.bench import bench as run

    run(file, text, url, Shape(seconds, rate, connections, workers), allow_upstream=allow_upstream)


@click.command
@click.option("--port", metavar="PORT", type=options.PORT, default=3000, help="Port of the gateway.")
@click.option(
    "--model",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A GGUF file of your own instead of the small one.",
)
@click.option(
    "--threads",
    metavar="NUMBER",
    type=click.IntRange(0),
    default=0,
    help="Threads of the model; 0 is one a core.",
)
@click.option("--verbose", is_flag=True, help="Show what llama.cpp says.")
def local(port: int, model: Path | None, threads: int, verbose: bool) -> None:
    """Run the gateway in front of a small model on this machine.

    Needs `pip install 'torana[local]'`.
    """
    from torana.cli.local import local as run

    run(port, model, threads=threads, verbose=verbose)


@click.command
@options.manifests
@options.more
@options.implicit_gateway
@options.expand_env
@options.namespace
@options.on_duplicate
@options.address
@options.port_map
@options.controller_name
@options.class_name
@click.option(
    "--validate-only",
    is_flag=True,
    help="Print the statuses as a table; exit 1 when one is not as it should.",
)
@click.option("--print-manifests", is_flag=True, help="Print what installs Torana in a cluster.")
@options.workers
@options.resolve_service
@click.option(
    "--kubeconfig",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="As kubectl's; without it, and within a cluster, the pod's own account.",
)
@click.option("--context", metavar="NAME", help="A context of the kubeconfig.")
@click.option(
    "--lease-namespace",
    metavar="NAME",
    help="Where the lease of those who write statuses is; by default the own namespace.",
)
@click.option(
    "--publish-service",
    metavar="NAMESPACE/NAME",
    help="The Service whose addresses Gateways of a cluster have.",
)
@click.pass_context
def kubernetes(
    call: click.Context,
    manifests: tuple[str, ...],
    more: tuple[str, ...],
    implicit_gateway: int | None,
    expand_env: bool,
    namespace: str,
    on_duplicate: Literal["error", "last"],
    address: tuple[str, ...],
    port_map: tuple[str, ...],
    controller_name: tuple[str, ...],
    class_name: tuple[str, ...],
    validate_only: bool,
    print_manifests: bool,
    workers: int | None,
    resolve: tuple[str, ...],
    kubeconfig: Path | None,
    context: str | None,
    lease_namespace: str | None,
    publish_service: str | None,
) -> None:
    """Serve by Kubernetes resources, of files or of a cluster.

    With --manifests they are read from files; without it those of a cluster are watched.
    """
    from torana.cli import kubernetes as run

    if print_manifests:
        run.print_manifests()
        return
    how = run.options([*controller_name], [*class_name], implicit_gateway)
    paths = [*manifests, *more]
    if not paths:
        options.refuse(call, _OF_MANIFESTS, "--manifests PATH")
        run.serve_cluster(
            kubeconfig, context, lease_namespace, publish_service, how, resolve=[*resolve], workers=workers
        )
        return
    options.refuse(call, _OF_A_CLUSTER, "no --manifests")
    reading = run.reading(
        paths,
        how,
        namespace=namespace,
        expand_env=expand_env,
        on_duplicate=on_duplicate,
        port_map=[*port_map],
        addresses=[*address],
        resolve=[*resolve],
    )
    if validate_only:
        run.validate_manifests(reading)
    else:
        run.serve_manifests(reading, resolve=[*resolve], workers=workers)


@click.command
@options.manifests
@options.more
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "yaml", "json"]),
    default="table",
    help="A table, or all of the statuses.",
)
@options.implicit_gateway
@options.expand_env
@options.namespace
@options.on_duplicate
@options.controller_name
@options.class_name
@options.address
@options.port_map
@options.resolve_service
def status(
    manifests: tuple[str, ...],
    more: tuple[str, ...],
    output: Literal["table", "yaml", "json"],
    implicit_gateway: int | None,
    expand_env: bool,
    namespace: str,
    on_duplicate: Literal["error", "last"],
    controller_name: tuple[str, ...],
    class_name: tuple[str, ...],
    address: tuple[str, ...],
    port_map: tuple[str, ...],
    resolve: tuple[str, ...],
) -> None:
    """Check manifests by the statuses they would have.

    Exit 1 when one of them is not as it should be.
    """
    from torana.cli import kubernetes as run
    from torana.cli.status import Output
    from torana.cli.status import status as show

    paths = [*manifests, *more]
    if not paths:
        raise click.BadParameter("give --manifests PATH")
    how = run.options([*controller_name], [*class_name], implicit_gateway)
    reading = run.reading(
        paths,
        how,
        namespace=namespace,
        expand_env=expand_env,
        on_duplicate=on_duplicate,
        port_map=[*port_map],
        addresses=[*address],
        resolve=[*resolve],
    )
    show(reading, Output(output))


@click.command
@click.option("-f", "--file", metavar="FILE", required=True, help="The file; `-` reads standard input.")
@options.output
def migrate(file: str, output: Path | None) -> None:
    """Turn the `binds` form into `llm`, `gateways` and `routes`.

    Exit 3 when something is left to do.
    """
    from torana.cli.migrate import migrate as run

    run(file, output)


@click.command("import")
@click.option("--from", "form", type=click.Choice(["litellm"]), required=True, help="Whose configuration it is.")
@click.option("-f", "--file", metavar="FILE", required=True, help="The file; `-` reads standard input.")
@options.output
def import_(form: Literal["litellm"], file: str, output: Path | None) -> None:
    """Turn another gateway's configuration into ours.

    Exit 3 when something is left to do.
    """
    from torana.cli.importing import import_litellm

    assert form == "litellm"
    import_litellm(file, output)


@click.command
@click.option(
    "--to",
    "form",
    type=click.Choice(["litellm", "agentgateway", "kubernetes"]),
    required=True,
    help="Whose configuration to write.",
)
@click.option(
    "-f",
    "--file",
    metavar="FILE",
    required=True,
    help="A configuration or manifests; `-` reads standard input.",
)
@options.output
def export(form: Literal["litellm", "agentgateway", "kubernetes"], file: str, output: Path | None) -> None:
    """Turn a configuration into another gateway's.

    Keys stay variables. Exit 3 when something is left to do.
    """
    from torana.cli.exporting import export as run

    run(form, file, output)


COMMANDS = (explain, schema, simulate, bench, local, kubernetes, status, migrate, import_, export)
