"""Settings of the training of a ranker; kept apart from the training, which imports PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

STACK = "stack"
DEFAULT_MODELS = ("rank average", "linear", "network", STACK)


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
    users: int = 2_000
    depth: int = 100
    seed: int = 0


@dataclass(frozen=True)
class TrainingSettings:
    """How the models of a ranker are trained.

    Attributes
    ----------
    models : tuple of str
        The models that are compared, of `isthmus.retrieval.ranker.models.registry`, and
        ``"stack"`` for the stack of all of them.
    l2 : float
        Penalty on the weights of the linear model.
    epochs : int
        Passes of the network over the examples.
    batch_size : int
        Users of a step.
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
    distilled_units : int
        Hidden units of a single network that is distilled from the ranker of each situation and
        replaces it, see `isthmus.retrieval.recommend.distillation`; 0 for none.
    seed : int
        Random seed.
    """

    models: tuple[str, ...] = DEFAULT_MODELS
    l2: float = 3e-2
    epochs: int = 8
    batch_size: int = 32
    sampled_candidates: int = 150
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    dropout: float = 0.1
    members: int = 1
    hidden: int = 32
    distilled_units: int = 0
    seed: int = 0
