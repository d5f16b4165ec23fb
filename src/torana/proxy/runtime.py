"""What outlives a snapshot: upstream connections, what was learned of each endpoint, the buckets of rate limits."""

from __future__ import annotations

import asyncio
from typing import TypeAlias
from weakref import WeakValueDictionary

import msgspec

from torana.http.dial import Address
from torana.http.pool import Lane, Pool
from torana.http.proxies import Environment
from torana.model.config import Proxies
from torana.model.policy import Retry
from torana.policies.buckets import Buckets
from torana.proxy.budget import Budget
from torana.proxy.vitals import Vitals
from torana.telemetry.record import Placement

Listing: TypeAlias = dict[str, msgspec.Raw] | str
"""An upstream's own entries of its models, by id, or why there are none, as an Attempt has it."""


class Endpoint:
    """One backend's address as it behaves at run time.

    `identity` tells it from all others, the same in every process. `takes_usage_option` is False once the upstream has
    refused `stream_options`: it is not asked for usage again. `refused_options` are those of translated calls that its
    models refused, which they are not asked for again. `listings` are the lists of models that it was asked for, by the
    request, and since when (of the loop's time).
    """

    __slots__ = (
        "address", "identity", "lane", "listings", "name", "refused_options", "takes_usage_option", "text", "vitals",
    )  # fmt: skip

    def __init__(self, name: str, address: Address, lane: Lane) -> None:
        self.name = name
        self.address = address
        self.lane = lane
        self.text = str(address)
        self.identity = f"{name} {self.text}".encode()
        self.vitals = Vitals()
        self.takes_usage_option = True
        self.refused_options: set[tuple[str, str, bytes]] = set()
        self.listings: dict[bytes, tuple[float, asyncio.Task[Listing]]] = {}

    def refuses(self, model: str, option: str, value: bytes) -> bool:
        """Whether a model has refused an option, as `options_of` has it."""
        return (model, option, value) in self.refused_options


class Runtime:
    """Endpoints by backend name and address: a reload that keeps both keeps what is known."""

    def __init__(self, pool: Pool, buckets: Buckets | None = None, environment: Environment | None = None) -> None:
        """`buckets`: those of all workers; None where this process is the only one. `environment`: None, no proxies."""
        self.pool = pool
        self.environment = environment or Environment(Proxies())
        self.buckets = buckets or Buckets.private()
        self._endpoints: dict[tuple[str, Address], Endpoint] = {}
        self._budgets: WeakValueDictionary[tuple[str, str, str], Budget] = WeakValueDictionary()  # snapshots hold them

    def endpoint(self, name: str, address: Address) -> Endpoint:
        endpoint = self._endpoints.get((name, address))
        if endpoint is None:
            endpoint = self._endpoints[name, address] = Endpoint(name, address, self.pool.lane(address))
        return endpoint

    def budget(self, route: Placement, retry: Retry | None) -> Budget:
        """How much may be repeated on a route, by its place in the configuration."""
        key = (route.bind, route.listener, route.route)
        share = retry.budget if retry is not None else 0.0
        budget = self._budgets.setdefault(key, Budget(share))
        budget.share = share
        return budget

    @property
    def pending(self) -> int:
        """Requests under way at the endpoints that are in use."""
        return sum(endpoint.vitals.pending for endpoint in self._endpoints.values())

    def keep_only(self, used: set[Endpoint]) -> None:
        """Forget the endpoints that no snapshot uses any more, and close what waits for them."""
        self._endpoints = {key: endpoint for key, endpoint in self._endpoints.items() if endpoint in used}
        self.pool.keep_only({endpoint.address for endpoint in used})
