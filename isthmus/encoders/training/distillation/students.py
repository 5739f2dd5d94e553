"""Students: the contract of what is trained, and small networks of text or images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus.encoders.backends.towers import to_tensors
from isthmus.encoders.registry import load_encoder
from isthmus.encoders.training.distillation.inputs import Contents
from isthmus.encoders.training.saving import require_trainable, save_encoder

if TYPE_CHECKING:
    import torch


class Student(ABC):
    """A trainable model that maps the training contents to vectors.

    Attributes
    ----------
    batch : int
        Default batch size.
    rate : float
        Default initial learning rate.
    """

    batch: int
    rate: float

    @abstractmethod
    def optimizer(self, rate: float) -> torch.optim.Optimizer:
        """Return an optimiser of the parameters."""

    @abstractmethod
    def vectors(self, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the vectors of contents, with gradients.

        Parameters
        ----------
        rows : sequence of int
            Rows of the training contents.

        Returns
        -------
        tuple of torch.Tensor
            Rows of unit norm: the student's vectors, shape (n, student's dim), and the same
            mapped into the teacher's space, shape (n, teacher's dim).
        """

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return the parameters."""

    @abstractmethod
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Set the parameters."""

    @abstractmethod
    def save(self, folder: Path) -> str:
        """Write an encoder into a folder, and return its spec."""


class NetworkStudent(Student):
    """The network of an encoder, with gradients.

    Where the dimensions of the two differ, a linear map to the teacher's space is trained beside
    the network and discarded afterwards (Romero et al., "FitNets", ICLR 2015); the similarity loss
    is taken of the unmapped vectors.

    Parameters
    ----------
    spec : str
        A model of Transformers, Sentence Transformers or timm.
    contents : Contents
        Training contents.
    dim : int
        Dimension of the teacher.
    seed : int
        Seed of the linear map.

    Raises
    ------
    InvalidInput
        If the encoder cannot be trained, or does not take the modality of the contents.
    """

    batch = 64
    rate = 3e-4

    def __init__(self, spec: str, contents: Contents, dim: int, seed: int) -> None:
        import torch

        self._spec, self._contents = spec, contents
        loaded = load_encoder(spec, device="cpu", precision="fp32")
        self._encoder = require_trainable(loaded, spec, "'static', or ")
        self._encoder.require(contents.modality)
        self._tower = self._encoder.towers[contents.modality]
        self._model: Any = self._encoder.model
        self._model.requires_grad_(True)
        self._map: torch.nn.Module = torch.nn.Identity()
        if self._encoder.dim != dim:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self._map = torch.nn.Linear(self._encoder.dim, dim, bias=False)
        self._tokens: list[Any] | None = None  # of all texts; images would not fit into memory
        if contents.modality == "text":
            self._tokens = self._tower.prepare(contents.values)

    def optimizer(self, rate: float) -> torch.optim.Optimizer:
        """Return AdamW over the network and the linear map."""
        import torch

        return torch.optim.AdamW([*self._model.parameters(), *self._map.parameters()], lr=rate)

    def vectors(self, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the network over contents; return its vectors and their projection, (n, dim) each."""
        from torch.nn.functional import normalize

        if self._tokens is None:
            prepared = self._tower.prepare(self._contents.load(rows))
        else:
            prepared = [self._tokens[row] for row in rows]
        vectors = self._tower.forward(**to_tensors(self._tower.collate(prepared))).float()
        return normalize(vectors, dim=-1), normalize(self._map(vectors), dim=-1)

    def state_dict(self) -> dict[str, Any]:
        """Return the parameters of the network and of the linear map."""
        return {"model": self._model.state_dict(), "map": self._map.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Set the parameters of the network and of the linear map."""
        self._model.load_state_dict(state_dict["model"])
        self._map.load_state_dict(state_dict["map"])

    def save(self, folder: Path) -> str:
        """Write the model in the format of its own library."""
        return save_encoder(self._encoder, self._spec, folder)
