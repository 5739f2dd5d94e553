"""Ranking: from a query to a list, with quotas, diversity, score corrections and a minimum score.

Quotas divide the k slots of a list among domains. Shares become slots by the method of the largest
remainder (Hamilton's, Hare quota).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

import numpy as np

from isthmus.errors import InvalidInput
from isthmus.index.releases.view import Selection, View
from isthmus.numerics.arrays import FloatArray, Positions
from isthmus.retrieval.search.diversity import PairwiseSimilarity, maximal_marginal_relevance
from isthmus.retrieval.search.hubness import corrected_range, corrected_top_k
from isthmus.retrieval.search.query import Query, ScoredRows, filter_min_score
from isthmus.retrieval.search.score_normalisation import ScoreDistribution, score_distributions

Quotas = Mapping[str, int | float]

OVERSAMPLING: Final = 5  # candidates of a diverse list a slot
MIN_CANDIDATES: Final = 100
ROUNDING: Final = 1e-9  # of shares of k
RANGE_MARGIN: Final = 1e-5  # rounding must not cut what standardizes to just the minimum score


@dataclass(frozen=True)
class RankingOptions:
    """What a list is to be like.

    Attributes
    ----------
    k : int or None
        How many items; None for all that score `min_score`.
    min_score : float, optional
        Minimum score of an item.
    diversity : float
        From 0, relevance alone, to 1, dissimilarity alone.
    num_candidates : int, optional
        How many of the most relevant items a diverse list is chosen from.
    quotas : mapping of str to int or float
        Slots, or share of the slots, of each domain.
    normalize_scores : bool
        Whether scores are standardized in each domain.
    hubness_correction : float
        How much of the hubness correction is applied, from 0 to 1.
    center_scores : bool
        Whether the mean score of the query in an item's domain is subtracted from its score.

    Raises
    ------
    InvalidInput
        If an option is out of range, or two exclude each other.
    """

    k: int | None = 10
    min_score: float | None = None
    diversity: float = 0.0
    num_candidates: int | None = None
    quotas: Quotas = field(default_factory=dict)
    normalize_scores: bool = False
    hubness_correction: float = 0.0
    center_scores: bool = False

    def __post_init__(self) -> None:
        if self.k is not None and self.k < 1:
            raise InvalidInput(f"k is {self.k}; ask for at least one item")
        if not 0 <= self.diversity <= 1:
            raise InvalidInput(
                f"diversity is {self.diversity}; give a number from 0 (relevance alone) to 1"
            )
        self._check_corrections()
        if self.min_score is not None and not np.isfinite(self.min_score):
            raise InvalidInput(f"min_score is {self.min_score}; give a finite number")
        if self.k is None:
            self._check_range()
        elif self.num_candidates is not None and self.num_candidates < self.k:
            raise InvalidInput(
                f"num_candidates is {self.num_candidates}, but k is {self.k}; a diverse list is "
                "chosen from at least as many as it holds"
            )
        _ = self.slots  # validates the quotas

    def _check_corrections(self) -> None:
        if not 0 <= self.hubness_correction <= 1:
            raise InvalidInput(
                f"hubness_correction is {self.hubness_correction}; give a number from 0 (off) to 1 "
                "(CSLS)"
            )
        if self.hubness_correction and self.normalize_scores:
            raise InvalidInput(
                "hubness_correction and normalize_scores both shift the scores; give one of them"
            )
        if self.center_scores and (self.hubness_correction or self.normalize_scores):
            raise InvalidInput(
                "center_scores, hubness_correction and normalize_scores all shift the scores; "
                "give one of them"
            )

    def _check_range(self) -> None:
        if self.min_score is None:
            raise InvalidInput("k is None; give a k, or a min_score to find all that reach it")
        if self.diversity or self.quotas:
            raise InvalidInput("diversity and quotas are ways to fill k places; give a k")

    @property
    def plain(self) -> bool:
        """Whether the list is the best k, with no other option."""
        corrected = self.by_domain or self.hubness_correction
        return not (self.min_score is not None or self.diversity or self.quotas or corrected)

    @property
    def by_domain(self) -> bool:
        """Whether scores are relative to those of the query in each domain."""
        return self.normalize_scores or self.center_scores

    @property
    def depth(self) -> int | None:
        """Candidates of each quota; None for all."""
        if self.k is None or not self.diversity:
            return self.k
        return self.num_candidates or max(OVERSAMPLING * self.k, MIN_CANDIDATES)

    @cached_property
    def slots(self) -> list[int]:
        """Slots of each domain of the quotas, and last those of the other domains."""
        return [] if self.k is None else allocate_slots(self.quotas, self.k)


@dataclass(frozen=True, eq=False)
class DomainGroup:
    """Domains that are searched together.

    Attributes
    ----------
    domains : list of str
        Which.
    selection : Selection or None
        The rows of the domains that the filter lets through.
    quota : int
        The index, in `RankingOptions.slots`, of the slots that their items take.
    """

    domains: list[str]
    selection: Selection | None
    quota: int = 0


def group_domains(
    view: View, options: RankingOptions, domains: list[str] | None, where: str | None
) -> list[DomainGroup]:
    """Divide the domains into groups that need a search of their own.

    With quotas, each domain they name is a group and the others together are one; with scores
    relative to the domain every domain is one; else all of them are one.

    Raises
    ------
    InvalidInput
        If a domain is unknown, or a quota is for a domain that the filter leaves out.
    InvalidFilter
        If `where` is refused.
    """
    searched = list(dict.fromkeys(domains or view.domains))
    whole = DomainGroup(searched, view.select(domains, where))
    if not options.quotas and not options.by_domain:
        return [whole]
    named = list(options.quotas)
    _require_searched(view, named, searched)
    others = [domain for domain in searched if domain not in named]
    if options.by_domain:
        groups = [[domain] for domain in [*named, *others]]
    else:
        groups = [*([domain] for domain in named), *([others] if others else [])]
    return [
        DomainGroup(group, view.select(group, where), min(at, len(named)))
        for at, group in enumerate(groups)
    ]


def _require_searched(view: View, named: list[str], searched: list[str]) -> None:
    if named:
        view.select(named)  # refuses unknown domains
    for name in named:
        if name not in searched:
            raise InvalidInput(f"there is a quota for domain {name!r}, which the filter leaves out")


def rank(
    view: View,
    query: Query,
    options: RankingOptions,
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
        The query.
    options : RankingOptions
        What the list is to be like.
    groups : sequence of DomainGroup
        As `group_domains` returns them.
    weights : mapping of str to float
        Weight of each named vector.
    penalty : numpy.ndarray, optional
        float32, shape (n_rows,): what is subtracted from the score of each row, see
        `isthmus.retrieval.search.hubness`.

    Returns
    -------
    rows, scores : numpy.ndarray
        int64 and float32, shape (n,), n at most k. The scores are those of
        `isthmus.retrieval.search.query.search_top_k`, less the penalty, standardized or centered;
        with diversity they need not fall.
    """
    distributions: dict[str, ScoreDistribution] = {}
    if options.by_domain:
        names = [name for group in groups for name in group.domains]
        distributions = score_distributions(view, query, names, weights)
    if options.center_scores:
        distributions = {name: replace(d, std=1.0) for name, d in distributions.items()}
    lists = [
        _search_group(view, query, options, group, distributions, weights, penalty)
        for group in groups
    ]
    return compose(view, lists, options, groups, relative=options.normalize_scores)


