"""Parts of ratings that the parts have not seen, to learn the weights of the parts from.

Of every fold a part model is learned from the rest, and asked about what the fold hides: for
users with all the rest of their ratings, for users with a few of them, and for users of whom the
model has seen nothing. Of some items a fold hides every rating, so that there are new items too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from isthmus.retrieval.ratings.components import Items, PartModel, Parts, Settings
from isthmus.retrieval.ratings.neighbours import Asked
from isthmus.retrieval.ratings.ratings import Codes, Floats, Mask, Ratings

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
