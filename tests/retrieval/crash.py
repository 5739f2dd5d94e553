"""Kills a writer at random moments, and checks after each that the space is whole."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

from isthmus import Space
from tests.retrieval.crash_writer import operation
from tests.toy import two_encoders

ROOT = Path(__file__).resolve().parents[2]


def run_until_killed(path: Path, first: int, delay: float) -> int:
    """Run the writer, kill it, and give the first operation it did not finish.

    The delay is in seconds of its processor time, so that a busy machine kills it no earlier.
    """
    command = [sys.executable, "-m", "tests.retrieval.crash_writer", str(path), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        end, at_most = spent_by(process.pid) + delay, time.monotonic() + 1 + 20 * delay
        while spent_by(process.pid) < end and time.monotonic() < at_most:
            time.sleep(0.001)
        process.kill()
        done = [line for line in process.stdout.read().splitlines() if line]
    return int(done[-1]) + 1 if done else first


def spent_by(process: int) -> float:
    """Return the processor time of a process, in seconds (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def apply(model: dict, number: int) -> dict:
    kind, given = operation(number)
    if kind == "upsert":
        return {**model, **given}
    return {name: c for name, c in model.items() if kind != "delete" or name not in given}


def stored(space: Space) -> dict:
    rows = space.opened.catalog.snapshot()._dataset.to_table(["item_id", "text"]).to_pylist()
    return {row["item_id"]: row["text"] for row in rows}


SHORTEST_WINDOW = 0.35  # seconds within which a writer is killed


def survive_kills(path: Path, kills: int, seed: int) -> int:
    """Kill a writer many times and check the space after each; give the operations done."""
    Space.create(path, two_encoders())
    chance = random.Random(seed)
    model, number, window = {}, 0, SHORTEST_WINDOW
    for kill in range(kills):
        first, number = number, run_until_killed(path, number, chance.uniform(0.0, window))
        # On a slow machine the kills come later, so that operations end between them.
        window = max(SHORTEST_WINDOW, window * (1.3 if number == first else 0.9))
        for done in range(first, number):
            model = apply(model, done)
        space = Space.open(path, encoder=two_encoders())
        after = apply(model, number)  # the operation that was under way when it died
        found = stored(space)
        for name in set(model) | set(after) | set(found):
            allowed = [state[name][0] if name in state else None for state in (model, after)]
            assert found.get(name) in allowed, f"kill {kill}, operation {number}, item {name}"
        assert space.count() == len(found)
        for name in chance.sample(sorted(found), min(5, len(found))):
            assert space.search(found[name], k=1)[0].item_id == name
        # Half-done operations are taken up where they stopped, by doing them again.
        model = {name: c for name, c in model.items() if found.get(name) == c[0]} | {
            name: c for name, c in after.items() if found.get(name) == c[0]
        }
    space.publish()
    leftovers = [p for p in (path / "releases").iterdir() if p.is_dir() and not p.name.isdigit()]
    assert leftovers == []
    return number
