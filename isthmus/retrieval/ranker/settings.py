"""How a head is trained, as settings; apart from the training, which takes PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Loss = Literal["listwise", "pairwise"]
LOSSES: tuple[Loss, ...] = get_args(Loss)
PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True)
class TrainingSettings:
    """How a head is trained.

    Attributes
    ----------
    loss : str
        ``"listwise"`` or ``"pairwise"``, see `isthmus.retrieval.ranker.training`.
    epochs : int
        Passes over the examples, at most.
    patience : int
        Passes without a better NDCG@10 of the tested users before it stops.
    patient_steps : int
        The same in steps; the longer of the two counts, since few examples make short passes, and
        few tested users a bumpy curve.
    batch : int
        Users a step.
    rate : float
        Largest step of AdamW; it warms up over a tenth of the first pass and then falls with the
        square root of the steps.
    decay : float
        Weight decay.
    dropout : float
        In the networks.
    members, hidden : int
        See `HeadShape`.
    distil : int
        Units of a small head that is distilled from the trained one and takes its place, see
        `isthmus.retrieval.recommend.distillation`; 0 for none.
    precision : str
        ``"fp32"`` or ``"bf16"``.
    device : str
        ``"cpu"`` or ``"cuda"``; with `distributed`, what accelerate was started with.
    distributed : bool
        Whether to train by accelerate on several devices.
    seed : int
        Of all that is left to chance.
    """

    loss: Loss = "listwise"
    epochs: int = 10
    patience: int = 2
    patient_steps: int = 300
    batch: int = 64
    rate: float = 2e-3
    decay: float = 1e-2
    dropout: float = 0.2
    members: int = 3
    hidden: int = 64
    distil: int = 0
    precision: str = "fp32"
    device: str = "cpu"
    distributed: bool = False
    seed: int = 0


@dataclass(frozen=True)
class ExampleSettings:
    """How examples are made.

    Attributes
    ----------
    folds : int
        Parts of the users, each met by sources that did not see it.
    tested : float
        Share of the users that early stopping looks at, see `choose_tested`.
    depth : int
        Candidates of each source.
    sure : int
        Candidates up to this rank in any source are kept.
    others : int
        Of the further ones so many are kept by chance, in the mean.
    most_users : int or None
        Users a fold.
    seed : int
        Of all that is left to chance.
    """

    folds: int = 3
    tested: float = 0.06
    depth: int = 200
    sure: int = 10
    others: int = 100
    most_users: int | None = 10_000
    seed: int = 0
