"""Settings, chosen by what they predict of a fold that is hidden."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from isthmus.retrieval.ratings.components import (
    Items,
    Settings,
    centre,
    expected,
    standardised,
    user_residuals,
)
from isthmus.retrieval.ratings.content import unit
from isthmus.retrieval.ratings.cross_fitting import Fold
from isthmus.retrieval.ratings.factors import Factors
from isthmus.retrieval.ratings.neighbours import Asked, CoRatings, Neighbours, NeighbourSettings
from isthmus.retrieval.ratings.ratings import Floats
from isthmus.retrieval.ratings.users import solve_users

FACTORS = (0, 2, 4, 8, 16)
FEATURES = (32, 128)
NEIGHBOURS: dict[str, tuple[float, ...]] = {
    "shrink": (30.0, 100.0, 300.0, 1000.0),
    "content": (0.0, 0.3, 1.0, 3.0),
    "power": (1.0, 2.0, 3.0, 4.0),
    "most": (10, 20, 40, 80, 160),
    "damping": (0.1, 0.3, 1.0, 3.0),
}
PATIENCE = 2
ASKED = 20_000


def choose(fold: Fold, items: Items, seed: int) -> Settings:
    """Give the settings that predict the hidden ratings of a fold best.

    First the number of factors, rising until two in a row are no better; then the
    components of the content; then each setting of the neighbours in turn.
    """
    trial = _Trial(fold, items, seed)
    factors = _climb(FACTORS, lambda own: trial.fit(own, FEATURES[0]))
    widths = sorted({min(own, items.features.shape[1]) for own in FEATURES})
    features = min(widths, key=lambda own: trial.fit(factors, own))
    return Settings(factors, features, trial.neighbours(factors, features))


def _climb(values: Iterable[int], error: Callable[[int], float]) -> int:
    best, least, worse = 0, np.inf, 0
    for value in values:
        found = error(value)
        worse = worse + 1 if found >= least else 0
        if worse == PATIENCE:
            break
        if found < least:
            best, least = value, found
    return best


class _Trial:
    """One fold, its ratings standardised, and what has been learned from it so far."""

    def __init__(self, fold: Fold, items: Items, seed: int) -> None:
        self._items, self._seed = items, seed
        levels, deviation, self._visible = standardised(fold.visible, items)
        histories, asked, values = fold.hidden
        drawn = np.random.default_rng(seed).permutation(len(values))
        chosen = np.sort(drawn[:ASKED])
        self._asked = Asked(asked.rows[chosen], asked.columns[chosen])
        self._histories = centre(histories, items, levels, deviation)
        level = levels.mean + levels.of(items.domains)[self._asked.columns]
        self._truth = (values[chosen] - level) / deviation
        self._fitted: dict[tuple[int, int], tuple[Factors, float]] = {}

    def fit(self, factors: int, features: int) -> float:
        """Learn, and give the mean squared error."""
        key = (factors, min(features, self._items.features.shape[1]))
        if key not in self._fitted:
            own = self._items.features[:, : key[1]]
            model = Factors.fit(self._visible, own, factors, self._seed)
            self._fitted[key] = (model, float((self._left(model) ** 2).mean()))
        return self._fitted[key][1]

    def neighbours(self, factors: int, features: int) -> NeighbourSettings:
        """Choose how neighbours are weighed, given the factors."""
        self.fit(factors, features)
        model = self._fitted[factors, features][0]
        co_ratings = CoRatings.fit(user_residuals(model, self._visible))
        left, residuals = self._left(model), self._residuals(model)
        units = unit(self._items.features)

        def error(how: NeighbourSettings) -> float:
            near = Neighbours(how, co_ratings.similarities(how.shrink))
            lean, _ = near.lean(self._histories, residuals, self._asked, units)
            scale = max(float(lean @ left), 0.0) / max(float(lean @ lean), 1e-12)
            return float(((left - scale * lean) ** 2).mean())

        return _one_by_one(NeighbourSettings(), error)

    def _left(self, model: Factors) -> Floats:
        users = solve_users(self._histories, model.items, model.noise)
        return self._truth - expected(model.items.means, users, *self._asked)

    def _residuals(self, model: Factors) -> Floats:
        known = self._histories
        users = solve_users(known, model.items, model.noise)
        return known.values - expected(model.items.means, users, known.rows, known.columns)


def _one_by_one(
    start: NeighbourSettings, error: Callable[[NeighbourSettings], float]
) -> NeighbourSettings:
    best, least = start, error(start)
    for name, values in NEIGHBOURS.items():
        now: Any = getattr(best, name)
        for value in values:
            if value != now:
                tried = replace(best, **{name: type(now)(value)})
                found = error(tried)
                if found < least:
                    best, least = tried, found
    return best
