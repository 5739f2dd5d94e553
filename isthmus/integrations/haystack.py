"""A document store and a retriever of Haystack over a domain of a space."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from haystack import Document, component, default_from_dict, default_to_dict
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy
from haystack.errors import FilterError
from haystack.utils.filters import document_matches_filter

from isthmus.client.connect import connect
from isthmus.errors import InvalidInput, ItemNotFound
from isthmus.integrations.documents import unless_new
from isthmus.retrieval.search.results import Hit, Hits
from isthmus.space import Space

DOMAIN: Final = "documents"
VECTOR_NAME: Final = "embedding"
PRESENT: Final = "present"  # [1] for each document: an item has a vector, a document need not
KEPT: Final = "document_json"
WIDENING: Final = 4
PAGE: Final = 1_000


class IsthmusDocumentStore:
    """Documents of Haystack in a space, with the embeddings that a Haystack embedder made.

    A document is kept verbatim, as JSON, its embedding too. Those of its meta fields that
    `attributes` names are attributes of the item too, so that ``where`` can filter by them.

    Parameters
    ----------
    address : str
        Folder of a space, which is made if it does not exist, or address of a service.
    dim : int, default 768
        Dimension of the embeddings, where the space is made.
    domain : str, default "documents"
        Domain of the documents.
    attributes : sequence of str
        Names of meta fields that are attributes of the items.

    Examples
    --------
    ``IsthmusDocumentStore("notes.space", dim=384).write_documents(documents)``
    """

    def __init__(
        self,
        address: str,
        *,
        dim: int = 768,
        domain: str = DOMAIN,
        attributes: Sequence[str] = (),
    ) -> None:
        self.address, self.dim = str(address), dim
        self.domain, self.attributes = domain, tuple(attributes)
        is_new = "://" not in self.address and not Path(self.address).exists()
        self._space = (
            Space.create(self.address, "none", vectors={VECTOR_NAME: dim, PRESENT: 1})
            if is_new
            else connect(self.address)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` makes the store of."""
        state: dict[str, Any] = default_to_dict(
            self,
            address=self.address,
            dim=self.dim,
            domain=self.domain,
            attributes=list(self.attributes),
        )
        return state

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return the store of `to_dict`."""
        store: Self = default_from_dict(cls, data)
        return store

    def count_documents(self) -> int:
        """Return how many documents there are."""
        return self._space.count(domain=self.domain) if self._has_documents() else 0

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """Return the documents that a filter of Haystack selects, or all.

        Every document is read and compared.

        Raises
        ------
        FilterError
            If the filter is not valid.
        """
        _require_filter(filters)
        return [one for one in self._all() if not filters or document_matches_filter(filters, one)]

    def write_documents(
        self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        """Store documents and return how many; without a policy an id that exists is an error.

        Raises
        ------
        ValueError
            If an argument is no list of documents.
        DuplicateDocumentError
            If an id exists, and it is neither to be skipped nor overwritten.
        InvalidInput
            If meta fields are not JSON, or an embedding does not fit the space.
        """
        if not isinstance(documents, list) or any(not isinstance(d, Document) for d in documents):
            raise ValueError("write_documents takes a list of haystack.Document")
        there = self._known({one.id for one in documents})
        if there and policy in (DuplicatePolicy.NONE, DuplicatePolicy.FAIL):
            raise DuplicateDocumentError(
                f"there are documents of these ids: {', '.join(sorted(there)[:5])}; write them "
                "with DuplicatePolicy.OVERWRITE or SKIP"
            )
        chosen = {
            one.id: one
            for one in documents
            if policy is not DuplicatePolicy.SKIP or one.id not in there
        }
        rows = [self._row(one) for one in chosen.values()]
        if rows:
            self._space.upsert(
                rows,
                domain=self.domain,
                text="text",
                vectors={name: name for name in (VECTOR_NAME, PRESENT)},
                replace=True,
            )
        return len(rows)

    def delete_documents(self, document_ids: list[str]) -> None:
        """Delete documents by id; unknown ids are passed over."""
        if document_ids and self._has_documents():
            self._space.delete(list(document_ids), domain=self.domain)

    def search(
        self,
        query_embedding: Sequence[float],
        *,
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        where: str | None = None,
    ) -> list[Document]:
        """Return the documents nearest to an embedding, with their cosine similarity as score.

        Parameters
        ----------
        query_embedding : sequence of float
            Shape (dim,).
        top_k : int
            How many.
        filters : dict, optional
            Filter of Haystack. It is applied to what the search finds, which is widened until
            there are enough: where few documents pass, `where` is quicker.
        where : str, optional
            SQL filter over `attributes`, applied within the search.

        Raises
        ------
        FilterError
            If `filters` is not valid.
        """
        _require_filter(filters)
        depth = top_k * WIDENING if filters else top_k
        while True:
            hits = self._nearest(query_embedding, depth, where)
            found = [_document(hit.attributes or {}, score=hit.score) for hit in hits]
            passed = [one for one in found if not filters or document_matches_filter(filters, one)]
            if not filters or len(passed) >= top_k or len(hits) < depth:
                return passed[:top_k]
            depth *= WIDENING

    def _nearest(
        self, query_embedding: Sequence[float], k: int, where: str | None
    ) -> Sequence[Hit]:
        return unless_new(
            self._space,
            self.domain,
            lambda: self._space.search(
                vector=list(query_embedding),
                k=k,
                domain=self.domain,
                where=where,
                attributes=True,
            ),
            Hits([]),
        )

    def _has_documents(self) -> bool:
        return self.domain in self._space.status()["domains"]

    def _known(self, ids: set[str]) -> set[str]:
        """Return which of some ids are those of documents, without reading any other."""
        if not ids or not self._has_documents():
            return set()
        return {item["item_id"] for item in self._items(ids) if item["domain"] == self.domain}

    def _items(self, ids: set[str]) -> list[dict[str, Any]]:
        """Return the items of some ids, those that there are."""
        space: Any = self._space
        try:
            return list(space.get(sorted(ids)))
        except ItemNotFound as error:
            unknown = set(error.item_ids)
        if unknown:
            return list(space.get(sorted(ids - unknown))) if ids > unknown else []
        # A service tells of one id at a time.
        found = []
        for one in sorted(ids):
            with suppress(ItemNotFound):
                found.append(space.get(one))
        return found

    def _all(self) -> Iterator[Document]:
        if not self._has_documents():
            return
        cursor: str | None = None
        while True:
            page = self._space.scroll(self.domain, k=PAGE, cursor=cursor)
            yield from (_document(item["attributes"]) for item in page)
            cursor = page.cursor
            if cursor is None:
                return

    def _row(self, document: Document) -> dict[str, Any]:
        state = document.to_dict(flatten=False)
        embedding = state.pop("embedding", None)
        if embedding is not None:
            kept = base64.b64encode(np.asarray(embedding, "<f8").tobytes()).decode()
            state["embedding"] = kept
        try:
            text = json.dumps(state, ensure_ascii=False)
        except (TypeError, ValueError) as error:
            raise InvalidInput(
                f"the meta fields of document {document.id!r} are not JSON ({error}); turn what is "
                "no text, number, list or mapping into text first"
            ) from error
        chosen = {name: document.meta.get(name) for name in self.attributes}
        is_zero = embedding is None or not np.any(embedding)
        vector = None if is_zero else list(embedding)  # a vector of zeros is near to nothing
        return {"item_id": document.id, "text": document.content, KEPT: text, **chosen} | {
            VECTOR_NAME: vector,
            PRESENT: [1.0],
        }


@component
class IsthmusEmbeddingRetriever:
    """Retrieve the documents nearest to an embedding.

    Parameters
    ----------
    document_store : IsthmusDocumentStore
        Where they are.
    top_k : int, default 10
        How many.
    filters : dict, optional
        Filter of Haystack.
    where : str, optional
        SQL filter over the attributes of the store.
    """

    def __init__(
        self,
        document_store: IsthmusDocumentStore,
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        where: str | None = None,
    ) -> None:
        self.document_store, self.top_k = document_store, top_k
        self.filters, self.where = filters, where

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` makes the retriever of."""
        state: dict[str, Any] = default_to_dict(
            self,
            document_store=self.document_store.to_dict(),
            top_k=self.top_k,
            filters=self.filters,
            where=self.where,
        )
        return state

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> IsthmusEmbeddingRetriever:
        """Return the retriever of `to_dict`."""
        given = data["init_parameters"]
        given["document_store"] = IsthmusDocumentStore.from_dict(given["document_store"])
        retriever: IsthmusEmbeddingRetriever = default_from_dict(cls, data)
        return retriever

    @component.output_types(documents=list[Document])  # type: ignore[untyped-decorator]
    def run(
        self,
        query_embedding: list[float],
        top_k: int | None = None,
        filters: dict[str, Any] | None = None,
    ) -> dict[str, list[Document]]:
        """Return ``documents``, best first; arguments take the place of those of the retriever."""
        found = self.document_store.search(
            query_embedding,
            top_k=self.top_k if top_k is None else top_k,
            filters=self.filters if filters is None else filters,
            where=self.where,
        )
        return {"documents": found}


def _require_filter(filters: Mapping[str, Any] | None) -> None:
    """Raise `FilterError` unless a filter is a comparison or joins conditions."""
    if filters and "operator" not in filters and "conditions" not in filters:
        raise FilterError("a filter has the keys field, operator and value, or conditions")


def _document(attributes: Mapping[str, Any], score: float | None = None) -> Document:
    state = json.loads(attributes[KEPT])
    if state.get("embedding") is not None:
        values = np.frombuffer(base64.b64decode(state["embedding"]), "<f8")
        state["embedding"] = values.tolist()
    return Document.from_dict(state | {"score": score})
