"""Recall, measured against exact search for every named vector, kind of query and domain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from isthmus.index.ann.segment import join_segments
from isthmus.index.ann.shared import Shared
from isthmus.index.releases.manifest import RecallRow
from isthmus.index.releases.view import Selection, View
from isthmus.numerics.arrays import FloatArray, Mask, Positions, sample_rows

SEED = 5
MOST_OF_A_DOMAIN = 1 / 20
MOST = 480  # of a domain; half of them become queries
LEAST_RATIO = 0.25  # less cannot be told from some hundred queries

RECALL_AT = 10
QUERIES = 4_800  # of all trials together, about
MOST_A_TRIAL, FEWEST_A_TRIAL = 800, 50
KINDS_A_DOMAIN = 5
SAME_SCORE = 1e-5
USER = "user to item"
USER_WITHIN = "user to item, filtered to the domain"
ALL = "all"


@dataclass(frozen=True, eq=False)
class RecallQueries:
    """Queries of a kind.

    Attributes
    ----------
    name : str
        Such as ``text to item``.
    vectors : numpy.ndarray
        float32, shape (n, dim).
    own : bool
        Whether the best answer to each is the item it was made from, which does not count.
    new : bool
        Whether they stand for contents that no index holds, such as what people will write. An
        index that holds a vector finds its neighbours more easily, above all a graph, so their
        recall is worked out from `SegmentVectors.known_misses`.
    """

    name: str
    vectors: FloatArray
    own: bool = True
    new: bool = False


QuerySampler = Callable[[View, str, Positions], Iterator[RecallQueries]]


@dataclass(frozen=True, eq=False)
class Trial:
    """Queries of one kind about one domain, with the scores of their true best ten.

    Attributes
    ----------
    vector_name, domain : str
        What is searched, and what for.
    kind : KindOfQuery
        The queries.
    allowed : Selection or None
        What the search is filtered to.
    best : numpy.ndarray
        float32, shape (n, 10), descending; -inf where there are no more.
    """

    vector_name: str
    domain: str
    kind: RecallQueries
    allowed: Selection | None
    best: FloatArray

    def recall(self, view: View) -> float:
        """Give the share of the true best ten that a view's search finds.

        An item that ties with the tenth best counts as found, since either answer is right.
        """
        skip = int(self.kind.own)
        scores, _ = view.search(self.vector_name, self.kind.vectors, RECALL_AT + skip, self.allowed)
        wanted = np.isfinite(self.best)
        worst = np.where(wanted, self.best, np.inf).min(axis=1, keepdims=True)
        hits = np.isfinite(scores[:, skip:]) & (scores[:, skip:] >= worst - SAME_SCORE)
        missed = 1 - float(hits.sum() / wanted.sum()) if wanted.any() else 0.0
        if self.kind.new and view.segments:
            missed /= view.segments[0].named_vectors[self.vector_name].known_misses
        return max(1 - missed, 0.0)


def make_trials(
    view: View,
    vector_name: str,
    sample_queries: QuerySampler,
    *,
    seed: int = 0,
    queries: int = QUERIES,
) -> list[Trial]:
    """Draw items as queries, and search their true best ten, for each kind and domain.

    Some `queries` are shared out evenly, within limits; the more, the less chance decides, which
    counts where the worst of many trials has to reach a target.

    Beside the kinds that `sample_queries` gives, a user's interest is an item of another domain (of
    the same where there is but one), asked among everything and, where there are several domains,
    within this one.
    """
    rng = np.random.default_rng(seed)
    share = queries // max(1, KINDS_A_DOMAIN * len(view.domains))
    most = min(max(share, FEWEST_A_TRIAL), MOST_A_TRIAL)
    living = np.flatnonzero(view.living.rows)
    living = living[view.present(vector_name, living)]
    drawn: list[tuple[str, RecallQueries, Selection | None]] = []
    for domain in view.domains:
        allowed = view.select([domain])
        inside = np.zeros(len(living), bool) if allowed is None else allowed.rows[living]
        rows = sample_rows(rng, living[inside], most)
        drawn += [(domain, kind, None) for kind in sample_queries(view, vector_name, rows)]
        several = not inside.all()
        others = sample_rows(rng, living[~inside] if several else living, most)
        interests = view.vectors(vector_name, others).vectors
        drawn.append((domain, RecallQueries(USER, interests), None))
        if several:
            drawn.append((domain, RecallQueries(USER_WITHIN, interests, own=False), allowed))
    return [make_trial(view, vector_name, *one) for one in drawn if len(one[1].vectors)]


def make_trial(
    view: View, vector_name: str, domain: str, kind: RecallQueries, allowed: Selection | None
) -> Trial:
    """Search the true best ten of some queries."""
    skip = int(kind.own)
    best, _ = view.exact(vector_name, kind.vectors, RECALL_AT + skip, allowed)
    return Trial(vector_name, domain, kind, allowed, best[:, skip:])


def measure_recall(view: View, trials: Sequence[Trial]) -> list[RecallRow]:
    """Measure recall@10 of a view's indexes, by trial and in total by named vector."""
    rows = [
        RecallRow(
            vector_name=trial.vector_name,
            kind=trial.kind.name,
            domain=trial.domain,
            queries=len(trial.kind.vectors),
            recall=round(trial.recall(view), 4),
        )
        for trial in trials
    ]
    return [
        *rows,
        *(_total(vector_name, rows) for vector_name in sorted({row.vector_name for row in rows})),
    ]


def _total(vector_name: str, rows: Sequence[RecallRow]) -> RecallRow:
    own = [row for row in rows if row.vector_name == vector_name]
    queries = sum(row.queries for row in own)
    recall = sum(row.recall * row.queries for row in own) / max(queries, 1)
    return RecallRow(
        vector_name=vector_name, kind=ALL, domain=ALL, queries=queries, recall=round(recall, 4)
    )


def sampled_view(view: View, kept: Mask) -> View:
    """Give a view of some rows of the first segment alone."""
    sampled = join_segments([view.segments[0]], [kept])
    return replace(view, segments=(sampled,), alive=(sampled.all_rows(),))


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


def make_sample(view: View, vector_name: str, sample_queries: QuerySampler, queries: int) -> Sample:
    """Hold items out of a view of one segment that lives as a whole, and draw queries."""
    segment = view.segments[0]
    kept, rows = np.ones(len(segment), bool), segment.named_vectors[vector_name].rows
    rng = np.random.default_rng(SEED)
    asked = []
    for domain in view.domains:
        own = rows[segment.mask_of_domains({domain})[rows]]
        drawn = sample_rows(rng, own, min(MOST, int(MOST_OF_A_DOMAIN * len(own))))
        new = [
            kind
            for kind in sample_queries(view, vector_name, drawn)
            if kind.new and len(kind.vectors)
        ]
        if new:
            kept[drawn] = False
            asked += [(domain, replace(kind, own=False, new=False)) for kind in new]
    if not asked:
        return Sample(view, make_trials(view, vector_name, sample_queries, queries=queries))
    view = sampled_view(view, kept)
    trials = make_trials(view, vector_name, sample_queries, queries=queries)
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
