"""Views under other fusion weights, made from the embedding caches without encoding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from isthmus.encoders.alignment import Alignment
from isthmus.encoders.embedding_cache import EmbeddingCache
from isthmus.encoders.fusion import MaskedVectors, fuse
from isthmus.encoders.stack import NamedVector
from isthmus.index.ann.segment import Segment, SegmentVectors
from isthmus.index.catalog.content_encoding import lookup_vectors, open_embedding_caches
from isthmus.index.catalog.ingest import is_small_batch
from isthmus.index.catalog.snapshot import RowIds, Snapshot
from isthmus.index.lru_cache import LRUCache
from isthmus.index.releases.view import View
from isthmus.index.settings import SpaceSettings
from isthmus.schema import CONTENT_HASH, Modality

CACHED_SEGMENTS = 6  # each under some weights
ROWS_PER_BATCH = 8_192


class Reweighting:
    """Makes views under other fusion weights, and caches the last few.

    Only named vectors of several modalities differ, and of those only the items that have several.
    Their vectors are fused again from the embedding caches and searched exactly, since the index of
    the release holds vectors under the weights of the space. The first query with some weights
    therefore reads the embedding caches, and each query is compared with every item.

    Parameters
    ----------
    space : Path
        Folder of the space.
    settings : SpaceSettings
        Its settings.
    alignment : Alignment or None
        The projection heads of the aligned named vector.
    """

    def __init__(self, space: Path, settings: SpaceSettings, alignment: Alignment | None) -> None:
        self._space, self._settings, self._alignment = space, settings, alignment
        self._fused = [
            named_vector
            for named_vector in settings.layout
            if len(named_vector.modalities) > 1 and not named_vector.given
        ]
        self._cache: LRUCache[Segment] = LRUCache(CACHED_SEGMENTS)

    def view(self, view: View, weights: Mapping[Modality, float]) -> View:
        """Return the view with item vectors fused by other weights of modalities."""
        if not self._fused:
            return view
        key = tuple(sorted(weights.items()))

        def reweighted(segment: Segment) -> Segment:
            return self._cache.get(
                (segment, key), lambda: self._reweighted(segment, view.snapshot, weights)
            )

        return replace(view, segments=tuple(map(reweighted, view.segments)))

    def _reweighted(
        self, segment: Segment, snapshot: Snapshot, weights: Mapping[Modality, float]
    ) -> Segment:
        lazy = is_small_batch(len(segment), snapshot.rows)
        caches = open_embedding_caches(self._space, self._settings, lazy=lazy)

        def fuse_again(named_vector: NamedVector) -> SegmentVectors:
            former = segment.named_vectors[named_vector.name]
            vectors, row_ids = np.array(former.vectors), segment.row_ids[former.rows]
            for start in range(0, len(row_ids), ROWS_PER_BATCH):
                part = slice(start, start + ROWS_PER_BATCH)
                parts = _vectors_of_several(named_vector, row_ids[part], snapshot, caches)
                fused = fuse([named_vector], weights, parts, self._alignment)[named_vector.name]
                vectors[part][fused.present] = fused.vectors[fused.present]
            return SegmentVectors(vectors, former.rows)

        changed = {named_vector.name: fuse_again(named_vector) for named_vector in self._fused}
        return replace(segment, named_vectors={**segment.named_vectors, **changed})


def _vectors_of_several(
    named_vector: NamedVector,
    row_ids: RowIds,
    snapshot: Snapshot,
    caches: Mapping[Modality, EmbeddingCache],
) -> dict[Modality, MaskedVectors]:
    """Return vectors by modality of the rows that have several; other rows count as absent."""
    table = snapshot.fetch(
        row_ids, [CONTENT_HASH[modality] for modality in named_vector.modalities]
    )
    hashes = [
        table.column(CONTENT_HASH[modality]).to_pylist() for modality in named_vector.modalities
    ]
    several = np.sum([[h is not None for h in column] for column in hashes], axis=0) > 1
    return {
        modality: lookup_vectors(
            caches[modality], [h if s else None for h, s in zip(column, several, strict=True)]
        )
        for modality, column in zip(named_vector.modalities, hashes, strict=True)
    }
