"""Interactions survive a kill, two writers at once, and readers meanwhile."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from isthmus import Space
from tests.data.interactions.writer import COMMIT_ROWS, rows
from tests.toy import two_encoders

ROOT = Path(__file__).resolve().parents[2]
ROWS = 1_000
KILLED_AT = (0, 20, 200, 500)  # rows stored


def start(space, first, count=ROWS):
    command = [sys.executable, "-m", "tests.data.interactions.writer"]
    command += [str(space.path), str(first), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def stored(space):
    table = space.interactions(waiting=True)
    return sorted(map(tuple, (row.values() for row in table.to_pylist())))


def test_repeating_a_killed_job_completes_it(space, tmp_path):
    whole = Space.create(tmp_path / "whole.space", two_encoders())
    whole.add_interactions(rows(0, ROWS))
    for at_least in KILLED_AT:
        with start(space, 0) as writer:
            assert writer.stdout.readline() == "ready\n"
            while len(space.interactions(waiting=True)) < at_least:
                assert writer.poll() is None
            writer.kill()
        found = stored(space)
        assert len(found) % COMMIT_ROWS == 0  # whole commits, or none
        assert set(found) <= set(stored(whole))
        assert len(found) < ROWS  # or it was not killed at work
    had = len(found)
    report = space.add_interactions(rows(0, ROWS))
    assert (report.added, report.unchanged) == (ROWS - had, had)
    assert stored(space) == stored(whole)


def test_two_processes_that_add_at_once_lose_nothing_and_are_seen_at_once(space):
    seen = []
    writers = [start(space, first, 300) for first in (0, 200)]
    while any(writer.poll() is None for writer in writers):
        seen.append(len(space.interactions(waiting=True)))
        time.sleep(0.01)
    assert [writer.wait() for writer in writers] == [0, 0]
    assert [writer.stdout.read() for writer in writers] == ["ready\ndone\n"] * 2
    assert seen == sorted(seen)
    assert len(set(seen)) > 2  # the reader followed while they wrote
    assert len(space.interactions(waiting=True)) == 500
    report = space.add_interactions(rows(0, 500))
    assert report.added == 0
