"""Learned sparse vectors: models that weigh the terms of a vocabulary for a text (SPLADE)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

import numpy as np

from isthmus.encoders.models.sentence_parts import SPARSE, SentenceModel, readable_texts
from isthmus.errors import UnknownEncoder
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import Modality

TERM: Final = "term"
TERM_WEIGHT: Final = "weight"
SIMILARITIES: Final = ("dot", "cosine")
TEXTS_AT_ONCE: Final = 32  # the library makes them dense first: a vocabulary of floats each

Records = np.ndarray[Any, Any]


class LearnedSparse(SentenceModel):
    """A sparse model of Sentence Transformers; see `SentenceModel`.

    Attributes
    ----------
    modality : "text"
        What it reads of an item.
    dim : int
        Number of terms.
    """

    kind: ClassVar[str] = "sparse"
    type_name: ClassVar[str] = SPARSE
    gives: ClassVar[str] = "weights of terms, such as SPLADE's"
    untyped: ClassVar[tuple[str, ...]] = ("ForMaskedLM",)
    modality: Modality = "text"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.dim = int(self._run(self.model.encode_query, ["a"]).shape[1])
        self.components["similarity"] = str(self.model.similarity_fn_name)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of a term with its weight."""
        return np.dtype([(TERM, "<i4"), (TERM_WEIGHT, "<f4")])

    def encode_query(self, query: str) -> Records:
        """Return the terms of a query and their weights, as ``encode_query`` gives them."""
        return self._sparse(self._run(self.model.encode_query, [query]))[0]

    def encode_records(self, contents: Sequence[str]) -> list[Records]:
        """Return the terms of texts and their weights, as ``encode_document`` gives them."""
        parts = range(0, len(contents), TEXTS_AT_ONCE)
        return [
            records
            for start in parts
            for records in self._sparse(
                self._run(self.model.encode_document, contents[start : start + TEXTS_AT_ONCE])
            )
        ]

    @classmethod
    def _check_model(cls, model: Any, spec: str) -> None:
        if model.similarity_fn_name not in SIMILARITIES:
            raise UnknownEncoder(
                f"{spec!r} compares its vectors by {model.similarity_fn_name}; give a model of "
                f"{' or '.join(SIMILARITIES)}"
            )

    def _run(self, encode: Any, texts: Sequence[str]) -> FloatArray:
        with self.runtime.inference():
            dense = encode(
                readable_texts(texts),
                convert_to_sparse_tensor=False,
                save_to_cpu=True,
                show_progress_bar=False,
            )
        return np.asarray(dense.float().numpy(), np.float32)  # (len(texts), dim)

    def _sparse(self, dense: FloatArray) -> list[Records]:
        if self.model.similarity_fn_name == "cosine":
            dense = dense / np.maximum(np.linalg.norm(dense, axis=1, keepdims=True), 1e-12)
        found = []
        for row in dense:
            terms = np.flatnonzero(row)
            records = np.empty(len(terms), self.dtype)
            records[TERM], records[TERM_WEIGHT] = terms, row[terms]
            found.append(records)
        return found
