"""Environment variables in the text of a configuration."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torana.config.standalone.expand import expand

_ENV = {"A": "1", "LONG_NAME": "long", "EMPTY": "", "LINES": "x\ny", "HOME": "/home/me"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("k: $A", "k: 1"),
        ("k: ${A}b", "k: 1b"),
        ("k: $LONG_NAME.x", "k: long.x"),
        ("k: ${NONE:-default text}", "k: default text"),
        ("k: ${NONE:-}", "k: "),
        ("k: ${A:-other}", "k: 1"),
        ("k: ${EMPTY:-other}", "k: "),
        ("k: $$A and $${A}", "k: $A and ${A}"),
        ("k: ^/v1/.*$", "k: ^/v1/.*$"),
        ("k: 5$ or $5", "k: 5$ or $5"),
        ("~/x: 1", "/home/me/x: 1"),
        ("~x: 1", "~x: 1"),
        ("k: ~", "k: ~"),
        ("{$A: [$A, '$A', \"$A\"]}", "{1: [1, '1', \"1\"]}"),
    ],
)
def test_forms(text: str, expanded: str) -> None:
    """The forms of a reference are those of agentgateway; any other dollar sign stays."""
    expansion = expand(text, "f", _ENV)
    assert expansion.problems == ()
    assert expansion.source.text == expanded


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("# $NONE", "# $NONE"),
        ("k: $A # $NONE", "k: 1 # $NONE"),
        ("k: a#$A", "k: a#1"),
        ("k: '# $A'", "k: '# 1'"),
        ('k: "# $A" # $NONE', 'k: "# 1" # $NONE'),
        ("k: it's # $NONE's", "k: it's # $NONE's"),
        ("k: | # $NONE\n  # $A\n# $NONE\n", "k: | # $NONE\n  # 1\n# $NONE\n"),
        ("k: >-\n  a # $A\nl: b # $NONE", "k: >-\n  a # 1\nl: b # $NONE"),
        ('k: a, "b # $NONE\n  c" # $NONE', 'k: a, "b # $NONE\n  c" # $NONE'),
        ("k: {a: ${A}, # $NONE }\n b: ${A}}", "k: {a: 1, # $NONE }\n b: 1}"),
        ("k: 'a\n  # $A'", "k: 'a\n  # 1'"),
        ("- [a\n# $NONE", "- [a\n# $NONE"),
    ],
)
def test_comments_are_left_alone(text: str, expanded: str) -> None:
    """What YAML takes for a comment is not expanded, and what only looks like one is."""
    expansion = expand(text, "f", _ENV)
    assert expansion.problems == ()
    assert expansion.source.text == expanded


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"])))
def test_no_comment_is_ever_touched(comment: str) -> None:
    """Whatever stands in a comment, it is neither expanded nor missed."""
    text = f"a: $A # {comment}\n# {comment}\nb: 2\n"
    expansion = expand(text, "f", _ENV)
    assert expansion.problems == ()
    assert expansion.source.text == text.replace("$A", "1", 1)


@given(st.text(max_size=40))
def test_any_text_is_expanded_or_refused(text: str) -> None:
    """Expansion has an answer for every text, YAML or not."""
    expansion = expand(text, "f", {})
    assert expansion.problems or "$" in text or expansion.source.text == text


def test_missing_variables_are_all_reported() -> None:
    """Each missing variable is told with its place and its purpose, all in one run."""
    text = "a:\n  auth: {key: $ONE}\nb:\n- c: x\n  d: ${TWO}\n"
    problems = expand(text, "f.yaml", {}).problems
    assert list(map(str, problems)) == [
        "f.yaml:2:15: error: ONE is not set; it is needed for auth.key; export ONE=... or write ${ONE:-default}",
        "f.yaml:5:6: error: TWO is not set; it is needed for b.d; export TWO=... or write ${TWO:-default}",
    ]


def test_malformed_reference_is_refused() -> None:
    """`${` without a name is refused, because agentgateway and a shell would read it in different ways."""
    (problem,) = expand("k: a${1}", "f", {}).problems
    assert (problem.line, problem.column, problem.hint) == (1, 5, "write $$ for a dollar sign")


def test_places_are_those_of_the_original() -> None:
    """Lines and columns count in what the user wrote, also behind values with line breaks and of other lengths."""
    source = expand("a: $LINES b\nc: $LONG_NAME d", "f", _ENV).source
    for word, line, column in (("a", 1, 1), ("x", 1, 4), ("y", 1, 4), ("b", 1, 11), ("c", 2, 1), ("d", 2, 15)):
        place = source.place(source.text.index(word))
        assert (place.line, place.column) == (line, column), word


@given(st.lists(st.sampled_from(["$A", "${LINES}", "$EMPTY", "text ", "\n", "$$"])))
def test_hides_exactly_what_came_from_variables(pieces: list[str]) -> None:
    """Every character of a variable's value is hidden, and no other: a doubled dollar sign is the user's own text."""
    source = expand("".join(pieces), "f", _ENV).source
    values = [span for span in source.spans if source.original[span.written : span.written_end] != "$$"]
    hidden = {i for span in values for i in range(span.start, span.end)}
    for i in range(len(source.text)):
        assert source.hides(i, i + 1) == (i in hidden)
