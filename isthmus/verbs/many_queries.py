"""The queries of a space, many at once: vectors from memory, contents from a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from isthmus.encoders.fusion import ModalityWeights
from isthmus.errors import InvalidInput
from isthmus.index.releases.view import Selection, View
from isthmus.numerics.arrays import FloatArray
from isthmus.retrieval.search.query import (
    Query,
    ScoredRows,
    search_top_k,
    vectors_of_items,
    why_incomparable,
)
from isthmus.retrieval.search.query_encoding import (
    FileQuery,
    QueryEncoder,
    QueryVectors,
    batch_queries,
    query_kind,
)
from isthmus.retrieval.search.query_file import QueryFileReport, search_file
from isthmus.retrieval.search.results import BatchResults, make_batch_results, make_lists
from isthmus.schema import QUERY_ID
from isthmus.verbs.open_space import Domains, OpenSpace, domain_names


class SpaceManyQueries(OpenSpace):
    """The part of `isthmus.Space` that answers many queries at once."""

    def search_batch(
        self,
        vectors: FloatArray,
        *,
        k: int = 10,
        domain: Domains = None,
        domains: Domains = None,
        where: str | None = None,
        fingerprint: str | None = None,
        weights: ModalityWeights | None = None,
    ) -> BatchResults:
        """Find the items nearest to each of many vectors, with the least work around the search.

        Parameters
        ----------
        vectors : numpy.ndarray
            float32, shape (n, dim) for the dim of one named vector; brought to unit norm.
        k, domain, domains, where, fingerprint, weights
            As in `search`.

        Returns
        -------
        BatchResults
            Item ids and scores, each of shape (n, k).

        Raises
        ------
        InvalidInput
            If k, a domain or a vector is no good; the message names the vector.
        InvalidFilter
            If `where` is refused.
        FingerprintMismatch
            If the vectors' fingerprint is not this space's.
        """
        view = self._weighed(self._live.now(), weights).view
        allowed = _allowed(view, k, domain_names(domain, domains), where)
        self._require_fingerprint(fingerprint)
        vector_name, queries = batch_queries(self._named_vectors, vectors)
        scores, rows = view.search(vector_name, queries, k, allowed)
        return make_batch_results(view, rows, scores)

    def search_file(
        self,
        queries: Any,
        out: str | Path,
        *,
        k: int = 10,
        domain: Domains = None,
        domains: Domains = None,
        where: str | None = None,
        weights: ModalityWeights | None = None,
        progress: bool = False,
    ) -> QueryFileReport:
        """Answer a file of queries into a Parquet file, all from one view of the space.

        Parameters
        ----------
        queries : path, glob, table, frame, or list of dicts
            As `upsert` takes items, with columns query_id and text, image, audio (path, bytes or
            data URI) or vector (list of numbers). A row has one or several of text, image and
            audio, or a vector. Paths are relative to the file.
        out : str or Path
            Parquet to write: query_id, item_id, rank and score. It appears whole or not at all.
        k, domain, domains, where, weights
            As in `search`.
        progress : bool, default False
            Whether to show a bar.

        Returns
        -------
        QueryFileReport
            What was read, answered and written. A query that cannot be answered (no such file,
            NaN in a vector, nothing in the row, a text where there are only pictures and no
            alignment) stands in its problems with the reason.

        Raises
        ------
        InvalidInput
            If k or a domain is no good, the input cannot be read, a query_id is missing or
            stands there twice (the message names the row), or `out` cannot be written.
        InvalidFilter
            If `where` is refused.
        """
        view, settings, _ = self._weighed(self._live.now(), weights)
        allowed = _allowed(view, k, domain_names(domain, domains), where)
        encoder = QueryEncoder(settings, self._encoder_of, self.media, self._alignment)
        held = vectors_of_items(view, [allowed])

        def answer_all(ids: Sequence[str], listed: Sequence[FileQuery]) -> pa.Table:
            kinds = [query_kind(query.contents) for query in listed]
            lists: dict[int, ScoredRows] = {}
            for kind in dict.fromkeys(
                kinds
            ):  # queries of a kind share the weights of named vectors
                places = [at for at, other in enumerate(kinds) if other == kind]
                queries = [Query(listed[at].vectors) for at in places]
                vector_weights = self._vector_weights(settings, weights, kind)
                lists |= zip(
                    places, search_top_k(view, queries, k, allowed, vector_weights), strict=True
                )
            return make_lists(view, ids, [lists[at] for at in range(len(ids))], QUERY_ID)

        def refuse(vectors: QueryVectors) -> str:
            return why_incomparable(vectors, held, self.path)

        return search_file(queries, Path(out), encoder, refuse, answer_all, show=progress)


def _allowed(view: View, k: int, domains: list[str] | None, where: str | None) -> Selection | None:
    if k < 1:
        raise InvalidInput(f"k is {k}; ask for at least one item")
    return view.select(domains, where)
