"""Every official SDK in an environment of its own, under .cache/sdk; `make sdks` prepares them all.

Of their own, because together they do not resolve: an installer then picks years-old versions without a word. Versions
are pinned, so that a failing test means that we changed.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from pathlib import Path
from typing import NamedTuple, assert_never

_HERE = Path(__file__).parent
_CACHE = _HERE.parents[2] / ".cache" / "sdk"

# The largest takes 4 s on a good day; a registry can be slow.
_INSTALL_SECONDS = 240
# Installing is downloading, mostly: a few at a time, to be kind to the registry.
_AT_A_TIME = 3


class Language(Enum):
    PYTHON = "python"
    JAVASCRIPT = "javascript"


class Sdk(NamedTuple):
    """A package at a version, and the client script under `clients/` that speaks through it.

    `beside` are the packages that it wants to be installed with it, each as PACKAGE@VERSION.
    """

    package: str
    version: str
    language: Language
    script: str
    beside: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return _CACHE / f"{self.language.value}-{self.package}-{self.version}"

    def __str__(self) -> str:
        return f"{self.language.value} {self.package} {self.version}"


OPENAI = Sdk("openai", "3.54.0", Language.PYTHON, "openai_client.py")
MISTRAL = Sdk("mistralai", "3.7.0", Language.PYTHON, "mistral_client.py")
GROQ = Sdk("groq", "1.7.0", Language.PYTHON, "groq_client.py")
TOGETHER = Sdk("together", "3.1.1", Language.PYTHON, "together_client.py")
PERPLEXITY = Sdk("perplexityai", "0.46.1", Language.PYTHON, "perplexity_client.py")
COHERE = Sdk("cohere", "7.3.1", Language.PYTHON, "cohere_client.py")
OPENAI_JS = Sdk("openai", "6.49.0", Language.JAVASCRIPT, "openai_client.mjs")
AI = Sdk(
    "ai", "6.0.326", Language.JAVASCRIPT, "ai_client.mjs", beside=("@ai-sdk/openai-compatible@2.0.87", "zod@4.6.7")
)
CHATTING = (OPENAI, MISTRAL, GROQ, TOGETHER, PERPLEXITY, OPENAI_JS, AI)
SDKS = (*CHATTING, COHERE)


class InstallError(Exception):
    """An environment could not be made; the message is the installer's own."""


def prepare(sdk: Sdk) -> list[str]:
    """Make the environment unless it is there, and return the command line that runs the SDK's client script."""
    done = sdk.folder / ".complete"
    _CACHE.mkdir(parents=True, exist_ok=True)
    # Test processes run side by side; the first one to come installs, the others wait.
    with sdk.folder.with_name(f"{sdk.folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(sdk.folder, ignore_errors=True)
            _install(sdk)
            done.touch()
    return _command(sdk)


def _install(sdk: Sdk) -> None:
    match sdk.language:
        case Language.PYTHON:
            uv = _program("uv")
            python = sdk.folder / "bin" / "python"
            _run(uv, "venv", "--quiet", "--python", sys.executable, str(sdk.folder))
            _run(uv, "pip", "install", "--quiet", "--python", str(python), f"{sdk.package}=={sdk.version}")
        case Language.JAVASCRIPT:
            sdk.folder.mkdir()
            (sdk.folder / sdk.script).symlink_to(_HERE / "clients" / sdk.script)
            package = f"{sdk.package}@{sdk.version}"
            _run(_program("npm"), "install", "--silent", "--no-save", "--prefix", str(sdk.folder), package, *sdk.beside)
        case _:
            assert_never(sdk.language)


def _command(sdk: Sdk) -> list[str]:
    match sdk.language:
        case Language.PYTHON:
            script = _HERE / "clients" / sdk.script
            return [str(sdk.folder / "bin" / "python"), str(script)]
        case Language.JAVASCRIPT:
            # An ES module finds its packages beside itself, wherever it is run from: a link puts it there.
            return [_program("node"), "--preserve-symlinks-main", str(sdk.folder / sdk.script)]
        case _:
            assert_never(sdk.language)


def _program(name: str) -> str:
    """A program of this environment, else of the machine."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise InstallError(f"{name} is not installed")
    return found


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, timeout=_INSTALL_SECONDS, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        raise InstallError(f"{' '.join(command)}\n{error.stdout}{error.stderr}") from error
    except subprocess.TimeoutExpired as error:
        raise InstallError(f"{' '.join(command)}\ndid not finish in {_INSTALL_SECONDS} s") from error


def main() -> int:
    """Prepare all of them; a failure is printed and does not stop the others: the tests of that SDK will fail."""
    began = time.monotonic()
    failures = 0
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        for sdk, future in [(sdk, pool.submit(prepare, sdk)) for sdk in SDKS]:
            try:
                future.result()
            except InstallError as error:
                failures += 1
                print(f"{sdk}: {error}", file=sys.stderr)
    print(f"{len(SDKS) - failures} of {len(SDKS)} SDK environments ready after {time.monotonic() - began:.1f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
