"""Multi-vectors: a vector for each token of a text or patch of a picture, in 8 bits a value.

Two of them are compared by late interaction (MaxSim; Khattab & Zaharia, ColBERT, SIGIR 2020): each
vector of the query takes its largest inner product with a vector of the document, and these add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from isthmus.numerics.arrays import FloatArray

LARGEST_CODE: Final = 127
SCALE: Final = "scale"
CODES: Final = "codes"


def record_type(dim: int) -> np.dtype[Any]:
    """Return the type of a compressed vector: a scale, and a code of one byte for each value."""
    return np.dtype([(SCALE, "<f4"), (CODES, "i1", (dim,))])


def compress(vectors: FloatArray) -> np.ndarray[Any, Any]:
    """Compress vectors to 8 bits a value, each by its largest value.

    Parameters
    ----------
    vectors : numpy.ndarray
        float32, shape (n, dim).

    Returns
    -------
    numpy.ndarray
        Of `record_type`, shape (n,). A value is off by at most 1/254 of the largest of its vector.
    """
    largest = np.abs(vectors).max(axis=1, initial=0)  # (n,)
    records = np.zeros(len(vectors), record_type(vectors.shape[1]))
    records[SCALE] = largest / LARGEST_CODE
    scales = np.where(largest > 0, records[SCALE], 1)[:, None]
    records[CODES] = np.rint(vectors / scales).astype(np.int8)
    return records


def expand(records: np.ndarray[Any, Any]) -> FloatArray:
    """Return compressed vectors as float32, shape (n, dim).

    Examples
    --------
    >>> vectors = np.array([[0.5, -0.5], [0, 0]], np.float32)
    >>> expand(compress(vectors)).round(3).tolist()
    [[0.5, -0.5], [0.0, 0.0]]
    """
    vectors: FloatArray = records[CODES].astype(np.float32) * records[SCALE][:, None]
    return vectors


def max_sim(query: FloatArray, documents: Sequence[FloatArray]) -> FloatArray:
    """Return the MaxSim of a query with documents, shape (len(documents),).

    A document without vectors has the least that unit vectors can have.

    Parameters
    ----------
    query : numpy.ndarray
        float32, shape (n, dim).
    documents : sequence of numpy.ndarray
        float32, shape (n_i, dim) each.

    Examples
    --------
    >>> query = np.eye(2, dtype=np.float32)
    >>> max_sim(query, [query, query[:1], query[:0]]).tolist()
    [2.0, 1.0, -2.0]
    """
    scores = np.full(len(documents), -np.linalg.norm(query, axis=1).sum(), np.float32)
    filled = [at for at, vectors in enumerate(documents) if len(vectors)]
    if not filled:
        return scores
    vectors = np.concatenate([documents[at] for at in filled])
    starts = np.cumsum([0, *(len(documents[at]) for at in filled[:-1])])
    products = vectors @ query.T  # (all vectors of documents, n)
    scores[filled] = np.maximum.reduceat(products, starts, axis=0).sum(axis=1)
    return scores
