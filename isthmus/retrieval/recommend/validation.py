"""What a head is worth: beside each of its sources alone, on users it was not trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.numerics.metrics import PerUser
from isthmus.numerics.statistics import interval, resampled_means
from isthmus.retrieval.ranker.example_batches import ExampleBatches
from isthmus.retrieval.ranker.examples import Examples
from isthmus.retrieval.ranker.features import OF_SOURCE
from isthmus.retrieval.ranker.ranker import RankingHead
from isthmus.retrieval.recommend.report import ALL, CaseReport

RESAMPLES = 2_000
USERS_AT_ONCE = 64


def compare_with_sources(head: RankingHead, batches: ExampleBatches) -> dict[str, CaseReport]:
    """Rank the tested users' candidates by the head, and by each source alone."""
    examples = batches.examples
    tested = np.flatnonzero(examples.tested)
    ranked = {"head": batches.ndcg(tested, batches.scores(head.network, tested, USERS_AT_ONCE))}
    for source in head.sources:
        ranked[source] = batches.ndcg(tested, _places(examples, tested, head, source))
    cases = examples.case[tested]
    masks = {str(case): cases == case for case in dict.fromkeys(cases.tolist())}
    masks[ALL] = np.ones(len(tested), bool)
    return {name: _case(head, examples, tested, ranked, own) for name, own in masks.items()}


def _case(
    head: RankingHead,
    examples: Examples,
    tested: Columns,
    ranked: Mapping[str, PerUser],
    own: Mask,
) -> CaseReport:
    means = {name: float(values[own].mean()) for name, values in ranked.items()}
    alone = {name: means[name] for name in head.sources}
    best = max(alone, key=lambda name: alone[name])
    gains = (ranked["head"] - ranked[best])[own]
    level = 1 - 0.05 / len(head.sources)
    low, high = interval(resampled_means(gains[:, None], RESAMPLES, 0)[:, 0], level)
    return CaseReport(
        users=int(own.sum()),
        head=means["head"],
        sources=alone,
        best=best,
        low=low,
        high=high,
        coverage=_coverage(head, examples, tested[own]),
    )


def _coverage(head: RankingHead, examples: Examples, users: Columns) -> dict[str, float]:
    wanted = np.maximum(examples.wanted[users], 1)
    found = {name: np.zeros(len(users)) for name in (*head.sources, "union")}
    for at, user in enumerate(users):
        labels = examples.labels[examples.starts[user] : examples.starts[user + 1]]
        found["union"][at] = labels.sum()
    for name in head.sources:
        for at, (user, places) in enumerate(
            zip(users, _places(examples, users, head, name), strict=True)
        ):
            labels = examples.labels[examples.starts[user] : examples.starts[user + 1]]
            found[name][at] = (labels & np.isfinite(places)).sum()
    return {name: float((own / wanted).mean()) for name, own in found.items()}


def _places(
    examples: Examples, users: Columns, head: RankingHead, source: str
) -> Iterator[FloatArray]:
    """Score candidates by their place in a source's list; -inf for what it did not propose."""
    column = head.sources.index(source) * len(OF_SOURCE) + OF_SOURCE.index("place")
    for user in users:
        rows = slice(examples.starts[user], examples.starts[user + 1])
        places = examples.features[rows, column].astype(np.float32)
        yield np.where(places > 0, places, -np.inf)
