"""The layers of a model: where they stand, and which of its parameters lie where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isthmus.errors import InvalidInput

if TYPE_CHECKING:
    from torch import nn
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from isthmus.encoders.backends.towers import TextTower, batches_by_length
from isthmus.numerics.arrays import FloatArray
from isthmus.progress import progress_bar

if TYPE_CHECKING:
    import torch

MOST_BYTES: Final = 4 * 2**30
TOKENS_A_BATCH: Final = 1_024
TEXTS_PER_BATCH: Final = 64
TOLERANCE: Final = 1e-4
CHECKED: Final = 8


@dataclass(frozen=True, eq=False)
class Stack:
    """Layers of one kind that a model runs one after the other.

    Attributes
    ----------
    name : str
        Where they stand in the model.
    layers : nn.ModuleList or nn.Sequential
        The layers.
    """

    name: str
    layers: Any

    def first_trained(self, layers: int | None) -> int:
        """Give the number of the lowest layer that is trained."""
        return 0 if layers is None else max(0, len(self.layers) - layers)


def stacks_of(model: nn.Module) -> list[Stack]:
    """Find the stacks of a model, leaving out those inside of others.

    A stack is two or more modules of one class that have linear maps, in a list.
    """
    from torch import nn

    found: list[Stack] = []
    for name, module in model.named_modules():
        if not isinstance(module, (nn.ModuleList, nn.Sequential)) or len(module) < 2:
            continue
        inside = any(name.startswith(f"{stack.name}.") for stack in found)
        if not inside and len({type(layer) for layer in module}) == 1 and _has_maps(module):
            found.append(Stack(name, module))
    return found


def linear_maps(model: nn.Module, layers: int | None) -> list[str]:
    """Name the linear maps in the layers that are trained.

    Raises
    ------
    InvalidInput
        If there is none.
    """
    from torch import nn

    trained = [
        f"{stack.name}.{number}."
        for stack in stacks_of(model)
        for number in range(stack.first_trained(layers), len(stack.layers))
    ]
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.startswith(tuple(trained))
    ]
    if not names:
        raise InvalidInput(
            "this model has no layers with linear maps, which LoRA changes; train all of it with "
            "method='full' (--method full)"
        )
    return names


def trained_parameters(model: nn.Module, layers: int | None) -> list[str]:
    """Name the parameters that full fine-tuning moves: all, or those of the upper layers.

    Raises
    ------
    InvalidInput
        If there are no layers to count.
    """
    names = [name for name, _ in model.named_parameters()]
    if layers is None:
        return names
    stacks = stacks_of(model)
    if not stacks:
        raise InvalidInput("this model has no layers that could be counted; leave layers out")
    upper = tuple(
        f"{stack.name}.{number}."
        for stack in stacks
        for number in range(stack.first_trained(layers), len(stack.layers))
    )
    return [name for name in names if name.startswith(upper)]


def _has_maps(module: nn.Module) -> bool:
    from torch import nn

    return any(isinstance(own, nn.Linear) for own in module.modules())


class _Enough(Exception):
    """Ends a run of the model at the first trained layer."""


class FrozenLayers:
    """The states of texts below the first trained layer, in a file of float32.

    Parameters
    ----------
    tower : TextTower
        Prepares and runs texts.
    stack : Stack
        The layers of the model.
    first : int
        The lowest layer that is trained.
    prepared : sequence of list of int
        Token ids of each text.
    rows : sequence of int
        The texts that are asked for.
    file : Path
        Where the states are kept.
    device : torch.device
        Where the model lies.
    show : bool
        Whether to show a bar.
    """

    def __init__(
        self,
        tower: TextTower,
        stack: Stack,
        first: int,
        prepared: Sequence[list[int]],
        rows: Sequence[int],
        file: Path,
        device: torch.device,
        *,
        show: bool = False,
    ) -> None:
        self._device = device
        self._tower, self._layers, self._first = tower, stack.layers, first
        self._prepared = prepared
        self._lengths = np.zeros(len(prepared), np.int64)
        self._lengths[rows] = [len(prepared[row]) for row in rows]
        self._starts = np.concatenate([[0], np.cumsum(self._lengths)])
        self._rows = np.array(rows, np.int64)
        self._states = self._record(file, show=show)

    def forward(self, rows: Sequence[int]) -> torch.Tensor:
        """Run the trained layers over texts."""
        batch = self._batch(rows)
        states = self._padded(rows, batch["attention_mask"])
        with self._only_above(states):
            return self._tower.forward(**batch)

    def agrees(self) -> bool:
        """Tell whether some texts have the same vectors as when all layers run."""
        import torch

        rows = self._rows[:CHECKED].tolist()
        with torch.no_grad():
            whole = self._tower.forward(**self._batch(rows))
            try:
                above = self.forward(rows)
            except (RuntimeError, TypeError, LookupError):  # layers that need those below them
                return False
        return whole.shape == above.shape and bool((whole - above).abs().max() < TOLERANCE)

    def _record(self, file: Path, *, show: bool) -> Any:
        """Run the frozen layers over the texts that are asked for."""
        lengths = self._lengths[self._rows]
        states: Any = None
        with progress_bar("running the frozen layers", len(lengths), show=show) as advance:
            for places in batches_by_length(lengths, TOKENS_A_BATCH, TEXTS_PER_BATCH):
                rows = self._rows[places]
                own = self._below(rows.tolist())
                if states is None:
                    shape = (int(self._starts[-1]), own.shape[1])
                    states = np.memmap(file, "<f4", "w+", shape=shape)
                ends = np.cumsum([0, *self._lengths[rows]])
                for row, start, end in zip(rows, ends[:-1], ends[1:], strict=True):
                    states[self._starts[row] : self._starts[row + 1]] = own[start:end]
                advance(len(rows))
        return states

    def _below(self, rows: Sequence[int]) -> FloatArray:
        """Give what enters the first trained layer, text after text, shape (tokens, width)."""
        import torch

        batch = self._batch(rows)
        with torch.no_grad(), self._watching() as seen, suppress(_Enough):
            self._tower.forward(**batch)
        own: FloatArray = seen[0][batch["attention_mask"].bool()].cpu().numpy()
        return own

    @contextmanager
    def _watching(self) -> Iterator[list[torch.Tensor]]:
        """Keep what enters the first trained layer, and run no further."""
        seen: list[torch.Tensor] = []

        def keep(module: Any, args: Any, kwargs: Any) -> None:
            del module
            seen.append(args[0] if args else kwargs["hidden_states"])
            raise _Enough

        hook = self._layers[self._first].register_forward_pre_hook(keep, with_kwargs=True)
        try:
            yield seen
        finally:
            hook.remove()

    @contextmanager
    def _only_above(self, states: torch.Tensor) -> Iterator[None]:
        """Leave the frozen layers out, and let kept states enter the first that is trained."""

        def put(module: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
            del module
            if args:
                return (states, *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": states}

        hook = self._layers[self._first].register_forward_pre_hook(put, with_kwargs=True)
        modules = self._layers._modules
        kept = dict(modules)
        above = [layer for number, layer in enumerate(kept.values()) if number >= self._first]
        modules.clear()
        modules.update({str(number): layer for number, layer in enumerate(above)})
        try:
            yield
        finally:
            hook.remove()
            modules.clear()
            modules.update(kept)

    def _padded(self, rows: Sequence[int], mask: torch.Tensor) -> torch.Tensor:
        import torch

        own = [self._states[self._starts[row] : self._starts[row + 1]] for row in rows]
        states = torch.zeros(*mask.shape, self._states.shape[1], device=self._device)
        states[mask.bool()] = torch.from_numpy(np.concatenate(own)).to(self._device)
        return states

    def _batch(self, rows: Sequence[int]) -> dict[str, torch.Tensor]:
        batch = self._tower.collate([self._prepared[row] for row in rows])
        return {name: tensor.to(self._device) for name, tensor in batch.items()}


def bytes_of_states(prepared: Sequence[list[int]], dim: int) -> int:
    """Give the size of the states of texts."""
    return 4 * dim * sum(len(ids) for ids in prepared)
