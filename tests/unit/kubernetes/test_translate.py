"""The translation as a whole: what holds for any objects. What single families come to is in tests/golden."""

from __future__ import annotations

import random
from base64 import b64encode
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.kubernetes.manifests import from_body, objects
from torana.config.kubernetes.objects import AGENTGATEWAY_CLASS, CLASS_NAME, Object, Options, Translation
from torana.config.kubernetes.store import GATEWAY_API, VERSIONS
from torana.config.kubernetes.translate import translate
from torana.config.problem import Severity
from torana.model.codec import dump

_GOLDEN = Path(__file__).parents[2] / "golden" / "kubernetes"
_FAMILIES = sorted(_GOLDEN.glob("*/full.yaml"))
_OPTIONS = Options(implicit_gateway=8080, class_names=(CLASS_NAME, AGENTGATEWAY_CLASS))
_ALL = [each for path in _FAMILIES for each in objects(path.read_text(), path.parent.name)]


def _guide(*without: str) -> list[Object]:
    paths = sorted((_GOLDEN / "guide").glob("*.yaml"))
    return [each for path in paths if path.stem not in without for each in objects(path.read_text(), path.name)]


def _condition(made: Translation, kind: str, name: str, condition: str = "Accepted") -> dict[str, Any]:
    (status,) = (each.status for each in made.statuses if (each.kind, each.name) == (kind, name))
    content = status.get("conditions") or status["parents"][0]["conditions"]
    found: dict[str, Any] = next(each for each in content if each["type"] == condition)
    return found


# --- Whatever comes -------------------------------------------------------------------------------------------------


@given(st.randoms(use_true_random=False), st.integers(0, len(_ALL)))
def test_the_order_of_objects_does_not_matter(shuffler: random.Random, count: int) -> None:
    """The same objects in another order come to the same config, statuses and problems."""
    some = shuffler.sample(_ALL, count)
    made = translate(some, _OPTIONS)
    shuffler.shuffle(some)
    assert translate(some, _OPTIONS) == made


_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["*", "::", "a:1", "/..", "%2f"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in _places(item, (*path, key)))]


def _with(value: Any, path: tuple[Any, ...], junk: Any) -> Any:
    if not path:
        return junk
    copy = value.copy()
    copy[path[0]] = _with(value[path[0]], path[1:], junk)
    return copy


@given(st.data())
def test_never_raises(data: st.DataObject) -> None:
    """Whatever stands in whatever place of an object, the translation gives a config."""
    bad = data.draw(st.sampled_from(_ALL))
    place = data.draw(st.sampled_from([place for place in _places(bad.body) if place]))
    spoilt = msgspec.structs.replace(bad, body=_with(bad.body, place, data.draw(_JUNK)))
    family = bad.place.where if bad.place else ""
    others = [each for each in _ALL if each is not bad and each.place and each.place.where == family]
    translate([*others, spoilt], _OPTIONS)


@given(st.sampled_from(sorted(VERSIONS)), st.dictionaries(st.sampled_from(["spec", "metadata", "data"]), _JUNK))
def test_never_raises_on_junk(kind: tuple[str, str], body: dict[str, Any]) -> None:
    """An object may hold nothing of what it should."""
    group, name = kind
    version = f"{group}/{VERSIONS[kind][0]}" if group else "v1"
    translate([Object(version, name, "a", "b", body)], _OPTIONS)


# --- The Kubernetes guide -------------------------------------------------------------------------------------------


def test_the_guide_alone() -> None:
    """Without its Gateway the guide's route is served nowhere, and says so; with the option one is supplied."""
    made = translate(_guide(), Options())
    assert made.config.binds == ()
    assert sum("is absent" in problem.what for problem in made.problems) == 2
    assert translate(_guide(), _OPTIONS).config.binds[0].port == 8080


