"""Hyperparameters of an alignment."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from isthmus.requests import validated_settings

MIN_PAIRS: Final = 20

Share = Annotated[float, Field(ge=0, lt=1)]


@validated_settings
class AlignmentSettings:
    """Hyperparameters of an alignment; the defaults are meant for any data."""

    dim: int = Field(default=256, ge=1, description="Length of an aligned vector.")
    held_out: Share = Field(
        default=0.1,
        description="Share of each set that is held out, for early stopping and for the report.",
    )
    epochs: int = Field(default=30, ge=1, description="Maximum number of epochs.")
    patience: int = Field(
        default=4,
        ge=1,
        description="Epochs without improvement on the held-out pairs before training stops.",
    )
    batch_size: int = Field(default=1_024, ge=1, description="Pairs in a batch.")
    hard_negatives: Share = Field(
        default=0.25,
        description="Share of a batch that is hard negatives: the pairs whose images lie nearest "
        "to the other texts of the batch.",
    )
    hidden: int = Field(
        default=0, ge=0, description="Units of the nonlinear part of a head; 0 for a linear head."
    )
    dropout: Share = Field(default=0.2, description="Dropout rate of the inputs.")
    modality_dropout: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Probability that an item is represented by its other modality alone, as an "
        "item that has one modality; else by the mean of both.",
    )
    learning_rate: float = Field(
        default=5e-3, gt=0, description="Learning rate, relative to the size of the weights."
    )
    anchor_weight: float = Field(
        default=0.0, ge=0, description="Weight of the squared distance from the closed form."
    )
    experts: bool = Field(
        default=True,
        description="Whether each of several sets has heads of its own beside the common ones, in "
        "one vector; for linear heads.",
    )
    seed: int = Field(default=0, description="Random seed.")
