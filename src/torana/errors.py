"""Why a request did not get the provider's answer: the one table from Reason to status and public words.

Everything that can go wrong on the request path is raised as one `GatewayError` with a `Reason`. The status code and
the OpenAI error type and code derive from the Reason here and nowhere else.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, Self


class Fault(NamedTuple):
    """What follows from a Reason.

    `label` is the `reason` of metrics and logs, in the vocabulary of agentgateway's `agentgateway_requests_total`.
    `mends`: the same request may go well a little later.
    """

    status: int
    type: str
    code: str
    label: str
    mends: bool = False


_CLIENT = "invalid_request_error"
_SERVER = "api_error"


class Reason(Enum):
    """Every way a request can end without the provider's own answer."""

    BAD_HTTP = Fault(400, _CLIENT, "bad_http_request", "InvalidRequest")
    BAD_JSON = Fault(400, _CLIENT, "invalid_request_body", "InvalidRequest")
    MODEL_MISSING = Fault(400, _CLIENT, "missing_model", "InvalidRequest")
    MODEL_NO_TEXT = Fault(400, _CLIENT, "invalid_model", "InvalidRequest")
    UNTRANSLATABLE = Fault(400, _CLIENT, "not_supported_by_provider", "InvalidRequest")
    NO_TARGET = Fault(400, _CLIENT, "virtual_model_no_matching_target", "InvalidRequest")
    CSRF_FAILED = Fault(403, _CLIENT, "csrf_validation_failed", "Authorization")
    MODEL_NOT_FOUND = Fault(404, _CLIENT, "model_not_found", "NotFound")
    NO_ROUTE = Fault(404, _CLIENT, "route_not_found", "NotFound")
    METHOD_NOT_ALLOWED = Fault(405, _CLIENT, "method_not_allowed", "InvalidRequest")
    REQUEST_TIMEOUT = Fault(408, _CLIENT, "request_timeout", "Timeout", mends=True)
    BODY_TOO_LARGE = Fault(413, _CLIENT, "request_body_too_large", "InvalidRequest")
    TARGET_TOO_LONG = Fault(414, _CLIENT, "uri_too_long", "InvalidRequest")
    EXPECTATION_FAILED = Fault(417, _CLIENT, "expectation_failed", "InvalidRequest")
    MISDIRECTED = Fault(421, _CLIENT, "misdirected_request", "NotFound")
    RATE_LIMITED = Fault(429, "rate_limit_error", "rate_limit_exceeded", "RateLimit", mends=True)
    HEADERS_TOO_LARGE = Fault(431, _CLIENT, "request_headers_too_large", "InvalidRequest")
    HTTP_VERSION = Fault(505, _CLIENT, "http_version_not_supported", "InvalidRequest")
    INTERNAL = Fault(500, _SERVER, "internal_error", "Internal", mends=True)
    FILTER_FAILED = Fault(500, _SERVER, "filter_failed", "Internal")
    NO_BACKEND = Fault(500, _SERVER, "no_valid_backend", "NoHealthyBackend")
    BAD_ANSWER = Fault(502, _SERVER, "bad_upstream_answer", "UpstreamFailure", mends=True)
    ANSWER_TOO_LARGE = Fault(502, _SERVER, "upstream_answer_too_large", "UpstreamFailure")
    UPSTREAM_CLOSED = Fault(502, _SERVER, "upstream_closed", "UpstreamFailure", mends=True)
    CONNECT_FAILED = Fault(503, _SERVER, "upstream_connect_failed", "UpstreamFailure", mends=True)
    OVERLOADED = Fault(503, _SERVER, "overloaded", "Internal", mends=True)
    CONNECT_TIMEOUT = Fault(504, _SERVER, "upstream_connect_timeout", "Timeout", mends=True)
    UPSTREAM_TIMEOUT = Fault(504, _SERVER, "upstream_timeout", "Timeout", mends=True)
    CUT_OFF = Fault(503, _SERVER, "gateway_stopped", "Internal", mends=True)
    CLIENT_LEFT = Fault(499, _CLIENT, "client_left", "ClientClosed")

    @property
    def fault(self) -> Fault:
        return self.value


class GatewayError(Exception):
    """A request cannot go on. `message` is for the client, without secrets; `detail` is for the log.

    `retry_after` is told to the client, in seconds, where it is known when another try may go better.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        detail: str = "",
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.detail = detail
        self.param = param
        self.retry_after = retry_after

    def bare(self) -> Self:
        """Itself, without the frames it came through, or those of what it came from.

        They hold the request with its body, and some of them the error: the garbage collector would come late.
        """
        self.__traceback__ = self.__cause__ = self.__context__ = None
        return self