def test_a_missing_secret_fails_closed() -> None:
    """A Backend without its Secret is not accepted; its route is, and its share answers 500, the other's is served."""
    made = translate(_guide("mistral-secret"), _OPTIONS)
    accepted = _condition(made, "Backend", "mistral")
    assert (accepted["reason"], accepted["message"]) == (
        "Invalid",
        'Backend error: "Secret gloo-system/mistral-secret not found"',
    )
    assert _condition(made, "HTTPRoute", "mistral", "ResolvedRefs")["status"] == "True"
    deepseek, mistral = made.config.binds[0].listeners[0].routes
    assert deepseek.backends[0].groups
    assert not mistral.backends[0].groups


def test_what_may_not_be_read_fails_closed() -> None:
    """Where Secrets or policies may not be read nothing goes out without key or TLS, and the status says why."""
    unread = msgspec.structs.replace(_OPTIONS, unread=frozenset({("", "Secret")}))
    made = translate(_guide("mistral-secret"), unread)
    assert "mistral-secret cannot be read" in _condition(made, "Backend", "mistral")["message"]
    assert not made.config.binds[0].listeners[0].routes[1].backends[0].groups
    unread = msgspec.structs.replace(_OPTIONS, unread=frozenset({(GATEWAY_API, "BackendTLSPolicy")}))
    made = translate(_guide("mistral-tls", "deepseek-tls"), unread)
    assert "list kind BackendTLSPolicy" in _condition(made, "Backend", "mistral")["message"]
    assert not any(route.backends[0].groups for route in made.config.binds[0].listeners[0].routes)


def test_endpoints_that_may_not_be_read() -> None:
    """A route to a Service of a cluster whose endpoints may not be read says so, and answers 500."""
    text = """
apiVersion: v1
kind: Service
metadata: {name: chat}
spec: {ports: [{port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: chat}
spec: {parentRefs: [{name: main}], rules: [{backendRefs: [{name: chat, port: 80}]}]}
"""
    found = [msgspec.structs.replace(each, place=None) for each in objects(text)]
    made = translate(
        found, msgspec.structs.replace(_OPTIONS, unread=frozenset({("discovery.k8s.io", "EndpointSlice")}))
    )
    resolved = _condition(made, "HTTPRoute", "chat", "ResolvedRefs")
    assert resolved["reason"] == "BackendNotFound"
    assert resolved["message"].endswith("cannot be read: the API server does not let Torana list kind EndpointSlice")
    assert not made.config.binds[0].listeners[0].routes[0].backends[0].groups


def test_no_policy_is_plaintext() -> None:
    """Without a BackendTLSPolicy port 443 is reached in plaintext, as the guide says, and the status warns of it."""
    made = translate(_guide("mistral-tls"), _OPTIONS)
    backend = made.config.binds[0].listeners[0].routes[1].backends[0].groups[0][0]
    assert backend is not None
    assert backend.tls is None
    accepted = _condition(made, "Backend", "mistral")
    assert accepted["status"] == "True"
    assert accepted["message"].startswith("Backend accepted; api.mistral.ai is reached in plaintext, on port 443")
    assert [problem.severity for problem in made.problems if "plaintext" in problem.what] == [Severity.WARNING]


@pytest.mark.parametrize("written", ["sk-x", "Bearer sk-x", " Bearer  sk-x\n"])
def test_forms_of_a_token(written: str) -> None:
    """White space around a token and one leading `Bearer ` make no difference."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mistral-secret", "namespace": "gloo-system"}}
    made = translate(
        [*_guide("mistral-secret"), from_body({**secret, "stringData": {"Authorization": written}})], _OPTIONS
    )
    backend = made.config.binds[0].listeners[0].routes[1].backends[0].groups[0][0]
    assert backend is not None
    assert backend.auth is not None
    assert backend.auth.key.reveal() == "sk-x"


@pytest.mark.parametrize("written", ["sk-canary\nx-evil: 1", "sk-canary\x00", "\u2028sk-canary"])
def test_a_token_is_never_shown(written: str) -> None:
    """A token that no header can carry fails closed, and no word of it is in a problem, a status or a dump."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mistral-secret", "namespace": "gloo-system"}}
    made = translate(
        [*_guide("mistral-secret"), from_body({**secret, "stringData": {"Authorization": written}})], _OPTIONS
    )
    assert "canary" not in f"{made.problems} {made.statuses} {dump(made.config)}"


