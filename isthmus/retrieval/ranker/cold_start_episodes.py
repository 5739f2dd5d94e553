"""Cold-start episodes: users whose interactions in a domain are hidden, and items made new.

A cross-fitting fold hides from everything that learns what its users did in the target domain,
and every interaction with some items. Its users are then shown with few or no items of the domain,
or recommended the new items; what they went on to like is relevant. So a ranker learns from scores
of users and items that the candidate generators do not know, as when it serves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.numerics.arrays import Columns, Mask
from isthmus.numerics.sparse import rank_in_rows
from isthmus.retrieval.candidates.situations import (
    CROSS_DOMAIN,
    FEW,
    MAX_FEW,
    MORE,
    NEW_ITEMS,
    SHOWN_SHARE,
    UNKNOWN,
)
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories

NEW_ITEM_SHARE = 0.1


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
    """Simulated users of one situation, and what they went on to like.

    Attributes
    ----------
    situation : str
        See `isthmus.retrieval.candidates.situations`.
    users : numpy.ndarray
        int64, shape (n_users,): rows in the interaction matrix.
    histories : UserHistories
        What is shown of them.
    relevant, owners : numpy.ndarray
        int64, shape (n_relevant,): the hidden liked items, and the position in `users` of the
        user of each.
    allowed : numpy.ndarray
        bool, shape (n_items,): the items that are ranked. It is read-only, so that what depends on
        it alone, such as the neighbours of an item, is computed once for all users.
    """

    situation: str
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
            self.situation,
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

    Only the users that are simulated are hidden, so that the candidate generators of a fold learn
    from nearly as much as those that serve.

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
        Users of a fold, at most: half of them with a history in other domains and half without,
        or more of one kind where there are too few of the other.
    """
    rng = np.random.default_rng(seed)
    matrix = data.interactions
    owners = matrix.owners
    inside = data.domains[matrix.columns] == target
    cross_domain = np.bincount(owners, _liked(matrix) & ~inside, len(matrix.users)) > 0
    users = rng.permutation(np.flatnonzero(data.domain_users(target)))
    parts = np.array_split(users, folds if folds > 1 else 5)[:folds]
    items = rng.permutation(np.flatnonzero(data.in_domain(target) & (data.popularity > 0)))
    for part in parts:
        part = _balanced(part, cross_domain, max_users)
        new_items = np.zeros(len(data), bool)
        new_items[rng.choice(items, int(NEW_ITEM_SHARE * len(items)), replace=False)] = True
        new_items.flags.writeable = False
        in_fold = _mask_of(part, len(matrix.users))
        yield Fold(np.sort(part), new_items, (in_fold[owners] & inside) | new_items[matrix.columns])


def _balanced(users: Columns, cross_domain: Mask, n: int | None) -> Columns:
    """Return the first n users, in turns with and without a history in other domains."""
    if n is None or len(users) <= n:
        return users
    with_history = cross_domain[users]
    turns = np.where(with_history, np.cumsum(with_history), np.cumsum(~with_history))
    return users[np.argsort(turns, kind="stable")[:n]]


def make_episodes(
    data: TrainingData,
    fold: Fold,
    target: int,
    seed: int,
    *,
    max_users: int | None = None,
    ignored: Mask | None = None,
) -> Iterator[Episodes]:
    """Simulate the users of a fold in the situations in which they will be met.

    A user appears once in every situation for which enough is known: with nothing shown, with the
    other domains alone, with 1 to 5 liked items of the domain, with four fifths of them if these
    are more than 5, and asked for new items. Situations in which there is nobody are left out.

    Parameters
    ----------
    data : TrainingData
        Items and interactions.
    fold : Fold
        The users, and what is hidden.
    target : int
        Code of the domain.
    seed : int
        Seed of the choice of users and of what is shown.
    max_users : int, optional
        Users of a situation, at most.
    ignored : numpy.ndarray, optional
        bool, shape (n_items,): items that no history shows.
    """
    rng = np.random.default_rng(seed)
    matrix = data.interactions if ignored is None else data.interactions.restricted_to(~ignored)
    yield from _user_episodes(matrix, fold, data.in_domain(target), rng, max_users)
    yield from _new_item_episodes(matrix, fold, rng, max_users)


def _user_episodes(
    matrix: InteractionMatrix,
    fold: Fold,
    in_target: Mask,
    rng: np.random.Generator,
    max_users: int | None,
) -> Iterator[Episodes]:
    in_fold = _mask_of(fold.users, len(matrix.users))
    matrix = matrix.without(~in_fold[matrix.owners] | fold.new_items[matrix.columns])
    owners, inside, likes = matrix.owners, in_target[matrix.columns], _liked(matrix)
    liked = inside & likes
    n_users = len(matrix.users)
    counts = np.bincount(owners, liked, n_users).astype(np.int64)  # (n_users,)
    cross_domain = np.bincount(owners, likes & ~inside, n_users) > 0
    places = rank_in_rows(owners, liked, rng.random(len(owners)))  # liked items first
    few = rng.integers(1, MAX_FEW + 1, n_users)
    few = np.minimum(few, counts - 1)  # one is left to be found
    most = np.floor(SHOWN_SHARE * counts).astype(np.int64)
    allowed = in_target & ~fold.new_items
    allowed.flags.writeable = False
    nothing = np.zeros(n_users, np.int64)
    situations = [
        (UNKNOWN, nothing, counts > 0),
        (CROSS_DOMAIN, nothing, (counts > 0) & cross_domain),
        (FEW, few, few > 0),
        (MORE, most, most > MAX_FEW),
    ]
    for situation, n_shown, eligible in situations:
        order = rng.permutation(np.flatnonzero(eligible))
        if situation == UNKNOWN:  # of whom really nothing else is known come first
            order = order[np.argsort(cross_domain[order], kind="stable")]
        users = np.sort(order[:max_users])
        if len(users):
            chosen = _mask_of(users, n_users)[owners]
            among_shown = liked & (places < n_shown[owners])
            shown = chosen & (~inside | among_shown) & (situation != UNKNOWN)
            relevant = chosen & liked & ~among_shown
            yield _episodes(situation, matrix, users, shown, relevant, allowed)


def _new_item_episodes(
    matrix: InteractionMatrix, fold: Fold, rng: np.random.Generator, max_users: int | None
) -> Iterator[Episodes]:
    """Ask users who liked a new item for it: half as many as a fold has users that is not full."""
    owners, new, liked = matrix.owners, fold.new_items[matrix.columns], _liked(matrix)
    n_new = np.bincount(owners, new & liked, len(matrix.users))
    n_other = np.bincount(owners, ~new & liked, len(matrix.users))
    users = rng.permutation(np.flatnonzero((n_new > 0) & (n_other > 0)))
    full = max_users is not None and len(fold.users) >= max_users
    users = np.sort(users[: max_users if full else max(1, len(fold.users) // 2)])
    if len(users):
        chosen = _mask_of(users, len(matrix.users))[owners]
        shown, relevant = chosen & ~new, chosen & new & liked
        yield _episodes(NEW_ITEMS, matrix, users, shown, relevant, fold.new_items)


def _episodes(
    situation: str,
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
    return Episodes(situation, users, histories, matrix.columns[relevant], owners, allowed)


def _liked(matrix: InteractionMatrix) -> Mask:
    return matrix.likes & (matrix.strengths > 0)


def _mask_of(users: Columns, n: int) -> Mask:
    mask = np.zeros(n, bool)
    mask[users] = True
    return mask
