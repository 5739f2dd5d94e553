"""Vectors of contents as they are kept: looked up in an embedding cache, written as a column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from isthmus.encoders.embedding_cache import EmbeddingCache
from isthmus.encoders.fusion import BlockVectors


def stored_vectors(cache: EmbeddingCache, hashes: Sequence[bytes | None]) -> BlockVectors:
    """Look the vectors of contents up; absent where there is no content, or it was not encoded."""
    present = np.array([h is not None for h in hashes], bool)
    wanted = [h for h in hashes if h is not None]
    known = cache.contains(wanted) if wanted else np.zeros(0, bool)
    present[present] = known
    vectors = np.zeros((len(hashes), cache.dim), np.float32)
    found = [h for h, there in zip(wanted, known.tolist(), strict=True) if there]
    if found:
        vectors[present] = cache.vectors(found)
    return BlockVectors(vectors, present)


def as_column(part: BlockVectors) -> pa.ListArray:
    """Write vectors as a column of lists, null where absent."""
    dim = part.vectors.shape[1]
    ends = np.cumsum(part.present) * dim
    offsets = pa.array(np.concatenate([[0], ends]).astype(np.int32))
    flat = pa.array(part.vectors[part.present].ravel())
    return pa.ListArray.from_arrays(offsets, flat, mask=pa.array(~part.present))
