"""Learned fusion weights: how much each named vector counts, for each kind of query.

A query in several named vectors scores an item by the weighted mean of its similarities in them.
What is learned is a factor a named vector, which multiplies its weight in the space.
The factors are the same for all queries of a kind: weights that depend on the query were measured
and were no better (docs/experiments/fusion.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from isthmus.durable import write_atomically
from isthmus.errors import InvalidInput, command_in
from isthmus.files import with_checksum, without_checksum
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray, Mask
from isthmus.numerics.metrics import PerUser, ranking_metrics
from isthmus.numerics.statistics import Estimate, estimate
from isthmus.progress import progress_bar
from isthmus.retrieval.search.query import search_top_k, search_vectors, similarities
from isthmus.retrieval.search.relevance import JudgedQuery
from isthmus.schema import FUSION_WEIGHTS_FILE

if TYPE_CHECKING:
    from torch import Tensor

FORMAT: Final = 1
MIN_QUERIES: Final = 50
HELD_OUT: Final = 0.3
K: Final = 10

NEAREST: Final = 50  # candidates of a query: nearest items of each named vector,
RELEVANT: Final = 50  # at most so many relevant ones,
NEGATIVES: Final = 50  # and so many random items of the space
ITERATIONS: Final = 60
INITIAL_SHARPNESS: Final = 10.0  # inverse temperature of the softmax
L2: Final = 0.05  # keeps factors that gain little near 1
MAX_LOG_FACTOR: Final = 4.0

Factors = dict[str, float]


@dataclass(frozen=True)
class FusionReport:
    """What learned fusion weights are worth, on queries that were not learned from.

    Attributes
    ----------
    queries : dict of str to int
        Training queries of each kind.
    held_out : dict of str to int
        Held-out queries of each kind.
    ndcg : dict
        For each kind, NDCG@10 on the held-out queries under ``fixed``, the weights of the space,
        and under ``learned``.
    gain : dict of str to Estimate
        For each kind, NDCG@10 of ``learned`` less that of ``fixed``, with its 95 % interval.
    chosen : dict of str to str
        For each kind, the weights in use from now on: ``learned``, or ``fixed`` where those are
        no better.
    factors : dict
        For each kind whose learned weights are in use, the factor of each named vector.
    problems : list of str
        What could not be used, and why.
    """

    queries: dict[str, int] = field(default_factory=dict)
    held_out: dict[str, int] = field(default_factory=dict)
    ndcg: dict[str, dict[str, float]] = field(default_factory=dict)
    gain: dict[str, Estimate] = field(default_factory=dict)
    chosen: dict[str, str] = field(default_factory=dict)
    factors: dict[str, Factors] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class LearnedFactors:
    """The learned factors of a space.

    Attributes
    ----------
    fingerprint : str
        Fingerprint of the encoder stack whose vectors they were learned on.
    factors : mapping of str to dict of str to float
        For each kind of query, such as ``item to item``, the factor of each named vector.
    """

    fingerprint: str
    factors: Mapping[str, Factors]

    def save(self, space: Path) -> None:
        """Write the factors into the folder of a space, atomically."""
        values = {"format": FORMAT, "fingerprint": self.fingerprint, "factors": dict(self.factors)}
        write_atomically(space / FUSION_WEIGHTS_FILE, with_checksum(json.dumps(values)))

    @classmethod
    def load(cls, space: Path) -> LearnedFactors | None:
        """Read the factors of a space; None where nothing was learned.

        Raises
        ------
        InvalidInput
            If the file is damaged, or of another version.
        """
        try:
            values = without_checksum((space / FUSION_WEIGHTS_FILE).read_bytes())
            if values["format"] != FORMAT:
                raise ValueError(f"format {values['format']}")
            factors = {
                str(kind): {str(name): float(factor) for name, factor in of_kind.items()}
                for kind, of_kind in values["factors"].items()
            }
            return cls(values["fingerprint"], factors)
        except FileNotFoundError:
            return None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInput(
                f"{space / FUSION_WEIGHTS_FILE} is damaged or of another version ({error}); learn "
                f"the weights anew with: {command_in(space, 'learn-fusion')}, or drop them "
                f"with: {command_in(space, 'verify --drop-damaged')}"
            ) from error


class FusionWeights:
    """The weights of named vectors that a space uses for each kind of query.

    Parameters
    ----------
    space : Path
        Folder of the space.
    fingerprint : str
        Fingerprint of its encoder stack.
    """

    def __init__(self, space: Path, fingerprint: str) -> None:
        self._space, self._fingerprint = space, fingerprint
        self._cached: tuple[LearnedFactors | None, tuple[int, int] | None] = None, None

    def of(self, kind: str, weights: Mapping[str, float]) -> dict[str, float]:
        """Return the weights of named vectors for a kind of query.

        Parameters
        ----------
        kind : str
            Such as ``text to item``.
        weights : mapping of str to float
            Weight of each named vector in the space.
        """
        learned = self.learned() if len(weights) > 1 else None
        factors = {} if learned is None else learned.factors.get(kind, {})
        return {name: weight * factors.get(name, 1.0) for name, weight in weights.items()}

    def update(self, report: FusionReport) -> None:
        """Store what was learned; kinds of query that were not learned keep their factors.

        A damaged file is replaced.
        """
        try:
            learned = self.learned()
        except InvalidInput:
            learned = None
        factors = {**({} if learned is None else learned.factors), **report.factors}
        in_use = {k: of_kind for k, of_kind in factors.items() if report.chosen.get(k) != "fixed"}
        LearnedFactors(self._fingerprint, in_use).save(self._space)

    def learned(self) -> LearnedFactors | None:
        """Return the factors that are on disk now; None where they are for other vectors."""
        try:
            stat = (self._space / FUSION_WEIGHTS_FILE).stat()
        except FileNotFoundError:
            return None
        stamp = stat.st_mtime_ns, stat.st_ino
        if self._cached[1] != stamp:
            self._cached = LearnedFactors.load(self._space), stamp
        learned = self._cached[0]
        return learned if learned and learned.fingerprint == self._fingerprint else None


def learn_fusion_weights(
    view: View,
    judged: Sequence[JudgedQuery],
    weights: Mapping[str, float],
    *,
    show: bool = False,
) -> FusionReport:
    """Learn factors for each kind of query, and measure them on queries held out.

    Parameters
    ----------
    view : View
        What is searched.
    judged : sequence of JudgedQuery
        Queries with their relevant items. Kinds with fewer than 50 queries are left out.
    weights : mapping of str to float
        Weight of each named vector in the space.
    show : bool, default False
        Whether to show bars.
    """
    report = FusionReport()
    for kind in dict.fromkeys(query.kind for query in judged):
        queries = [query for query in judged if query.kind == kind]
        if len(queries) >= MIN_QUERIES:
            _learn_kind(view, kind, queries, weights, report, show=show)
    return report


def _learn_kind(
    view: View,
    kind: str,
    queries: Sequence[JudgedQuery],
    weights: Mapping[str, float],
    report: FusionReport,
    *,
    show: bool,
) -> None:
    order = np.random.default_rng(0).permutation(len(queries))
    cut_dendrogram = round(len(queries) * (1 - HELD_OUT))
    train, held_out = (
        [queries[at] for at in part] for part in (order[:cut_dendrogram], order[cut_dendrogram:])
    )
    factors = fit_factors(view, train, weights, show=show)
    learned_weights = {name: weight * factors[name] for name, weight in weights.items()}
    fixed = _ndcg(view, held_out, weights)
    learned = _ndcg(view, held_out, learned_weights)
    better = learned.mean() > fixed.mean()
    report.queries[kind], report.held_out[kind] = len(train), len(held_out)
    report.ndcg[kind] = {"fixed": float(fixed.mean()), "learned": float(learned.mean())}
    report.gain[kind] = estimate(learned - fixed)
    report.chosen[kind] = "learned" if better else "fixed"
    if better:
        report.factors[kind] = factors


def _ndcg(view: View, queries: Sequence[JudgedQuery], weights: Mapping[str, float]) -> PerUser:
    """Return NDCG@10 of each query, shape (n_queries,)."""
    lists = search_top_k(view, [judged.query for judged in queries], K, None, weights)
    hits = np.zeros((len(queries), K), bool)
    for row, judged, (rows, _) in zip(hits, queries, lists, strict=True):
        row[: len(rows)] = np.isin(rows, judged.relevant)
    n_relevant = np.array([judged.n_relevant for judged in queries])
    return ranking_metrics(hits, n_relevant, [K])[f"ndcg@{K}"]


def fit_factors(
    view: View,
    queries: Sequence[JudgedQuery],
    weights: Mapping[str, float],
    *,
    show: bool = False,
) -> Factors:
    """Fit the factor of each named vector by the listwise loss.

    The loss is minus the mean log-probability of a relevant item, the probability being the
    softmax of the scores of all items (ListNet; Cao et al., ICML 2007). It is estimated from
    candidates: one that was sampled with probability q counts 1/q times. The temperature of the
    softmax is fitted, too.

    Parameters
    ----------
    view : View
        What is searched.
    queries : sequence of JudgedQuery
        Training queries.
    weights : mapping of str to float
        Weight of each named vector in the space.
    show : bool, default False
        Whether to show a bar.

    Returns
    -------
    dict of str to float
        For each named vector of the view; their geometric mean is 1.
    """
    import torch

    vector_names = [named_vector.name for named_vector in view.named_vectors]
    candidates = _sample_candidates(view, queries, show=show)
    problem = _Problem.of(candidates, np.array([weights[name] for name in vector_names]))
    log_factors = torch.zeros(len(vector_names), dtype=torch.float64, requires_grad=True)
    log_sharpness = torch.tensor(np.log(INITIAL_SHARPNESS), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [log_factors, log_sharpness], max_iter=ITERATIONS, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        penalty = L2 * ((log_factors - log_factors.mean()) ** 2).mean()
        loss = problem.loss(log_factors, log_sharpness) + penalty
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        centered = (log_factors - log_factors.mean()).clamp(-MAX_LOG_FACTOR, MAX_LOG_FACTOR)
        return dict(zip(vector_names, torch.exp(centered).tolist(), strict=True))


@dataclass(frozen=True, eq=False)
class _Candidates:
    """Candidates of a training query.

    Attributes
    ----------
    similarities : numpy.ndarray
        float32, shape (n_candidates, n_vectors): 0 where the item or the query lacks the named
        vector.
    has_vector : numpy.ndarray
        bool, shape (n_vectors,): the named vectors of the query.
    relevant : numpy.ndarray
        bool, shape (n_candidates,).
    log_q : numpy.ndarray
        float32, shape (n_candidates,): log-probability that the candidate was sampled.
    """

    similarities: FloatArray
    has_vector: Mask
    relevant: Mask
    log_q: FloatArray


def _sample_candidates(
    view: View, queries: Sequence[JudgedQuery], *, show: bool
) -> list[_Candidates]:
    """Gather the nearest items of each named vector, relevant items, and random ones."""
    rng = np.random.default_rng(0)
    living = np.flatnonzero(view.living.rows)
    log_q_random = _log_q(NEGATIVES, len(living))
    vector_names = [named_vector.name for named_vector in view.named_vectors]
    candidates = []
    with progress_bar("looking at pairs", len(queries), show=show) as advance:
        for judged in queries:
            query, relevant = judged.query, judged.relevant
            lists = search_vectors(view, [query], NEAREST, None)[0]
            nearest = np.concatenate([np.empty(0, np.int64), *(rows for rows, _ in lists)])
            positives = rng.choice(relevant, min(RELEVANT, len(relevant)), replace=False)
            negatives = rng.choice(living, min(NEGATIVES, len(living)), replace=False)
            rows = np.unique(np.concatenate([nearest, positives, negatives]))
            rows = rows[(rows >= 0) & ~np.isin(rows, query.exclude)]
            by_vector, is_relevant = similarities(view, query, rows), np.isin(rows, relevant)
            parts = np.stack([by_vector.get(n, np.zeros(len(rows))) for n in vector_names], axis=1)
            log_q = np.where(is_relevant, _log_q(RELEVANT, len(relevant)), log_q_random)
            candidates.append(
                _Candidates(
                    parts.astype(np.float32),
                    np.array([name in query.vectors for name in vector_names]),
                    is_relevant,
                    # The nearest items are always among the candidates: q = 1.
                    np.where(np.isin(rows, nearest), 0.0, log_q).astype(np.float32),
                )
            )
            advance(1)
    return candidates


def _log_q(n_sampled: int, n: int) -> float:
    """Return the log-probability that one of n is among those sampled."""
    return float(np.log(min(1.0, n_sampled / max(1, n))))


@dataclass(frozen=True, eq=False)
class _Problem:
    """All candidates, padded to the same number a query."""

    similarities: Tensor  # (n_queries, n_candidates, n_vectors)
    is_candidate: Tensor  # (n_queries, n_candidates)
    relevant: Tensor  # (n_queries, n_candidates)
    log_q: Tensor  # (n_queries, n_candidates)
    has_vector: Tensor  # (n_queries, n_vectors)
    weights: Tensor  # (n_vectors,)

    @classmethod
    def of(cls, candidates: Sequence[_Candidates], weights: FloatArray) -> _Problem:
        import torch

        shape = len(candidates), max(len(one.relevant) for one in candidates)
        parts = np.zeros((*shape, len(weights)))
        is_candidate, relevant = np.zeros(shape, bool), np.zeros(shape, bool)
        log_q = np.zeros(shape)
        for at, one in enumerate(candidates):
            n = len(one.relevant)
            parts[at, :n], is_candidate[at, :n] = one.similarities, True
            relevant[at, :n], log_q[at, :n] = one.relevant, one.log_q
        has_vector = np.array([one.has_vector for one in candidates])
        arrays = (parts, is_candidate, relevant, log_q, has_vector, weights)
        return cls(*map(torch.from_numpy, arrays))

    def loss(self, log_factors: Tensor, log_sharpness: Tensor) -> Tensor:
        """Return the mean over queries."""
        import torch

        factors = torch.exp(log_factors.clamp(-MAX_LOG_FACTOR, MAX_LOG_FACTOR))
        weights = factors * self.weights * self.has_vector  # (n_queries, n_vectors)
        weights = weights / weights.sum(dim=1, keepdim=True)
        scores = (self.similarities * weights[:, None]).sum(dim=2) * torch.exp(log_sharpness)
        logits = (scores - self.log_q).masked_fill(~self.is_candidate, -torch.inf)
        log_p = torch.log_softmax(logits, dim=1).masked_fill(~self.relevant, 0)
        counts = torch.exp(-self.log_q) * self.relevant  # how many items a candidate stands for
        return -((log_p * counts).sum(dim=1) / counts.sum(dim=1).clamp(min=1)).mean()
