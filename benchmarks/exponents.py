"""How the cost of each verb grows with columns, rows, versions and domains: exponents.

``OMP_NUM_THREADS=1 python benchmarks/exponents.py``

Each verb runs on spaces of four sizes along one of the four, with a toy encoder. The figures are
processor seconds of all threads, the least of some tries. An exponent e means that the cost grows
as size ** e; it is that of the two largest sizes, since a small one is mostly what a verb costs
anyway. Nothing may grow faster than its input: with ``--check``, an exponent over 1.2 of more than
50 ms ends with exit status 1. The lines "Lance alone" are the calls that `get` and an upsert make
of the table engine, on a table of the same rows that Isthmus has nothing to do with: what grows as
much there is the engine's.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
from common.tables import exponent, print_heading, print_table, write_json

from isthmus import Space
from isthmus.encoders import Encoder

DIM, TRIES = 32, 3
MAX_EXPONENT, MIN_SECONDS = 1.2, 0.05
OUT = Path(tempfile.gettempdir()) / "exponents.json"


class HashEncoder(Encoder):
    """Vectors drawn by the digest of a text: no model, little time."""

    spec = "hash/"
    modalities = frozenset({"text"})
    dim = DIM

    @property
    def components(self) -> Mapping[str, str]:
        """Everything that changes a vector."""
        return {"kind": "hash"}

    def embed(self, prepared: Sequence[Any], modality: str) -> Any:
        """Return a random unit vector of each text."""
        del modality
        seeds = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in prepared)
        drawn = [np.random.default_rng(int.from_bytes(s)).standard_normal(DIM) for s in seeds]
        vectors = np.asarray(drawn, np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@dataclass(frozen=True)
class Size:
    """What a space is made of."""

    rows: int = 1_000
    columns: int = 4
    versions: int = 1
    domains: int = 2


AXES: dict[str, list[Size]] = {
    "columns": [Size(rows=50, columns=n) for n in (250, 500, 1_000, 2_000)],
    "rows": [Size(rows=n) for n in (4_000, 8_000, 16_000, 32_000)],
    "versions": [Size(rows=200, versions=n) for n in (25, 50, 100, 200)],
    "domains": [Size(rows=2_000, domains=n) for n in (50, 100, 200, 400)],
}


def items(size: Size, start: int, stop: int, mark: str = "") -> list[dict[str, Any]]:
    """Return items of a space; a mark makes their texts other ones."""
    columns = {f"c{n}": n for n in range(size.columns)}
    return [
        {
            "item_id": f"i{n}",
            "domain": f"d{n % size.domains}",
            "text": f"text {n} {mark}",
            "price": float(n % 100),
            **columns,
        }
        for n in range(start, stop)
    ]


def verbs(space: Space, size: Size) -> Iterator[tuple[str, Callable[[int], object], int]]:
    """Yield verbs by name: a function of the number of the try, and how many tries."""
    yield "publish", lambda _: space.publish(), 1
    yield "open, first search", lambda _: _opened(space).search("text 1"), TRIES
    yield "search", lambda n: space.search(f"text {n}"), TRIES
    yield "search, filtered", lambda n: space.search(f"text {n}", where=f"price < {50 + n}"), TRIES
    yield "get", lambda n: space.get(f"i{n}"), TRIES
    yield "upsert, 1 text changed", lambda n: space.upsert(items(size, 0, 1, f"v{n}")), TRIES
    yield "upsert, nothing changed", lambda _: space.upsert(items(size, 1, 40)), TRIES
    yield "search after upsert", lambda n: space.search(f"text {n}"), 1
    yield "count", lambda n: space.count(where=f"price < {n}"), TRIES
    yield "status", lambda _: space.status(), TRIES
    yield "delete 1", lambda n: space.delete([f"i{n + 1}"]), TRIES
    yield "compact", lambda _: space.compact(keep_days=0), 1


def lance_alone(folder: Path, size: Size) -> Iterator[tuple[str, Callable[[int], object], int]]:
    """Yield calls of the table engine on a table of the rows of a space, without Isthmus."""
    table = pa.Table.from_pylist(items(size, 0, size.rows))
    lance.write_dataset(table, folder)

    def scan(n: int) -> pa.Table:
        return lance.dataset(folder).to_table(filter=f"item_id = 'i{n}'")

    def merge(n: int) -> object:
        row = pa.Table.from_pylist(items(size, 0, 1, f"v{n}"), schema=table.schema)
        return lance.dataset(folder).merge_insert("item_id").when_matched_update_all().execute(row)

    yield "Lance alone, 1 row by id", scan, TRIES
    yield "Lance alone, merge of 1 row", merge, TRIES


def _opened(space: Space) -> Space:
    return Space.open(space.path, encoder=HashEncoder())


def measure(size: Size) -> dict[str, float]:
    """Return the processor seconds of each verb on a space of a size."""
    with tempfile.TemporaryDirectory() as folder:
        space = Space.create(Path(folder) / "space", HashEncoder())
        rows = items(size, 0, size.rows)
        seconds = {"fill": processor_seconds(lambda: space.upsert(rows))}
        for version in range(size.versions - 1):
            space.upsert(items(size, 0, 1, f"version {version}"))
        for name, verb, tries in chain(
            verbs(space, size), lance_alone(Path(folder) / "alone", size)
        ):
            seconds[name] = min(
                processor_seconds(lambda n=n, verb=verb: verb(n)) for n in range(tries)
            )
        return seconds


def processor_seconds(work: Callable[[], object]) -> float:
    """Return the processor seconds that work takes in all threads of this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def print_axis(axis: str, measured: list[tuple[Size, dict[str, float]]]) -> list[str]:
    """Print the verbs along an axis; return those that grow too fast."""
    sizes = [getattr(size, axis) for size, _ in measured]
    too_fast, rows = [], []
    for verb in measured[0][1]:
        seconds = [values[verb] for _, values in measured]
        slope = exponent(sizes[-2:], seconds[-2:])
        if slope > MAX_EXPONENT and seconds[-1] > MIN_SECONDS:
            too_fast.append(f"{verb} grows with {axis} ** {slope:.2f}")
        rows.append((verb, *(f"{s * 1e3:,.1f}" for s in seconds), f"{slope:+.2f}"))
    print()
    print_table((f"ms, by {axis}", *(f"{n:,}" for n in sizes), "exponent"), rows)
    return too_fast


def main() -> None:
    """Measure every axis."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--axes", nargs="+", choices=list(AXES), default=list(AXES))
    parser.add_argument("--check", action="store_true", help="fail where a cost grows too fast")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    print_heading(f"Growth of costs; processor time, least of {TRIES}", ("numpy", "pylance"))
    too_fast, results = [], {}
    measure(Size(rows=50))  # imports and threads
    for axis in arguments.axes:
        measured = [(size, measure(size)) for size in AXES[axis]]
        too_fast += print_axis(axis, measured)
        results[axis] = [{**vars(size), "seconds": values} for size, values in measured]
    write_json(arguments.out, results)
    print("\n".join(too_fast) or "nothing grows faster than its input")
    if arguments.check and too_fast:
        sys.exit(1)


if __name__ == "__main__":
    main()
