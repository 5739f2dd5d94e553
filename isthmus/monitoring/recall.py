"""The recall of a space as it is now, with intervals that are honest for any number of tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from isthmus.index.releases.recall import QuerySampler, RecallTest, make_recall_tests
from isthmus.index.releases.view import View
from isthmus.numerics.statistics import share_estimate

QUERIES = 2_400  # of a named vector, all kinds together
ERROR_RATE = 0.001  # of all intervals together


@dataclass(frozen=True)
class LiveRecall:
    """Recall@10 of one kind of query in one domain, measured now.

    Attributes
    ----------
    vector_name, kind, domain : str
        The named vector that was searched, the kind of query and its domain.
    queries : int
        Number of queries.
    recall, low, high : float
        Recall against exact search, and an interval. All intervals of one measurement hold
        together with a probability of 0.999.
    """

    vector_name: str
    kind: str
    domain: str
    queries: int
    recall: float
    low: float
    high: float


def live_recall(view: View, sample_queries: QuerySampler, *, seed: int) -> list[LiveRecall]:
    """Measure recall@10 of every named vector, kind of query and domain.

    Parameters
    ----------
    view : View
        What is searched: the release and what came since.
    sample_queries : callable
        Returns queries with the items of some rows.
    seed : int
        Of the sample: another seed takes other items.
    """
    tests = [
        test
        for vector in view.named_vectors
        if view.has_vectors(vector.name)
        for test in make_recall_tests(view, vector.name, sample_queries, seed=seed, queries=QUERIES)
    ]
    return list(_estimates(view, tests))


def _estimates(view: View, tests: Sequence[RecallTest]) -> Iterator[LiveRecall]:
    level = 1 - ERROR_RATE / max(len(tests), 1)  # Bonferroni
    for test in tests:
        hits, exists = test.hits(view)
        found = share_estimate(hits, exists, level)
        recall, low, high = (round(test.corrected(value, view), 4) for value in found)
        yield LiveRecall(
            test.vector_name, test.queries.name, test.domain, len(hits), recall, low, high
        )
