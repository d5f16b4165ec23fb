"""`torana explain`: what would happen to a request, found out by the very code that would serve it. Nothing is sent."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import msgspec

from torana.cli.request import exchange_of
from torana.cli.serve import give_up, parse_overrides, source_of
from torana.config.kubernetes.manifests import Manifests, Reading
from torana.config.problem import ConfigError
from torana.config.sources import Source, StartError
from torana.errors import GatewayError
from torana.exchange import Exchange, LocalReply
from torana.http.dial import Dialler, Override
from torana.http.pool import Pool
from torana.http.proxies import Environment
from torana.http.sweep import Sweep
from torana.llm.operation import ModelPlace, Operation
from torana.model.backend import BodyEdits, Provider
from torana.model.config import Config, Proxies
from torana.model.policy import BackendTls, CredentialPlace
from torana.model.route import RouteMatch
from torana.model.secret import MASK
from torana.model.shown import shown, shown_text, shown_value
from torana.proxy.call import Call, aimed, made_call, reads_body
from torana.proxy.gateway import before, choose, match
from torana.proxy.inbound import Inbound
from torana.proxy.model_list import askable, is_listed
from torana.proxy.router import Candidate
from torana.proxy.runtime import Runtime
from torana.proxy.snapshot import CompiledRoute, Snapshot
from torana.proxy.upstream import Upstream
from torana.telemetry.record import UNPLACED

Explanation = dict[str, Any]


def explain(
    file: str | None,
    text: str | None,
    url: str,
    *,
    method: str | None,
    headers: list[str],
    data: str | None,
    resolve: list[str],
    as_json: bool,
    manifests: Reading | None = None,
) -> None:
    """Exit 0 when the request would go upstream or be answered by a policy, 1 when the gateway would refuse it."""
    overrides = parse_overrides(resolve)
    try:
        source: Source = source_of(file, text) if manifests is None else Manifests(manifests)
        loaded = source.load()
        body = _body(data)
    except (ConfigError, StartError) as error:
        give_up(error)
    method = (method or ("POST" if data is not None else "GET")).upper()
    try:
        exchange, port = exchange_of(url, method, headers)
        explained = _explain(loaded.config, port, exchange, body, overrides)
    except GatewayError as error:
        explained = {"request": f"{method} {urlsplit(url).path or '/'}", "error": _error(error)}
    found = shown(explained, loaded.hidden)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        click.echo("\n".join(_lines(found)))
    sys.exit(1 if "error" in found else 0)


def _body(data: str | None) -> bytes:
    if data is None or not data.startswith("@"):
        return (data or "").encode()
    path = Path(data[1:])
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartError(f"{path}: cannot be read: {error.strerror}") from error


def _explain(
    config: Config, port: int, exchange: Exchange, body: bytes, overrides: dict[tuple[str, int], Override]
) -> Explanation:
    found: Explanation = {"request": f"{exchange.method.decode()} {exchange.path.decode()}", "port": port}
    snapshot = Snapshot(config, runtime_of(config.settings.proxies, overrides))
    if port not in snapshot.binds:
        ports = ", ".join(map(str, snapshot.binds)) or "none"
        return found | {"error": {"status": None, "message": f"nothing listens on port {port}; configured: {ports}"}}
    try:
        matched = match(snapshot, port, exchange)
    except GatewayError as error:
        if exchange.record.placement is not UNPLACED:
            found["listener"] = exchange.record.placement.listener
        return found | {"error": _error(error)}
    found |= _placement(matched)
    route = matched.route
    if route.operations is not None:
        exchange.operation, exchange.opaque = route.operations(exchange.path)
    try:
        reply = before(route, exchange)
        if reply is None and route.models is not None:
            choice = asyncio.run(choose(route.models, _Whole(body), exchange, config.limits.max_body_bytes))
            if isinstance(choice, LocalReply):
                reply = choice
            else:
                found["because"].append(f"model {exchange.record.model or '(none)'} fits {choice.route.name}")
                route, reply = choice, before(choice, exchange)
    except GatewayError as error:
        return found | {"error": _error(error)}
    if reply is not None:
        return found | {"reply": _reply(reply, exchange, route)}
    if not route.shares:
        message = f"the route {route.route.name} has no backend with a weight above 0"
        return found | {"error": {"status": 500, "message": message}}
    return found | _backends(route, exchange, body, overrides)


class _Whole(Inbound):
    """A body of which nothing is still to come."""

    def __init__(self, body: bytes) -> None:
        self.content = body


def _backends(
    route: CompiledRoute, exchange: Exchange, body: bytes, overrides: dict[tuple[str, int], Override]
) -> Explanation:
    """All that may be asked, each as far as the request would get; then the first error that there was."""
    if exchange.operation is Operation.MODELS and is_listed(exchange, route.upstreams):
        return {"reply": _list_of_models(route, exchange)}
    backends: list[Explanation] = []
    found: Explanation = {"backends": backends}
    weights = [ref.weight for ref in route.route.backends if ref.weight]
    for share, weight in zip(route.shares, weights, strict=True):
        if share is None:
            backends.append({"error": "a missing or broken backend: its share answers 500", "weight": weight})
            continue
        for priority, group in enumerate(share.groups):
            for upstream in group:
                told: Explanation = {}
                backends.append(told)
                try:
                    if upstream.redirect is not None:
                        told["backend"] = upstream.backend.name
                        told["reply"] = _reply(upstream.redirect.on_request(exchange), exchange, route)
                    else:
                        _tell(told, upstream, exchange, body, overrides)
                except GatewayError as error:
                    found.setdefault("error", {"backend": told["backend"]} | _error(error))
                told["weight"] = weight
                if len(share.groups) > 1:
                    told["priority"] = priority
    return found


def _list_of_models(route: CompiledRoute, exchange: Exchange) -> Explanation:
    """Which models would be listed, as far as the configuration says, and who would be asked for more."""
    listed: dict[str, None] = {}
    asked = []
    for upstream in askable(route.upstreams):
        listed |= dict.fromkeys(upstream.named_models)
        if upstream.model is None:
            target = shown_text(upstream.list_target(exchange).decode("latin-1"), _parameter(upstream))
            asked.append(f"{upstream.endpoint.text} for {target}")
    return {"status": 200, "models": [*listed], "asks": asked}


def _error(error: GatewayError) -> Explanation:
    return {"status": error.reason.fault.status, "message": error.message}


def _placement(matched: Candidate[CompiledRoute]) -> Explanation:
    route = matched.route.route
    rule = matched.match
    return {
        "listener": matched.route.placement.listener,
        "route": route.name,
        "because": [*_reasons(rule), *([f"host is one of {', '.join(route.hostnames)}"] if route.hostnames else [])],
        "policies": [name for name in route.policies.__struct_fields__ if getattr(route.policies, name)],
    }


def _reasons(rule: RouteMatch) -> Iterator[str]:
    yield f"path fits {rule.path.kind.value} {rule.path.value}"
    if rule.method:
        yield f"method is {rule.method}"
    for what, values in (("header", rule.headers), ("query parameter", rule.query)):
        for value in values:
            yield f"{what} {value.name} {'fits' if value.regex else 'is'} {shown_value(value.name, value.value)}"


def _tell(
    told: Explanation,
    upstream: Upstream,
    exchange: Exchange,
    body: bytes,
    overrides: dict[tuple[str, int], Override],
) -> None:
    """Where the request would go, then what it would be. Raises GatewayError, after what is known by then was told."""
    backend = upstream.backend
    override = overrides.get((backend.target.host, backend.target.port))
    told["backend"] = backend.name
    told["connect"] = str(backend.target) + (f" (at {override.host}:{override.port} by --resolve)" if override else "")
    tunnel = upstream.endpoint.address.connecting.tunnel
    if tunnel is not None:
        told["via"] = f"proxy {tunnel.target}" + (" over TLS" if tunnel.tls is not None else "")
    told["tls"] = _tls(backend.tls, backend.target.host)
    if upstream.plaintext_443:
        told["warning"] = "port 443 is reached in plaintext; if it speaks TLS, add `backendTLS: {}`"
    told["method"] = exchange.method.decode()
    target, operation = aimed(exchange, upstream) if upstream.is_llm else (upstream.target(exchange), None)
    told["path"] = shown_text(target.decode("latin-1"), _parameter(upstream))
    if upstream.is_llm:
        told["provider"] = upstream.provider
        told["operation"] = operation.text if operation else None
        if edits := [*_edits(backend.provider)]:
            told["edits"] = edits
    outgoing = upstream.compose(exchange, target, plain=False)
    told["host"] = outgoing.host.decode("latin-1")
    place = reads_body(exchange, operation) if upstream.is_llm and not exchange.opaque else ModelPlace.NOWHERE
    if place is ModelPlace.JSON:
        call = made_call(operation, upstream, body, exchange.model)
        _tell_call(told, call)
        plain = call.prepared.stream or call.translation is not None
        outgoing = upstream.compose(exchange, target, plain=plain, translation=call.translation)
    elif operation is not None and operation.model is ModelPlace.QUERY:
        told["model"] = exchange.record.model
    told["headers"] = _headers(upstream, b"".join(outgoing.parts))


def _tell_call(told: Explanation, call: Call) -> None:
    """What the body would be, by its names alone."""
    prepared = call.prepared
    if call.translation is not None:
        told["translated to"] = call.translation.operation.name.lower()
        told["untranslated"] = [*call.lost]
    told["model"] = prepared.model or None
    told["model from"] = "the configuration" if prepared.model != prepared.asked_model else "the request"
    told["stream"] = prepared.stream


def _edits(provider: Provider | None) -> Iterator[str]:
    """What the configuration changes in bodies; no values, which may be secret."""
    if provider is None:
        return
    edits = provider.edits or BodyEdits()
    yield from (f"sets {name}" for name, _ in edits.overrides)
    yield from (f"sets {name} where it is left out" for name, _ in edits.defaults)
    for messages, where in ((edits.prepend, "before"), (edits.append, "behind")):
        if messages:
            yield f"puts {len(messages)} message(s) {where} the client's"
    if provider.aliases:
        yield f"has {len(provider.aliases)} alias(es) of models"


def _tls(tls: BackendTls | None, host: str) -> str:
    if tls is None:
        return "no"
    if tls.insecure_host:
        return "yes, the certificate's name is not checked"
    if tls.insecure:
        return "yes, the certificate is not checked"
    names = ", ".join(tls.subject_alt_names) or tls.hostname or host
    roots = "its own root" if tls.roots else "the system roots"
    return f"yes, SNI {tls.hostname or host}, certificate for {names} from {roots}"


def _headers(upstream: Upstream, head: bytes) -> list[str]:
    """The header lines with every credential masked: ours, and what the client's headers may hold."""
    auth = upstream.backend.auth
    ours = auth.name.lower() if auth is not None else ""
    lines = []
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(": ")
        if name:
            masked = MASK if name.lower() == ours else shown_value(name, value)
            prefix = "Bearer " if masked == MASK and value.startswith("Bearer ") else ""
            lines.append(f"{name}: {prefix}{masked}")
    return lines


