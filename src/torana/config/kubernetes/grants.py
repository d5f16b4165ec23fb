"""Grants: who may refer to what in another namespace (Gateway API, ReferenceGrant)."""

from __future__ import annotations

from torana.config.kubernetes.objects import Key
from torana.config.kubernetes.resources import gateway as schema
from torana.config.kubernetes.store import GATEWAY_API, Store


class Grants:
    """A grant stands in the namespace that is referred to. They only add up; one that cannot be read grants nothing."""

    def __init__(self, store: Store) -> None:
        self._allowed: set[tuple[str, str, str, Key]] = set()
        for obj in store.all(GATEWAY_API, "ReferenceGrant"):
            grant = store.read(schema.ReferenceGrant, obj)
            if grant is None:
                continue
            for source in grant.from_:
                for to in grant.to:
                    target = Key(to.group, to.kind, obj.namespace, to.name or "")
                    self._allowed.add((source.group, source.kind, source.namespace, target))

    def permits(self, kind: str, namespace: str, target: Key) -> bool:
        """Whether Gateway API's `kind` in `namespace` may refer to `target`; in its own namespace it always may."""
        if namespace == target.namespace:
            return True
        everyone = Key(target.group, target.kind, target.namespace, "")
        return any((GATEWAY_API, kind, namespace, key) in self._allowed for key in (target, everyone))
