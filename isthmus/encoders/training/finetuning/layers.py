"""The layers of a model: where they stand, and which of its parameters lie where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isthmus.errors import InvalidInput

if TYPE_CHECKING:
    from torch import nn


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
