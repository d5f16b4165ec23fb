"""Environment variables in the text of a configuration, filled in before YAML sees it, as agentgateway does.

`$NAME` and `${NAME}` are the variable, `${NAME:-text}` is the text when there is no such variable, `$$` is a dollar
sign, and a `~` that opens the whole text is the home directory. Any other `$` stays. Two things are better than the
original: comments are left alone, and all missing variables are reported at once, each with its place and its purpose.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import yaml

from torana.config.problem import Problem
from torana.config.yaml.compose import path_at, scan
from torana.config.yaml.nodes import Path, path_text
from torana.config.yaml.source import Source, Span

_REFERENCE = re.compile(
    r"""\$ (?: (?P<dollar>\$)
             | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
             | \{ (?P<braced>[A-Za-z_][A-Za-z0-9_]*) (?: :- (?P<default>[^}\n]*) )? \}
             | (?P<malformed>\{ [^}\n]* \}?) )""",
    re.VERBOSE,
)
_HOME = re.compile(r"~(?=/|\s|$)")


class Expansion(NamedTuple):
    """The text with its variables filled in; it is of use only when `problems` is empty."""

    source: Source
    problems: tuple[Problem, ...]


def expand(text: str, where: str, env: Mapping[str, str]) -> Expansion:
    """Fill in the variables of `env`. Values are put in as they are: one with YAML syntax in it counts as YAML."""
    masked = _REFERENCE.sub(lambda match: "x" * len(match[0]), text)
    pieces: list[str] = []
    spans: list[Span] = []
    problems: list[Problem] = []
    done = length = 0
    for match, value in _values(text, masked, env):
        if isinstance(value, _Fault):
            problems.append(_problem(value, match.start(), text, masked, where))
            continue
        start = length + match.start() - done
        pieces += (text[done : match.start()], value)
        length, done = start + len(value), match.end()
        spans.append(Span(start, length, match.start(), done))
    pieces.append(text[done:])
    return Expansion(Source(where, text, "".join(pieces), tuple(spans)), tuple(problems))


def references(text: str) -> Iterator[re.Match[str]]:
    """The references to variables outside comments, in order."""
    found = [match for match in _REFERENCE.finditer(text) if match["name"] or match["braced"]]
    masked = _REFERENCE.sub(lambda match: "x" * len(match[0]), text)
    comments = _commented(masked, [match.start() for match in found])
    return (match for match in found if match.start() not in comments)


class _Fault(NamedTuple):
    """Why a reference has no value; `name` is empty when it is no reference at all."""

    name: str


def _values(text: str, masked: str, env: Mapping[str, str]) -> list[tuple[re.Match[str], str | _Fault]]:
    """Every reference outside comments, in order, with what to put in its place."""
    found: list[tuple[re.Match[str], str | _Fault]] = []
    home = _HOME.match(text)
    if home is not None and "HOME" in env:
        found.append((home, env["HOME"]))
    references = list(_REFERENCE.finditer(text))
    comments = _commented(masked, [match.start() for match in references])
    for match in references:
        if match.start() in comments:
            continue
        name = match["name"] or match["braced"]
        if match["dollar"]:
            found.append((match, "$"))
        elif match["malformed"]:
            found.append((match, _Fault("")))
        elif name in env:
            found.append((match, env[name]))
        elif match["default"] is not None:
            found.append((match, match["default"]))
        else:
            found.append((match, _Fault(name)))
    return found


# --- Comments -------------------------------------------------------------------------------------------------------


def _commented(masked: str, offsets: list[int]) -> frozenset[int]:
    """Those of the offsets that lie in a YAML comment.

    What a comment is depends on quotes, block scalars and flow style, so YAML's own scanner decides: with every
    reference replaced by as many letters, the text is scanned; what lies between two tokens is white space or comment.
    Only references behind a `#` are looked at, and the scan ends behind the last of them.
    """
    suspects = [offset for offset in offsets if "#" in masked[masked.rfind("\n", 0, offset) + 1 : offset]]
    commented: set[int] = set()
    end = 0
    try:
        for token in scan(masked):
            while suspects and suspects[0] < token.start_mark.index:
                commented.add(suspects.pop(0))
            if not suspects:
                break
            end = token.end_mark.index
            header = _block_header_end(masked, token)
            while suspects and suspects[0] < end:
                offset = suspects.pop(0)
                if offset < header:
                    commented.add(offset)
    except yaml.YAMLError:
        # The text is no YAML as it stands; a variable that holds part of its structure may make it so. From here on, a
        # comment is what looks like one.
        pass
    looks_like_comment = re.compile(r"(?:^|\s)#")
    for offset in suspects:
        line = masked[masked.rfind("\n", 0, offset) + 1 : offset]
        if looks_like_comment.search(line):
            commented.add(offset)
    return frozenset(commented)


def _block_header_end(masked: str, token: yaml.Token) -> int:
    """Where the first line of a block scalar ends, which may hold a comment behind its `|` or `>`; otherwise 0."""
    if isinstance(token, yaml.ScalarToken) and token.style in ("|", ">"):
        return masked.find("\n", token.start_mark.index)
    return 0


# --- What is missing ------------------------------------------------------------------------------------------------


def _problem(fault: _Fault, offset: int, text: str, masked: str, where: str) -> Problem:
    place = Source(where, text, text).place(offset)
    path = path_at(masked, offset)
    if not fault.name:
        what = "`${...}` holds no variable name"
        return Problem(where, place.line, place.column, path_text(path), what, "write $$ for a dollar sign")
    what = f"{fault.name} is not set{_purpose(path)}"
    hint = f"export {fault.name}=... or write ${{{fault.name}:-default}}"
    return Problem(where, place.line, place.column, "", what, hint)


def _purpose(path: Path) -> str:
    """The last two keys of the path say best what a value is for: `it is needed for backendAuth.key`."""
    keys = [part for part in path if isinstance(part, str)]
    return f"; it is needed for {'.'.join(keys[-2:])}" if keys else ""
