"""Ranking: from a query to the list that is shown, with all that a caller may ask of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from isthmus.errors import InvalidInput
from isthmus.index.ann.exact import Positions
from isthmus.index.releases.selection import Selection
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray
from isthmus.retrieval.search.diversity import PairwiseSimilarity, maximal_marginal_relevance
from isthmus.retrieval.search.hubness import corrected_range, corrected_top_k
from isthmus.retrieval.search.query import Query, ScoredRows, filter_min_score
from isthmus.retrieval.search.score_normalisation import ScoreDistribution, score_distributions

Quotas = Mapping[str, int | float]
TINY = 1e-9

CANDIDATES_A_PLACE = 5
FEWEST_CANDIDATES = 100


@dataclass(frozen=True)
class RankingOptions:
    """What a caller asks of a list.

    Attributes
    ----------
    k : int or None
        How many items; None for all that score `min_score`.
    min_score : float, optional
        Least score of an item.
    diversity : float
        From 0, relevance alone, to 1, unlikeness alone.
    candidates : int, optional
        How many of the most relevant items a diverse list is chosen from.
    quotas : mapping of str to int or float
        Places, or share of the places, of each domain.
    calibrate : bool
        Whether scores are made comparable across domains.
    hubness : float
        How much of the hubness correction is applied, from 0 to 1.
    center : bool
        Whether what the query scores on average in an item's domain is taken off its score.

    Raises
    ------
    InvalidInput
        If one of them is no good, or two do not go together.
    """

    k: int | None = 10
    min_score: float | None = None
    diversity: float = 0.0
    candidates: int | None = None
    quotas: Quotas = field(default_factory=dict)
    calibrate: bool = False
    hubness: float = 0.0
    center: bool = False

    def __post_init__(self) -> None:
        if self.k is not None and self.k < 1:
            raise InvalidInput(f"k is {self.k}; ask for at least one item")
        if not 0 <= self.diversity <= 1:
            raise InvalidInput(
                f"diversity is {self.diversity}; give a number from 0 (relevance alone) to 1"
            )
        if not 0 <= self.hubness <= 1:
            raise InvalidInput(f"hubness is {self.hubness}; give a number from 0 (off) to 1 (CSLS)")
        if self.hubness and self.calibrate:
            raise InvalidInput("hubness and calibrate both shift the scores; give one of them")
        if self.center and (self.hubness or self.calibrate):
            raise InvalidInput(
                "center, hubness and calibrate all shift the scores; give one of them"
            )
        if self.min_score is not None and not np.isfinite(self.min_score):
            raise InvalidInput(f"min_score is {self.min_score}; give a finite number")
        if self.k is None:
            self._check_unlimited()
        elif self.candidates is not None and self.candidates < self.k:
            raise InvalidInput(
                f"candidates is {self.candidates}, but k is {self.k}; a diverse list is chosen "
                "from at least as many as it holds"
            )
        _ = self.places

    def _check_unlimited(self) -> None:
        if self.min_score is None:
            raise InvalidInput("k is None; give a k, or a min_score to find all that reach it")
        if self.diversity or self.quotas:
            raise InvalidInput("diversity and quotas are ways to fill k places; give a k")

    @property
    def plain(self) -> bool:
        """Whether nothing is asked for but the best k."""
        shifted = self.by_domain or self.hubness
        return not (self.min_score is not None or self.diversity or self.quotas or shifted)

    @property
    def by_domain(self) -> bool:
        """Whether scores are made relative to what the query scores in each domain."""
        return self.calibrate or self.center

    @property
    def depth(self) -> int | None:
        """How many candidates each party needs; None for all."""
        if self.k is None or not self.diversity:
            return self.k
        return self.candidates or max(CANDIDATES_A_PLACE * self.k, FEWEST_CANDIDATES)

    @cached_property
    def places(self) -> list[int]:
        """Places of each domain of the quotas, and last those for the other domains."""
        return [] if self.k is None else allocate_slots(self.quotas, self.k)


@dataclass(frozen=True, eq=False)
class DomainGroup:
    """Domains that are searched together.

    Attributes
    ----------
    domains : list of str
        Which.
    allowed : Selection or None
        The rows of the domains that the filter lets through.
    party : int
        Whose places in the list their items take, as `RankingOptions.places` counts them.
    """

    domains: list[str]
    allowed: Selection | None
    quota: int = 0


def group_domains(
    view: View, ranking: RankingOptions, domains: list[str] | None, where: str | None
) -> list[DomainGroup]:
    """Part the domains into groups that need a search of their own.

    With quotas, each domain they name is one and the others together are one; with calibration or
    centring every domain is one; else all of them are one.

    Raises
    ------
    InvalidInput
        If a domain is unknown, or a quota is for a domain that the filter leaves out.
    InvalidFilter
        If `where` is refused.
    """
    searched = list(dict.fromkeys(domains or view.domains))
    whole = DomainGroup(searched, view.select(domains, where))
    if not ranking.quotas and not ranking.by_domain:
        return [whole]
    named = list(ranking.quotas)
    _require_searched(view, named, searched)
    others = [domain for domain in searched if domain not in named]
    together = [[domain] for domain in others] if ranking.by_domain else [others] if others else []
    parted = [*([name] for name in named), *together]
    return [
        DomainGroup(part, view.select(part, where), min(i, len(named)))
        for i, part in enumerate(parted)
    ]


def _require_searched(view: View, named: list[str], searched: list[str]) -> None:
    if named:
        view.select(named)
    for name in named:
        if name not in searched:
            raise InvalidInput(f"there is a quota for domain {name!r}, which the filter leaves out")


def rank(
    view: View,
    query: Query,
    ranking: RankingOptions,
    groups: Sequence[DomainGroup],
    weights: Mapping[str, float],
    penalty: FloatArray | None = None,
) -> ScoredRows:
    """Rank items for a query.

    Parameters
    ----------
    view : View
        What is searched.
    query : Query
        What is looked for.
    ranking : Ranking
        What is asked of the list.
    groups : sequence of Group
        As `group_domains` gives them.
    weights : mapping of str to float
        Weight of each named vector.
    penalty : numpy.ndarray, optional
        float32, shape (n_rows,): what is taken off the score of each row, see
        `isthmus.retrieval.search.hubness`.

    Returns
    -------
    rows, scores : numpy.ndarray
        int64 and float32, shape (n,), n at most k. The scores are those of
        `search.query.search_top_k`, less the penalty, calibrated or centred; with diversity
        they need not fall.
    """
    chances: dict[str, ScoreDistribution] = {}
    if ranking.by_domain:
        names = [name for group in groups for name in group.domains]
        chances = score_distributions(view, query, names, weights)
    if ranking.center:
        chances = {name: replace(chance, std=1.0) for name, chance in chances.items()}
    lists = [_find(view, query, ranking, group, chances, weights, penalty) for group in groups]
    return compose(view, lists, ranking, groups, relative=ranking.calibrate)


def compose(
    view: View,
    lists: Sequence[ScoredRows],
    ranking: RankingOptions,
    groups: Sequence[DomainGroup],
    *,
    relative: bool,
) -> ScoredRows:
    """Make one list of the lists of groups, as it was asked for.

    Parameters
    ----------
    view : View
        What is searched.
    lists : sequence of (rows, scores)
        For each group, best first; its scores compare with those of the others.
    ranking : Ranking
        What is asked of the list.
    groups : sequence of Group
        As `group_domains` gives them.
    relative : bool
        Whether the scores are no similarities of at most 1. Diversity then weighs them against
        likeness as shares of the best.

    Returns
    -------
    rows, scores : numpy.ndarray
        int64 and float32, shape (n,), n at most k.
    """
    if ranking.plain:
        return lists[0]
    rows, scores, quota_ids = _joined(lists, groups)
    if ranking.k is None:
        return rows, scores
    near = rank_within_group(quota_ids) < (ranking.depth or ranking.k)
    rows, scores, quota_ids = rows[near], scores[near], quota_ids[near]
    places = fill_slots(ranking.places, quota_ids, ranking.k)
    if not ranking.diversity:
        kept = rank_within_group(quota_ids) < places[quota_ids]
        return rows[kept], scores[kept]
    best = float(np.abs(scores).max(initial=0)) if relative else 1.0
    relevance, likeness = scores / max(best, 1e-6), PairwiseSimilarity.among(view, rows)
    chosen = maximal_marginal_relevance(
        relevance, likeness, ranking.k, ranking.diversity, quota_ids, places
    )
    return rows[chosen], scores[chosen]


def _joined(
    lists: Sequence[ScoredRows], groups: Sequence[DomainGroup]
) -> tuple[Positions, FloatArray, Positions]:
    """Join the lists of groups, best first: rows, scores and parties."""
    none = np.empty(0, np.int64)
    rows = np.concatenate([none, *(rows for rows, _ in lists)])
    scores = np.concatenate([np.empty(0, np.float32), *(scores for _, scores in lists)])
    quota_ids = [np.full(len(r), g.quota) for (r, _), g in zip(lists, groups, strict=True)]
    order = np.argsort(-scores, kind="stable")
    return rows[order], scores[order], np.concatenate([none, *quota_ids])[order]


def _find(
    view: View,
    query: Query,
    ranking: RankingOptions,
    group: DomainGroup,
    chances: Mapping[str, ScoreDistribution],
    weights: Mapping[str, float],
    penalty: FloatArray | None,
) -> ScoredRows:
    """Find the candidates of a group, with the scores that are shown."""
    least, allowed = ranking.min_score, group.allowed
    chance = chances[group.domains[0]] if chances else None
    if ranking.depth is not None:
        rows, scores = corrected_top_k(view, query, ranking.depth, allowed, weights, penalty)
    elif least is not None:
        # Rounding must not cut what calibrates to just the least score.
        raw = least if chance is None else chance.raw(least) - 1e-5
        rows, scores = corrected_range(view, query, raw, allowed, weights, penalty)
    if chance is not None:
        scores = chance.calibrate(scores)
    return (rows, scores) if least is None else filter_min_score((rows, scores), least)


def allocate_slots(quotas: Quotas, k: int) -> list[int]:
    """Give the places of each domain, and last those that are left for all the others.

    A whole number is a number of places, a fraction a share of k. Every share, and what is left
    for the others, gets its whole part; the places that remain go to the largest remainders, of
    equals to the one named first.

    Parameters
    ----------
    quotas : mapping of str to int or float
        Quota of each domain.
    k : int
        Places there are.

    Returns
    -------
    list of int
        Length len(quotas) + 1; they sum to k.

    Raises
    ------
    InvalidInput
        If a quota is no good, or they ask for more places than there are.

    Examples
    --------
    >>> allot({"films": 3, "books": 0.25, "songs": 0.25}, 10)
    [3, 3, 2, 2]
    """
    if not quotas:
        return [k]
    wanted = [_places(domain, quota, k) for domain, quota in quotas.items()]
    left = k - sum(wanted)
    if left < -TINY:
        raise InvalidInput(f"the quotas ask for {sum(wanted):g} places, but k is {k}")
    exact = np.array([*wanted, max(left, 0.0)])
    places = np.floor(exact + TINY)
    largest = np.argsort(-(exact - places).round(9), kind="stable")
    places[largest[: k - int(places.sum())]] += 1
    return [int(n) for n in places]


def fill_slots(places: list[int], quota_ids: Positions, k: int) -> Positions:
    """Say how many items each party gets, given the candidates there are.

    Places that a party cannot fill go to the best candidates of the other parties that have
    places, and only when those have no more, to the best of the rest.

    Parameters
    ----------
    places : list of int
        Places of each party; they sum to k.
    parties : numpy.ndarray
        int64, shape (n,): party of each candidate, best first.
    k : int
        Places in all.

    Returns
    -------
    numpy.ndarray
        int64, shape (n_parties,); they sum to k where there are k candidates.

    Examples
    --------
    >>> fill([2, 2, 0], np.array([0, 2, 0, 0, 1]), 4).tolist()
    [3, 1, 0]
    """
    own = np.array(places)
    got = np.minimum(own, np.bincount(quota_ids, minlength=len(own)))
    order = rank_within_group(quota_ids)
    for may_have_more in (own > 0, own == 0):
        waiting = quota_ids[(order >= got[quota_ids]) & may_have_more[quota_ids]]
        got = got + np.bincount(waiting[: k - got.sum()], minlength=len(own))
    return np.asarray(got, np.int64)


def rank_within_group(quota_ids: Positions) -> Positions:
    """Give the place of each candidate among those of its party, from 0, shape (n,).

    Examples
    --------
    >>> places_within(np.array([1, 0, 1, 1, 0])).tolist()
    [0, 0, 1, 2, 1]
    """
    out = np.zeros(len(quota_ids), np.int64)
    for quota in np.unique(quota_ids).tolist():
        own = quota_ids == quota
        out[own] = np.arange(own.sum())
    return out


def _places(domain: str, quota: int | float, k: int) -> float:
    if isinstance(quota, (int, np.integer)) and not isinstance(quota, bool) and quota >= 1:
        return float(quota)
    if isinstance(quota, (float, np.floating)) and 0 < quota <= 1:
        return float(quota) * k
    raise InvalidInput(
        f"the quota of domain {domain!r} is {quota!r}; give a whole number of places from 1, or "
        "a share of k over 0.0 and up to 1.0"
    )
