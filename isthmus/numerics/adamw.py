"""AdamW over NumPy arrays, for networks whose gradients are written out.

PyTorch takes seconds and most of a gigabyte to import, which a network of some thousand parameters
is not worth. `TrainingLoop` runs these as it runs those of PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class AdamW:
    """AdamW (Loshchilov and Hutter, ICLR 2019), with clipping and a learning rate that falls.

    Parameters
    ----------
    parameters : dict of str to numpy.ndarray
        float32; updated in place.
    learning_rate : float
        Of the first step; it falls linearly to 0.
    weight_decay : float
        Share of the learning rate by which parameters shrink in a step.
    steps : int
        Steps until the learning rate is 0.
    max_norm : float
        Gradients whose norm over all parameters is larger are scaled down to it.
    """

    def __init__(
        self,
        parameters: ArrayState,
        learning_rate: float,
        *,
        weight_decay: float = 1e-2,
        steps: int,
        max_norm: float = 1.0,
    ) -> None:
        self.parameters, self.gradients = parameters, ArrayState()
        self._learning_rate, self._weight_decay = learning_rate, weight_decay
        self._steps, self._max_norm, self._done = steps, max_norm, 0
        self._means = {name: np.zeros_like(value) for name, value in parameters.items()}
        self._squares = {name: np.zeros_like(value) for name, value in parameters.items()}

    def zero_grad(self) -> None:
        """Forget the gradients of the last step."""
        self.gradients = {}

    def step(self) -> None:
        """Update the parameters by their gradients."""
        rate = self._learning_rate * (1 - self._done / max(1, self._steps))
        self._done += 1
        norm = float(np.sqrt(sum(np.vdot(g, g) for g in self.gradients.values())))
        clipped = np.float32(min(1.0, self._max_norm / (norm + 1e-6)))
        first, second = (1 - beta**self._done for beta in BETAS)  # corrections of the bias
        for name, gradient in self.gradients.items():
            mean, square = self._means[name], self._squares[name]
            mean += (1 - BETAS[0]) * (clipped * gradient - mean)
            square += (1 - BETAS[1]) * ((clipped * gradient) ** 2 - square)
            parameter = self.parameters[name]
            parameter *= 1 - rate * self._weight_decay
            parameter -= rate / first * mean / (np.sqrt(square / second) + EPSILON)

    def state_dict(self) -> dict[str, Any]:
        """Return the moments of the gradients, and the number of steps."""
        return {"means": self._means, "squares": self._squares, "done": self._done}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        self._means, self._squares = state["means"], state["squares"]
        self._done = state["done"]


@dataclass(frozen=True, eq=False)
class ComputedLoss:
    """The loss of a batch, with its gradients.

    Attributes
    ----------
    value : float
        The loss.
    gradients : dict of str to numpy.ndarray
        By the parameters of the optimizer.
    optimizer : AdamW
        Whose next step they are for.
    """

    value: float
    gradients: dict[str, npt.NDArray[Any]]
    optimizer: AdamW

    def backward(self) -> None:
        """Hand the gradients to the optimizer."""
        self.optimizer.gradients = self.gradients

    def item(self) -> float:
        """Return the loss."""
        return self.value
