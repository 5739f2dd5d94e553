"""A corpus: the items, their contents and domains, and what users did with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.numerics.sparse import binary

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from isthmus.retrieval.candidates.item_features import ContentSpace
    from isthmus.retrieval.candidates.tfidf import Vocabulary


class Contents(Protocol):
    """The content vectors of items, fetched by their columns: unit length, zero where none."""

    @property
    def dim(self) -> int:
        """Length of a vector."""
        ...

    @property
    def vector_names(self) -> tuple[str, ...]:
        """The names of the parts that a vector consists of."""
        ...

    def __len__(self) -> int:
        """Count the items."""
        ...

    def at(self, columns: Columns) -> FloatArray:
        """Give the vectors of items, float32, shape (len(columns), dim)."""
        ...

    def texts(self, columns: Columns) -> list[str]:
        """Give all that is written of items: their texts, and what is text of their attributes."""
        ...

    @property
    def number_names(self) -> tuple[str, ...]:
        """The attributes that are numbers, moments or truth values."""
        ...

    def numbers(self, columns: Columns, names: Sequence[str]) -> npt.NDArray[np.float64]:
        """Give attributes as numbers, shape (len(columns), n_names); not a number where none."""
        ...

    def nearest(
        self, vectors: FloatArray, n: int, allowed: Mask, effort: float = 1.0
    ) -> tuple[Columns, FloatArray]:
        """Give the allowed items whose contents are nearest to vectors, nearest first.

        Parameters
        ----------
        vectors : numpy.ndarray
            float32, shape (n_vectors, dim), unit length.
        n : int
            Items a vector.
        allowed : numpy.ndarray
            bool, shape (n_items,).
        effort : float
            Less than 1 where candidates will do, which an index finds sooner.

        Returns
        -------
        columns, cosines : numpy.ndarray
            int64 and float32, shape (n_vectors, n); -1 where there are no more.
        """
        ...

    def near_items(
        self, columns: Columns, n: int, allowed: Mask, effort: float = 1.0
    ) -> tuple[Columns, FloatArray]:
        """Give the allowed items nearest to some of the items, each itself among them.

        As `nearest` for their vectors; who is asked for the same again and again may remember.
        """
        ...


@dataclass(frozen=True, eq=False)
class HeldContents:
    """Contents that are all in memory.

    Attributes
    ----------
    vectors : numpy.ndarray
        float32, shape (n_items, dim), unit length or zero.
    vector_names : tuple of str
        The names of the parts that a vector consists of.
    written : sequence of str
        What is written of each item; nothing by default.
    counted : mapping of str to numpy.ndarray
        Attributes that are numbers, float64, shape (n_items,); none by default.
    """

    vectors: FloatArray
    vector_names: tuple[str, ...] = ()
    written: Sequence[str] = ()
    counted: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self.vectors.shape[1])

    def __len__(self) -> int:
        return len(self.vectors)

    def at(self, columns: Columns) -> FloatArray:
        """Give the vectors of items."""
        return self.vectors[columns]

    def texts(self, columns: Columns) -> list[str]:
        """Give what is written of items."""
        return [self.written[column] if self.written else "" for column in columns.tolist()]

    @property
    def number_names(self) -> tuple[str, ...]:
        """The attributes that are numbers."""
        return tuple(self.counted)

    def numbers(self, columns: Columns, names: Sequence[str]) -> npt.NDArray[np.float64]:
        """Give attributes of items."""
        none = np.full(len(self), np.nan)
        own = [np.asarray(self.counted.get(name, none))[columns] for name in names]
        return np.stack(own, axis=1) if own else np.empty((len(columns), 0))

    def nearest(
        self, vectors: FloatArray, n: int, allowed: Mask, effort: float = 1.0
    ) -> tuple[Columns, FloatArray]:
        """Compare with every allowed item (FAISS, exact)."""
        import faiss

        del effort

        columns = np.flatnonzero(allowed)
        cosines = np.full((len(vectors), n), -1, np.float32)
        found = np.full((len(vectors), n), -1, np.int64)
        most = min(n, len(columns))
        if most and len(vectors):
            own = self.vectors if len(columns) == len(self.vectors) else self.vectors[columns]
            inner = faiss.METRIC_INNER_PRODUCT
            cosines[:, :most], places = faiss.knn(vectors, own, most, metric=inner)
            found[:, :most] = columns[places]
        return found, cosines

    def near_items(
        self, columns: Columns, n: int, allowed: Mask, effort: float = 1.0
    ) -> tuple[Columns, FloatArray]:
        """Compare some items with every allowed one."""
        return self.nearest(self.at(columns), n, allowed, effort)


@dataclass(frozen=True, eq=False)
class Corpus:
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
        `ContentSpace`), where they are held ready.
    coarse : numpy.ndarray, optional
        float32, shape (n_items, coarse width): their largest components, where they are held ready.
    mapped_by : ContentSpace, optional
        What mapped them.
    """

    item_ids: npt.NDArray[np.object_]
    domain_names: tuple[str, ...]
    domains: Columns
    contents: Contents
    matrix: InteractionMatrix
    mapped: FloatArray | None = None
    coarse: FloatArray | None = None
    mapped_by: ContentSpace | None = None
    _alike: list[csr_array] = field(default_factory=list, repr=False)
    _words: list[tuple[Vocabulary, csr_array]] = field(default_factory=list, repr=False)

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
        """The items of the same domain that are nearest by content, see `nearest_by_content`.

        They are found once for a corpus and all that are made of it by hiding interactions.
        """
        from isthmus.retrieval.candidates.content_graph import nearest_by_content

        if not self._alike:
            self._alike.append(nearest_by_content(self.contents, self.domains))
        return self._alike[0]

    @property
    def words(self) -> tuple[Vocabulary, csr_array]:
        """The words that tell the items apart, and those of each item, see `Vocabulary`.

        They are found once for a corpus and all that are made of it by hiding interactions.
        """
        from isthmus.retrieval.candidates.tfidf import Vocabulary

        if not self._words:
            texts = self.contents.texts(np.arange(len(self)))
            vocabulary = Vocabulary.of(texts)
            self._words.append((vocabulary, vocabulary.rows(texts)))
        return self._words[0]

    def hiding(self, hidden: Mask) -> Corpus:
        """Give the corpus without some entries of its matrix, shape (n_entries,)."""
        return replace(self, matrix=self.matrix.without(hidden))
