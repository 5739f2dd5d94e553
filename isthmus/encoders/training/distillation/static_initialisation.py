"""Where a static student starts: the teacher's vectors of single tokens, brought into place.

Model2Vec (Tulkens and van Dongen, 2024) takes the teacher's vectors of single tokens, weights
rare ones up by smooth inverse frequency (Arora et al., ICLR 2017) and removes what they have in
common by a PCA. Here frequencies are counted rather than guessed from ranks, and a ridge
regression from the sums onto the teacher's vectors of whole texts takes the PCA's place: it is
the best linear map for what the student is asked to do, and moves every token, those that no
text has among them.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import scipy.sparse as sp

from isthmus.encoders.models.static import TokenBags
from isthmus.numerics.arrays import FloatArray

SMOOTHING: Final = 1e-3
RIDGE: Final = 0.01


def starting_vectors(tokens: FloatArray, bags: TokenBags, targets: FloatArray) -> FloatArray:
    """Give the vectors of tokens that a student starts from.

    Parameters
    ----------
    tokens : numpy.ndarray
        float32, shape (n_tokens, dim): the teacher's vector of each token as a text.
    bags : Bags
        The tokens of each text.
    targets : numpy.ndarray
        float32, shape (n_texts, dim): the teacher's vector of each text.

    Returns
    -------
    numpy.ndarray
        float32, shape (n_tokens, dim).
    """
    texts = _counts(bags, len(tokens))
    weighted = tokens * inverse_frequency(bags.ids, len(tokens))[:, None]
    sums = texts @ weighted
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    units = sums / np.maximum(lengths, 1e-12)
    dim = tokens.shape[1]
    penalty = RIDGE * len(units) / dim * np.eye(dim)
    turn = np.linalg.solve(units.T @ units + penalty, units.T @ targets)
    moved = weighted @ turn
    return np.asarray(moved / np.linalg.norm(texts @ moved, axis=1).mean(), np.float32)


def inverse_frequency(ids: np.ndarray, size: int) -> FloatArray:
    """Give the weight of each token, a / (a + p), where p is its share of all tokens.

    Examples
    --------
    >>> rare, frequent = inverse_frequency(np.array([1] * 9 + [0]), 2)
    >>> bool(rare > frequent)
    True
    """
    counts = np.bincount(ids, minlength=size) + 0.5
    return np.asarray(SMOOTHING / (SMOOTHING + counts / counts.sum()), np.float32)


def _counts(bags: TokenBags, size: int) -> sp.csr_array:
    ends = np.append(bags.starts, len(bags.ids))
    ones = np.ones(len(bags.ids), np.float32)
    return sp.csr_array((ones, bags.ids, ends), shape=(len(bags.starts), size))
