"""How an alignment is learned."""

from __future__ import annotations

from dataclasses import dataclass

from isthmus.errors import InvalidInput

FEWEST_PAIRS = 20


@dataclass(frozen=True)
class AlignmentSettings:
    """How an alignment is learned; the defaults are meant for any data.

    Attributes
    ----------
    dim : int
        Length of an aligned vector.
    held_out : float
        Share of each set that is held out, to stop by and to report on.
    epochs : int
        Passes over the pairs, at most.
    patience : int
        Passes without progress on the pairs held out before learning stops.
    batch : int
        Pairs in a batch.
    hard : float
        Share of a batch that is mined: the pairs whose pictures the other texts of the batch
        confuse most with their own.
    hidden : int
        Units of the nonlinear part of a head; 0 for a linear one.
    dropout : float
        Share of the inputs that is dropped in learning.
    modality_dropout : float
        How often an item of a pair is shown by its other modality alone, as an item that lacks
        the first; else by the mean of both, as the item of a catalog that has both.
    learning_rate : float
        Step, relative to the size of the weights.
    anchor : float
        Weight of the squared distance from the closed form.
    members : int
        Heads learned side by side on resampled pairs, whose mean is folded into one.
    experts : bool
        Whether several sets have heads of their own beside those of all sets, in one vector;
        for linear heads.
    seed : int
        Of whatever is left to chance.
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
    members: int = 1
    experts: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("dim", "epochs", "patience", "batch", "members"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} is {getattr(self, name)}; give one or more")
        for name in ("held_out", "hard", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise InvalidInput(f"{name} is {getattr(self, name)}; give a share from 0 to 1")
        if not 0 <= self.modality_dropout <= 1:
            raise InvalidInput(f"modality_dropout is {self.modality_dropout}; give 0 to 1")
        if self.hidden < 0 or self.anchor < 0 or self.learning_rate <= 0:
            raise InvalidInput("hidden and anchor cannot be negative, nor learning_rate zero")
