"""Simulated cold users and cold items: what is hidden from the sources, and shown of a user."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from isthmus.retrieval.candidates.corpus import Columns, Corpus, Mask
from isthmus.retrieval.candidates.histories import Histories

SHOTS = (0, 1, 3, 5)
COLD_ITEMS = 0.1
SHARE_SHOWN = 0.8


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
    histories: Histories
    labels: Columns
    owners: Columns
    allowed: Mask


def make_folds(
    corpus: Corpus, target: int, folds: int, seed: int, most_users: int | None = None
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
    matrix = corpus.matrix
    owners = np.repeat(np.arange(len(matrix.users)), np.diff(matrix.starts))
    inside = corpus.domains[matrix.columns] == target
    users = rng.permutation(np.flatnonzero(corpus.likers(target)))
    parts = np.array_split(users, folds if folds > 1 else 5)[:folds]
    items = rng.permutation(np.flatnonzero(corpus.in_domain(target) & (corpus.popularity > 0)))
    for part in parts:
        part = np.sort(part[:most_users])
        new = np.zeros(len(corpus), bool)
        new[rng.choice(items, int(COLD_ITEMS * len(items)), replace=False)] = True
        chosen = np.zeros(len(matrix.users), bool)
        chosen[part] = True
        yield Fold(part, new, (chosen[owners] & inside) | new[matrix.columns])


def make_cases(
    corpus: Corpus, fold: Fold, target: int, seed: int, ignored: Mask | None = None
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
    everything = Histories.of_matrix(corpus.matrix)
    everything = everything.keeping(everything.weights > 0)
    if ignored is not None:
        everything = everything.outside(ignored)
    in_target = corpus.in_domain(target)
    yield from _cold_users(everything, fold, in_target, rng)
    yield from _cold_items(everything, fold, rng)


def _cold_users(
    everything: Histories, fold: Fold, in_target: Mask, rng: np.random.Generator
) -> Iterator[Case]:
    own = everything.of_users(fold.users)
    own = own.keeping(~fold.new[own.columns])
    inside = in_target[own.columns]
    counts = np.bincount(own.owners, inside, len(own)).astype(np.int64)
    places = _places(own, inside, rng)
    draw = rng.permuted(np.tile(np.arange(1, len(SHOTS) + 1), (len(own), 1)), axis=1)[:, :2]
    allowed = in_target & ~fold.new
    for number in range(len(SHOTS) + 1):
        most = number == len(SHOTS)
        shown = np.floor(SHARE_SHOWN * counts) if most else np.full(len(own), SHOTS[number])
        met = (counts > shown) & ((number == 0) | (draw == number).any(axis=1))
        if most:
            met &= shown > max(SHOTS)
        users = np.flatnonzero(met)
        if not len(users):
            continue
        visible = ~inside | (places < shown[own.owners])
        history = own.keeping(visible).of_users(users)
        hidden = own.keeping(~visible).of_users(users)
        name = "most" if most else str(SHOTS[number])
        yield Case(name, fold.users[users], history, hidden.columns, hidden.owners, allowed)


def _cold_items(everything: Histories, fold: Fold, rng: np.random.Generator) -> Iterator[Case]:
    """Let users who liked a new item find it, as many as there are users in the fold."""
    new = fold.new[everything.columns]
    counts = np.bincount(everything.owners, new, len(everything))
    known = np.bincount(everything.owners, ~new, len(everything))
    users = rng.permutation(np.flatnonzero((counts > 0) & (known > 0)))
    users = np.sort(users[: max(1, len(fold.users) // 2)])
    if len(users):
        history = everything.keeping(~new).of_users(users)
        hidden = everything.keeping(new).of_users(users)
        yield Case("new", users, history, hidden.columns, hidden.owners, fold.new)


def _places(own: Histories, inside: Mask, rng: np.random.Generator) -> Columns:
    """Give each entry inside its place among its user's, in a random order."""
    owners = own.owners
    order = np.lexsort((rng.random(len(owners)), ~inside, owners))
    places = np.empty(len(owners), np.int64)
    places[order] = np.arange(len(owners)) - own.starts[owners[order]]
    return places
