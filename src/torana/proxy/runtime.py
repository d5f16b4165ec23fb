"""What outlives a snapshot: upstream connections, and what was learned of each endpoint."""

from __future__ import annotations

from torana.http.dial import Address
from torana.http.pool import Lane, Pool


class Endpoint:
    """One backend's address as it behaves at run time.

    `takes_usage_option` is False once the upstream has refused `stream_options`: it is not asked for usage again.
    """

    __slots__ = ("address", "lane", "name", "takes_usage_option", "text")

    def __init__(self, name: str, address: Address, lane: Lane) -> None:
        self.name = name
        self.address = address
        self.lane = lane
        self.text = str(address)
        self.takes_usage_option = True


class Runtime:
    """Endpoints by backend name and address: a reload that keeps both keeps what is known."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._endpoints: dict[tuple[str, Address], Endpoint] = {}

    def endpoint(self, name: str, address: Address) -> Endpoint:
        endpoint = self._endpoints.get((name, address))
        if endpoint is None:
            endpoint = self._endpoints[name, address] = Endpoint(name, address, self.pool.lane(address))
        return endpoint

    def keep_only(self, used: set[Endpoint]) -> None:
        """Forget the endpoints that no snapshot uses any more, and close what waits for them."""
        self._endpoints = {key: endpoint for key, endpoint in self._endpoints.items() if endpoint in used}
        self.pool.keep_only({endpoint.address for endpoint in used})
