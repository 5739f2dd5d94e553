"""The base of encoders that are towers in front of a model, whatever runs the model."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np

from isthmus.encoders.backends.runtime import BatchLimits, prefetch_map
from isthmus.encoders.backends.towers import ModalityTower, Rows, TextTower
from isthmus.encoders.encoder import Encoder
from isthmus.errors import InvalidInput
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import Modality


class TowerEncoder(Encoder):
    """Prepares contents in towers, divides them into batches, and pools what a model returns.

    A subclass defines `limits` and `_run`.

    Parameters
    ----------
    towers : mapping of str to ModalityTower
        Preparation and batches of each modality.
    dim : int
        Length of a vector.
    identity : mapping of str to str
        Components of every modality; ``kind`` and ``model`` among them.

    Attributes
    ----------
    towers : dict of str to ModalityTower
        See above.
    limits : BatchLimits
        The largest batches.
    """

    limits: BatchLimits

    def __init__(
        self, towers: Mapping[Modality, ModalityTower], dim: int, identity: Mapping[str, str]
    ) -> None:
        self.spec = f"{identity['kind']}/{identity['model']}"
        self.modalities = frozenset(towers)
        self.dim = dim
        self.towers = dict(towers)
        self._components = dict(identity)

    @property
    def components(self) -> Mapping[str, str]:
        """Everything that changes a vector, by name."""
        towers = {
            f"{modality}.{name}": value
            for modality, tower in self.towers.items()
            for name, value in tower.components.items()
        }
        return {**self._components, **towers}

    @property
    def tokenizer(self) -> Any | None:
        """The ``tokenizers.Tokenizer`` of its texts, if it has one."""
        tower = self.towers.get("text")
        return tower.tokenizer if isinstance(tower, TextTower) else None

    def for_queries(self, instruction: str | None = None) -> Self:
        """Return this encoder with the prompts of queries."""
        if instruction is not None and not any(t.takes_instructions for t in self.towers.values()):
            super().for_queries(instruction)  # raises
        encoder = copy.copy(self)
        encoder.towers = {m: tower.for_queries(instruction) for m, tower in self.towers.items()}
        return encoder

    def set_prompts(self, prompts: Mapping[str, str]) -> None:
        """Replace prompts of texts, and of media where the model takes them behind a prompt.

        Parameters
        ----------
        prompts : mapping of str to str
            The prompts of ``query`` and ``document``, or of one of them.

        Raises
        ------
        InvalidInput
            If the encoder takes no contents behind a prompt.
        """
        prompted = {m: tower for m, tower in self.towers.items() if tower.takes_prompts}
        if not prompted:
            raise InvalidInput(f"the encoder {self.spec!r} takes no text, and so no prompt")
        self.towers |= {m: tower.with_prompts(prompts) for m, tower in prompted.items()}

    def prepare(self, batch: Sequence[Any], modality: Modality) -> list[Any]:
        """Tokenise texts, resize images, or cut audio; thread-safe."""
        self.require(modality)
        return self.towers[modality].prepare(batch)

    def are_truncated(self, prepared: Sequence[Any], modality: Modality) -> list[bool]:
        """Return which prepared contents fill the input of the model: their end is cut off."""
        return self.towers[modality].are_truncated(prepared)

    def embed(self, prepared: Sequence[Any], modality: Modality) -> FloatArray:
        """Run the model over prepared values.

        Returns
        -------
        numpy.ndarray
            float32, shape (len(prepared), dim); rows of unit norm, or zero where the model
            returns zero.
        """
        self.require(modality)
        tower = self.towers[modality]
        inputs_of = [tower.inputs(value) for value in prepared]
        inputs = [one for inputs in inputs_of for one in inputs]
        batches = list(tower.batches(inputs, self.limits))
        vectors = np.empty((len(inputs), self.dim), np.float32)
        for rows, result in zip(batches, self._run(modality, inputs, batches), strict=True):
            vectors[rows] = result
        return mean_of_inputs(vectors, [len(inputs) for inputs in inputs_of])

    def _encode(self, batch: Sequence[Any], modality: Modality) -> FloatArray:
        """Turn content into vectors, preparing the next chunk while the model runs."""
        size = self.towers[modality].chunk
        chunks = [batch[start : start + size] for start in range(0, len(batch), size)]
        prepared_chunks = prefetch_map(lambda chunk: self.prepare(chunk, modality), chunks)
        return np.concatenate([self.embed(prepared, modality) for prepared in prepared_chunks])

    @abstractmethod
    def _run(
        self, modality: Modality, inputs: Sequence[Any], batches: Sequence[Rows]
    ) -> Iterator[FloatArray]:
        """Run the model over its inputs.

        Parameters
        ----------
        modality : str
            Modality of the inputs.
        inputs : sequence
            Inputs of the model, as the tower's `collate` takes them.
        batches : sequence of numpy.ndarray
            Rows of each batch.

        Yields
        ------
        numpy.ndarray
            Unit vectors of a batch, float32, shape (n_rows, dim), in the order of `batches`.
        """


def mean_of_inputs(vectors: FloatArray, counts: Sequence[int]) -> FloatArray:
    """Average the vectors of each content's model inputs, and scale the means to unit norm.

    Parameters
    ----------
    vectors : numpy.ndarray
        float32, shape (sum(counts), dim), unit rows.
    counts : sequence of int
        Number of model inputs of each content, at least 1.

    Returns
    -------
    numpy.ndarray
        float32, shape (len(counts), dim).

    Examples
    --------
    >>> mean_of_inputs(np.float32([[1, 0], [0, 1], [1, 0]]), [1, 2]).round(3).tolist()
    [[1.0, 0.0], [0.7070000171661377, 0.7070000171661377]]
    """
    if len(vectors) == len(counts):
        return vectors
    starts = np.cumsum([0, *counts[:-1]])
    sums = np.add.reduceat(vectors, starts, axis=0, dtype=np.float64)  # (len(counts), dim)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.asarray(sums / np.where(norms > 0, norms, 1), np.float32)
