"""What names, paths and header values may look like; every dialect asks here.

Each function gives the reason why a text will not do, as words that follow a quotation of it, or None when it will. The
text itself is never in the words, so that the caller decides whether it may be shown.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_ZONE = re.compile(r"[A-Za-z0-9._~-]+")  # RFC 6874, section 2
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_PATH = re.compile(r"/[\x21\x22\x24-\x3e\x40-\x7e]*")

CONNECTION_HEADERS = frozenset(
    ("connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
)
"""RFC 9110, section 7.6.1, and Content-Length: they belong to one connection, and the gateway writes them itself."""


def host_fault(text: str) -> str | None:
    """A host name (RFC 1123, with the underscores of container networks) or an IP address; IPv6 without brackets."""
    if ":" in text:
        address, percent, zone = text.partition("%")
        try:
            IPv6Address(address)
        except AddressValueError:
            return "is no host name"
        return "is no host name" if percent and not _ZONE.fullmatch(zone) else None
    if len(text) > 253 or not _HOST.fullmatch(text):
        return "is no host name"
    return None


def hostname_fault(text: str) -> str | None:
    """A listener's or route's hostname: exact, or `*.` and a name (Gateway API, Hostname)."""
    if ":" in text:
        return "has a port; host names are matched without one"
    if "*" in text.removeprefix("*."):
        return "has a `*` that is not a whole first part, as in `*.example.com`"
    return host_fault(text.removeprefix("*."))


def header_name_fault(name: str) -> str | None:
    """RFC 9110, section 5.1: a field name is a token."""
    return None if _TOKEN.fullmatch(name) else "is no header name"


def changed_header_fault(name: str) -> str | None:
    """A header that a policy may write or delete."""
    if name.lower() in CONNECTION_HEADERS:
        return "belongs to the connection; the gateway writes it itself"
    if name.lower() == "host":
        return "is changed by urlRewrite (authority; of an HTTPRoute, hostname), not by header policies"
    return header_name_fault(name)


def header_value_fault(value: str) -> str | None:
    """RFC 9110, section 5.5: no control characters; a line break would begin another header."""
    if not _VALUE.fullmatch(value):
        return "holds a line break or another character that a header cannot carry"
    return None


def method_fault(text: str) -> str | None:
    """RFC 9110, section 9.1: a method is a token, and case matters."""
    if not _TOKEN.fullmatch(text):
        return "is no HTTP method"
    return None if text.isupper() else "never matches: methods are in capital letters"


def path_fault(text: str) -> str | None:
    """An absolute path without query and fragment (RFC 3986, section 3.3)."""
    if not text.startswith("/"):
        return "does not begin with `/`"
    if "?" in text or "#" in text:
        return "holds a `?` or `#`; a path ends before them"
    return None if _PATH.fullmatch(text) else "holds a character that a path has to escape with `%`"
