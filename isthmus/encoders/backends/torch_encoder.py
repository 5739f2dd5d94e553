"""The base of all encoders that run a PyTorch model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from isthmus.encoders.backends.runtime import Runtime
from isthmus.encoders.backends.tower_encoder import TowerEncoder
from isthmus.encoders.backends.towers import Arrays, Forward, ModalityTower, Rows, to_tensors
from isthmus.encoders.weights import hash_weights
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import Modality

if TYPE_CHECKING:
    import torch
    from torch import nn


class TorchEncoder(TowerEncoder):
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
        super().__init__(towers, dim, identity)
        self.model = model
        self.limits = runtime.limits
        self._runtime = runtime
        weights = weights or model.state_dict()
        self.used_weights = frozenset(weights)
        self.agreement = 1.0
        self.bytes = sum(tensor.nbytes for tensor in weights.values())
        self._components |= {
            "weights": hash_weights(weights),
            "dim": str(dim),
            "precision": runtime.precision,
        }
        self._place(model)

    def count_as(self, precision: str) -> None:
        """State the precision of a reference that the vectors were found to agree with."""
        self._components["precision"] = precision

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

    def _run(
        self, modality: Modality, inputs: Sequence[Any], batches: Sequence[Rows]
    ) -> Iterator[FloatArray]:
        tower = self.towers[modality]

        def run(rows: Rows) -> torch.Tensor:
            return self._forward(tower, tower.collate([inputs[row] for row in rows]))

        # All batches are queued on the device before the first result is awaited.
        results = list(self._runtime.map_batches(run, batches))
        return (result.cpu().numpy() for result in results)

    def _forward(self, tower: ModalityTower, batch: Arrays) -> torch.Tensor:
        from torch.nn.functional import normalize

        device = self._runtime.device
        with self._runtime.inference():
            vectors = tower.forward(**{n: t.to(device) for n, t in to_tensors(batch).items()})
        return normalize(vectors.float(), dim=-1)  # (n, dim); float32, so that norms are exact

    def _place(self, model: nn.Module) -> None:
        import torch

        model.eval().requires_grad_(False)
        model.to(device=self._runtime.device, dtype=self._runtime.weights_dtype)
        if all(weights.ndim < 5 for weights in model.parameters()):  # convolutions over time have 5
            model.to(memory_format=torch.channels_last)
        for tower in self.towers.values():
            tower.forward = self._runtime.compiled(tower.forward)
