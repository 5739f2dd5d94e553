"""What a stop leaves on the disk: a kill, or a loss of power in every way a file system may lose.

A run of a verb is recorded. For each of its system calls, the files and folders are made that are
there if the verb is stopped before the next:

* ``kill``: everything that was done is there. This is what the killed process leaves, because the
  others see its writes at once; flushes change nothing.

and that may be there if the power is lost:

* ``nothing``: only what was flushed is there.
* ``names``: every change of a folder is there, but of the files only what was flushed; so a new
  file whose content was not flushed is empty.
* ``some names``: for each folder, drawn by chance, its changes are there or only what was flushed.

Stops that leave the same are one stop. The content of a file under a temporary name does not count:
nobody opens such a file, it is renamed, removed or left alone. That it is there counts.
"""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from isthmus.digests import digest_file
from isthmus.durable import PART, REMOVING
from isthmus.index.releases.release import BUILDING

TEMPORARY = re.compile(
    rf"(^|/)(\.tmp|{re.escape(BUILDING)}|{re.escape(REMOVING)})|{re.escape(PART)}$|#1$"
)
CHANCES = 4  # names are lost by chance at every so manyth call

Kind = Literal["kill", "nothing", "names", "some names"]
Disk = dict[str, Path | None]  # by path: its content, None for none; folders end with /


@dataclass(eq=False)
class File:
    """A file: where its content is, now and as it was flushed; None for none."""

    content: Path | None = None
    flushed: Path | None = None


@dataclass(eq=False)
class Folder:
    """A folder: its entries now, and those that were flushed."""

    entries: dict[str, File | Folder] = field(default_factory=dict)
    flushed: dict[str, File | Folder] = field(default_factory=dict)


class Stop(NamedTuple):
    """A stop after a system call; 0 is before the first."""

    call: int
    kind: Kind
    disk: Disk
    done: bool  # whether the verb was done


@dataclass(frozen=True)
class Record:
    """The system calls of a verb: number, kind, path and second path; copies of what they wrote.

    Attributes
    ----------
    folder : Path
        Where the copies are.
    place : Path
        The folder whose changes were recorded.
    lines : list of tuple
        The calls.
    """

    folder: Path
    place: Path
    lines: list[tuple[int, str, str, str]]

    @classmethod
    def read(cls, folder: Path, place: Path) -> Record:
        lines = []
        for line in (folder / "log").read_text().splitlines():
            number, kind, path, target = line.split("\t")
            lines.append((int(number), kind, path, target))
        return cls(folder, place.resolve(), lines)


def stops(record: Record, template: Path) -> Iterator[Stop]:
    """Yield every stop that leaves another disk behind; the template was on the disk before."""
    digests: dict[Path | None, bytes] = {None: b""}
    seen: set[object] = set()
    last = record.lines[-1][0]
    for call, root in replay(record, template):
        for kind in get_args(Kind):
            if kind == "some names" and call % CHANCES and call != last:
                continue
            disk = dict(on_disk(root, kind, random.Random(call)))
            for content in disk.values():
                if content is not None and content not in digests:
                    digests[content] = digest_file(content)
            names = frozenset(
                (name, b"" if TEMPORARY.search(name) else digests[content])
                for name, content in disk.items()
            )
            key = (names, call == last)  # what must not be lost may be what was there before
            if key not in seen:
                seen.add(key)
                yield Stop(call, kind, disk, done=call == last)


def replay(record: Record, template: Path) -> Iterator[tuple[int, Folder]]:
    """Yield the folders before the first recorded call and after each."""
    root = _read(template)
    yield 0, root
    for number, kind, path, target in record.lines:
        _apply(record, root, number, kind, path, target)
        yield number, root


def _read(folder: Path) -> Folder:
    entries: dict[str, File | Folder] = {
        path.name: _read(path) if path.is_dir() else File(path, path) for path in folder.iterdir()
    }
    return Folder(dict(entries), dict(entries))


def _apply(record: Record, root: Folder, number: int, kind: str, path: str, target: str) -> None:
    parts = Path(path).relative_to(record.place).parts
    if not parts:
        if kind == "sync":
            root.flushed = dict(root.entries)
        return
    parent, name = _folder(root, parts[:-1]), parts[-1]
    entry = parent.entries.get(name)
    if kind == "create":
        parent.entries[name] = File()
    elif kind == "mkdir":
        parent.entries[name] = Folder()
    elif kind in ("unlink", "rmdir"):
        del parent.entries[name]
    elif kind in ("rename", "link"):
        assert entry is not None
        *folders, other = Path(target).relative_to(record.place).parts
        _folder(root, folders).entries[other] = entry
        if kind == "rename":
            del parent.entries[name]
    elif kind == "write" and isinstance(entry, File):
        entry.content = record.folder / str(number)
    elif kind == "sync" and isinstance(entry, File):
        entry.flushed = entry.content
    elif kind == "sync" and isinstance(entry, Folder):
        entry.flushed = dict(entry.entries)


def _folder(root: Folder, parts: tuple[str, ...] | list[str]) -> Folder:
    for part in parts:
        entry = root.entries[part]
        assert isinstance(entry, Folder)
        root = entry
    return root


def on_disk(
    folder: Folder, kind: Kind, chance: random.Random, path: str = ""
) -> Iterator[tuple[str, Path | None]]:
    """Yield what is on the disk after a stop: each path, with its content; folders end with /."""
    kept = kind in ("kill", "names") or (kind == "some names" and chance.random() < 0.5)
    for name, entry in (folder.entries if kept else folder.flushed).items():
        if isinstance(entry, Folder):
            yield f"{path}{name}/", None
            yield from on_disk(entry, kind, chance, f"{path}{name}/")
        else:
            yield path + name, entry.content if kind == "kill" else entry.flushed


def write(disk: Disk, place: Path) -> None:
    """Write what is on the disk into a folder."""
    place.mkdir(exist_ok=True)
    for name, content in disk.items():
        if name.endswith("/"):
            (place / name).mkdir(parents=True, exist_ok=True)
        elif content is None:
            (place / name).write_bytes(b"")
        else:
            shutil.copy2(content, place / name)  # with its time: what is old may be collected


def require_equal(disk: Disk, place: Path) -> None:
    """Raise `AssertionError` if a folder differs: then a change was made that no call tells of."""
    there = {
        f"{path.relative_to(place)}{'/' if path.is_dir() else ''}": path
        for path in place.rglob("*")
    }
    assert there.keys() == disk.keys(), f"not recorded: {sorted(there.keys() ^ disk.keys())}"
    for name, content in disk.items():
        if not name.endswith("/"):
            expected = b"" if content is None else content.read_bytes()
            assert there[name].read_bytes() == expected, f"not recorded: the content of {name}"
