"""Searching a space: by contents, vectors and examples, one query or many."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial, wraps
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from isthmus.data.leases import VersionGone
from isthmus.encoders.fusion import ModalityWeights
from isthmus.encoders.stack import named_vector_of
from isthmus.errors import InvalidInput
from isthmus.index.open_space import OpenSpace, WeightedView
from isthmus.index.releases.view import Selection, View
from isthmus.index.settings import SpaceSettings
from isthmus.retrieval.search.examples import example_rows, query_with_examples
from isthmus.retrieval.search.fusion_weights import FusionWeights
from isthmus.retrieval.search.hubness import HubnessCorrection
from isthmus.retrieval.search.hybrid import (
    FUSED,
    hybrid_similarities,
    index_text_if_free,
    require_hybrid,
    require_plain,
    require_weight,
    search_bm25,
    search_hybrid,
)
from isthmus.retrieval.search.notes import filter_notes, warn_of
from isthmus.retrieval.search.paging import (
    FIRST_WINDOW,
    Pager,
    block_in_windows,
    lists_in_windows,
)
from isthmus.retrieval.search.query import (
    NO_ROWS,
    Query,
    ScoredRows,
    finds_exactly,
    require_comparable,
    search_batch,
    search_top_k,
    vectors_of_items,
    why_incomparable,
)
from isthmus.retrieval.search.query_encoding import (
    FileQuery,
    QueryEncoder,
    QueryVectors,
    batch_queries,
    encode_query,
    query_contents,
    query_kind,
    require_text,
    vector_query,
)
from isthmus.retrieval.search.query_file import QueryFileReport, search_file
from isthmus.retrieval.search.ranking import DomainGroup, compose_ruled, group_domains, rank
from isthmus.retrieval.search.recall_queries import RecallQuerySampler
from isthmus.retrieval.search.request import (
    RankingOptions,
    SearchBatchRequest,
    SearchFileRequest,
    SearchRequest,
    SimilarRequest,
    WordOptions,
)
from isthmus.retrieval.search.results import (
    BatchResults,
    Hits,
    make_batch_results,
    make_hits,
    make_lists,
)
from isthmus.retrieval.search.rules import Rules
from isthmus.retrieval.search.scenarios import Scenarios
from isthmus.retrieval.search.second_stage import RERANKED, SecondStage
from isthmus.schema import QUERY_ID, TEXT, Modality

RequestT = TypeVar("RequestT")
Answer = TypeVar("Answer")


def _from_one_view(
    answer: Callable[[Searcher, RequestT], Answer],
) -> Callable[[Searcher, RequestT], Answer]:
    """Make a method answer a request from a view that it does not keep.

    Most queries read nothing but the vectors of a view, which nobody can take away; to keep the
    view would cost them more than all else that they do before the search. Where one reads more,
    and another process removed that version meanwhile, it is answered anew from a view that is
    opened, and so kept, in its lease scope.
    """

    @wraps(answer)
    def run(self: Searcher, request: RequestT) -> Answer:
        try:
            return answer(self, request)
        except VersionGone:
            self._space.live.reopened()
            return answer(self, request)

    return run


class Searcher:
    """Answers search requests on an open space, and keeps what queries share.

    Parameters
    ----------
    space : OpenSpace
        The space to search.
    """

    def __init__(self, space: OpenSpace) -> None:
        self._space = space
        self._second_stage = SecondStage(space)
        self._scenarios = Scenarios(space.path)
        self._of: SpaceSettings | None = None

    @property
    def fusion_weights(self) -> FusionWeights:
        """The learned weights of the named vectors, as they are stored."""
        self._refresh()
        return self._fusion_weights

    def _refresh(self) -> None:
        """Drop what was kept of other settings: another encoder, alignment or fusion."""
        space = self._space
        if self._of is not space.settings:
            self._hubs = HubnessCorrection(RecallQuerySampler(space.path, space.settings))
            self._fusion_weights = FusionWeights(space.path, space.fingerprint)
            self._of = space.settings

    def _weighted_view(self, weights: ModalityWeights | None, kind: str) -> WeightedView:
        """Return the view under some weights; without any, as was learned for this kind.

        It is not kept, see `_from_one_view`.
        """
        weighted = self._space.weighted_view(weights, keep=False)
        if weights is not None or len(weighted.vector_weights) == 1:
            return weighted
        learned = self.fusion_weights.of(kind, weighted.vector_weights)
        return weighted._replace(vector_weights=learned)

    @_from_one_view
    def search(self, request: SearchRequest) -> Hits:
        """Find the items nearest to contents, a vector, or examples, see `Space.search`."""
        space = self._space
        request = self._scenarios.resolve(request)
        words = require_hybrid(request.text, request.bm25_weight) if request.hybrid else None
        by_bm25 = words is not None and request.words == "bm25"
        if by_bm25 and not space.view().snapshot.has_text_index:
            index_text_if_free(space.path, space.catalog)
        given = {"text": request.text, "image": request.image, "audio": request.audio}
        kind = query_kind(given)
        weighted = self._weighted_view(request.weights, kind)
        view = weighted.view
        groups = group_domains(view, request)
        space.require_fingerprint(request.fingerprint)
        examples = example_rows(view, request.like, request.unlike)
        has_examples = any(map(len, examples))
        if words is not None:
            require_plain(request, has_examples, FUSED)
        if request.rerank is not None:
            require_plain(request, has_examples, RERANKED)
        nothing_else = request.vector is None and all(one is None for one in given.values())
        encoded = {} if has_examples and nothing_else else self._query(weighted.settings, request)
        query = query_with_examples(view, encoded, *examples)
        pager = Pager(view, request)
        rules = Rules.of(view, request, [group.selection for group in groups])

        def find(n: int) -> ScoredRows:
            """Find the best n without rules, where none but these make the list more than that."""
            selection, vector_weights = groups[0].selection, weighted.vector_weights
            return self._find(view, query, words, request, selection, vector_weights, n)

        def make_lists(n: int, before: Sequence[ScoredRows]) -> list[ScoredRows]:
            if words is None:
                return [self._rank(weighted, query, kind, request, groups, n, before, rules)]
            return [_by_rules(view, find, request, groups, n, before, rules)]

        notes = [] if rules is None else rules.notes
        reasons: dict[int, str] = {}
        if words is not None and not by_bm25:
            notes += self._second_stage.sparse_notes(view, groups[0].selection)
        whole = words is None and _is_whole(view, query, request)
        if request.rerank is None:
            offset, (rows, scores) = pager.page(make_lists, whole=whole)
        else:
            depth = request.rerank_depth
            first = depth if words is None and finds_exactly(view, query) else FIRST_WINDOW
            candidates, _ = lists_in_windows(depth, lambda n, _: [find(n)], first)[0]
            spec, text = request.rerank, str(request.text)
            reranked = self._second_stage.rerank(view, spec, text, candidates)
            notes, reasons = notes + reranked.notes, reranked.reasons

            def ordered_anew(n: int, before: Sequence[ScoredRows]) -> list[ScoredRows]:
                def best(depth: int) -> ScoredRows:
                    return reranked.rows[:depth], reranked.scores[:depth]

                return [_by_rules(view, best, request, groups, n, before, rules)]

            offset, (rows, scores) = pager.page(ordered_anew, whole=True)
        similar: list[float | None] | None = None
        if words is not None or request.rerank is not None:
            similar = hybrid_similarities(view, query, rows, weighted.vector_weights)
        if not len(rows):
            allowed = [group.selection for group in groups]
            require_comparable(view, query.vectors, allowed, space.path)
        hits = make_hits(view, rows, scores, similar, attributes=request.attributes, offset=offset)
        if reasons:
            hits = [
                replace(hit, reason=reasons.get(row))
                for row, hit in zip(rows.tolist(), hits, strict=True)
            ]
        if rules is not None:
            hits = rules.marked(rows, hits)
        return pager.hits(hits, offset, warn_of([*notes, *filter_notes(view, request, groups)]))

    @_from_one_view
    def similar(self, request: SimilarRequest) -> Hits:
        """Find the items most like an item, see `Space.similar`."""
        kind = query_kind({})
        request = self._scenarios.resolve(request)
        weighted = self._weighted_view(request.weights, kind)
        view = weighted.view
        groups = group_domains(view, request)
        examples = example_rows(view, [request.item_id, *request.like], request.unlike)
        query = query_with_examples(view, {}, *examples)
        pager = Pager(view, request)
        rules = Rules.of(view, request, [group.selection for group in groups])
        offset, (rows, scores) = pager.page(
            lambda n, before: [
                self._rank(weighted, query, kind, request, groups, n, before, rules)
            ],
            whole=_is_whole(view, query, request),
        )
        hits = make_hits(view, rows, scores, attributes=request.attributes, offset=offset)
        notes = filter_notes(view, request, groups)
        if rules is not None:
            hits, notes = rules.marked(rows, hits), [*rules.notes, *notes]
        return pager.hits(hits, offset, warn_of(notes))

    @_from_one_view
    def search_batch(self, request: SearchBatchRequest) -> BatchResults:
        """Find the items nearest to each of many vectors, see `Space.search_batch`."""
        space = self._space
        view = space.weighted_view(request.weights, keep=False).view
        allowed = view.select(request.domains, request.where)
        space.require_fingerprint(request.fingerprint)
        vector_name, queries = batch_queries(space.named_vectors, request.vectors)
        exact = finds_exactly(view, Query({vector_name: queries}))
        rows, scores = block_in_windows(
            request.k,
            lambda n: search_batch(view, vector_name, queries, n, allowed),
            request.k if exact else FIRST_WINDOW,
        )
        warn_of(filter_notes(view, request, [DomainGroup([], allowed)]))
        return make_batch_results(view, rows, scores, request.k)

    def search_file(self, request: SearchFileRequest, *, progress: bool = False) -> QueryFileReport:
        """Answer a file of queries into a Parquet file, see `Space.search_file`."""
        space = self._space
        weighted = space.weighted_view(request.weights)
        view = weighted.view
        allowed = view.select(request.domains, request.where)
        encoder = QueryEncoder(
            weighted.settings,
            space.encoder_of,
            space.media(),
            space.alignment,
            request.instruction,
        )
        held = vectors_of_items(view, [allowed])
        notes = filter_notes(view, request, [DomainGroup([], allowed)])
        warn_of(notes + self._prepare_words(view, request, allowed))
        of_queries: list[str] = []

        def answer_all(ids: Sequence[str], listed: Sequence[FileQuery]) -> pa.Table:
            kinds = [query_kind(query.contents) for query in listed]
            lists: dict[int, ScoredRows] = {}
            for kind in dict.fromkeys(kinds):  # they share the weights of named vectors
                places = [at for at, other in enumerate(kinds) if other == kind]
                queries = [Query(listed[at].vectors) for at in places]
                vector_weights = weighted.vector_weights
                if request.weights is None:
                    vector_weights = self.fusion_weights.of(kind, vector_weights)
                if request.by_words:
                    for at, query in zip(places, queries, strict=True):
                        text = listed[at].contents[TEXT]
                        found = self._by_words(view, query, text, request, allowed, vector_weights)
                        lists[at] = found[0]
                        of_queries.extend(found[1])
                    continue
                answers = lists_in_windows(
                    request.k,
                    partial(_best, view, queries, allowed, vector_weights),
                )
                lists |= zip(places, answers, strict=True)
            return make_lists(view, ids, [lists[at] for at in range(len(ids))], QUERY_ID)

        def refuse(query: FileQuery) -> str:
            if request.by_words and not query.contents.get(TEXT):
                return "hybrid search and rerank compare words, and it has no text"
            return why_incomparable(query.vectors, held, space.path)

        report = search_file(
            request.queries, request.out, encoder, refuse, answer_all, show=progress
        )
        warn_of(_counted(of_queries))
        return report

    def _prepare_words(
        self, view: View, request: SearchFileRequest, allowed: Selection | None
    ) -> list[str]:
        """Load what ranks by words, before the first query; return what is to be said of it."""
        if request.rerank is not None:
            self._second_stage.reranker(request.rerank)
        if not request.hybrid:
            return []
        require_weight(request.bm25_weight)
        if request.words == "sparse":
            return self._second_stage.sparse_notes(view, allowed)
        if not view.snapshot.has_text_index:
            index_text_if_free(self._space.path, self._space.catalog)
        return []

    def _by_words(
        self,
        view: View,
        query: Query,
        text: str,
        request: SearchFileRequest,
        allowed: Selection | None,
        vector_weights: Mapping[str, float],
    ) -> tuple[ScoredRows, list[str]]:
        """Find the best k of a query by its words too; also return what is to be said of them."""
        words = text if request.hybrid else None
        n = request.k if request.rerank is None else request.rerank_depth
        first = n if words is None and finds_exactly(view, query) else FIRST_WINDOW
        (best,) = lists_in_windows(
            n,
            lambda n, _: [self._find(view, query, words, request, allowed, vector_weights, n)],
            first,
        )
        if request.rerank is None:
            return best, []
        reranked = self._second_stage.rerank(view, request.rerank, text, best[0])
        return (reranked.rows[: request.k], reranked.scores[: request.k]), reranked.notes

    def _find(
        self,
        view: View,
        query: Query,
        words: str | None,
        options: WordOptions,
        selection: Selection | None,
        vector_weights: Mapping[str, float],
        n: int,
    ) -> ScoredRows:
        """Find the best n by vectors, and by words where there are some."""
        if words is None:
            return search_top_k(view, [query], n, selection, vector_weights)[0]
        by_bm25 = options.words == "bm25"
        search_words = search_bm25 if by_bm25 else self._second_stage.search_sparse
        rank_words = partial(search_words, view, words)
        return search_hybrid(
            view, query, rank_words, n, selection, vector_weights, options.bm25_weight
        )

    def _query(self, settings: SpaceSettings, request: SearchRequest) -> QueryVectors:
        if request.vector is None:
            contents = query_contents(request.text, request.image, request.audio)
            return encode_contents(self._space, contents, settings, request.instruction)
        require_text((), request.instruction)
        if not (request.text is None and request.image is None and request.audio is None):
            raise InvalidInput("search by a vector, or by text, image and audio, not by all")
        return vector_query(self._space.named_vectors, request.vector)

    def _rank(
        self,
        weighted: WeightedView,
        query: Query,
        kind: str,
        options: RankingOptions,
        groups: Sequence[DomainGroup],
        n: int,
        before: Sequence[ScoredRows],
        rules: Rules | None,
    ) -> ScoredRows:
        """Rank n items, or those of the range, less what each loses to the hubness correction."""
        view, penalty = weighted.view, None
        if options.hubness_correction:
            vector_weights = query.vector_weights(weighted.vector_weights)
            self._refresh()
            hubs = self._hubs.penalty(view, list(query.vectors), kind, vector_weights)
            penalty = np.asarray(options.hubness_correction * hubs, np.float32)
        length = None if options.k is None else n
        first = before[0] if before else NO_ROWS
        weights = weighted.vector_weights
        return rank(view, query, options, groups, weights, penalty, length, first, rules)


def _is_whole(view: View, query: Query, options: RankingOptions) -> bool:
    """Return whether the places of a list do not depend on its length."""
    return not (options.diversity or options.ruled) and finds_exactly(view, query)


def _by_rules(
    view: View,
    find: Callable[[int], ScoredRows],
    options: RankingOptions,
    groups: Sequence[DomainGroup],
    n: int,
    before: Sequence[ScoredRows],
    rules: Rules | None,
) -> ScoredRows:
    """Return the first n places under the rules of what is found in one order."""
    if rules is None:
        return find(n)
    first = before[0] if before else NO_ROWS
    return compose_ruled(
        view,
        lambda depth: [find(depth or n)],
        options,
        groups,
        n,
        first,
        rules=rules,
        relative=True,
    )


def _counted(notes: Sequence[str]) -> list[str]:
    """Return the first note of many queries, with the number of the others."""
    if len(notes) < 2:
        return list(notes)
    return [f"{notes[0]}; {len(notes) - 1:,} more notes are of the other queries"]


def _best(
    view: View,
    queries: Sequence[Query],
    allowed: Selection | None,
    vector_weights: Mapping[str, float],
    n: int,
    before: Sequence[ScoredRows],
) -> list[ScoredRows]:
    del before
    return search_top_k(view, queries, n, allowed, vector_weights)


def encode_contents(
    space: OpenSpace,
    contents: Mapping[Modality, Any],
    settings: SpaceSettings | None = None,
    instruction: str | None = None,
) -> QueryVectors:
    """Encode contents as queries into vectors of a space, by name.

    Raises
    ------
    UnsupportedModality
        If the space has no encoder for a modality.
    """
    for modality in contents:
        named_vector_of(space.named_vectors, modality)
    settings = settings or space.settings
    return encode_query(settings, space.encoder_of, contents, space.alignment, instruction)
