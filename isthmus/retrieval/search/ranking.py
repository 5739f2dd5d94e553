"""Ranking: from a query to a list, with quotas, diversity, score corrections and a minimum score.

A list is composed place by place, so that a longer one begins with the shorter one.
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
from isthmus.retrieval.search.query import (
    NO_ROWS,
    Query,
    ScoredRows,
    carry_scores,
    filter_min_score,
    merge_lists,
    search_top_k,
)
from isthmus.retrieval.search.quotas import Turns, quota_turns
from isthmus.retrieval.search.request import ListOptions, RankingOptions
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
        The quota whose places their items take, see `isthmus.retrieval.search.quotas.Turns`.
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
    before: ScoredRows = NO_ROWS,
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
    before : rows, scores
        The first places of the list, where they are chosen.

    Returns
    -------
    rows, scores : numpy.ndarray
        int64 and float32, shape (at most n,). The scores are those of
        `isthmus.retrieval.search.query.search_top_k`, less the penalty, standardized or centered;
        with diversity they need not fall.
    """
    if options.plain and n is not None:
        return search_top_k(view, [query], n, groups[0].selection, weights)[0]
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
    return compose(view, lists, options, groups, n, before, relative=options.normalize_scores)


def compose(
    view: View,
    lists: Sequence[ScoredRows],
    options: ListOptions,
    groups: Sequence[DomainGroup],
    n: int | None,
    before: ScoredRows = NO_ROWS,
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
        How many items; None for all.
    before : rows, scores
        The first places of the list, which stay.
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
    scale = float(np.abs(scores).max(initial=0)) if relative else 1.0
    said = carry_scores(before, rows, scores)
    left = (rank_within_quota(quota_ids) < options.depth(n)) & ~np.isin(rows, before[0])
    rows, said, quota_ids = rows[left], said[left], quota_ids[left]
    relevance = scores[left] / max(scale, 1e-6)
    turns = None
    if options.quotas:
        turns = Turns(quota_turns(options.quotas, options.k or n, n), len(options.quotas))
    if options.diversity:
        chosen = _diverse(view, rows, relevance, quota_ids, options, turns, before[0], n)
    elif turns is not None:
        chosen = turns.fill(quota_ids, len(before[0]))
    else:
        chosen = np.arange(len(rows))
    places = chosen[: max(0, n - len(before[0]))]
    return np.concatenate([before[0], rows[places]]), np.concatenate([before[1], said[places]])


def _diverse(
    view: View,
    rows: Positions,
    relevance: FloatArray,
    quota_ids: Positions,
    options: ListOptions,
    turns: Turns | None,
    before: Positions,
    n: int,
) -> Positions:
    """Return positions of rows, each relevant and unlike those before it."""
    former = np.arange(len(before))
    chosen = maximal_marginal_relevance(
        np.concatenate([np.zeros(len(before), np.float32), relevance]),
        PairwiseSimilarity.among(view, np.concatenate([before, rows])),
        n - len(before),
        options.diversity,
        np.concatenate([np.zeros(len(before), np.int64), quota_ids]),
        turns,
        former,
    )
    return chosen - len(before)


def _concatenate(
    view: View, lists: Sequence[ScoredRows], groups: Sequence[DomainGroup]
) -> tuple[Positions, FloatArray, Positions]:
    """Return rows, scores and quota ids of all lists, best first."""
    rows, scores, list_ids = merge_lists(view, lists)
    return rows, scores, np.array([group.quota for group in groups], np.int64)[list_ids]


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
