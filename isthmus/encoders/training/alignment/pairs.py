"""Pairs: vectors of texts and images that belong together, from one or several sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import FloatArray

Groups = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Texts and images that belong together, row by row.

    Attributes
    ----------
    text : numpy.ndarray
        float32, shape (n_pairs, dim of the text encoder); unit rows.
    image : numpy.ndarray
        float32, shape (n_pairs, dim of the image encoder); unit rows.
    text_ids, image_ids : numpy.ndarray
        int64, shape (n_pairs,): equal where the content is the same.
    sets : numpy.ndarray
        int64, shape (n_pairs,): the set of each pair, an index into `names`.
    names : tuple of str
        Names of the sets.
    """

    text: FloatArray
    image: FloatArray
    text_ids: Groups
    image_ids: Groups
    sets: Groups
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.text)

    def take(self, rows: npt.NDArray[np.int64]) -> Pairs:
        """Return the pairs of some rows, shape (n,)."""
        return Pairs(
            self.text[rows],
            self.image[rows],
            self.text_ids[rows],
            self.image_ids[rows],
            self.sets[rows],
            self.names,
        )

    def of_set(self, number: int) -> Pairs:
        """Return the pairs of one set."""
        return self.take(np.flatnonzero(self.sets == number))

    def split(self, share: float, seed: int) -> tuple[Pairs, Pairs]:
        """Hold out a share of each set.

        Pairs that share a text or an image, even through other pairs, fall on one side, so that
        no held-out content was trained on.

        Returns
        -------
        tuple of Pairs
            Training pairs and held-out pairs.
        """
        groups = connected_groups(self.text_ids, self.image_ids)
        rng = np.random.default_rng(seed)
        held_out = np.zeros(len(self), bool)
        for number in range(len(self.names)):
            rows = np.flatnonzero(self.sets == number)
            order = rng.permutation(np.unique(groups[rows]))
            sizes = np.bincount(groups[rows], minlength=groups.max(initial=0) + 1)[order]
            chosen = order[np.cumsum(sizes) <= share * len(rows)]
            held_out |= np.isin(groups, chosen)
        return self.take(np.flatnonzero(~held_out)), self.take(np.flatnonzero(held_out))


def join_pairs(sets: Sequence[Pairs]) -> Pairs:
    """Concatenate sets of pairs; ids and set numbers of different sets stay distinct."""
    texts = np.cumsum([0, *(int(s.text_ids.max(initial=-1)) + 1 for s in sets)])
    images = np.cumsum([0, *(int(s.image_ids.max(initial=-1)) + 1 for s in sets)])
    numbers = np.cumsum([0, *(len(s.names) for s in sets)])
    return Pairs(
        np.concatenate([s.text for s in sets]),
        np.concatenate([s.image for s in sets]),
        np.concatenate([s.text_ids + n for s, n in zip(sets, texts[:-1], strict=True)]),
        np.concatenate([s.image_ids + n for s, n in zip(sets, images[:-1], strict=True)]),
        np.concatenate([s.sets + n for s, n in zip(sets, numbers[:-1], strict=True)]),
        tuple(name for s in sets for name in s.names),
    )


def connected_groups(text_ids: Groups, image_ids: Groups) -> Groups:
    """Return the connected component of each pair by shared contents, shape (n_pairs,).

    Examples
    --------
    >>> connected_groups(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2])).tolist()
    [0, 0, 0, 1]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(text_ids):
        return np.empty(0, np.int64)
    texts = int(text_ids.max()) + 1
    size = texts + int(image_ids.max()) + 1
    edges = coo_array((np.ones(len(text_ids)), (text_ids, texts + image_ids)), shape=(size, size))
    labels = connected_components(edges, directed=False)[1][text_ids]
    return np.asarray(np.unique(labels, return_inverse=True)[1], np.int64)


def ids_of(contents: Sequence[object]) -> Groups:
    """Return a number for each content, equal for equal contents, shape (len(contents),).

    Examples
    --------
    >>> ids_of(["a", "b", "a"]).tolist()
    [0, 1, 0]
    """
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(c, len(numbers)) for c in contents], np.int64)