def test_a_slip_sends_no_credential_elsewhere() -> None:
    """An unknown field of a Backend fails closed: with `hots` for `host` the token would go to the default host."""
    (backend,) = [each for each in _guide() if each.kind == "Backend" and each.name == "mistral"]
    llm = dict(backend.spec["ai"]["llm"])
    llm["hots"] = llm.pop("host")
    del llm["port"]
    slipped = msgspec.structs.replace(backend, body={**backend.body, "spec": {"type": "AI", "ai": {"llm": llm}}})
    made = translate([*(each for each in _guide("mistral-backend")), slipped], _OPTIONS)
    assert made.config.binds[0].listeners[0].routes[1].backends[0].groups == ()
    assert _condition(made, "Backend", "mistral")["message"] == 'Backend error: "unknown field \\"spec.ai.llm.hots\\""'


def test_addresses() -> None:
    """A Gateway's status has the addresses that are given, by type; to ask for one of them is no fault."""
    text = (
        "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: g}, spec: {gatewayClassName: torana"
    )
    text += ", addresses: [{value: 192.0.2.1}], listeners: [{name: a, port: 80, protocol: HTTP}]}}"
    (found,) = translate(objects(text), Options(addresses=("192.0.2.1", "llm.example.com"))).statuses
    assert found.status["addresses"] == [
        {"type": "IPAddress", "value": "192.0.2.1"},
        {"type": "Hostname", "value": "llm.example.com"},
    ]
    assert {each["type"]: each["status"] for each in found.status["conditions"]} == {
        "Accepted": "True",
        "Programmed": "True",
    }


def test_an_unknown_version_is_told() -> None:
    """A version that is not known is an error with the one that is, and the object is passed over."""
    old = [msgspec.structs.replace(each, api_version="gateway.networking.k8s.io/v9") for each in _guide()]
    made = translate([each for each in old if each.kind == "HTTPRoute"], _OPTIONS)
    assert {(problem.what, problem.hint) for problem in made.problems} == {
        ('version "v9" is not known', "use gateway.networking.k8s.io/v1")
    }


def test_a_gateway_that_cannot_be_supplied() -> None:
    """A port that has TLS already cannot have a Gateway without it: the route that would need it is told."""
    issued = trustme.CA().issue_cert("a.example")
    pem = {"tls.crt": issued.cert_chain_pems[0].bytes(), "tls.key": issued.private_key_pem.bytes()}
    data = ", ".join(f"{name}: {b64encode(value).decode()}" for name, value in pem.items())
    listener = "{name: s, port: 8080, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}"
    text = f"""
apiVersion: v1
kind: Secret
metadata: {{name: cert}}
data: {{{data}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: taken}}
spec: {{gatewayClassName: torana, listeners: [{listener}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: chat}}
spec: {{parentRefs: [{{name: absent}}]}}
"""
    statuses = translate(objects(text), _OPTIONS).statuses
    (route,) = [status for status in statuses if status.kind == "HTTPRoute"]
    accepted = route.status["parents"][0]["conditions"][0]
    assert (accepted["status"], accepted["reason"]) == ("False", "NoMatchingParent")
    assert "cannot be supplied: port 8080 has another protocol" in accepted["message"]


@pytest.mark.parametrize(
    ("names", "options", "ours"),
    [
        ("torana", Options(), True),
        ("agentgateway", Options(), False),
        ("agentgateway", Options(class_names=("agentgateway",)), True),
        ("other", Options(class_names=("other",)), True),
        ("torana", Options(class_names=()), False),
    ],
)
def test_classes_by_name(names: str, options: Options, ours: bool) -> None:
    """Where no GatewayClass says whose it is, a Gateway's class is ours by its name."""
    text = "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: g}, "
    text += f"spec: {{gatewayClassName: {names}, listeners: [{{name: a, port: 80, protocol: HTTP}}]}}}}"
    assert bool(translate(objects(text), options).config.binds) is ours
