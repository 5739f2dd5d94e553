"""Late interaction: models with a vector for each token of a text, or patch of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

import numpy as np

from isthmus.encoders.models.sentence_parts import MULTI_VECTOR, SentenceModel, readable_texts
from isthmus.encoders.multi_vectors import compress, expand, max_sim, record_type
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import Modality

MEAN: Final = "meanmaxsim"


class LateInteraction(SentenceModel):
    """A multi-vector model of Sentence Transformers; see `SentenceModel`.

    Attributes
    ----------
    modality : {"text", "image"}
        What it reads of an item: the picture if it can, as the models of pages do.
    dim : int
        Length of a vector.
    """

    kind: ClassVar[str] = "late-interaction"
    type_name: ClassVar[str] = MULTI_VECTOR
    gives: ClassVar[str] = "a vector for each token, such as ColBERT's"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.modality: Modality = "image" if self.model.supports("image") else "text"
        self.dim = int(self.encode_query("a").shape[1])
        self.components["similarity"] = str(self.model.similarity_fn_name)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of a compressed vector."""
        return record_type(self.dim)

    def encode_query(self, query: str) -> FloatArray:
        """Return the vectors of a query, as ``encode_query`` does, float32, shape (n, dim)."""
        with self.runtime.inference():
            (vectors,) = self.model.encode_query(
                readable_texts([query]), convert_to_numpy=True, show_progress_bar=False
            )
        return np.asarray(vectors, np.float32)

    def encode_documents(self, contents: Sequence[Any]) -> list[FloatArray]:
        """Return the vectors of texts or pictures, as ``encode_document`` does.

        Returns
        -------
        list of numpy.ndarray
            float32, shape (n_i, dim) each.
        """
        if not len(contents):
            return []
        prepared = readable_texts(contents) if self.modality == "text" else list(contents)
        with self.runtime.inference():
            found = self.model.encode_document(
                prepared, convert_to_numpy=True, show_progress_bar=False
            )
        return [np.asarray(vectors, np.float32) for vectors in found]

    def encode_records(self, contents: Sequence[Any]) -> list[np.ndarray[Any, Any]]:
        """Return the compressed vectors of texts or pictures."""
        return [compress(vectors) for vectors in self.encode_documents(contents)]

    def score(self, query: str, records: Sequence[np.ndarray[Any, Any]]) -> FloatArray:
        """Return the late interaction of a query with compressed vectors, shape (len(records),)."""
        vectors = self.encode_query(query)
        scores = max_sim(vectors, [expand(one) for one in records])
        if self.model.similarity_fn_name == MEAN:
            scores /= len(vectors)
        return scores
