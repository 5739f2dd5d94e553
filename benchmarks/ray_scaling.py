"""Scaling of encoding on Ray: a simulated encoder of a fixed second a batch, up to 32 actors.

``python benchmarks/ray_scaling.py --actors 1 8 32 --minutes 2`` (extra ``ray``)

The encoder sleeps, so that the actors of a cluster fit on one machine: what is measured is how well
Ray Data, the driver and the embedding cache keep them busy, not how fast a model is. Each actor
notes when its batches begin and end. *Start-up* is the time until the last actor has begun;
*efficiency* is the share of the time of all actors, from then until the first batch finds no
successor, that they are busy; *whole job* is that share from the call of ``upsert`` to its end.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from common.tables import print_heading, print_table, write_json

from isthmus import Space
from isthmus.digests import digest
from isthmus.encoders.encoder import Encoder
from isthmus.numerics.arrays import FloatArray
from isthmus.operations import ray_encoding
from isthmus.schema import Modality

DIM = 16  # bytes of a digest
TEXTS = 16  # of a batch: few, so that the driver writes few items for each second of an actor


class SleepingEncoder(Encoder):
    """Takes a fixed time for a batch; a vector is the digest of its text."""

    def __init__(self, log: Path, seconds: float) -> None:
        self.spec, self.modalities, self.dim = "simulated/sleep", frozenset({"text"}), DIM
        self.log, self.seconds = log, seconds

    @property
    def components(self) -> Mapping[str, str]:
        """What it is."""
        return {"kind": "simulated", "dim": str(DIM)}

    def embed(self, prepared: Sequence[Any], modality: Modality) -> FloatArray:
        """Sleep, note when, and return the vectors."""
        del modality
        began = time.time()
        time.sleep(self.seconds)
        with (self.log / str(os.getpid())).open("a") as log:
            log.write(f"{began} {time.time()}\n")
        codes = [np.frombuffer(digest(text), np.uint8) for text in prepared]
        vectors = np.stack(codes).astype(np.float32) - 127.5
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def measure(actors: int, minutes: float, seconds: float, work: Path) -> dict[str, float]:
    """Encode for some minutes with some actors, and return what became of their time."""
    import ray

    folder = Path(tempfile.mkdtemp(dir=work))
    (log := folder / "log").mkdir()
    batches = round(actors * minutes * 60 / seconds)
    names = [f"item {at}" for at in range(batches * TEXTS)]
    items = pa.table({"item_id": names, "domain": ["x"] * len(names), "text": names})
    space = Space.create(folder / "s", SleepingEncoder(log, seconds))
    ray.init(num_cpus=actors + 1, include_dashboard=False, log_to_driver=False)
    called = time.time()
    try:
        report = space.upsert(items, engine="ray", workers=actors)
    finally:
        ray.shutdown()
    ended = time.time()
    if report.encoded["text"] != len(names):
        raise SystemExit(f"{report.encoded['text']:,} of {len(names):,} texts were encoded")
    spans = [
        np.array([line.split() for line in file.read_text().splitlines()], float)
        for file in log.iterdir()
    ]
    shutil.rmtree(folder)
    begun = max(span[0, 0] for span in spans)
    drained = min(span[-1, 1] for span in spans)  # the first actor that finds no further batch
    busy = sum(np.clip(np.minimum(s[:, 1], drained) - np.maximum(s[:, 0], begun), 0, None).sum()
               for s in spans)  # fmt: skip
    last = max(span[-1, 1] for span in spans)
    return {
        "actors": len(spans),
        "batches": batches,
        "startup_s": begun - called,
        "efficiency": busy / (len(spans) * (drained - begun)),
        "tail_s": last - drained,
        "writing_s": ended - last,
        "whole_job": batches * seconds / (actors * (ended - called)),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--actors", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a batch")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--out", type=Path, default=Path("ray_scaling.json"))
    options = parser.parse_args()
    ray_encoding.TEXTS_PER_BATCH = TEXTS
    print_heading("scaling on Ray", ["ray", "pyarrow"])
    results = []
    for actors in options.actors:
        results.append(measure(actors, options.minutes, options.seconds, options.work))
        print(results[-1], flush=True)
        write_json(options.out, results)
    rows = [
        [f"{one['actors']:.0f}", f"{one['batches']:.0f}", f"{one['startup_s']:.0f}",
         f"{one['efficiency']:.3f}", f"{one['tail_s']:.1f}", f"{one['writing_s']:.0f}",
         f"{one['whole_job']:.3f}"]
        for one in results
    ]  # fmt: skip
    heads = ["actors", "batches", "start-up s", "efficiency", "tail s", "writing s", "whole job"]
    print_table(heads, rows)


if __name__ == "__main__":
    main()
