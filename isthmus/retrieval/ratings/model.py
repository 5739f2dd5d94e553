"""The rating model: components, their weights, and the rating scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from isthmus.errors import InvalidInput
from isthmus.retrieval.ratings.components import (
    COMPONENTS,
    ComponentModel,
    Components,
    Items,
    RatingSettings,
)
from isthmus.retrieval.ratings.content import ContentProjection, Features
from isthmus.retrieval.ratings.cross_fitting import cross_fitted, join_cross_fitted, tune
from isthmus.retrieval.ratings.neighbours import Pairs
from isthmus.retrieval.ratings.ratings import Codes, Floats, History, Ratings, checked_columns
from isthmus.retrieval.ratings.weights import ComponentWeights

if TYPE_CHECKING:
    from isthmus.data.interactions.matrix import InteractionMatrix

Columns = Sequence[int] | npt.NDArray[np.integer[Any]]
TERMS = ("global", "domain", *COMPONENTS, "adjustment")


@dataclass(frozen=True)
class RatingExplanation:
    """Predictions for one user, and the terms that they are the sum of.

    Attributes
    ----------
    predicted : numpy.ndarray
        float32, shape (n,): within the rating scale.
    terms : dict of str to numpy.ndarray
        float32, shape (n,), for each of `TERMS`: the mean of all ratings, the bias of the domain,
        what the content of the item predicts, the bias of the item beyond that, the bias of the
        user, the factors, similar items of the history, and the adjustment. Their sum is the
        prediction before it is clipped to the scale.
    """

    predicted: Features
    terms: dict[str, Features]


@dataclass(frozen=True)
class RatingModel:
    """Predicts ratings for users known by a history alone, also of items known by content alone.

    Attributes
    ----------
    components : ComponentModel
        Biases, factors and neighbours.
    weights : ComponentWeights
        Weights of the components.
    projection : ContentProjection
        Map from content vectors to features.
    limits : tuple of float
        The smallest and largest rating of the training; predictions are clipped to them.
    settings : RatingSettings
        Hyperparameters, chosen by cross-validation.
    """

    components: ComponentModel
    weights: ComponentWeights
    projection: ContentProjection
    limits: tuple[float, float]
    settings: RatingSettings

    @classmethod
    def fit(
        cls,
        ratings: InteractionMatrix | Ratings,
        vectors: npt.NDArray[np.float32],
        domains: Codes,
        *,
        settings: RatingSettings | None = None,
        seed: int = 0,
    ) -> RatingModel:
        """Learn from ratings.

        Parameters
        ----------
        ratings : InteractionMatrix or Ratings
            Users by items; the strengths of a matrix are the ratings.
        vectors : numpy.ndarray
            float32, shape (n_items, dim): content; a row of zeros has none. dim may be 0.
        domains : numpy.ndarray
            int, shape (n_items,): a code from 0 for the domain of each item.
        settings : RatingSettings, optional
            By default chosen by cross-validation.
        seed : int
            Random seed: with the same seed and input, on the same machine with the same number of
            threads, the model is the same.

        Raises
        ------
        InvalidInput
            If there are no ratings, one is not finite, or the shapes do not fit.
        """
        table = ratings if isinstance(ratings, Ratings) else Ratings.from_matrix(ratings)
        codes = _checked(table, vectors, domains)
        projection = ContentProjection.fit(vectors, codes)
        items = Items(projection.transform(vectors, codes), codes)
        settings = settings or tune(table, items, seed)
        pairs = [part for _, parts in cross_fitted(table, items, settings, seed) for part in parts]
        weights = (
            ComponentWeights.fit(join_cross_fitted(pairs), seed) if pairs else ComponentWeights({})
        )
        components = ComponentModel.fit(table, items, settings, seed)
        limits = float(table.values.min()), float(table.values.max())
        return cls(components, weights, projection, limits, settings)

    @property
    def n_items(self) -> int:
        """Number of items that it can predict."""
        return len(self.components.items)

    def predict(self, histories: Sequence[History], items: Sequence[Columns]) -> list[Features]:
        """Predict ratings.

        Parameters
        ----------
        histories : sequence of History
            The known ratings of each user, in any order; may be empty.
        items : sequence of sequence of int
            For each user, the items to predict.

        Returns
        -------
        list of numpy.ndarray
            float32 for each user, within the rating scale, in the order of the items.

        Raises
        ------
        InvalidInput
            If there is not one list of items for each history, or one of either is malformed.
        """
        lists, components, order = self._components(histories, items)
        predicted = np.empty(len(order), np.float32)
        predicted[order] = self._rescaled(self.weights.predict(components))
        return _split(predicted, lists)

    def explain(
        self, histories: Sequence[History], items: Sequence[Columns]
    ) -> list[RatingExplanation]:
        """Predict ratings as `predict` does, and return the terms that they are the sum of."""
        lists, components, order = self._components(histories, items)
        weights = self.weights.weights(components)
        scale = self.components.scale
        table = np.empty((len(order), len(TERMS)))
        table[order, 0] = scale.biases.mean
        table[order, 1] = components.bias * scale.deviation
        table[order, 2:-1] = weights.components * components.values * scale.deviation
        table[order, -1] = weights.adjustment * scale.deviation
        predicted = np.empty(len(order), np.float32)
        predicted[order] = self._rescaled(self.weights.predict(components))
        terms = [
            dict(zip(TERMS, part.T, strict=True))
            for part in _split(table.astype(np.float32), lists)
        ]
        return [
            RatingExplanation(*both) for both in zip(_split(predicted, lists), terms, strict=True)
        ]

    def extended(self, vectors: npt.NDArray[np.float32], domains: Codes) -> RatingModel:
        """Append items of which only the content is known, without training.

        Parameters
        ----------
        vectors : numpy.ndarray
            float32, shape (n_new, dim), from the encoders of the training.
        domains : numpy.ndarray
            int, shape (n_new,): codes as in training; an unknown one counts as average.

        Raises
        ------
        InvalidInput
            If the shapes do not fit.
        """
        codes = _checked_domains(vectors, domains)
        features = self.projection.transform(vectors, codes)
        return replace(self, components=self.components.extended(Items(features, codes)))

    def _components(
        self, histories: Sequence[History], items: Sequence[Columns]
    ) -> tuple[list[Codes], Components, Codes]:
        """Return the lists of items, the components of all pairs, and the order of these pairs."""
        if len(histories) != len(items):
            raise InvalidInput(
                f"{len(histories)} histories and {len(items)} lists of items; give one each a user"
            )
        known = Ratings.from_histories(histories, self.n_items)
        lists = [
            checked_columns(f"list {number}", item_columns, self.n_items)
            for number, item_columns in enumerate(items)
        ]
        rows = np.repeat(np.arange(len(lists)), [len(columns) for columns in lists])
        columns = np.concatenate([np.zeros(0, np.int64), *lists])
        order = np.lexsort((columns, rows))
        pairs = Pairs(rows[order], columns[order])
        return lists, self.components.components(known, pairs), order

    def _rescaled(self, standardised: Floats) -> Floats:
        scale = self.components.scale
        ratings = scale.biases.mean + scale.deviation * standardised
        return np.asarray(np.clip(ratings, *self.limits), np.float64)


def _split(flat: npt.NDArray[Any], lists: Sequence[Codes]) -> list[npt.NDArray[Any]]:
    return np.split(flat, np.cumsum([len(columns) for columns in lists])[:-1]) if lists else []


def _checked(ratings: Ratings, vectors: npt.NDArray[np.float32], domains: Codes) -> Codes:
    if not len(ratings):
        raise InvalidInput("there are no ratings to learn from; add some first")
    bad = ratings.columns[~np.isfinite(ratings.values)]
    if len(bad):
        raise InvalidInput(f"a rating of item {bad[0]} is not finite; leave it out")
    if len(vectors) != ratings.shape[1]:
        raise InvalidInput(
            f"{len(vectors)} vectors for {ratings.shape[1]} items; give one an item, zeros where "
            "there is no content"
        )
    return _checked_domains(vectors, domains)


def _checked_domains(vectors: npt.NDArray[np.float32], domains: Codes) -> Codes:
    codes = np.asarray(domains)
    if codes.shape != (len(vectors),) or not np.issubdtype(codes.dtype, np.integer):
        raise InvalidInput(
            f"domains of shape {codes.shape} and type {codes.dtype} for {len(vectors)} items; give "
            "one whole number an item"
        )
    if (codes < 0).any():
        raise InvalidInput(f"item {np.argmax(codes < 0)} has a domain below 0; codes start at 0")
    return codes.astype(np.int64)
