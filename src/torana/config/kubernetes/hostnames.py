"""Hostnames of listeners and routes: what both have in common (Gateway API, HTTPRoute.spec.hostnames)."""

from __future__ import annotations


def intersection(listener: str | None, route: tuple[str, ...]) -> tuple[str, ...] | None:
    """The names for which a route serves at a listener; empty is every name, None is no name at all.

    A side without names takes those of the other. `*.example.com` takes names with more labels, and not itself.
    """
    if listener is None:
        return route
    if not route:
        return (listener,)
    common = tuple(dict.fromkeys(name for each in route if (name := _common(listener, each)) is not None))
    return common or None


def _common(one: str, other: str) -> str | None:
    """The more specific of two names, when the other takes it."""
    if one == other or _takes(one, other):
        return other
    return one if _takes(other, one) else None


def _takes(wildcard: str, name: str) -> bool:
    return wildcard.startswith("*.") and name.removeprefix("*").endswith(wildcard[1:])
