"""From resources to the model's Config and the status that each resource ought to have."""

from __future__ import annotations

from collections.abc import Iterable

from torana.config.kubernetes.objects import Object, Options, Translation
from torana.model.config import Config


def translate(objects: Iterable[Object], options: Options) -> Translation:
    """Raises nothing; the order of the objects does not matter, but for those that no age and name tells apart."""
    del objects
    return Translation(Config(limits=options.limits, settings=options.settings))
