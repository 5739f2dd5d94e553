"""The live canary: a sample of the real queries is answered exactly too, in the background.

A query that was answered may be drawn. A thread then searches one and the same view twice, as
queries are answered and without an index, and counts how many of the true ten best the first
search returns. It rests after each query so long that it stays within its budget. The same queries
are compared with the first ones of the release, for drift.

Where the recall of a release is too small, with its whole interval, and ``on_alarm`` of the space
is ``"rollback"``, `Space.monitor` judges: it measures with items, and rolls back or not.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, cast

import numpy as np
from prometheus_client import Counter, Gauge

from isthmus.errors import IsthmusError
from isthmus.index.open_space import OpenSpace, WeightedView
from isthmus.index.releases.recall import RECALL_AT, SCORE_TOLERANCE
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray
from isthmus.numerics.statistics import wilson_interval
from isthmus.numerics.two_sample import vectors_differ
from isthmus.retrieval.search.query_encoding import query_kind
from isthmus.retrieval.search.request import SearchRequest
from isthmus.retrieval.search.results import Hits
from isthmus.retrieval.search.searcher import Searcher, encode_contents
from isthmus.service.exchange import Exchange
from isthmus.service.metrics import Metrics
from isthmus.service.settings import Canary as CanarySettings
from isthmus.service.spaces import ServedSpace

PLAIN: Final = frozenset(
    ("text", "image", "audio", "vector", "like", "unlike", "domain", "where", "k", "attributes")
)
CONTENTS: Final = ("text", "image", "audio")
SEVERAL: Final = "*"  # in the place of a domain
VECTOR: Final = "vector to item"
WAITING: Final = 100
JUDGED_FROM: Final = 20  # queries of one kind and domain
LEVEL: Final = 0.999
BETWEEN_JUDGEMENTS_S: Final = 30.0
DRIFT_SAMPLE: Final = 300
BETWEEN_DRIFT_TESTS_S: Final = 600.0

logger = logging.getLogger("isthmus.service")


class Sampled(NamedTuple):
    """A query that was drawn."""

    space: ServedSpace
    arguments: Mapping[str, Any]


class Tally:
    """What was found of what should be; its interval takes each query for one trial."""

    def __init__(self) -> None:
        self.queries = self.found = self.expected = 0

    def add(self, found: int, expected: int) -> None:
        """Count a query."""
        self.queries, self.found = self.queries + 1, self.found + found
        self.expected += expected

    def highest(self) -> float:
        """Return the upper end of the interval of the recall."""
        if not self.expected:
            return 1.0
        return wilson_interval(self.found / self.expected, self.queries, LEVEL)[1]


@dataclass
class Watched:
    """What is known of a space: its searchers for one view, and the sampled queries."""

    view: View
    as_served: Searcher
    exactly: Searcher
    tallies: dict[tuple[str, str], Tally] = field(default_factory=dict)
    first: dict[tuple[str, str], list[FloatArray]] = field(default_factory=dict)
    last: dict[tuple[str, str], deque[FloatArray]] = field(default_factory=dict)
    judged: float = 0.0
    compared: dict[tuple[str, str], float] = field(default_factory=dict)


class CanaryMetrics:
    """The counters of a canary.

    Parameters
    ----------
    metrics : Metrics
        Where they are registered.
    """

    def __init__(self, metrics: Metrics) -> None:
        labels = ("space", "release", "domain", "kind")
        self.queries, self.found, self.expected = (
            Counter(f"isthmus_canary_{name}", text, labels, registry=metrics.registry)
            for name, text in (
                ("queries", "Queries that were answered exactly too."),
                ("found", "Of the true ten best of these, those that a query returns."),
                ("expected", "The true ten best of these."),
            )
        )
        self.drift = Gauge(
            "isthmus_query_drift_p",
            "p-value of the last queries being like the first ones of the release.",
            ("space", "kind", "vector"),
            registry=metrics.registry,
            multiprocess_mode="livemin",
        )
        self.rollbacks = Counter(
            "isthmus_canary_rollbacks",
            "Releases that were rolled back because of their recall.",
            ("space",),
            registry=metrics.registry,
        )


class LiveCanary:
    """Draws queries, and answers them exactly; an observer of exchanges.

    Parameters
    ----------
    settings : CanarySettings
        How many, and within which budget.
    metrics : Metrics
        Where it counts.
    seed : int, optional
        Of the draw.
    """

    def __init__(
        self, settings: CanarySettings, metrics: Metrics, *, seed: int | None = None
    ) -> None:
        self._settings, self._metrics = settings, CanaryMetrics(metrics)
        self._random = random.Random(seed)
        self._waiting: deque[Sampled] = deque(maxlen=WAITING)
        self._state = threading.Condition()
        self._thread: threading.Thread | None = None
        self._ends = False
        self._watched: dict[str, Watched] = {}

    def __call__(self, exchange: Exchange) -> None:
        """Draw the query of an exchange, or not."""
        if (
            exchange.name != "search"
            or exchange.status != 200
            or exchange.space is None
            or not PLAIN.issuperset(exchange.arguments)
            or not self._settings.budget
            or self._random.random() >= self._settings.share
        ):
            return
        with self._state:
            self._waiting.append(Sampled(exchange.space, exchange.arguments))
            self._state.notify()
            if self._thread is None and not self._ends:
                self._thread = threading.Thread(target=self._run, name="canary", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End the thread."""
        with self._state:
            self._ends = True
            self._state.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._state:
                self._state.wait_for(lambda: self._ends or self._waiting)
                if self._ends:
                    return
                sampled = self._waiting.popleft()
            started = time.perf_counter()
            try:
                self.measure(sampled)
            except IsthmusError as error:  # of the moment: a release was replaced, say
                logger.info("a query could not be answered exactly: %s", type(error).__name__)
            except Exception:
                logger.exception("the canary failed on a query")
            rest = (time.perf_counter() - started) * (1 / self._settings.budget - 1)
            with self._state:
                self._state.wait_for(lambda: self._ends, rest)

    def measure(self, sampled: Sampled) -> None:
        """Answer a query exactly too, and count."""
        served, arguments = sampled
        opened = served.space.opened
        watched = self._watched_of(served, opened)
        if watched is None:
            return
        k = min(arguments.get("k") or RECALL_AT, RECALL_AT)
        request = SearchRequest(**{**arguments, "k": k, "attributes": False})
        found, exists = found_of(watched.as_served.search(request), watched.exactly.search(request))
        domain, kind = domain_of(arguments), kind_of(arguments)
        labels = (served.name, str(watched.view.release_number), domain, kind)
        self._metrics.queries.labels(*labels).inc()
        self._metrics.found.labels(*labels).inc(found)
        self._metrics.expected.labels(*labels).inc(exists)
        tally = watched.tallies.setdefault((domain, kind), Tally())
        tally.add(found, exists)
        self._judge(served, watched, tally)
        self._compare(served, watched, opened, arguments, kind)

    def _watched_of(self, served: ServedSpace, opened: OpenSpace) -> Watched | None:
        """Return what is known of a space as it is now; None before its first release."""
        view = opened.live.now()
        known = self._watched.get(served.name)
        if known is not None and known.view is view:
            return known
        if view.release is None:
            return None
        plain = replace(view, segments=tuple(one.without_index() for one in view.segments))
        made = Watched(view, _searcher(opened, view), _searcher(opened, plain))
        if known is not None and known.view.release_number == view.release_number:
            made.tallies, made.first, made.last = known.tallies, known.first, known.last
            made.judged, made.compared = known.judged, known.compared
        self._watched[served.name] = made
        return made

    def _judge(self, served: ServedSpace, watched: Watched, tally: Tally) -> None:
        """Let `Space.monitor` measure a release that finds too little, and roll back."""
        thresholds = served.space.opened.settings.monitoring
        smallest = thresholds.smallest_recall(served.space.opened.settings.index.recall)
        now = time.monotonic()
        if (
            tally.queries < JUDGED_FROM
            or tally.highest() >= smallest
            or thresholds.on_alarm != "rollback"
            or now - watched.judged < BETWEEN_JUDGEMENTS_S
        ):
            return
        watched.judged = now
        number = watched.view.release_number
        report = served.space.monitor()
        if report.rolled_back_to is not None:
            self._metrics.rollbacks.labels(served.name).inc()
            logger.error(
                "release %s of %s finds too little; release %s is current again",
                number,
                served.name,
                report.rolled_back_to,
            )

    def _compare(
        self,
        served: ServedSpace,
        watched: Watched,
        opened: OpenSpace,
        arguments: Mapping[str, Any],
        kind: str,
    ) -> None:
        """Compare the last queries of a kind with the first ones of the release."""
        for name, vector in vectors_of(opened, arguments).items():
            key = (kind, name)
            first = watched.first.setdefault(key, [])
            if len(first) < DRIFT_SAMPLE:
                first.append(vector)
                continue
            last = watched.last.setdefault(key, deque(maxlen=DRIFT_SAMPLE))
            last.append(vector)
            now = time.monotonic()
            due = now - watched.compared.get(key, -BETWEEN_DRIFT_TESTS_S) >= BETWEEN_DRIFT_TESTS_S
            if len(last) == DRIFT_SAMPLE and due:
                watched.compared[key] = now
                p_value = vectors_differ(np.stack(first), np.stack(list(last))).p_value
                self._metrics.drift.labels(served.name, kind, name).set(p_value)


