"""`torana kubernetes`: serve by Kubernetes resources, those of manifest files or those of a cluster."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import typer

from torana.app import StartError, follow, run
from torana.cli.serve import give_up, parse_overrides
from torana.cli.status import Output, status
from torana.config.kubernetes.manifests import Manifests, OnDuplicate, Reading
from torana.config.kubernetes.objects import CONTROLLER_NAME, Options
from torana.config.kubernetes.process import process_settings
from torana.config.kubernetes.schemas import install_text
from torana.config.problem import ConfigError

_PORTS = re.compile(r"([0-9]{1,5})=([0-9]{1,5})")


def serve_manifests(reading: Reading, *, resolve: list[str], workers: int | None) -> None:
    overrides = parse_overrides(resolve)
    try:
        run(Manifests(reading), overrides, workers)
    except (ConfigError, StartError) as error:
        give_up(error)


def serve_cluster(
    kubeconfig: Path | None,
    context: str | None,
    lease_namespace: str | None,
    how: Options,
    *,
    resolve: list[str],
    workers: int | None,
) -> None:
    # Late: a laptop without a cluster needs none of it.
    try:
        from torana.config.kubernetes.api import ClusterError
        from torana.config.kubernetes.cluster import Cluster, Way
    except ModuleNotFoundError:
        give_up(StartError("cluster mode needs more: pip install 'torana[kubernetes]'"))

    overrides = parse_overrides(resolve)
    try:
        follow(Cluster(Way(kubeconfig, context, lease_namespace), how), overrides, workers)
    except ClusterError as error:
        give_up(StartError(str(error)))
    except (ConfigError, StartError) as error:
        give_up(error)


def validate_manifests(reading: Reading) -> None:
    status(reading, Output.TABLE)


def print_manifests() -> None:
    """What installs Torana in a cluster: the CRDs, and the gateway itself."""
    typer.echo(install_text(), nl=False)


def options(controller_names: list[str], class_names: list[str], implicit_gateway: int | None) -> Options:
    """Exits 1 when the environment has a setting that is none."""
    try:
        settings = process_settings(os.environ)
    except ConfigError as error:
        give_up(error)
    return Options(
        controller_names=tuple(controller_names) or (CONTROLLER_NAME,),
        class_names=tuple(class_names),
        accept_agentgateway=True,
        implicit_gateway=implicit_gateway,
        settings=settings,
    )


def reading(
    paths: list[str],
    how: Options,
    *,
    namespace: str,
    expand_env: bool,
    on_duplicate: str,
    port_map: list[str],
) -> Reading:
    """Reads standard input when it is among the paths. Exits 1 when that cannot be read."""
    try:
        stdin = sys.stdin.buffer.read().decode("utf-8") if "-" in paths else ""
    except (OSError, UnicodeDecodeError) as error:
        give_up(StartError(f"standard input cannot be read: {error}"))
    return Reading(
        paths=tuple(paths),
        stdin=stdin,
        namespace=namespace,
        env=os.environ if expand_env else None,
        on_duplicate=OnDuplicate(on_duplicate),
        ports=_ports(port_map),
        options=how,
    )


def _ports(entries: list[str]) -> dict[int, int]:
    """`80=8080`. Exits 2 for anything else."""
    ports: dict[int, int] = {}
    for entry in entries:
        match = _PORTS.fullmatch(entry)
        if match is None or not all(0 < int(number) < 65536 for number in match.groups()):
            raise typer.BadParameter(f"{entry!r} is not PORT=PORT, for example 80=8080", param_hint="--port-map")
        ports[int(match[1])] = int(match[2])
    return ports
