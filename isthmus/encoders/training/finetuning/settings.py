"""Hyperparameters of a fine-tuning."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field, model_validator

from isthmus.errors import InvalidInput
from isthmus.requests import validated_settings

Method = Literal["lora", "full"]
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
        description="Weight of keeping the vectors of other domains where they were.",
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
