"""Hyperparameters of a distillation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from isthmus.errors import InvalidInput

Storage = Literal["int8", "float16", "float32"]
STORAGES: Final[tuple[Storage, ...]] = get_args(Storage)
Pieces = Literal["all", "seen"]
PIECES: Final[tuple[Pieces, ...]] = get_args(Pieces)


@dataclass(frozen=True)
class DistillSettings:
    """Hyperparameters of a distillation.

    Attributes
    ----------
    epochs : int, default 12
        Number of epochs.
    batch : int, optional
        Batch size; by default 512 for a static student and 64 for a network.
    rate : float, optional
        Initial learning rate of Adam, which decays linearly to 0; by default 0.001 for a static
        student and 0.0003 for a network.
    similarity : float, default 4.0
        Weight of the similarity loss beside the cosine loss.
    temperature : float, default 0.2
        Temperature of the similarity loss.
    words : int, default 10,000
        Maximum number of words of the texts that become tokens of a static student.
    pieces : {"all", "seen"}, default "all"
        Which of the teacher's word pieces become tokens of a static student: all; or those that
        occur in the texts and single characters, which makes a student of a narrow field in
        seconds. Words that no text contains are then spelled by characters.
    storage : {"int8", "float16", "float32"}, default "int8"
        Type in which the token vectors of a static student are stored.
    held_out : float, default 0.1
        Share of the contents that is held out, to measure quality on.
    seed : int, default 0
        Random seed.

    Raises
    ------
    InvalidInput
        If a value is out of range.
    """

    epochs: int = 12
    batch: int | None = None
    rate: float | None = None
    similarity: float = 4.0
    temperature: float = 0.2
    words: int = 10_000
    pieces: str = "all"
    storage: str = "int8"
    held_out: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        allowed = {
            "epochs": self.epochs >= 0,
            "batch": self.batch is None or self.batch >= 2,
            "rate": self.rate is None or self.rate > 0,
            "similarity": self.similarity >= 0,
            "temperature": self.temperature > 0,
            "words": self.words >= 0,
            "pieces": self.pieces in PIECES,
            "storage": self.storage in STORAGES,
            "held_out": 0 < self.held_out < 1,
        }
        for name, valid in allowed.items():
            if not valid:
                raise InvalidInput(
                    f"{name}={getattr(self, name)} cannot be used to distill; give {_RANGES[name]}"
                )


_RANGES: Final = {
    "epochs": "0 or more",
    "batch": "2 or more",
    "rate": "more than 0",
    "similarity": "0 or more",
    "temperature": "more than 0",
    "words": "0 or more",
    "pieces": f"one of {', '.join(PIECES)}",
    "storage": f"one of {', '.join(STORAGES)}",
    "held_out": "a share between 0 and 1",
}
