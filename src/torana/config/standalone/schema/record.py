"""The base of all records of the file, and the few types that several of them share."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from torana.config import duration


class Empty(Enum):
    """What an object key without a value means: nothing was said, or the user has to say `{}` if that is meant."""

    ABSENT = "absent"
    REFUSED = "refused"


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """An object of the file. Field names are the file's names in snake case, unless a field says otherwise."""

    not_yet: ClassVar[tuple[str, ...]] = ()
    """Keys that agentgateway has in this place and Torana does not support yet."""
    instead: ClassVar[Mapping[str, str]] = {}
    """For some of these, words that tell how the same can be had."""
    exactly_one: ClassVar[tuple[str, ...]] = ()
    """Keys of which one, and only one, has to be given."""
    alone: ClassVar[tuple[str, ...]] = ()
    """Keys that no other key may stand beside."""
    spellings: ClassVar[Mapping[str, str]] = {}
    """Second spelling -> the field's name in the file; they differ in case only."""
    empty: ClassVar[Empty] = Empty.ABSENT


Duration = Annotated[str, Meta(pattern=duration.PATTERN, extra={"expected": duration.EXPECTED})]

Port = Annotated[int, Meta(ge=1, le=65535)]

Count = Annotated[int, Meta(ge=1)]

Size = Annotated[int, Meta(ge=0)]

Name = Annotated[str, Meta(min_length=1)]

Share = Annotated[float, Meta(ge=0, le=1)]

Expression = Annotated[str, Meta(min_length=1, extra={"expected": "an expression in CEL"})]

HeaderValues = dict[str, str]

JsonValues = dict[str, Any]
