"""Features of numeric item attributes (price, size, year): how near candidates are to a history."""

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

CLOSENESS_COLUMNS = ("nearest", "mean", "soft match")
NUMERIC_COLUMNS = (
    *(f"{closeness}{where}" for where in ("", " in domain") for closeness in CLOSENESS_COLUMNS),
    "comparable",
)
Values = npt.NDArray[np.float64]

MAX_QUANTILES = 1_001  # values of an attribute that are stored, from the smallest to the largest
MIN_PAIRS = 20
STANDARD_ERRORS = 2.0
SHARPNESS = 10.0
MAX_HISTORY = 100


def _empty() -> npt.NDArray[Any]:
    return np.empty((0, 0), np.float32)


@dataclass
class NumericAttributes:
    """Numeric attributes as ranks within their domains, and how informative each attribute is.

    The rank of a value is its mid-distribution value: the share of smaller values of the domain,
    with equal values counted half. The informativeness of an attribute in a domain is one minus
    the quotient of two mean absolute rank differences: between pairs of items liked by the same
    user (increased by two standard errors), and between any two liked items (Gini's mean
    difference). It is 0 for an attribute that does not affect choices, such as an item number, and
    such an attribute is ignored.
    """

    names: tuple[str, ...] = field(default=(), init=False)
    _quantiles: npt.NDArray[np.float64] = field(default_factory=_empty, init=False, repr=False)
    _ranks: FloatArray = field(default_factory=_empty, init=False, repr=False)
    _informativeness: FloatArray = field(default_factory=_empty, init=False, repr=False)
    _with_new: tuple[ItemFeatures, FloatArray] | None = field(default=None, init=False, repr=False)

    def fit(self, data: TrainingData) -> Self:
        """Learn ranks and informativeness; attributes that are informative nowhere are dropped."""
        self._with_new = None
        items = np.arange(len(data))
        liked, owners = _shuffled_likes(data)
        kept = []
        for name in data.features.number_names:  # one at a time: there may be very many
            values = data.features.numbers(items, (name,))[:, 0]
            quantiles = _quantiles_by_domain(values, data)
            ranks = _ranks_by_domain(values, data.domains, quantiles)
            informativeness = _informativeness_by_domain(ranks, data, liked, owners)
            if (informativeness > 0).any():
                kept.append((name, quantiles, ranks, informativeness))
        self.names = tuple(name for name, *_ in kept)
        self._quantiles = _stacked([quantiles for _, quantiles, _, _ in kept])
        self._ranks = _stacked([ranks for _, _, ranks, _ in kept])
        self._informativeness = _stacked([informativeness for *_, informativeness in kept])
        return self

    @property
    def informative(self) -> bool:
        """Whether any attribute is informative in any domain."""
        return bool(self.names)

    def features(
        self, data: TrainingData, histories: UserHistories, pool: CandidatePool, target: int
    ) -> FloatArray:
        """Compare candidates with the liked items of their users in the informative attributes.

        Closeness is one minus the absolute difference of ranks. There are the largest closeness
        to a liked item, the weighted mean, and the weighted mean of ``exp(-10 difference)``, over
        all liked items and over those in the target domain. Each is a mean over the attributes
        that both items have, weighted by informativeness. Where nothing is comparable, all are 0.

        Returns
        -------
        numpy.ndarray
            float32, shape (n_candidates, 7), see `NUMERIC_COLUMNS`.
        """
        out = np.zeros((len(pool.items), len(NUMERIC_COLUMNS)), np.float32)
        used = np.flatnonzero(self._informativeness[target] > 0) if self.informative else ()
        if not len(used):
            return out
        ranks, informativeness = self._all_ranks(data), self._informativeness[target, used]
        histories = histories.liked.top_weighted(MAX_HISTORY)
        inside = data.domains[histories.columns] == target
        for user in range(len(pool)):
            entries = slice(histories.starts[user], histories.starts[user + 1])
            rows = slice(pool.starts[user], pool.starts[user + 1])
            if entries.start == entries.stop or rows.start == rows.stop:
                continue
            out[rows] = _user_features(
                ranks[np.ix_(histories.columns[entries], used)],
                ranks[np.ix_(pool.items[rows], used)],
                informativeness,
                histories.weights[entries],
                inside[entries],
            )
        return out

    def state(self) -> ArrayState:
        """Return what was learned as arrays."""
        names = json.dumps(self.names).encode()
        return {
            "names": np.frombuffer(names, np.uint8).copy(),
            "quantiles": self._quantiles,
            "ranks": self._ranks,
            "informativeness": self._informativeness,
        }

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        self.names = tuple(json.loads(state["names"].tobytes()))
        self._quantiles, self._ranks = state["quantiles"], state["ranks"]
        self._informativeness = state["informativeness"]
        self._with_new = None
        return self

    def _all_ranks(self, data: TrainingData) -> FloatArray:
        """Return the ranks of all items, new ones included, float32, shape (n_items, n_names)."""
        learned = len(self._ranks)
        if len(data) <= learned:
            return self._ranks
        if self._with_new is None or self._with_new[0] is not data.features:
            new = np.arange(learned, len(data))
            values, domains = data.features.numbers(new, self.names), data.domains[new]
            ranks = [
                _ranks_by_domain(values[:, at], domains, self._quantiles[:, :, at])
                for at in range(len(self.names))
            ]
            self._with_new = data.features, np.concatenate([self._ranks, _stacked(ranks)])
        return self._with_new[1]


