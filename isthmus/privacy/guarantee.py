"""What a private training promises, as it is stored with what was trained."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict

from isthmus.privacy.accountant import Mechanism

UNIT: Final = "one user, with all rows in all domains; added or removed"
NOT_COVERED: Final = (
    "the list of a user is made from the user's own history and may reveal it; what the lists of "
    "all others reveal of this user is covered (joint differential privacy)",
    "the number of users and of stored events, which kinds of event there are, and the scale of "
    "their values count as public",
    "items, their contents and their attributes count as public",
    "encoders, alignments and fusion weights that learned from interactions",
    "what reads stored interactions besides: exploration, which counts clicks on new items, and "
    "the users that an item may interest",
    "the last binary digits of noise in floating point, beyond single precision",
)


class Guarantee(BaseModel):
    """The promise of a private training.

    Attributes
    ----------
    epsilon, delta : float
        The promise: for any two sets of users that differ by the unit, the probability of any
        outcome differs at most by the factor ``exp(epsilon)``, but for delta.
    unit : str
        What is protected.
    mechanism : str
        How noise is added.
    mechanisms : list of Mechanism
        What was released, with its noise.
    max_rows : int
        Rows of a user that count, at most.
    max_norm : float
        Length to which the row of a user is clipped.
    modelled_items : int
        Items with co-occurrences; the others have popularity and content.
    spent_epsilon : float
        Of all private trainings of the space together, this one included, at the same delta.
    not_covered : list of str
        What it does not protect.
    """

    model_config = ConfigDict(extra="forbid")
    epsilon: float
    delta: float
    unit: str = UNIT
    mechanism: str = "Gaussian noise on sums over users"
    mechanisms: list[Mechanism]
    max_rows: int
    max_norm: float = 1.0
    modelled_items: int
    spent_epsilon: float
    not_covered: list[str] = list(NOT_COVERED)
