"""An encoder that runs a PyTorch model: what all of them share."""

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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class TorchEncoder(Encoder):
    """A PyTorch model behind the encoder contract.

    Parameters
    ----------
    model : torch.nn.Module
        The model, on the CPU, in float32; the encoder moves it to its device.
    towers : mapping of str to Tower
        How each modality is prepared and run through the model.
    dim : int
        Length of a vector.
    identity : mapping of str to str
        What changes a vector for every modality: kind, model, configuration.
    runtime : Runtime
        Where and how exactly to compute.
    weights : mapping of str to torch.Tensor, optional
        What the weights hash is taken of, if not the model's own state.

    Attributes
    ----------
    model : torch.nn.Module
        The model, for those who train it further.
    towers : dict of str to Tower
        See above.
    used : frozenset of str
        Names of the weights that a vector depends on.
    bytes : int
        Size of the weights.
    agreement : float
        The least cosine measured between its vectors and those of the model as it is; 1 unless
        something else than PyTorch runs it.
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
        used = weights or model.state_dict()
        self.used = frozenset(used)
        self.agreement = 1.0
        self.bytes = sum(tensor.nbytes for tensor in used.values())
        self._components = self._describe(identity, used)
        self._place(model)

    @property
    def components(self) -> Mapping[str, str]:
        """Everything that changes a vector, by name."""
        return self._components

    @property
    def tokenizer(self) -> Any | None:
        """The ``tokenizers.Tokenizer`` of its texts, where it has one."""
        tower = self.towers.get("text")
        return tower.tokenizer if isinstance(tower, TextTower) else None

    def replace_forward(
        self, modality: Modality, forward: Forward, components: Mapping[str, str]
    ) -> None:
        """Let something else run the model for a modality.

        Parameters
        ----------
        modality : str
            Whose tower.
        forward : callable
            Takes and gives what the tower's own does.
        components : mapping of str to str
            What of this changes a vector.
        """
        self.towers[modality].forward = forward
        self._components |= {f"{modality}.{name}": value for name, value in components.items()}

    def prepare(self, batch: Sequence[Any], modality: Modality) -> list[Any]:
        """Tokenise texts, resize images, cut audio; safe to call from several threads at once."""
        self.require(modality)
        return self.towers[modality].prepare(batch)

    def embed(self, prepared: Sequence[Any], modality: Modality) -> FloatArray:
        """Run the model over prepared values.

        Returns
        -------
        numpy.ndarray
            float32, shape (len(prepared), dim); rows of unit norm, or zero where the model
            gives zero.
        """
        self.require(modality)
        tower = self.towers[modality]
        parted = [tower.pieces(value) for value in prepared]
        vectors = self._embed(tower, [piece for pieces in parted for piece in pieces])
        return mean_of_inputs(vectors, [len(pieces) for pieces in parted])

    def _embed(self, tower: ModalityTower, pieces: Sequence[Any]) -> FloatArray:
        batches = list(tower.batches(pieces, self._runtime.limits))

        def run(rows: Rows) -> torch.Tensor:
            return self._forward(tower, tower.collate([pieces[row] for row in rows]))

        out = np.empty((len(pieces), self.dim), np.float32)
        done = list(self._runtime.spread(run, batches))  # all queued before the device is awaited
        for rows, vectors in zip(batches, done, strict=True):
            out[rows] = vectors.cpu().numpy()
        return out

    def encode(self, batch: Sequence[Any], modality: Modality = "text") -> FloatArray:
        """Turn content into vectors, preparing the next piece while the model runs."""
        self.require(modality)
        chunk = self.towers[modality].chunk
        pieces = [batch[start : start + chunk] for start in range(0, len(batch), chunk)]
        prepared = prefetch_map(lambda piece: self.prepare(piece, modality), pieces)
        vectors = [self.embed(piece, modality) for piece in prepared]
        return np.concatenate([np.empty((0, self.dim), np.float32), *vectors])

    def _forward(self, tower: ModalityTower, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        from torch.nn.functional import normalize

        device = self._runtime.device
        with self._runtime.inference():
            vectors = tower.forward(**{name: t.to(device) for name, t in batch.items()})
        return normalize(vectors.float(), dim=-1)

    def _describe(
        self, identity: Mapping[str, str], weights: Mapping[str, torch.Tensor]
    ) -> dict[str, str]:
        parts = {
            **identity,
            "weights": hash_weights(weights),
            "dim": str(self.dim),
            "precision": self._runtime.precision,
        }
        for modality, tower in self.towers.items():
            parts |= {f"{modality}.{name}": value for name, value in tower.components.items()}
        return parts

    def _place(self, model: nn.Module) -> None:
        import torch

        model.eval().requires_grad_(False)
        model.to(device=self._runtime.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for tower in self.towers.values():
            tower.forward = self._runtime.finish(tower.forward)


def mean_of_inputs(vectors: FloatArray, counts: Sequence[int]) -> FloatArray:
    """Make one vector of those of each content's pieces: their mean, at unit norm.

    Parameters
    ----------
    vectors : numpy.ndarray
        float32, shape (sum(counts), dim), unit rows.
    counts : sequence of int
        Pieces of each content, at least one.

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
    sums = np.add.reduceat(vectors, starts, axis=0, dtype=np.float64)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.asarray(sums / np.where(norms > 0, norms, 1), np.float32)
