"""Cross-fitting of the components, and the choice of hyperparameters on one of its folds.

For each fold, a component model is learned from the other ratings and predicts the ratings that
the fold holds out: for users with all their other ratings, for users with a few of them, and for
users that the model has not seen. For some items a fold holds out every rating, so there are new
items too. The weights of the components are learned from these predictions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from isthmus.retrieval.ratings.components import (
    ComponentModel,
    Components,
    Items,
    RatingSettings,
    Scale,
    scaled_residuals,
)
from isthmus.retrieval.ratings.content import unit_rows
from isthmus.retrieval.ratings.factors import FactorModel
from isthmus.retrieval.ratings.neighbours import CoRatings, Neighbours, NeighbourSettings, Pairs
from isthmus.retrieval.ratings.ratings import Codes, Floats, Mask, Ratings

FOLDS = 5
GROUPS_PER_FOLD = 5
"""Of the users, and of the items, one in FOLDS * GROUPS_PER_FOLD is held out whole from a fold."""
MAX_PAIRS_OF_NEW_USER = 50

FACTORS = (0, 2, 4, 8, 16)
FEATURES = (32, 128)
NEIGHBOURS: dict[str, tuple[float, ...]] = {
    "shrink": (30.0, 100.0, 300.0, 1000.0),
    "content": (0.0, 0.3, 1.0, 3.0),
    "power": (1.0, 2.0, 3.0, 4.0),
    "k": (10, 20, 40, 80, 160),
    "damping": (0.1, 0.3, 1.0, 3.0),
}
PATIENCE = 2
MAX_TUNING_PAIRS = 20_000


class HeldOut(NamedTuple):
    """Pairs to predict, the histories that may be used for it, and the true ratings."""

    histories: Ratings
    pairs: Pairs
    truth: Floats


@dataclass(frozen=True)
class Fold:
    """The ratings to learn from, and the held-out ones.

    Attributes
    ----------
    training : Ratings
        To learn from.
    known_users : HeldOut
        Held-out ratings of users with all of their training ratings.
    thinned_users : HeldOut
        The same for users with a few of their training ratings, or none.
    new_users : HeldOut
        Ratings of users without training ratings, with a few of their others.
    """

    training: Ratings
    known_users: HeldOut
    thinned_users: HeldOut
    new_users: HeldOut

    @property
    def held_out(self) -> tuple[HeldOut, HeldOut, HeldOut]:
        """All three."""
        return self.known_users, self.thinned_users, self.new_users


class CrossFitted(NamedTuple):
    """Components of held-out pairs, and the true rating, in standard deviations of the fold.

    Attributes
    ----------
    components : Components
        Of n pairs.
    truth : numpy.ndarray
        float64, shape (n,).
    users : numpy.ndarray
        int64, shape (n,): user of each pair.
    """

    components: Components
    truth: Floats
    users: Codes

    def take(self, rows: Codes) -> CrossFitted:
        """Return some of the pairs."""
        return CrossFitted(self.components[rows], self.truth[rows], self.users[rows])


def make_folds(ratings: Ratings, seed: int) -> Iterator[Fold]:
    """Divide ratings into folds."""
    generator = np.random.default_rng(seed)
    number = generator.permutation(len(ratings)) % FOLDS
    user_group = generator.permutation(ratings.shape[0]) % (FOLDS * GROUPS_PER_FOLD)
    item_group = generator.permutation(ratings.shape[1]) % (FOLDS * GROUPS_PER_FOLD)
    for fold in range(FOLDS):
        new_user = (user_group == fold)[ratings.rows]
        new_item = (item_group == fold)[ratings.columns]
        held_out = number == fold
        training = ratings.filter(~held_out & ~new_user & ~new_item)
        if len(training):
            truth = ratings.filter(held_out & ~new_user)
            yield Fold(
                training,
                _held_out(training, truth),
                _held_out(training.filter(_few(training, generator, min_left=0)), truth),
                _new_users(ratings.filter(new_user), generator),
            )


def cross_fitted(
    ratings: Ratings, items: Items, settings: RatingSettings, seed: int
) -> Iterator[tuple[Fold, list[CrossFitted]]]:
    """Learn from the training ratings of each fold, and predict the held-out ones."""
    for fold in make_folds(ratings, seed):
        model = ComponentModel.fit(fold.training, items, settings, seed)
        yield fold, [predict_held_out(model, held_out) for held_out in fold.held_out]


def predict_held_out(model: ComponentModel, held_out: HeldOut) -> CrossFitted:
    """Return the components of held-out pairs."""
    truth = (held_out.truth - model.scale.biases.mean) / model.scale.deviation
    components = model.components(held_out.histories, held_out.pairs)
    return CrossFitted(components, truth, held_out.pairs.rows)


def join_cross_fitted(parts: list[CrossFitted]) -> CrossFitted:
    """Concatenate the pairs of several folds."""
    components = [part.components for part in parts]
    return CrossFitted(
        Components(
            np.concatenate([part.bias for part in components]),
            np.concatenate([part.values for part in components]),
            np.concatenate([part.evidence for part in components]),
            np.concatenate([part.domains for part in components]),
        ),
        np.concatenate([part.truth for part in parts]),
        np.concatenate([part.users for part in parts]),
    )


def _held_out(histories: Ratings, truth: Ratings) -> HeldOut:
    return HeldOut(histories, Pairs(truth.rows, truth.columns), truth.values)


def _new_users(ratings: Ratings, generator: np.random.Generator) -> HeldOut:
    shown = _few(ratings, generator, min_left=1)
    limits = np.full(ratings.shape[0], MAX_PAIRS_OF_NEW_USER)
    truth = _sample_of_each_user(~shown, ratings, generator, limits)
    return _held_out(ratings.filter(shown), ratings.filter(truth))


def _few(ratings: Ratings, generator: np.random.Generator, min_left: int) -> Mask:
    """Choose ratings of each user: from none to all, small numbers as often as large ones."""
    largest = np.maximum(ratings.user_counts - min_left, 0)
    uniform = generator.random(len(largest))
    counts = np.floor((largest + 1.0) ** uniform - 1 + 1e-9).astype(np.int64)
    return _sample_of_each_user(np.ones(len(ratings), bool), ratings, generator, counts)


def _sample_of_each_user(
    mask: Mask, ratings: Ratings, generator: np.random.Generator, counts: Codes
) -> Mask:
    """Choose a number of each user's ratings in a mask, at random."""
    entries = np.flatnonzero(mask)
    order = entries[np.lexsort((generator.random(len(entries)), ratings.rows[entries]))]
    users = ratings.rows[order]
    chosen = np.zeros(len(ratings), bool)
    chosen[order[np.arange(len(order)) - np.searchsorted(users, users) < counts[users]]] = True
    return chosen


