"""Static encoders: a text's vector is the sum of its tokens' vectors. No network runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from isthmus.encoders.backends.runtime import Runtime, choose_runtime
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.hub import explained
from isthmus.encoders.spec import local_path
from isthmus.encoders.static_words import Bags, Ids, Words
from isthmus.encoders.weights import hash_settings, hash_weights, read_weights
from isthmus.errors import UnknownEncoder
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import Modality

if TYPE_CHECKING:
    import torch

WEIGHTS: Final = "model.safetensors"
TOKENIZER: Final = "tokenizer.json"
NOTHING: Final = ("[PAD]", "<pad>")
CHUNK: Final = 8_192


class Table(NamedTuple):
    """The vectors of tokens as they are stored.

    Attributes
    ----------
    embeddings : torch.Tensor
        Shape (n_rows, dim), of any type of number.
    weights : torch.Tensor or None
        What each token's row is multiplied by, shape (n_tokens,).
    mapping : torch.Tensor or None
        The row of each token, shape (n_tokens,), where tokens share rows.
    """

    embeddings: torch.Tensor
    weights: torch.Tensor | None
    mapping: torch.Tensor | None

    def vectors(self) -> torch.Tensor:
        """Give the vector that each token adds, float32, shape (n_tokens, dim)."""
        rows = self.embeddings.float()
        if self.mapping is not None:
            rows = rows[self.mapping.long()]
        return rows if self.weights is None else rows * self.weights.float()[:, None]


class StaticEncoder(Encoder):
    """Sums the vectors of a text's tokens and brings the sum to unit norm.

    Parameters
    ----------
    table : Table
        Vectors of tokens.
    tokenizer : tokenizers.Tokenizer
        Divides words into tokens.
    runtime : Runtime
        Where the vectors lie, and in which precision.
    """

    def __init__(self, table: Table, tokenizer: Any, runtime: Runtime) -> None:
        self.spec = "static/"
        self.modalities = frozenset({"text"})
        vectors = table.vectors()
        self.dim = int(vectors.shape[1])
        nothing = nothing_of(tokenizer)
        if not vectors[nothing].any():
            vectors[nothing] = vectors.mean(0)
        self._vectors = vectors.to(runtime.device, runtime.dtype)
        self._words = Words(tokenizer, nothing)
        self.bytes = sum(t.nbytes for t in table if t is not None)
        self._components = {
            "kind": "static",
            "weights": hash_weights({n: t for n, t in table._asdict().items() if t is not None}),
            "tokenizer": hash_settings(_settings(tokenizer)),
            "dim": str(self.dim),
            "precision": runtime.precision,
        }

    @property
    def components(self) -> Mapping[str, str]:
        """Everything that changes a vector, by name."""
        return self._components

    def prepare(self, batch: Sequence[Any], modality: Modality) -> list[Ids]:
        """Tokenise texts; safe to call from several threads at once."""
        self.require(modality)
        return self._words(batch).divide()

    def embed(self, prepared: Sequence[Any], modality: Modality) -> FloatArray:
        """Add up the vectors of tokens.

        Returns
        -------
        numpy.ndarray
            float32, shape (len(prepared), dim), rows of unit norm.
        """
        self.require(modality)
        return self._sum(Bags.join(prepared))

    def encode(self, batch: Sequence[Any], modality: Modality = "text") -> FloatArray:
        """Turn texts into vectors, without a list of ids for each."""
        self.require(modality)
        out = np.empty((len(batch), self.dim), np.float32)
        for start in range(0, len(batch), CHUNK):
            part = batch[start : start + CHUNK]
            out[start : start + CHUNK] = self._sum(self._words(part))
        return out

    def _sum(self, bags: Bags) -> FloatArray:
        import torch
        from torch.nn.functional import embedding_bag, normalize

        with torch.inference_mode():
            ids, starts = (torch.from_numpy(values).to(self._vectors.device) for values in bags)
            sums = embedding_bag(ids, self._vectors, starts, mode="sum").float()
            vectors: FloatArray = normalize(sums, dim=-1).cpu().numpy()
        return vectors


def load_static(
    name: str, *, device: str = "auto", precision: str = "auto", compile: bool = False
) -> Encoder:
    """Load a static text encoder from a folder: a distilled student, or a model of model2vec.

    Parameters
    ----------
    name : str
        The folder, with ``model.safetensors`` and ``tokenizer.json``.
    device, precision, compile
        As for `load_encoder`; there is nothing to compile.

    Raises
    ------
    UnknownEncoder
        If the folder is none.
    """
    from tokenizers import Tokenizer

    runtime = choose_runtime(device, precision, compile)
    spec = f"static/{name}"
    folder = local_path(name, spec)
    if folder is None:
        raise UnknownEncoder(
            f"cannot load {spec!r}: nothing is at {name}; give the folder that "
            "isthmus distill made, or that of a model of model2vec"
        )
    with explained(spec):
        table = read_table(folder)
        return StaticEncoder(table, Tokenizer.from_file(str(folder / TOKENIZER)), runtime)


def read_table(folder: Path) -> Table:
    """Read the vectors of tokens, in the layout of model2vec."""
    state = read_weights(folder / WEIGHTS)
    return Table(state["embeddings"], state.get("weights"), state.get("mapping"))


def nothing_of(tokenizer: Any) -> int:
    """Give the id of the token that stands for nothing: padding."""
    for token in NOTHING:
        found: int | None = tokenizer.token_to_id(token)
        if found is not None:
            return found
    return 0


def _settings(tokenizer: Any) -> dict[str, Any]:
    return {**json.loads(tokenizer.to_str()), "truncation": None, "padding": None}
