"""The gate: a release is measured with queries it was not tuned with, before it may be current."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from isthmus.index.ann.filter_costs import FilterCosts
from isthmus.index.releases.manifest import RecallRow, VectorManifest
from isthmus.index.releases.recall import Trial, measure_recall
from isthmus.index.releases.tuning import with_index
from isthmus.index.releases.view import View
from isthmus.index.settings import Targets

TRIES = 16
MORE = 1.1
DEEPER = 2


def reach(view: View, trials: Sequence[Trial], target: float) -> tuple[View, list[RecallRow]]:
    """Measure a view, and let its indexes try harder until every trial reaches the target.

    Returns
    -------
    view : View
        With the efforts that were settled on.
    recall : list of RecallRow
        What they reach, which may still be too little.
    """
    recall = measure_recall(view, trials)
    for _ in range(TRIES):
        short = {(row.vector_name, row.kind, row.domain) for row in recall if row.recall < target}
        wanting = [t for t in trials if (t.vector_name, t.kind.name, t.domain) in short]
        harder = _harder(view, wanting)
        if harder is view:
            break
        view, recall = harder, measure_recall(harder, trials)
    return view, recall


def misses(
    recall: Sequence[RecallRow], named_vectors: Mapping[str, VectorManifest], targets: Targets
) -> list[str]:
    """Say where a release falls short of its targets; empty where it does not."""
    found = [
        f"recall@10 of {row.vector_name}, {row.kind} in {row.domain} is {row.recall:.3f}, under "
        f"{targets.recall:g}"
        for row in sorted(recall, key=lambda row: row.recall)
        if row.recall < targets.recall
    ]
    for name, segment_vectors in named_vectors.items():
        if targets.latency_ms is not None and (segment_vectors.p99_ms or 0) > targets.latency_ms:
            found.append(
                f"p99 of {name} is {segment_vectors.p99_ms} ms, over {targets.latency_ms:g}"
            )
        size = (segment_vectors.bytes_a_vector or 0) * segment_vectors.vectors
        if targets.memory is not None and size > targets.memory:
            found.append(f"{name} takes {size:,.0f} bytes, over {targets.memory:,}")
    return found


def _harder(view: View, wanting: Sequence[Trial]) -> View:
    """Raise the efforts that trials are wanting in; the same view where there are none to raise."""
    for name in {trial.vector_name for trial in wanting}:
        own = view.segments[0].named_vectors[name]
        if own.index is None:
            continue
        index, masked = own.index, own.masked
        if any(t.allowed is None for t in wanting if t.vector_name == name):
            effort = index.parameters
            visits = min(int(np.ceil(effort.visits * MORE)), index.most_visits)
            depth = effort.depth * DEEPER if visits == effort.visits else effort.depth
            depth += int(index.recipe.signs)
            index = index.trying(effort.model_copy(update={"visits": visits, "depth": depth}))
        if masked and any(t.allowed is not None for t in wanting if t.vector_name == name):
            masked = _harder_masked(masked)
        if (index, masked) != (own.index, own.masked):
            view = with_index(view, name, index, masked)
    return view


def _harder_masked(masked: FilterCosts) -> FilterCosts:
    points = [
        point.model_copy(
            update={
                "visits": int(np.ceil(point.visits * MORE**2)),
                "query_us": point.query_us * MORE**2,
            }
        )
        for point in masked.points
    ]
    return masked.model_copy(update={"points": points})
