"""Routes that know nothing of models, for forms that cannot choose by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import msgspec

from torana.config.convert.report import Fidelity, Report
from torana.model.config import Listener
from torana.model.route import ModelRoute, Route

Left: TypeAlias = Callable[[ModelRoute], str]
"""What is done with a model that no route leads to, as words."""


def plain_routes(listener: Listener, report: Report, left: Left) -> Iterator[Route]:
    """The routes of a listener; of one that chooses by model, what is for every model."""
    for route in listener.routes:
        made = _plain(route, report, left) if route.models else route
        if made is not None:
            _tell_operations(made, report)
            yield made


def _tell_operations(route: Route, report: Report) -> None:
    """What a route says of its paths is in no other form."""
    if route.operations:
        what = "which path is which operation is not said: paths tell by themselves"
        report.add(Fidelity.APPROXIMATE, f"{route.name}: policies.ai.routes", what)


def _plain(route: Route, report: Report, left: Left) -> Route | None:
    public = route.models
    chosen = next((model for model in public if model.name == "*" and _unconditional(model)), None)
    if chosen is None and len(public) == 1 and _unconditional(public[0]):
        (chosen,) = public
        what = "takes calls of every model, since routes do not look at the model"
        report.add(Fidelity.APPROXIMATE, f"model {chosen.name}", what)
    for model in public:
        if model is not chosen:
            report.add(Fidelity.MANUAL, f"model {model.name}", f"routes do not choose by model; {left(model)}")
    if chosen is None:
        return None
    return msgspec.structs.replace(route, models=(), backends=chosen.backends)


def _unconditional(model: ModelRoute) -> bool:
    return not model.headers and model.condition is None
