"""From resources to the model's Config, and to the status that each resource ought to have.

BackendTLSPolicies and Backends say what can be reached, and how; GatewayClasses and Gateways, which ports, hosts and
certificates there are; HTTPRoutes tie the two together. Every step keeps what is wrong with an object, and goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torana.config.kubernetes.backends import Backends
from torana.config.kubernetes.findings import Findings
from torana.config.kubernetes.gateways import Gateways
from torana.config.kubernetes.grants import Grants
from torana.config.kubernetes.listeners import ListenerState
from torana.config.kubernetes.objects import Key, Object, Options, Status, Translation
from torana.config.kubernetes.routes import Attachment, Routes
from torana.config.kubernetes.store import Store
from torana.config.kubernetes.tls_policies import TlsPolicies
from torana.model.config import Bind, Config, Listener, Protocol
from torana.model.route import Route


def translate(objects: Iterable[Object], options: Options) -> Translation:
    """Raises nothing. In whatever order objects come: the older one counts first, then the one that stands earlier.

    The config always runs: an object that is wrong never stops the others, and its share of the traffic answers 500.
    The only I/O is what OpenSSL needs to look at a listener's private key.
    """
    findings = Findings()
    store = Store(objects, findings, options.unread)
    grants = Grants(store)
    policies = TlsPolicies(store, findings)
    backends = Backends(store, policies, grants, findings)
    gateways = Gateways(store, grants, options, findings)
    routes = Routes(store, options, findings)
    gateways.supply(routes.missing_parents())
    routes.attach(gateways, backends)
    config = Config(_binds(gateways, routes, options.ports), options.limits, options.settings)
    statuses: list[Status] = [
        *gateways.statuses(),
        *routes.statuses,
        *policies.statuses(routes.ancestors, options.controller),
        *backends.statuses,
    ]
    statuses.sort(key=lambda status: (status.api_version, status.kind, status.namespace, status.name))
    return Translation(config, tuple(statuses), findings.in_order())


# --- Ports ----------------------------------------------------------------------------------------------------------


def _binds(gateways: Gateways, routes: Routes, instead: Mapping[int, int]) -> tuple[Bind, ...]:
    """A listener that cannot serve is absent: its port answers nothing, rather than something without TLS.

    Gateways that were supplied share their port: they are one listener of the machine, with the routes of all.
    """
    attached: dict[int, list[Attachment]] = {}
    for attachment in routes.attachments:
        attached.setdefault(id(attachment.listener), []).append(attachment)
    order = {attachment.route: index for index, attachment in enumerate(routes.attachments)}
    ports: dict[int, dict[str | None, list[ListenerState]]] = {}
    for state in gateways.listeners():
        if state.serves:
            ports.setdefault(state.spec.port, {}).setdefault(state.hostname, []).append(state)
    opened = ((instead.get(port, port), by_host) for port, by_host in sorted(ports.items()))
    return tuple(
        Bind(port, tuple(_listener(same, port, attached, order) for same in by_host.values()))
        for port, by_host in opened
    )


def _listener(
    same: list[ListenerState], port: int, attached: dict[int, list[Attachment]], order: dict[Key, int]
) -> Listener:
    first = same[0]
    here = {each.route: each for state in same for each in attached.get(id(state), ())}
    oldest_first = sorted(here.values(), key=lambda attachment: order[attachment.route])
    return Listener(
        name=first.name,
        hostname=first.hostname,
        protocol=first.protocol or Protocol.HTTP,
        tls=first.tls,
        routes=tuple(route for each in oldest_first for route in _routes(each, port)),
    )


def _routes(attachment: Attachment, port: int) -> Iterable[Route]:
    made = (rule.at(port, attachment.hostnames) for rule in attachment.rules)
    return (route for route in made if route is not None)
