"""Recall@10, measured against exact search by named vector, kind of query and domain.

An index that holds a vector finds its neighbours more easily, above all a graph, where the vector
is linked to them. What people write is in no index. Items are therefore held out of a sample, and
the misses of queries with them are compared with those of queries with items that stayed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from isthmus.index.ann.contract import SharedTraining
from isthmus.index.ann.segment import join_segments
from isthmus.index.releases.manifest import RecallRow
from isthmus.index.releases.view import Selection, View
from isthmus.numerics.arrays import FloatArray, Mask, Positions, sample_rows

RECALL_AT = 10
QUERIES = 4_800  # of all tests together, about
MAX_QUERIES, MIN_QUERIES = 800, 50  # of one test
KINDS_PER_DOMAIN = 5
SCORE_TOLERANCE = 1e-5
USER = "user to item"
USER_WITHIN = "user to item, filtered to the domain"
ALL = "all"
HELD_OUT_SEED = 5
HELD_OUT_SHARE = 1 / 20  # of a domain
MAX_HELD_OUT = 480  # of a domain; half of them become queries
MIN_MISS_RATIO = 0.25  # a smaller ratio is within the noise of some hundred queries


@dataclass(frozen=True, eq=False)
class RecallQueries:
    """Queries of one kind that a release is measured with.

    Attributes
    ----------
    name : str
        The kind, such as ``text to item``.
    vectors : numpy.ndarray
        float32, shape (n, dim).
    includes_self : bool
        Whether the best result of each is the item it was made from, which does not count.
    unseen : bool
        Whether they stand for content that no index holds, such as what people will write. Their
        recall is then corrected by `SegmentVectors.indexed_miss_ratio`.
    """

    name: str
    vectors: FloatArray
    includes_self: bool = True
    unseen: bool = False


Counts = npt.NDArray[np.int64]
QuerySampler = Callable[[View, str, Positions], Iterator[RecallQueries]]


@dataclass(frozen=True, eq=False)
class RecallTest:
    """Queries of one kind in one domain, with the scores of their true ten best.

    Attributes
    ----------
    vector_name, domain : str
        The named vector that is searched, and the domain of the queries.
    queries : RecallQueries
        The queries.
    selection : Selection or None
        The filter of the search.
    true_scores : numpy.ndarray
        float32, shape (n, 10), descending; -inf where there are no more.
    """

    vector_name: str
    domain: str
    queries: RecallQueries
    selection: Selection | None
    true_scores: FloatArray

    def recall(self, view: View) -> float:
        """Return the share of the true ten best that a search of a view returns."""
        hits, exists = self.hits(view)
        return self.corrected(float(hits.sum() / exists.sum()) if exists.any() else 1.0, view)

    def hits(self, view: View) -> tuple[Counts, Counts]:
        """Return how many of the true best of each query are found, and how many there are.

        An item that ties with the tenth best counts as found, since either answer is right.

        Returns
        -------
        hits, exists : numpy.ndarray
            int64, shape (n_queries,), 10 at most.
        """
        skipped = int(self.queries.includes_self)
        k = RECALL_AT + skipped
        scores, _ = view.search(self.vector_name, self.queries.vectors, k, self.selection)
        exists = np.isfinite(self.true_scores)  # (n, 10)
        worst = np.where(exists, self.true_scores, np.inf).min(axis=1, keepdims=True)
        hits = np.isfinite(scores[:, skipped:]) & (scores[:, skipped:] >= worst - SCORE_TOLERANCE)
        return hits.sum(axis=1), exists.sum(axis=1)

    def corrected(self, recall: float, view: View) -> float:
        """Return what a measured recall means for content that is in no index, see `unseen`."""
        misses = 1 - recall
        if self.queries.unseen and view.segments:
            misses /= view.segments[0].named_vectors[self.vector_name].indexed_miss_ratio
        return max(1 - misses, 0.0)


@dataclass(frozen=True, eq=False)
class PlanningSample:
    """A view to measure recipes on, and what they share over its vectors.

    Attributes
    ----------
    view : View
        One segment, without what is held out.
    tests : sequence of RecallTest
        What has to reach the recall target; unseen content was held out.
    held_out, indexed : sequence of RecallTest
        Queries with items that were held out, and of the same kinds with items that stayed; empty
        where no kind stands for unseen content.
    shared : SharedTraining
        What indexes over the vectors of the view take over from each other.
    """

    view: View
    tests: Sequence[RecallTest]
    held_out: Sequence[RecallTest] = ()
    indexed: Sequence[RecallTest] = ()
    shared: SharedTraining = field(default_factory=SharedTraining)


def make_recall_tests(
    view: View,
    vector_name: str,
    sample_queries: QuerySampler,
    *,
    seed: int = 0,
    queries: int = QUERIES,
) -> list[RecallTest]:
    """Sample items as queries for each kind and domain, and search their true ten best.

    Beside the kinds of `sample_queries`, a user's interest is an item of another domain (of the
    same one if there is no other), searched among everything and, if there are several domains,
    within this one.

    Parameters
    ----------
    view : View
        The items.
    vector_name : str
        The named vector to measure.
    sample_queries : callable
        Returns queries with the items of some rows.
    seed : int, default 0
        Of the sample.
    queries : int
        Queries of all tests together, shared out evenly within limits. The more there are, the
        less chance decides, which counts where the worst of many tests has to reach a target.
    """
    rng = np.random.default_rng(seed)
    share = queries // max(1, KINDS_PER_DOMAIN * len(view.domains))
    n_queries = min(max(share, MIN_QUERIES), MAX_QUERIES)
    rows = np.flatnonzero(view.living.rows)
    rows = rows[view.present(vector_name, rows)]
    parts: list[tuple[str, RecallQueries, Selection | None]] = []
    for domain in view.domains:
        selection = view.select([domain])
        inside = np.zeros(len(rows), bool) if selection is None else selection.rows[rows]
        sample = sample_rows(rng, rows[inside], n_queries)
        parts += [(domain, kind, None) for kind in sample_queries(view, vector_name, sample)]
        several = not inside.all()
        others = sample_rows(rng, rows[~inside] if several else rows, n_queries)
        interests = view.vectors(vector_name, others).vectors
        parts.append((domain, RecallQueries(USER, interests), None))
        if several:
            within = RecallQueries(USER_WITHIN, interests, includes_self=False)
            parts.append((domain, within, selection))
    return [_make_test(view, vector_name, *part) for part in parts if len(part[1].vectors)]


def measure_recall(view: View, tests: Sequence[RecallTest]) -> list[RecallRow]:
    """Return recall@10 of a view's indexes, by test and in total by named vector."""
    rows = [
        RecallRow(
            vector_name=test.vector_name,
            kind=test.queries.name,
            domain=test.domain,
            queries=len(test.queries.vectors),
            recall=round(test.recall(view), 4),
        )
        for test in tests
    ]
    return [*rows, *(_total(name, rows) for name in sorted({row.vector_name for row in rows}))]


