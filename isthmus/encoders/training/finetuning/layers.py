"""Layers of a model: stacks, the parameters that are trained, and outputs of frozen layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from isthmus.encoders.backends.towers import TextTower, batches_by_length, to_tensors
from isthmus.errors import InvalidInput
from isthmus.numerics.arrays import FloatArray
from isthmus.progress import progress_bar

if TYPE_CHECKING:
    import torch
    from torch import nn

MAX_STATE_BYTES: Final = 4 * 2**30
TOKENS_PER_BATCH: Final = 1_024
TEXTS_PER_BATCH: Final = 64
TOLERANCE: Final = 1e-4
CHECKED_TEXTS: Final = 8


@dataclass(frozen=True, eq=False)
class LayerStack:
    """Layers of one class that a model runs one after the other.

    Attributes
    ----------
    name : str
        Name of the module that holds them.
    layers : nn.ModuleList or nn.Sequential
        The layers.
    """

    name: str
    layers: Any

    def first_trained(self, layers: int | None) -> int:
        """Return the number of the lowest trained layer."""
        return 0 if layers is None else max(0, len(self.layers) - layers)


def layer_stacks(model: nn.Module) -> list[LayerStack]:
    """Return the outermost stacks of a model.

    A stack is a list of two or more modules of one class that contain linear layers.
    """
    from torch import nn

    stacks: list[LayerStack] = []
    for name, module in model.named_modules():
        if not isinstance(module, (nn.ModuleList, nn.Sequential)) or len(module) < 2:
            continue
        nested = any(name.startswith(f"{stack.name}.") for stack in stacks)
        if not nested and len({type(layer) for layer in module}) == 1 and _has_linear(module):
            stacks.append(LayerStack(name, module))
    return stacks


def trained_linear_layers(model: nn.Module, layers: int | None) -> list[str]:
    """Return the names of the linear layers that LoRA changes.

    Raises
    ------
    InvalidInput
        If there is none.
    """
    from torch import nn

    prefixes = _trained_prefixes(layer_stacks(model), layers)
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.startswith(prefixes)
    ]
    if not names:
        raise InvalidInput(
            "this model has no layers with linear maps, which LoRA changes; train all of it with "
            "method='full' (--method full)"
        )
    return names


def trained_parameters(model: nn.Module, layers: int | None) -> list[str]:
    """Return the names of the parameters that full fine-tuning changes.

    Raises
    ------
    InvalidInput
        If there are no layers to count.
    """
    names = [name for name, _ in model.named_parameters()]
    if layers is None:
        return names
    stacks = layer_stacks(model)
    if not stacks:
        raise InvalidInput("this model has no layers that could be counted; leave layers out")
    return [name for name in names if name.startswith(_trained_prefixes(stacks, layers))]


def _trained_prefixes(stacks: Sequence[LayerStack], layers: int | None) -> tuple[str, ...]:
    return tuple(
        f"{stack.name}.{number}."
        for stack in stacks
        for number in range(stack.first_trained(layers), len(stack.layers))
    )


def _has_linear(module: nn.Module) -> bool:
    from torch import nn

    return any(isinstance(part, nn.Linear) for part in module.modules())


class _StopForward(Exception):
    """Ends a forward pass at the first trained layer."""


class FrozenLayers:
    """Inputs of the first trained layer, computed once for every text and kept in a file.

    Parameters
    ----------
    tower : TextTower
        Prepares and runs texts.
    stack : LayerStack
        The layers of the model.
    first : int
        The lowest trained layer.
    tokens : sequence of list of int
        Token ids of each text.
    rows : sequence of int
        The texts that will be run.
    file : Path
        File of the states, float32, shape (total tokens, width).
    device : torch.device
        Device of the model.
    show : bool, default False
        Whether to show a progress bar.
    """

    def __init__(
        self,
        tower: TextTower,
        stack: LayerStack,
        first: int,
        tokens: Sequence[list[int]],
        rows: Sequence[int],
        file: Path,
        device: torch.device,
        *,
        show: bool = False,
    ) -> None:
        self._tower, self._layers, self._first = tower, stack.layers, first
        self._tokens, self._device = tokens, device
        self._lengths = np.zeros(len(tokens), np.int64)
        self._lengths[rows] = [len(tokens[row]) for row in rows]
        self._starts = np.concatenate([[0], np.cumsum(self._lengths)])
        self._rows = np.array(rows, np.int64)
        self._states = self._compute(file, show=show)

    def forward(self, rows: Sequence[int]) -> torch.Tensor:
        """Run the trained layers over texts."""
        batch = self._batch(rows)
        states = self._padded_states(rows, batch["attention_mask"])
        with self._starting_from(states):
            return self._tower.forward(**batch)

    def matches_full_model(self) -> bool:
        """Return whether some texts have the same vectors as when all layers run."""
        import torch

        rows = self._rows[:CHECKED_TEXTS].tolist()
        with torch.no_grad():
            full = self._tower.forward(**self._batch(rows))
            try:
                partial = self.forward(rows)
            except (RuntimeError, TypeError, LookupError):  # the upper layers need the lower ones
                return False
        return full.shape == partial.shape and bool((full - partial).abs().max() < TOLERANCE)

    def _compute(self, file: Path, *, show: bool) -> Any:
        """Run the frozen layers over the texts, and return their outputs as a memmap."""
        lengths = self._lengths[self._rows]
        states: Any = None
        with progress_bar("running the frozen layers", len(lengths), show=show) as advance:
            for positions in batches_by_length(lengths, TOKENS_PER_BATCH, TEXTS_PER_BATCH):
                rows = self._rows[positions]
                outputs = self._frozen_outputs(rows.tolist())
                if states is None:
                    shape = (int(self._starts[-1]), outputs.shape[1])
                    states = np.memmap(file, "<f4", "w+", shape=shape)
                ends = np.cumsum([0, *self._lengths[rows]])
                for row, start, end in zip(rows, ends[:-1], ends[1:], strict=True):
                    states[self._starts[row] : self._starts[row + 1]] = outputs[start:end]
                advance(len(rows))
        return states

    def _frozen_outputs(self, rows: Sequence[int]) -> FloatArray:
        """Return the inputs of the first trained layer, text after text, (n_tokens, width)."""
        import torch

        batch = self._batch(rows)
        with torch.no_grad(), self._recording() as inputs, suppress(_StopForward):
            self._tower.forward(**batch)
        outputs: FloatArray = inputs[0][batch["attention_mask"].bool()].cpu().numpy()
        return outputs

    @contextmanager
    def _recording(self) -> Iterator[list[torch.Tensor]]:
        """Record the input of the first trained layer, and stop there."""
        inputs: list[torch.Tensor] = []

        def record(module: Any, args: Any, kwargs: Any) -> None:
            del module
            inputs.append(args[0] if args else kwargs["hidden_states"])
            raise _StopForward

        hook = self._layers[self._first].register_forward_pre_hook(record, with_kwargs=True)
        try:
            yield inputs
        finally:
            hook.remove()

    @contextmanager
    def _starting_from(self, states: torch.Tensor) -> Iterator[None]:
        """Remove the frozen layers, and feed states to the first trained one."""

        def replace_input(module: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
            del module
            if args:
                return (states, *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": states}

        hook = self._layers[self._first].register_forward_pre_hook(replace_input, with_kwargs=True)
        modules = self._layers._modules
        original = dict(modules)
        trained = list(original.values())[self._first :]
        modules.clear()
        modules.update({str(number): layer for number, layer in enumerate(trained)})
        try:
            yield
        finally:
            hook.remove()
            modules.clear()
            modules.update(original)

    def _padded_states(self, rows: Sequence[int], mask: torch.Tensor) -> torch.Tensor:
        """Return the states of texts, shape (n_texts, longest, width)."""
        import torch

        states = [self._states[self._starts[row] : self._starts[row + 1]] for row in rows]
        padded = torch.zeros(*mask.shape, self._states.shape[1], device=self._device)
        padded[mask.bool()] = torch.from_numpy(np.concatenate(states)).to(self._device)
        return padded

    def _batch(self, rows: Sequence[int]) -> dict[str, torch.Tensor]:
        batch = to_tensors(self._tower.collate([self._tokens[row] for row in rows]))
        return {name: tensor.to(self._device) for name, tensor in batch.items()}


def state_bytes(tokens: Sequence[list[int]], dim: int) -> int:
    """Return the size of the states of texts."""
    return 4 * dim * sum(len(ids) for ids in tokens)
