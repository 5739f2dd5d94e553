"""Growth: whether the catalogue has moved past what its index was planned and trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isthmus.index.ann.gpu import GpuIndex
from isthmus.index.ann.recipes import EXACT
from isthmus.index.releases.manifest import VectorManifest
from isthmus.index.releases.recall import QuerySampler, make_trials, measure_recall
from isthmus.index.releases.view import View
from isthmus.index.settings import IndexSettings
from isthmus.numerics.arrays import sample_rows

SAMPLE = 2_000
LOOSER = 0.9  # the cosine with what training has may fall to this part of what it was
STATUS_SEED, STATUS_QUERIES = 11, 1_200


@dataclass(frozen=True)
class Health:
    """How well the index of a named vector still fits.

    Attributes
    ----------
    recipe : str
        Its recipe and effort.
    placement : str
        ``cpu`` or ``gpu``.
    vectors : int
        Living vectors, those newer than the release among them.
    trained_rows : int
        Vectors that there were when it was planned and trained.
    fit, fit_now : float or None
        Mean cosine of a vector with what training has for it, see `VectorIndex.fit`, then and now.
    retrain : str or None
        Why it should be planned and trained anew; None where it need not.
    recall_now : float or None
        Where it should: the smallest recall@10 over kinds of query and domains, measured now.
    """

    recipe: str
    placement: str
    vectors: int
    trained_rows: int
    fit: float | None
    fit_now: float | None
    retrain: str | None
    recall_now: float | None


def assess(view: View, settings: IndexSettings, sample_queries: QuerySampler) -> dict[str, Health]:
    """Assess the index of each named vector of the current release; empty before the first."""
    if view.release is None:
        return {}
    known = view.release.manifest.named_vectors
    return {name: _assess(view, name, known[name], settings, sample_queries) for name in known}


def _assess(
    view: View,
    vector_name: str,
    known: VectorManifest,
    settings: IndexSettings,
    sample_queries: QuerySampler,
) -> Health:
    living = np.flatnonzero(view.living.rows)
    rows = living[view.present(vector_name, living)]
    index = view.segments[0].named_vectors[vector_name].index
    fit_now = None
    if index is not None:
        drawn = sample_rows(np.random.default_rng(STATUS_SEED), rows, SAMPLE)
        fit_now = index.fit(view.vectors(vector_name, drawn).vectors)
    retrain = _reason(known, len(rows), fit_now, settings)
    recall = None
    if retrain is not None:
        trials = make_trials(
            view, vector_name, sample_queries, seed=STATUS_SEED, queries=STATUS_QUERIES
        )
        recall = min((row.recall for row in measure_recall(view, trials)), default=1.0)
    return Health(
        recipe=f"{known.recipe} {known.parameters}".strip(),
        placement="gpu" if isinstance(index, GpuIndex) else "cpu",
        vectors=len(rows),
        trained_rows=known.trained_rows,
        fit=known.fit,
        fit_now=None if fit_now is None else round(fit_now, 4),
        retrain=retrain,
        recall_now=recall,
    )


def _reason(
    known: VectorManifest, rows: int, fit_now: float | None, settings: IndexSettings
) -> str | None:
    growth, limit = rows / max(known.trained_rows, 1), settings.retrain_growth
    if known.recipe == EXACT:
        too_many = rows > max(settings.exact_rows, limit * known.trained_rows)
        return f"{rows:,} vectors are searched one by one" if too_many else None
    if not 1 / limit < growth < limit:
        return f"{rows:,} vectors are {growth:.1f} times those that it was trained on"
    if known.fit is not None and fit_now is not None and fit_now < LOOSER * known.fit:
        return f"vectors are unlike those of training: cosine {fit_now:.3f}, was {known.fit:.3f}"
    return None
