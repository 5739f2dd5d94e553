"""Ranking: from a query to a list, with quotas, diversity, score corrections and a minimum score.

A list is composed place by place, so that a longer one begins with the shorter one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

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
    scores_of,
    search_top_k,
)
from isthmus.retrieval.search.quotas import Turns, quota_turns
from isthmus.retrieval.search.request import ListOptions, RankingOptions
from isthmus.retrieval.search.rules import MAX_CANDIDATES, WIDENING, Rules
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
    rules: Rules | None = None,
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
    rules : Rules, optional
        The business rules of the list.

    Returns
    -------
    rows, scores : numpy.ndarray
        int64 and float32, shape (at most n,). The scores are those of
        `isthmus.retrieval.search.query.search_top_k`, less the penalty, standardized or centered;
        with diversity or rules they need not fall.
    """
    if options.plain and n is not None:
        return search_top_k(view, [query], n, groups[0].selection, weights)[0]
    distributions: dict[str, ScoreDistribution] = {}
    if options.by_domain:
        names = [name for group in groups for name in group.domains]
        distributions = score_distributions(view, query, names, weights)
    if options.center_scores:
        distributions = {name: replace(d, std=1.0) for name, d in distributions.items()}

    def search(depth: int | None) -> list[ScoredRows]:
        return [
            _search_group(view, query, options, group, distributions, weights, penalty, depth)
            for group in groups
        ]

    relative = options.normalize_scores
    if rules is not None:
        return compose_ruled(
            view, search, options, groups, n, before, rules=rules, relative=relative
        )
    depth = None if n is None else options.depth(n)
    return compose(view, search(depth), options, groups, n, before, relative=relative)


def compose_ruled(
    view: View,
    candidates: Callable[[int | None], Sequence[ScoredRows]],
    options: ListOptions,
    groups: Sequence[DomainGroup],
    n: int | None,
    before: ScoredRows = NO_ROWS,
    *,
    rules: Rules,
    relative: bool,
) -> ScoredRows:
    """Compose one list under business rules; more candidates are asked for until it is full.

    Parameters
    ----------
    view : View
        What is searched.
    candidates : callable
        Returns so many candidates of each group, best first; all of the range for None.
    options, groups, n, before, relative
        As for `compose`.
    rules : Rules
        The rules.

    Returns
    -------
    rows, scores : numpy.ndarray
        int64 and float32, shape (at most n,).
    """
    if n is None:
        lists = candidates(None)
        return _ruled(
            view, lists, [True] * len(lists), options, groups, n, before, rules, relative
        )[0]
    n_needed = options.depth(n)
    limit = max(MAX_CANDIDATES, n_needed)
    depth = min(rules.first_depth(n_needed), limit)
    while True:
        lists = candidates(depth)
        complete = [len(rows) < depth or depth == limit for rows, _ in lists]
        composed, is_full = _ruled(
            view, lists, complete, options, groups, n, before, rules, relative
        )
        if is_full or all(complete):
            return composed
        depth = min(WIDENING * depth, limit)


def _ruled(
    view: View,
    lists: Sequence[ScoredRows],
    complete: Sequence[bool],
    options: ListOptions,
    groups: Sequence[DomainGroup],
    n: int | None,
    before: ScoredRows,
    rules: Rules,
    relative: bool,
) -> tuple[ScoredRows, bool]:
    """Return the list of some candidates, and whether more candidates could not change it."""
    before = before if len(before[0]) else rules.pins(lists)
    floor = rules.floor(lists)
    moved = [
        rules.candidates(*one, floor, complete=done)
        for one, done in zip(lists, complete, strict=True)
    ]
    rows, relevance, quota_ids = _concatenate(view, moved, groups)
    said = carry_scores(before, rows, scores_of(lists, rows))
    left = ~np.isin(rows, before[0])
    left[left] = rules.within_caps(rows[left], before[0])
    rows, relevance, said, quota_ids = rows[left], relevance[left], said[left], quota_ids[left]
    if n is None:
        return (np.concatenate([before[0], rows]), np.concatenate([before[1], said])), True
    n_needed = options.depth(n) - len(before[0])
    counts = np.bincount(quota_ids, minlength=len(options.quotas or {}) + 1)
    is_full = all(
        done or counts[group.quota] >= n_needed
        for done, group in zip(complete, groups, strict=True)
    )
    first = rank_within_quota(quota_ids) < options.depth(n)
    candidates = Candidates(rows[first], relevance[first], said[first], quota_ids[first])
    scale = float(np.abs(relevance).max(initial=0)) if relative else 1.0
    return _fill(view, candidates, options, n, before, scale), is_full


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
    candidates = Candidates(rows[left], scores[left], said[left], quota_ids[left])
    return _fill(view, candidates, options, n, before, scale)


class Candidates(NamedTuple):
    """The candidates of a list, best first; all arrays have the shape (n,).

    Attributes
    ----------
    rows : numpy.ndarray
        int64.
    relevance, scores : numpy.ndarray
        float32: what they are chosen by, and what is said of them.
    quota_ids : numpy.ndarray
        int64: the quota of each.
    """

    rows: Positions
    relevance: FloatArray
    scores: FloatArray
    quota_ids: Positions


def _fill(
    view: View,
    candidates: Candidates,
    options: ListOptions,
    n: int,
    before: ScoredRows,
    scale: float,
) -> ScoredRows:
    """Return the first places of a list and what follows them: n, or fewer candidates."""
    rows, scores, quota_ids = candidates.rows, candidates.scores, candidates.quota_ids
    turns = None
    if options.quotas:
        turns = Turns(quota_turns(options.quotas, options.k or n, n), len(options.quotas))
    if options.diversity:
        relevance = candidates.relevance / max(scale, 1e-6)
        chosen = _diverse(view, rows, relevance, quota_ids, options, turns, before[0], n)
    elif turns is not None:
        chosen = turns.fill(quota_ids, len(before[0]))
    else:
        chosen = np.arange(len(rows))
    places = chosen[: max(0, n - len(before[0]))]
    return np.concatenate([before[0], rows[places]]), np.concatenate([before[1], scores[places]])


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
    depth: int | None,
) -> ScoredRows:
    """Return so many candidates of a group with their corrected scores."""
    min_score, selection = options.min_score, group.selection
    distribution = distributions[group.domains[0]] if distributions else None
    if depth is not None:
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
