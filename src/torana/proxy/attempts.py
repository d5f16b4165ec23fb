"""Attempts: which requests sent upstream have failed, in a word or two, and where that is told.

An attempt that failed is told whether or not another one makes up for it: in the access log's `attempts`, in the
metrics, and to the client where `config.attemptHeaders` says so.
"""

from __future__ import annotations

from typing import Final

from torana.errors import GatewayError, Reason
from torana.http.message import ResponseHead
from torana.proxy.ask import Asked
from torana.proxy.passage import Document, EmptyStreamError, Events
from torana.proxy.upstream import Upstream
from torana.telemetry.metrics import Metrics
from torana.telemetry.record import Attempt, Record

NEVER_ARRIVED: Final = frozenset((Reason.CONNECT_FAILED, Reason.CONNECT_TIMEOUT))
NO_ANSWER: Final = NEVER_ARRIVED | {Reason.UPSTREAM_CLOSED, Reason.BAD_ANSWER, Reason.UPSTREAM_TIMEOUT}

ERROR_IN_STREAM: Final = "error in stream"


def why_of(error: GatewayError) -> str:
    return "empty stream" if isinstance(error, EmptyStreamError) else error.reason.fault.code


def is_failure(head: ResponseHead) -> bool:
    """Whether a call answered so goes to another provider; what is about the request would be the same there."""
    return head.status == 429 or head.status >= 500


def note(record: Record, metrics: Metrics, upstream: Upstream, why: str) -> None:
    """Tell of an attempt that failed."""
    if record.attempts is None:
        record.attempts = []
    record.attempts.append(Attempt(upstream.endpoint.text, why, upstream.public_name))
    metrics.count_failure(upstream.backend.name, upstream.endpoint.text, why)


def note_broken(record: Record, metrics: Metrics, asked: Asked) -> None:
    """The same of a call's answer that broke off on its way.

    A stream that had content was an answer, whatever came of it; so was what nobody here reads, such as speech.
    """
    passage, error = asked.passage, asked.connection.body.error
    if isinstance(passage, Events):
        if passage.failed and not asked.told:
            note(record, metrics, asked.upstream, ERROR_IN_STREAM)
        elif not (passage.failed or passage.opened):
            note_lost(record, metrics, asked, error or EmptyStreamError())
    elif isinstance(passage, Document) and error is not None:
        note_lost(record, metrics, asked, error)


def note_lost(record: Record, metrics: Metrics, asked: Asked, error: GatewayError) -> None:
    """The same of an answer that `error` kept from the client, in whole or in part."""
    if error.reason in NO_ANSWER and not asked.told:
        note(record, metrics, asked.upstream, why_of(error))
