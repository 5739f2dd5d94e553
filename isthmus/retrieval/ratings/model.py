"""The rating model: parts, their weights, and the scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from isthmus.errors import InvalidInput
from isthmus.retrieval.ratings.components import PARTS, Items, PartModel, Parts, Settings
from isthmus.retrieval.ratings.content import ContentBasis, Features
from isthmus.retrieval.ratings.cross_fitting import choose, cross_fitted, folds, joined
from isthmus.retrieval.ratings.neighbours import Asked
from isthmus.retrieval.ratings.ratings import Codes, Floats, History, Ratings, checked_columns
from isthmus.retrieval.ratings.weights import Head

if TYPE_CHECKING:
    from isthmus.data.interactions.matrix import InteractionMatrix

Columns = Sequence[int] | npt.NDArray[np.integer[Any]]
ADDENDS = ("global", "domain", *PARTS, "adjustment")


@dataclass(frozen=True)
class Explained:
    """Predictions for one user, and what they are the sum of.

    Attributes
    ----------
    predicted : numpy.ndarray
        float32, shape (n,): within the scale.
    addends : dict of str to numpy.ndarray
        float32, shape (n,), for each of `ADDENDS`: what the mean of all ratings, the domain, the
        content, the item beyond its content, the user, their tastes, similar items of the history
        and the head's adjustment give. They add up to the prediction before it is held within the
        scale.
    """

    predicted: Features
    addends: dict[str, Features]


@dataclass(frozen=True)
class RatingModel:
    """Predicts ratings for users known by a history alone, also of items known by content alone.

    Attributes
    ----------
    parts : PartModel
        Levels, factors and neighbours.
    head : Head
        How the parts are weighed.
    basis : ContentBasis
        How vectors become content.
    scale : tuple of float
        The smallest and largest rating of the training; predictions lie within.
    settings : Settings
        What was chosen by cross-validation.
    """

    parts: PartModel
    head: Head
    basis: ContentBasis
    scale: tuple[float, float]
    settings: Settings

    @classmethod
    def fit(
        cls,
        ratings: InteractionMatrix | Ratings,
        vectors: npt.NDArray[np.float32],
        domains: Codes,
        *,
        settings: Settings | None = None,
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
        settings : Settings, optional
            By default chosen by cross-validation.
        seed : int
            Of all that is left to chance: with the same seed and input, on the same machine with
            the same number of threads, the model is the same.

        Raises
        ------
        InvalidInput
            If there are no ratings, one is not finite, or the shapes do not fit.
        """
        own = ratings if isinstance(ratings, Ratings) else Ratings.of(ratings)
        codes = _checked(own, vectors, domains)
        basis = ContentBasis.fit(vectors, codes)
        items = Items(basis.features(vectors, codes), codes)
        settings = settings or _chosen(own, items, seed)
        rows = [part for _, found in cross_fitted(own, items, settings, seed) for part in found]
        head = Head.fit(joined(rows), seed) if rows else Head({})
        parts = PartModel.fit(own, items, settings, seed)
        return cls(parts, head, basis, (float(own.values.min()), float(own.values.max())), settings)

    @property
    def items(self) -> int:
        """Number of items that may be asked for."""
        return len(self.parts.items)

    def predict(self, histories: Sequence[History], asked: Sequence[Columns]) -> list[Features]:
        """Predict ratings.

        Parameters
        ----------
        histories : sequence of History
            What each user is known to have rated, in any order; empty where nothing is known.
        asked : sequence of sequence of int
            For each of them, the items to predict.

        Returns
        -------
        list of numpy.ndarray
            float32 for each user, within the scale, in the order asked.

        Raises
        ------
        InvalidInput
            If there is not one list of items a history, or one of either is malformed.
        """
        pairs, parts, order = self._parts(histories, asked)
        found = np.empty(len(order), np.float32)
        found[order] = self._scaled(self.head.predict(parts))
        return _split(found, pairs)

    def explain(self, histories: Sequence[History], asked: Sequence[Columns]) -> list[Explained]:
        """Predict ratings, and tell what they are the sum of; as `predict` otherwise."""
        pairs, parts, order = self._parts(histories, asked)
        weighed = self.head.weigh(parts)
        own, unit = self.parts, self.parts.deviation
        table = np.empty((len(order), len(ADDENDS)))
        table[order, 0] = own.levels.mean
        table[order, 1] = parts.level * unit
        table[order, 2:-1] = weighed.weights * parts.values * unit
        table[order, -1] = weighed.adjustment * unit
        predicted = np.empty(len(order), np.float32)
        predicted[order] = self._scaled(self.head.predict(parts))
        addends = [dict(zip(ADDENDS, t.T, strict=True)) for t in _split(table.astype("f4"), pairs)]
        return [Explained(*both) for both in zip(_split(predicted, pairs), addends, strict=True)]

    def extended(self, vectors: npt.NDArray[np.float32], domains: Codes) -> RatingModel:
        """Append items of which nothing is known but their content, without training.

        Parameters
        ----------
        vectors : numpy.ndarray
            float32, shape (n_new, dim), made as those of the training.
        domains : numpy.ndarray
            int, shape (n_new,): codes as in training; one that is new is taken as average.

        Raises
        ------
        InvalidInput
            If the shapes do not fit.
        """
        codes = _checked_domains(vectors, domains)
        features = self.basis.features(vectors, codes)
        return replace(self, parts=self.parts.extended(Items(features, codes)))

    def _parts(
        self, histories: Sequence[History], asked: Sequence[Columns]
    ) -> tuple[list[Codes], Parts, Codes]:
        if len(histories) != len(asked):
            raise InvalidInput(
                f"{len(histories)} histories and {len(asked)} lists of items; give one each a user"
            )
        packed = Ratings.packed(histories, self.items)
        pairs = [
            checked_columns(f"list {number}", own, self.items) for number, own in enumerate(asked)
        ]
        rows = np.repeat(np.arange(len(pairs)), [len(own) for own in pairs])
        columns = np.concatenate([np.zeros(0, np.int64), *pairs])
        order = np.lexsort((columns, rows))
        return pairs, self.parts.parts(packed, Asked(rows[order], columns[order])), order

    def _scaled(self, predicted: Floats) -> Floats:
        whole = self.parts.levels.mean + self.parts.deviation * predicted
        return np.asarray(np.clip(whole, *self.scale), np.float64)


def _split(flat: npt.NDArray[Any], pairs: Sequence[Codes]) -> list[npt.NDArray[Any]]:
    return np.split(flat, np.cumsum([len(own) for own in pairs])[:-1]) if pairs else []


def _chosen(ratings: Ratings, items: Items, seed: int) -> Settings:
    """Choose settings on the first fold that hides something."""
    fold = next((fold for fold in folds(ratings, seed) if len(fold.hidden.values)), None)
    return Settings(factors=0) if fold is None else choose(fold, items, seed)


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
