"""The regular expressions of a configuration."""

from __future__ import annotations

import time

import pytest

from torana.model import pattern
from torana.model.pattern import PatternError
from torana.model.policy import Cors
from torana.policies.cors import CorsPolicy

_LONG = 32 * 1024
_SOON = 10.0  # seconds; backtracking would take longer than the universe has


@pytest.mark.parametrize("text", ["/(a+)+", "/(a|a)*", "/(.*)*b", "/(a?){40}a{40}"])
def test_time_grows_with_the_text_alone(text: str) -> None:
    """No expression holds up the process, whatever path a client sends."""
    fits = pattern.whole(text)
    begun = time.perf_counter()
    assert not fits(b"/" + b"a" * _LONG + b"!")
    assert time.perf_counter() - begun < _SOON


def test_origins_with_many_wildcards() -> None:
    """Nor does an origin of CORS with many `*`."""
    allowed = CorsPolicy(Cors(allow_origins=("https://" + "*." * 20 + "example",)))._allowed
    begun = time.perf_counter()
    assert not allowed(b"https://" + b"a." * (_LONG // 2) + b"!")
    assert time.perf_counter() - begun < _SOON
    assert allowed(b"https://" + b"a." * 20 + b"example")
    assert not allowed(b"https://" + b"a." * 20 + b"exbmple")


def test_bytes_of_the_whole_value() -> None:
    """A character is a byte, whatever its value, and all of the value has to fit."""
    assert pattern.whole("/.")(b"/\xff")
    assert not pattern.whole("/.")(b"/\xc3\xa9")
    assert pattern.whole("/é")(b"/\xc3\xa9")
    assert not pattern.whole("/a")(b"/a\n")
    assert not pattern.whole("/a|/b")(b"/abc")


@pytest.mark.parametrize(
    ("text", "message", "position"),
    [
        ("/(a+", "a `(` is never closed", None),
        ("/a)", "a `)` closes nothing", None),
        ("/é[a", "a `[` is never closed", 2),
        ("/a\\", "a single `\\` ends it", None),
        ("*a", "`*` has nothing to repeat", 0),
        ("/a++b", "`++` repeats a repetition", 2),
        ("/a\\++b++", "`++` repeats a repetition", None),
        ("/a{1001}", "`{1001}` is out of order, or more than 1000 with those around it", 2),
        ("/[z-a]", "`z-a` is no range or class of characters", 2),
        ("/(?=a)", "`(?=` is not in RE2's syntax, which has no look-around", 1),
        ("/(a)\\1", "`\\1` is no escape in RE2's syntax", 4),
        ("/(?P<a", "`(?P<a` does not name a group", 1),
        ("/((a{30}){30}b){30}", "`{30}` is out of order, or more than 1000 with those around it", None),
        ("/(abc){999}", "it is too large", None),
        ("/" + "abcdefghij" * 30_000, "it is too large", None),
        ("/\udc00", "it holds half a character", 1),
    ],
)
def test_faults(text: str, message: str, position: int | None) -> None:
    """What is wrong is said in our words, and where, when it can be known."""
    with pytest.raises(PatternError) as caught:
        pattern.check(text)
    assert (str(caught.value), caught.value.position) == (message, position)
    assert "`{" not in caught.value.reason
