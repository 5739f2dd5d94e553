"""Hyperparameters of an alignment."""

from __future__ import annotations

from dataclasses import dataclass

from isthmus.errors import InvalidInput

MIN_PAIRS = 20


@dataclass(frozen=True)
class AlignmentSettings:
    """Hyperparameters of an alignment; the defaults are meant for any data.

    Attributes
    ----------
    dim : int
        Length of an aligned vector.
    held_out : float
        Share of each set that is held out, for early stopping and for the report.
    epochs : int
        Maximum number of epochs.
    patience : int
        Epochs without improvement on the held-out pairs before training stops.
    batch : int
        Pairs in a batch.
    hard : float
        Share of a batch that is hard negatives: the pairs whose images lie nearest to the other
        texts of the batch.
    hidden : int
        Units of the nonlinear part of a head; 0 for a linear head.
    dropout : float
        Dropout rate of the inputs.
    modality_dropout : float
        Probability that an item is represented by its other modality alone, as an item that has
        one modality; else by the mean of both, as an item of a catalog that has two.
    learning_rate : float
        Learning rate, relative to the size of the weights.
    anchor : float
        Weight of the squared distance from the closed form.
    experts : bool
        Whether each of several sets has heads of its own beside the common ones, in one vector;
        for linear heads.
    seed : int
        Random seed.

    Raises
    ------
    InvalidInput
        If a value is out of range.
    """

    dim: int = 256
    held_out: float = 0.1
    epochs: int = 30
    patience: int = 4
    batch: int = 1_024
    hard: float = 0.25
    hidden: int = 0
    dropout: float = 0.2
    modality_dropout: float = 1.0
    learning_rate: float = 5e-3
    anchor: float = 0.0
    experts: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("dim", "epochs", "patience", "batch"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} is {getattr(self, name)}; give one or more")
        for name in ("held_out", "hard", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise InvalidInput(f"{name} is {getattr(self, name)}; give a share from 0 to 1")
        if not 0 <= self.modality_dropout <= 1:
            raise InvalidInput(f"modality_dropout is {self.modality_dropout}; give 0 to 1")
        if self.hidden < 0 or self.anchor < 0 or self.learning_rate <= 0:
            raise InvalidInput("hidden and anchor cannot be negative, nor learning_rate zero")
