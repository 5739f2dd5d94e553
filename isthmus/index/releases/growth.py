"""Growth: whether the catalog has outgrown what its index was planned and trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isthmus.index.ann.contract import Placement
from isthmus.index.ann.recipes import is_exhaustive
from isthmus.index.releases.build import needs_plan
from isthmus.index.releases.manifest import VectorManifest
from isthmus.index.releases.recall import QuerySampler, make_recall_tests, measure_recall
from isthmus.index.releases.view import View
from isthmus.index.settings import IndexSettings
from isthmus.numerics.arrays import sample_rows

FIT_SAMPLE = 2_000
MIN_RELATIVE_FIT = 0.9  # the training fit may fall to this part of what it was
STATUS_SEED, STATUS_QUERIES = 11, 1_200


@dataclass(frozen=True)
class IndexHealth:
    """How well the index of a named vector still fits the catalog.

    Attributes
    ----------
    recipe : str
        Its recipe and search parameters.
    placement : str
        ``cpu`` or ``gpu``.
    vectors : int
        Living vectors, those newer than the release among them.
    trained_rows : int
        Number of vectors when it was planned and trained.
    training_fit, current_fit : float or None
        What `VectorIndex.training_fit` returned then, and what it returns now.
    retrain : str or None
        Why it should be planned and trained anew; None where it need not.
    current_recall : float or None
        Where it should: the smallest recall@10 over kinds of query and domains, measured now.
    """

    recipe: str
    placement: Placement
    vectors: int
    trained_rows: int
    training_fit: float | None
    current_fit: float | None
    retrain: str | None
    current_recall: float | None


def assess(
    view: View, settings: IndexSettings, sample_queries: QuerySampler
) -> dict[str, IndexHealth]:
    """Return the health of each index of the current release; empty before the first release."""
    if view.release is None:
        return {}
    manifests = view.release.manifest.named_vectors
    return {
        name: _assess(view, name, manifest, settings, sample_queries)
        for name, manifest in manifests.items()
    }


def _assess(
    view: View,
    vector_name: str,
    manifest: VectorManifest,
    settings: IndexSettings,
    sample_queries: QuerySampler,
) -> IndexHealth:
    rows = np.flatnonzero(view.living.rows)
    rows = rows[view.present(vector_name, rows)]
    index = view.segments[0].named_vectors[vector_name].index
    current_fit = None
    if index is not None:
        sample = sample_rows(np.random.default_rng(STATUS_SEED), rows, FIT_SAMPLE)
        current_fit = index.training_fit(view.vectors(vector_name, sample).vectors)
    reason = _retrain_reason(manifest, len(rows), current_fit, settings)
    recall = None
    if reason is not None:
        tests = make_recall_tests(
            view, vector_name, sample_queries, seed=STATUS_SEED, queries=STATUS_QUERIES
        )
        recall = min((row.recall for row in measure_recall(view, tests)), default=1.0)
    return IndexHealth(
        recipe=f"{manifest.recipe} {manifest.parameters}".strip(),
        placement="cpu" if index is None else index.placement,
        vectors=len(rows),
        trained_rows=manifest.trained_rows,
        training_fit=manifest.training_fit,
        current_fit=None if current_fit is None else round(current_fit, 4),
        retrain=reason,
        current_recall=recall,
    )


def _retrain_reason(
    manifest: VectorManifest, rows: int, current_fit: float | None, settings: IndexSettings
) -> str | None:
    growth, limit = rows / max(manifest.trained_rows, 1), settings.retrain_growth
    if is_exhaustive(manifest.recipe):
        too_many = growth > limit and needs_plan(rows, manifest.dim, settings)
        return f"{rows:,} vectors are searched one by one" if too_many else None
    if not 1 / limit < growth < limit:
        return f"{rows:,} vectors are {growth:.1f} times those that it was trained on"
    fit = manifest.training_fit
    if fit is not None and current_fit is not None and current_fit < MIN_RELATIVE_FIT * fit:
        return f"vectors are unlike those of training: cosine {current_fit:.3f}, was {fit:.3f}"
    return None
