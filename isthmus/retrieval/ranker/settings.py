"""Settings of the training of a ranker; kept apart from the training, which imports PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import Field

from isthmus.requests import validated_settings

Loss = Literal["listwise", "pairwise"]
LOSSES: tuple[Loss, ...] = get_args(Loss)
Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class ExampleSettings:
    """How training examples are made from simulated cold-start users.

    Attributes
    ----------
    folds : int
        Number of cross-fitting folds of the users. The candidate generators that propose
        candidates to the users of a fold have not seen these users in the target domain.
    validation_share : float
        Share of the users that early stopping looks at, see `choose_validation_users`.
    depth : int
        Candidates that each generator proposes.
    always_kept_rank : int
        Candidates up to this rank in any generator are always kept.
    sampled_negatives : int
        Expected number of further candidates that are sampled for a user.
    max_users : int or None
        Users of a fold, at most.
    seed : int
        Random seed.
    """

    folds: int = 3
    validation_share: float = 0.06
    depth: int = 200
    always_kept_rank: int = 10
    sampled_negatives: int = 100
    max_users: int | None = 10_000
    seed: int = 0


@validated_settings
class RankerSettings:
    """What a training of a space says of its rankers; the defaults are meant for any data."""

    loss: Loss = Field(default="listwise", description="Loss of the rankers: listwise or pairwise.")
    epochs: int = Field(default=10, ge=1, description="Maximum number of epochs of a ranker.")
    distilled_units: int = Field(
        default=0,
        ge=0,
        description="Distil each ranker into a small network of this many hidden units, such as "
        "16, and keep it; 0 keeps the ensemble.",
    )
    precision: Precision = Field(default="fp32", description="fp32 or bf16.")
    distributed: bool = Field(
        default=False, description="Train on all devices that accelerate has."
    )
    seed: int = Field(default=0, description="Seed of the random numbers.")


@validated_settings
class TrainingSettings(RankerSettings):
    """All hyperparameters of the training of a ranker; see `isthmus.retrieval.ranker.training`.

    Attributes
    ----------
    patience : int
        Epochs without a better NDCG@10 of the validation users before training stops.
    patience_steps : int
        The same in optimizer steps; the longer of the two counts, since few examples make short
        epochs, and few validation users a noisy curve.
    batch_size : int
        Users of a step.
    learning_rate : float
        Peak learning rate of AdamW; it warms up over a tenth of the first epoch and then falls
        with the square root of the step.
    weight_decay : float
        Weight decay of AdamW.
    dropout : float
        Dropout probability.
    members, hidden : int
        Ensemble members and hidden units, see `NetworkShape`.
    device : str
        ``"cpu"`` or ``"cuda"``; ignored with `distributed`.
    """

    patience: int = 2
    patience_steps: int = 300
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    dropout: float = 0.2
    members: int = 3
    hidden: int = 64
    device: str = "cpu"
