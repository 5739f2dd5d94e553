"""Cold-start episodes: users whose interactions in a domain are hidden, and items made new.

A cross-fitting fold hides from everything that learns what its users did in the target domain,
and every interaction with some items. Its users are then shown with few or no items of the domain,
or recommended the new items; what they went on to like is relevant. So a ranker learns from scores
of users and items that the candidate generators do not know, as when it serves.
"""

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
COLD_USER = "0"
MOST_SHOWN = "most"
NEW_ITEMS = "new"
NEW_ITEM_SHARE = 0.1
SHOWN_SHARE = 0.8
SCENARIOS_PER_USER = 2  # beside the cold one
MIN_VALIDATION_USERS = 5


@dataclass(frozen=True, eq=False)
class Fold:
    """A cross-fitting fold: users hidden in the target domain, and items made new.

    Attributes
    ----------
    users : numpy.ndarray
        int64, shape (n_fold_users,): rows of the users in the interaction matrix.
    new_items : numpy.ndarray
        bool, shape (n_items,): items without any visible interaction.
    hidden : numpy.ndarray
        bool, shape (n_entries,): entries of the interaction matrix that nothing learns from.
    """

    users: Columns
    new_items: Mask
    hidden: Mask


@dataclass(frozen=True, eq=False)
class Episodes:
    """Simulated users of one scenario, and what they went on to like.

    Attributes
    ----------
    scenario : str
        How much is shown of the target domain: ``"0"`` to ``"5"`` liked items, ``"most"`` for
        four fifths of them, or ``"new"`` where only new items are ranked.
    users : numpy.ndarray
        int64, shape (n_users,): rows in the interaction matrix.
    histories : UserHistories
        What is shown of them.
    relevant, owners : numpy.ndarray
        int64, shape (n_relevant,): the hidden liked items, and the position in `users` of the
        user of each.
    allowed : numpy.ndarray
        bool, shape (n_items,): the items that are ranked.
    """

    scenario: str
    users: Columns
    histories: UserHistories
    relevant: Columns
    owners: Columns
    allowed: Mask

    def slice(self, start: int, stop: int) -> Episodes:
        """Return the episodes of the users from `start` up to `stop`."""
        inside = (self.owners >= start) & (self.owners < stop)
        rows = np.arange(start, stop)
        return Episodes(
            self.scenario,
            self.users[rows],
            self.histories.take_users(rows),
            self.relevant[inside],
            self.owners[inside] - start,
            self.allowed,
        )


def make_folds(
    data: TrainingData, target: int, folds: int, seed: int, max_users: int | None = None
) -> Iterator[Fold]:
    """Divide the users of a domain into cross-fitting folds.

    Parameters
    ----------
    data : TrainingData
        Items and interactions.
    target : int
        Code of the domain.
    folds : int
        Number of folds; with 1, the only fold holds a fifth of the users.
    seed : int
        Random seed.
    max_users : int, optional
        Users of a fold, at most.
    """
    rng = np.random.default_rng(seed)
    matrix = data.interactions
    owners = matrix.owners
    inside = data.domains[matrix.columns] == target
    users = rng.permutation(np.flatnonzero(data.domain_users(target)))
    parts = np.array_split(users, folds if folds > 1 else 5)[:folds]
    items = rng.permutation(np.flatnonzero(data.in_domain(target) & (data.popularity > 0)))
    for part in parts:
        part = np.sort(part[:max_users])
        new_items = np.zeros(len(data), bool)
        new_items[rng.choice(items, int(NEW_ITEM_SHARE * len(items)), replace=False)] = True
        in_fold = _mask_of(part, len(matrix.users))
        yield Fold(part, new_items, (in_fold[owners] & inside) | new_items[matrix.columns])


