"""Cross-site request forgery: what a browser says of the page that sent a request."""

from __future__ import annotations

from contextlib import suppress

import pytest

from tests.unit.exchanges import exchange
from torana.errors import GatewayError, Reason
from torana.exchange import Exchange
from torana.model.policy import Csrf
from torana.policies.csrf import CsrfPolicy

_POLICY = CsrfPolicy(Csrf(("https://app.example", "https://*.dev.example")))


def _passes(request: Exchange) -> bool:
    with suppress(GatewayError):
        _POLICY.on_request(request)
        return True
    return False


def test_a_refusal_says_what_it_is() -> None:
    """The client is told in agentgateway's words, the log by which headers."""
    with pytest.raises(GatewayError, match="CSRF validation failed") as raised:
        _POLICY.on_request(exchange("/", ("Origin", "https://evil.example"), method="POST"))
    assert raised.value.reason is Reason.CSRF_FAILED
    assert "https://evil.example" in raised.value.detail


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_what_changes_nothing_passes(method: str) -> None:
    """A safe method is not looked at, wherever it comes from."""
    assert _passes(exchange("/", ("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example"), method=method))


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "MOVE"])
def test_what_changes_something_must_come_from_here(method: str) -> None:
    """Every other method is refused when another site's page sent it."""
    request = exchange("/", ("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example"), method=method)
    assert not _passes(request)


def test_what_is_no_browser_passes() -> None:
    """A request with neither Sec-Fetch-Site nor Origin comes from no page."""
    assert _passes(exchange("/", method="POST"))


@pytest.mark.parametrize(
    ("site", "origin", "passes"),
    [
        ("same-origin", "https://elsewhere.example", True),
        ("none", None, True),
        ("same-site", "http://gateway.example", False),
        ("cross-site", "http://gateway.example", False),
        ("cross-site", None, False),
        ("cross-site", "https://app.example", True),
        ("same-site", "https://a.dev.example", True),
        ("", "http://gateway.example", False),
    ],
)
def test_what_the_browser_says_counts(site: str, origin: str | None, passes: bool) -> None:
    """Sec-Fetch-Site decides where it is sent; only an additional origin may come from another site."""
    headers = [("Sec-Fetch-Site", site)] if origin is None else [("Sec-Fetch-Site", site), ("Origin", origin)]
    assert _passes(exchange("/", *headers, method="POST")) is passes


@pytest.mark.parametrize(
    ("origin", "host", "passes"),
    [
        ("http://gateway.example", "gateway.example", True),
        ("https://GATEWAY.example", "gateway.EXAMPLE", True),
        ("https://gateway.example", "gateway.example:443", True),
        ("https://gateway.example:8443", "gateway.example:8443", True),
        ("https://gateway.example:8443", "gateway.example", False),
        ("http://gateway.example", "gateway.example:443", False),
        ("http://[::1]", "[::1]:80", True),
        ("http://gateway.example.evil.example", "gateway.example", False),
        ("null", "gateway.example", False),
        ("null", "", False),
        ("", "gateway.example", False),
        ("https://a.dev.example", "gateway.example", True),
        ("https://a.dev.example.evil.example", "gateway.example", False),
    ],
)
def test_without_its_word_the_origin_counts(origin: str, host: str, passes: bool) -> None:
    """From a browser that sends Origin alone, it must name the request's host and port, or be an additional one."""
    assert _passes(exchange("/", ("Origin", origin), method="POST", host=host)) is passes
