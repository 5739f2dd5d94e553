"""Parts of ratings that the parts have not seen, to learn the weights of the parts from.

Of every fold a part model is learned from the rest, and asked about what the fold hides: for
users with all the rest of their ratings, for users with a few of them, and for users of whom the
model has seen nothing. Of some items a fold hides every rating, so that there are new items too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from isthmus.retrieval.ratings.components import (
    Items,
    PartModel,
    Parts,
    Settings,
    centre,
    expected,
    standardised,
    user_residuals,
)
from isthmus.retrieval.ratings.content import unit
from isthmus.retrieval.ratings.factors import Factors, solve_users
from isthmus.retrieval.ratings.neighbours import Asked, CoRatings, Neighbours, NeighbourSettings
from isthmus.retrieval.ratings.ratings import Codes, Floats, Mask, Ratings

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

FOLDS = 5
GROUPS = 5
"""So many groups a fold has of users, and of items, of which one is hidden from it whole."""
NEW_USER_ASKED = 50


class Question(NamedTuple):
    """What a part model is asked: pairs, the histories it may see, and the ratings they had."""

    histories: Ratings
    asked: Asked
    values: Floats


@dataclass(frozen=True)
class Fold:
    """What is seen of the ratings, and what is asked of the rest.

    Attributes
    ----------
    visible : Ratings
        To learn from.
    hidden : Question
        The fold's own ratings, of users with all of their visible ones.
    thin : Question
        The same of users with a few of them, or none.
    new : Question
        Ratings of users that are not visible, with a few of the others.
    """

    visible: Ratings
    hidden: Question
    thin: Question
    new: Question

    @property
    def questions(self) -> tuple[Question, Question, Question]:
        """All three."""
        return self.hidden, self.thin, self.new


class Rows(NamedTuple):
    """Parts, and what the rating was, in the standard deviations of the fold.

    Attributes
    ----------
    parts : Parts
        Of some pairs.
    truth : numpy.ndarray
        float64, shape (n,).
    users : numpy.ndarray
        int64, shape (n,): whose rating it is.
    """

    parts: Parts
    truth: Floats
    users: Codes


def folds(ratings: Ratings, seed: int) -> Iterator[Fold]:
    """Divide ratings into folds."""
    generator = np.random.default_rng(seed)
    number = generator.permutation(len(ratings)) % FOLDS
    user_group = generator.permutation(ratings.shape[0]) % (FOLDS * GROUPS)
    item_group = generator.permutation(ratings.shape[1]) % (FOLDS * GROUPS)
    for fold in range(FOLDS):
        new_user = (user_group == fold)[ratings.rows]
        new_item = (item_group == fold)[ratings.columns]
        hidden = number == fold
        visible = ratings.only(~hidden & ~new_user & ~new_item)
        if len(visible):
            yield Fold(
                visible,
                _question(visible, ratings.only(hidden & ~new_user)),
                _question(_thinned(visible, generator), ratings.only(hidden & ~new_user)),
                _unseen(ratings.only(new_user), generator),
            )


def rows_of(model: PartModel, question: Question) -> Rows:
    """Ask a part model."""
    truth = (question.values - model.levels.mean) / model.deviation
    parts = model.parts(question.histories, question.asked)
    return Rows(parts, truth, question.asked.rows)


def cross_fitted(
    ratings: Ratings, items: Items, settings: Settings, seed: int
) -> Iterator[tuple[Fold, list[Rows]]]:
    """Learn from each fold's visible ratings, and give what it says to its questions."""
    for fold in folds(ratings, seed):
        model = PartModel.fit(fold.visible, items, settings, seed)
        yield fold, [rows_of(model, question) for question in fold.questions]


def joined(rows: list[Rows]) -> Rows:
    """Put rows one after the other."""
    parts = [own.parts for own in rows]
    return Rows(
        Parts(
            np.concatenate([own.level for own in parts]),
            np.concatenate([own.values for own in parts]),
            np.concatenate([own.evidence for own in parts]),
            np.concatenate([own.domains for own in parts]),
        ),
        np.concatenate([own.truth for own in rows]),
        np.concatenate([own.users for own in rows]),
    )


def _question(histories: Ratings, asked: Ratings) -> Question:
    return Question(histories, Asked(asked.rows, asked.columns), asked.values)


def _unseen(ratings: Ratings, generator: np.random.Generator) -> Question:
    shown = _few(ratings, generator, least_left=1)
    left = _first_of_each(~shown, ratings, generator, np.full(ratings.shape[0], NEW_USER_ASKED))
    return _question(ratings.only(shown), ratings.only(left))


def _thinned(ratings: Ratings, generator: np.random.Generator) -> Ratings:
    return ratings.only(_few(ratings, generator, least_left=0))


def _few(ratings: Ratings, generator: np.random.Generator, least_left: int) -> Mask:
    """Choose some ratings of each user: from none to all, small numbers as often as large ones."""
    most = np.maximum(ratings.by_user - least_left, 0)
    wanted = np.floor((most + 1.0) ** generator.random(len(most)) - 1 + 1e-9).astype(np.int64)
    return _first_of_each(np.ones(len(ratings), bool), ratings, generator, wanted)


def _first_of_each(
    mask: Mask, ratings: Ratings, generator: np.random.Generator, wanted: Codes
) -> Mask:
    """Choose so many of each user's entries in the mask, at random."""
    entries = np.flatnonzero(mask)
    order = entries[np.lexsort((generator.random(len(entries)), ratings.rows[entries]))]
    users = ratings.rows[order]
    chosen = np.zeros(len(ratings), bool)
    chosen[order[np.arange(len(order)) - np.searchsorted(users, users) < wanted[users]]] = True
    return chosen


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