def make_planning_sample(
    view: View, vector_name: str, sample_queries: QuerySampler, queries: int
) -> PlanningSample:
    """Hold items out of a view of one fully living segment, and make recall tests."""
    segment = view.segments[0]
    kept, rows = np.ones(len(segment), bool), segment.named_vectors[vector_name].rows
    rng = np.random.default_rng(HELD_OUT_SEED)
    unseen = []
    for domain in view.domains:
        of_domain = rows[segment.mask_of_domains({domain})[rows]]
        sample = sample_rows(
            rng, of_domain, min(MAX_HELD_OUT, int(HELD_OUT_SHARE * len(of_domain)))
        )
        kinds = [
            kind
            for kind in sample_queries(view, vector_name, sample)
            if kind.unseen and len(kind.vectors)
        ]
        if kinds:
            kept[sample] = False
            unseen += [(domain, replace(k, includes_self=False, unseen=False)) for k in kinds]
    if not unseen:
        tests = make_recall_tests(view, vector_name, sample_queries, queries=queries)
        return PlanningSample(view, tests)
    view = sample_view(view, kept)
    tests = make_recall_tests(view, vector_name, sample_queries, queries=queries)
    held_out_tests = [_make_test(view, vector_name, domain, kind, None) for domain, kind in unseen]
    indexed = [test for test in tests if test.queries.unseen]
    others = [test for test in tests if not test.queries.unseen]
    return PlanningSample(view, [*others, *held_out_tests], held_out_tests, indexed)


def measure_miss_ratio(sample: PlanningSample, view: View) -> float:
    """Return the misses for items that stayed over the misses for items that were held out.

    Parameters
    ----------
    sample : PlanningSample
        The queries.
    view : View
        Its view, with an index.
    """
    held_out, indexed = _mean_misses(sample.held_out, view), _mean_misses(sample.indexed, view)
    return 1.0 if indexed >= held_out else max(indexed / held_out, MIN_MISS_RATIO)


def sample_view(view: View, mask: Mask) -> View:
    """Return a view of some rows of the first segment alone; the mask has shape (n_rows,)."""
    segment = join_segments([view.segments[0]], [mask])
    return replace(view, segments=(segment,), alive=(segment.all_rows(),))


def _make_test(
    view: View, vector_name: str, domain: str, queries: RecallQueries, selection: Selection | None
) -> RecallTest:
    """Search the true ten best of some queries."""
    skipped = int(queries.includes_self)
    scores, _ = view.exact(vector_name, queries.vectors, RECALL_AT + skipped, selection)
    return RecallTest(vector_name, domain, queries, selection, scores[:, skipped:])


def _total(vector_name: str, rows: Sequence[RecallRow]) -> RecallRow:
    parts = [row for row in rows if row.vector_name == vector_name]
    queries = sum(row.queries for row in parts)
    recall = sum(row.recall * row.queries for row in parts) / max(queries, 1)
    return RecallRow(
        vector_name=vector_name, kind=ALL, domain=ALL, queries=queries, recall=round(recall, 4)
    )


def _mean_misses(tests: Sequence[RecallTest], view: View) -> float:
    """Return the share of the true ten best that is missed over all queries."""
    counts = [len(test.queries.vectors) for test in tests]
    misses = [1 - test.recall(view) for test in tests]
    return float(np.average(misses, weights=counts)) if tests else 0.0
