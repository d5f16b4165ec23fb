"""Versions of the configuration: two simulated providers behind three routes, and what changes with each reload."""

from __future__ import annotations

from itertools import count

STEADY = "/v1/chat/completions"
"""Both providers in one group; every call is to be answered."""
RESERVE = "/reserve/v1/chat/completions"
"""The first provider fails each call in one of several ways; every call is to be answered by the second."""
FAULTY = "/faulty/v1/chat/completions"
"""Both providers do what the client's dials say, however bad."""

_FAULTS = ("status-429", "status-500", "disconnect-before-head", "disconnect-0", "stall-before-head")

SETTINGS = "config:\n  backend: {poolIdleTimeout: 3s, poolMaxSize: 64}\n"
"""Idle connections are closed soon, so that the pools breathe during a run and are empty soon after it."""


def version(number: int, ports: tuple[int, int]) -> str:
    """The configuration number n, with `$GATEWAY_PORT` for the gateway's own port."""
    first, second = (f"{'localhost' if number % 3 == 2 else '127.0.0.1'}:{port}" for port in ports)
    names = count()

    def provider(address: str, model: str = "") -> str:
        override = f"{{model: {model}}}" if model else "{}"
        return f'{{name: p{next(names)}, hostOverride: "http://{address}", provider: {{openAI: {override}}}}}'

    def route(path: str, groups: list[str]) -> str:
        return (
            f"    - name: {path.split('/')[1]}\n"
            f"      matches: [{{path: {{pathPrefix: {path}}}}}]\n"
            "      policies:\n"
            "        urlRewrite: {path: {prefix: /v1/chat/completions}}\n"
            "        timeout: {backendRequestTimeout: 1s, streamIdleTimeout: 1s}\n"
            f"      backends: [{{ai: {{groups: [{', '.join(f'{{providers: [{group}]}}' for group in groups)}]}}}}]\n"
        )

    pair = [provider(first), provider(second)]
    routes = [
        route(STEADY, [", ".join(pair if number % 2 else reversed(pair))]),
        route(RESERVE, [provider(first, f"m+{_FAULTS[number % len(_FAULTS)]}"), provider(second)]),
        route(FAULTY, [provider(first), provider(second)]),
        *(route(f"/extra{extra}", [provider(first)]) for extra in range(number % 4)),
    ]
    return f"{SETTINGS}binds:\n- port: $GATEWAY_PORT\n  listeners:\n  - routes:\n{''.join(routes)}"


REFUSED = f"{SETTINGS}binds:\n- port: $GATEWAY_PORT\n  listeners:\n  - routs: []\n"
"""One with a fault in it, which changes nothing."""
