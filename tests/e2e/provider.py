"""A provider that a StandIn plays: every operation of the known APIs, each with one fixed answer in its own words."""

from __future__ import annotations

from typing import Any

from tests.e2e.stand_in import Visit, chat

TEXT = "Hello from the stand-in."
SOUND = bytes(range(256)) * 40
"""An answer that is no text: whoever decodes it on the way breaks it."""

MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "stand-in",
    "content": [{"type": "text", "text": TEXT}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 11, "output_tokens": 7},
}
_OUTPUT = {"type": "output_text", "text": TEXT, "annotations": []}
RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1700000000,
    "status": "completed",
    "model": "stand-in",
    "output": [
        {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": [_OUTPUT]},
    ],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "usage": {
        "input_tokens": 11,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 18,
    },
}
VECTORS: dict[str, Any] = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}],
    "model": "stand-in",
    "usage": {"prompt_tokens": 3, "total_tokens": 3},
}
RERANKED: dict[str, Any] = {
    "id": "r-1",
    "results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}],
    "meta": {"billed_units": {"search_units": 1}},
}
_DOCUMENTS: dict[str, dict[str, Any]] = {
    "/messages/count_tokens": {"input_tokens": 11},
    "/embeddings": VECTORS,
    "/rerank": RERANKED,
    "/images/generations": {"created": 1700000000, "data": [{"b64_json": "aGVsbG8="}]},
    "/audio/transcriptions": {"text": TEXT},
}


def serve(visit: Visit) -> None:
    """Answer by the end of the path; 404 in OpenAI's form for what is not known."""
    path = visit.seen.target.partition("?")[0]
    document = next((answer for suffix, answer in _DOCUMENTS.items() if path.endswith(suffix)), None)
    if document is not None:
        visit.document(200, document)
    elif path.endswith("/chat/completions"):
        chat(visit)
    elif path.endswith("/responses"):
        _whole_or_events(visit, RESPONSE, _response_events())
    elif path.endswith("/messages"):
        _whole_or_events(visit, MESSAGE, _message_events())
    elif path.endswith("/audio/speech"):
        visit.reply(200, [("Content-Type", "audio/mpeg")], SOUND)
    else:
        visit.document(404, {"error": {"message": f"no {path}", "type": "invalid_request_error", "code": None}})


def _whole_or_events(visit: Visit, document: dict[str, Any], events: list[dict[str, Any]]) -> None:
    if not visit.seen.json().get("stream"):
        visit.document(200, document)
        return
    visit.begin()
    for event in events:
        visit.named_event(event["type"], event)
    visit.end()


def _response_events() -> list[dict[str, Any]]:
    """https://platform.openai.com/docs/api-reference/responses-streaming: a text in two pieces."""
    item = {"id": "msg_1", "type": "message", "status": "in_progress", "role": "assistant", "content": []}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    begun = {**RESPONSE, "status": "in_progress", "output": [], "usage": None}
    bare: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.content_part.added", **place, "part": {**_OUTPUT, "text": ""}},
        *(
            {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}
            for piece in (TEXT[:5], TEXT[5:])
        ),
        {"type": "response.output_text.done", **place, "text": TEXT, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": _OUTPUT},
        {"type": "response.output_item.done", "output_index": 0, "item": RESPONSE["output"][0]},
        {"type": "response.completed", "response": RESPONSE},
    ]
    return [{**event, "sequence_number": number} for number, event in enumerate(bare)]


def _message_events() -> list[dict[str, Any]]:
    """https://docs.anthropic.com/en/docs/build-with-claude/streaming: a text in two pieces."""
    begun = {**MESSAGE, "content": [], "stop_reason": None, "usage": {"input_tokens": 11, "output_tokens": 1}}
    return [
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
            for piece in (TEXT[:5], TEXT[5:])
        ),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 7},
        },
        {"type": "message_stop"},
    ]
