"""The training data of candidate generators: items, their features and domains, interactions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.numerics.sparse import binarize
from isthmus.numerics.svd import truncated_svd
from isthmus.privacy.denoising import popularity_above_noise
from isthmus.privacy.statistics import Statistics
from isthmus.retrieval.candidates.content_graph import content_graph
from isthmus.retrieval.candidates.feature_projection import FeatureProjection, ProjectedFeatures
from isthmus.retrieval.candidates.item_features import ItemFeatures
from isthmus.retrieval.candidates.settings import Normalisation
from isthmus.retrieval.candidates.tfidf import TfidfVocabulary

if TYPE_CHECKING:
    from scipy.sparse import csr_array


WORD_DIM = 128
CONTENT_DIM = 256


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Items with their features, and what users did with them.

    An item is identified by its column in the interaction matrix, a domain by its code.

    Attributes
    ----------
    item_ids : numpy.ndarray
        str objects, shape (n_items,).
    domain_names : tuple of str
        The domains, by code.
    domains : numpy.ndarray
        int64, shape (n_items,): the domain code of each item.
    features : ItemFeatures
        Content vectors, texts and attributes of the items.
    interactions : InteractionMatrix
        Shape (n_users, n_items).
    targets : tuple of str, optional
        The domains that are recommended from; by default all.
    normalisation : str
        Of the content vectors where they are projected, see `FeatureProjection`.
    private : Statistics, optional
        Sums over users with noise, which stand for the interactions in a private training; the
        matrix has no entries then.
    """

    item_ids: npt.NDArray[np.object_]
    domain_names: tuple[str, ...]
    domains: Columns
    features: ItemFeatures
    interactions: InteractionMatrix
    targets: tuple[str, ...] | None = None
    normalisation: Normalisation = "whiten"
    private: Statistics | None = None
    # Lists of one element at most: `replace` shares them between this and `without_entries`.
    _content_graph: list[csr_array] = field(default_factory=list, repr=False)
    _tfidf: list[tuple[TfidfVocabulary, csr_array]] = field(default_factory=list, repr=False)
    _projected: list[ProjectedFeatures] = field(default_factory=list, repr=False)
    _contents: list[FloatArray] = field(default_factory=list, repr=False)

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.item_ids)

    @cached_property
    def liked(self) -> csr_array:
        """1 where a user liked an item, float32, shape (n_users, n_items)."""
        return binarize(self.interactions.liked)

    @cached_property
    def popularity(self) -> npt.NDArray[np.float64]:
        """The number of users that liked each item, shape (n_items,).

        In a private training it is the popularity with noise, 0 where that may be noise alone.
        """
        if self.private is not None:
            return popularity_above_noise(self.private)
        liked = self.interactions.columns[self.interactions.likes]
        return np.bincount(liked, minlength=len(self)).astype(np.float64)

    def in_domain(self, code: int) -> Mask:
        """Return which items belong to a domain, shape (n_items,)."""
        return np.asarray(self.domains == code)

    def domain_users(self, code: int) -> Mask:
        """Return which users liked an item of a domain, shape (n_users,)."""
        matrix = self.interactions
        counted = self.in_domain(code)[matrix.columns] & matrix.likes
        return np.bincount(matrix.owners, counted, len(matrix.users)) > 0

    @property
    def target_codes(self) -> tuple[int, ...]:
        """The codes of the domains that are recommended from."""
        names = self.domain_names if self.targets is None else self.targets
        return tuple(map(self.domain_code, names))

    def domain_code(self, domain: str) -> int:
        """Return the code of a domain."""
        return self.domain_names.index(domain)

    @property
    def content_graph(self) -> csr_array:
        """The k-NN graph of items by content, see `isthmus.retrieval.candidates.content_graph`.

        Computed when first used. Data made by `without_entries` shares it.
        """
        if not self._content_graph:
            self._content_graph.append(content_graph(self.features, self.domains))
        return self._content_graph[0]

    @property
    def tfidf(self) -> tuple[TfidfVocabulary, csr_array]:
        """The vocabulary of all items, and the TF-IDF vector of each, shape (n_items, n_words).

        Computed when first used. Data made by `without_entries` shares it.
        """
        if not self._tfidf:
            texts = self.features.texts(np.arange(len(self)))
            vocabulary = TfidfVocabulary.fit(texts)
            self._tfidf.append((vocabulary, vocabulary.transform(texts)))
        return self._tfidf[0]

    @property
    def projected(self) -> ProjectedFeatures:
        """The projected content vectors of the items, in `CONTENT_DIM` dimensions at most.

        Computed when first used. Data made by `without_entries` shares them.
        """
        if not self._projected:
            projection = FeatureProjection(CONTENT_DIM, self.normalisation)
            projection.fit(self.features, self.domains, len(self.domain_names))
            vectors = projection.transform(self.features, self.domains, np.arange(len(self)))
            self._projected.append(ProjectedFeatures(projection, vectors))
        return self._projected[0]

    def projected_by(self, projection: FeatureProjection) -> ProjectedFeatures | None:
        """Return the projected content vectors if they were computed by a projection."""
        found = self._projected[0] if self._projected else None
        return found if found is not None and found.projection is projection else None

    @property
    def contents(self) -> FloatArray:
        """Words and content vectors of the items side by side, float32, shape (n_items, dim).

        The words are the leading components of the TF-IDF vectors, centred for each domain; the
        content vectors are projected. Both weigh the same.
        Computed when first used. Data made by `without_entries` shares it.
        """
        if not self._contents:
            self._contents.append(np.hstack([self._words(), self.projected.vectors]))
        return self._contents[0]

    def _words(self) -> FloatArray:
        """Return the words in few dimensions, at mean length 1, shape (n_items, WORD_DIM)."""
        _, words = self.tfidf
        vectors = np.asarray(words @ truncated_svd(words, WORD_DIM).vectors, np.float32)
        for code in np.unique(self.domains).tolist():
            inside = self.in_domain(code)
            vectors[inside] -= vectors[inside].mean(axis=0)
        length = float(np.linalg.norm(vectors, axis=1).mean()) if len(vectors) else 0.0
        return np.asarray(vectors / max(length, 1e-9), np.float32)

    def without_entries(self, hidden: Mask) -> TrainingData:
        """Return the data without some entries of the interaction matrix, shape (n_entries,)."""
        return replace(self, interactions=self.interactions.without(hidden))
