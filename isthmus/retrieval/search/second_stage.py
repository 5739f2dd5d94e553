"""The second stage: models that read query and text, after the search by vectors or beside it.

A cross-encoder, late interaction or a chat model orders the first candidates of a search anew.
Their number is fixed and does not depend on the length of the list, so that a longer list begins
with the shorter one; the list ends with the candidates. Learned sparse vectors take the place of
BM25 in hybrid search.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np

from isthmus.encoders.embedding_cache import RecordCache
from isthmus.encoders.registry import absolute_spec, load_second_stage, parse_spec
from isthmus.encoders.stack import require_trust
from isthmus.errors import InvalidInput, UnsupportedModality, command_in
from isthmus.index.catalog.precomputed import (
    encode_contents,
    read_models,
    stored_records,
)
from isthmus.index.lru_cache import LRUCache
from isthmus.index.open_space import OpenSpace
from isthmus.index.releases.view import Selection, View
from isthmus.numerics.arrays import FloatArray, Positions
from isthmus.retrieval.search.query import ScoredRows, order_of
from isthmus.retrieval.search.results import make_hits
from isthmus.retrieval.search.sparse_index import SparseIndex
from isthmus.schema import CONTENT_HASH, TEXT

RERANKED: Final = "rerank gives the best of the first candidates by a model of their text"
CROSS_ENCODER: Final = "cross-encoder"
LATE_INTERACTION: Final = "late-interaction"
CHAT: Final = "openai"
SPARSE: Final = "sparse"
RERANKERS: Final = (CROSS_ENCODER, LATE_INTERACTION, CHAT)
PRECOMPUTED: Final = (LATE_INTERACTION, SPARSE)
LOADED_MODELS: Final = 3
ENCODED_CONTENTS: Final = 4_096  # that are not stored, kept in memory

Records = np.ndarray[Any, Any]


class Reranked(NamedTuple):
    """Candidates in the order of a model.

    Attributes
    ----------
    rows, scores : numpy.ndarray
        int64 and float32, shape (n,), best first.
    notes : list of str
        What is to be said of it.
    reasons : dict of int to str
        Why a row stands where it does, where the model says so.
    """

    rows: Positions
    scores: FloatArray
    notes: list[str]
    reasons: dict[int, str] = {}  # noqa: RUF012


class SecondStage:
    """Runs models of the second stage; keeps those that were used last, and what they read.

    Parameters
    ----------
    space : OpenSpace
        The space that is searched.
    """

    def __init__(self, space: OpenSpace) -> None:
        self._space = space
        self._models: LRUCache[Any] = LRUCache(LOADED_MODELS)
        self._records: dict[str, RecordCache] = {}  # by fingerprint
        self._encoded: LRUCache[Records] = LRUCache(ENCODED_CONTENTS)
        self._orders: LRUCache[list[tuple[int, str]]] = LRUCache()
        self._index: tuple[RecordCache, SparseIndex] | None = None

    def rerank(self, view: View, spec: str, query: str, rows: Positions) -> Reranked:
        """Return candidates in the order of a model.

        Parameters
        ----------
        view : View
            What is searched.
        spec : str
            The model.
        query : str
            The text of the query.
        rows : numpy.ndarray
            int64, shape (n,): the candidates.

        Raises
        ------
        InvalidInput
            If the spec names no reranker.
        UnsupportedModality
            If no candidate has what the model reads.
        UnknownEncoder
            If the model cannot be loaded.
        """
        family, model = self.reranker(spec)
        if not len(rows):
            return Reranked(rows, np.empty(0, np.float32), [])
        reasons: dict[int, str] = {}
        if family == CHAT:
            scores, notes, reasons = self._chat(view, model, query, rows)
        elif family == CROSS_ENCODER:
            scores, notes = self._cross(view, model, query, rows)
        else:
            scores, notes = self._late(view, model, query, rows)
        order = order_of(view, rows, scores)
        return Reranked(rows[order], scores[order], notes, reasons)

    def reranker(self, spec: str) -> tuple[str, Any]:
        """Return the family of a model that orders candidates, and the model, loaded.

        Raises
        ------
        InvalidInput
            If the spec names no reranker.
        UnknownEncoder
            If the model cannot be loaded.
        """
        family, name, _ = parse_spec(spec)
        if family not in RERANKERS:
            raise InvalidInput(
                f"rerank {spec!r} names no model that orders candidates; give "
                "cross-encoder/NAME_OR_FOLDER, late-interaction, or a chat model, "
                "openai/NAME?base_url=http://host:8000/v1"
            )
        return family, self._model(spec) if name else self._precomputed(family)

    def search_sparse(
        self, view: View, text: str, depth: int, selection: Selection | None
    ) -> ScoredRows:
        """Rank the rows that share a term with a text, by learned sparse vectors.

        Raises
        ------
        InvalidInput
            If no sparse vectors were precomputed.
        """
        model = self._precomputed(SPARSE)
        query = self._encoded.get((model.fingerprint, text), lambda: model.encode_query(text))
        return self._sparse_index(model).search(view, query, depth, selection)

    def sparse_notes(self, view: View, selection: Selection | None) -> list[str]:
        """Return a note where texts have no sparse vectors yet."""
        missing = self._sparse_index(self._precomputed(SPARSE)).n_without_record(view, selection)
        if not missing:
            return []
        return [
            f"{missing} items have no sparse vectors yet, and are found by their vectors alone; "
            f"compute them with: {self._again(SPARSE)}"
        ]

    def _chat(
        self, view: View, model: Any, query: str, rows: Positions
    ) -> tuple[FloatArray, list[str], dict[int, str]]:
        """Return places, counted from behind, and reasons of a chat model.

        Items that look the same are one to the model, so that equal items have equal scores. The
        answer is kept, so that pages are of one order.
        """
        hits = make_hits(view, rows, [0.0] * len(rows), attributes=True)
        looks = [(hit.domain, hit.title, hit.text or "") for hit in hits]
        distinct = list(dict.fromkeys(looks))
        items = [dict(zip(("domain", "title", "text"), one, strict=True)) for one in distinct]
        key = (model.spec, query, tuple(distinct))
        places = self._orders.get(key, lambda: model.order(query, items))
        notes = []
        if not places:
            notes = [f"{model.spec} gave no proper order, and that of the search stays"]
            places = [(at, "") for at in range(len(distinct))]
        score = {distinct[at]: len(places) - rank for rank, (at, _) in enumerate(places)}
        reason = {distinct[at]: why for at, why in places}
        scores = np.array([score[one] for one in looks], np.float32)
        said = zip(rows.tolist(), looks, strict=True)
        return scores, notes, {row: reason[one] for row, one in said if reason[one]}

    def _cross(
        self, view: View, model: Any, query: str, rows: Positions
    ) -> tuple[FloatArray, list[str]]:
        """Return the scores of a cross-encoder; an item without text is judged by the empty one."""
        texts = _column(view, rows, TEXT)
        absent = _require_contents(texts, model.spec, TEXT)
        scores = model.score(query, [text or "" for text in texts])
        return scores, [f"{absent}, and count as empty texts"] if absent else []

    def _late(
        self, view: View, model: Any, query: str, rows: Positions
    ) -> tuple[FloatArray, list[str]]:
        """Return the late interaction; an item without content has the least score there is."""
        values = _column(view, rows, model.modality)
        hashes = _column(view, rows, CONTENT_HASH[model.modality])
        absent = _require_contents(values, model.spec, model.modality)
        notes = [f"{absent}, and stand behind the others"] if absent else []
        contents = {h: v for h, v in zip(hashes, values, strict=True) if h is not None}
        records, n_new = self._records_of(model, contents)
        if n_new:
            notes.append(
                f"{n_new} of the first {len(rows)} candidates were encoded for this query; keep "
                f"their vectors with: {command_in(self._space.path, f'precompute {model.spec}')}"
            )
        # A content is scored once, so that equal items have equal scores.
        *found, none = model.score(query, [*records.values(), np.empty(0, model.dtype)])
        scores = dict(zip(records, found, strict=True))
        return np.array([scores.get(h, none) for h in hashes], np.float32), notes

    def _records_of(
        self, model: Any, contents: dict[bytes, str]
    ) -> tuple[dict[bytes, Records], int]:
        """Return the records of contents, and how many of them were computed just now."""
        found: dict[bytes, Records] = {}
        cache = self._stored(model)
        if cache is not None and contents:
            has = cache.contains(list(contents)).tolist()
            stored = [h for h, is_stored in zip(contents, has, strict=True) if is_stored]
            found = dict(zip(stored, cache.records(stored), strict=True))
        absent = {}
        for content, value in contents.items():
            if content not in found:
                kept = self._encoded.peek((model.fingerprint, content))
                if kept is None:
                    absent[content] = value
                else:
                    found[content] = kept
        new, _ = encode_contents(model, absent, self._space.media()) if absent else ({}, {})
        for content, records in new.items():
            self._encoded.get((model.fingerprint, content), partial(_same, records))
        # In the order of the contents: what a score depends on in its last digits.
        found |= new
        return {content: found[content] for content in contents if content in found}, len(new)

    def _sparse_index(self, model: Any) -> SparseIndex:
        cache = self._stored(model)
        if cache is None:
            raise InvalidInput(self._nothing_precomputed(SPARSE))
        if self._index is None or self._index[0] is not cache:
            self._index = cache, SparseIndex(cache, model.dim)
        return self._index[1]

    def _stored(self, model: Any) -> RecordCache | None:
        """Return the stored records of a model as they are now, and keep them while it runs."""
        cache = self._records.get(model.fingerprint)
        if cache is None or not cache.is_newest():
            cache = stored_records(self._space.path, model)
            if cache is not None:
                self._records[model.fingerprint] = cache
        return cache

    def _precomputed(self, family: str) -> Any:
        """Return the model of a family whose records the space keeps.

        Raises
        ------
        InvalidInput
            If there is none, or what its name stands for has changed.
        UnknownEncoder
            If it cannot be loaded, or would run code that the space is not trusted to start.
        """
        entry = read_models(self._space.path).get(family)
        if entry is None:
            raise InvalidInput(self._nothing_precomputed(family))
        require_trust(entry.spec)
        model = self._model(entry.spec)
        if model.fingerprint != entry.fingerprint:
            raise InvalidInput(
                f"{entry.spec!r} has changed since items were encoded by it; encode them again "
                f"with: {self._again(family)}"
            )
        return model

    def _nothing_precomputed(self, family: str) -> str:
        command = command_in(self._space.path, f"precompute {family}/NAME_OR_FOLDER")
        return f"the space keeps nothing of a {family} model; compute it with: {command}"

    def _again(self, family: str) -> str:
        entry = read_models(self._space.path)[family]
        return command_in(self._space.path, f"precompute {entry.spec}")

    def _model(self, spec: str) -> Any:
        key = absolute_spec(spec)
        device = self._space.model_device
        return self._models.get(key, lambda: load_second_stage(key, device=device))


def _same(records: Records) -> Records:
    return records


def _column(view: View, rows: Positions, name: str) -> list[Any]:
    if name not in view.snapshot.columns:
        return [None] * len(rows)
    values: list[Any] = view.snapshot.fetch(view.row_ids(rows), [name]).column(name).to_pylist()
    return values


def _require_contents(contents: Sequence[str | None], spec: str, what: str) -> str:
    """Return how many candidates have no text or picture, in words; empty for none.

    Raises
    ------
    UnsupportedModality
        If none has one.
    """
    absent = sum(not content for content in contents)
    if absent == len(contents):
        raise UnsupportedModality(
            f"{spec!r} reads the {what} of items, and none of the first {len(contents)} candidates "
            f"has one; search without rerank, or add the {what} with: "
            f"{command_in(None, 'upsert FILES')}"
        )
    return f"{absent} of the first {len(contents)} candidates have no {what}" if absent else ""
