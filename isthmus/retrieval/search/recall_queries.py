"""The kinds of query that a release is measured with before it may become current."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from isthmus.index.releases.content_vectors import ContentVectors
from isthmus.index.releases.recall import RecallQueries
from isthmus.index.releases.view import View
from isthmus.index.settings import SpaceSettings
from isthmus.numerics.arrays import Positions
from isthmus.schema import VECTOR


class RecallQuerySampler:
    """Items as queries; in a named vector of several modalities, also each modality alone.

    Nothing is encoded: the vectors of single modalities come from the embedding cache.

    Parameters
    ----------
    space : Path
        Folder of the space.
    settings : SpaceSettings
        Its settings.
    """

    def __init__(self, space: Path, settings: SpaceSettings) -> None:
        self._contents = ContentVectors(space, settings)

    def __call__(self, view: View, vector_name: str, rows: Positions) -> Iterator[RecallQueries]:
        """Yield kinds of query with their vectors, shape (n_queries, dim).

        Where a named vector has one modality, or its vectors are given, its items are at once
        queries in that modality, and stand for new ones; each kind gets a half of the rows.
        """
        layout = next(b for b in view.named_vectors if b.name == vector_name)
        if layout.given or len(layout.modalities) == 1:
            item_rows, content_rows = rows[::2], rows[1::2]
            yield RecallQueries("item to item", view.vectors(vector_name, item_rows).vectors)
            kind = f"{VECTOR if layout.given else layout.modalities[0]} to item"
            yield RecallQueries(kind, view.vectors(vector_name, content_rows).vectors, unseen=True)
            return
        yield RecallQueries("item to item", view.vectors(vector_name, rows).vectors)
        for modality in layout.modalities:
            contents = self._contents.of(view, layout, modality, rows)
            yield RecallQueries(
                f"{modality} to item", contents.vectors[contents.present], includes_self=False
            )
