"""Where a configuration is read from, and what is said when it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from torana.config.problem import ConfigError
from torana.config.sources import Standalone, StartError

_WRONG = "bind: []\n"


@pytest.mark.parametrize("text", [_WRONG, _WRONG.replace("\n", "\r\n"), "\ufeff" + _WRONG])
def test_marks_and_line_ends(text: str, tmp_path: Path) -> None:
    """Neither a byte order mark nor Windows' line ends move a problem from its place."""
    file = tmp_path / "torana.yaml"
    file.write_bytes(f"# é\r\n{text}".encode() if "\ufeff" not in text else text.encode())
    with pytest.raises(ConfigError) as refused:
        Standalone.of(str(file), None).load()
    (problem,) = refused.value.problems
    assert (problem.line, problem.column) == (1 if "\ufeff" in text else 2, 1)


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "No such file"), ("binds: []\n".encode("utf-16"), "is not UTF-8 text"), (b"a: \xff", "is not UTF-8 text")],
)
def test_a_file_that_cannot_be_read(content: bytes | None, says: str, tmp_path: Path) -> None:
    """A file that is not there, or no UTF-8, is told by its name."""
    file = tmp_path / "torana.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(StartError, match=says) as refused:
        Standalone.of(str(file), None).load()
    assert str(file) in str(refused.value)


def test_a_text_of_other_bytes() -> None:
    """A text of the command line that is no UTF-8 is refused as a file is."""
    with pytest.raises(StartError, match="-c: is not UTF-8 text"):
        Standalone.of(None, "binds: [] # \udcff")
