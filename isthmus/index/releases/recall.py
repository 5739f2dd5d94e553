"""Recall, measured against exact search for every named vector, kind of query and domain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from isthmus.index.ann.exact import Positions
from isthmus.index.releases.selection import Selection
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray
from isthmus.numerics.sampling import draw

RECALL_AT = 10
QUERIES = 4_800  # of all trials together, about
MOST_A_TRIAL, FEWEST_A_TRIAL = 800, 50
KINDS_A_DOMAIN = 5
SAME_SCORE = 1e-5
USER = "user to item"
USER_WITHIN = "user to item, filtered to the domain"
ALL = "all"


class RecallRow(BaseModel):
    """Measured recall@10 of one named vector, kind of query and domain."""

    model_config = ConfigDict(extra="forbid")
    vector_name: str
    kind: str
    domain: str
    queries: int
    recall: float


@dataclass(frozen=True, eq=False)
class KindOfQuery:
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


QueriesOf = Callable[[View, str, Positions], Iterator[KindOfQuery]]


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
    kind: KindOfQuery
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
    view: View, vector_name: str, queries_of: QueriesOf, *, seed: int = 0, queries: int = QUERIES
) -> list[Trial]:
    """Draw items as queries, and search their true best ten, for each kind and domain.

    Some `queries` are shared out evenly, within limits; the more, the less chance decides, which
    counts where the worst of many trials has to reach a target.

    Beside the kinds that `queries_of` gives, a user's interest is an item of another domain (of
    the same where there is but one), asked among everything and, where there are several domains,
    within this one.
    """
    rng = np.random.default_rng(seed)
    share = queries // max(1, KINDS_A_DOMAIN * len(view.domains))
    most = min(max(share, FEWEST_A_TRIAL), MOST_A_TRIAL)
    living = np.flatnonzero(view.living.rows)
    living = living[view.present(vector_name, living)]
    drawn: list[tuple[str, KindOfQuery, Selection | None]] = []
    for domain in view.domains:
        allowed = view.select([domain])
        inside = np.zeros(len(living), bool) if allowed is None else allowed.rows[living]
        rows = draw(rng, living[inside], most)
        drawn += [(domain, kind, None) for kind in queries_of(view, vector_name, rows)]
        several = not inside.all()
        others = draw(rng, living[~inside] if several else living, most)
        interests = view.vectors(vector_name, others).vectors
        drawn.append((domain, KindOfQuery(USER, interests), None))
        if several:
            drawn.append((domain, KindOfQuery(USER_WITHIN, interests, own=False), allowed))
    return [make_trial(view, vector_name, *one) for one in drawn if len(one[1].vectors)]


def make_trial(
    view: View, vector_name: str, domain: str, kind: KindOfQuery, allowed: Selection | None
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