class PinnedSpace:
    """An open space whose searchable items are those of one view.

    Parameters
    ----------
    space : OpenSpace
        The space.
    view : View
        The view.
    """

    def __init__(self, space: OpenSpace, view: View) -> None:
        self._space, self._view = space, view

    def __getattr__(self, name: str) -> Any:
        """Return what the space has of a name."""
        return getattr(self._space, name)

    def view(self) -> View:
        """Return the view."""
        return self._view

    def weighted_view(self, weights: None, *, keep: bool = True) -> WeightedView:
        """Return the view under the fusion weights of the space."""
        del weights, keep
        return WeightedView(self._view, self._space.settings, self._space.vector_weights)


def _searcher(space: OpenSpace, view: View) -> Searcher:
    """Return a searcher of one view of a space."""
    return Searcher(cast("OpenSpace", PinnedSpace(space, view)))


def found_of(served: Hits, exact: Hits) -> tuple[int, int]:
    """Return how many of the true best a list has, and how many there are; ties count as found."""
    if not exact:
        return 0, 0
    worst = exact[-1].score - SCORE_TOLERANCE
    return min(sum(hit.score >= worst for hit in served), len(exact)), len(exact)


def domain_of(arguments: Mapping[str, Any]) -> str:
    """Return the domain that a query is about; ``*`` for several.

    Examples
    --------
    >>> domain_of({"domain": ["films"]}), domain_of({})
    ('films', '*')
    """
    given = arguments.get("domain")
    names = [given] if isinstance(given, str) else list(given or ())
    return names[0] if len(names) == 1 else SEVERAL


def kind_of(arguments: Mapping[str, Any]) -> str:
    """Return the kind of a query.

    Examples
    --------
    >>> kind_of({"text": "boots"}), kind_of({"vector": [1.0]}), kind_of({"like": ["a"]})
    ('text to item', 'vector to item', 'item to item')
    """
    contents = {name: arguments.get(name) for name in CONTENTS}
    if arguments.get("vector") is not None and not any(contents.values()):
        return VECTOR
    return query_kind(contents)


def vectors_of(space: OpenSpace, arguments: Mapping[str, Any]) -> dict[str, FloatArray]:
    """Return the vectors of the text or of the vector of a query, by name."""
    text, given = arguments.get("text"), arguments.get("vector")
    if isinstance(text, str):
        return {
            name: np.asarray(one, np.float32).ravel()
            for name, one in encode_contents(space, {"text": text}).items()
        }
    if isinstance(given, Mapping):
        return {name: np.asarray(one, np.float32) for name, one in given.items()}
    return {} if given is None else {"vector": np.asarray(given, np.float32)}