def choose_validation_users(
    data: TrainingData, folds: Sequence[Fold], target: int, share: float, seed: int
) -> Mask:
    """Choose the users that are validated on, the same in every fold and scenario.

    Parameters
    ----------
    data : TrainingData
        Items and interactions.
    folds : sequence of Fold
        Folds of its users.
    target : int
        Code of the domain.
    share : float
        Share of the users; where it comes to fewer than five users, it is five, or a fifth of the
        users if that is less.
    seed : int
        Random seed.

    Returns
    -------
    numpy.ndarray
        bool, shape (n_users,).
    """
    matrix = data.interactions
    draws = np.random.default_rng(seed).random(len(matrix.users))
    liked = _liked(matrix) & (data.domains[matrix.columns] == target)
    in_episode = np.zeros(len(matrix.users), bool)
    for fold in folds:
        of_fold = _mask_of(fold.users, len(matrix.users))[matrix.owners]
        in_episode[matrix.owners[liked & of_fold & ~fold.new_items[matrix.columns]]] = True
    ascending = np.sort(draws[in_episode])
    fewest = ascending[: max(1, min(MIN_VALIDATION_USERS, len(ascending) // 5))]
    return np.asarray(draws <= max(share, float(fewest.max(initial=0))))


def make_episodes(
    data: TrainingData, fold: Fold, target: int, seed: int, ignored: Mask | None = None
) -> Iterator[Episodes]:
    """Simulate the users of a fold in the scenarios in which they will be met.

    Every user appears without any item of the domain, and in two of the other scenarios, as far
    as the user has enough items.

    Parameters
    ----------
    data : TrainingData
        Items and interactions.
    fold : Fold
        The users, and what is hidden.
    target : int
        Code of the domain.
    seed : int
        Seed of the choice of what is shown.
    ignored : numpy.ndarray, optional
        bool, shape (n_items,): items that no history shows.
    """
    rng = np.random.default_rng(seed)
    matrix = data.interactions if ignored is None else data.interactions.restricted_to(~ignored)
    yield from _cold_user_episodes(matrix, fold, data.in_domain(target), rng)
    yield from _cold_item_episodes(matrix, fold, rng)


def _cold_user_episodes(
    matrix: InteractionMatrix, fold: Fold, in_target: Mask, rng: np.random.Generator
) -> Iterator[Episodes]:
    in_fold = _mask_of(fold.users, len(matrix.users))
    matrix = matrix.without(~in_fold[matrix.owners] | fold.new_items[matrix.columns])
    owners, inside = matrix.owners, in_target[matrix.columns]
    liked = inside & _liked(matrix)
    counts = np.bincount(owners, liked, len(in_fold)).astype(np.int64)  # (n_users,)
    places = rank_in_rows(owners, liked, rng.random(len(owners)))  # liked items first
    scenarios = np.tile(np.arange(1, len(SHOTS) + 1), (len(in_fold), 1))
    drawn = rng.permuted(scenarios, axis=1)[:, :SCENARIOS_PER_USER]
    allowed = in_target & ~fold.new_items
    for number in range(len(SHOTS) + 1):
        most = number == len(SHOTS)
        n_shown = np.floor(SHOWN_SHARE * counts) if most else np.full(len(counts), SHOTS[number])
        chosen = (counts > n_shown) & ((number == 0) | (drawn == number).any(axis=1))
        if most:
            chosen &= n_shown > max(SHOTS)
        among_shown = liked & (places < n_shown[owners])
        shown = chosen[owners] & (~inside | among_shown)
        relevant = chosen[owners] & liked & ~among_shown
        if chosen.any():
            name = MOST_SHOWN if most else str(SHOTS[number])
            yield _episodes(name, matrix, np.flatnonzero(chosen), shown, relevant, allowed)


def _cold_item_episodes(
    matrix: InteractionMatrix, fold: Fold, rng: np.random.Generator
) -> Iterator[Episodes]:
    """Ask users who liked a new item for it; they are half as many as the users of the fold."""
    owners, new, liked = matrix.owners, fold.new_items[matrix.columns], _liked(matrix)
    n_new = np.bincount(owners, new & liked, len(matrix.users))
    n_other = np.bincount(owners, ~new & liked, len(matrix.users))
    users = rng.permutation(np.flatnonzero((n_new > 0) & (n_other > 0)))
    users = np.sort(users[: max(1, len(fold.users) // 2)])
    if len(users):
        chosen = _mask_of(users, len(matrix.users))[owners]
        shown, relevant = chosen & ~new, chosen & new & liked
        yield _episodes(NEW_ITEMS, matrix, users, shown, relevant, fold.new_items)


def _episodes(
    scenario: str,
    matrix: InteractionMatrix,
    users: Columns,
    shown: Mask,
    relevant: Mask,
    allowed: Mask,
) -> Episodes:
    """Make episodes; weights come from what is shown alone, so nothing hidden leaks into them."""
    position = np.zeros(len(matrix.users), np.int64)
    position[users] = np.arange(len(users))
    histories = UserHistories.from_interactions(matrix.without(~shown)).take_users(users).liked
    owners = position[matrix.owners[relevant]]
    return Episodes(scenario, users, histories, matrix.columns[relevant], owners, allowed)


def _liked(matrix: InteractionMatrix) -> Mask:
    return matrix.likes & (matrix.strengths > 0)


def _mask_of(users: Columns, n: int) -> Mask:
    mask = np.zeros(n, bool)
    mask[users] = True
    return mask
