"""Simulated users on which candidate generators are compared before a ranker is trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.numerics.arrays import Columns, Mask
from isthmus.numerics.metrics import PerUser, ndcg
from isthmus.numerics.sparse import rank_in_rows
from isthmus.retrieval.candidates.generator import CandidateGenerator
from isthmus.retrieval.candidates.scorer import TopK
from isthmus.retrieval.candidates.situations import CROSS_DOMAIN, FEW, MORE, SHOWN_SHARE
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories

MAX_SHARED = 400  # simulated users of a target who liked something in other domains
MAX_OTHERS = 200  # simulated users of a target who did not
HIDDEN_SHARE = 0.2  # of either kind of users, at most
MIN_USERS = 10  # of a situation that counts
FEW_SHOWN = 3
DEPTH = 100


@dataclass(frozen=True, eq=False)
class SimulatedUsers:
    """Users in one situation: of whom some part of what they did in a target is shown.

    Attributes
    ----------
    target : int
        Code of the domain.
    situation : str
        `CROSS_DOMAIN`: nothing of the target is shown, and something of other domains; `FEW`:
        three liked items; `MORE`: four fifths of them.
    histories : UserHistories
        What is shown.
    relevant : numpy.ndarray
        int64, shape (n_relevant,), ascending: the hidden liked items, as
        ``user * n_items + item``.
    """

    target: int
    situation: str
    histories: UserHistories
    relevant: Columns

    def ndcg(self, data: TrainingData, generator: CandidateGenerator, share: float) -> PerUser:
        """Return NDCG@100 of the lists of a generator, for the first users, shape (n_users,)."""
        users = np.arange(max(1, round(share * len(self.histories))))
        histories = self.histories.take_users(users)
        scorer = generator.scorer(data, histories, self.target)
        seen = histories.seen(len(data))
        top = scorer.top_k(DEPTH, data.in_domain(self.target), seen)
        if not np.isfinite(top.scores).all():
            raise FloatingPointError("scores are not finite")
        hits = _hits(top, self.relevant, len(data))
        counts = np.bincount(self.relevant // len(data), minlength=len(self.histories))
        return ndcg(hits, counts[users], DEPTH)


@dataclass(frozen=True, eq=False)
class Simulation:
    """Training data without what the simulated users did in their target, and these users.

    Attributes
    ----------
    data : TrainingData
        What generators are fitted to.
    users : list of SimulatedUsers
        The users of each target and situation; one user is in several.
    """

    data: TrainingData
    users: list[SimulatedUsers]

    @classmethod
    def of(cls, data: TrainingData, seed: int = 0) -> Simulation:
        """Hide a sample of the users of every target.

        At most a fifth of the users is hidden, 400 of those who liked something in other
        domains too and 200 others, so that what few shared users teach is still there.
        """
        rng = np.random.default_rng(seed)
        matrix = data.interactions
        hidden, taken = np.zeros(len(matrix), bool), np.zeros(len(matrix.users), bool)
        sampled = {}
        for target in data.target_codes:
            users = _draw_users(data, target, taken, rng)
            sampled[target], taken[users] = users, True
            hidden |= _among(matrix, users) & data.in_domain(target)[matrix.columns]
        simulated = [
            some
            for target, users in sampled.items()
            for some in _in_situations(data, target, users, rng)
        ]
        return cls(data.without_entries(hidden), simulated)

    def score(self, generator: CandidateGenerator, share: float = 1.0) -> float:
        """Return the geometric mean over the situations of NDCG@100; 0 without situations.

        Parameters
        ----------
        generator : CandidateGenerator
            Fitted to `data`.
        share : float
            Share of the users of each situation that it is measured on.

        Raises
        ------
        FloatingPointError
            If a score is not finite.
        """
        means = [float(some.ndcg(self.data, generator, share).mean()) for some in self.users]
        return float(np.exp(np.mean(np.log(np.array(means) + 1e-6)))) if means else 0.0

    def count(self, share: float = 1.0) -> int:
        """Return the users that `score` measures, each once for every situation."""
        sizes = [len(some.histories) for some in self.users]
        return sum(max(1, round(share * size)) for size in sizes)


def _draw_users(data: TrainingData, target: int, taken: Mask, rng: np.random.Generator) -> Columns:
    """Return the users of a target that are hidden in it, in random order."""
    of_target = data.domain_users(target)
    cross_domain = np.zeros(len(of_target), bool)
    matrix = data.interactions
    outside = matrix.likes & ~data.in_domain(target)[matrix.columns]
    cross_domain[matrix.owners[outside]] = True
    parts = []
    for mask, most in ((cross_domain, MAX_SHARED), (~cross_domain, MAX_OTHERS)):
        users = np.flatnonzero(of_target & mask)
        free = rng.permutation(users[~taken[users]])
        parts.append(free[: min(most, int(HIDDEN_SHARE * len(users)))])
    return rng.permutation(np.concatenate(parts))


def _in_situations(
    data: TrainingData, target: int, users: Columns, rng: np.random.Generator
) -> Iterator[SimulatedUsers]:
    """Show the users with nothing of the target, a few items, and most."""
    matrix = data.interactions
    matrix = matrix.without(~_among(matrix, users))
    owners, inside = matrix.owners, data.in_domain(target)[matrix.columns]
    liked = inside & matrix.likes
    counts = np.bincount(owners, liked, len(matrix.users)).astype(np.int64)
    cross_domain = np.bincount(owners, ~inside & matrix.likes, len(matrix.users)) > 0
    places = rank_in_rows(owners, liked, rng.random(len(owners)))
    shown_of = {
        CROSS_DOMAIN: np.zeros_like(counts),
        FEW: np.full_like(counts, FEW_SHOWN),
        MORE: np.floor(SHOWN_SHARE * counts).astype(np.int64),
    }
    for situation, shown in shown_of.items():
        enough = {CROSS_DOMAIN: cross_domain, FEW: shown > 0, MORE: shown > FEW_SHOWN}
        fits = (counts > shown) & enough[situation]
        chosen = users[fits[users]]
        if len(chosen) < MIN_USERS:
            continue
        among_shown = liked & (places < shown[owners])
        visible = matrix.without(inside & ~among_shown)
        histories = UserHistories.from_interactions(visible).take_users(chosen).liked
        position = np.full(len(matrix.users), -1)
        position[chosen] = np.arange(len(chosen))
        is_relevant = liked & ~among_shown & (position[owners] >= 0)
        relevant = position[owners[is_relevant]] * len(data) + matrix.columns[is_relevant]
        yield SimulatedUsers(target, situation, histories, np.sort(relevant))


def _among(matrix: InteractionMatrix, users: Columns) -> Mask:
    """Return which entries belong to some users, shape (n_entries,)."""
    mask = np.zeros(len(matrix.users), bool)
    mask[users] = True
    return np.asarray(mask[matrix.owners])


def _hits(top: TopK, relevant: Columns, n_items: int) -> Mask:
    """Return which places of each list hold a relevant item, shape (n_users, 100)."""
    lengths = np.diff(top.starts)
    owners = np.repeat(np.arange(len(lengths)), lengths)
    places = np.arange(len(top.items)) - top.starts[owners]
    hits = np.zeros((len(lengths), DEPTH), bool)
    hits[owners, places] = np.isin(owners * n_items + top.items, relevant)
    return hits
