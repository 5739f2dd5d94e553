"""A vector store of LangChain whose documents are the items of a domain of a space."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self
from uuid import uuid4

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from isthmus.client.remote import RemoteSpace
from isthmus.errors import InvalidInput, ItemNotFound
from isthmus.integrations.documents import unless_new
from isthmus.retrieval.search.results import Hit
from isthmus.space import Space

DOMAIN: Final = "documents"
VECTOR_NAME: Final = "embedding"
METADATA: Final = "metadata_json"


class IsthmusVectorStore(VectorStore):  # type: ignore[misc]  # LangChain may be missing
    """Documents of LangChain in a space, by its encoder or by an embedding model of LangChain.

    The metadata of a document are kept verbatim, as JSON. Those that `attributes` names are
    attributes of the item too, so that ``where`` can filter by them.

    Parameters
    ----------
    space : Space or RemoteSpace
        What `isthmus.connect` returns: a folder or a service.
    embedding : Embeddings, optional
        Model that makes the vectors; by default the encoder of the space does. The space must have
        a named vector of one's own for it, see `create`.
    domain : str, default "documents"
        Domain of the documents.
    vector_name : str, default "embedding"
        Named vector that holds what `embedding` makes.
    attributes : sequence of str
        Names of metadata that are attributes of the items.

    Examples
    --------
    ``IsthmusVectorStore(isthmus.connect("notes.space")).as_retriever(search_kwargs={"k": 3})``
    """

    def __init__(
        self,
        space: Space | RemoteSpace,
        *,
        embedding: Embeddings | None = None,
        domain: str = DOMAIN,
        vector_name: str = VECTOR_NAME,
        attributes: Sequence[str] = (),
    ) -> None:
        self._space, self._embedding = space, embedding
        self._domain, self._vector_name = domain, vector_name
        self._attributes = tuple(attributes)

    @classmethod
    def create(cls, path: str | Path, embedding: Embeddings | None = None, **options: Any) -> Self:
        """Make a space for documents and return its store.

        Parameters
        ----------
        path : str or Path
            Folder of the new space.
        embedding : Embeddings, optional
            Model that makes the vectors; by default the local text encoder does.
        options
            See the class.

        Raises
        ------
        SpaceExists
            If the folder exists and is not empty.
        """
        if embedding is None:
            return cls(Space.create(path, text_encoder="local/text"), **options)
        name = options.get("vector_name", VECTOR_NAME)
        dim = len(embedding.embed_query("dimension"))
        return cls(Space.create(path, "none", vectors={name: dim}), embedding=embedding, **options)

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        path: str | Path,
        **options: Any,
    ) -> Self:
        """Make a space at `path`, add texts, and return its store."""
        store = cls.create(path, embedding, **options)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    @property
    def embeddings(self) -> Embeddings | None:
        """The embedding model, or None where the space encodes."""
        return self._embedding

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Sequence[Mapping[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **_: Any,
    ) -> list[str]:
        """Add texts or replace those of the same id, and return their ids.

        Parameters
        ----------
        texts : iterable of str
            The texts.
        metadatas : sequence of mapping, optional
            Metadata of each; what JSON can hold.
        ids : sequence of str, optional
            Id of each; new ones where None.

        Raises
        ------
        InvalidInput
            If there are not as many metadata or ids as texts, or metadata are not JSON.
        """
        listed = list(texts)
        metadata = [{}] * len(listed) if metadatas is None else list(metadatas)
        given: Sequence[str | None] = [None] * len(listed) if ids is None else ids
        if not len(listed) == len(metadata) == len(given):
            raise InvalidInput(
                f"{len(listed)} texts came with {len(metadata)} metadata and {len(given)} ids; "
                "each text needs one of each"
            )
        chosen = [uuid4().hex if one is None else str(one) for one in given]
        rows = [self._row(*one) for one in zip(chosen, listed, metadata, strict=True)]
        if not rows:
            return []
        vector: dict[str, Any] = {}
        if self._embedding is not None:
            for row, values in zip(rows, self._embedding.embed_documents(listed), strict=True):
                row[self._vector_name] = values
            vector = {"vector": self._vector_name}
        last = {row["item_id"]: row for row in rows}  # of the same id, as of one text after another
        self._space.upsert(
            list(last.values()), domain=self._domain, text="text", replace=True, **vector
        )
        return chosen

    def _row(self, item_id: str, text: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
        try:
            kept = json.dumps(dict(metadata), ensure_ascii=False)
        except (TypeError, ValueError) as error:
            raise InvalidInput(
                f"the metadata of document {item_id!r} are not JSON ({error}); turn what is no "
                "text, number, list or mapping into text first"
            ) from error
        chosen = {name: metadata.get(name) for name in self._attributes}
        return {"item_id": item_id, "text": text, METADATA: kept, **chosen}

    def delete(self, ids: list[str] | None = None, **_: Any) -> bool:
        """Delete documents by id, or all of the domain; unknown ids are passed over."""
        if ids is None or ids:
            chosen = None if ids is None else list(ids)
            unless_new(
                self._space,
                self._domain,
                lambda: self._space.delete(chosen, domain=self._domain),
                0,
            )
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the documents of some ids, in their order; unknown ids are passed over."""
        try:
            rows = self._space.get(list(ids)) if ids else []
        except ItemNotFound:
            rows = [row for item_id in ids for row in self._known(item_id)]
        return [_document(row["item_id"], row) for row in rows if row["domain"] == self._domain]

    def _known(self, item_id: str) -> list[dict[str, Any]]:
        try:
            return [self._space.get(item_id)]
        except ItemNotFound:
            return []

    def similarity_search(self, query: str, k: int = 4, **options: Any) -> list[Document]:
        """Return the k documents nearest to a text; `options` are those of `Space.search`."""
        return [document for document, _ in self.similarity_search_with_score(query, k, **options)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, **options: Any
    ) -> list[tuple[Document, float]]:
        """Return the k documents nearest to a text, with their cosine similarities."""
        if self._embedding is None:
            return self._found(k, text=query, **options)
        return self._found(k, vector=self._embedding.embed_query(query), **options)

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, **options: Any
    ) -> list[Document]:
        """Return the k documents nearest to a vector of the embedding model."""
        return [document for document, _ in self._found(k, vector=embedding, **options)]

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,  # noqa: ARG002  # the space reads as many candidates as it needs
        lambda_mult: float = 0.5,
        **options: Any,
    ) -> list[Document]:
        """Return k documents near to a text and unlike each other (`diversity` of the search)."""
        return self.similarity_search(query, k, diversity=1.0 - lambda_mult, **options)

    def _found(self, k: int, **options: Any) -> list[tuple[Document, float]]:
        hits: Sequence[Hit] = unless_new(
            self._space,
            self._domain,
            lambda: self._space.search(k=k, domain=self._domain, attributes=True, **options),
            [],
        )
        return [
            (_document(hit.item_id, {"text": hit.text, "attributes": hit.attributes}), hit.score)
            for hit in hits
        ]

    def _select_relevance_score_fn(self) -> Any:
        return lambda similarity: min(max(similarity, 0.0), 1.0)


def _document(item_id: str, row: Mapping[str, Any]) -> Document:
    metadata = json.loads((row["attributes"] or {}).get(METADATA) or "{}")
    return Document(id=item_id, page_content=row["text"] or "", metadata=metadata)
