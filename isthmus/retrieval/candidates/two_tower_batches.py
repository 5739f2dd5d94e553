"""How the two towers learn: each user is made cold, a little or wholly, again and again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from isthmus.numerics.arrays import Columns
from isthmus.numerics.sparse import places_of_rows
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories

LARGEST_HISTORY = 100
MOST_LABELS = 20
SHOWN = (0, 0, 0, 1, 3, 5)


@dataclass(frozen=True, eq=False)
class Lesson:
    """Some users, what is shown of them, and what of one domain is hidden.

    Attributes
    ----------
    target : int
        Code of the domain.
    histories : Histories
        What is shown.
    labels, owners : numpy.ndarray
        int64, shape (n_labels,): the hidden items, and the user of each.
    """

    target: int
    histories: UserHistories
    labels: Columns
    owners: Columns


def lessons(
    corpus: TrainingData, histories: UserHistories, size: int, rng: np.random.Generator
) -> Iterator[Lesson]:
    """Hide a domain of every user, all of it or all but a few items, and give it in batches.

    Parameters
    ----------
    corpus : Corpus
        For the domains of the items.
    histories : Histories
        Everything that the users liked.
    size : int
        Users a batch.
    rng : numpy.random.Generator
        Of what is hidden and of the order.
    """
    owners, starts = histories.owners, histories.starts
    told = np.flatnonzero(np.diff(starts) > 1)
    drawn = (starts[told] + rng.random(len(told)) * np.diff(starts)[told]).astype(np.int64)
    targets = np.full(len(histories), -1, np.int64)
    targets[told] = corpus.domains[histories.columns[drawn]]
    in_target = corpus.domains[histories.columns] == targets[owners]
    places = places_of_rows(owners, in_target, rng.random(len(owners)))
    counts = np.bincount(owners, in_target, len(histories)).astype(np.int64)
    shown = np.minimum(rng.choice(SHOWN, len(histories)), counts - 1)
    alone = counts == np.diff(starts)
    shown = np.where(alone, np.maximum(shown, np.minimum(counts - 1, counts // 2)), shown)
    visible = np.where(in_target, places < shown[owners], places < LARGEST_HISTORY + counts[owners])
    hidden = in_target & ~visible & (places < shown[owners] + MOST_LABELS)
    batches = []
    for code in range(len(corpus.domain_names)):
        users = rng.permutation(np.flatnonzero(targets == code))
        batches += [(code, users[i : i + size]) for i in range(0, len(users), size)]
    context, answers = histories.filter(visible), histories.filter(hidden)
    for at in rng.permutation(len(batches)):
        code, users = batches[at]
        own = answers.take_users(users)
        yield Lesson(code, context.take_users(users), own.columns, own.owners)


class Draw:
    """Draws items of a domain to learn against: half by popularity, half evenly.

    Parameters
    ----------
    corpus : Corpus
        For popularity and domains.
    most : int
        Items a draw; a domain with no more is taken whole.
    """

    def __init__(self, corpus: TrainingData, most: int) -> None:
        self._most = most
        self._columns = [
            np.flatnonzero(corpus.in_domain(code)) for code in range(len(corpus.domain_names))
        ]
        self._shares = []
        for columns in self._columns:
            popular = np.sqrt(corpus.popularity[columns])
            even = np.full(len(columns), 1 / max(1, len(columns)))
            self._shares.append((popular / max(popular.sum(), 1e-12) + even) / 2)

    def draw(self, target: int, rng: np.random.Generator) -> tuple[Columns, torch.Tensor]:
        """Give distinct items, ascending, and the log-probability of each to be among them."""
        columns, shares = self._columns[target], self._shares[target]
        if len(columns) <= self._most:
            return columns, torch.zeros(len(columns))
        among = 1 - (1 - shares) ** self._most
        found = np.flatnonzero(rng.random(len(columns)) < among)
        return columns[found], torch.from_numpy(np.log(among[found])).float()
