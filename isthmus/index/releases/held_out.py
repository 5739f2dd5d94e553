"""Contents that an index does not hold: how much harder they are to it than its own items.

An index that holds a vector finds its neighbours more easily, above all a graph, where the vector
is linked to them. What people write is in no index. So items are held out of a sample, and what is
missed for them is set beside what is missed for items that stayed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from isthmus.index.ann.shared import Shared
from isthmus.index.releases.recall import QueriesOf, Trial, make_trial, make_trials
from isthmus.index.releases.sample import sampled_view
from isthmus.index.releases.view import View
from isthmus.numerics.sampling import draw

SEED = 5
MOST_OF_A_DOMAIN = 1 / 20
MOST = 480  # of a domain; half of them become queries
LEAST_RATIO = 0.25  # less cannot be told from some hundred queries


@dataclass(frozen=True, eq=False)
class Sample:
    """A view to measure on, queries, and what recipes share over its vectors.

    Attributes
    ----------
    view : View
        One segment, without what is held out.
    trials : sequence of Trial
        What is to reach the recall; contents that are new were held out.
    held, known : sequence of Trial
        Those, and the same kinds of query with items that stayed; empty where no kind is new.
    shared : Shared
        What indexes over the view's vectors take over from each other.
    """

    view: View
    trials: Sequence[Trial]
    held: Sequence[Trial] = ()
    known: Sequence[Trial] = ()
    shared: Shared = field(default_factory=Shared)


def make_sample(view: View, vector_name: str, queries_of: QueriesOf, queries: int) -> Sample:
    """Hold items out of a view of one segment that lives as a whole, and draw queries."""
    segment = view.segments[0]
    kept, rows = np.ones(len(segment), bool), segment.named_vectors[vector_name].rows
    rng = np.random.default_rng(SEED)
    asked = []
    for domain in view.domains:
        own = rows[segment.mask_of_domains({domain})[rows]]
        drawn = draw(rng, own, min(MOST, int(MOST_OF_A_DOMAIN * len(own))))
        new = [
            kind for kind in queries_of(view, vector_name, drawn) if kind.new and len(kind.vectors)
        ]
        if new:
            kept[drawn] = False
            asked += [(domain, replace(kind, own=False, new=False)) for kind in new]
    if not asked:
        return Sample(view, make_trials(view, vector_name, queries_of, queries=queries))
    view = sampled_view(view, kept)
    trials = make_trials(view, vector_name, queries_of, queries=queries)
    held = [make_trial(view, vector_name, domain, kind, None) for domain, kind in asked]
    known = [trial for trial in trials if trial.kind.new]
    old = [trial for trial in trials if not trial.kind.new]
    return Sample(view, [*old, *held], held, known)


def known_misses(sample: Sample, view: View) -> float:
    """Give what is missed for items that stayed, over what is missed for those held out.

    Parameters
    ----------
    sample : Sample
        The queries.
    view : View
        Its view, with an index.
    """
    held, known = _missed(sample.held, view), _missed(sample.known, view)
    return 1.0 if known >= held else max(known / held, LEAST_RATIO)


def _missed(trials: Sequence[Trial], view: View) -> float:
    """Give the share of the true best ten that is missed over all trials."""
    counts = [len(trial.kind.vectors) for trial in trials]
    missed = [1 - trial.recall(view) for trial in trials]
    return float(np.average(missed, weights=counts)) if trials else 0.0
