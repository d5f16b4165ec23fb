"""Configurations with many small routes: each test of a table has one of its own, found by a path prefix."""

from __future__ import annotations

from collections.abc import Iterable


def bind(routes: Iterable[str], *, top: str = "") -> str:
    """One port, one listener, these routes; `top` is YAML for the top level."""
    return "binds:\n- port: $GATEWAY_PORT\n  listeners:\n  - routes:\n" + "".join(routes) + top


def route(name: str, rest: str, policies: str = "", matches: str = "") -> str:
    """`rest` is what follows the policies, in YAML's flow form; without `matches` it takes the prefix of its name."""
    return (
        f"    - name: {name}\n"
        f"      matches: [{matches or f'{{path: {{pathPrefix: /{name}}}}}'}]\n"
        f"      policies: {{{policies}}}\n"
        f"      {rest}\n"
    )


def ai_route(
    name: str, backend: str, policies: str = "", provider: str = "openAI: {model: configured}", matches: str = ""
) -> str:
    """A route to a language model; `backend` is what stands beside the provider."""
    return route(name, f"backends: [{{ai: {{name: {name}, {backend}, provider: {{{provider}}}}}}}]", policies, matches)


def host_route(name: str, host: str, policies: str = "", matches: str = "") -> str:
    """A route to a plain HTTP backend."""
    return route(name, f'backends: [{{host: "{host}"}}]', policies, matches)
