"""Random flips and cuts of every kind of file: the right answer or a named error, nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.damage.flips import DIED, FALSE, HARMLESS, HUNG, RAW, REPORTED, judge

ROOT = Path(__file__).resolve().parents[2]


def flips(count: int, seed: int, *arguments: str) -> dict[str, int]:
    """Run the harness in a process of its own, which never used Lance before it forks."""
    command = [sys.executable, "-m", "tests.damage.flips", "--flips", str(count)]
    done = subprocess.run(
        [*command, "--seed", str(seed), *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_sample_of_flips(board):
    verdicts = flips(25, 1, "--source", str(board.path))
    assert set(verdicts) == {REPORTED, HARMLESS}
    assert verdicts[REPORTED] >= 6


@pytest.mark.heavy
@pytest.mark.parametrize("seed", range(4))
def test_a_thousand_flips(seed):
    verdicts = flips(250, seed)
    assert set(verdicts) == {REPORTED, HARMLESS}
    assert verdicts[REPORTED] >= 70


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        (("ok", {"get": ("ok", 1), "count": ("ok", 2)}), HARMLESS),
        (("ok", {"get": (REPORTED, "CorruptTable: ..."), "count": ("ok", 2)}), REPORTED),
        (("ok", {"get": ("ok", 3), "count": (REPORTED, "CorruptTable: ...")}), FALSE),
        (("ok", {"get": (RAW, "ValueError: ..."), "count": ("ok", 2)}), RAW),
        ((HUNG, "still running"), HUNG),
        ((DIED, "wait status 11"), DIED),
    ],
)
def test_the_harness_tells_a_false_answer_from_a_true_one(outcome, verdict):
    sound = {"get": ("ok", 1), "count": ("ok", 2)}
    assert judge(outcome, sound)[0] == verdict
