"""Times of a data feed: prices of all items, upserts of known items, and when queries see them.

``python benchmarks/updates.py --items 100000 --published``

Vectors are made up, since nothing is encoded here: an update of prices touches no content.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from common.standin import RowEncoder

from isthmus import Space
from isthmus.numerics.arrays import FloatArray

DIM = 384
KNOWN = 1_000


def make_vectors(rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> FloatArray:
    """Return a unit vector for each row number."""
    vectors = np.random.default_rng(int(rows[0])).standard_normal((len(rows), DIM), np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def items_of(rows: int, rng: np.random.Generator) -> pa.Table:
    """Return items with five attributes, whose text is their row number."""
    numbers = np.arange(rows)
    return pa.table(
        {
            "item_id": [f"item-{n}" for n in numbers],
            "domain": ["items"] * rows,
            "text": [str(n) for n in numbers],
            "title": [f"title of item {n}" for n in numbers],
            "price": np.round(rng.uniform(1, 500, rows), 2),
            "stock": rng.integers(0, 50, rows),
            "year": rng.integers(1950, 2026, rows),
        }
    )


def measure(folder: Path, rows: int, *, published: bool, profile: bool) -> None:
    """Print the time of each step."""
    rng = np.random.default_rng(0)
    encoder = RowEncoder(DIM, make_vectors)
    space = Space.create(folder / "space", encoder)
    items = items_of(rows, rng)
    timed("first upsert", lambda: space.upsert(items))
    if published:
        timed("publish", space.publish)
    reader = Space.open(folder / "space", encoder=encoder)
    reader.count(where="price > 1000")
    for turn in (1, 2):
        prices = pa.table(
            {
                "item_id": items.column("item_id").take(pa.array(rng.permutation(rows))),
                "price": rng.uniform(1000, 2000, rows).round(2) * turn,
            }
        )
        pa_csv.write_csv(prices, folder / "prices.csv")
        profiler = cProfile.Profile()
        if profile:
            profiler.enable()
        timed(f"update of {rows:,} prices from a CSV", lambda: space.update(folder / "prices.csv"))
        profiler.disable()
        if profile:
            pstats.Stats(profiler).sort_stats("cumulative").print_stats(35)
        timed("first filtered count of a reader", lambda: reader.count(where="price > 1000"))
        timed("first filtered search of a reader", lambda: reader.search("5", where="price > 1500"))
    known = items.slice(rows // 3, KNOWN)
    known = known.set_column(4, "price", pa.array(rng.uniform(1, 500, KNOWN)))
    timed(f"upsert of {KNOWN:,} known items, price changed", lambda: space.upsert(known))
    timed(f"upsert of {KNOWN:,} known items, unchanged", lambda: space.upsert(known))
    timed("first filtered count of a reader", lambda: reader.count(where="price > 1000"))


def timed(what: str, call: Callable[[], object]) -> None:
    """Print how long a call takes, and how much of that on the processors."""
    start, used = time.perf_counter(), time.process_time()
    call()
    elapsed, used = time.perf_counter() - start, time.process_time() - used
    print(f"{what}: {elapsed:.2f} s, {used:.2f} s of processor time", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--published", action="store_true")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name), options.items, published=options.published, profile=options.profile)
