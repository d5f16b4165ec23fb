"""What keeps traffic flowing: what is wrong with it is told, and where one thing may not stop another."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.kubernetes.families import backends, changed, conditions, family, status, told
from torana.config.kubernetes.objects import Options
from torana.config.kubernetes.translate import translate


@pytest.mark.parametrize(
    ("policies", "words"),
    [
        ({"health": {"unhealthyCondition": "response.code >"}}, "unhealthyCondition"),
        ({"health": {"unhealthyCondition": "jwt.sub"}}, "there is no variable `jwt` here"),
        ({"health": {"eviction": {"duration": "0s"}}}, "duration must be at least 1 second"),
        ({"health": {"eviction": {"duration": "soon"}}}, '"soon" is no duration'),
        ({"http": {"requestTimeout": "3"}}, 'policies.http.requestTimeout "3" is no duration'),
        ({"http": {"version": "HTTP2"}}, "HTTP/2 to a backend is not supported yet"),
        ({"tcp": {"connectTimeout": "1.5s"}}, "policies.tcp.connectTimeout"),
        ({"tcp": {"keepalive": {"interval": "0s"}}}, "time and interval must be 1 to 32767 seconds"),
        ({"tcp": {"keepalive": {"time": "10h"}}}, "time and interval must be 1 to 32767 seconds"),
        ({"tunnel": {"backendRef": {"name": "proxy"}}}, "needs a port in its reference"),
        ({"tunnel": {"backendRef": {"name": "empty", "port": 80}}}, "Service apps/empty has no ready endpoint"),
        ({"tunnel": {"backendRef": {"name": "x", "namespace": "other", "port": 1}}}, "is in another namespace"),
        ({"tunnel": {"backendRef": {"name": "x", "kind": "Secret"}}}, "can be no proxy"),
        (
            {"tunnel": {"backendRef": {"name": "groups", "group": "agentgateway.dev", "kind": "AgentgatewayBackend"}}},
            "groups is no static backend",
        ),
        (
            {"tunnel": {"backendRef": {"name": "no", "group": "agentgateway.dev", "kind": "AgentgatewayBackend"}}},
            "AgentgatewayBackend apps/no not found",
        ),
    ],
)
def test_faults_of_policies(policies: dict[str, Any], words: str) -> None:
    """A policy that cannot be kept is told in the Backend's status, and its requests get 500."""

    def secured(body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "spec": {**body["spec"], "policies": policies}}

    made = changed(family("failover"), "AgentgatewayBackend", "behind-proxy", secured)
    (accepted,) = conditions(status(made, "AgentgatewayBackend", "behind-proxy"))
    assert (accepted["status"], accepted["reason"]) == ("False", "TranslationError")
    assert words in accepted["message"]
    assert not backends(made, "apps/models/3")[0].groups


def test_a_faulty_provider_closes_its_backend() -> None:
    """A provider that cannot be used is named in the status, and the others do not quietly get its requests."""
    made = translate(family("failover"), Options())
    (accepted,) = conditions(status(made, "Backend", "faulty"))
    assert accepted["message"] == 'Backend error: "provider bad: Secret apps/absent not found"'
    assert [ref.groups for ref in backends(made, "apps/models/2")] == [(), ()]


def test_a_policy_of_one_provider_closes_its_backend() -> None:
    """A BackendTLSPolicy of one provider that cannot be used closes all: nothing goes around it in plaintext."""

    def broken(body: dict[str, Any]) -> dict[str, Any]:
        spec = body["spec"]
        return {**body, "spec": {**spec, "validation": {**spec["validation"], "wellKnownCACertificates": "Mine"}}}

    made = changed(family("failover"), "BackendTLSPolicy", "second", broken)
    assert told(made, "BackendTLSPolicy", "second")["Accepted"] == ("False", "Invalid")
    assert not backends(made, "apps/models/0")[0].groups


def test_names_of_providers() -> None:
    """Each provider has a name of its own in metrics, even where two groups use one name."""
    made = translate(family("failover"), Options())
    names = [each.name for each in backends(made, "apps/models/0")[0].backends]
    assert names == ["apps/groups/first", "apps/groups/second", "apps/groups/first/group1/provider0"]


def test_a_service_is_one_share() -> None:
    """The ready endpoints of a Service are one group of one share, whose weight stays as it is written."""
    made = translate(family("failover"), Options())
    chat, empty = backends(made, "apps/rules/retried")
    assert [[each.target.host for each in group] for group in chat.groups] == [["10.0.0.1", "10.0.0.2"]]
    assert (chat.weight, empty.weight, empty.groups) == (3, 1, ())


def test_a_mirror_that_leads_nowhere() -> None:
    """A mirror that is not permitted is told in ResolvedRefs and left out; the rule goes on serving."""
    made = translate(family("failover"), Options())
    assert told(made, "HTTPRoute", "rules") == {
        "Accepted": ("True", "Accepted"),
        "ResolvedRefs": ("False", "RefNotPermitted"),
    }
    (route,) = (each for each in made.config.binds[0].listeners[0].routes if each.name == "apps/rules/mirrored")
    assert [(each.backend.target.host, each.share) for each in route.mirrors] == [
        ("10.0.0.1", 1.0),
        ("api.openai.com", 0.25),
        ("10.0.0.9", 0.125),
    ]
    assert route.backends[0].groups


def test_no_retry() -> None:
    """A retry of no attempts is none; the route serves."""

    def never(body: dict[str, Any]) -> dict[str, Any]:
        rules = [{**rule, "retry": {"attempts": 0}} if "retry" in rule else rule for rule in body["spec"]["rules"]]
        return {**body, "spec": {**body["spec"], "rules": rules}}

    made = changed(family("failover"), "HTTPRoute", "rules", never)
    assert told(made, "HTTPRoute", "rules")["Accepted"] == ("True", "Accepted")
    (route,) = (each for each in made.config.binds[0].listeners[0].routes if each.name == "apps/rules/retried")
    assert route.policies.retry is None
