"""`torana kubernetes`: serve by Kubernetes resources, those of manifest files or those of a cluster."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path

import click

from torana.app import follow, run
from torana.cli.serve import give_up, parse_overrides
from torana.cli.status import Output, status
from torana.config.kubernetes.manifests import Manifests, OnDuplicate, Reading
from torana.config.kubernetes.objects import CONTROLLER_NAME, Options
from torana.config.kubernetes.process import process_settings
from torana.config.kubernetes.resolved import Endpoint, ServicePort
from torana.config.kubernetes.schemas import install_text
from torana.config.problem import ConfigError
from torana.config.sources import StartError
from torana.model.config import Settings

_IPV6 = 6
_PORTS = re.compile(r"([0-9]{1,5})=([0-9]{1,5})")
_NAMESPACED = re.compile(r"([a-z0-9-]+)/([a-z0-9-]+)")
_SERVICE = re.compile(r"([a-z0-9-]+)\.([a-z0-9-]+):([0-9]{1,5})=(\[[0-9A-Fa-f:.]+\]|[^\s:\[\]=]+):([0-9]{1,5})")


def serve_manifests(reading: Reading, *, resolve: list[str], workers: int | None) -> None:
    overrides = parse_overrides([entry for entry in resolve if "=" not in entry])
    try:
        run(Manifests(reading), overrides, workers)
    except (ConfigError, StartError) as error:
        give_up(error)


def serve_cluster(
    kubeconfig: Path | None,
    context: str | None,
    lease_namespace: str | None,
    publish_service: str | None,
    how: Options,
    *,
    resolve: list[str],
    workers: int | None,
) -> None:
    # Late: a laptop without a cluster needs none of it.
    try:
        from torana.config.kubernetes.api import ClusterError
        from torana.config.kubernetes.cluster import Cluster, Way
        from torana.config.kubernetes.watcher import Name
    except ModuleNotFoundError:
        give_up(StartError("cluster mode needs more: pip install 'torana[kubernetes]'"))

    overrides = parse_overrides(resolve)
    published = Name(*_service_name(publish_service)) if publish_service is not None else None
    try:
        follow(Cluster(Way(kubeconfig, context, lease_namespace, published), how), overrides, workers)
    except ClusterError as error:
        give_up(StartError(f"{error}; to serve manifest files without a cluster, give --manifests PATH"))
    except (ConfigError, StartError) as error:
        give_up(error)


def validate_manifests(reading: Reading) -> None:
    status(reading, Output.TABLE)


def print_manifests() -> None:
    """What installs Torana in a cluster: the CRDs, and the gateway itself."""
    click.echo(install_text(), nl=False)


def options(controller_names: list[str], class_names: list[str], implicit_gateway: int | None) -> Options:
    """Exits 1 when the environment has a setting that is none."""
    try:
        settings = process_settings(os.environ)
    except ConfigError as error:
        give_up(error)
    return Options(
        controller_names=tuple(controller_names) or (CONTROLLER_NAME,),
        class_names=tuple(class_names),
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
    addresses: list[str],
    resolve: list[str],
) -> Reading:
    """Reads standard input when it is among the paths. Exits 1 when that cannot be read.

    `resolve` are all of --resolve; those of hosts are for the dialler. `addresses` of none are those of this machine
    alone: manifests being tried out are not for the network.
    """
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
        addresses=_addresses(addresses) if addresses else _loopback(how.settings),
        ports=_ports(port_map),
        services=_services(entry for entry in resolve if "=" in entry),
        options=how,
    )


def _ports(entries: list[str]) -> dict[int, int]:
    """`80=8080`. Exits 2 for anything else."""
    ports: dict[int, int] = {}
    for entry in entries:
        match = _PORTS.fullmatch(entry)
        if match is None or not all(0 < int(number) < 65536 for number in match.groups()):
            raise click.BadParameter(f"{entry!r} is not PORT=PORT, for example 80=8080", param_hint="--port-map")
        ports[int(match[1])] = int(match[2])
    return ports


def _service_name(text: str) -> tuple[str, str]:
    """`torana-system/torana`. Exits 2 for anything else."""
    match = _NAMESPACED.fullmatch(text)
    if match is None:
        message = f"{text!r} is not NAMESPACE/NAME, for example torana-system/torana"
        raise click.BadParameter(message, param_hint="--publish-service")
    return match[1], match[2]


def _services(entries: Iterable[str]) -> dict[ServicePort, Endpoint]:
    """`chat.default:80=127.0.0.1:9000`. Exits 2 for anything else."""
    services: dict[ServicePort, Endpoint] = {}
    for entry in entries:
        match = _SERVICE.fullmatch(entry)
        if match is None or not all(0 < int(number) < 65536 for number in match.group(3, 5)):
            message = f"{entry!r} is not SERVICE.NAMESPACE:PORT=HOST:PORT, for example chat.default:80=127.0.0.1:9000"
            raise click.BadParameter(message, param_hint="--resolve")
        name, namespace, port, host, own = match.groups()
        services[ServicePort(namespace, name, int(port))] = Endpoint(host.strip("[]"), int(own))
    return services


def _addresses(entries: list[str]) -> tuple[str, ...]:
    """IP addresses; empty, which means all of the machine, when `::` is one of them. Exits 2 for one it has not."""
    for entry in entries:
        if not _is_here(entry):
            message = f"{entry!r} is no IP address of this machine; 0.0.0.0 is all of IPv4, :: all there are"
            raise click.BadParameter(message, param_hint="--address")
    return () if "::" in entries else tuple(dict.fromkeys(entries))


def _loopback(settings: Settings) -> tuple[str, ...]:
    """`localhost` is either of the two, where there is IPv6."""
    return ("127.0.0.1", "::1") if settings.ipv6 and _is_here("::1") else ("127.0.0.1",)


def _is_here(address: str) -> bool:
    """Whether one can listen on it; `::` is there without IPv6, too."""
    try:
        version = ip_address(address).version
        with socket.socket(socket.AF_INET6 if version == _IPV6 else socket.AF_INET) as sock:
            sock.bind((address, 0))
    except (OSError, ValueError):
        return address == "::"
    return True
