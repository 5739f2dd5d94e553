"""Ranking: from a query to the list that is shown, with all that a caller may ask of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from isthmus.errors import InvalidInput
from isthmus.index.releases.view import Selection, View
from isthmus.numerics.arrays import FloatArray, Positions
from isthmus.retrieval.search.diversity import PairwiseSimilarity, maximal_marginal_relevance
from isthmus.retrieval.search.hubness import corrected_range, corrected_top_k
from isthmus.retrieval.search.query import Query, ScoredRows, filter_min_score
from isthmus.retrieval.search.request import ListOptions, RankingOptions
from isthmus.retrieval.search.score_normalisation import ScoreDistribution, score_distributions


@dataclass(frozen=True, eq=False)
class DomainGroup:
    """Domains that are searched together.

    Attributes
    ----------
    domains : list of str
        Which.
    allowed : Selection or None
        The rows of the domains that the filter lets through.
    quota : int
        Whose places in the list their items take, as `ListOptions.places` counts them.
    """

    domains: list[str]
    allowed: Selection | None
    quota: int = 0


def group_domains(view: View, options: ListOptions) -> list[DomainGroup]:
    """Part the domains into groups that need a search of their own.

    With quotas, each domain they name is one and the others together are one; with calibration or
    centring every domain is one; else all of them are one.

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
    together = [[domain] for domain in others] if options.by_domain else [others] if others else []
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
        What is looked for.
    options : RankingOptions
        What is asked of the list.
    groups : sequence of DomainGroup
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
    if options.by_domain:
        names = [name for group in groups for name in group.domains]
        chances = score_distributions(view, query, names, weights)
    if options.center_scores:
        chances = {name: replace(chance, std=1.0) for name, chance in chances.items()}
    lists = [_find(view, query, options, group, chances, weights, penalty) for group in groups]
    return compose(view, lists, options, groups, relative=options.normalize_scores)


def compose(
    view: View,
    lists: Sequence[ScoredRows],
    options: ListOptions,
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
    options : ListOptions
        What is asked of the list.
    groups : sequence of DomainGroup
        As `group_domains` gives them.
    relative : bool
        Whether the scores are no similarities of at most 1. Diversity then weighs them against
        likeness as shares of the best.

    Returns
    -------
    rows, scores : numpy.ndarray
        int64 and float32, shape (n,), n at most k.
    """
    if options.plain:
        return lists[0]
    rows, scores, quota_ids = _joined(lists, groups)
    if options.k is None:
        return rows, scores
    near = rank_within_group(quota_ids) < (options.depth or options.k)
    rows, scores, quota_ids = rows[near], scores[near], quota_ids[near]
    places = fill_slots(options.places, quota_ids, options.k)
    if not options.diversity:
        kept = rank_within_group(quota_ids) < places[quota_ids]
        return rows[kept], scores[kept]
    best = float(np.abs(scores).max(initial=0)) if relative else 1.0
    relevance, likeness = scores / max(best, 1e-6), PairwiseSimilarity.among(view, rows)
    chosen = maximal_marginal_relevance(
        relevance, likeness, options.k, options.diversity, quota_ids, places
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
    options: RankingOptions,
    group: DomainGroup,
    chances: Mapping[str, ScoreDistribution],
    weights: Mapping[str, float],
    penalty: FloatArray | None,
) -> ScoredRows:
    """Find the candidates of a group, with the scores that are shown."""
    least, allowed = options.min_score, group.allowed
    chance = chances[group.domains[0]] if chances else None
    if options.depth is not None:
        rows, scores = corrected_top_k(view, query, options.depth, allowed, weights, penalty)
    elif least is not None:
        # Rounding must not cut what calibrates to just the least score.
        raw = least if chance is None else chance.raw(least) - 1e-5
        rows, scores = corrected_range(view, query, raw, allowed, weights, penalty)
    if chance is not None:
        scores = chance.calibrate(scores)
    return (rows, scores) if least is None else filter_min_score((rows, scores), least)


def fill_slots(places: list[int], quota_ids: Positions, k: int) -> Positions:
    """Say how many items each party gets, given the candidates there are.

    Places that a party cannot fill go to the best candidates of the other parties that have
    places, and only when those have no more, to the best of the rest.

    Parameters
    ----------
    places : list of int
        Places of each party; they sum to k.
    quota_ids : numpy.ndarray
        int64, shape (n,): quota of each candidate, best first.
    k : int
        Places in all.

    Returns
    -------
    numpy.ndarray
        int64, shape (n_parties,); they sum to k where there are k candidates.

    Examples
    --------
    >>> fill_slots([2, 2, 0], np.array([0, 2, 0, 0, 1]), 4).tolist()
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
    >>> rank_within_group(np.array([1, 0, 1, 1, 0])).tolist()
    [0, 0, 1, 2, 1]
    """
    out = np.zeros(len(quota_ids), np.int64)
    for quota in np.unique(quota_ids).tolist():
        own = quota_ids == quota
        out[own] = np.arange(own.sum())
    return out
