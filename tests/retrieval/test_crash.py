"""A writer that is killed at any moment loses nothing it reported, and leaves nothing half done."""

from __future__ import annotations

import pytest

from isthmus import Space
from tests.retrieval.crash import run_until_killed, stored, survive_kills
from tests.toy import item, picture, two_encoders

KILLS = 50
FEWEST_DONE = 10  # operations between the kills, or nothing would have been put to the test


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=pytest.mark.heavy) for seed in (7, 8, 9, 10)]
)
def test_fifty_kills(tmp_path, seed):
    """During upsert, delete, publish, rollback and compact; two hundred over the seeds."""
    assert survive_kills(tmp_path / "s", KILLS, seed) >= FEWEST_DONE


def test_a_sample_of_kills(tmp_path):
    assert survive_kills(tmp_path / "s", KILLS // 8, seed=11) >= FEWEST_DONE // 10


def test_a_job_killed_in_the_middle_encodes_only_what_was_lost(tmp_path):
    path = tmp_path / "s"
    Space.create(path, two_encoders())
    run_until_killed(path, 0, 0.3)
    encoders = two_encoders()
    space = Space.open(path, encoder=encoders)
    known = stored(space)
    rows = [item(name, text, image=picture("red")) for name, text in known.items()]
    report = space.upsert(rows)
    assert report.encoded["text"] == 0
    assert len(encoders["text"].encoded) == 0