def compose(
    view: View,
    lists: Sequence[ScoredRows],
    options: RankingOptions,
    groups: Sequence[DomainGroup],
    *,
    relative: bool,
) -> ScoredRows:
    """Compose one list from the lists of groups.

    Parameters
    ----------
    view : View
        What is searched.
    lists : sequence of (rows, scores)
        For each group, best first; its scores compare with those of the others.
    options : RankingOptions
        What the list is to be like.
    groups : sequence of DomainGroup
        As `group_domains` returns them.
    relative : bool
        Whether the scores are no similarities of at most 1. Diversity then weighs them against
        similarities as shares of the best.

    Returns
    -------
    rows, scores : numpy.ndarray
        int64 and float32, shape (n,), n at most k.
    """
    if options.plain:
        return lists[0]
    rows, scores, quota_ids = _concatenate(lists, groups)
    if options.k is None:
        return rows, scores
    candidates = rank_within_quota(quota_ids) < (options.depth or options.k)
    rows, scores, quota_ids = rows[candidates], scores[candidates], quota_ids[candidates]
    slots = fill_slots(options.slots, quota_ids, options.k)
    if not options.diversity:
        chosen = rank_within_quota(quota_ids) < slots[quota_ids]
        return rows[chosen], scores[chosen]
    scale = float(np.abs(scores).max(initial=0)) if relative else 1.0
    places = maximal_marginal_relevance(
        scores / max(scale, 1e-6),
        PairwiseSimilarity.among(view, rows),
        options.k,
        options.diversity,
        quota_ids,
        slots,
    )
    return rows[places], scores[places]


def _concatenate(
    lists: Sequence[ScoredRows], groups: Sequence[DomainGroup]
) -> tuple[Positions, FloatArray, Positions]:
    """Return rows, scores and quota ids of all lists, best first."""
    none = np.empty(0, np.int64)
    rows = np.concatenate([none, *(rows for rows, _ in lists)])
    scores = np.concatenate([np.empty(0, np.float32), *(scores for _, scores in lists)])
    quota_ids = [np.full(len(r), g.quota) for (r, _), g in zip(lists, groups, strict=True)]
    order = np.argsort(-scores, kind="stable")
    return rows[order], scores[order], np.concatenate([none, *quota_ids])[order]


