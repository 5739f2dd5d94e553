"""Ranking: from a query to a list, with quotas, diversity, score corrections and a minimum score.

Quotas divide the k slots of a list among domains. Shares become slots by the method of the largest
remainder (Hamilton's, Hare quota).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from isthmus.errors import InvalidInput
from isthmus.index.releases.view import Selection, View
from isthmus.numerics.arrays import FloatArray, Positions
from isthmus.retrieval.search.diversity import PairwiseSimilarity, maximal_marginal_relevance
from isthmus.retrieval.search.hubness import corrected_range, corrected_top_k
from isthmus.retrieval.search.query import Query, ScoredRows, filter_min_score, order_of
from isthmus.retrieval.search.request import ListOptions, RankingOptions, allocate_slots
from isthmus.retrieval.search.score_normalisation import ScoreDistribution, score_distributions

RANGE_MARGIN: Final = 1e-5  # rounding must not cut what standardizes to just the minimum score


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
        The index, in `allocate_slots`, of the slots that their items take.
    """

    domains: list[str]
    selection: Selection | None
    quota: int = 0


def group_domains(view: View, options: ListOptions) -> list[DomainGroup]:
    """Divide the domains into groups that need a search of their own.

    With quotas, each domain they name is a group and the others together are one; with scores
    relative to the domain every domain is one; else all of them are one.

    Raises
    ------
    InvalidInput
        If a domain is unknown, or a quota is for a domain that the filter leaves out.
    InvalidFilter
        If the filter is refused.
    """
    domains, where = options.domains, options.where
    searched = list(dict.fromkeys(domains or view.domains))
    whole = DomainGroup(searched, view.select(domains, where))
    if not options.quotas and not options.by_domain:
        return [whole]
    named = list(options.quotas or {})
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
    n: int | None = None,
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
    n : int, optional
        How many items, see `isthmus.retrieval.search.paging`; by default all of the range.

    Returns
    -------
    rows, scores : numpy.ndarray
        int64 and float32, shape (at most n,). The scores are those of
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
        _search_group(view, query, options, group, distributions, weights, penalty, n)
        for group in groups
    ]
    return compose(view, lists, options, groups, n, relative=options.normalize_scores)


def compose(
    view: View,
    lists: Sequence[ScoredRows],
    options: ListOptions,
    groups: Sequence[DomainGroup],
    n: int | None,
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
    options : ListOptions
        What the list is to be like.
    groups : sequence of DomainGroup
        As `group_domains` returns them.
    n : int or None
        How many items; None for all. Quotas divide each k of them.
    relative : bool
        Whether the scores are no similarities of at most 1. Diversity then weighs them against
        similarities as shares of the best.

    Returns
    -------
    rows, scores : numpy.ndarray
        int64 and float32, shape (at most n,).
    """
    if options.plain:
        return lists[0]
    rows, scores, quota_ids = _concatenate(view, lists, groups)
    if n is None:
        return rows, scores
    candidates = rank_within_quota(quota_ids) < options.depth(n)
    rows, scores, quota_ids = rows[candidates], scores[candidates], quota_ids[candidates]
    scale = float(np.abs(scores).max(initial=0)) if relative else 1.0
    relevance, similarity = scores / max(scale, 1e-6), PairwiseSimilarity.among(view, rows)
    places = np.empty(0, np.int64)
    page = (options.k or n) if options.quotas else n
    slots = allocate_slots(options.quotas or {}, page)
    while len(places) < min(n, len(rows)):
        left = np.setdiff1d(np.arange(len(rows)), places)
        filled = fill_slots(slots, quota_ids[left], page)
        if options.diversity:
            chosen = maximal_marginal_relevance(
                relevance, similarity, page, options.diversity, quota_ids, filled, places
            )
        else:
            chosen = left[rank_within_quota(quota_ids[left]) < filled[quota_ids[left]]]
        places = np.concatenate([places, chosen])
    return rows[places[:n]], scores[places[:n]]


def _concatenate(
    view: View, lists: Sequence[ScoredRows], groups: Sequence[DomainGroup]
) -> tuple[Positions, FloatArray, Positions]:
    """Return rows, scores and quota ids of all lists, best first."""
    none = np.empty(0, np.int64)
    rows = np.concatenate([none, *(rows for rows, _ in lists)])
    scores = np.concatenate([np.empty(0, np.float32), *(scores for _, scores in lists)])
    quota_ids = [np.full(len(r), g.quota) for (r, _), g in zip(lists, groups, strict=True)]
    order = order_of(view, rows, scores)
    return rows[order], scores[order], np.concatenate([none, *quota_ids])[order]


def _search_group(
    view: View,
    query: Query,
    options: RankingOptions,
    group: DomainGroup,
    distributions: Mapping[str, ScoreDistribution],
    weights: Mapping[str, float],
    penalty: FloatArray | None,
    n: int | None,
) -> ScoredRows:
    """Return the candidates of a group with their corrected scores."""
    min_score, selection = options.min_score, group.selection
    distribution = distributions[group.domains[0]] if distributions else None
    if n is not None:
        depth = options.depth(n)
        rows, scores = corrected_top_k(view, query, depth, selection, weights, penalty)
    elif min_score is not None:
        raw = min_score
        if distribution is not None:
            raw = distribution.unstandardize(min_score) - RANGE_MARGIN
        rows, scores = corrected_range(view, query, raw, selection, weights, penalty)
    if distribution is not None:
        scores = distribution.standardize(scores)
    return (rows, scores) if min_score is None else filter_min_score((rows, scores), min_score)


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
