"""Shorter vectors: the first values alone, for models that were trained to put most into them."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from isthmus.encoders.encoder import Encoder
from isthmus.errors import InvalidInput, command_in
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import Modality

_TRAINED: Final = re.compile(
    r"matryoshka|mrl|nomic-embed-text-v1\.5|modernbert-embed|mxbai-embed-(large|2d)|embedding-?gemma"
    r"|qwen3-(vl-)?embedding|jina-(embeddings-v[345]|clip-v2)|snowflake-arctic-embed-.*(v1\.5|v2)"
    r"|text-embedding-3|gte-multilingual|siglip2-mrl|granite-embedding-.*r2",
    re.IGNORECASE,
)
"""Names of published models whose authors trained them so, and of models that say it themselves."""


class Truncation(NamedTuple):
    """The options ``dim`` and ``force`` of a spec.

    Attributes
    ----------
    dim : int
        Values that are kept.
    forced : bool
        Whether to truncate vectors of a model that is not known to be trained for it.
    """

    dim: int
    forced: bool

    @classmethod
    def pop_from(cls, options: dict[str, str], spec: str) -> Truncation | None:
        """Take the options out of those of a spec.

        Raises
        ------
        InvalidInput
            If one of them is not valid.
        """
        forced = options.pop("force", None)
        dim = options.pop("dim", None)
        if forced not in (None, "true", "false"):
            raise InvalidInput(f"force={forced} in {spec!r} is neither true nor false")
        if dim is None:
            return None
        if not dim.isdecimal() or not int(dim):
            raise InvalidInput(f"dim={dim} in {spec!r} cannot be used; give a number of values")
        return cls(int(dim), forced == "true")


class TruncatedEncoder(Encoder):
    """The first values of the vectors of an encoder, at unit norm again.

    Kusupati et al., *Matryoshka Representation Learning*, NeurIPS 2022.

    Parameters
    ----------
    encoder : Encoder
        Makes the vectors.
    truncation : Truncation
        How many values are kept.

    Raises
    ------
    InvalidInput
        If the vectors are shorter than that, or the model is not known to be trained for it and
        the truncation is not forced.
    """

    def __init__(self, encoder: Encoder, truncation: Truncation) -> None:
        dim, name = truncation.dim, encoder.spec.partition("?")[0]
        if dim > encoder.dim:
            raise InvalidInput(
                f"dim={dim} is more than the {encoder.dim} values of the vectors of {name!r}"
            )
        shortens = dim < encoder.dim
        if shortens and not (truncation.forced or _TRAINED.search(name) or encoder.nested):
            raise InvalidInput(
                f"{name!r} is not known to be trained so that the first {dim} of its {encoder.dim} "
                "values stand for all (Matryoshka), and its vectors would lose more than they "
                "need; use one that is, or accept the loss with force=true, after a look at: "
                f"{command_in(None, f'plan --dims {dim}')}"
            )
        self.spec, self.modalities, self.dim = encoder.spec, encoder.modalities, dim
        self._encoder = encoder

    @property
    def components(self) -> Mapping[str, str]:
        """Everything that changes a vector, by name."""
        return {**self._encoder.components, "dim": str(self.dim)}

    def for_queries(self, instruction: str | None = None) -> TruncatedEncoder:
        """Return this encoder for queries."""
        encoder = copy.copy(self)
        encoder._encoder = self._encoder.for_queries(instruction)
        return encoder

    def prepare(self, batch: Sequence[Any], modality: Modality) -> list[Any]:
        """Do the work that needs no model."""
        return self._encoder.prepare(batch, modality)

    def are_truncated(self, prepared: Sequence[Any], modality: Modality) -> list[bool]:
        """Return which prepared contents fill the input of the model."""
        return self._encoder.are_truncated(prepared, modality)

    def embed(self, prepared: Sequence[Any], modality: Modality) -> FloatArray:
        """Run the model over prepared values, and truncate the vectors to shape (n, dim)."""
        return truncate(self._encoder.embed(prepared, modality), self.dim)

    def _encode(self, batch: Sequence[Any], modality: Modality) -> FloatArray:
        return truncate(self._encoder._encode(batch, modality), self.dim)


def truncate(vectors: FloatArray, dim: int) -> FloatArray:
    """Return the first values of each vector at unit norm, shape (n, dim).

    Examples
    --------
    >>> truncate(np.float32([[3, 4, 12]]) / 13, 2).round(3).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    kept = vectors[:, :dim]
    norms = np.sqrt(np.einsum("nd,nd->n", kept, kept))[:, None]
    return np.asarray(kept / np.where(norms > 0, norms, 1), np.float32)
