"""What every student is to the training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
import itertools
from typing import TYPE_CHECKING

from isthmus.encoders.registry import load_encoder
from isthmus.encoders.training.distillation.inputs import Contents
from isthmus.encoders.training.saving import require_trainable, save_encoder

if TYPE_CHECKING:
    import torch


class Student(ABC):
    """Something with parameters that turns the contents of a training into vectors.

    Attributes
    ----------
    batch : int
        Contents a step, where the settings do not say.
    rate : float
        Size of the first step, where the settings do not say.
    """

    batch: int
    rate: float

    @abstractmethod
    def optimizer(self, rate: float) -> torch.optim.Optimizer:
        """Make what moves the parameters."""

    @abstractmethod
    def vectors(self, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Give the vectors of contents, with gradients.

        Parameters
        ----------
        rows : sequence of int
            Which of the contents.

        Returns
        -------
        tuple of torch.Tensor
            Of unit norm: the student's own, shape (n, student's dim), and the same brought into
            the teacher's space, shape (n, teacher's dim).
        """

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return the parameters."""

    @abstractmethod
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Set the parameters."""

    @abstractmethod
    def save(self, folder: Path) -> str:
        """Write an encoder into a folder, and give its spec."""


class NetworkStudent(Student):
    """A network as its encoder runs it, with gradients.

    Where the dimensions of the two differ, the student's vectors reach the teacher's space by a
    linear map that is trained with it and left behind (Romero et al., "FitNets", ICLR 2015); the
    similarity loss is taken of the student's own.

    Parameters
    ----------
    spec : str
        What is trained: a model of Transformers, Sentence Transformers or timm.
    contents : Contents
        What it learns from.
    dim : int
        The teacher's.
    seed : int
        Of the linear map.

    Raises
    ------
    InvalidInput
        If such an encoder cannot be trained here, or does not take these contents.
    """

    batch = 64
    rate = 3e-4

    def __init__(self, spec: str, contents: Contents, dim: int, seed: int) -> None:
        import torch

        self._spec = spec
        loaded = load_encoder(spec, device="cpu", precision="fp32")
        encoder = require_trainable(loaded, spec, "'static', or ")
        self._encoder, self._contents = encoder, contents
        encoder.require(contents.modality)
        self._tower = encoder.towers[contents.modality]
        self._model: Any = encoder.model
        self._model.requires_grad_(True)
        self._head: torch.nn.Module = torch.nn.Identity()
        if encoder.dim != dim:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self._head = torch.nn.Linear(encoder.dim, dim, bias=False)
        self._prepared = self._prepare_texts()

    def optimizer(self, rate: float) -> torch.optim.Optimizer:
        """Make AdamW over the network and the linear map."""
        import torch

        found = itertools.chain(self._model.parameters(), self._head.parameters())
        return torch.optim.AdamW(list(found), lr=rate)

    def vectors(self, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the network over contents."""
        from torch.nn.functional import normalize

        if self._prepared is None:
            prepared = self._tower.prepare(self._contents.load(rows))
        else:
            prepared = [self._prepared[row] for row in rows]
        own = self._tower.forward(**self._tower.collate(prepared)).float()
        return normalize(own, dim=-1), normalize(self._head(own), dim=-1)

    def state_dict(self) -> dict[str, Any]:
        """Return the parameters of the network and of the linear map."""
        return {"model": self._model.state_dict(), "head": self._head.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Set the parameters of the network and of the linear map."""
        self._model.load_state_dict(state_dict["model"])
        self._head.load_state_dict(state_dict["head"])

    def save(self, folder: Path) -> str:
        """Write the model as its own library does, with what prepares its contents."""
        return save_encoder(self._encoder, self._spec, folder)

    def _prepare_texts(self) -> list[Any] | None:
        """Tokenise all texts at once; images are too large for that."""
        if self._contents.modality != "text":
            return None
        return self._tower.prepare(self._contents.values)
