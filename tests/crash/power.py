"""Losses of power: what was not flushed is lost, in every way that a file system may lose it.

A run of a verb is recorded. For each of its system calls, the files and folders are made that may
be on the disk if the power is lost there:

* ``nothing``: only what was flushed is there.
* ``names``: every change of a folder is there, but of the files only what was flushed; so a new
  file whose content was not flushed is empty.
* ``some names``: for each folder, drawn by chance, its changes are there or only what was flushed.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from tests.crash.kills import Trial

Loss = Literal["nothing", "names", "some names"]


@dataclass(eq=False)
class File:
    """A file: where its flushed content is; None for none."""

    flushed: Path | None = None


@dataclass(eq=False)
class Folder:
    """A folder: its entries now, and those that were flushed."""

    entries: dict[str, File | Folder] = field(default_factory=dict)
    flushed: dict[str, File | Folder] = field(default_factory=dict)


def lost_power(trial: Trial, step: int) -> Iterator[tuple[int, list[str]]]:
    """Lose power at every call that leaves another disk behind; yield it and what is wrong."""
    record = Record.read(*trial.recorded())
    seen: set[object] = set()
    distinct = 0
    for call, root in replay(record, trial.undisturbed.template):
        for loss in get_args(Loss):
            disk = dict(on_disk(root, loss, random.Random(call)))
            key = frozenset(disk.items())
            if key in seen:
                continue
            seen.add(key)
            distinct += 1
            if distinct % step and call < record.calls:
                continue
            space = trial.clear()
            write(disk, space)
            problems = trial.recovers(space)
            if call == record.calls:  # it was said to be done
                write(disk, trial.clear())
                problems += trial.differs(space)
            yield call, [f"{loss}: {problem}" for problem in problems]


@dataclass(frozen=True)
class Record:
    """The system calls of a verb: number, kind, path and second path; copies of what it flushed."""

    folder: Path
    space: Path
    lines: list[tuple[int, str, str, str]]

    @property
    def calls(self) -> int:
        return self.lines[-1][0]

    @classmethod
    def read(cls, folder: Path, space: Path) -> Record:
        lines = []
        for line in (folder / "log").read_text().splitlines():
            number, kind, path, target = line.split("\t")
            lines.append((int(number), kind, path, target))
        return cls(folder, space.resolve(), lines)


def replay(record: Record, template: Path) -> Iterator[tuple[int, Folder]]:
    """Yield the folders after each recorded call; the template was on the disk before."""
    root = _read(template)
    for number, kind, path, target in record.lines:
        _apply(record, root, number, kind, path, target)
        yield number, root


def _read(folder: Path) -> Folder:
    entries: dict[str, File | Folder] = {
        path.name: _read(path) if path.is_dir() else File(path) for path in folder.iterdir()
    }
    return Folder(dict(entries), dict(entries))


def _apply(record: Record, root: Folder, number: int, kind: str, path: str, target: str) -> None:
    parts = Path(path).relative_to(record.space).parts
    if not parts:
        if kind == "sync":
            root.flushed = dict(root.entries)
        return
    parent, name = _folder(root, parts[:-1]), parts[-1]
    if kind == "create":
        parent.entries[name] = File()
    elif kind == "mkdir":
        parent.entries[name] = Folder()
    elif kind in ("unlink", "rmdir"):
        del parent.entries[name]
    elif kind in ("rename", "link"):
        *folders, other = Path(target).relative_to(record.space).parts
        _folder(root, folders).entries[other] = parent.entries[name]
        if kind == "rename":
            del parent.entries[name]
    elif kind == "sync":
        entry = parent.entries.get(name)
        if isinstance(entry, Folder):
            entry.flushed = dict(entry.entries)
        elif entry is not None:
            entry.flushed = record.folder / str(number)


def _folder(root: Folder, parts: tuple[str, ...] | list[str]) -> Folder:
    for part in parts:
        entry = root.entries[part]
        assert isinstance(entry, Folder)
        root = entry
    return root


def on_disk(
    folder: Folder, loss: Loss, chance: random.Random, path: str = ""
) -> Iterator[tuple[str, Path | None]]:
    """Yield what is on the disk after a loss: each path, with its content; folders end with /."""
    kept = loss == "names" or (loss == "some names" and chance.random() < 0.5)
    for name, entry in (folder.entries if kept else folder.flushed).items():
        if isinstance(entry, Folder):
            yield f"{path}{name}/", None
            yield from on_disk(entry, loss, chance, f"{path}{name}/")
        else:
            yield path + name, entry.flushed


def write(disk: dict[str, Path | None], space: Path) -> None:
    """Write what is on the disk into a folder."""
    space.mkdir(exist_ok=True)
    for name, content in disk.items():
        if name.endswith("/"):
            (space / name).mkdir(parents=True, exist_ok=True)
        elif content is None:
            (space / name).write_bytes(b"")
        else:
            shutil.copyfile(content, space / name)
