"""A corpus: the items, their contents and domains, and what users did with them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.numerics.sparse import binary
from isthmus.retrieval.candidates.item_features import ItemFeatures

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from isthmus.retrieval.candidates.feature_projection import FeatureProjection
    from isthmus.retrieval.candidates.tfidf import TfidfVocabulary


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What candidates are learned from. An item is known by its column, a domain by its code.

    Attributes
    ----------
    item_ids : numpy.ndarray
        str objects, shape (n_items,).
    domain_names : tuple of str
        The domains, by code.
    domains : numpy.ndarray
        int64, shape (n_items,): the code of each item's domain.
    contents : Contents
        The content vectors of the items.
    matrix : InteractionMatrix
        Who did what with which item.
    mapped : numpy.ndarray, optional
        float32, shape (n_items, width): the contents as a recommender maps them (see
        `FeatureProjection`), where they are held ready.
    coarse : numpy.ndarray, optional
        float32, shape (n_items, coarse width): their largest components, where they are held ready.
    mapped_by : ContentSpace, optional
        What mapped them.
    """

    item_ids: npt.NDArray[np.object_]
    domain_names: tuple[str, ...]
    domains: Columns
    contents: ItemFeatures
    matrix: InteractionMatrix
    mapped: FloatArray | None = None
    coarse: FloatArray | None = None
    mapped_by: FeatureProjection | None = None
    _alike: list[csr_array] = field(default_factory=list, repr=False)
    _words: list[tuple[TfidfVocabulary, csr_array]] = field(default_factory=list, repr=False)

    def __len__(self) -> int:
        return len(self.item_ids)

    @cached_property
    def liked(self) -> csr_array:
        """1 where a user liked an item, float32, shape (n_users, n_items)."""
        return binary(self.matrix.liked)

    @cached_property
    def popularity(self) -> npt.NDArray[np.float64]:
        """How many users liked each item, shape (n_items,)."""
        return np.bincount(self.matrix.columns[self.matrix.likes], minlength=len(self)).astype(
            np.float64
        )

    def in_domain(self, code: int) -> Mask:
        """Tell which items belong to a domain, shape (n_items,)."""
        return np.asarray(self.domains == code)

    def likers(self, code: int) -> Mask:
        """Tell who liked something of a domain, shape (n_users,)."""
        matrix = self.matrix
        counted = self.in_domain(code)[matrix.columns] & matrix.likes
        return np.bincount(matrix.owners, counted, len(matrix.users)) > 0

    def code_of(self, domain: str) -> int:
        """Give the code of a domain."""
        return self.domain_names.index(domain)

    @property
    def alike(self) -> csr_array:
        """The items of the same domain that are nearest by content, see `content_graph`.

        They are found once for a corpus and all that are made of it by hiding interactions.
        """
        from isthmus.retrieval.candidates.content_graph import content_graph

        if not self._alike:
            self._alike.append(content_graph(self.contents, self.domains))
        return self._alike[0]

    @property
    def words(self) -> tuple[TfidfVocabulary, csr_array]:
        """The words that tell the items apart, and those of each item, see `TfidfVocabulary`.

        They are found once for a corpus and all that are made of it by hiding interactions.
        """
        from isthmus.retrieval.candidates.tfidf import TfidfVocabulary

        if not self._words:
            texts = self.contents.texts(np.arange(len(self)))
            vocabulary = TfidfVocabulary.of(texts)
            self._words.append((vocabulary, vocabulary.rows(texts)))
        return self._words[0]

    def hiding(self, hidden: Mask) -> TrainingData:
        """Give the corpus without some entries of its matrix, shape (n_entries,)."""
        return replace(self, matrix=self.matrix.without(hidden))
