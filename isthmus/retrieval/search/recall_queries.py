"""The kinds of query that a release is measured with before it may become current."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from isthmus.index.ann.exact import Positions
from isthmus.index.releases.content_vectors import ContentVectors
from isthmus.index.releases.recall import KindOfQuery
from isthmus.index.releases.view import View
from isthmus.index.settings import SpaceSettings


class RecallQueries:
    """Gives items as queries; in a named vector of several modalities, also each modality alone.

    Nothing is encoded: the vectors of single modalities come from the embedding caches.

    Parameters
    ----------
    space : Path
        Folder of the space.
    settings : SpaceSettings
        Its settings.
    """

    def __init__(self, space: Path, settings: SpaceSettings) -> None:
        self._contents = ContentVectors(space, settings)

    def __call__(self, view: View, vector_name: str, rows: Positions) -> Iterator[KindOfQuery]:
        """Give kinds of query and their vectors, shape (n_queries, dim).

        Where a named vector has one modality, its items are at once queries in that modality, and
        stand for new ones; each kind gets a half of the rows.
        """
        own = next(b for b in view.named_vectors if b.name == vector_name)
        if len(own.modalities) == 1:
            items, contents = rows[::2], rows[1::2]
            yield KindOfQuery("item to item", view.vectors(vector_name, items).vectors)
            kind = f"{own.modalities[0]} to item"
            yield KindOfQuery(kind, view.vectors(vector_name, contents).vectors, new=True)
            return
        yield KindOfQuery("item to item", view.vectors(vector_name, rows).vectors)
        for modality in own.modalities:
            found = self._contents.of(view, own, modality, rows)
            yield KindOfQuery(f"{modality} to item", found.vectors[found.present], own=False)
