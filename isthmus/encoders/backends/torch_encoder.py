"""The base of all encoders that run a PyTorch model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.encoders.backends.runtime import Runtime, prefetch_map
from isthmus.encoders.backends.towers import Forward, ModalityTower, Rows, TextTower
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.hub import hash_weights
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import Modality

if TYPE_CHECKING:
    import torch
    from torch import nn


class TorchEncoder(Encoder):
    """A PyTorch model behind the encoder contract.

    Parameters
    ----------
    model : torch.nn.Module
        The model, on the CPU, in float32; the encoder moves it to its device.
    towers : mapping of str to ModalityTower
        Preparation and forward pass of each modality.
    dim : int
        Length of a vector.
    identity : mapping of str to str
        Components of every modality: kind, model, configuration.
    runtime : Runtime
        Device and precision.
    weights : mapping of str to torch.Tensor, optional
        The weights that vectors depend on; by default the model's state.

    Attributes
    ----------
    model : torch.nn.Module
        The model, for further training.
    towers : dict of str to ModalityTower
        See above.
    used_weights : frozenset of str
        Names of the weights that vectors depend on.
    bytes : int
        Size of those weights.
    agreement : float
        Smallest cosine between its vectors and those of the model in PyTorch, measured on samples;
        1 unless another backend runs the model.
    """

    def __init__(
        self,
        model: nn.Module,
        towers: Mapping[Modality, ModalityTower],
        dim: int,
        identity: Mapping[str, str],
        runtime: Runtime,
        weights: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        self.spec = f"{identity['kind']}/{identity['model']}"
        self.modalities = frozenset(towers)
        self.dim = dim
        self.model = model
        self.towers = dict(towers)
        self._runtime = runtime
        weights = weights or model.state_dict()
        self.used_weights = frozenset(weights)
        self.agreement = 1.0
        self.bytes = sum(tensor.nbytes for tensor in weights.values())
        self._components = self._describe(identity, weights)
        self._place(model)

    @property
    def components(self) -> Mapping[str, str]:
        """Everything that changes a vector, by name."""
        return self._components

    @property
    def tokenizer(self) -> Any | None:
        """The ``tokenizers.Tokenizer`` of its texts, if it has one."""
        tower = self.towers.get("text")
        return tower.tokenizer if isinstance(tower, TextTower) else None

    def replace_forward(
        self, modality: Modality, forward: Forward, components: Mapping[str, str]
    ) -> None:
        """Let another backend run the model for a modality.

        Parameters
        ----------
        modality : str
            The modality of the tower.
        forward : callable
            Has the arguments and the result of the tower's `forward`.
        components : mapping of str to str
            Settings of the backend that change a vector.
        """
        self.towers[modality].forward = forward
        self._components |= {f"{modality}.{name}": value for name, value in components.items()}

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
        vectors = self._embed(tower, [one for inputs in inputs_of for one in inputs])
        return mean_of_inputs(vectors, [len(inputs) for inputs in inputs_of])

    def encode(self, batch: Sequence[Any], modality: Modality = "text") -> FloatArray:
        """Turn content into vectors, preparing the next chunk while the model runs."""
        self.require(modality)
        size = self.towers[modality].chunk
        chunks = [batch[start : start + size] for start in range(0, len(batch), size)]
        prepared_chunks = prefetch_map(lambda chunk: self.prepare(chunk, modality), chunks)
        vectors = [self.embed(prepared, modality) for prepared in prepared_chunks]
        return np.concatenate([np.empty((0, self.dim), np.float32), *vectors])

    def _embed(self, tower: ModalityTower, inputs: Sequence[Any]) -> FloatArray:
        """Run the model over its inputs, in batches; shape (len(inputs), dim)."""
        batches = list(tower.batches(inputs, self._runtime.limits))

        def run(rows: Rows) -> torch.Tensor:
            return self._forward(tower, tower.collate([inputs[row] for row in rows]))

        vectors = np.empty((len(inputs), self.dim), np.float32)
        # All batches are queued on the device before the first result is awaited.
        results = list(self._runtime.map_batches(run, batches))
        for rows, result in zip(batches, results, strict=True):
            vectors[rows] = result.cpu().numpy()
        return vectors

    def _forward(self, tower: ModalityTower, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        from torch.nn.functional import normalize

        device = self._runtime.device
        with self._runtime.inference():
            vectors = tower.forward(**{name: t.to(device) for name, t in batch.items()})
        return normalize(vectors.float(), dim=-1)  # (n, dim); float32, so that norms are exact

    def _describe(
        self, identity: Mapping[str, str], weights: Mapping[str, torch.Tensor]
    ) -> dict[str, str]:
        components = {
            **identity,
            "weights": hash_weights(weights),
            "dim": str(self.dim),
            "precision": self._runtime.precision,
        }
        for modality, tower in self.towers.items():
            components |= {f"{modality}.{name}": value for name, value in tower.components.items()}
        return components

    def _place(self, model: nn.Module) -> None:
        import torch

        model.eval().requires_grad_(False)
        model.to(device=self._runtime.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for tower in self.towers.values():
            tower.forward = self._runtime.compiled(tower.forward)


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
