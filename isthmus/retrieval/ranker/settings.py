"""Settings of the training of a ranker; kept apart from the training, which imports SciPy."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from isthmus.requests import validated_settings

STACK = "stack"
DEFAULT_MODELS = ("linear", "network", STACK)


@dataclass(frozen=True)
class ExampleSettings:
    """How training examples are made from simulated users.

    Attributes
    ----------
    folds : int
        Number of cross-fitting folds of the users. The candidate generators that propose
        candidates to the users of a fold have not seen these users in the target domain.
    users : int
        Users of each situation, over all folds, at most.
    depth : int
        Candidates that each generator proposes.
    seed : int
        Random seed.
    """

    folds: int = 2
    users: int = 1_500
    depth: int = 100
    seed: int = 0


@validated_settings
class RankerSettings:
    """What a training of a space says of its rankers; the defaults are meant for any data."""

    epochs: int = Field(default=8, ge=1, description="Epochs of the network of a ranker.")
    distilled_units: int = Field(
        default=0,
        ge=0,
        description="Distil the ranker of each situation into a small network of this many hidden "
        "units, such as 16, and keep it; 0 keeps the models that were chosen.",
    )
    seed: int = Field(default=0, description="Seed of the random numbers.")


@validated_settings
class TrainingSettings(RankerSettings):
    """All hyperparameters of the training of a ranker.

    Attributes
    ----------
    models : tuple of str
        The models that are compared, of `isthmus.retrieval.ranker.models.registry`, and
        ``"stack"`` for the stack of all of them.
    l2 : float
        Penalty on the weights of the linear model.
    batch_size : int
        Users of a step of the network.
    sampled_candidates : int
        Candidates of a user that are not relevant and that a step of the network sees; others
        are sampled in the next epoch.
    learning_rate : float
        Peak learning rate of AdamW; it falls linearly to 0.
    weight_decay : float
        Weight decay of AdamW.
    dropout : float
        Dropout probability.
    members, hidden : int
        Networks that are trained side by side and averaged, and hidden units of each.
    """

    models: tuple[str, ...] = DEFAULT_MODELS
    l2: float = 1e-1
    batch_size: int = 32
    sampled_candidates: int = 80
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    dropout: float = 0.1
    members: int = 3
    hidden: int = 32
