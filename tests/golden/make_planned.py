"""Make the golden space whose release holds a planned index.

``python -m tests.golden.make_planned tests/golden/planned.space``

It is made once for each form of the index's files and manifest, and never again.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import isthmus.index.releases.planner
from isthmus import Space
from isthmus.index.ann.recipes import recipe_named
from tests.toy import item, text_encoder

ITEMS = 1_100
RECIPE = "IVF PQ4 fast-scan + SQ8"


def text_of(number: int) -> str:
    """Give an item's text; neighbours share a word."""
    return f"a{number // 30} b{number % 37} c{number % 5}"


def make(path: Path) -> None:
    """Make a space with a refined inverted file, a delta and a deletion."""
    space = Space.create(path, {"text": text_encoder(dim=16)})
    space.upsert([item(f"i{n}", text_of(n), "ab"[n % 2], n=n) for n in range(ITEMS)])
    isthmus.index.releases.planner.suitable = lambda dim, on_gpu: iter([recipe_named(RECIPE)])
    space.publish(latency_ms=1_000)
    space.upsert([item("new", "quite new", "a", n=-1)])
    space.delete("i7")
    for rest in (path / "media", path / "ledger"):
        shutil.rmtree(rest, ignore_errors=True)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
