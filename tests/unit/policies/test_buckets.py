"""The buckets of rate limits: their arithmetic, what is given up when there are too many, and other processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from hashlib import blake2b
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torana.policies.buckets import Buckets, Claim, Standing, Terms, shared_file

TEN = Terms(10, 5, 60.0)


def key(number: int, of_set: int = 0) -> bytes:
    """A digest of which the first bytes choose the set."""
    return of_set.to_bytes(4, "little") + blake2b(bytes([number]), digest_size=12).digest()


def left(buckets: Buckets, of: bytes, now: float, terms: Terms = TEN) -> int:
    """What is there, without taking any of it."""
    ((standing,)) = buckets.admit([Claim(of, terms, 0)], now).standings
    return standing.left


# the arithmetic


class SlowBucket:
    """The rule in so many words: a tick at a time."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.level = terms.capacity
        self.next_fill = 0.0

    def wait_until(self, now: float) -> None:
        while self.level < self.terms.capacity and self.next_fill <= now:
            self.level = min(self.level + self.terms.fill, self.terms.capacity)
            self.next_fill += self.terms.interval

    def take(self, amount: int, now: float) -> None:
        if amount and self.level == self.terms.capacity:
            self.next_fill = now + self.terms.interval
        self.level = max(self.level - amount, 0)

    def standing(self, now: float) -> Standing:
        return Standing(self.level, self.next_fill - now if self.level < self.terms.capacity else 0.0)


STEPS = st.tuples(
    st.sampled_from(["request", "look", "charge"]),
    st.integers(0, 1),  # which bucket
    st.integers(0, 30).map(lambda ticks: ticks / 4),  # seconds that pass before; fourths have no rounding
    st.integers(0, 12),  # tokens
)


@given(
    terms=st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([0.25, 1.0, 2.5])).map(lambda t: Terms(*t)),
    steps=st.lists(STEPS, max_size=40),
)
def test_does_what_the_slow_bucket_does(terms: Terms, steps: list[tuple[str, int, float, int]]) -> None:
    """A bucket lets in and holds, at any time, what one does that is filled tick by tick."""
    buckets = Buckets.private()
    models = [SlowBucket(terms), SlowBucket(terms)]
    now = 1000.0
    for what, number, pause, tokens in steps:
        now += pause
        model = models[number]
        model.wait_until(now)
        if what == "charge":
            buckets.charge([Claim(key(number), terms, tokens)], now)
            model.take(tokens, now)
            continue
        cost = 1 if what == "request" else 0
        admission = buckets.admit([Claim(key(number), terms, cost)], now)
        assert admission.admitted == (model.level > 0)
        if admission.admitted:
            model.take(cost, now)
        assert admission.standings == [model.standing(now)]


def test_all_or_none() -> None:
    """What one bucket refuses costs nothing in the others, whatever their order."""
    buckets = Buckets.private()
    empty, other = Claim(key(1), Terms(1, 1, 60.0), 1), Claim(key(2), TEN, 1)
    assert buckets.admit([empty, other], 1.0).admitted
    assert not buckets.admit([empty, other], 1.0).admitted
    assert not buckets.admit([other, empty], 1.0).admitted
    assert left(buckets, other.key, 1.0) == 9


def test_full_bucket_begins_its_interval_with_use() -> None:
    """A bucket that was full for long is filled an interval after its first use, not sooner."""
    buckets = Buckets.private()
    claim = Claim(key(1), Terms(1, 1, 60.0), 1)
    assert buckets.admit([claim], 0.5).admitted
    assert buckets.admit([claim], 119.5).admitted
    assert not buckets.admit([claim], 121.0).admitted
    assert buckets.admit([claim], 179.5).admitted


def test_a_torn_write_heals() -> None:
    """Whatever a killed worker has left in a slot, it is a bucket that fills in its time."""
    buckets = Buckets.private()
    buckets.charge([Claim(key(1), TEN, 3)], 1.0)
    start = buckets._memory.find(key(1))
    buckets._memory[start + 128 : start + 136] = b"\xff\xff\xff\xff\xff\xff\xef\x7f"  # the largest double
    assert buckets.admit([Claim(key(1), TEN, 1)], 2.0).admitted
    assert left(buckets, key(1), 62.0) == 10


