"""Which requests a web page may have sent."""

from __future__ import annotations

import pytest

from tests.unit.exchanges import fields
from torana.admin.endpoints import _may_be_a_page
from torana.http.request import Request


@pytest.mark.parametrize(
    ("address", "host", "page"),
    [
        ("admin.example:15000", "admin.example:15000", False),
        ("admin.example:15000", "Admin.Example.", False),
        ("admin.example:15000", "other.example:15000", True),
        ("localhost:15000", "127.0.0.1:15000", False),
        ("[::1]:15000", "[::1]", False),
        ("[::]:15000", "[fe80::1%25eth0]:15000", False),
        ("localhost:15000", "2130706433", True),
        ("localhost:15000", "127.1", True),
        ("unix:/run/admin", "any", False),
    ],
)
def test_hosts(address: str, host: str, page: bool) -> None:
    """Asked by localhost, an IP address or the configured name it is no page; by any other name it may be."""
    request = Request()
    request.host = host.encode()
    assert _may_be_a_page(request, address) is page
    request.fields = fields(("origin", "http://a.example"))
    assert _may_be_a_page(request, address)
