"""Numbers among the attributes of items (price, size, year), and how near a history is in them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState, Columns, FloatArray, Mask
from isthmus.retrieval.candidates.item_features import ItemFeatures
from isthmus.retrieval.candidates.pool import CandidatePool
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories

NEARNESS = ("nearest", "mean", "alike")
OF_NUMBERS = (
    *(f"{what}{where}" for where in ("", " in domain") for what in NEARNESS),
    "compared",
)
Values = npt.NDArray[np.float64]

KNOTS = 1_001  # values of an attribute that are kept, from the least to the largest
FEWEST_PAIRS = 20
DOUBT = 2.0  # standard errors
SHARPNESS = 10.0
LONGEST = 100


def _nothing() -> npt.NDArray[Any]:
    return np.empty((0, 0), np.float32)


@dataclass
class ItemNumbers:
    """The numbers of items, as ranks in their domains, and how much each number tells.

    A rank is the share of the domain's values that are less, equal ones counting half. What a
    number tells in a domain is by how much the ranks of two things that one user liked there
    differ less than those of any two things that were liked: 1 less the quotient of both means,
    the first raised by two standard errors. A number by which nobody chooses, an item number for
    instance, so tells nothing, and is not looked at.
    """

    names: tuple[str, ...] = field(default=(), init=False)
    _knots: npt.NDArray[np.float64] = field(default_factory=_nothing, init=False, repr=False)
    _ranks: FloatArray = field(default_factory=_nothing, init=False, repr=False)
    _told: FloatArray = field(default_factory=_nothing, init=False, repr=False)
    _joined: tuple[ItemFeatures, FloatArray] | None = field(default=None, init=False, repr=False)

    def fit(self, corpus: TrainingData) -> Self:
        """Learn ranks, and what they tell; numbers that tell nothing anywhere are not kept."""
        self._joined = None
        everything = np.arange(len(corpus))
        entries = _shuffled_by_owner(corpus)
        found = []
        for name in corpus.features.number_names:  # one by one: there may be very many
            values = corpus.features.numbers(everything, (name,))[:, 0]
            knots = _knots(values, corpus)
            ranks = _ranked(values, corpus.domains, knots)
            told = _told(ranks, corpus, *entries)
            if (told > 0).any():
                found.append((name, knots, ranks, told))
        self.names = tuple(name for name, *_ in found)
        self._knots = _side_by_side([knots for _, knots, _, _ in found])
        self._ranks = _side_by_side([ranks for _, _, ranks, _ in found])
        self._told = _side_by_side([told for *_, told in found])
        return self

    @property
    def tell(self) -> bool:
        """Whether any number tells anything in any domain."""
        return bool(self.names)

    def nearness(
        self, corpus: TrainingData, histories: UserHistories, pool: CandidatePool, target: int
    ) -> FloatArray:
        """Compare candidates with what users liked, in the numbers that tell something.

        Nearness is 1 less the difference of ranks. Of all that was liked, and of what is in the
        domain, there are the nearest, the mean, and the mean of ``exp(-10 difference)``; each a
        mean over the numbers that both have, weighed by what they tell. Where there is nothing to
        compare all is 0.

        Returns
        -------
        numpy.ndarray
            float32, shape (n_candidates, 7), see `OF_NUMBERS`.
        """
        out = np.zeros((len(pool.items), len(OF_NUMBERS)), np.float32)
        telling = np.flatnonzero(self._told[target] > 0) if self.tell else ()
        if not len(telling):
            return out
        ranks, told = self._of(corpus), self._told[target, telling]
        histories = histories.liked.top_weighted(LONGEST)
        inside = corpus.domains[histories.columns] == target
        for user in range(len(pool)):
            entries = slice(histories.starts[user], histories.starts[user + 1])
            own = slice(pool.starts[user], pool.starts[user + 1])
            if entries.start == entries.stop or own.start == own.stop:
                continue
            known = ranks[np.ix_(histories.columns[entries], telling)]
            offered = ranks[np.ix_(pool.items[own], telling)]
            out[own] = _compared(known, offered, told, histories.weights[entries], inside[entries])
        return out

    def state(self) -> ArrayState:
        """Give what was learned as arrays."""
        names = json.dumps(self.names).encode()
        return {
            "names": np.frombuffer(names, np.uint8).copy(),
            "knots": self._knots,
            "ranks": self._ranks,
            "told": self._told,
        }

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take back what `state` gave."""
        self.names = tuple(json.loads(state["names"].tobytes()))
        self._knots, self._ranks, self._told = state["knots"], state["ranks"], state["told"]
        self._joined = None
        return self

    def _of(self, corpus: TrainingData) -> FloatArray:
        """Give the ranks of all items, new ones too, float32, shape (n_items, n_names)."""
        learned = len(self._ranks)
        if len(corpus) <= learned:
            return self._ranks
        if self._joined is None or self._joined[0] is not corpus.features:
            new = np.arange(learned, len(corpus))
            values, domains = corpus.features.numbers(new, self.names), corpus.domains[new]
            ranks = [
                _ranked(values[:, at], domains, self._knots[:, :, at])
                for at in range(len(self.names))
            ]
            self._joined = corpus.features, np.concatenate([self._ranks, _side_by_side(ranks)])
        return self._joined[1]


