"""A version of a table is on the disk before its manifest, and a torn one was never there."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pyarrow as pa
import pytest

from isthmus.data import lance_commits
from isthmus.data.lance_manifest import VERSIONS, manifest_name, versions_of
from isthmus.data.lance_tables import open_or_create, open_table
from isthmus.data.table_checksums import CHECKSUMS, record_file

ROWS = pa.table({"key": ["a", "b"], "number": [1, 2]})


@pytest.fixture
def path(tmp_path):
    table = open_or_create(tmp_path / "t.lance", ROWS.schema)
    table.insert(ROWS, mode="append")
    table.insert(ROWS, mode="append")
    return tmp_path / "t.lance"


def tear(path, version, content=b""):
    """Leave what a loss of power leaves between the rename and the flush of a manifest."""
    (path / manifest_name(version)).write_bytes(content)
    record_file(path, version).unlink()


@pytest.mark.parametrize("content", [b"", b"\0" * 300])
def test_a_torn_version_was_never_there(path, content):
    tear(path, 3, content)
    assert open_table(path).to_table().num_rows == 2
    open_table(path).insert(ROWS, mode="append")
    assert open_table(path).version == 3
    assert open_table(path).to_table().num_rows == 4


def test_a_table_whose_first_version_is_torn_is_created_again(tmp_path):
    path = tmp_path / "t.lance"
    open_or_create(path, ROWS.schema)
    tear(path, 1)
    assert open_table(path) is None
    open_or_create(path, ROWS.schema).insert(ROWS, mode="append")
    assert open_table(path).to_table().num_rows == 2


def test_a_damaged_version_that_was_committed_is_not_dropped(path):
    (path / manifest_name(3)).write_bytes(b"")
    with pytest.raises((OSError, ValueError)):
        open_table(path)
    assert (path / manifest_name(3)).exists()


def test_every_kind_of_commit_flushes_its_files_before_its_manifest(path, monkeypatch):
    """What a version refers to is flushed once, before the manifest is there; that is after."""
    flushed: list[tuple[str, int | None]] = []  # each with the newest version at that moment
    ever: list[str] = []
    fsync = os.fsync

    def recording(descriptor: int) -> None:
        name = os.path.relpath(Path(f"/proc/self/fd/{descriptor}").readlink(), path)
        flushed.append((name, max(versions_of(path))))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recording)

    def files() -> set[str]:
        kept = (
            p for p in path.rglob("*") if p.is_file() and not {VERSIONS, CHECKSUMS} & {*p.parts}
        )
        return {str(p.relative_to(path)) for p in kept}

    def commit(change) -> None:
        flushed.clear()
        before = files()
        change(open_table(path))
        newest = max(versions_of(path))
        assert {name for name, seen in flushed if seen < newest} >= files() - before
        manifest = manifest_name(newest)
        after = [name for name, seen in flushed if seen == newest]
        assert after == [manifest, VERSIONS]
        ever.extend(name for name, _ in flushed if (path / name).is_file())
        assert len(ever) == len(set(ever))

    commit(lambda table: table.insert(ROWS, mode="append"))
    merged = pa.table({"key": ["a", "c"], "number": [5, 6]})
    commit(lambda t: t.merge_insert("number").when_not_matched_insert_all().execute(merged))
    commit(lambda table: table.delete("key = 'b'"))
    commit(lambda table: table.add_columns(pa.schema([("more", pa.string())])))
    commit(lambda table: table.create_scalar_index("key", "BTREE", name="key_idx"))
    commit(lambda table: table.insert(ROWS, mode="append"))
    commit(lambda table: table.optimize.optimize_indices(index_names=["key_idx"]))
    commit(lambda table: table.optimize.compact_files())
    commit(lambda table: table.drop_columns(["more"]))


@pytest.mark.parametrize("lost", ["nothing of it is there", "it is empty"])
def test_a_record_that_was_lost_with_the_power_is_made_again(path, lost):
    record = record_file(path, 3)
    before = record.read_bytes()
    record.unlink()
    if lost == "it is empty":
        record.touch()
    assert open_table(path).to_table().num_rows == 4
    assert record.read_bytes() == before


def test_everything_is_flushed_where_the_clock_was_set_back(path, monkeypatch):
    """The files of a commit are older than the version before, by their times."""
    future = time.time() + 3_600
    os.utime(path / manifest_name(3), (future, future))
    flushed: list[str] = []
    monkeypatch.setattr(lance_commits, "_flushed", {})  # as in another process
    monkeypatch.setattr(lance_commits, "sync_file", lambda file: flushed.append(file.name))
    before = {file.name for file in (path / "data").iterdir()}
    open_table(path).insert(ROWS, mode="append")
    assert {file.name for file in (path / "data").iterdir()} - before <= {*flushed}
