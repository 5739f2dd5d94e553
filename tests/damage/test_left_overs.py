"""Compaction removes what nothing refers to."""

from __future__ import annotations

import os
import time

import pytest

from isthmus import Space
from isthmus.data.lance_tables import tables_of
from isthmus.data.table_checksums import CHECKSUMS
from isthmus.operations.precompute import precompute_by
from tests.toy import ToyRecords, item, picture, two_encoders


def age(folder):
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - 7_200,) * 2)


def stored(space):
    return {path.name for path in (space.path / "media").glob("??/*")}


def test_media_and_embeddings_that_no_item_has_are_removed(tmp_path):
    space = Space.create(tmp_path / "s", two_encoders())
    space.upsert([item("kept", "here", image=picture("red", 4))])
    (kept,) = stored(space)
    space.upsert([item("gone", "there", image=picture("blue", 5))])
    space.publish()
    space.delete("gone")
    age(space.path / "media")
    space.compact()
    assert stored(space) == {kept}
    encoders = two_encoders()
    again = Space.open(space.path, encoder=encoders)
    report = again.upsert(
        [
            item("kept2", "here", image=picture("red", 4)),
            item("gone", "there", image=picture("blue", 5)),
        ]
    )
    assert report.encoded == {"text": 1, "image": 1}
    assert encoders["text"].encoded == ["there"]
    assert again.verify().sound


def test_what_a_job_may_just_have_written_stays(tmp_path):
    space = Space.create(tmp_path / "s", two_encoders())
    space.upsert([item("gone", "there", image=picture("blue", 5))])
    space.delete("gone")
    space.compact()
    assert len(stored(space)) == 1


def test_half_written_files_of_killed_writers_are_removed(tmp_path):
    space = Space.create(tmp_path / "s", two_encoders())
    space.upsert([item("a", "here", image=picture("red", 4))])
    left = [
        space.path / ".space.toml.1-2.part",
        space.path / "media" / ".ab.1-2.part",
        space.path / ".vectors.f32",
        space.path / "catalog.lance" / "data" / "orphan.lance",
    ]
    for path in left:
        path.write_bytes(b"half")
        os.utime(path, (0, 0))
    space.compact()
    assert [path for path in left if path.exists()] == []
    assert space.count() == 1


NO_PROCESS = 2**22 + 1  # Linux gives no process a number as high
WRITING = {
    "catalog": lambda space: space.upsert([item("b", "there", image=picture("blue", 5))]),
    "interactions": lambda space: space.add_interactions([{"user_id": "u", "item_id": "a"}]),
    "users": lambda space: space.add_users([{"user_id": "u", "age": 3}]),
    "precompute": lambda space: precompute_by(space.opened, ToyRecords()),
}
WRITTEN = {  # besides the embedding caches
    "catalog": {"catalog"},
    "interactions": {"interactions", "users"},
    "users": {"interactions", "users"},
    "precompute": set(),
}
ENCODING = ("catalog", "precompute")


@pytest.mark.parametrize("verb", WRITING)
def test_whoever_writes_a_table_removes_what_a_killed_writer_of_it_left(tmp_path, verb):
    space = Space.create(tmp_path / "s", two_encoders())
    space.upsert([item("a", "here", image=picture("red", 4))])
    for act in WRITING.values():
        act(space)
    tables = sorted(path for path in space.path.rglob("*.lance") if path.is_dir())
    assert tables == sorted(tables_of(space.path))
    left = [table / CHECKSUMS / f".9.{NO_PROCESS}-2.part" for table in tables]
    for path in left:
        path.write_bytes(b"half")
    WRITING[verb](space)
    removed = {path.parents[1].stem for path in left if not path.exists()}
    caches = {table.stem for table in tables if table.parent.name == "embedding_cache"}
    assert len(caches) == 3
    assert removed == WRITTEN[verb] | (caches if verb in ENCODING else set())
