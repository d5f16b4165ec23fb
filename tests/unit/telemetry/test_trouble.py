"""What keeps a gateway from knowing the newest, in words and as a metric."""

from __future__ import annotations

from torana.telemetry.exposition import render
from torana.telemetry.series import State
from torana.telemetry.trouble import Trouble, told

_GONE = [Trouble(kind, "unreachable", "the API server cannot be reached") for kind in ("Secret", "Gateway")]
_FORBIDDEN = Trouble("Secret", "forbidden", "may not be read")


def test_words() -> None:
    """The trouble of one kind says which; one that several kinds have is said once."""
    assert told([]) == ""
    assert told([_FORBIDDEN]) == "Secret: may not be read"
    assert told([*_GONE, _FORBIDDEN]) == "the API server cannot be reached; Secret: may not be read"


def test_metric() -> None:
    """There is one series for each kind and reason, and none when all is well."""
    body, _ = render(State(), "text/plain", synchronized=False, workers=1, troubles=[*_GONE, _FORBIDDEN, _FORBIDDEN])
    lines = [line for line in body.decode().splitlines() if line.startswith("agentgateway_config_troubles")]
    assert lines == [
        'agentgateway_config_troubles{kind="Gateway",reason="unreachable"} 1.0',
        'agentgateway_config_troubles{kind="Secret",reason="forbidden"} 1.0',
        'agentgateway_config_troubles{kind="Secret",reason="unreachable"} 1.0',
    ]
    body, _ = render(State(), "text/plain", synchronized=True, workers=1)
    assert b"agentgateway_config_troubles{" not in body
