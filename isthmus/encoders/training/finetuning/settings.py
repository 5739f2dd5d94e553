"""Hyperparameters of a fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from isthmus.errors import InvalidInput

Method = Literal["lora", "full"]
METHODS: Final[tuple[Method, ...]] = get_args(Method)
DEFAULT_RATES: Final[dict[str, float]] = {"lora": 5e-4, "full": 3e-5}


@dataclass(frozen=True)
class FinetuneSettings:
    """Hyperparameters of a fine-tuning.

    Attributes
    ----------
    method : {"lora", "full"}, default "lora"
        Low-rank updates of the linear layers (Hu et al., "LoRA", ICLR 2022), or all weights.
    rank : int, default 16
        Rank of the low-rank updates.
    layers : int, optional
        Number of trained layers, counted from the top; by default all. The layers below are
        frozen; their outputs are computed once for every text.
    epochs : int, default 6
        Maximum number of epochs.
    patience : int, default 2
        Epochs without improvement on the validation pairs before training stops.
    batch : int, default 64
        Pairs in a batch.
    rate : float, optional
        Initial learning rate of Adam, which decays linearly to 0; by default 0.0005 for LoRA and
        0.00003 for full fine-tuning.
    temperature : float, default 0.05
        Temperature of the contrastive loss.
    anchor : float, default 4.0
        Weight of the penalty on changed vectors of other domains.
    anchors : int, default 32
        Anchor texts of other domains in a batch.
    max_forgetting : float, default 0.01
        Share of another domain's quality that may be lost when the share of the change is chosen.
    validation : float, default 0.15
        Share of the contents for early stopping, and for the choice of the share of the change.
    held_out : float, default 0.2
        Share of the contents that are held out for the report.
    seed : int, default 0
        Random seed.

    Raises
    ------
    InvalidInput
        If a value is out of range.
    """

    method: str = "lora"
    rank: int = 16
    layers: int | None = None
    epochs: int = 6
    patience: int = 2
    batch: int = 64
    rate: float | None = None
    temperature: float = 0.05
    anchor: float = 4.0
    anchors: int = 32
    max_forgetting: float = 0.01
    validation: float = 0.15
    held_out: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        allowed = {
            "method": self.method in METHODS,
            "rank": self.rank >= 1,
            "layers": self.layers is None or self.layers >= 1,
            "epochs": self.epochs >= 0,
            "patience": self.patience >= 1,
            "batch": self.batch >= 2,
            "rate": self.rate is None or self.rate > 0,
            "temperature": self.temperature > 0,
            "anchor": self.anchor >= 0,
            "anchors": self.anchors >= 2,
            "max_forgetting": 0 <= self.max_forgetting <= 1,
            "validation": 0 < self.validation < 1,
            "held_out": 0 < self.held_out < 1 - self.validation,
        }
        for name, valid in allowed.items():
            if not valid:
                raise InvalidInput(
                    f"{name}={getattr(self, name)} cannot be used to fine-tune; "
                    f"give {_RANGES[name]}"
                )

    @property
    def initial_rate(self) -> float:
        """Initial learning rate."""
        return DEFAULT_RATES[self.method] if self.rate is None else self.rate


_RANGES: Final = {
    "method": f"one of {', '.join(METHODS)}",
    "rank": "1 or more",
    "layers": "1 or more",
    "epochs": "0 or more",
    "patience": "1 or more",
    "batch": "2 or more",
    "rate": "more than 0",
    "temperature": "more than 0",
    "anchor": "0 or more",
    "anchors": "2 or more",
    "max_forgetting": "a share from 0 to 1",
    "validation": "a share between 0 and 1",
    "held_out": "a share above 0 that leaves something to train on",
}
