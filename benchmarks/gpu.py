"""What one card does: encoding, exact search and an inverted file, against its copy bandwidth.

``python benchmarks/gpu.py --rows 1000000``

Prints texts encoded a second, exact queries a second (and the bytes of vectors that it reads a
second, beside what the card's memory copies), queries a second of each recipe that has a GPU
form beside the same on the CPU, and the recall of each. Vectors are random in clusters (seed 0,
384 long), texts are made up; everything ends in under eight minutes on one card.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import faiss
import numpy as np
import numpy.typing as npt
import torch

from isthmus import load_encoder
from isthmus.index.ann.exact import exact_search
from isthmus.index.ann.gpu import GpuIndex, choose_devices, exact_on
from isthmus.index.ann.recipes import EXACT, RECIPES

DIM = 384
TEXTS = 20_000
QUERIES = 10_000
COPIED = 2**31


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Return the median seconds of some tries, after one to warm up."""
    work()
    times = []
    for _ in range(repeats):
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def clustered(rows: int, seed: int) -> npt.NDArray[np.float32]:
    """Draw unit vectors in clusters, shape (rows, 384)."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((1_000, DIM), np.float32)
    vectors = centres[rng.integers(1_000, size=rows)]
    vectors += 0.8 * rng.standard_normal((rows, DIM), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def copy_bandwidth() -> float:
    """Measure how many bytes a second the card reads and writes in a copy."""
    source = torch.empty(COPIED // 4, dtype=torch.float32, device="cuda")
    target = torch.empty_like(source)
    return 2 * COPIED / seconds(lambda: target.copy_(source), 10)


def report(name: str, rate: float, unit: str, more: str = "") -> None:
    """Print one figure."""
    print(f"{name:44} {rate:14,.0f} {unit:10} {more}", flush=True)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    devices = choose_devices("cuda")
    print(f"{torch.cuda.get_device_name()}, faiss {faiss.__version__}, seed 0, {rows:,} vectors")
    bandwidth = copy_bandwidth()
    report("copy bandwidth", bandwidth / 1e9, "GB/s")
    texts = [f"sturdy {n % 977} blue storage box with lid, edition {n}" for n in range(TEXTS)]
    encoder = load_encoder("local/text", device="cuda")
    report("texts encoded", TEXTS / seconds(lambda: encoder.encode(texts, "text"), 1), "texts/s")
    vectors, queries = clustered(rows, 1), clustered(QUERIES, 2)
    with exact_on(devices):
        took = seconds(lambda: exact_search(queries, vectors, 10))
        report("exact fp32, vectors sent each time", QUERIES / took, "queries/s")
        best, _ = exact_search(queries, vectors, 10)
    for recipe in RECIPES:
        if recipe.has_gpu_form:
            measure(recipe.name, vectors, queries, best, bandwidth)


def measure(
    name: str,
    vectors: npt.NDArray[np.float32],
    queries: npt.NDArray[np.float32],
    best: npt.NDArray[np.float32],
    bandwidth: float,
) -> None:
    """Measure a recipe on the card and on the CPU."""
    recipe = next(r for r in RECIPES if r.name == name)
    index = recipe.build(vectors)
    index = index.with_parameters(recipe.family.search_parameters(index.max_width // 32))
    placed = GpuIndex(index, choose_devices("cuda"))
    scores, _ = placed.search(queries, 10)
    recall = float((scores >= best[:, -1:] - 1e-4).mean())
    took, here = (
        seconds(lambda: placed.search(queries, 10)),
        seconds(lambda: index.search(queries[:200], 10), 1),
    )
    one = seconds(lambda: placed.search(queries[:1], 10), 20)
    more = f"recall@10 {recall:.3f}; one query {one * 1e3:.2f} ms; CPU {200 / here:,.0f}/s"
    if name in (EXACT, "exact fp16"):
        read = vectors.size * 2 / one  # half precision on the card
        more += f"; reads {read / 1e9:,.0f} GB/s, {read / (bandwidth / 2):.0%} of the copy's reads"
    report(name, len(queries) / took, "queries/s", more)


if __name__ == "__main__":
    main()
