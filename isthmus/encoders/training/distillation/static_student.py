"""The static student: a vector for each token, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.encoders.models.static import Ids, TokenBags
from isthmus.encoders.training.distillation.student import Student
from isthmus.errors import MissingDependency
from isthmus.numerics.arrays import FloatArray

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer


class StaticStudent(Student):
    """Vectors of tokens, trained; it lives in the teacher's own space.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
        The vocabulary.
    vectors : numpy.ndarray
        float32, shape (n_tokens, dim): where it starts.
    texts : sequence of numpy.ndarray
        Token ids of each text.
    storage : {"int8", "float16", "float32"}
        How the vectors are saved.
    """

    batch = 512
    rate = 1e-3

    def __init__(
        self, tokenizer: Tokenizer, vectors: FloatArray, texts: Sequence[Ids], storage: str
    ) -> None:
        import torch

        self._tokenizer = tokenizer
        self._table = torch.nn.Parameter(torch.from_numpy(vectors))
        self._texts = texts
        self._storage = storage

    def optimizer(self, rate: float) -> torch.optim.Optimizer:
        """Make an Adam that touches the tokens of a batch alone."""
        import torch

        return torch.optim.SparseAdam([self._table], lr=rate)

    def vectors(self, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Give unit sums of tokens, twice: they are in the teacher's space."""
        import torch
        from torch.nn.functional import embedding_bag, normalize

        bags = TokenBags.join([self._texts[row] for row in rows])
        ids, starts = (torch.from_numpy(values) for values in bags)
        vectors = normalize(
            embedding_bag(ids, self._table, starts, mode="sum", sparse=True), dim=-1
        )
        return vectors, vectors

    def state(self) -> dict[str, Any]:
        """Give the table."""
        return {"table": self._table.detach()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take the table."""
        self._table.data.copy_(state["table"])

    def save(self, folder: Path) -> str:
        """Write the folder as model2vec does, so that it opens there too."""
        static_model = _model2vec()
        vectors = self._table.detach().numpy()
        embeddings, weights = _stored(vectors, self._storage)
        model = static_model(
            embeddings, self._tokenizer, weights=weights, normalize=True, max_length=None
        )
        model.save_pretrained(folder)
        return f"static/{folder}"


def require_model2vec() -> None:
    """Raise `MissingDependency` unless a static student could be saved in the end."""
    _model2vec()


def _model2vec() -> Any:
    try:
        from model2vec import StaticModel
    except ImportError as error:
        raise MissingDependency(
            "model2vec is not installed; install it with: pip install 'isthmus[distill]'"
        ) from error
    return StaticModel


def _stored(vectors: FloatArray, storage: str) -> tuple[np.ndarray, FloatArray | None]:
    """Give rows as they are stored, and what each is multiplied by.

    In 8 bits every row has a scale of its own; one for the whole table would round the small
    vectors of frequent tokens away.
    """
    from model2vec.quantization import DType, quantize_embeddings

    if storage != "int8":
        return quantize_embeddings(vectors, DType(storage)), None
    peaks = np.maximum(np.abs(vectors).max(1), 1e-12).astype(np.float32)
    rows = quantize_embeddings(vectors / peaks[:, None], DType.Int8)
    return rows, np.asarray(peaks / 127, np.float32)
