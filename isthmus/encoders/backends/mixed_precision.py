"""Which matrix products of a model may be computed in 8 bits: those that turn vectors least.

Each linear layer alone is rounded as OpenVINO rounds it (weights with a scale and an offset for
each row, inputs with a scale for each group of values), and what that turns the vectors of sample
texts by is its harm. Harms of several layers add up to about that of all of them together. Layers
are taken in the order of harm for each multiplication, as long as the sum stays within a budget
(as in HAWQ-V2; Dong et al., NeurIPS 2020, with harms measured and not derived).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from isthmus.encoders.backends.tower import Forward

if TYPE_CHECKING:
    import torch

BUDGET: Final = 3e-5
"""The most that vectors may turn, as 1 - cosine in the mean: some 1 % of ten neighbours."""

LEVELS: Final = 255
SIGNED: Final = 127
LEAST: Final = 1e-9


def layers_for_int8(
    model: Any,
    forward: Forward,
    batch: Mapping[str, torch.Tensor],
    group: int,
    budget: float = BUDGET,
) -> list[str]:
    """Name the linear layers that may be computed in 8 bits.

    Parameters
    ----------
    model : torch.nn.Module
        The model; it is as before afterwards.
    forward : callable
        Gives vectors of a batch, and runs the model.
    batch : mapping of str to Tensor
        Sample texts.
    group : int
        Values of a token's input that share a scale.
    budget : float
        The most that the sum of harms may be.

    Returns
    -------
    list of str
        Names of modules, in their order; none where each alone does more harm.
    """
    import torch

    layers = {
        name: layer for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)
    }
    with torch.inference_mode():
        expected = _unit(forward(**batch))
        harms = {}
        for name, layer in layers.items():
            with rounded(layer, group):
                harms[name] = float(1 - (_unit(forward(**batch)) * expected).sum(1).mean())
    return within_budget(harms, {n: own.weight.numel() for n, own in layers.items()}, budget)


def within_budget(harms: Mapping[str, float], sizes: Mapping[str, int], budget: float) -> list[str]:
    """Choose layers of little harm for their size, until the budget is spent.

    Examples
    --------
    >>> within_budget({"a": 3.0, "b": 1.0, "c": 9.0}, {"a": 6, "b": 1, "c": 3}, 4.0)
    ['a', 'b']
    """
    chosen, spent = set(), 0.0
    for name in sorted(harms, key=lambda name: max(harms[name], 0.0) / sizes[name]):
        if spent + max(harms[name], 0.0) <= budget:
            chosen.add(name)
            spent += max(harms[name], 0.0)
    return [name for name in harms if name in chosen]


@contextmanager
def rounded(layer: torch.nn.Linear, group: int) -> Iterator[None]:
    """Let a layer compute as if in 8 bits.

    Parameters
    ----------
    layer : torch.nn.Linear
        The layer; it is as before afterwards.
    group : int
        Values of a token's input that share a scale.
    """
    own = layer.weight.data
    hook = layer.register_forward_pre_hook(lambda _, given: (round_input(given[0], group),))
    layer.weight.data = round_weight(own)
    try:
        yield
    finally:
        hook.remove()
        layer.weight.data = own


def round_weight(weight: torch.Tensor) -> torch.Tensor:
    """Round to 256 levels between the least and the largest of each row."""
    least = weight.amin(dim=1, keepdim=True)
    step = (weight.amax(dim=1, keepdim=True) - least).clamp(min=LEAST) / LEVELS
    return ((weight - least) / step).round() * step + least


def round_input(given: torch.Tensor, group: int) -> torch.Tensor:
    """Round to 255 levels around zero, with a scale for each group of a token's values."""
    length = given.shape[-1]
    if length % group:
        group = length
    grouped = given.reshape(*given.shape[:-1], length // group, group)
    step = grouped.abs().amax(dim=-1, keepdim=True).clamp(min=LEAST) / SIGNED
    return ((grouped / step).round() * step).reshape(given.shape)


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    from torch.nn.functional import normalize

    return normalize(vectors.double(), dim=-1)
