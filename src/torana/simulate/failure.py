"""ApiError: every answer that is an error, in OpenAI's form."""

from __future__ import annotations

import msgspec

# What OpenAI calls them (platform.openai.com/docs/guides/error-codes); others go by their class of status.
_KINDS = {
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "not_found"),
    429: ("requests", "rate_limit_exceeded"),
}


class ApiError(Exception):
    """An answer with `status` (400 to 599). `param` is the field at fault; `retry_after` is in seconds.

    `allow` are the methods that would do, which a 405 has to tell (RFC 9110, 15.5.6).
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        retry_after: int | None = None,
        allow: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.retry_after = retry_after
        self.allow = allow

    def body(self) -> bytes:
        """`{"error": {"message", "type", "param", "code"}}` as JSON."""
        kind, code = _KINDS.get(self.status, ("invalid_request_error" if self.status < 500 else "server_error", None))
        error = {"message": self.message, "type": kind, "param": self.param, "code": code}
        return msgspec.json.encode({"error": error})
