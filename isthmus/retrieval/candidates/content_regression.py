"""Items that the contents of a history predict: a regression of reduced rank."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self
from weakref import ref

import numpy as np
import numpy.typing as npt

from isthmus.encoders.encoder import FloatArray
from isthmus.retrieval.candidates.content_space import ContentSpace, Normalisation
from isthmus.retrieval.candidates.corpus import Corpus, Mask
from isthmus.retrieval.candidates.histories import Histories
from isthmus.retrieval.candidates.opinion import ProductOpinion
from isthmus.retrieval.candidates.shelf import Shelves
from isthmus.retrieval.candidates.source import CandidateSource, State, part_of

if TYPE_CHECKING:
    from scipy.sparse import csr_array

SPACE = "space."
SHOWN = 0.5  # of what a user liked in a domain, where it is to predict the rest


@dataclass
class ContentRegression(CandidateSource):
    """What the mean content of a history predicts of every item of a domain, by linear regression.

    A user is the sum of the contents liked outside the domain over their number plus `doubt`, and
    beside it the same of those inside. Whether an item was liked is regressed on that, for all
    items of a domain at once, with a ridge and through a few common directions (reduced-rank
    regression; Izenman, Journal of Multivariate Analysis 5, 1975). Everybody is learned from
    three times: known from outside alone, by half of the items inside too, chosen by chance, which
    are to predict the others, and by these alone. Items without users get what items of such
    contents have, by a second regression.

    Attributes
    ----------
    dim : int
        Length of mapped contents, at most.
    rank : int
        Common directions.
    ridge : float
        Weight of the squared weights.
    doubt : float
        Added to the number of items of a history, so that a few say less than many.
    ridge_of_new : float
        Weight of the squared weights that tell an item's directions from its contents.
    normalisation : str
        Of contents, see `ContentSpace`.
    seed : int
        Of the items that are shown, and of the contents that are looked at.
    """

    name: ClassVar[str] = "content regression"
    dim: int = 128
    rank: int = 32
    ridge: float = 10.0
    doubt: float = 5.0
    ridge_of_new: float = 30.0
    normalisation: Normalisation = "whiten"
    seed: int = 0

    def fit(self, corpus: Corpus) -> Self:
        """Solve the regressions of every domain."""
        self._space = ContentSpace(self.dim, self.normalisation, self.seed).fit(corpus)
        contents = self._space.of(corpus.contents, corpus.domains, np.arange(len(corpus)))
        domains, width = len(corpus.domain_names), contents.shape[1]
        users = np.zeros((domains, 2 * width, self.rank), np.float32)
        of_new = np.zeros((domains, width + 1, self.rank + 1), np.float32)
        items = np.zeros((len(corpus), self.rank + 1), np.float32)
        used = corpus.popularity > 0
        for code in range(domains):
            inside = corpus.in_domain(code)
            if not (inside & used).any():
                continue
            users[code], own = self._regression(corpus.liked, inside, contents)
            known = _with_one(contents[inside & used])
            of_new[code] = _ridge(known, own[used[inside]], self.ridge_of_new)
            own[~used[inside]] = _with_one(contents[inside & ~used]) @ of_new[code]
            items[inside] = own
        return self._keep(users, items, of_new)

    def opinion(self, corpus: Corpus, histories: Histories, target: int) -> ProductOpinion:
        """Score items by the product of a user's and an item's directions."""
        items = self._item_vectors(corpus)
        shelf = self._shelves.of(corpus, items, target)
        return ProductOpinion(self._user_vectors(corpus, histories, target), items, shelf)

    def state(self) -> State:
        """Give the map of contents and the weights."""
        space = {SPACE + key: value for key, value in self._space.state().items()}
        return {**space, "users": self._users, "items": self._items, "of_new": self._of_new}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take the map and the weights."""
        own = part_of(state, SPACE)
        self._space = ContentSpace(self.dim, self.normalisation).restore(own)
        return self._keep(state["users"], state["items"], state["of_new"])

    def _keep(self, users: FloatArray, items: FloatArray, of_new: FloatArray) -> Self:
        self._users, self._items, self._of_new = users, items, of_new
        self._grown: tuple[ref[Corpus], FloatArray] | None = None
        self._shelves = Shelves()
        return self

    def _regression(
        self, liked: csr_array, inside: Mask, contents: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Regress a domain's items on the contents of histories.

        Returns
        -------
        users, items : numpy.ndarray
            float32, shape (2 * dim, rank) and (n_inside, rank + 1): a user's features times the
            first, and a one, times the second gives the score, 1 being the share of users that
            the most popular item has.
        """
        lessons = list(self._lessons(liked, inside, contents))
        features = np.concatenate([own.features for own in lessons]).astype(np.float64)
        width, n = features.shape[1], int(inside.sum())
        users, items = np.zeros((width, self.rank)), np.zeros((n, self.rank + 1))
        if not len(features):
            return users.astype(np.float32), items.astype(np.float32)
        counts = np.sum([np.asarray(own.labels.sum(axis=0)).ravel() for own in lessons], axis=0)
        means, shares = features.mean(axis=0), counts / len(features)
        together = sum(own.labels.T @ (own.features - means) for own in lessons)  # (n_inside, 2dim)
        gram = (features - means).T @ (features - means)
        gram[np.diag_indices_from(gram)] += self.ridge
        inverse = np.linalg.inv(np.linalg.cholesky(gram))
        fitted = together @ inverse.T
        _, directions = np.linalg.eigh(fitted.T @ fitted)
        directions = directions[:, ::-1][:, : self.rank]
        users[:, : directions.shape[1]] = inverse.T @ directions
        items[:, : directions.shape[1]] = fitted @ directions
        items[:, -1] = shares - items[:, :-1] @ (means @ users)
        items /= max(float(shares.max()), 1e-12)
        return users.astype(np.float32), items.astype(np.float32)

    def _lessons(self, liked: csr_array, inside: Mask, contents: FloatArray) -> Iterator[_Lesson]:
        """Show users from outside, with some of the items inside, and by such items alone."""
        chances = np.random.default_rng(self.seed).random(len(liked.data))
        within = inside[liked.indices]
        for met_outside, share in ((True, 0.0), (True, SHOWN), (False, SHOWN)):
            shown = within & (chances < share)
            known = _keeping(liked, shown | (met_outside & ~within))
            wanted = _keeping(liked, within & ~shown)[:, inside]
            wanted.data /= np.float32(1 - share)  # each stands for those that are shown, too
            met = (np.diff(known.indptr) > 0) & (np.diff(wanted.indptr) > 0)
            there = inside[known.indices]
            parts = _keeping(known, ~there), _keeping(known, there)
            yield _Lesson(self._features(*parts, contents)[met], wanted[met])

    def _features(
        self, outside: FloatArray | csr_array, inside: FloatArray | csr_array, contents: FloatArray
    ) -> FloatArray:
        """Give the mean contents of histories outside and inside, shape (n_users, 2 * dim).

        Parameters
        ----------
        outside, inside : numpy.ndarray or scipy.sparse.csr_array
            Shape (n_users, n_contents): how much each was liked.
        contents : numpy.ndarray
            float32, shape (n_contents, dim).
        """
        means = [
            (part @ contents) / (np.asarray(part.sum(axis=1)).reshape(-1, 1) + self.doubt)
            for part in (outside, inside)
        ]
        return np.concatenate(means, axis=1).astype(np.float32)

    def _user_vectors(self, corpus: Corpus, histories: Histories, target: int) -> FloatArray:
        own = histories.rows
        columns, at = np.unique(own.columns, return_inverse=True)
        contents = self._space.of(corpus.contents, corpus.domains, columns)
        liked = np.zeros((len(histories), len(columns)), np.float32)
        liked[own.owners, at] = own.values
        inside = corpus.domains[columns] == target
        features = self._features(liked * ~inside, liked * inside, contents)
        told = features.any(axis=1, keepdims=True) & self._users[target].any()
        return np.concatenate([features @ self._users[target], told], axis=1).astype(np.float32)

    def _item_vectors(self, corpus: Corpus) -> FloatArray:
        """Give the vectors of all items, shape (n_items, rank + 1)."""
        if len(corpus) == len(self._items):
            return self._items
        known = self._grown
        if known is None or known[0]() is not corpus:
            new = np.arange(len(self._items), len(corpus))
            contents = _with_one(self._space.of(corpus.contents, corpus.domains, new))
            weights = self._of_new[corpus.domains[new]]
            added = np.einsum("nd,ndr->nr", contents, weights).astype(np.float32)
            known = self._grown = ref(corpus), np.concatenate([self._items, added])
        return known[1]


class _Lesson(NamedTuple):
    features: FloatArray
    labels: csr_array


def _keeping(matrix: csr_array, kept: Mask) -> csr_array:
    """Keep some entries of a sparse matrix."""
    from scipy.sparse import csr_array

    starts = np.concatenate([[0], np.cumsum(kept)])[matrix.indptr]
    return csr_array((matrix.data[kept], matrix.indices[kept], starts), shape=matrix.shape)


def _with_one(contents: FloatArray) -> FloatArray:
    return np.concatenate([contents, np.ones((len(contents), 1), np.float32)], axis=1)


def _ridge(features: FloatArray, wanted: FloatArray, ridge: float) -> FloatArray:
    """Regress numbers on features."""
    gram = features.T.astype(np.float64) @ features
    gram[np.diag_indices_from(gram)] += ridge
    return np.asarray(np.linalg.solve(gram, features.T.astype(np.float64) @ wanted), np.float32)
