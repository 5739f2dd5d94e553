"""The choice of the layers that are computed in 8 bits."""

from __future__ import annotations

import torch

from isthmus.encoders.backends.openvino import layers_for_int8, within_budget

GROUP = 4


class Toy(torch.nn.Module):
    """Two layers: 8 bits represent all weights of one, and few of the other (an outlier)."""

    def __init__(self) -> None:
        super().__init__()
        self.exact, self.rough = (torch.nn.Linear(8, 8, bias=False) for _ in range(2))
        self.exact.weight.data = torch.eye(8) * 255
        self.rough.weight.data = torch.rand(8, 8, generator=torch.Generator().manual_seed(0))
        self.rough.weight.data[:, 0] = 1e4

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.exact(x), self.rough(x)], dim=1)


INPUT = {"x": torch.tensor([[0.0, 1, -1, 127, -127, 0, 1, 2], [0, 3, 127, 1, 1, 127, 2, 4]])}


def test_insensitive_layers_are_chosen_and_the_model_is_unchanged():
    model = Toy()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert layers_for_int8(model, model, INPUT, GROUP, budget=1e-9) == ["exact"]
    assert layers_for_int8(model, model, INPUT, GROUP, budget=1.0) == ["exact", "rough"]
    assert layers_for_int8(model, model, INPUT, GROUP, budget=-1.0) == []
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert not model.exact._forward_pre_hooks


def test_a_layer_over_the_budget_does_not_stop_the_rest():
    sensitivities, sizes = {"a": 5.0, "b": 1.0, "c": 2.0}, {"a": 10, "b": 1, "c": 1}
    assert within_budget(sensitivities, sizes, 3.5) == ["b", "c"]
    assert within_budget({"a": -1e-9}, {"a": 1}, 0.0) == ["a"]
