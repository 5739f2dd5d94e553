"""How an encoder is fine-tuned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from isthmus.errors import InvalidInput

Method = Literal["lora", "full"]
METHODS: Final[tuple[Method, ...]] = get_args(Method)
RATES: Final[dict[str, float]] = {"lora": 5e-4, "full": 3e-5}


@dataclass(frozen=True)
class FinetuneSettings:
    """How an encoder is fine-tuned, passed whole.

    Attributes
    ----------
    method : {"lora", "full"}, default "lora"
        Low-rank changes of the linear maps in the layers (Hu et al., "LoRA", ICLR 2022), or all
        weights.
    rank : int, default 16
        Of the low-rank changes.
    layers : int, optional
        How many layers are trained, counted from the top; by default all. What lies below is
        frozen, and of texts run once.
    epochs : int, default 6
        Passes over the pairs, at most.
    patience : int, default 2
        Passes without a gain on the pairs for choosing, after which training ends.
    batch : int, default 64
        Pairs a step.
    rate : float, optional
        Size of the first step of Adam, from which it falls to 0 in a straight line; by default
        0.0005 for LoRA and 0.00003 for full fine-tuning.
    temperature : float, default 0.05
        Of the contrastive loss.
    anchor : float, default 4.0
        Weight of keeping vectors of other domains where they were.
    anchors : int, default 32
        Texts of other domains a step.
    forgotten : float, default 0.01
        Share of another domain's quality that may be lost when it is chosen how much of the
        change is taken.
    choosing : float, default 0.15
        Share of the contents that choices are made on: when to stop, how much to take.
    held_out : float, default 0.2
        Share of the contents that the report is made on.
    seed : int, default 0
        Of whatever is left to chance.

    Raises
    ------
    InvalidInput
        If one of them cannot be used.
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
    forgotten: float = 0.01
    choosing: float = 0.15
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
            "forgotten": 0 <= self.forgotten <= 1,
            "choosing": 0 < self.choosing < 1,
            "held_out": 0 < self.held_out < 1 - self.choosing,
        }
        for name, fits in allowed.items():
            if not fits:
                raise InvalidInput(
                    f"{name}={getattr(self, name)} cannot be used to fine-tune; give {_ASKED[name]}"
                )

    @property
    def first_rate(self) -> float:
        """Size of the first step."""
        return RATES[self.method] if self.rate is None else self.rate


_ASKED: Final = {
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
    "forgotten": "a share from 0 to 1",
    "choosing": "a share between 0 and 1",
    "held_out": "a share above 0 that leaves something to learn from",
}
