"""Record: what the records of all resources share."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, TypeAlias

import msgspec

NOT_YET = "not supported yet"

NotYet: TypeAlias = Annotated[Any, msgspec.Meta(description=NOT_YET)]
"""A field of the API that is read by nobody here, and only tunes; giving it is reported."""

REFUSED = "not supported yet, and not to be passed over"

Refused: TypeAlias = Annotated[Any, msgspec.Meta(description=REFUSED)]
"""A field that is read by nobody here, without which more would be sent or let in than its author allows.

Giving it spoils an object that `fails_closed`.
"""

Declined: TypeAlias = dict[str, object] | None
"""A field that is not supported yet, and that the translation refuses in words of its own wherever it is given."""

Port: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Text: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]


class Record(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Fields are the API's names in our spelling; `null` counts as absent, as it does to the API server.

    `fails_closed`: an unknown or a Refused field spoils the whole object. Where it says whom to trust or where a
    credential goes, a slip such as `hots` must not send it somewhere else.
    """

    fails_closed: ClassVar[bool] = False


class LocalReference(Record, frozen=True, kw_only=True):
    """To an object of the own namespace."""

    name: Text
    group: str = ""
    kind: str = ""


class Reference(LocalReference, frozen=True, kw_only=True):
    namespace: str | None = None


class ObjectReference(Reference, frozen=True, kw_only=True):
    """Gateway API, BackendObjectReference: `group` and `kind` default to a Service, which needs a port."""

    kind: str = "Service"
    port: Port | None = None