def _stacked(columns: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return np.stack(columns, axis=-1) if columns else _empty()


def _quantiles_by_domain(values: Values, data: TrainingData) -> Values:
    """Return evenly spaced ascending values of each domain, padded with NaN at the end.

    The shape is (n_domains, `MAX_QUANTILES`).
    """
    out = np.full((len(data.domain_names), MAX_QUANTILES), np.nan)
    for code in range(len(out)):
        ascending = np.sort(values[data.in_domain(code) & ~np.isnan(values)])
        if len(ascending) > MAX_QUANTILES:
            places = np.linspace(0, len(ascending) - 1, MAX_QUANTILES).round().astype(np.int64)
            ascending = ascending[places]
        out[code, : len(ascending)] = ascending
    return out


def _ranks_by_domain(values: Values, domains: Columns, quantiles: Values) -> FloatArray:
    """Return the rank of each value in its domain; NaN where there is no value."""
    out = np.full(len(values), np.nan, np.float32)
    for code in np.unique(domains).tolist():
        ascending = quantiles[code][~np.isnan(quantiles[code])]
        rows = np.flatnonzero((domains == code) & ~np.isnan(values))
        if len(ascending):
            out[rows] = _ranks(values[rows], ascending)
    return out


def _ranks(values: Values, ascending: Values) -> FloatArray:
    below = np.searchsorted(ascending, values, side="left")
    up_to = np.searchsorted(ascending, values, side="right")
    return ((below + up_to) / (2 * len(ascending))).astype(np.float32)


def _shuffled_likes(data: TrainingData) -> tuple[Columns, Columns]:
    """Return item and user of each like, grouped by user, in random order within a user."""
    order = np.random.default_rng(0).permutation(np.flatnonzero(data.interactions.likes))
    owners = data.interactions.owners[order]
    by_owner = np.argsort(owners, kind="stable")
    return data.interactions.columns[order[by_owner]], owners[by_owner]


def _informativeness_by_domain(
    ranks: FloatArray, data: TrainingData, liked: Columns, owners: Columns
) -> FloatArray:
    """Return the informativeness of an attribute in each domain, float32, shape (n_domains,)."""
    domains = np.where(np.isnan(ranks), -1, data.domains)[liked]
    likes = [np.flatnonzero(domains == code) for code in range(len(data.domain_names))]
    return np.array([_informativeness(ranks[liked[at]], owners[at]) for at in likes], np.float32)


def _informativeness(ranks: FloatArray, owners: Columns) -> float:
    """Return how much less ranks of one user differ than those of any two likes; 0 or more.

    Gini's mean difference of *n* ascending values is ``2 / n**2 * sum((2 k - n - 1) x_k)``.
    """
    differences = np.abs(np.diff(ranks.astype(np.float64)))[owners[1:] == owners[:-1]]
    n = len(ranks)
    if len(differences) < MIN_PAIRS:
        return 0.0
    gini = 2 / n**2 * float((2 * np.arange(1, n + 1) - n - 1) @ np.sort(ranks).astype(np.float64))
    if gini <= 1e-9:
        return 0.0
    margin = STANDARD_ERRORS * float(differences.std()) / len(differences) ** 0.5
    return float(max(1 - (float(differences.mean()) + margin) / gini, 0.0))


def _user_features(
    history: FloatArray,
    candidates: FloatArray,
    informativeness: FloatArray,
    weights: FloatArray,
    inside: Mask,
) -> FloatArray:
    """Compare the candidates of one user with the history.

    Parameters
    ----------
    history : numpy.ndarray
        float32, shape (n_entries, n_names): ranks, NaN where an item lacks the attribute.
    candidates : numpy.ndarray
        float32, shape (n_candidates, n_names): likewise.
    informativeness : numpy.ndarray
        float32, shape (n_names,).
    weights : numpy.ndarray
        float32, shape (n_entries,), above 0.
    inside : numpy.ndarray
        bool, shape (n_entries,): entries in the target domain.

    Returns
    -------
    numpy.ndarray
        float32, shape (n_candidates, 7), see `NUMERIC_COLUMNS`.
    """
    parts = []
    for chosen in (np.ones_like(inside), inside):
        total = np.zeros((len(candidates), 1), np.float32)
        sums = np.zeros((len(candidates), len(CLOSENESS_COLUMNS)), np.float32)
        for at, weight in enumerate(informativeness.tolist()):
            rows = chosen & ~np.isnan(history[:, at])
            if rows.any():
                closeness = _closeness(history[rows, at], candidates[:, at], weights[rows])
                present = ~np.isnan(candidates[:, at])
                sums[present] += weight * closeness[present]
                total[present] += weight
        parts.append((sums / np.maximum(total, 1e-9), total > 0))
    (everywhere, comparable), (in_domain, _) = parts
    return np.concatenate([everywhere, in_domain, comparable], axis=1).astype(np.float32)


def _closeness(history: FloatArray, candidates: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the closeness columns of one attribute, shape (n_candidates, 3)."""
    differences = np.abs(history[:, None] - candidates)  # (n_entries, n_candidates)
    shares = weights / weights.sum()
    columns = [
        1 - differences.min(axis=0),
        1 - shares @ differences,
        shares @ np.exp(-SHARPNESS * differences),
    ]
    return np.stack(columns, axis=1)
