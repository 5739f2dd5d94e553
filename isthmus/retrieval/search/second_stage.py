"""The second stage: a model that reads the query orders the first candidates of a search anew.

The number of candidates is fixed and does not depend on the length of the list, so that a longer
list begins with the shorter one; the list ends with the candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from isthmus.encoders.registry import absolute_spec, load_second_stage, parse_spec
from isthmus.errors import InvalidInput, UnsupportedModality
from isthmus.index.lru_cache import LRUCache
from isthmus.index.open_space import OpenSpace
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import Positions
from isthmus.retrieval.search.query import ScoredRows, order_of
from isthmus.retrieval.search.request import SearchRequest
from isthmus.schema import TEXT

RERANKED: Final = "rerank gives the best of the first candidates by a model of their text"
CROSS_ENCODER: Final = "cross-encoder"
LOADED_MODELS: Final = 2


class SecondStage:
    """Orders candidates anew; keeps the models that were used last.

    Parameters
    ----------
    space : OpenSpace
        The space that is searched.
    """

    def __init__(self, space: OpenSpace) -> None:
        self._space = space
        self._models: LRUCache[Any] = LRUCache(LOADED_MODELS)

    def rerank(
        self, view: View, request: SearchRequest, rows: Positions
    ) -> tuple[ScoredRows, list[str]]:
        """Return candidates in the order of a model, with its scores, and what to say of them.

        An item without text is judged by the empty text.

        Parameters
        ----------
        view : View
            What is searched.
        request : SearchRequest
            The request, with the spec of the model and a text.
        rows : numpy.ndarray
            int64, shape (n,): the candidates.

        Raises
        ------
        InvalidInput
            If the spec names no reranker.
        UnsupportedModality
            If no candidate has a text.
        UnknownEncoder
            If the model cannot be loaded.
        """
        spec, query = str(request.rerank), str(request.text)
        if parse_spec(spec).family != CROSS_ENCODER:
            raise InvalidInput(
                f"rerank {spec!r} names no model that orders candidates; give "
                "cross-encoder/NAME_OR_FOLDER"
            )
        model = self._model(spec)
        if not len(rows):
            return (rows, np.empty(0, np.float32)), []
        texts = _texts(view, rows)
        notes = _absent_texts(texts, spec)
        scores = model.score(query, [text or "" for text in texts])
        order = order_of(view, rows, scores)
        return (rows[order], scores[order]), notes

    def _model(self, spec: str) -> Any:
        key = absolute_spec(spec)
        device = self._space.model_device
        return self._models.get(key, lambda: load_second_stage(key, device=device))


def _texts(view: View, rows: Positions) -> list[str | None]:
    texts: list[str | None] = view.snapshot.fetch(view.row_ids(rows), [TEXT])[TEXT].to_pylist()
    return texts


def _absent_texts(texts: Sequence[str | None], spec: str) -> list[str]:
    """Return a note where candidates have no text.

    Raises
    ------
    UnsupportedModality
        If none has one.
    """
    absent = sum(not text for text in texts)
    if absent == len(texts):
        raise UnsupportedModality(
            f"{spec!r} reads the texts of items, and none of the first {len(texts)} candidates has "
            "one; search without rerank, or add texts with: isthmus upsert"
        )
    if not absent:
        return []
    return [f"{absent} of the first {len(texts)} candidates have no text, and count as empty texts"]
