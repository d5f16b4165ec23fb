"""Changes of files are told, however they are made."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path

import pytest

from torana.config import watch
from torana.config.watch import changes, stamps


def _published(folder: Path, version: str, text: str) -> None:
    """As kubelet does it: a folder of its own for each version, and one link that is swapped."""
    data = folder / f"..{version}"
    data.mkdir()
    (data / "config.yaml").write_text(text)
    (folder / "..data_tmp").symlink_to(data.name)
    (folder / "..data_tmp").rename(folder / "..data")


def _plain(folder: Path) -> None:
    (folder / "config.yaml").write_text("before")


def _config_map(folder: Path) -> None:
    _published(folder, "2026_01", "before")
    (folder / "config.yaml").symlink_to("..data/config.yaml")


def _linked(folder: Path) -> None:
    (folder / "other").mkdir()
    (folder / "other" / "real.yaml").write_text("before")
    (folder / "config.yaml").symlink_to("other/real.yaml")


def _nothing(_: Path) -> None:
    """The file is not there yet."""


def _write(folder: Path) -> None:
    (folder / "config.yaml").write_text("and after")


def _append(folder: Path) -> None:
    with (folder / "config.yaml").open("a") as file:
        file.write("more")


def _rename_over(folder: Path) -> None:
    (folder / ".config.yaml.swp").write_text("and after")
    (folder / ".config.yaml.swp").rename(folder / "config.yaml")


def _remove(folder: Path) -> None:
    (folder / "config.yaml").unlink()


def _swap(folder: Path) -> None:
    _published(folder, "2026_02", "and after")


def _behind_the_link(folder: Path) -> None:
    (folder / "other" / "real.yaml").write_text("and after")


def _touch(folder: Path) -> None:
    os.utime(folder / "config.yaml", ns=(1, 1))


CHANGES = [
    pytest.param(_plain, _write, id="written"),
    pytest.param(_plain, _append, id="appended to"),
    pytest.param(_plain, _rename_over, id="renamed over"),
    pytest.param(_plain, _remove, id="removed"),
    pytest.param(_plain, _touch, id="same content, other time"),
    pytest.param(_nothing, _write, id="appears"),
    pytest.param(_config_map, _swap, id="config map"),
    pytest.param(_linked, _behind_the_link, id="behind a link"),
    pytest.param(_linked, _rename_over, id="a link replaced by a file"),
]


class Watching:
    """The iterator, from its first wait to its end."""

    def __init__(self, *paths: Path) -> None:
        self._stop = asyncio.Event()
        self._changes = changes(stamps(paths), self._stop)
        self._next: asyncio.Future[None] | None = None

    async def begin(self) -> None:
        """Wait for the next change in the background; the files are looked at from then on."""
        self._next = asyncio.ensure_future(anext(self._changes))
        await asyncio.sleep(0)

    async def change(self) -> None:
        if self._next is None:
            await self.begin()
        assert self._next is not None
        async with asyncio.timeout(10):
            await self._next
        self._next = None

    async def end(self) -> int:
        """Stop; returns how many more changes were told."""
        self._stop.set()
        async with asyncio.timeout(10):
            return len([None async for _ in self._changes])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look fifty times a second."""
    monkeypatch.setattr(watch, "_INTERVAL", 0.02)
    monkeypatch.setattr(watch, "_DEBOUNCE", 0.005)


@pytest.mark.parametrize(("before", "change"), CHANGES)
async def test_a_change_is_told(before: Callable[[Path], None], change: Callable[[Path], None], tmp_path: Path) -> None:
    """A change is told once, when it is made and by whatever way."""
    before(tmp_path)
    watching = Watching(tmp_path / "config.yaml")
    await watching.begin()
    change(tmp_path)
    await watching.change()
    assert await watching.end() == 0


