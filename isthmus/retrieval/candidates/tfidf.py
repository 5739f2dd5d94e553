"""TF-IDF vectors of item texts."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState, Columns, FloatArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Hashes = npt.NDArray[np.uint32]

WORD = re.compile(r"\w+")
MAX_DOCUMENT_SHARE = 0.1  # of the items; words of more items say nothing
MIN_DOCUMENTS = 2  # items of a word; a word of one item connects nothing


@dataclass(frozen=True, eq=False)
class TfidfVocabulary:
    """The words of a vocabulary, and their inverse document frequency.

    A word is stored as the CRC-32 of its case-folded letters. It weighs ``log(n_items / n_items
    with the word)`` (Sparck Jones, Journal of Documentation 28, 1972); how often it occurs in a
    text does not count. Words of one item, and of more than a tenth of the items, are left out.

    Attributes
    ----------
    words : numpy.ndarray
        uint32, shape (n_words,), ascending.
    weights : numpy.ndarray
        float32, shape (n_words,).
    """

    words: Hashes
    weights: FloatArray

    @classmethod
    def fit(cls, texts: Sequence[str]) -> Self:
        """Return the vocabulary of texts."""
        _, words = _words_of(texts)
        distinct, counts = np.unique(words, return_counts=True)
        most = max(MIN_DOCUMENTS, MAX_DOCUMENT_SHARE * len(texts))
        kept = (counts >= MIN_DOCUMENTS) & (counts <= most)
        weights = np.log(len(texts) / counts[kept]).astype(np.float32)
        return cls(distinct[kept], np.maximum(weights, np.float32(1e-3)))

    def transform(self, texts: Sequence[str]) -> csr_array:
        """Return unit vectors, or zeros, of texts, float32, shape (n_texts, n_words)."""
        from scipy.sparse import csr_array

        owners, words = _words_of(texts)
        at = np.minimum(np.searchsorted(self.words, words), max(len(self.words) - 1, 0))
        known = self.words[at] == words if len(self.words) else np.zeros(len(words), bool)
        owners, at = owners[known], at[known]
        weights = self.weights[at]
        norms = np.sqrt(np.bincount(owners, weights**2, len(texts)))
        values = (weights / norms[owners]).astype(np.float32)
        out = csr_array((values, (owners, at)), shape=(len(texts), len(self.words)))
        out.sort_indices()
        return out

    def state(self) -> ArrayState:
        """Return words and weights."""
        return {"words": self.words, "weights": self.weights}

    @classmethod
    def from_state(cls, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Return the vocabulary of which `state` was stored."""
        return cls(state["words"], state["weights"])


def _words_of(texts: Iterable[str]) -> tuple[Columns, Hashes]:
    """Return the distinct words of each text: the number of the text, and the hash."""
    hashes: dict[str, int] = {}
    counts, found = [], []
    for text in texts:
        words = set(WORD.findall(text.casefold()))
        counts.append(len(words))
        for word in words:
            code = hashes.get(word)
            if code is None:
                code = hashes[word] = zlib.crc32(word.encode("utf-8", "surrogatepass"))
            found.append(code)
    owners = np.repeat(np.arange(len(counts)), np.array(counts, np.int64))
    pairs = np.unique(np.stack([owners, np.array(found, np.int64)]), axis=1)
    return pairs[0], pairs[1].astype(np.uint32)