def _search_group(
    view: View,
    query: Query,
    options: RankingOptions,
    group: DomainGroup,
    distributions: Mapping[str, ScoreDistribution],
    weights: Mapping[str, float],
    penalty: FloatArray | None,
) -> ScoredRows:
    """Return the candidates of a group with their corrected scores."""
    min_score, selection = options.min_score, group.selection
    distribution = distributions[group.domains[0]] if distributions else None
    if options.depth is not None:
        rows, scores = corrected_top_k(view, query, options.depth, selection, weights, penalty)
    elif min_score is not None:
        raw = min_score
        if distribution is not None:
            raw = distribution.unstandardize(min_score) - RANGE_MARGIN
        rows, scores = corrected_range(view, query, raw, selection, weights, penalty)
    if distribution is not None:
        scores = distribution.standardize(scores)
    return (rows, scores) if min_score is None else filter_min_score((rows, scores), min_score)


def allocate_slots(quotas: Quotas, k: int) -> list[int]:
    """Return the slots of each domain, and last those that are left for all the others.

    A whole number is a number of slots, a fraction a share of k. Every share, and what is left
    for the others, gets its whole part; the slots that remain go to the largest remainders, of
    equals to the one named first.

    Parameters
    ----------
    quotas : mapping of str to int or float
        Quota of each domain.
    k : int
        Slots in all.

    Returns
    -------
    list of int
        Length len(quotas) + 1; they sum to k.

    Raises
    ------
    InvalidInput
        If a quota is out of range, or they ask for more slots than there are.

    Examples
    --------
    >>> allocate_slots({"films": 3, "books": 0.25, "songs": 0.25}, 10)
    [3, 3, 2, 2]
    """
    if not quotas:
        return [k]
    shares = [_slots_of(domain, quota, k) for domain, quota in quotas.items()]
    remaining = k - sum(shares)
    if remaining < -ROUNDING:
        raise InvalidInput(f"the quotas ask for {sum(shares):g} places, but k is {k}")
    exact = np.array([*shares, max(remaining, 0.0)])
    slots = np.floor(exact + ROUNDING)
    largest_remainders = np.argsort(-(exact - slots).round(9), kind="stable")
    slots[largest_remainders[: k - int(slots.sum())]] += 1
    return [int(n) for n in slots]


def fill_slots(slots: list[int], quota_ids: Positions, k: int) -> Positions:
    """Return how many items each quota gets, given the candidates.

    Slots that a quota cannot fill go to the best candidates of the other quotas with slots, and
    only when those have no more, to the best of the rest.

    Parameters
    ----------
    slots : list of int
        Slots of each quota; they sum to k.
    quota_ids : numpy.ndarray
        int64, shape (n_candidates,): quota of each candidate, best first.
    k : int
        Slots in all.

    Returns
    -------
    numpy.ndarray
        int64, shape (n_quotas,); they sum to k where there are k candidates.

    Examples
    --------
    >>> fill_slots([2, 2, 0], np.array([0, 2, 0, 0, 1]), 4).tolist()
    [3, 1, 0]
    """
    capacity = np.array(slots)
    filled = np.minimum(capacity, np.bincount(quota_ids, minlength=len(capacity)))
    ranks = rank_within_quota(quota_ids)
    for may_have_more in (capacity > 0, capacity == 0):
        waiting = quota_ids[(ranks >= filled[quota_ids]) & may_have_more[quota_ids]]
        filled = filled + np.bincount(waiting[: k - filled.sum()], minlength=len(capacity))
    return np.asarray(filled, np.int64)


def rank_within_quota(quota_ids: Positions) -> Positions:
    """Return the rank of each candidate among those of its quota, from 0, shape (n,).

    Examples
    --------
    >>> rank_within_quota(np.array([1, 0, 1, 1, 0])).tolist()
    [0, 0, 1, 2, 1]
    """
    ranks = np.zeros(len(quota_ids), np.int64)
    for quota in np.unique(quota_ids).tolist():
        in_quota = quota_ids == quota
        ranks[in_quota] = np.arange(in_quota.sum())
    return ranks


def _slots_of(domain: str, quota: int | float, k: int) -> float:
    if isinstance(quota, (int, np.integer)) and not isinstance(quota, bool) and quota >= 1:
        return float(quota)
    if isinstance(quota, (float, np.floating)) and 0 < quota <= 1:
        return float(quota) * k
    raise InvalidInput(
        f"the quota of domain {domain!r} is {quota!r}; give a whole number of places from 1, or "
        "a share of k over 0.0 and up to 1.0"
    )
