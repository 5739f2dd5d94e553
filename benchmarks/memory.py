"""Memory and speed of the batch job without a model, on a million distinct texts.

``python benchmarks/memory.py --rows 1000000``

The encoder is a stand-in: it returns a random unit vector seeded by the text's digest, with the
dimension of MiniLM; a named vector for images has the dimension of EfficientNet. So the figures
cover everything except a model: reading, validation, comparison, embedding cache and catalog.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from isthmus import Space
from isthmus.digests import digest
from isthmus.encoders.encoder import Encoder
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import Modality

CHUNK_ROWS = 50_000


class SeededEncoder(Encoder):
    """Stand-in encoder: a random unit vector for each text, seeded by its digest."""

    def __init__(self, modality: Modality, dim: int) -> None:
        self.spec, self.modalities, self.dim = f"seeded/{modality}", frozenset({modality}), dim

    @property
    def components(self) -> Mapping[str, str]:
        """Return the kind and the dimension."""
        return {"kind": "seeded", "dim": str(self.dim)}

    def embed(self, prepared: Sequence[Any], modality: Modality) -> FloatArray:
        """Return the random vectors."""
        del modality
        seeds = [int.from_bytes(digest(text)[:8], "little") for text in prepared]
        drawn = [np.random.Generator(np.random.SFC64(s)).standard_normal(self.dim) for s in seeds]
        vectors = np.asarray(drawn, np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def write_rows(path: Path, rows: int) -> None:
    """Write a Parquet file of distinct texts with a few attributes."""
    writer = None
    for start in range(0, rows, CHUNK_ROWS):
        numbers = range(start, min(start + CHUNK_ROWS, rows))
        table = pa.table(
            {
                "item_id": [f"item-{n}" for n in numbers],
                "title": [f"sturdy blue storage box with lid, edition number {n}" for n in numbers],
                "price": [float(n % 1000) for n in numbers],
                "brand": [f"brand {n % 97}" for n in numbers],
            }
        )
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer:
        writer.close()


def peak_mib() -> float:
    """Return the peak resident memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(name: str, work: Any) -> None:
    """Run a step; print its seconds, the peak memory so far, and its result."""
    start = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - start
    print(f"{name:28} {seconds:8.1f} s   peak {peak_mib():7,.0f} MiB   {result}", flush=True)


def main() -> None:
    """Add, add again, publish, search."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    folder = Path(tempfile.mkdtemp())
    file = folder / "items.parquet"
    write_rows(file, rows)
    encoders: dict[Modality, Encoder] = {
        "text": SeededEncoder("text", 384),
        "image": SeededEncoder("image", 1280),
    }
    space = Space.create(folder / "s.space", encoders)
    print(f"{rows:,} rows; before: peak {peak_mib():,.0f} MiB")
    options = {"domain": "products", "text": "title"}
    timed("add", lambda: space.upsert(file, **options).as_dict())
    timed("add again", lambda: space.upsert(file, **options).as_dict())
    timed("publish", lambda: space.publish().named_vectors["text"])
    vector = encoders["text"].encode(["x"], "text")[0]
    timed("first search", lambda: len(space.search(vector=vector)))
    timed("1,000 searches", lambda: sum(len(space.search(vector=vector)) for _ in range(1000)))
    one = [{"item_id": "item-5", "domain": "products", "text": "changed", "price": 1.0}]
    timed("upsert of one item", lambda: space.upsert(one).changed)
    timed("search after it", lambda: len(space.search(vector=vector)))
    timed("filtered search", lambda: len(space.search(vector=vector, where="price < 10")))
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
