"""The model that a query names, for operations that have it there (realtime: OpenAI's `GET /v1/realtime?model=`)."""

from __future__ import annotations

from urllib.parse import parse_qs, quote, unquote_to_bytes


def model_of_query(query: bytes | None) -> str | None:
    """The first `model`, None when there is none or it is empty."""
    values = parse_qs((query or b"").decode("latin-1")).get("model")
    return values[0] if values else None


def with_model(target: bytes, model: str) -> bytes:
    """`target` with `model` wherever its query has one, else at its end; all else stays as the client wrote it."""
    path, _, query = target.partition(b"?")
    value = b"model=" + quote(model, safe="").encode()
    given = query.split(b"&") if query else []
    made = [value if _names_model(each) else each for each in given]
    if value not in made:
        made.append(value)
    return path + b"?" + b"&".join(made)


def _names_model(parameter: bytes) -> bool:
    return unquote_to_bytes(parameter.partition(b"=")[0]) == b"model"
