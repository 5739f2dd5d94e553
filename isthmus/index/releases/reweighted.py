"""A view as it would be under other fusion weights: made out of the caches, nothing encoded."""

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

KEPT = 6  # segments, each under some weights
ROWS_AT_ONCE = 8_192


class Reweighting:
    """Makes views under other fusion weights, and keeps the last few.

    Only named vectors in which several modalities meet differ, and of those only the items that
    have several. Their vectors are fused anew out of the caches' and searched one by one, exactly:
    the index of the release knows the space's own weights alone. The first query with some weights
    therefore reads the embedding caches, and each compares with every item.

    Parameters
    ----------
    space : Path
        Folder of the space.
    settings : SpaceSettings
        Its settings.
    alignment : Alignment or None
        What makes the vectors of the aligned named vector.
    """

    def __init__(self, space: Path, settings: SpaceSettings, alignment: Alignment | None) -> None:
        self._space, self._settings, self._alignment = space, settings, alignment
        self._meeting = [
            named_vector for named_vector in settings.layout if len(named_vector.modalities) > 1
        ]
        self._recent: LRUCache[Segment] = LRUCache(KEPT)

    def view(self, view: View, weights: Mapping[Modality, float]) -> View:
        """Give the view as the items would lie under some weights of modalities."""
        if not self._meeting:
            return view
        key = tuple(sorted(weights.items()))

        def segment(own: Segment) -> Segment:
            return self._recent.get(
                (own, key), lambda: self._reweighted(own, view.snapshot, weights)
            )

        return replace(view, segments=tuple(segment(own) for own in view.segments))

    def _reweighted(
        self, segment: Segment, snapshot: Snapshot, weights: Mapping[Modality, float]
    ) -> Segment:
        lazy = is_small_batch(len(segment), snapshot.rows)
        caches = open_embedding_caches(self._space, self._settings, lazy=lazy)

        def fused_anew(named_vector: NamedVector) -> SegmentVectors:
            own = segment.named_vectors[named_vector.name]
            vectors, row_ids = np.array(own.vectors), segment.row_ids[own.rows]
            for start in range(0, len(row_ids), ROWS_AT_ONCE):
                part = slice(start, start + ROWS_AT_ONCE)
                parts = _several(named_vector, row_ids[part], snapshot, caches)
                fused = fuse([named_vector], weights, parts, self._alignment)[named_vector.name]
                vectors[part][fused.present] = fused.vectors[fused.present]
            return SegmentVectors(vectors, own.rows)

        again = {named_vector.name: fused_anew(named_vector) for named_vector in self._meeting}
        return replace(segment, named_vectors={**segment.named_vectors, **again})


def _several(
    named_vector: NamedVector,
    row_ids: RowIds,
    snapshot: Snapshot,
    caches: Mapping[Modality, EmbeddingCache],
) -> dict[Modality, MaskedVectors]:
    """Give the vectors by modality of the rows that have several; the others count as absent."""
    found = snapshot.fetch(
        row_ids, [CONTENT_HASH[modality] for modality in named_vector.modalities]
    )
    hashes = [
        found.column(CONTENT_HASH[modality]).to_pylist() for modality in named_vector.modalities
    ]
    several = np.sum([[h is not None for h in own] for own in hashes], axis=0) > 1
    return {
        modality: lookup_vectors(
            caches[modality], [h if s else None for h, s in zip(own, several, strict=True)]
        )
        for modality, own in zip(named_vector.modalities, hashes, strict=True)
    }
