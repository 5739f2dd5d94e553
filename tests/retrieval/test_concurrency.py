"""Readers read while one writes; a second writer waits, or fails with a clear error."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from isthmus import Space
from isthmus.data.lance_manifest import versions_of
from isthmus.errors import CorruptTable, SpaceExists, SpaceLocked
from isthmus.index.catalog.lock import write_lock
from tests.stress.readers import beside_a_writer
from tests.toy import item, two_encoders

ROOT = Path(__file__).resolve().parents[2]


def test_a_second_writer_fails_with_the_name_of_the_first(space):
    hasty = Space.open(space.path, encoder=two_encoders(), wait_s=0.1)
    with (
        write_lock(space.path, "catalog"),
        pytest.raises(SpaceLocked, match=r"being written by process \d+ .*waited 0\.1 s"),
    ):
        hasty.upsert([item("a", "x")])
    assert hasty.upsert([item("a", "x")]).added == 1


def test_publishing_and_adding_go_side_by_side(space):
    with write_lock(space.path, "catalog"):
        assert space.publish().number == 1


def test_two_processes_that_write_at_once_lose_nothing(space):
    script = (
        "import sys\n"
        "from isthmus import Space\n"
        "from tests.toy import item, two_encoders\n"
        "space = Space.open(sys.argv[1], encoder=two_encoders())\n"
        "for n in range(5):\n"
        "    space.upsert([item(f'{sys.argv[2]}{n}', f'word{n}')])\n"
        "    space.publish()\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", script, str(space.path), name], cwd=ROOT)
        for name in "ab"
    ]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert space.count() == 10
    assert space.current_release == 10


def test_what_another_writes_is_seen_though_nothing_was_written_for_long(space):
    space.upsert([item("a", "sea")])
    versions = space.path / "catalog.lance" / "_versions"
    os.utime(versions, (0, 0))
    reader = Space.open(space.path, encoder=two_encoders())
    assert [reader.count() for _ in range(3)] == [1, 1, 1]
    for n in range(20):  # several within one tick of the file system's clock
        space.upsert([item(f"b{n}", "sea")])
        assert reader.count() == n + 2
        os.utime(versions)


def test_readers_never_fail_while_one_writes_and_publishes(space):
    space.upsert([item(str(n), f"sea word{n}") for n in range(50)])
    problems, stop = [], threading.Event()

    def read():
        reader = Space.open(space.path, encoder=two_encoders())
        while not stop.is_set():
            try:
                hits = reader.search("sea", k=60)
                assert len(hits) >= 50
                assert len({hit.item_id for hit in hits}) == len(hits)
            except Exception as error:
                problems.append(error)
                return

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for n in range(8):
        space.upsert([item(f"new{n}", f"sea new{n}"), item("7", f"sea again{n}")])
        space.publish()
        if n % 5 == 0:
            space.compact(keep_days=0)
    stop.set()
    for reader in readers:
        reader.join()
    assert problems == []


@pytest.fixture
def outdated(space, monkeypatch):
    """A space whose next query gets a view that another process made unreadable meanwhile."""
    for n in range(3):
        space.upsert([item(f"sea{n}", f"sea word{n}", n=n)])
    space.publish()
    writer = Space.open(space.path, encoder=two_encoders())
    before = space.opened.view()
    writer.upsert([item("new", "sea word9", n=9)])
    for _ in range(6):  # five old releases are kept
        writer.publish()
    writer.compact(keep_days=0)
    assert not before.snapshot.stamp.is_there()
    assert not before.release.folder.exists()
    live, views = space.opened.live, [before]
    now = live.now
    monkeypatch.setattr(live, "now", lambda: views.pop() if views else now())
    return space


def test_a_view_is_searched_though_what_it_was_made_of_was_removed(outdated):
    assert [hit.item_id for hit in outdated.search("word2", k=1)] == ["sea2"]


@pytest.mark.parametrize(
    "search",
    [
        lambda space: space.search("word9", where="n > 2"),
        lambda space: space.search("word9", k=1, attributes=True),
        lambda space: space.search("word9", k=1, hybrid=True),
        lambda space: space.similar("sea0", where="n > 2"),
    ],
)
def test_a_query_that_reads_what_was_removed_is_answered_from_a_new_view(outdated, search):
    assert [hit.item_id for hit in search(outdated)] == ["new"]


def test_a_view_takes_up_what_is_new_though_its_version_was_removed(space):
    space.upsert([item("a", "sea")])
    reader = Space.open(space.path, encoder=two_encoders())
    assert [hit.item_id for hit in reader.search("sea")] == ["a"]
    space.upsert([item("b", "sea")])
    space.compact(keep_days=0)
    assert (reader.count(), reader.status()["delta"]) == (2, 2)


def test_every_other_verb_keeps_its_view_or_takes_a_new_one(outdated):
    assert outdated.count(where="n > 2") == 1


@pytest.mark.parametrize(
    "begin", [lambda space: space.ids(), lambda space: space.vectors()], ids=["ids", "vectors"]
)
def test_a_stream_keeps_the_version_that_it_reads_until_its_end(space, begin):
    space.upsert([item(f"sea{n}", f"sea word{n}") for n in range(3)])
    writer = Space.open(space.path, encoder=two_encoders())
    catalog = space.path / "catalog.lance"
    read = versions_of(catalog)[-1]
    stream = iter(begin(space))
    next(stream)
    writer.upsert([item("new", "sea word9")])
    writer.compact(keep_days=0)
    assert read in versions_of(catalog)
    for _ in stream:
        pass
    writer.compact(keep_days=0)
    assert read not in versions_of(catalog)


@pytest.mark.parametrize("where", [None, "n > 0"])
def test_a_stream_whose_file_is_lost_names_the_file_and_not_the_filter(space, where):
    space.upsert([item(f"sea{n}", f"sea word{n}", n=n) for n in range(3)])
    assert space.count() == 3
    (lost,) = (space.path / "catalog.lance" / "data").iterdir()
    lost.unlink()
    with pytest.raises(CorruptTable, match=f"{lost.name} is missing or damaged"):
        list(space.ids(where=where))


@pytest.mark.heavy
def test_readers_in_other_processes_never_fail_while_one_prunes_and_compacts():
    """``python -m tests.stress.readers`` reads ten thousand times."""
    counts, wrong, rounds = beside_a_writer(reads=400, readers=2)
    assert wrong == []
    assert counts.total() == 400
    assert rounds > 0


def test_of_several_processes_that_create_a_space_at_once_one_succeeds(tmp_path):
    left_over = tmp_path / ".s.creating-1"
    left_over.mkdir()
    os.utime(left_over, (0, 0))
    start, outcomes = threading.Barrier(3), []

    def create():
        start.wait()
        try:
            Space.create(tmp_path / "s", two_encoders())
            outcomes.append("created")
        except SpaceExists as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=create) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refusal = f"{tmp_path / 's'} exists already; open it, or choose another folder"
    assert sorted(outcomes) == sorted(["created", refusal, refusal])
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    assert Space.open(tmp_path / "s", encoder=two_encoders()).upsert([item("a", "x")]).added == 1


@pytest.mark.parametrize("cause", [errno.EACCES, errno.EROFS])
def test_a_space_without_write_permission_is_read_and_the_error_says_why(
    tmp_path, monkeypatch, cause
):
    space = Space.create(tmp_path / "s", two_encoders())
    space.upsert([item("a", "x")])

    def refuse(*_, **__):
        raise OSError(cause, os.strerror(cause))

    monkeypatch.setattr("isthmus.index.catalog.lock.FileLock.acquire", refuse)
    with pytest.raises(PermissionError, match=r"s cannot be written by this user .*searched"):
        space.upsert([item("b", "y")])
    assert [hit.item_id for hit in space.search("x")] == ["a"]
