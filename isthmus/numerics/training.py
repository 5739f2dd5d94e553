"""The training loop: epochs, validation, early stopping, checkpoints and resume.

The loop knows neither the model nor the data. It takes a function from a batch to a loss, a
function from the number of an epoch to its batches, and an optimiser. Where the batches of an
epoch depend on its number alone, a run that is interrupted and resumed from its checkpoint ends
with the same parameters, bit for bit, as one that is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np

from isthmus.numerics.checkpoint import Checkpoint
from isthmus.progress import Advance, progress_bar

if TYPE_CHECKING:
    import torch
    from torch.optim.lr_scheduler import LRScheduler

    from isthmus.numerics.adamw import AdamW, ComputedLoss

Batch = TypeVar("Batch")


class Stateful(Protocol):
    """Anything with parameters that can be read and set, such as a `torch.nn.Module`."""

    def state_dict(self) -> dict[str, Any]:
        """Return the parameters by name."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> object:
        """Set the parameters."""
        ...


@dataclass(frozen=True)
class EpochResult:
    """Loss and validation scores of one epoch.

    Attributes
    ----------
    loss : float
        Mean training loss over the steps; NaN before the first epoch and without steps.
    scores : dict of str to float
        Validation scores by name, the higher the better; empty without validation.
    """

    loss: float
    scores: dict[str, float] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """Mean of the validation scores; 0 without any."""
        return float(np.mean(list(self.scores.values()))) if self.scores else 0.0


OnEpoch = Callable[[int, EpochResult], None]
"""Called with the number of a finished epoch and its result; what it raises ends the training."""


@dataclass
class TrainingHistory:
    """Results of all epochs.

    Attributes
    ----------
    results : list of EpochResult
        Item n is the result of epoch n; item 0 is the untrained model.
    best_epoch : int
        Epoch with the best validation score; 0 is the untrained model.
    """

    results: list[EpochResult] = field(default_factory=list)
    best_epoch: int = 0

    @property
    def epochs(self) -> int:
        """Number of finished epochs."""
        return max(0, len(self.results) - 1)

    @property
    def best(self) -> EpochResult:
        """Result of the best epoch."""
        return self.results[self.best_epoch]

    @property
    def losses(self) -> list[float]:
        """Mean training loss of each epoch, from the first."""
        return [result.loss for result in self.results[1:]]

    @property
    def scores(self) -> list[float]:
        """Mean validation score of the untrained model and after each epoch."""
        return [result.score for result in self.results]


@dataclass(frozen=True)
class Validation:
    """Validation after each epoch. The model is left with the parameters of its best epoch.

    Attributes
    ----------
    measure : callable
        Returns validation scores by name, the higher the better, and leaves the model in
        training mode.
    patience : int, optional
        Stop after so many epochs without improvement; by default never.
    min_improvement : float, default 0
        A score must exceed the best by more than this to count as an improvement.
    untrained : bool, default True
        Whether the untrained model is measured too, and may be the best.
    """

    measure: Callable[[], Mapping[str, float]]
    patience: int | None = None
    min_improvement: float = 0.0
    untrained: bool = True


@dataclass(frozen=True)
class Clipping:
    """Gradient clipping by the total norm of some parameters."""

    parameters: Sequence[torch.Tensor]
    max_norm: float = 1.0