def _parameter(upstream: Upstream) -> str | None:
    """The name of the query parameter that our credential goes in, if it does."""
    auth = upstream.backend.auth
    return auth.name if auth is not None and auth.place is CredentialPlace.QUERY else None


def _reply(reply: LocalReply, exchange: Exchange, route: CompiledRoute) -> Explanation:
    """As the client would get it, less what every answer has (`date`, `content-length`)."""
    for policy in route.after:
        policy(exchange, reply.fields)
    fields = ((name.decode("latin-1"), value.decode("latin-1")) for _, name, value in reply.fields)
    return {
        "status": reply.status,
        "headers": [f"{name}: {shown_value(name, value)}" for name, value in fields],
        "body": reply.body.decode("utf-8", "replace"),
    }


def runtime_of(proxies: Proxies, overrides: dict[tuple[str, int], Override]) -> Runtime:
    """Upstreams want lanes to connect by; these are never used."""
    sweep = Sweep()
    pool = Pool(Dialler(sweep, overrides, 0, 0), sweep, 1, 0)
    return Runtime(pool, environment=Environment(proxies, overrides))


def _lines(found: Explanation, indent: str = "") -> Iterator[str]:
    """The explanation as aligned text."""
    width = max((len(key) for key, value in found.items() if not isinstance(value, list | dict)), default=0)
    for key, value in found.items():
        if value is None:
            continue
        if isinstance(value, dict):
            yield f"{indent}{key}"
            yield from _lines(value, indent + "  ")
        elif isinstance(value, list):
            if not value:
                continue
            yield f"{indent}{key}"
            for entry in value:
                if isinstance(entry, dict):
                    yield from _lines(entry, indent + "  ")
                else:
                    yield f"{indent}  {entry}"
        else:
            yield f"{indent}{key:<{width}}  {'yes' if value is True else 'no' if value is False else value}"
