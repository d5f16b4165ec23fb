"""Buckets: what of each rate limit is used up, in memory that all workers share, bounded whatever clients send.

A bucket misses tokens (`debt`) until the moment at which it is full again (`full_at`); both together tell its state at
any time, with nothing to do in between. One that is full is the same as one that was never there: so a slot whose time
has passed is free, and of a crowded set the slot that would be full first is given up, which loses least.

The table has sets of eight slots; a key's set follows from its digest. Beside a set's keys lie its states. Workers take
a record lock (fcntl, a byte for each set) for the few microseconds of a change: the kernel frees it when a worker dies.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import tempfile
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

KEY_BYTES = 16
"""Of a digest: with these, no two of the buckets there will ever be are taken for each other."""

_WAYS = 8
_SETS = 8192
_KEYS = _WAYS * KEY_BYTES
_STATE = struct.Struct("<dd")  # full_at in seconds of time.monotonic, debt
_STATES = struct.Struct("<" + "dd" * _WAYS)
_SET_BYTES = _KEYS + _STATES.size
_TABLE_BYTES = _SETS * _SET_BYTES  # 2 MiB for 65,536 buckets; the pages of sets nobody uses are never there
_PAUSES = (0.0,) * 10 + (100e-6,) * 20 + (1e-3,) * 50
"""Seconds after each try for a lock. Its holder is about done; or it was put aside by the kernel, for milliseconds."""


class Terms(NamedTuple):
    """`fill` tokens more every `interval` seconds, up to `capacity`; all of them above 0."""

    capacity: int
    fill: int
    interval: float


class Claim(NamedTuple):
    """What a request wants of one bucket: at least one token there, `cost` of which it takes. `key` is a digest."""

    key: bytes
    terms: Terms
    cost: int


class Standing(NamedTuple):
    """What is left in a bucket, and the seconds until there will be more; 0 for a full one."""

    left: int
    refill: float


class Admission(NamedTuple):
    """`standings` are those of the claims, in their order: after what was taken, or as they were when refused."""

    admitted: bool
    standings: list[Standing]


class _State(NamedTuple):
    """As of a moment: tokens missing, and when the interval that is running began (that moment, in a full bucket)."""

    debt: int
    since: float


class Buckets:
    """The table. Times are seconds of `time.monotonic`, which the processes of a machine have in common."""

    def __init__(self, memory: mmap.mmap, lock: int | None) -> None:
        """`lock`: the file whose bytes are locked, None where no other process has the memory."""
        self._memory = memory
        self._lock = lock

    @classmethod
    def private(cls) -> Buckets:
        return cls(mmap.mmap(-1, _TABLE_BYTES), None)

    @classmethod
    def shared(cls, descriptor: int) -> Buckets:
        """The table in a file made by `shared_file`, which must stay open."""
        return cls(mmap.mmap(descriptor, _TABLE_BYTES), descriptor)

    def admit(self, claims: Sequence[Claim], now: float) -> Admission:
        """Take what every claim costs, or nothing when one of them finds its bucket empty."""
        locked = self._take_locks({self._start(claim.key) for claim in claims})
        try:
            states = [self._look(claim.key, claim.terms, now) for claim in claims]
            admitted = all(state.debt < claim.terms.capacity for claim, state in zip(claims, states, strict=True))
            if admitted:
                states = [
                    self._store(claim.key, claim.terms, state, claim.cost) if claim.cost else state
                    for claim, state in zip(claims, states, strict=True)
                ]
        finally:
            self._give_locks(locked)
        return Admission(
            admitted, [_standing(claim.terms, state, now) for claim, state in zip(claims, states, strict=True)]
        )

    def charge(self, claims: Iterable[Claim], now: float) -> None:
        """Take what the claims cost, as far as it is there."""
        for claim in claims:
            locked = self._take_locks({self._start(claim.key)})
            try:
                self._store(claim.key, claim.terms, self._look(claim.key, claim.terms, now), claim.cost)
            finally:
                self._give_locks(locked)

    @staticmethod
    def _start(key: bytes) -> int:
        """Where the key's set begins."""
        return int.from_bytes(key[:4], "little") % _SETS * _SET_BYTES

    def _look(self, key: bytes, terms: Terms, now: float) -> _State:
        start = self._start(key)
        found = self._memory.find(key, start, start + _KEYS)
        if found < 0:
            return _State(0, now)
        way = (found - start) // KEY_BYTES
        full_at, debt = _STATE.unpack_from(self._memory, start + _KEYS + way * _STATE.size)
        return _as_of(now, full_at, int(debt), terms)

    def _store(self, key: bytes, terms: Terms, state: _State, cost: int) -> _State:
        """Write the state with `cost` tokens less, into the key's slot or the one that is given up for it."""
        debt = min(state.debt + cost, terms.capacity)
        full_at = state.since + -(-debt // terms.fill) * terms.interval
        start = self._start(key)
        found = self._memory.find(key, start, start + _KEYS)
        if found < 0:
            times = _STATES.unpack_from(self._memory, start + _KEYS)[::2]
            found = start + times.index(min(times)) * KEY_BYTES
            self._memory[found : found + KEY_BYTES] = key
        way = (found - start) // KEY_BYTES
        _STATE.pack_into(self._memory, start + _KEYS + way * _STATE.size, full_at, debt)
        return _State(debt, state.since)

    def _take_locks(self, starts: set[int]) -> list[int]:
        """Lock some sets, in an order that is the same for all; returns those that could be.

        A worker that was stopped in the middle of a change must not stop the others with it: after some 60 ms it is
        passed by, and at worst what it is about to write is lost.
        """
        if self._lock is None:
            return []
        locked = []
        for start in sorted(starts):
            for pause in _PAUSES:
                try:
                    fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, start)
                except OSError:
                    time.sleep(pause)
                else:
                    locked.append(start)
                    break
        return locked

    def _give_locks(self, locked: list[int]) -> None:
        if self._lock is not None:
            for start in locked:
                fcntl.lockf(self._lock, fcntl.LOCK_UN, 1, start)


def shared_file() -> int:
    """A file without a name, to be given to `Buckets.shared` in any process that inherits it. Raises OSError."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("torana-buckets")
    else:  # macOS
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, _TABLE_BYTES)
    return descriptor


def _as_of(now: float, full_at: float, debt: int, terms: Terms) -> _State:
    """What was written, at a later moment. Every fill that has come pays off its part of the debt.

    Bounded by what can be: a worker may have been killed between the two halves of a write.
    """
    debt = min(debt, terms.capacity)
    if debt <= 0 or not full_at > now:
        return _State(0, now)
    fills = -(-debt // terms.fill)
    ahead = min(-((now - full_at) // terms.interval), fills)
    return _State(debt - int(fills - ahead) * terms.fill, min(full_at - ahead * terms.interval, now))


def _standing(terms: Terms, state: _State, now: float) -> Standing:
    refill = max(state.since + terms.interval - now, 0.0) if state.debt else 0.0
    return Standing(terms.capacity - state.debt, refill)
