"""`torana migrate`, `import` and `export`: results, reports and exit codes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from torana.cli.main import app
from torana.config.convert.migrate import migrate

RUNNER = CliRunner()
_ROOT = Path(__file__).parents[3]
_GROQ = str(_ROOT / "examples" / "groq.yaml")
_LITELLM = str(_ROOT / "tests" / "golden" / "convert" / "litellm" / "proxy.yaml")
_BLOCKS = re.findall(r"```yaml\n(.*?)```", (_ROOT / "docs" / "migrate.md").read_text(), re.DOTALL)


def test_migrate() -> None:
    """The result goes to standard output and the report to standard error; all came across, so exit 0."""
    done = RUNNER.invoke(app, ["migrate", "-f", _GROQ])
    assert done.exit_code == 0
    assert "    provider: groq\n" in done.stdout
    assert f"{_GROQ}:6: exact: route: is llm.models[0] now\n" in done.stderr
    assert done.stderr.endswith("1 exact, 2 approximate, 0 manual, 0 unsupported\n")


def test_to_a_file(tmp_path: Path) -> None:
    """With -o the result goes to a file, and standard output stays empty."""
    file = tmp_path / "new.yaml"
    done = RUNNER.invoke(app, ["migrate", "-f", "-", "-o", str(file)], input=Path(_GROQ).read_text())
    assert (done.exit_code, done.stdout) == (0, "")
    assert "provider: groq" in file.read_text()
    assert "<stdin>:6: exact" in done.stderr


def test_to_no_file(tmp_path: Path) -> None:
    """A file that cannot be written is told, with exit 1."""
    done = RUNNER.invoke(app, ["migrate", "-f", _GROQ, "-o", str(tmp_path / "none" / "new.yaml")])
    assert done.exit_code == 1
    assert "cannot be written" in done.stderr


def test_import_is_incomplete() -> None:
    """What is left to do makes exit 3, with the result all the same."""
    done = RUNNER.invoke(app, ["import", "--from", "litellm", "-f", _LITELLM])
    assert done.exit_code == 3
    assert done.stdout.startswith("llm:\n")
    assert "is not in the result" in done.stderr
    assert "canary" not in done.stderr


@pytest.mark.parametrize(
    ("form", "begins"),
    [("agentgateway", "binds:\n"), ("litellm", "model_list:\n"), ("kubernetes", "apiVersion: gateway.networking")],
)
def test_export(form: str, begins: str) -> None:
    """Each form is written without the values of variables, which need not be set."""
    done = RUNNER.invoke(app, ["export", "--to", form, "-f", _GROQ])
    assert done.exit_code == 0
    assert done.stdout.startswith(begins)
    assert "GROQ_API_KEY" in done.stdout


def test_what_manifests_say_is_exact() -> None:
    """A model of Anthropic's goes to Kubernetes exactly: `torana kubernetes` reads the provider it is written as."""
    text = "llm: {models: [{name: '*', provider: anthropic, params: {apiKey: $ANTHROPIC_API_KEY}}]}"
    written = RUNNER.invoke(app, ["export", "--to", "kubernetes", "-f", "-"], input=text)
    assert "anthropic: {}" in written.stdout
    assert written.stderr.endswith("1 exact, 0 approximate, 0 manual, 0 unsupported\n")
    words = ["status", "-", "--expand-env"]
    read = RUNNER.invoke(app, words, input=written.stdout, env={"ANTHROPIC_API_KEY": "canary"})
    assert (read.exit_code, read.stdout.count("True")) == (0, 6), read.output


@pytest.mark.parametrize(
    "words",
    [
        ["migrate", "-f", "none.yaml"],
        ["import", "--from", "litellm", "-f", _GROQ],
        ["export", "--to", "litellm", "-f", _LITELLM],
        ["migrate", "-f", _LITELLM],
    ],
)
def test_what_cannot_be_read(words: list[str]) -> None:
    """A file that is not there, or is no such configuration, makes exit 1 and words for it."""
    done = RUNNER.invoke(app, words)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr


@pytest.mark.parametrize("words", [["migrate"], ["import", "-f", _GROQ], ["export", "--to", "nginx", "-f", _GROQ]])
def test_wrong_words(words: list[str]) -> None:
    """A command without what it needs makes exit 2."""
    assert RUNNER.invoke(app, words).exit_code == 2


def test_what_the_page_shows() -> None:
    """The page's example becomes what stands below it."""
    before, after = _BLOCKS
    assert migrate(before, "a.yaml").text == after
