"""Simulated cold users and cold items: what is hidden from the sources, and shown of a user."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.numerics.arrays import Columns, Mask
from isthmus.numerics.sparse import rank_in_rows
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories

SHOTS = (0, 1, 3, 5)
COLD_ITEMS = 0.1
SHARE_SHOWN = 0.8
FEWEST_TESTED = 5


@dataclass(frozen=True, eq=False)
class Fold:
    """Some users whose deeds in the target domain are hidden, and some items that are new.

    Attributes
    ----------
    users : numpy.ndarray
        int64: rows of the users in the corpus's matrix.
    new : numpy.ndarray
        bool, shape (n_items,): items that the sources never saw used.
    hidden : numpy.ndarray
        bool, shape (n_entries,): what the sources do not see.
    """

    users: Columns
    new: Mask
    hidden: Mask


@dataclass(frozen=True, eq=False)
class Case:
    """Users as they will be met, and what they went on to like.

    Attributes
    ----------
    name : str
        What is shown: ``"0"`` to ``"5"`` items of the target domain, ``"most"``, or ``"new"``
        where new items alone are ranked.
    users : numpy.ndarray
        int64, shape (n_users,): rows in the corpus's matrix.
    histories : Histories
        What is shown of them.
    labels, owners : numpy.ndarray
        int64, shape (n_labels,): what is hidden, and whose it is.
    allowed : numpy.ndarray
        bool, shape (n_items,): what is ranked.
    """

    name: str
    users: Columns
    histories: UserHistories
    labels: Columns
    owners: Columns
    allowed: Mask


def make_folds(
    corpus: TrainingData, target: int, folds: int, seed: int, most_users: int | None = None
) -> Iterator[Fold]:
    """Part the users of a domain into folds.

    Parameters
    ----------
    corpus : Corpus
        What there is.
    target : int
        Code of the domain.
    folds : int
        How many; 1 hides a fifth of the users.
    seed : int
        Of the parting.
    most_users : int, optional
        Users a fold, at most.
    """
    rng = np.random.default_rng(seed)
    matrix = corpus.interactions
    owners = matrix.owners
    inside = corpus.domains[matrix.columns] == target
    users = rng.permutation(np.flatnonzero(corpus.domain_users(target)))
    parts = np.array_split(users, folds if folds > 1 else 5)[:folds]
    items = rng.permutation(np.flatnonzero(corpus.in_domain(target) & (corpus.popularity > 0)))
    for part in parts:
        part = np.sort(part[:most_users])
        new = np.zeros(len(corpus), bool)
        new[rng.choice(items, int(COLD_ITEMS * len(items)), replace=False)] = True
        chosen = _marked(part, len(matrix.users))
        yield Fold(part, new, (chosen[owners] & inside) | new[matrix.columns])


def choose_tested(
    corpus: TrainingData, folds: Sequence[Fold], target: int, share: float, seed: int
) -> Mask:
    """Choose the users that are not learned from, the same in every fold and case.

    Parameters
    ----------
    corpus : Corpus
        What there is.
    folds : sequence of Fold
        Of its users.
    target : int
        Code of the domain.
    share : float
        Of the users; where it comes to fewer than five, it is five, or a fifth if that is less.
    seed : int
        Of the choice.

    Returns
    -------
    numpy.ndarray
        bool, shape (n_users,).
    """
    matrix = corpus.interactions
    chances = np.random.default_rng(seed).random(len(matrix.users))
    wanted = _liked(matrix) & (corpus.domains[matrix.columns] == target)
    met = np.zeros(len(matrix.users), bool)
    for fold in folds:
        own = _marked(fold.users, len(matrix.users))[matrix.owners]
        met[matrix.owners[wanted & own & ~fold.new[matrix.columns]]] = True
    order = np.sort(chances[met])
    fewest = order[: max(1, min(FEWEST_TESTED, len(order) // 5))]
    return np.asarray(chances <= max(share, float(fewest.max(initial=0))))


def make_cases(
    corpus: TrainingData, fold: Fold, target: int, seed: int, ignored: Mask | None = None
) -> Iterator[Case]:
    """Show the users of a fold as they will be met.

    Every user is met cold, and with two of the other amounts shown, as far as they have so much.

    Parameters
    ----------
    corpus : Corpus
        What there is.
    fold : Fold
        The users, and what is hidden.
    target : int
        Code of the domain.
    seed : int
        Of what is shown.
    ignored : numpy.ndarray, optional
        bool, shape (n_items,): items that no history shows.
    """
    rng = np.random.default_rng(seed)
    matrix = corpus.interactions if ignored is None else corpus.interactions.restricted_to(~ignored)
    yield from _cold_users(matrix, fold, corpus.in_domain(target), rng)
    yield from _cold_items(matrix, fold, rng)


def _cold_users(
    matrix: InteractionMatrix, fold: Fold, in_target: Mask, rng: np.random.Generator
) -> Iterator[Case]:
    member = _marked(fold.users, len(matrix.users))
    matrix = matrix.without(~member[matrix.owners] | fold.new[matrix.columns])
    owners, inside = matrix.owners, in_target[matrix.columns]
    liked = inside & _liked(matrix)
    counts = np.bincount(owners, liked, len(member)).astype(np.int64)
    places = rank_in_rows(owners, liked, rng.random(len(owners)))
    draw = rng.permuted(np.tile(np.arange(1, len(SHOTS) + 1), (len(member), 1)), axis=1)[:, :2]
    allowed = in_target & ~fold.new
    for number in range(len(SHOTS) + 1):
        most = number == len(SHOTS)
        shown = np.floor(SHARE_SHOWN * counts) if most else np.full(len(counts), SHOTS[number])
        met = (counts > shown) & ((number == 0) | (draw == number).any(axis=1))
        if most:
            met &= shown > max(SHOTS)
        near = liked & (places < shown[owners])
        visible = met[owners] & (~inside | near)
        hidden = met[owners] & liked & ~near
        if met.any():
            name = "most" if most else str(SHOTS[number])
            yield _case(name, matrix, np.flatnonzero(met), visible, hidden, allowed)


def _cold_items(matrix: InteractionMatrix, fold: Fold, rng: np.random.Generator) -> Iterator[Case]:
    """Let users who liked a new item find it, half as many as there are users in the fold."""
    owners, new, liked = matrix.owners, fold.new[matrix.columns], _liked(matrix)
    counts = np.bincount(owners, new & liked, len(matrix.users))
    known = np.bincount(owners, ~new & liked, len(matrix.users))
    users = rng.permutation(np.flatnonzero((counts > 0) & (known > 0)))
    users = np.sort(users[: max(1, len(fold.users) // 2)])
    if len(users):
        met = _marked(users, len(matrix.users))[owners]
        yield _case("new", matrix, users, met & ~new, met & new & liked, fold.new)


def _case(
    name: str, matrix: InteractionMatrix, users: Columns, shown: Mask, hidden: Mask, allowed: Mask
) -> Case:
    """Weigh what is shown by itself, so that nothing of what is hidden is in the weights."""
    place = np.zeros(len(matrix.users), np.int64)
    place[users] = np.arange(len(users))
    histories = UserHistories.from_interactions(matrix.without(~shown)).take_users(users).liked
    return Case(
        name, users, histories, matrix.columns[hidden], place[matrix.owners[hidden]], allowed
    )


def _liked(matrix: InteractionMatrix) -> Mask:
    return matrix.likes & (matrix.strengths > 0)


def _marked(users: Columns, n: int) -> Mask:
    mask = np.zeros(n, bool)
    mask[users] = True
    return mask
