"""The model that a query names, for operations that have it there (realtime: OpenAI's `GET /v1/realtime?model=`)."""

from __future__ import annotations

from urllib.parse import parse_qs, quote, unquote_to_bytes


def model_of_query(query: bytes | None) -> str | None:
    """The first `model`, None when there is none or it is empty."""
    values = parse_qs((query or b"").decode("latin-1")).get("model")
    return values[0] if values else None


def with_model(target: bytes, model: str) -> bytes:
    """`target` with `model` wherever its query has one, else at its end; all else stays as the client wrote it.

    None is added to a query that joins a call (OpenAI's `call_id`), which has its model already.
    """
    path, _, query = target.partition(b"?")
    value = b"model=" + quote(model, safe="").encode()
    given = query.split(b"&") if query else []
    names = [unquote_to_bytes(each.partition(b"=")[0]) for each in given]
    made = [value if name == b"model" else each for name, each in zip(names, given, strict=True)]
    if b"model" not in names and b"call_id" not in names:
        made.append(value)
    return path + b"?" + b"&".join(made)
