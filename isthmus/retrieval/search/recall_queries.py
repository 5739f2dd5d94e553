"""The kinds of query that a release is measured with before it may become current."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from isthmus.encoders.encoder import Encoder
from isthmus.encoders.stack import NamedVector
from isthmus.index.releases.content_vectors import ContentVectors
from isthmus.index.releases.recall import RecallQueries
from isthmus.index.releases.view import View
from isthmus.index.settings import SpaceSettings
from isthmus.numerics.arrays import FloatArray, Positions
from isthmus.schema import TEXT, VECTOR, Modality

PROMPTS: Final = "text.prompt."  # in the names of an encoder's components


class RecallQuerySampler:
    """Items as queries; in a named vector of several modalities, also each modality alone.

    The vectors of single modalities come from the embedding cache. Only where the encoder of text
    has prompts, texts are encoded anew, as the queries that they stand for.

    Parameters
    ----------
    space : Path
        Folder of the space.
    settings : SpaceSettings
        Its settings.
    encoder_of : callable, optional
        Returns the encoder of a modality; without it, documents stand for queries.
    """

    def __init__(
        self,
        space: Path,
        settings: SpaceSettings,
        encoder_of: Callable[[Modality], Encoder] | None = None,
    ) -> None:
        self._contents = ContentVectors(space, settings)
        self._encoder_of = encoder_of if has_prompts(settings) else None

    def __call__(self, view: View, vector_name: str, rows: Positions) -> Iterator[RecallQueries]:
        """Yield kinds of query with their vectors, shape (n_queries, dim).

        Where a named vector has one modality, or its vectors are given, its items are at once
        queries in that modality, and stand for new ones; each kind gets a half of the rows.
        """
        layout = next(b for b in view.named_vectors if b.name == vector_name)
        if layout.given or len(layout.modalities) == 1:
            item_rows, content_rows = rows[::2], rows[1::2]
            yield RecallQueries("item to item", view.vectors(vector_name, item_rows).vectors)
            content = VECTOR if layout.given else layout.modalities[0]
            vectors = self._as_queries(view, layout, content, content_rows)
            if vectors is None:
                vectors = view.vectors(vector_name, content_rows).vectors
            yield RecallQueries(f"{content} to item", vectors, unseen=True)
            return
        yield RecallQueries("item to item", view.vectors(vector_name, rows).vectors)
        for modality in layout.modalities:
            vectors = self._as_queries(view, layout, modality, rows)
            if vectors is None:
                contents = self._contents.of(view, layout, modality, rows)
                vectors = contents.vectors[contents.present]
            yield RecallQueries(f"{modality} to item", vectors, includes_self=False)

    def _as_queries(
        self, view: View, layout: NamedVector, content: str, rows: Positions
    ) -> FloatArray | None:
        """Encode the texts of items as queries; None where documents are encoded the same way."""
        if self._encoder_of is None or content != TEXT or layout.alignment:
            return None
        column = view.snapshot.fetch(view.row_ids(rows), [TEXT]).column(TEXT)
        texts = [text for text in column.to_pylist() if text]
        return self._encoder_of(TEXT).encode(texts, TEXT, "query")


def has_prompts(settings: SpaceSettings) -> bool:
    """Return whether the text encoder of a space has prompts."""
    return any(name.startswith(PROMPTS) for name in settings.encoder_components(TEXT))
