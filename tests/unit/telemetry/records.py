"""Records for the tests of what is told about requests."""

from __future__ import annotations

from typing import Any

from torana.llm.usage import Usage
from torana.telemetry.record import Placement, Record

PLACE = Placement("bind/3000", "http", "route0")


def record(**values: Any) -> Record:
    """A request that took a quarter of a second, with the given attributes."""
    made = Record(10.0)
    made.ended = 10.25
    made.placement = PLACE
    made.peer = "127.0.0.1:50000"
    made.method = "GET"
    made.host = "gateway.example"
    made.path = "/"
    made.status = 200
    made.endpoint = "127.0.0.1:9000"
    made.backend = "backend0"
    for name, value in values.items():
        setattr(made, name, value)
    return made


def call(**values: Any) -> Record:
    """The same for a call of a language model, with tokens of every kind."""
    return record(
        **{
            "protocol": "llm",
            "method": "POST",
            "path": "/v1/chat/completions",
            "operation": "chat",
            "provider": "openai",
            "model": "m1",
            "response_model": "m1-2026",
            "usage": Usage(
                input_tokens=5, output_tokens=3, cached_tokens=2, cache_creation_tokens=1, reasoning_tokens=4
            ),
        }
        | values
    )
