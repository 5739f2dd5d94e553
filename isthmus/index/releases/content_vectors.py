"""The vectors of single modalities of items, read from the embedding caches."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from isthmus.encoders.alignment import Alignment
from isthmus.encoders.embedding_cache import EmbeddingCache
from isthmus.encoders.fusion import MaskedVectors
from isthmus.encoders.stack import NamedVector
from isthmus.index.catalog.alignments import load_alignment
from isthmus.index.catalog.content_encoding import lookup_vectors, open_embedding_cache
from isthmus.index.releases.view import View
from isthmus.index.settings import SpaceSettings
from isthmus.numerics.arrays import FloatArray, Positions
from isthmus.schema import CONTENT_HASH, Modality


class ContentVectors:
    """Returns the vector that each modality of an item has by itself, out of the embedding caches.

    Parameters
    ----------
    space : Path
        Folder of the space.
    settings : SpaceSettings
        Its settings.
    """

    def __init__(self, space: Path, settings: SpaceSettings) -> None:
        self._space = space
        self._settings = settings
        self._caches: dict[str, EmbeddingCache] = {}
        self._alignment: Alignment | None = None

    def of(
        self, view: View, named_vector: NamedVector, modality: Modality, rows: Positions
    ) -> MaskedVectors:
        """Return the vectors of one modality of some items, in a named vector that it belongs to.

        Returns
        -------
        MaskedVectors
            Vectors of shape (n_rows, dim of the named vector); absent where an item lacks the
            modality.
        """
        if named_vector.given:
            return view.vectors(named_vector.name, rows)
        column = CONTENT_HASH[modality]
        hashes = view.snapshot.fetch(view.row_ids(rows), [column]).column(column).to_pylist()
        cached = lookup_vectors(self._cache(modality), hashes)
        if not named_vector.alignment:
            return cached
        vectors = np.zeros((len(rows), named_vector.dim), np.float32)
        if cached.present.any():
            vectors[cached.present] = self._align(modality, cached.vectors[cached.present])
        return MaskedVectors(vectors, cached.present)

    def _align(self, modality: Modality, vectors: FloatArray) -> FloatArray:
        if self._alignment is None:
            self._alignment = load_alignment(self._space, self._settings)
        return vectors if self._alignment is None else self._alignment.align(modality, vectors)

    def _cache(self, modality: Modality) -> EmbeddingCache:
        if modality not in self._caches:
            self._caches[modality] = open_embedding_cache(
                self._space, self._settings, modality, lazy=True
            )
        return self._caches[modality]