def tune(ratings: Ratings, items: Items, seed: int) -> RatingSettings:
    """Return the hyperparameters that predict the held-out ratings of the first fold best.

    First the number of factors is raised until two in a row are no better; then the number of
    content features is chosen, then each hyperparameter of the neighbours in turn.
    """
    folds = make_folds(ratings, seed)
    fold = next((fold for fold in folds if len(fold.known_users.truth)), None)
    if fold is None:
        return RatingSettings(factors=0)
    search = _Search(fold, items, seed)
    factors = _first_minimum(FACTORS, lambda n: search.factor_error(n, FEATURES[0]))
    widths = sorted({min(n, items.features.shape[1]) for n in FEATURES})
    features = min(widths, key=lambda n: search.factor_error(factors, n))
    return RatingSettings(factors, features, search.best_neighbours(factors, features))


def _first_minimum(values: Iterable[int], error: Callable[[int], float]) -> int:
    best, smallest, worse = 0, np.inf, 0
    for value in values:
        current = error(value)
        worse = worse + 1 if current >= smallest else 0
        if worse == PATIENCE:
            break
        if current < smallest:
            best, smallest = value, current
    return best


class _Search:
    """One fold with standardised ratings, and the factor models that were fitted to it."""

    def __init__(self, fold: Fold, items: Items, seed: int) -> None:
        self._items, self._seed = items, seed
        scale = Scale.fit(fold.training, items)
        self._training = scale.standardised(fold.training, items)
        histories, pairs, truth = fold.known_users
        order = np.random.default_rng(seed).permutation(len(truth))
        chosen = np.sort(order[:MAX_TUNING_PAIRS])
        self._pairs = Pairs(pairs.rows[chosen], pairs.columns[chosen])
        self._histories = scale.standardised(histories, items)
        domains = items.domains[self._pairs.columns]
        self._truth = scale.standardise(truth[chosen], domains)
        self._fitted: dict[tuple[int, int], tuple[FactorModel, float]] = {}

    def factor_error(self, factors: int, features: int) -> float:
        """Return the mean squared error of a factor model."""
        key = (factors, min(features, self._items.features.shape[1]))
        if key not in self._fitted:
            of_items = self._items.features[:, : key[1]]
            model = FactorModel.fit(self._training, of_items, factors, self._seed)
            self._fitted[key] = (model, float((self._errors(model) ** 2).mean()))
        return self._fitted[key][1]

    def best_neighbours(self, factors: int, features: int) -> NeighbourSettings:
        """Choose the hyperparameters of the neighbours, given the factor model."""
        self.factor_error(factors, features)
        model = self._fitted[factors, features][0]
        co_ratings = CoRatings.fit(scaled_residuals(model, self._training))
        errors, residuals = self._errors(model), self._residuals(model)
        units = unit_rows(self._items.features)

        def error(settings: NeighbourSettings) -> float:
            neighbours = Neighbours(settings, co_ratings.similarities(settings.shrink))
            predicted, _ = neighbours.residuals(self._histories, residuals, self._pairs, units)
            scale = max(float(predicted @ errors), 0.0) / max(float(predicted @ predicted), 1e-12)
            return float(((errors - scale * predicted) ** 2).mean())

        return _coordinate_search(NeighbourSettings(), error)

    def _errors(self, model: FactorModel) -> Floats:
        users = model.users(self._histories)
        return self._truth - model.expected(users, *self._pairs)

    def _residuals(self, model: FactorModel) -> Floats:
        histories = self._histories
        users = model.users(histories)
        return histories.values - model.expected(users, histories.rows, histories.columns)


def _coordinate_search(
    start: NeighbourSettings, error: Callable[[NeighbourSettings], float]
) -> NeighbourSettings:
    best, smallest = start, error(start)
    for name, values in NEIGHBOURS.items():
        current: Any = getattr(best, name)
        for value in values:
            if value != current:
                candidate = replace(best, **{name: type(current)(value)})
                of_candidate = error(candidate)
                if of_candidate < smallest:
                    best, smallest = candidate, of_candidate
    return best