# a table of a fixed size


def test_a_full_set_gives_up_what_is_full_first() -> None:
    """When eight buckets of a set are in use, a ninth takes the slot of the one that would be full first."""
    buckets = Buckets.private()
    for number in range(8):
        buckets.charge([Claim(key(number), TEN, 10 if number != 5 else 1)], 1.0)
    buckets.charge([Claim(key(8), TEN, 10)], 2.0)
    assert [left(buckets, key(number), 2.0) for number in range(9)] == [0, 0, 0, 0, 0, 10, 0, 0, 0]


def test_full_buckets_take_no_room() -> None:
    """A slot whose bucket is full again is used for the next, and nothing is lost."""
    buckets = Buckets.private()
    for number in range(8):
        buckets.charge([Claim(key(number), TEN, 10 if number else 5)], 1.0)
    for number in range(8, 16):
        buckets.charge([Claim(key(number), TEN, 1)], 61.0)  # only key 0 is full by then
        assert [left(buckets, key(other), 61.0) for other in range(1, 8)] == [5] * 7


def test_sets_are_apart() -> None:
    """Keys of different sets never push each other out."""
    buckets = Buckets.private()
    for number in range(100):
        buckets.charge([Claim(key(1, of_set=number), TEN, 10)], 1.0)
    assert {left(buckets, key(1, of_set=number), 1.0) for number in range(100)} == {0}


# several processes

HAMMER = """
import sys
from torana.policies import buckets as module
from torana.policies.buckets import Buckets, Claim, Terms
module._PAUSES = (1e-3,) * 30_000  # nobody is passed by, be it put aside by the kernel with a lock in its hand
buckets = Buckets.shared(int(sys.argv[1]))
claims = [Claim(bytes([n]) * 16, Terms(1000, 1, 1e6), 1) for n in (1, 2)]
print("ready", flush=True)
input()
print(sum(buckets.admit(claims[:: 1 if n % 2 else -1], 1.0).admitted for n in range(800)))
"""
HOLD = """
import fcntl, sys
fcntl.lockf(int(sys.argv[1]), fcntl.LOCK_EX, 1, 0)
print("held", flush=True)
input()
"""


@pytest.fixture
def memory() -> Iterator[int]:
    descriptor = shared_file()
    yield descriptor
    os.close(descriptor)


def running(program: str, memory: int) -> subprocess.Popen[str]:
    """A process that has the memory, once it has said that it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(memory)],
        pass_fds=(memory,),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert output(process).readline()
    return process


def output(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout


def test_processes_share_a_bucket(memory: int) -> None:
    """Processes that take of the same buckets at the same time get, together, what was in them and no more."""
    processes = [running(HAMMER, memory) for _ in range(3)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert sum(int(process.communicate(timeout=60)[0]) for process in processes) == 1000


def test_a_held_lock_is_passed_by(memory: int) -> None:
    """A process that was stopped with a lock in its hand does not hold up the others; one that has died, not at all."""
    buckets = Buckets.shared(memory)
    holder = running(HOLD, memory)
    try:
        begun = time.monotonic()
        assert buckets.admit([Claim(key(1), TEN, 1)], 1.0).admitted
        assert time.monotonic() - begun < 10
    finally:
        holder.kill()
        holder.communicate()
    assert buckets._take_locks({0}) == [0]
    assert left(buckets, key(1), 1.0) == 9


def test_memory_without_memfd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no anonymous files, a temporary one without a name does."""
    monkeypatch.delattr(os, "memfd_create")
    descriptor = shared_file()
    try:
        Buckets.shared(descriptor).charge([Claim(key(1), TEN, 3)], 1.0)
        assert left(Buckets.shared(descriptor), key(1), 1.0) == 7
    finally:
        os.close(descriptor)
