"""Leases: nobody removes a version that a reader uses."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

from isthmus.data.leases import hold, lease_scope, removing


def free(folder, versions=(1, 2, 3)):
    """The versions that another thread, with a scope of its own, could remove."""
    with ThreadPoolExecutor(1) as other:
        return other.submit(_free, folder, versions).result()


def _free(folder, versions):
    with removing(folder, versions) as unused:
        return unused


def test_a_version_in_use_is_not_removed(tmp_path):
    with lease_scope():
        hold(tmp_path, 2)
        assert free(tmp_path) == [1, 3]
    assert free(tmp_path) == [1, 2, 3]


def test_who_removes_has_finished_reading(tmp_path):
    with lease_scope():
        hold(tmp_path, 2)
        hold(tmp_path.parent, 2)
        assert _free(tmp_path, [1, 2]) == [1, 2]
        assert free(tmp_path.parent, [2]) == []


def test_without_a_scope_nothing_is_held(tmp_path):
    hold(tmp_path, 2)
    assert free(tmp_path) == [1, 2, 3]


def test_a_scope_in_a_scope_lasts_as_long_as_the_outer_one(tmp_path):
    with lease_scope():
        with lease_scope():
            hold(tmp_path, 2)
        assert free(tmp_path) == [1, 3]
    assert free(tmp_path) == [1, 2, 3]


def test_readers_in_threads_and_processes_keep_their_own(tmp_path):
    ready, done = threading.Event(), threading.Event()

    def read():
        with lease_scope():
            hold(tmp_path, 1)
            ready.set()
            done.wait()

    reader = threading.Thread(target=read)
    reader.start()
    ready.wait()
    with lease_scope():
        hold(tmp_path, 1)
    assert free(tmp_path) == [2, 3]
    process = os.fork()
    if not process:
        os._exit(free(tmp_path) != [2, 3])
    assert os.waitpid(process, 0)[1] == 0
    done.set()
    reader.join()
    assert free(tmp_path) == [1, 2, 3]


def test_a_killed_reader_holds_nothing(tmp_path):
    process = os.fork()
    if not process:
        with lease_scope():
            hold(tmp_path, 1)
            os._exit(0)
    os.waitpid(process, 0)
    assert free(tmp_path) == [1, 2, 3]


def test_who_takes_a_lease_waits_for_a_removal_that_is_at_work(tmp_path):
    order, started = [], threading.Event()

    def read():
        started.set()
        with lease_scope():
            hold(tmp_path, 1)
            order.append("held")

    with removing(tmp_path, [1]):
        reader = threading.Thread(target=read)
        reader.start()
        started.wait()
        reader.join(0.1)
        order.append("removed")
    reader.join()
    assert order == ["removed", "held"]


def test_a_folder_that_is_not_there_cannot_be_held(tmp_path):
    with lease_scope():
        hold(tmp_path / "gone", 1)
