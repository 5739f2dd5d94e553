"""How much there is to learn from a domain."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict

from isthmus.retrieval.candidates.training_data import TrainingData

LAST_PART = 0.2


class Quality(BaseModel):
    """The size, density and age of a domain.

    Attributes
    ----------
    items : int
        How many it has.
    users : int
        Who liked one or more of them.
    interactions : int
        Pairs of a user and an item that the user liked.
    density : float
        Interactions over items times users.
    recent : float or None
        Share of its interactions in the last fifth of the time in which anything happened in any
        domain; None where fewer than all have a time.
    """

    model_config = ConfigDict(extra="forbid")
    items: int
    users: int
    interactions: int
    density: float
    recent: float | None


def quality_of(corpus: TrainingData, code: int) -> Quality:
    """Count what there is in a domain."""
    inside = corpus.in_domain(code)
    liked = inside[corpus.interactions.columns] & corpus.interactions.likes
    items, users = int(inside.sum()), int(corpus.domain_users(code).sum())
    interactions = int(liked.sum())
    return Quality(
        items=items,
        users=users,
        interactions=interactions,
        density=interactions / max(items * users, 1),
        recent=_recent(corpus.interactions.moments, liked),
    )


def _recent(
    moments: np.typing.NDArray[np.float64], liked: np.typing.NDArray[np.bool_]
) -> float | None:
    own = moments[liked]
    if not len(own) or np.isnan(own).any():
        return None
    start, end = np.nanmin(moments), np.nanmax(moments)
    return float((own >= end - LAST_PART * (end - start)).mean())
