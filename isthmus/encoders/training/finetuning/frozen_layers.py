"""Frozen layers run once: what enters the first trained layer, kept for every text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from isthmus.encoders.backends.towers import TextTower, batches_by_length
from isthmus.encoders.training.finetuning.layers import Stack
from isthmus.numerics.arrays import FloatArray
from isthmus.progress import progress_bar

if TYPE_CHECKING:
    import torch

MOST_BYTES: Final = 4 * 2**30
TOKENS_A_BATCH: Final = 1_024
TEXTS_A_BATCH: Final = 64
TOLERANCE: Final = 1e-4
CHECKED: Final = 8


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
            for places in batches_by_length(lengths, TOKENS_A_BATCH, TEXTS_A_BATCH):
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