def _side_by_side(columns: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return np.stack(columns, axis=-1) if columns else _nothing()


def _knots(values: Values, corpus: TrainingData) -> Values:
    """Give known values of each domain, ascending, evenly spread, then not numbers."""
    out = np.full((len(corpus.domain_names), KNOTS), np.nan)
    for code in range(len(out)):
        known = np.sort(values[corpus.in_domain(code) & ~np.isnan(values)])
        if len(known) > KNOTS:
            known = known[np.linspace(0, len(known) - 1, KNOTS).round().astype(np.int64)]
        out[code, : len(known)] = known
    return out


def _ranked(values: Values, domains: Columns, knots: Values) -> FloatArray:
    """Give the rank of each value in its domain; not a number where there is none."""
    out = np.full(len(values), np.nan, np.float32)
    for code in np.unique(domains).tolist():
        ascending = knots[code][~np.isnan(knots[code])]
        asked = np.flatnonzero((domains == code) & ~np.isnan(values))
        if len(ascending):
            out[asked] = _rank(values[asked], ascending)
    return out


def _rank(values: Values, ascending: Values) -> FloatArray:
    below = np.searchsorted(ascending, values, side="left")
    up_to = np.searchsorted(ascending, values, side="right")
    return ((below + up_to) / (2 * len(ascending))).astype(np.float32)


def _shuffled_by_owner(corpus: TrainingData) -> tuple[Columns, Columns]:
    """Give columns and owners of what was liked, those of a user together, in chance's order."""
    order = np.random.default_rng(0).permutation(np.flatnonzero(corpus.interactions.likes))
    owners = corpus.interactions.owners[order]
    by_owner = np.argsort(owners, kind="stable")
    return corpus.interactions.columns[order[by_owner]], owners[by_owner]


def _told(ranks: FloatArray, corpus: TrainingData, liked: Columns, owners: Columns) -> FloatArray:
    """Give what a number tells in each domain, float32, shape (n_domains,)."""
    domains = np.where(np.isnan(ranks), -1, corpus.domains)[liked]
    own = [np.flatnonzero(domains == code) for code in range(len(corpus.domain_names))]
    return np.array([_less_than_chance(ranks[liked[at]], owners[at]) for at in own], np.float32)


def _less_than_chance(ranks: FloatArray, owners: Columns) -> float:
    """Give by how much ranks of the same owner, side by side, differ less than any two; 0 or more.

    The mean difference of any two is Gini's: of *n* ascending values
    ``2 / n**2 * sum((2 k - n - 1) x_k)``.
    """
    apart = np.abs(np.diff(ranks.astype(np.float64)))[owners[1:] == owners[:-1]]
    n = len(ranks)
    if len(apart) < FEWEST_PAIRS:
        return 0.0
    chance = 2 / n**2 * float((2 * np.arange(1, n + 1) - n - 1) @ np.sort(ranks).astype(np.float64))
    if chance <= 1e-9:
        return 0.0
    doubt = DOUBT * float(apart.std()) / len(apart) ** 0.5
    return float(max(1 - (float(apart.mean()) + doubt) / chance, 0.0))


def _compared(
    known: FloatArray, offered: FloatArray, told: FloatArray, weights: FloatArray, inside: Mask
) -> FloatArray:
    """Compare the candidates of a user with a history.

    Parameters
    ----------
    known : numpy.ndarray
        float32, shape (n_entries, n_names): ranks, not a number where there is none.
    offered : numpy.ndarray
        The same, shape (n_candidates, n_names).
    told : numpy.ndarray
        float32, shape (n_names,): what each number tells.
    weights : numpy.ndarray
        float32, shape (n_entries,), above 0.
    inside : numpy.ndarray
        bool, shape (n_entries,).
    """
    out = np.zeros((len(offered), len(OF_NUMBERS)), np.float32)
    for chosen, first in ((np.ones_like(inside), 0), (inside, len(NEARNESS))):
        total = np.zeros((len(offered), 1), np.float32)
        sums = np.zeros((len(offered), len(NEARNESS)), np.float32)
        for at, much in enumerate(told.tolist()):
            both = chosen & ~np.isnan(known[:, at])
            if both.any():
                own = _nearness(known[both, at], offered[:, at], weights[both])
                there = ~np.isnan(offered[:, at])
                sums[there] += much * own[there]
                total[there] += much
        out[:, first : first + len(NEARNESS)] = sums / np.maximum(total, 1e-9)
        if first == 0:
            out[:, -1] = total[:, 0] > 0
    return out


def _nearness(known: FloatArray, offered: FloatArray, weights: FloatArray) -> FloatArray:
    """Give nearest, mean and alike of one number, shape (n_candidates, 3)."""
    apart = np.abs(known[:, None] - offered)
    shares = weights / weights.sum()
    told = [1 - apart.min(axis=0), 1 - shares @ apart, shares @ np.exp(-SHARPNESS * apart)]
    return np.stack(told, axis=1)
