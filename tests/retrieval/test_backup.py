"""Backups: incremental, consistent beside a writer, verified, restored as they were."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pyarrow.fs import FSSpecHandler, PyFileSystem

import isthmus
from isthmus import Space
from isthmus.data.file_store import FileStore
from isthmus.durable import PART
from isthmus.errors import BackupNotFound, CorruptBackup, CorruptTable, SpaceExists
from isthmus.operations import backup
from isthmus.operations.snapshot import REPLACED
from tests.toy import item, text_encoder


def films(numbers, text="ship"):
    return [item(f"f{n}", f"{text} {n}", n=n) for n in numbers]


@pytest.fixture
def shop(tmp_path):
    space = Space.create(tmp_path / "shop.space", encoder=text_encoder())
    space.upsert(films(range(20)))
    space.publish()
    space.add_interactions([{"user_id": "u", "item_id": "f1"}])
    return space


def opened(path):
    return Space.open(path, encoder=text_encoder())


def contents(space):
    """What a space answers."""
    return (
        space.get(sorted(space.ids())),
        [(hit.item_id, hit.score) for hit in space.search("ship 3", k=5)],
        space.current_release,
        space.interactions("u"),
        space.settings,
    )


def test_a_restored_space_answers_as_the_one_that_was_backed_up(shop, tmp_path):
    report = shop.backup(tmp_path / "backups")
    assert 0 < report.new_files <= report.files
    assert report.removed == 0
    restored = isthmus.restore(tmp_path / "backups", tmp_path / "again.space")
    assert (restored.backup, restored.files, restored.bytes) == (
        report.backup,
        report.files,
        report.bytes,
    )
    again = opened(tmp_path / "again.space")
    assert contents(again) == contents(shop)
    assert again.verify().sound
    again.upsert(films([99]))  # it can be written to
    assert again.publish().number == 2


def test_only_what_is_new_is_copied_and_each_backup_is_of_its_time(shop, tmp_path):
    place = tmp_path / "backups"
    first = shop.backup(place)
    assert shop.backup(place).new_files == 0
    before = contents(shop)
    shop.upsert(films(range(20, 40)))
    shop.delete(["f0"])
    last = shop.backup(place)
    assert 0 < last.new_bytes < last.bytes
    assert isthmus.backups(place)[::2] == [first.backup, last.backup]
    isthmus.restore(place, tmp_path / "first.space", backup=first.backup)
    isthmus.restore(place, tmp_path / "last.space")
    assert contents(opened(tmp_path / "first.space")) == before
    assert contents(opened(tmp_path / "last.space")) == contents(shop)


def test_old_backups_go_and_what_others_need_stays(shop, tmp_path):
    place = tmp_path / "backups"
    for number in range(4):
        shop.upsert(films([100 + number]))
        report = shop.backup(place, keep=2)
    assert (report.removed, len(isthmus.backups(place))) == (1, 2)
    needed = set()
    for file in (place / "backups").iterdir():
        needed |= {one["digest"] for one in json.loads(file.read_text())["files"]}
    assert {path.name for path in (place / "contents").rglob("*") if path.is_file()} == needed
    isthmus.restore(place, tmp_path / "again.space", backup=isthmus.backups(place)[0])
    assert sorted(opened(tmp_path / "again.space").ids())[:4] == ["f0", "f1", "f10", "f100"]


def test_a_backup_beside_writers_is_a_state_that_the_space_was_in(shop, tmp_path):
    """Items come in pairs, and a backup holds both of a pair or neither."""
    stop, failures = threading.Event(), []

    def write():
        writer, number = opened(shop.path), 1_000
        try:
            while not stop.is_set():
                writer.upsert(films([number, number + 1]))
                number += 2
                if number % 10 == 0:
                    writer.publish()
                    writer.compact(keep_days=0)
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for number in range(6):
            shop.backup(tmp_path / "backups")
            isthmus.restore(tmp_path / "backups", tmp_path / f"{number}.space")
    finally:
        stop.set()
        thread.join()
    assert failures == []
    for number in range(6):
        restored = opened(tmp_path / f"{number}.space")
        assert restored.verify().sound
        added = sorted(int(name[1:]) for name in restored.ids() if int(name[1:]) >= 1_000)
        assert len(added) % 2 == 0
        assert added == list(range(1_000, 1_000 + len(added)))
        assert len(restored.search("ship", k=500)) == 20 + len(added)


@pytest.mark.parametrize("stop_at", [1, 2, 10, 30])
def test_what_was_stopped_counts_for_nothing_and_ends_when_it_is_run_again(
    shop, tmp_path, monkeypatch, stop_at
):
    place, whole = tmp_path / "backups", shop.backup(tmp_path / "whole")

    def stopping(function):
        calls = []

        def run(*arguments):
            calls.append(1)
            if len(calls) == stop_at:
                raise KeyboardInterrupt
            return function(*arguments)

        return run

    with monkeypatch.context() as patch:
        patch.setattr(FileStore, "add", stopping(FileStore.add))
        with pytest.raises(KeyboardInterrupt):
            shop.backup(place)
    assert isthmus.backups(place) == []
    again = shop.backup(place)
    assert (again.files, again.bytes) == (whole.files, whole.bytes)
    assert again.new_files == whole.new_files - (stop_at - 1)
    with monkeypatch.context() as patch:
        patch.setattr(FileStore, "blocks", stopping(FileStore.blocks))
        with pytest.raises(KeyboardInterrupt):
            isthmus.restore(place, tmp_path / "again.space")
    assert not (tmp_path / "again.space").exists()
    isthmus.restore(place, tmp_path / "again.space")
    assert contents(opened(tmp_path / "again.space")) == contents(shop)
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".restoring")] == []


def test_a_damaged_space_is_not_backed_up(shop, tmp_path):
    (data,) = (shop.path / "interactions.lance/data").iterdir()
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    with pytest.raises(CorruptTable, match=r"nothing was backed up; mend it with: isthmus verify"):
        opened(shop.path).backup(tmp_path / "backups")
    assert isthmus.backups(tmp_path / "backups") == []


@pytest.mark.parametrize("harm", ["damaged", "missing"])
def test_what_is_damaged_in_a_backup_is_named_and_no_space_is_left(shop, tmp_path, harm):
    place = tmp_path / "backups"
    shop.backup(place)
    (listed,) = (place / "backups").iterdir()
    files = json.loads(listed.read_text())["files"]
    release = next(file for file in files if file["name"] == "CURRENT")
    content = place / "contents" / release["digest"][:2] / release["digest"]
    content.write_bytes(b"000009\n") if harm == "damaged" else content.unlink()
    with pytest.raises(CorruptBackup, match=f"content of CURRENT is {harm}"):
        isthmus.restore(place, tmp_path / "again.space")
    assert not (tmp_path / "again.space").exists()
    listed.write_text(listed.read_text().replace("CURRENT", "CURREMT"))
    with pytest.raises(CorruptBackup, match="its checksum differs"):
        isthmus.restore(place, tmp_path / "again.space")


def test_wrong_names_are_refused(shop, tmp_path):
    place = tmp_path / "backups"
    with pytest.raises(BackupNotFound, match="no backup in"):
        isthmus.restore(place, tmp_path / "again.space")
    report = shop.backup(place)
    with pytest.raises(BackupNotFound, match=f"no backup 'x' in .*; there are: {report.backup}"):
        isthmus.restore(place, tmp_path / "again.space", backup="x")
    with pytest.raises(SpaceExists, match="exists; restore to another folder"):
        isthmus.restore(place, shop.path)


def test_each_new_file_is_read_once_beside_the_verification(shop, tmp_path, monkeypatch):
    opened_files = []
    path_open = Path.open
    monkeypatch.setattr(
        Path, "open", lambda path, *a, **k: opened_files.append(path) or path_open(path, *a, **k)
    )
    monkeypatch.setattr(backup, "_require_sound", lambda space: None)
    report = shop.backup(tmp_path / "backups")
    of_space = [path for path in opened_files if shop.path in path.parents]
    assert len(of_space) == len(set(of_space))
    assert len(of_space) >= report.new_files - len(REPLACED)


def test_what_a_disk_changes_is_not_kept(shop, tmp_path, monkeypatch):
    place = tmp_path / "backups"
    blocks = FileStore.blocks

    def changed(store, name):
        return (block[:-1] + b"?" for block in blocks(store, name))

    with monkeypatch.context() as patch:
        patch.setattr(FileStore, "blocks", changed)
        with pytest.raises(CorruptBackup, match=r"reads back with another content.*Check that"):
            shop.backup(place)
    assert isthmus.backups(place) == []
    assert FileStore(place).names("contents") == []


def test_what_a_killed_backup_was_writing_is_removed(shop, tmp_path):
    place = tmp_path / "backups"
    place.mkdir()
    killed = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    left = place / f".incoming.{killed.pid}-7{PART}"
    left.write_bytes(b"half")
    killed.kill()
    killed.communicate()
    shop.backup(place)
    assert [path.name for path in place.iterdir() if path.name.startswith(".")] == []


def test_files_are_stored_in_any_file_system():
    store = FileStore("bucket/shop", PyFileSystem(FSSpecHandler(MemoryFileSystem())))
    assert (store.names("contents"), "contents/a" in store) == ([], False)
    store.write("contents/a", b"sea")
    long = io.BytesIO(b"x" * 5_000_000)
    digest, is_new = store.add(long, "contents/b/{}".format)
    long.seek(0)
    assert is_new
    assert store.add(long, "contents/b/{}".format) == (digest, False)
    assert store.names("contents") == ["contents/a", f"contents/b/{digest}"]
    assert (store.read("contents/a"), len(store.read(f"contents/b/{digest}"))) == (
        b"sea",
        5_000_000,
    )
    store.remove("contents/a")
    assert store.names("contents") == [f"contents/b/{digest}"]
    with pytest.raises(FileNotFoundError):
        store.read("contents/a")
