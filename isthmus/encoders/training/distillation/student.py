"""What every student is to the training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    def state(self) -> dict[str, Any]:
        """Give the parameters, for a checkpoint."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Take the parameters of a checkpoint."""

    @abstractmethod
    def save(self, folder: Path) -> str:
        """Write an encoder into a folder, and give its spec."""
