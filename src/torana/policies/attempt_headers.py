"""config.attemptHeaders: answers, the gateway's own errors too, tell the client who was asked."""

from __future__ import annotations

from torana.exchange import Exchange
from torana.http.message import Fields
from torana.telemetry.access_log import attempts_text

_ENDPOINT = b"x-torana-endpoint"
_ATTEMPTS = b"x-torana-attempts"


def tell_attempts(exchange: Exchange, fields: Fields) -> None:
    """The endpoint that was asked last, and those that had failed with why; nothing where no backend was asked.

    An upstream's own fields of these names, another gateway's, give way.
    """
    fields[:] = [each for each in fields if each[0] not in (_ENDPOINT, _ATTEMPTS)]
    record = exchange.record
    if record.endpoint:
        fields.append((_ENDPOINT, _ENDPOINT, record.endpoint.encode()))
    if record.attempts:
        fields.append((_ATTEMPTS, _ATTEMPTS, attempts_text(record).encode()))
