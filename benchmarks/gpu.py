"""Throughput of one GPU: encoding, exact search and IVF, relative to its copy bandwidth.

``python benchmarks/gpu.py --rows 1000000``

Prints texts encoded per second, exact queries per second (and the bytes of vectors read per
second, relative to the copy bandwidth of the GPU's memory), and for each recipe that has a GPU form
its recall and its queries per second on the GPU and on the CPU. Vectors are random in clusters
(seed 0, dimension 384), texts are synthetic; a run takes less than eight minutes on one GPU.
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
COPY_BYTES = 2**31


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Return the median seconds of repeated calls, after one warm-up call."""
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
    """Return the bytes per second that the GPU reads and writes in a copy."""
    source = torch.empty(COPY_BYTES // 4, dtype=torch.float32, device="cuda")
    target = torch.empty_like(source)
    return 2 * COPY_BYTES / seconds(lambda: target.copy_(source), 10)


def report(name: str, rate: float, unit: str, details: str = "") -> None:
    """Print one figure."""
    print(f"{name:44} {rate:14,.0f} {unit:10} {details}", flush=True)


def main() -> None:
    """Measure encoding, exact search and every recipe with a GPU form."""
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
        elapsed = seconds(lambda: exact_search(queries, vectors, 10))
        report("exact fp32, vectors sent each time", QUERIES / elapsed, "queries/s")
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
    """Measure a recipe on the GPU and on the CPU."""
    recipe = next(r for r in RECIPES if r.name == name)
    index = recipe.build(vectors)
    index = index.with_parameters(recipe.family.search_parameters(index.max_width // 32))
    placed = GpuIndex(index, choose_devices("cuda"))
    scores, _ = placed.search(queries, 10)
    recall = float((scores >= best[:, -1:] - 1e-4).mean())
    gpu_seconds, cpu_seconds = (
        seconds(lambda: placed.search(queries, 10)),
        seconds(lambda: index.search(queries[:200], 10), 1),
    )
    single_seconds = seconds(lambda: placed.search(queries[:1], 10), 20)
    details = (
        f"recall@10 {recall:.3f}; one query {single_seconds * 1e3:.2f} ms; "
        f"CPU {200 / cpu_seconds:,.0f}/s"
    )
    if name in (EXACT, "exact fp16"):
        read = vectors.size * 2 / single_seconds  # half precision on the card
        details += (
            f"; reads {read / 1e9:,.0f} GB/s, {read / (bandwidth / 2):.0%} of the copy's reads"
        )
    report(name, len(queries) / gpu_seconds, "queries/s", details)


if __name__ == "__main__":
    main()
