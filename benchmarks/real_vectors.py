"""MiniLM vectors of real item titles, in any number, cached on disk between runs.

``python benchmarks/real_vectors.py --rows 1000000 --out vectors``

The first 60,125 texts are the titles of the data sets under ISTHMUS_DATA. Further ones are
variations: the first words of one title and the last words of another of the same domain, so
every text is distinct and reads like a title. The order is random with a fixed seed beyond the
real titles. An interrupted run resumes. With ``--encoded N`` only N texts are encoded; further
vectors repeat them with noise, each at a cosine of about 0.8 with the original, so that the
neighbourhoods stay like those of texts. ``--encoder`` names another encoder of the same model, such
as ``local/text?backend=openvino-bf16``.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from isthmus import load_encoder

DATA = Path(os.environ.get("ISTHMUS_DATA", "../shared/data"))
DIM = 384
CHUNK_ROWS = 8_192
NOISE = 0.75  # of the length of a vector: a cosine of 1 / sqrt(1 + 0.75 ** 2) = 0.8
FOLDERS = ("amazon_arts_office", "movielens_posters", "fashion_products")


def titles() -> list[tuple[str, str]]:
    """Return (domain, title) of every real item."""
    frames = [pd.read_parquet(DATA / name / "items.parquet") for name in FOLDERS]
    rows = pd.concat([frame[["domain", "title"]] for frame in frames])
    return [(str(d), str(t)) for d, t in rows.itertuples(index=False)]


def texts() -> Iterator[str]:
    """Yield the real titles, then an endless series of variations of them."""
    real = titles()
    yield from (title for _, title in real)
    by_domain: dict[str, list[list[str]]] = {}
    for domain, title in real:
        by_domain.setdefault(domain, []).append(title.split())
    pools = list(by_domain.values())
    shares = np.array([len(pool) for pool in pools]) / len(real)
    rng = np.random.default_rng(0)
    seen: set[str] = set()
    while True:
        pool = pools[int(rng.choice(len(pools), p=shares))]
        first, last = (pool[int(i)] for i in rng.integers(len(pool), size=2))
        lengths = int(rng.integers(2, 7)), int(rng.integers(2, 7))
        text = " ".join([*first[: lengths[0]], *last[-lengths[1] :]])
        if text not in seen:
            seen.add(text)
            yield text


def real_vectors(
    rows: int, folder: Path, encoded: int | None = None, encoder: str = "local/text"
) -> npt.NDArray[np.float32]:
    """Return float32 unit vectors, shape (rows, 384), and add missing ones to the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "minilm.f32"
    path.touch()
    done = path.stat().st_size // (4 * DIM)
    if done < min(rows, encoded or rows):
        _encode(path, done, min(rows, encoded or rows), encoder)
    if encoded is not None and encoded < rows:
        _repeat(path, encoded, max(done, encoded), rows)
    return np.memmap(path, np.float32, "r").reshape(-1, DIM)[:rows]


def _encode(path: Path, done: int, rows: int, spec: str) -> None:
    encoder = load_encoder(spec)
    start, first = time.perf_counter(), done
    remaining = islice(texts(), done, rows)
    with path.open("r+b") as file:
        while batch := list(islice(remaining, CHUNK_ROWS)):
            file.seek(done * 4 * DIM)
            encoder.encode(batch, "text").astype("<f4").tofile(file)
            file.flush()
            done += len(batch)
            rate = (done - first) / (time.perf_counter() - start)
            print(f"{done:,} of {rows:,} texts encoded, {rate:,.0f}/s", flush=True)


def _repeat(path: Path, encoded: int, done: int, rows: int) -> None:
    """Append noisy copies of the encoded vectors; the noise of a chunk is seeded by its start."""
    first = np.memmap(path, np.float32, "r").reshape(-1, DIM)
    with path.open("r+b") as file:
        for start in range(done, rows, CHUNK_ROWS):
            places = np.arange(start, min(start + CHUNK_ROWS, rows)) % encoded
            noise = np.random.default_rng(start).standard_normal((len(places), DIM))
            moved = first[places] + NOISE * noise / np.sqrt(DIM)
            moved /= np.linalg.norm(moved, axis=1, keepdims=True)
            file.seek(start * 4 * DIM)
            moved.astype("<f4").tofile(file)


def main() -> None:
    """Encode the texts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--encoded", type=int, help="texts to encode; the rest is repeated")
    parser.add_argument("--encoder", default="local/text", help="a spec of the same model")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    print(real_vectors(options.rows, options.out, options.encoded, options.encoder).shape)


if __name__ == "__main__":
    main()
