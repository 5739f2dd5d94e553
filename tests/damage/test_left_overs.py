"""Compaction removes what nothing refers to."""

from __future__ import annotations

import os
import time

from isthmus import Space
from tests.toy import item, picture, two_encoders


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
