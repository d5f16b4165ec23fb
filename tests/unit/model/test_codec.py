"""The model as people see it, and as workers get it."""

from __future__ import annotations

import json

import pytest

from torana.model import codec
from torana.model.backend import Backend, Target, alone
from torana.model.config import Bind, Config, Listener
from torana.model.policy import (
    BackendAuth,
    DirectResponse,
    HeaderModifier,
    PathKind,
    PathRule,
    Redirect,
    RoutePolicies,
)
from torana.model.route import Route, RouteMatch, ValueMatch
from torana.model.secret import Secret

_CANARY = "cAnArY-0815-model"


def _config(backend: Backend, policies: RoutePolicies | None = None) -> Config:
    route = Route("route0", policies=policies or RoutePolicies(), backends=(alone(backend),))
    return Config(binds=(Bind(3000, (Listener("listener0", routes=(route,)),)),))


@pytest.mark.parametrize(
    "config",
    [
        _config(Backend("b", Target("h", 1), auth=BackendAuth(Secret(_CANARY)))),
        _config(Backend("b", Target("h", 1), request_headers=HeaderModifier(set=(("x-plain", f"a {_CANARY}"),)))),
        _config(Backend("b", Target("h", 1), path=PathRule(PathKind.OVERRIDE, f"/v1?k={_CANARY}"))),
        _config(
            Backend("b", Target("h", 1)), RoutePolicies(response_headers=HeaderModifier(add=(("x-plain", _CANARY),)))
        ),
    ],
)
def test_a_value_of_a_variable_is_not_dumped(config: Config) -> None:
    """What came from an environment variable is masked in a dump wherever a credential can stand."""
    dump = json.dumps(codec.dump(config, [Secret(_CANARY)]))
    assert _CANARY not in dump
    assert "***" in dump


@pytest.mark.parametrize("name", ["Authorization", "x-api-key", "X-Auth-Token", "cookie", "client-secret"])
def test_a_credential_written_out_is_not_dumped(name: str) -> None:
    """A header field that is a credential by its name is masked even when the file has it in plain text."""
    config = _config(
        Backend("b", Target("h", 1), request_headers=HeaderModifier(set=((name, _CANARY), ("x-team", "blue"))))
    )
    dump = json.dumps(codec.dump(config))
    assert _CANARY not in dump
    assert "blue" in dump


@pytest.mark.parametrize(
    "policies",
    [
        RoutePolicies(direct_response=DirectResponse(200, headers=(("x-api-key", _CANARY), ("x-team", "blue")))),
        RoutePolicies(
            direct_response=DirectResponse(302, "blue", (("location", f"https://a/?access_token={_CANARY}"),))
        ),
        RoutePolicies(redirect=Redirect(path=PathRule(PathKind.FULL, f"/x?team=blue&api%5Fkey={_CANARY}"))),
    ],
)
def test_credentials_in_answers_are_not_dumped(policies: RoutePolicies) -> None:
    """Literal credentials of answers are masked by the names of their headers and query parameters."""
    dump = json.dumps(codec.dump(_config(Backend("b", Target("h", 1)), policies)))
    assert _CANARY not in dump
    assert "blue" in dump


def test_credentials_in_paths_and_matches_are_not_dumped() -> None:
    """So are those of a path that goes on and of what a route's requests are matched by."""
    backend = Backend("b", Target("h", 1), path=PathRule(PathKind.OVERRIDE, f"/v1/x?team=blue&api_key={_CANARY}"))
    match = RouteMatch(
        headers=(ValueMatch("x-api-key", _CANARY), ValueMatch("x-team", "red")),
        query=(ValueMatch("token", _CANARY), ValueMatch("v", "green")),
    )
    route = Route("route0", matches=(match,), backends=(alone(backend),))
    dump = json.dumps(codec.dump(Config(binds=(Bind(3000, (Listener("l", routes=(route,)),)),))))
    assert _CANARY not in dump
    for plain in ("blue", "red", "green"):
        assert plain in dump


def test_workers_get_what_was_configured() -> None:
    """A configuration that was packed and unpacked is equal, secrets and all."""
    config = _config(Backend("b", Target("h", 1), auth=BackendAuth(Secret(_CANARY))))
    assert codec.unpack(codec.pack(config), Config) == config