@pytest.mark.parametrize(("before", "change"), CHANGES)
async def test_an_earlier_change_is_told(
    before: Callable[[Path], None], change: Callable[[Path], None], tmp_path: Path
) -> None:
    """What changed between the reading of a file and the first look at it is told too."""
    before(tmp_path)
    watching = Watching(tmp_path / "config.yaml")
    change(tmp_path)
    await watching.change()
    assert await watching.end() == 0


@pytest.mark.parametrize(("before", "change"), CHANGES)
def test_a_stamp_tells(before: Callable[[Path], None], change: Callable[[Path], None], tmp_path: Path) -> None:
    """A stamp is the same while nothing happens, and another after any change."""
    file = tmp_path / "config.yaml"
    before(tmp_path)
    first = stamps([file])
    assert stamps([file]) == first
    change(tmp_path)
    assert stamps([file]) != first


async def test_one_after_the_other(tmp_path: Path) -> None:
    """Each of several changes of several files, the later ones too, is told."""
    files = [tmp_path / "config.yaml", tmp_path / "keys" / "key"]
    (tmp_path / "keys").mkdir()
    watching = Watching(*files)
    for number, file in enumerate([*files, *files]):
        await watching.begin()
        file.write_text("x" * number)
        await watching.change()
    assert await watching.end() == 0


async def test_the_end() -> None:
    """Once stopped, and with nothing to watch, there is an end."""
    assert await Watching().end() == 0


async def test_a_folder_that_appears(tmp_path: Path) -> None:
    """A folder that is not there at first does no harm, and its file is seen when it comes."""
    watching = Watching(tmp_path / "later" / "config.yaml")
    await watching.begin()
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "config.yaml").write_text("x")
    await watching.change()
    assert await watching.end() == 0


async def test_other_files_do_not_count(tmp_path: Path) -> None:
    """What happens to other files of a folder is no change, and neither is reading."""
    file = tmp_path / "config.yaml"
    file.write_text("before")
    watching = Watching(file)
    await watching.begin()
    (tmp_path / "notes.txt").write_text("new")
    (tmp_path / "config.yaml~").write_text("backup")
    (tmp_path / "folder").mkdir()
    file.read_text()
    file.write_text("after")
    await watching.change()
    assert await watching.end() == 0


async def test_a_file_under_way(tmp_path: Path) -> None:
    """A file that is written piece by piece is told when it is at rest: half of it is often a configuration, too."""
    file = tmp_path / "config.yaml"
    file.write_text("before")
    watching = Watching(file)
    await watching.begin()
    looks = iter(["a", "ab", "abc"])

    def looked(paths: Iterable[Path]) -> watch.Stamps:
        if (text := next(looks, None)) is not None:
            file.write_text(text)
        return stamps(paths)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(watch, "stamps", looked)
        await watching.change()
    assert file.read_text() == "abc"
    assert await watching.end() == 0


async def test_a_file_that_never_rests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that changes all the time is told of nevertheless."""
    monkeypatch.setattr(watch, "_PATIENCE", 3)
    sizes = count()
    monkeypatch.setattr(watch, "stamps", lambda paths: dict.fromkeys(paths, (0, next(sizes), 0)))
    told = changes({tmp_path / "config.yaml": (0, 0, 0)}, asyncio.Event())
    async with asyncio.timeout(10):
        await anext(told)
        await anext(told)


def test_a_name_that_is_none() -> None:
    """A configuration may name a file that no system has; it is as good as absent."""
    assert stamps([Path("a\0b")]) == {Path("a\0b"): None}


async def test_one_save_is_one_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows a change within a moment belongs to it, and is not told again."""
    versions = iter([1, 1, 2, 3])

    def looked(paths: Iterable[Path]) -> watch.Stamps:
        return dict.fromkeys(paths, (0, next(versions, 3), 0))

    monkeypatch.setattr(watch, "stamps", looked)
    stop, file = asyncio.Event(), tmp_path / "config.yaml"
    told = changes({file: (0, 1, 0)}, stop)
    async with asyncio.timeout(10):
        await anext(told)
    assert next(versions, None) is None, "looked four times only"
    stop.set()
    assert [None async for _ in told] == []
