"""Hyperparameters of alignment, distillation and fine-tuning."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from isthmus.errors import InvalidInput
from isthmus.requests import validated_settings

Method = Literal["lora", "full"]

Storage = Literal["int8", "float16", "float32"]
Pieces = Literal["all", "seen"]

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
        default=0.0,
        ge=0,
        description="Weight of the squared distance from the closed-form solution.",
    )
    experts: bool = Field(
        default=True,
        description="Whether each of several sets gets an expert, heads beside the common ones, "
        "in one vector; for linear heads.",
    )
    seed: int = Field(default=0, description="Random seed.")


@validated_settings
class DistillSettings:
    """Hyperparameters of a distillation."""

    epochs: int = Field(default=12, ge=0, description="Number of epochs.")
    batch_size: int | None = Field(
        default=None,
        ge=2,
        description="Contents in a batch; by default 512 for a static student and 64 for a "
        "network.",
    )
    learning_rate: float | None = Field(
        default=None,
        gt=0,
        description="First learning rate of Adam, which falls linearly to 0; by default 0.001 for "
        "a static student and 0.0003 for a network.",
    )
    similarity_weight: float = Field(
        default=4.0, ge=0, description="Weight of the similarity loss beside the cosine loss."
    )
    temperature: float = Field(default=0.2, gt=0, description="Temperature of the similarity loss.")
    max_words: int = Field(
        default=10_000,
        ge=0,
        description="Most words of the texts that become tokens of a static student.",
    )
    pieces: Pieces = Field(
        default="all",
        description="Word pieces of the teacher that become tokens of a static student: all, or "
        "those seen in the texts and single characters, which trains a student of a narrow field "
        "in seconds.",
    )
    storage: Storage = Field(
        default="int8",
        description="How the token vectors of a static student are stored: int8, float16 or "
        "float32.",
    )
    held_out: float = Field(
        default=0.1, gt=0, lt=1, description="Share of the contents that the report is made on."
    )
    seed: int = Field(default=0, description="Random seed.")


LEARNING_RATES: Final[dict[Method, float]] = {"lora": 5e-4, "full": 3e-5}


@validated_settings
class FinetuneSettings:
    """Hyperparameters of a fine-tuning."""

    method: Method = Field(
        default="lora",
        description='lora: low-rank changes of the linear maps (Hu et al., "LoRA", ICLR 2022); '
        "full: all weights.",
    )
    rank: int = Field(default=16, ge=1, description="Rank of the low-rank changes.")
    layers: int | None = Field(
        default=None,
        ge=1,
        description="Number of layers that are trained, from the top; by default all.",
    )
    epochs: int = Field(default=6, ge=0, description="Maximum number of epochs.")
    patience: int = Field(
        default=2,
        ge=1,
        description="Epochs without improvement on the validation pairs before training stops.",
    )
    batch_size: int = Field(default=64, ge=2, description="Pairs in a batch.")
    learning_rate: float | None = Field(
        default=None,
        gt=0,
        description="First learning rate of Adam, which falls linearly to 0; by default 0.0005 for "
        "LoRA and 0.00003 for full fine-tuning.",
    )
    temperature: float = Field(
        default=0.05, gt=0, description="Temperature of the contrastive loss."
    )
    anchor_weight: float = Field(
        default=4.0,
        ge=0,
        description="Weight of the loss that keeps the vectors of other domains where they were.",
    )
    anchor_texts: int = Field(default=32, ge=2, description="Texts of other domains in a batch.")
    max_forgetting: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Share of another domain's quality that may be lost.",
    )
    validation: float = Field(
        default=0.15,
        gt=0,
        lt=1,
        description="Share of the contents for validation: when to stop, how much of the change to "
        "take.",
    )
    held_out: float = Field(
        default=0.2, gt=0, lt=1, description="Share of the contents that the report is made on."
    )
    seed: int = Field(default=0, description="Random seed.")

    @model_validator(mode="after")
    def _check_shares(self) -> FinetuneSettings:
        if self.held_out + self.validation >= 1:
            raise InvalidInput(
                f"held_out is {self.held_out} and validation {self.validation}; give shares that "
                "leave something to learn from"
            )
        return self

    @property
    def first_learning_rate(self) -> float:
        """The first learning rate."""
        return LEARNING_RATES[self.method] if self.learning_rate is None else self.learning_rate
