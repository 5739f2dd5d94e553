"""What shorter vectors would find, and cost: the first values alone, against all of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict

from isthmus.encoders.truncation import truncate
from isthmus.errors import InvalidInput
from isthmus.index.ann.exact import exact_search
from isthmus.numerics.arrays import FloatArray, Positions

RECALL_AT: Final = 10
MAX_QUERIES: Final = 500
TIMED_QUERIES: Final = 20
BYTES_PER_VALUE: Final = 4


class ShorterVectors(BaseModel):
    """The first values of the vectors of one name, measured on a sample.

    Attributes
    ----------
    vector_name : str
        The named vector.
    dim, full_dim : int
        Values that are kept, and that there are.
    sampled : int
        Vectors in the sample; some of them are the queries.
    recall : float
        Share of the ten nearest by all values that are among the ten nearest by the first ones.
    bytes_per_vector : int
        Size of a vector in float32.
    p50_ms : float
        Median latency of an exact search of the sample, in milliseconds.
    """

    model_config = ConfigDict(extra="forbid")
    vector_name: str
    dim: int
    full_dim: int
    sampled: int
    recall: float
    bytes_per_vector: int
    p50_ms: float


def measure_shorter(name: str, vectors: FloatArray, dims: Sequence[int]) -> list[ShorterVectors]:
    """Measure the first values of vectors, for each number of them and for all.

    Parameters
    ----------
    name : str
        Name of the vectors.
    vectors : numpy.ndarray
        float32, shape (n, dim), unit rows; more than ten.
    dims : sequence of int
        Numbers of values; those beyond `dim` are passed over.

    Raises
    ------
    InvalidInput
        If there are too few vectors, or a number of values is not positive.
    """
    if min(dims) < 1:
        raise InvalidInput(f"dims is {min(dims)}; give numbers of values, 1 or more")
    n, full = vectors.shape
    if n <= RECALL_AT + 1:
        raise InvalidInput(f"{name} has {n} vectors; more than {RECALL_AT + 1} are needed")
    queries = np.random.default_rng(0).permutation(n)[:MAX_QUERIES]
    expected = _nearest(vectors, queries)
    return [
        ShorterVectors(
            vector_name=name,
            dim=dim,
            full_dim=full,
            sampled=n,
            recall=_overlap(_nearest(shorter, queries), expected),
            bytes_per_vector=dim * BYTES_PER_VALUE,
            p50_ms=_latency(shorter, queries),
        )
        for dim in sorted({*(dim for dim in dims if dim < full), full})
        for shorter in (truncate(vectors, dim),)
    ]


def _nearest(vectors: FloatArray, queries: Positions) -> Positions:
    """Return the ten nearest other rows of each query, shape (n_queries, 10)."""
    _, found = exact_search(vectors[queries], vectors, RECALL_AT + 1)
    pairs = zip(found.tolist(), queries.tolist(), strict=True)
    return np.array([[row for row in rows if row != query][:RECALL_AT] for rows, query in pairs])


def _overlap(found: Positions, expected: Positions) -> float:
    hits = [len({*a} & {*b}) for a, b in zip(found.tolist(), expected.tolist(), strict=True)]
    return float(np.mean(hits)) / RECALL_AT


def _latency(vectors: FloatArray, queries: Positions) -> float:
    seconds = []
    for query in queries[:TIMED_QUERIES]:
        started = time.perf_counter()
        exact_search(vectors[query : query + 1], vectors, RECALL_AT)
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds)) * 1e3
