"""Hyperparameters of a distillation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from isthmus.requests import validated_settings

Storage = Literal["int8", "float16", "float32"]
Pieces = Literal["all", "seen"]


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
