"""Loss by 8-bit quantisation of different layers, simulated in PyTorch on any CPU.

``OMP_NUM_THREADS=1 python benchmarks/rounding.py`` (some minutes on one core)

Weights are rounded with a scale and an offset per row, inputs with a scale per 64 values of a
token, as OpenVINO does on a CPU with 8-bit dot products. Texts are those of
``benchmarks/encode.py --backends``; recall is of the ten nearest neighbours of unrounded vectors.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from encode import mixed_texts

from isthmus.encoders import load_encoder
from isthmus.encoders.backends.openvino import GROUP, layers_for_int8, round_weight, rounded
from isthmus.encoders.backends.samples import TEXTS
from isthmus.encoders.backends.towers import to_tensors
from isthmus.encoders.training.retrieval_quality import nearest_neighbors, neighbor_recall


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=400)
    arguments = parser.parse_args()
    encoder: Any = load_encoder("local/text?backend=torch", device="cpu")
    texts, tower = mixed_texts(arguments.rows), encoder.towers["text"]
    layers = {n: m for n, m in encoder.model.named_modules() if isinstance(m, torch.nn.Linear)}
    batch = to_tensors(tower.collate(tower.prepare(TEXTS)))
    selected = layers_for_int8(encoder.model, tower.forward, batch, GROUP)
    variants: dict[str, Sequence[str]] = {
        "all layers": list(layers),
        "all but value projections": [n for n in layers if not n.endswith("value")],
        "all but first and last block": [n for n in layers if ".0." not in n and ".5." not in n],
        "by measured harm (openvino-mixed)": selected,
    }
    expected = encoder.encode(texts)
    n_weights = sum(layer.weight.numel() for layer in layers.values())
    print(
        f"{len(texts)} texts\n{'in 8 bits':<36}{'of products':>12}{'1 - cosine':>12}{'recall':>9}"
    )
    for name, names in variants.items():
        with ExitStack() as stack:
            for layer in names:
                stack.enter_context(rounded(layers[layer], GROUP))
            vectors = encoder.encode(texts)
        share = sum(layers[layer].weight.numel() for layer in names) / n_weights
        show(name, share, expected, vectors)
    tables = [m for m in encoder.model.modules() if isinstance(m, torch.nn.Embedding)]
    weights = [table.weight.data for table in tables]
    for table in tables:
        table.weight.data = round_weight(table.weight.data)
    show("embeddings alone", 0.0, expected, encoder.encode(texts))
    for table, weight in zip(tables, weights, strict=True):
        table.weight.data = weight


def show(name: str, share: float, expected: np.ndarray, vectors: np.ndarray) -> None:
    """Print a row: the share of products in 8 bits, 1 - cosine, and recall."""
    distance = float(1 - (vectors * expected).sum(1).mean())
    recall = neighbor_recall(nearest_neighbors(expected), nearest_neighbors(vectors))
    print(f"{name:<36}{share:>12.2f}{distance:>12.1e}{recall:>9.4f}", flush=True)


if __name__ == "__main__":
    main()
