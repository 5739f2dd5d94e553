"""The words of items, weighed by how rare they are."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import FloatArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Buckets = npt.NDArray[np.uint32]

WORD = re.compile(r"\w+")
COMMON = 0.1  # of the items, from which a word tells nothing
RARE = 2  # items that a word must be in, to bring two together


@dataclass(frozen=True, eq=False)
class TfidfVocabulary:
    """The words that tell items apart, and what each of them weighs.

    A word is known by the CRC-32 of its case-folded letters and weighs the logarithm of how many
    times as many items there are as items that have it (inverse document frequency: Sparck Jones,
    Journal of Documentation 28, 1972). Words of a single item, and of more than a tenth of them,
    are left out.

    Attributes
    ----------
    words : numpy.ndarray
        uint32, shape (n_words,), ascending.
    weights : numpy.ndarray
        float32, shape (n_words,).
    """

    words: Buckets
    weights: FloatArray

    @classmethod
    def fit(cls, texts: Sequence[str]) -> Self:
        """Learn the words of some texts."""
        _, found = _words_of(texts)
        words, counts = np.unique(found, return_counts=True)
        kept = (counts >= RARE) & (counts <= max(RARE, COMMON * len(texts)))
        weights = np.log(len(texts) / counts[kept]).astype(np.float32)
        return cls(words[kept], np.maximum(weights, np.float32(1e-3)))

    def transform(self, texts: Sequence[str]) -> csr_array:
        """Give the words of each text, float32, shape (n_texts, n_words); unit rows, or empty."""
        from scipy.sparse import csr_array

        owners, found = _words_of(texts)
        at = np.minimum(np.searchsorted(self.words, found), max(len(self.words) - 1, 0))
        known = self.words[at] == found if len(self.words) else np.zeros(len(found), bool)
        owners, at = owners[known], at[known]
        weights = self.weights[at]
        norms = np.sqrt(np.bincount(owners, weights**2, len(texts)))
        shares = (weights / norms[owners]).astype(np.float32)
        out = csr_array((shares, (owners, at)), shape=(len(texts), len(self.words)))
        out.sort_indices()
        return out

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Give words and weights as arrays."""
        return {"words": self.words, "weights": self.weights}

    @classmethod
    def from_state(cls, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take back what `state` gave."""
        return cls(state["words"], state["weights"])


def _words_of(texts: Iterable[str]) -> tuple[npt.NDArray[np.int64], Buckets]:
    """Give the different words of each text, and whose they are."""
    known: dict[str, int] = {}
    counts, found = [], []
    for text in texts:
        own = set(WORD.findall(text.casefold()))
        counts.append(len(own))
        for word in own:
            code = known.get(word)
            if code is None:
                code = known[word] = zlib.crc32(word.encode("utf-8", "surrogatepass"))
            found.append(code)
    owners = np.repeat(np.arange(len(counts)), np.array(counts, np.int64))
    pairs = np.unique(np.stack([owners, np.array(found, np.int64)]), axis=1)
    return pairs[0], pairs[1].astype(np.uint32)
