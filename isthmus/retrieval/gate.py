"""The kinds of query that a release is measured with before it may become current."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from isthmus.columns import CONTENT_HASH, Modality
from isthmus.encoders.alignment.alignment import Alignment
from isthmus.encoders.encoder import FloatArray
from isthmus.encoders.ledger import Ledger
from isthmus.index.alignments import load_alignment
from isthmus.index.exact import Positions
from isthmus.index.ingest import open_ledger
from isthmus.index.recall import KindOfQuery
from isthmus.index.settings import SpaceSettings
from isthmus.index.view import View


class GateQueries:
    """Gives items as queries; in a block of several modalities, also each modality alone.

    Nothing is encoded: the vectors of single modalities come from the ledgers.

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
        self._ledgers: dict[str, Ledger] = {}
        self._alignment: Alignment | None = None

    def __call__(self, view: View, block: str, rows: Positions) -> Iterator[KindOfQuery]:
        """Give kinds of query and their vectors, shape (n_queries, dim).

        Where a block has one modality, its items are at once queries in that modality; each kind
        gets a half of the rows.
        """
        own = next(b for b in view.blocks if b.name == block)
        if len(own.modalities) == 1:
            items, contents = rows[::2], rows[1::2]
            yield KindOfQuery("item to item", view.vectors(block, items).vectors)
            kind = f"{own.modalities[0]} to item"
            yield KindOfQuery(kind, view.vectors(block, contents).vectors)
            return
        yield KindOfQuery("item to item", view.vectors(block, rows).vectors)
        for modality in own.modalities:
            vectors = self._of_modality(view, modality, rows)
            if own.alignment and len(vectors):
                vectors = self._aligned(modality, vectors)
            yield KindOfQuery(f"{modality} to item", vectors, own=False)

    def _of_modality(self, view: View, modality: Modality, rows: Positions) -> FloatArray:
        column = CONTENT_HASH[modality]
        hashes = view.snapshot.fetch(view.row_ids(rows), [column]).column(column).to_pylist()
        wanted = [h for h in hashes if h is not None]
        if not wanted:
            return np.empty((0, 0), np.float32)
        ledger = self._ledger(modality)
        known = ledger.knows(wanted)
        return ledger.vectors([h for h, there in zip(wanted, known, strict=True) if there])

    def _aligned(self, modality: Modality, vectors: FloatArray) -> FloatArray:
        if self._alignment is None:
            self._alignment = load_alignment(self._space, self._settings)
        return vectors if self._alignment is None else self._alignment.align(modality, vectors)

    def _ledger(self, modality: Modality) -> Ledger:
        if modality not in self._ledgers:
            self._ledgers[modality] = open_ledger(self._space, self._settings, modality, peek=True)
        return self._ledgers[modality]