class TrainingLoop(Generic[Batch]):
    """Gradient descent over epochs.

    Parameters
    ----------
    loss : callable
        Returns the scalar loss of a batch: of PyTorch, or of NumPy with its gradients.
    batches : callable
        Returns the batches of an epoch, given its number, from 1. With a checkpoint they must
        depend on that number alone.
    optimizer : torch.optim.Optimizer or AdamW
        Updates the parameters.
    epochs : int
        Maximum number of epochs.
    schedule : LRScheduler, optional
        Learning-rate schedule of the optimiser, advanced after every step.
    clipping : Clipping, optional
        Gradient clipping before every step.
    model : Stateful, optional
        The trained parameters; needed for `validation` and for `checkpoint`.
    validation : Validation, optional
        Measures the model, stops early, and keeps the best parameters.
    checkpoint : Checkpoint, optional
        Written after every epoch and, within epochs, twice a minute; the run resumes from it.
    accelerator : accelerate.Accelerator, optional
        Runs the backward pass; only its main process writes checkpoints.
    bf16_device : str, optional
        Device type whose losses are computed in bfloat16 (`torch.autocast`).
    """

    def __init__(
        self,
        loss: Callable[[Batch], torch.Tensor | ComputedLoss],
        batches: Callable[[int], Iterable[Batch]],
        optimizer: torch.optim.Optimizer | AdamW,
        epochs: int,
        *,
        schedule: LRScheduler | None = None,
        clipping: Clipping | None = None,
        model: Stateful | None = None,
        validation: Validation | None = None,
        checkpoint: Checkpoint | None = None,
        accelerator: Any = None,
        bf16_device: str | None = None,
    ) -> None:
        if model is None and (validation or checkpoint):
            raise ValueError("validation and checkpoints need the model, whose state they keep")
        self._loss, self._batches, self._optimizer = loss, batches, optimizer
        self._epochs, self._schedule, self._clipping = epochs, schedule, clipping
        self._model, self._validation, self._checkpoint = model, validation, checkpoint
        self._accelerator, self._bf16_device = accelerator, bf16_device
        self._step_in_epoch, self._loss_sum = 0, 0.0
        self._best_state: dict[str, Any] | None = None
        self._history = TrainingHistory()

    def run(
        self,
        label: str = "training",
        *,
        steps_per_epoch: int | None = None,
        on_epoch: OnEpoch | None = None,
        show: bool = False,
    ) -> TrainingHistory:
        """Train until the epochs are done or validation stops improving.

        Parameters
        ----------
        label : str
            Text of the progress bar.
        steps_per_epoch : int, optional
            Steps of an epoch: the bar then counts steps, by default epochs.
        on_epoch : callable, optional
            Called after every epoch, and after the validation of the untrained model.
        show : bool, default False
            Whether to show a progress bar.
        """
        history, unit = self._history, steps_per_epoch or 1
        self._resume()
        with progress_bar(label, self._epochs * unit, show=show) as advance:
            steps_done = self._step_in_epoch if steps_per_epoch else 0
            advance(history.epochs * unit + steps_done)
            if not history.results:
                self._start(on_epoch)
            while not self._is_over:
                self._train_epoch(advance if steps_per_epoch else None)
                if on_epoch is not None:
                    on_epoch(history.epochs, history.results[-1])
                if not steps_per_epoch:
                    advance(1)
            if history.epochs < self._epochs:  # stopped early
                advance((self._epochs - history.epochs) * unit)
        if self._best_state is not None and self._model is not None:
            self._model.load_state_dict(self._best_state)
        return history

    @property
    def _is_over(self) -> bool:
        """Whether all epochs are done, or the last ones brought no improvement."""
        done, validation = self._history.epochs, self._validation
        patience = None if validation is None else validation.patience
        waited = done - self._history.best_epoch
        return done >= self._epochs or (patience is not None and waited >= patience)

    def _start(self, on_epoch: OnEpoch | None) -> None:
        """Record the untrained model."""
        measured = self._validation is not None and self._validation.untrained
        self._record(float("nan"), validate=measured)
        if measured and on_epoch is not None:
            on_epoch(0, self._history.results[0])

    def _train_epoch(self, advance: Advance | None) -> None:
        """Train the rest of the current epoch, validate, and write a checkpoint."""
        number = self._history.epochs + 1
        for batch in islice(self._batches(number), self._step_in_epoch, None):
            self._step(batch)
            if self._checkpoint is not None and self._checkpoint.is_due:
                self._save(self._checkpoint)
            if advance is not None:
                advance(1)
        steps = self._step_in_epoch
        self._record(self._loss_sum / steps if steps else float("nan"), validate=True)
        self._step_in_epoch, self._loss_sum = 0, 0.0
        if self._checkpoint is not None:
            self._save(self._checkpoint)

    def _step(self, batch: Batch) -> None:
        with self._autocast():
            loss = self._loss(batch)
        self._optimizer.zero_grad()
        if self._accelerator is None:
            loss.backward()
        else:
            self._accelerator.backward(loss)
        if self._clipping is not None:
            from torch.nn.utils import clip_grad_norm_

            clip_grad_norm_(self._clipping.parameters, self._clipping.max_norm)
        self._optimizer.step()
        if self._schedule is not None:
            self._schedule.step()
        self._step_in_epoch += 1
        self._loss_sum += loss.item()

    def _autocast(self) -> AbstractContextManager[Any]:
        if self._bf16_device is None:
            return nullcontext()
        import torch

        return torch.autocast(self._bf16_device, torch.bfloat16)

    def _record(self, loss: float, *, validate: bool) -> None:
        """Add the result of an epoch, and keep the parameters if they are the best so far."""
        history, validation = self._history, self._validation
        if validation is None or self._model is None or not validate:
            history.results.append(EpochResult(loss))
            return
        result = EpochResult(loss, {n: float(s) for n, s in validation.measure().items()})
        history.results.append(result)
        first = self._best_state is None
        if first or result.score > history.best.score + validation.min_improvement:
            history.best_epoch = history.epochs
            self._best_state = deepcopy(self._model.state_dict())

    def _resume(self) -> None:
        state = None if self._checkpoint is None else self._checkpoint.read()
        if state is None or self._model is None:
            return
        import torch

        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._schedule is not None:
            self._schedule.load_state_dict(state["schedule"])
        self._best_state = state["best"]
        self._step_in_epoch, self._loss_sum = state["step_in_epoch"], state["loss_sum"]
        self._history.results = [EpochResult(**result) for result in state["results"]]
        self._history.best_epoch = state["best_epoch"]
        torch.set_rng_state(state["random"])  # dropout goes on as without the interruption
        if state["cuda_random"] and torch.cuda.device_count() == len(state["cuda_random"]):
            torch.cuda.set_rng_state_all(state["cuda_random"])

    def _save(self, checkpoint: Checkpoint) -> None:
        import torch

        if self._model is None:
            return
        if self._accelerator is not None and not self._accelerator.is_main_process:
            return
        checkpoint.write(
            {
                "model": self._model.state_dict(),
                "optimizer": self._optimizer.state_dict(),
                "schedule": None if self._schedule is None else self._schedule.state_dict(),
                "best": self._best_state,
                "best_epoch": self._history.best_epoch,
                "results": [vars(result) for result in self._history.results],
                "step_in_epoch": self._step_in_epoch,
                "loss_sum": self._loss_sum,
                "random": torch.get_rng_state(),
                "cuda_random": _cuda_random_states(),
            }
        )


def _cuda_random_states() -> list[torch.Tensor]:
    """Return the random state of every GPU; none where this process uses no GPU."""
    import torch

    used: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return torch.cuda.get_rng_state_all() if used else []


def linear_decay(optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:
    """Return a schedule whose learning rate falls linearly to 0 within some steps."""
    from torch.optim.lr_scheduler import LambdaLR

    return LambdaLR(optimizer, lambda step: 1 - step / max(1, steps))
