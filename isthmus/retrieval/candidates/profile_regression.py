"""A ridge from the content of a history to factors of users: taste that carries over as words.

What a user likes says what kind of user it is, whatever the domain: words and content vectors are
comparable between domains where items and users are not shared. See Gantner et al., "Learning
Attribute-to-Feature Mappings for Cold-Start Recommendations" (ICDM 2010).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState, Columns, FloatArray, Mask, with_prefix
from isthmus.retrieval.candidates.factor_generator import FactorGenerator
from isthmus.retrieval.candidates.scorer import DotProductScorer
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories

ITEMS = "items"
PROFILES = "profiles/"
OFFSETS = "offsets/"
PENALTIES = (1.0, 10.0)
FROM_TARGET = 0.3  # weight of all profiles in the target, over that of all in other domains
MIN_USERS = 20
Float64Array = npt.NDArray[np.float64]


@dataclass
class ProfileRegression(FactorGenerator):
    """Score items by user factors that are predicted from the content of the history.

    For each target domain, ALS factorizes the likes of the target. A profile of a user is the sum
    of the contents of liked items (see `TrainingData.contents`) over the square root of their
    number, standardised over the users of the target, or over those of all other domains: this
    takes out the shift between the domains. A ridge regression maps profiles to centred factors.
    It learns from the profiles of users in the target, which need no shared user, and from those
    of shared users in the other domains. A history in both has the mean of both predictions,
    weighted by the numbers of items. Hyperparameters of the factorization are those of
    `FactorGenerator`.

    Attributes
    ----------
    l2 : float
        Ridge penalty for each profile.
    """

    name: ClassVar[str] = "profile regression"
    l2: float = 3.0

    def fit(self, data: TrainingData) -> Self:
        """Factorize the likes of every target, and regress the factors on profiles."""
        return self._fit(data, [_Regression(self, data, target) for target in data.target_codes])

    def fit_grid(self, data: TrainingData) -> Iterator[Self]:
        """Yield regressions of several penalties on the same factors."""
        regressions = [_Regression(self, data, target) for target in data.target_codes]
        for l2 in (self.l2, *sorted({*PENALTIES} - {self.l2})):
            yield replace(self, l2=l2)._fit(data, regressions)

    def _fit(self, data: TrainingData, regressions: list[_Regression]) -> Self:
        items = np.zeros((len(data), self.factors), np.float32)
        profiles: dict[int, FloatArray] = {}
        offsets: dict[int, FloatArray] = {}
        for regression in regressions:
            if len(regression.factors) < MIN_USERS:
                continue
            width = regression.factors.shape[1]
            items[regression.inside, :width] = regression.items
            solved = regression.solve(self.l2, self.factors)
            profiles[regression.target], offsets[regression.target] = solved
        return self._set(items, profiles, offsets)

    def scorer(self, data: TrainingData, users: UserHistories, target: int) -> DotProductScorer:
        """Return the products of predicted user factors and item factors of the target."""
        users = users.first_items(len(self._items)).liked
        vectors = np.zeros((len(users), self._items.shape[1]), np.float32)
        if target in self._profiles:
            mean, *offsets = self._offsets[target]
            inside = data.domains[users.columns] == target
            total = np.zeros_like(vectors)
            for chosen, offset in zip((inside, ~inside), offsets, strict=True):
                part = users.filter(chosen)
                counts = part.counts()[:, None]
                sums = part.ones.dot_dense(self._profiles[target])
                total += counts * (sums / np.sqrt(np.maximum(counts, 1)) - offset)
            counts = users.counts()[:, None]
            vectors = np.where(counts > 0, mean + total / np.maximum(counts, 1), 0)
        return self._products(data, vectors, target)

    def state(self) -> ArrayState:
        """Return the item factors, and what maps the histories to factors for each target."""
        profiles = {f"{PROFILES}{target}": found for target, found in self._profiles.items()}
        offsets = {f"{OFFSETS}{target}": found for target, found in self._offsets.items()}
        return {ITEMS: self._items, **profiles, **offsets}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        profiles = {int(key): found for key, found in with_prefix(state, PROFILES).items()}
        offsets = {int(key): found for key, found in with_prefix(state, OFFSETS).items()}
        return self._set(state[ITEMS], profiles, offsets)

    def _set(
        self, items: FloatArray, profiles: dict[int, FloatArray], offsets: dict[int, FloatArray]
    ) -> Self:
        self._profiles, self._offsets = profiles, offsets
        self._set_items(items)
        return self


class _Regression:
    """The profiles and factors of one target, from which regressions of any penalty follow.

    Parameters
    ----------
    settings : ProfileRegression
        The hyperparameters.
    data : TrainingData
        Items and interactions.
    target : int
        Code of the domain.
    """

    def __init__(self, settings: ProfileRegression, data: TrainingData, target: int) -> None:
        self.target, self.inside = target, data.in_domain(target)
        self._contents = data.contents
        liked = data.liked[:, self.inside]
        users = np.flatnonzero(np.diff(liked.indptr) > 0)
        self.factors = np.zeros((0, settings.factors), np.float32)
        self.items = np.zeros((int(self.inside.sum()), 0), np.float32)
        if len(users) < MIN_USERS:
            return
        liked = liked[users]
        self.factors, self.items = settings.factorize(liked)
        self._in_target = _Standard(self._profiles(data, users, self.inside))
        others = np.flatnonzero(data.liked @ (~self.inside).astype(np.float32) > 0)
        self._in_others = _Standard(self._profiles(data, others, ~self.inside))
        shared, at, at_other = np.intersect1d(users, others, return_indices=True)
        x_target, x_others = self._in_target.rows, self._in_others.rows[at_other]
        weight = FROM_TARGET * len(shared) / len(users) if len(shared) else 1.0
        self._n = len(shared) + weight * len(users)
        self._mean = self.factors.mean(axis=0)
        y = (self.factors - self._mean).astype(np.float64)
        self._gram = weight * x_target.T @ x_target + x_others.T @ x_others  # (dim, dim)
        self._products = weight * x_target.T @ y + x_others.T @ y[at]  # (dim, factors)

    def solve(self, l2: float, width: int) -> tuple[FloatArray, FloatArray]:
        """Return what each item adds to predicted factors, and the offsets of a prediction.

        Returns
        -------
        profiles : numpy.ndarray
            float32, shape (n_items, width).
        offsets : numpy.ndarray
            float32, shape (3, width): the mean factors, and what is subtracted from the sum over
            a history in the target, and over one in other domains.
        """
        gram = self._gram.copy()
        gram[np.diag_indices_from(gram)] += l2 * self._n
        weights = np.linalg.solve(gram, self._products)
        profiles = np.zeros((len(self.inside), width), np.float32)
        offsets = np.zeros((3, width), np.float32)
        used = weights.shape[1]
        offsets[0, :used] = self._mean
        for row, (chosen, side) in enumerate(
            ((self.inside, self._in_target), (~self.inside, self._in_others)), start=1
        ):
            scaled = weights / side.deviation[:, None]
            profiles[chosen, :used] = self._contents[chosen] @ scaled.astype(np.float32)
            offsets[row, :used] = side.mean @ scaled
        return profiles, offsets

    def _profiles(self, data: TrainingData, users: Columns, items: Mask) -> FloatArray:
        """Return the profiles of users by what they liked of some items, (n_users, dim)."""
        liked = data.liked[users][:, items]
        counts = np.maximum(np.diff(liked.indptr), 1)[:, None]
        sums = liked @ self._contents[items]
        return np.asarray(sums / np.sqrt(counts), np.float32)


class _Standard:
    """Profiles of users with mean 0 and deviation 1.

    Parameters
    ----------
    profiles : numpy.ndarray
        float32, shape (n_users, dim); a column that is constant becomes 0.
    """

    def __init__(self, profiles: FloatArray) -> None:
        self.mean: Float64Array = np.zeros(profiles.shape[1])
        self.deviation: Float64Array = np.ones(profiles.shape[1])
        if len(profiles):
            self.mean = profiles.mean(axis=0, dtype=np.float64)
            deviation = profiles.std(axis=0, dtype=np.float64)
            self.deviation = np.where(deviation > 1e-6, deviation, np.inf)
        self.rows: Float64Array = (profiles - self.mean) / self.deviation
