"""The mean vectors of domains: what a vector of a domain is like by chance."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from isthmus.encoders.stack import NamedVector
from isthmus.index.ann.exact import Positions
from isthmus.index.ann.segment import Segment
from isthmus.numerics.arrays import FloatArray

Sums = npt.NDArray[np.float64]


class DomainMeans:
    """Mean vector of each domain in each named vector, over several segments.

    Items deleted since the release still count, and of large domains a sample does.

    Parameters
    ----------
    segments : sequence of Segment
        The items.
    named_vectors : sequence of NamedVector
        The named vectors of their vectors.
    """

    def __init__(self, segments: Sequence[Segment], named_vectors: Sequence[NamedVector]) -> None:
        self._segments, self._named_vectors = segments, named_vectors

    @cached_property
    def vectors(self) -> dict[str, FloatArray]:
        """Means by named vector, shape (n_domains, dim); zeros where a domain has no vectors."""
        return {
            name: np.asarray(sums / np.maximum(counts, 1), np.float32)
            for name, (sums, counts) in self._sums.items()
        }

    @cached_property
    def others(self) -> dict[str, FloatArray]:
        """Whether a domain's mean tells of more than one item, 0 or 1, shape (n_domains,)."""
        return {
            name: np.asarray(counts[:, 0] > 1, np.float32)
            for name, (_, counts) in self._sums.items()
        }

    @cached_property
    def segment_codes(self) -> list[Positions]:
        """For each segment, the row of each of its domains among the means."""
        place = {name: i for i, name in enumerate(self._names)}
        return [
            np.array([place[n] for n in s.domains.dictionary.to_pylist()], np.int64)
            for s in self._segments
        ]

    @cached_property
    def _names(self) -> list[str]:
        return sorted({n for s in self._segments for n in s.domains.dictionary.to_pylist()})

    @cached_property
    def _sums(self) -> dict[str, tuple[Sums, Sums]]:
        """Sum and number of the vectors of each domain in each named vector."""
        found = {}
        for named_vector in self._named_vectors:
            sums = np.zeros((len(self._names), named_vector.dim))
            counts = np.zeros((len(self._names), 1))
            for segment, codes in zip(self._segments, self.segment_codes, strict=True):
                own_sums, own_counts = segment.domain_sums[named_vector.name]
                sums[codes] += own_sums
                counts[codes] += own_counts
            found[named_vector.name] = sums, counts
        return found
