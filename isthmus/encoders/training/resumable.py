"""A training in steps and passes that, cut off, goes on from its last checkpoint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from isthmus.numerics.checkpoint import Checkpoint
from isthmus.progress import progress_bar

if TYPE_CHECKING:
    import torch

Watch = Callable[[int, float], None]


class ResumableTraining(ABC):
    """Parameters, their optimiser, and how far they are.

    What a step learns from must follow from its number alone: then a training that goes on from a
    checkpoint, written twice a minute and after every pass, comes to the same parameters.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        What moves the parameters.
    rate : float
        Size of the first step; it falls to 0 in a straight line.
    per_pass : int
        Steps of a pass.
    passes : int
        How many, at most.
    checkpoint : Checkpoint
        Where the training goes on from.

    Attributes
    ----------
    step : int
        How many steps were taken.
    losses : list of float
        Mean loss of each pass.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        rate: float,
        per_pass: int,
        passes: int,
        checkpoint: Checkpoint,
    ) -> None:
        self._optimizer, self._rate = optimizer, rate
        self._per_pass, self._steps = per_pass, passes * per_pass
        self._checkpoint = checkpoint
        self._sum = 0.0  # of the losses of the pass
        self.step = 0
        self.losses: list[float] = []

    @property
    def is_over(self) -> bool:
        """Whether no step is left to take."""
        return self.step >= self._steps

    def run(self, label: str, watch: Watch | None, *, show: bool) -> None:
        """Take all steps that are left.

        Parameters
        ----------
        label : str
            What the bar says.
        watch : callable, optional
            Is called after each pass with its number and mean loss; what it raises ends the
            training.
        show : bool
            Whether to show a bar.
        """
        self._resume()
        with progress_bar(label, self._steps, show=show) as advance:
            advance(self.step)
            while not self.is_over:
                self._take_step()
                advance(1)
                if self.step % self._per_pass == 0 and watch is not None:
                    watch(len(self.losses), self.losses[-1])

    @abstractmethod
    def _loss(self, step: int) -> torch.Tensor:
        """Give the loss of a step."""

    @abstractmethod
    def _state(self) -> dict[str, Any]:
        """Give what a checkpoint holds beside the optimiser and how far it is."""

    @abstractmethod
    def _restore(self, state: dict[str, Any]) -> None:
        """Take what a checkpoint holds."""

    @abstractmethod
    def _judge(self) -> None:
        """Look how good the parameters are, before the first step and after each pass."""

    def _resume(self) -> None:
        found = self._checkpoint.read()
        if found is None:
            self._judge()
            return
        self._restore(found)
        self._optimizer.load_state_dict(found["optimizer"])
        self.step, self._sum, self.losses = found["step"], found["sum"], found["losses"]

    def _take_step(self) -> None:
        """Learn from one batch; after a pass, or from time to time, keep where we are."""
        if self.step % self._per_pass == 0:
            self._sum = 0.0
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * (1 - self.step / self._steps)
        loss = self._loss(self.step)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._sum += loss.item()
        self.step += 1
        passed = self.step % self._per_pass == 0
        if passed:
            self.losses.append(self._sum / self._per_pass)
            self._judge()
        if passed or self._checkpoint.is_due:
            self._save()

    def _save(self) -> None:
        self._checkpoint.write(
            {
                **self._state(),
                "optimizer": self._optimizer.state_dict(),
                "step": self.step,
                "sum": self._sum,
                "losses": self.losses,
            }
        )
