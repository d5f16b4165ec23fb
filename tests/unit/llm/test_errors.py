"""Errors in OpenAI's form."""

from __future__ import annotations

import json

from openai.types.responses import ResponseErrorEvent

from torana.errors import GatewayError, Reason
from torana.llm.errors import error_body, error_event
from torana.llm.operation import Operation

ERROR = GatewayError(Reason.MODEL_MISSING, 'No "model".\n', detail="internal", param="model")
SHOWN = {
    "error": {"message": 'No "model".\n', "type": "invalid_request_error", "param": "model", "code": "missing_model"}
}


def test_the_body_is_openais() -> None:
    """An error has the four members of OpenAI's, and the detail stays inside."""
    assert json.loads(error_body(ERROR)) == SHOWN


def test_an_event_is_one_line_of_data() -> None:
    """In a stream the same object is the data of one event, on one line, ended by an empty line."""
    event = error_event(ERROR)
    assert event.startswith(b"data: {")
    assert event.endswith(b"}\n\n")
    assert event.count(b"\n") == 2
    assert json.loads(event[6:]) == SHOWN


def test_an_event_of_responses() -> None:
    """In a stream of Responses an error is an event of their own, with the member that OpenAI's SDK raises by."""
    name, data = error_event(ERROR, Operation.RESPONSES).removesuffix(b"\n\n").split(b"\n")
    event = json.loads(data.removeprefix(b"data: "))
    assert name == b"event: error"
    assert ResponseErrorEvent.model_validate(event).message == ERROR.message
    assert event["error"] == SHOWN["error"]
