"""The release check: a release is measured with other queries than it was tuned with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from isthmus.index.ann.filter_costs import FilterCosts
from isthmus.index.releases.manifest import RecallRow, VectorManifest
from isthmus.index.releases.recall import RecallTest, measure_recall
from isthmus.index.releases.tuning import with_index
from isthmus.index.releases.view import View
from isthmus.index.settings import Targets

MAX_TRIES = 16
GROWTH = 1.1  # of the search width, a try


def widen_to_target(
    view: View, tests: Sequence[RecallTest], target: float
) -> tuple[View, list[RecallRow]]:
    """Measure a view, and widen its searches until every test reaches the target.

    Returns
    -------
    view : View
        With the search parameters that were settled on.
    recall : list of RecallRow
        What they reach, which may still be too little.
    """
    recall = measure_recall(view, tests)
    for _ in range(MAX_TRIES):
        short = {(row.vector_name, row.kind, row.domain) for row in recall if row.recall < target}
        failed = [t for t in tests if (t.vector_name, t.queries.name, t.domain) in short]
        wider = _widened(view, failed)
        if wider is view:
            break
        view, recall = wider, measure_recall(wider, tests)
    return view, recall


def shortfalls(
    recall: Sequence[RecallRow], named_vectors: Mapping[str, VectorManifest], targets: Targets
) -> list[str]:
    """Return where a release misses its targets, in words; empty where it does not."""
    missed = [
        f"recall@10 of {row.vector_name}, {row.kind} in {row.domain} is {row.recall:.3f}, under "
        f"{targets.recall:g}"
        for row in sorted(recall, key=lambda row: row.recall)
        if row.recall < targets.recall
    ]
    for name, manifest in named_vectors.items():
        if targets.latency_ms is not None and (manifest.p99_ms or 0) > targets.latency_ms:
            missed.append(f"p99 of {name} is {manifest.p99_ms} ms, over {targets.latency_ms:g}")
        size = (manifest.bytes_per_vector or 0) * manifest.vectors
        if targets.memory is not None and size > targets.memory:
            missed.append(f"{name} takes {size:,.0f} bytes, over {targets.memory:,}")
    return missed


def _widened(view: View, failed: Sequence[RecallTest]) -> View:
    """Widen the searches of failed tests; return the same view if none can be widened."""
    for name in {test.vector_name for test in failed}:
        vectors = view.segments[0].named_vectors[name]
        if vectors.index is None:
            continue
        index, filter_costs = vectors.index, vectors.filter_costs
        filtered = {test.selection is not None for test in failed if test.vector_name == name}
        if False in filtered:
            index = index.with_parameters(index.in_memory.widened_parameters(GROWTH))
        if filter_costs and True in filtered:
            filter_costs = _widened_costs(filter_costs)
        if (index, filter_costs) != (vectors.index, vectors.filter_costs):
            view = with_index(view, name, index, filter_costs)
    return view


def _widened_costs(costs: FilterCosts) -> FilterCosts:
    """Return filter costs with more candidates, and a query time in proportion."""
    growth = GROWTH**2
    points = [
        point.model_copy(
            update={
                "n_candidates": int(np.ceil(point.n_candidates * growth)),
                "query_us": point.query_us * growth,
            }
        )
        for point in costs.points
    ]
    return costs.model_copy(update={"points": points})
