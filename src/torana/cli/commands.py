"""The subcommands and their arguments. What they do is in a file each, imported when one is called."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import typer

from torana.cli.main import FileOption, ResolveOption, TextOption

ManifestsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--manifests", metavar="PATH...", help="Manifest files, or folders of them; `-` reads standard input."
    ),
]
MoreArgument = Annotated[list[str] | None, typer.Argument(metavar="[PATH]...", help="The same as --manifests.")]
NamespaceOption = Annotated[
    str, typer.Option("--namespace", "-n", metavar="NAME", help="The namespace of objects which name none.")
]
ExpandOption = Annotated[
    bool, typer.Option("--expand-env", help="Fill in the variables in the stringData of Secrets, as $NAME or ${NAME}.")
]
ImplicitOption = Annotated[
    int | None,
    typer.Option(
        "--implicit-gateway",
        metavar="PORT",
        help="Supply Gateways that routes name and that are absent.",
        min=1,
        max=65535,
    ),
]
ControllerOption = Annotated[
    list[str] | None,
    typer.Option(
        "--controller-name", metavar="NAME", help="GatewayClasses of this controller are ours. May be given again."
    ),
]
ClassOption = Annotated[
    list[str] | None,
    typer.Option(
        "--class-name",
        metavar="NAME",
        help="Of classes without a GatewayClass only these are ours. May be given again.",
    ),
]
DuplicateOption = Annotated[
    Literal["error", "last"],
    typer.Option("--on-duplicate", help="`last`: of an object given twice the later one counts."),
]
ResolveServiceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--resolve",
        metavar="HOST:PORT:ADDRESS[:PORT]",
        help="Connect to ADDRESS for HOST:PORT; Host, SNI and certificate check stay. As SERVICE.NAMESPACE:PORT="
        "HOST:PORT it says where a Service of the manifests is. May be given again.",
    ),
]
AddressOption = Annotated[
    list[str] | None,
    typer.Option(
        "--address",
        metavar="ADDRESS",
        help="Where --manifests listens: 0.0.0.0, ::, or an address of the machine. May be given again. "
        "By default 127.0.0.1 and ::1; a cluster's is all.",
    ),
]
PortMapOption = Annotated[
    list[str] | None,
    typer.Option("--port-map", metavar="PORT=PORT", help="Listen on the second port for a Gateway's first."),
]
OutputOption = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="FILE", help="Where the result goes; else standard output.")
]


_OF_MANIFESTS = ("expand_env", "namespace", "on_duplicate", "address", "port_map", "validate_only")
_OF_A_CLUSTER = ("kubeconfig", "context", "lease_namespace", "publish_service")


def register(app: typer.Typer) -> None:
    app.command("explain")(explain)
    app.command("schema")(schema)
    app.command("simulate")(simulate)
    app.command("bench")(bench)
    app.command("local")(local)
    app.command("kubernetes")(kubernetes)
    app.command("status")(status)
    app.command("migrate")(migrate)
    app.command("import")(import_)
    app.command("export")(export)


def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    from torana.cli.schema import schema as run

    run()


def explain(
    call: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="For example http://localhost:3000/v1/chat/completions")],
    file: FileOption = None,
    text: TextOption = None,
    method: Annotated[
        str | None, typer.Option("-X", "--request", metavar="METHOD", help="POST with -d, else GET.")
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option("-H", "--header", metavar="NAME: VALUE", help="May be given again.")
    ] = None,
    data: Annotated[str | None, typer.Option("-d", "--data", metavar="BODY", help="A body, or @FILE.")] = None,
    resolve: ResolveOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    manifests: ManifestsOption = None,
    implicit_gateway: ImplicitOption = None,
    expand_env: ExpandOption = False,
    namespace: NamespaceOption = "default",
    class_name: ClassOption = None,
) -> None:
    """Say what would happen to a request, without sending it.

    That is its route and why, path, headers, model, and where it would go.
    """
    from torana.cli.explain import explain as run

    reading = None
    if manifests:
        if file is not None or text is not None:
            raise typer.BadParameter("give either --manifests, or -f or -c")
        from torana.cli import kubernetes as files

        how = files.options([], class_name or [], implicit_gateway)
        reading = files.reading(
            manifests,
            how,
            namespace=namespace,
            expand_env=expand_env,
            on_duplicate="error",
            port_map=[],
            addresses=[],
            resolve=resolve or [],
        )
        resolve = [entry for entry in resolve or [] if "=" not in entry]
    else:
        _refuse(call, ("implicit_gateway", "expand_env", "namespace", "class_name"), "--manifests PATH")
    given, headers = resolve or [], header or []
    run(file, text, url, method=method, headers=headers, data=data, resolve=given, as_json=json, manifests=reading)


def simulate(
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 9000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    first_token: Annotated[float, typer.Option(metavar="SECONDS", help="Delay before the first token.", min=0)] = 0.0,
    tokens_per_second: Annotated[float, typer.Option(help="Pace of streams; 0 is as fast as possible.", min=0)] = 0.0,
    tokens: Annotated[int, typer.Option(help="Length of an answer; a smaller max_tokens cuts it.", min=1)] = 16,
    api_key: Annotated[str | None, typer.Option(help="Answer 401 to any other key.")] = None,
) -> None:
    """Run a stand-in for OpenAI that fails on request.

    It has no model: the same request gets the same answer. For trying out, demos and tests.
    """
    from torana.cli.simulate import simulate as run

    run(host, port, first_token=first_token, tokens_per_second=tokens_per_second, tokens=tokens, api_key=api_key)


def bench(
    file: FileOption = None,
    text: TextOption = None,
    url: Annotated[
        str | None, typer.Option("--url", help="What is asked; by default chat completions of the first listener.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="How long in all.", min=1, max=3600)] = 48.0,
    rate: Annotated[float, typer.Option(help="Requests a second at which latencies are taken.", min=1)] = 200.0,
    connections: Annotated[int, typer.Option(help="Connections of the load.", min=1, max=900)] = 32,
    workers: Annotated[int | None, typer.Option(min=1, max=256, help="Processes that share the ports.")] = None,
    allow_upstream: Annotated[
        bool, typer.Option("--allow-upstream", help="Ask the real upstream; it may charge for it, or cut you off.")
    ] = False,
) -> None:
    """Measure what a request costs on this machine.

    It is sent to a simulated upstream, directly and through the gateway.
    """
    from torana.cli.bench import Shape
    from torana.cli.bench import bench as run

    run(file, text, url, Shape(seconds, rate, connections, workers), allow_upstream=allow_upstream)


def local(
    port: Annotated[int, typer.Option(help="Port of the gateway.", min=1, max=65535)] = 3000,
    model: Annotated[Path | None, typer.Option(help="A GGUF file of your own instead of the small one.")] = None,
    threads: Annotated[int, typer.Option(min=0, help="Threads of the model; 0 is one a core.")] = 0,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show what llama.cpp says.")] = False,
) -> None:
    """Run the gateway in front of a small model on this machine.

    Needs `pip install 'torana[local]'`.
    """
    from torana.cli.local import local as run

    run(port, model, threads=threads, verbose=verbose)


def kubernetes(
    call: typer.Context,
    manifests: ManifestsOption = None,
    more: MoreArgument = None,
    implicit_gateway: ImplicitOption = None,
    expand_env: ExpandOption = False,
    namespace: NamespaceOption = "default",
    on_duplicate: DuplicateOption = "error",
    address: AddressOption = None,
    port_map: PortMapOption = None,
    controller_name: ControllerOption = None,
    class_name: ClassOption = None,
    validate_only: Annotated[
        bool,
        typer.Option("--validate-only", help="Print the statuses as a table; exit 1 when one is not as it should."),
    ] = False,
    print_manifests: Annotated[
        bool, typer.Option("--print-manifests", help="Print what installs Torana in a cluster.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, max=256, help="Processes that share the ports.")] = None,
    resolve: ResolveServiceOption = None,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="As kubectl's; without it, and within a cluster, the pod's own account.")
    ] = None,
    context: Annotated[str | None, typer.Option(help="A context of the kubeconfig.")] = None,
    lease_namespace: Annotated[
        str | None, typer.Option(help="Where the lease of those who write statuses is; by default the own namespace.")
    ] = None,
    publish_service: Annotated[
        str | None,
        typer.Option(metavar="NAMESPACE/NAME", help="The Service whose addresses Gateways of a cluster have."),
    ] = None,
) -> None:
    """Serve by Kubernetes resources, of files or of a cluster.

    With --manifests they are read from files; without it those of a cluster are watched.
    """
    from torana.cli import kubernetes as run

    if print_manifests:
        run.print_manifests()
        return
    options = run.options(controller_name or [], class_name or [], implicit_gateway)
    paths = [*(manifests or []), *(more or [])]
    if not paths:
        _refuse(call, _OF_MANIFESTS, "--manifests PATH")
        run.serve_cluster(
            kubeconfig, context, lease_namespace, publish_service, options, resolve=resolve or [], workers=workers
        )
        return
    _refuse(call, _OF_A_CLUSTER, "no --manifests")
    reading = run.reading(
        paths,
        options,
        namespace=namespace,
        expand_env=expand_env,
        on_duplicate=on_duplicate,
        port_map=port_map or [],
        addresses=address or [],
        resolve=resolve or [],
    )
    if validate_only:
        run.validate_manifests(reading)
    else:
        run.serve_manifests(reading, resolve=resolve or [], workers=workers)


def status(
    manifests: ManifestsOption = None,
    more: MoreArgument = None,
    output: Annotated[
        Literal["table", "yaml", "json"], typer.Option("--output", "-o", help="A table, or all of the statuses.")
    ] = "table",
    implicit_gateway: ImplicitOption = None,
    expand_env: ExpandOption = False,
    namespace: NamespaceOption = "default",
    on_duplicate: DuplicateOption = "error",
    controller_name: ControllerOption = None,
    class_name: ClassOption = None,
    address: AddressOption = None,
    port_map: PortMapOption = None,
    resolve: ResolveServiceOption = None,
) -> None:
    """Check manifests by the statuses they would have.

    Exit 1 when one of them is not as it should be.
    """
    from torana.cli import kubernetes as run
    from torana.cli.status import Output
    from torana.cli.status import status as show

    paths = [*(manifests or []), *(more or [])]
    if not paths:
        raise typer.BadParameter("give --manifests PATH")
    how = run.options(controller_name or [], class_name or [], implicit_gateway)
    reading = run.reading(
        paths,
        how,
        namespace=namespace,
        expand_env=expand_env,
        on_duplicate=on_duplicate,
        port_map=port_map or [],
        addresses=address or [],
        resolve=resolve or [],
    )
    show(reading, Output(output))


def migrate(
    file: Annotated[str, typer.Option("-f", "--file", metavar="FILE", help="The file; `-` reads standard input.")],
    output: OutputOption = None,
) -> None:
    """Turn the `binds` form into `llm`, `gateways` and `routes`.

    Exit 3 when something is left to do.
    """
    from torana.cli.migrate import migrate as run

    run(file, output)


def import_(
    form: Annotated[Literal["litellm"], typer.Option("--from", help="Whose configuration it is.")],
    file: Annotated[str, typer.Option("-f", "--file", metavar="FILE", help="The file; `-` reads standard input.")],
    output: OutputOption = None,
) -> None:
    """Turn another gateway's configuration into ours.

    Exit 3 when something is left to do.
    """
    from torana.cli.importing import import_litellm

    assert form == "litellm"
    import_litellm(file, output)


def export(
    form: Annotated[
        Literal["litellm", "agentgateway", "kubernetes"], typer.Option("--to", help="Whose configuration to write.")
    ],
    file: Annotated[
        str,
        typer.Option("-f", "--file", metavar="FILE", help="A configuration or manifests; `-` reads standard input."),
    ],
    output: OutputOption = None,
) -> None:
    """Turn a configuration into another gateway's.

    Keys stay variables. Exit 3 when something is left to do.
    """
    from torana.cli.exporting import export as run

    run(form, file, output)


def _refuse(call: typer.Context, parameters: Iterable[str], needs: str) -> None:
    """Options that would have no effect, given all the same: exit 2 instead of leaving their author in error."""
    given = [name for name in call.params if name in set(parameters)]
    for name in given:
        source = call.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = next(each for each in call.command.params if each.name == name)
            raise typer.BadParameter(f"{option.opts[0]} has no effect here: it needs {needs}")
