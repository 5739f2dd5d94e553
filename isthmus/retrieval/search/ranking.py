"""Ranking: from a query to the list that is shown, with all that a caller may ask of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from isthmus.errors import InvalidInput
from isthmus.index.ann.exact import Positions
from isthmus.index.releases.selection import Selection
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray
from isthmus.retrieval.search.diversity import Likeness, choose_diverse
from isthmus.retrieval.search.hubness import best_of, range_of
from isthmus.retrieval.search.query import Query, Ranked
from isthmus.retrieval.search.quotas import fill, places_within
from isthmus.retrieval.search.request import ListOptions, RankingOptions
from isthmus.retrieval.search.score_normalisation import Chance, measure_chance
from isthmus.retrieval.search.score_range import at_least


@dataclass(frozen=True, eq=False)
class Group:
    """Domains that are searched together.

    Attributes
    ----------
    domains : list of str
        Which.
    allowed : Selection or None
        The rows of the domains that the filter lets through.
    party : int
        Whose places in the list their items take, as `ListOptions.places` counts them.
    """

    domains: list[str]
    allowed: Selection | None
    party: int = 0


def group_domains(view: View, options: ListOptions) -> list[Group]:
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
    whole = Group(searched, view.select(domains, where))
    if not options.quotas and not options.by_domain:
        return [whole]
    named = list(options.quotas or {})
    _require_searched(view, named, searched)
    others = [domain for domain in searched if domain not in named]
    together = [[domain] for domain in others] if options.by_domain else [others] if others else []
    parted = [*([name] for name in named), *together]
    return [
        Group(part, view.select(part, where), min(i, len(named))) for i, part in enumerate(parted)
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
    groups: Sequence[Group],
    weights: Mapping[str, float],
    penalty: FloatArray | None = None,
) -> Ranked:
    """Rank items for a query.

    Parameters
    ----------
    view : View
        What is searched.
    query : Query
        What is looked for.
    options : RankingOptions
        What is asked of the list.
    groups : sequence of Group
        As `group_domains` gives them.
    weights : mapping of str to float
        Weight of each block.
    penalty : numpy.ndarray, optional
        float32, shape (n_rows,): what is taken off the score of each row, see
        `isthmus.retrieval.search.hubness`.

    Returns
    -------
    rows, scores : numpy.ndarray
        int64 and float32, shape (n,), n at most k. The scores are those of
        `search.query.answer`, less the penalty, calibrated or centred; with diversity
        they need not fall.
    """
    chances: dict[str, Chance] = {}
    if options.by_domain:
        names = [name for group in groups for name in group.domains]
        chances = measure_chance(view, query, names, weights)
    if options.center_scores:
        chances = {name: replace(chance, std=1.0) for name, chance in chances.items()}
    lists = [_find(view, query, options, group, chances, weights, penalty) for group in groups]
    return compose(view, lists, options, groups, relative=options.normalize_scores)


def compose(
    view: View,
    lists: Sequence[Ranked],
    options: ListOptions,
    groups: Sequence[Group],
    *,
    relative: bool,
) -> Ranked:
    """Make one list of the lists of groups, as it was asked for.

    Parameters
    ----------
    view : View
        What is searched.
    lists : sequence of (rows, scores)
        For each group, best first; its scores compare with those of the others.
    options : ListOptions
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
    if options.plain:
        return lists[0]
    rows, scores, parties = _joined(lists, groups)
    if options.k is None:
        return rows, scores
    near = places_within(parties) < (options.depth or options.k)
    rows, scores, parties = rows[near], scores[near], parties[near]
    places = fill(options.places, parties, options.k)
    if not options.diversity:
        kept = places_within(parties) < places[parties]
        return rows[kept], scores[kept]
    best = float(np.abs(scores).max(initial=0)) if relative else 1.0
    relevance, likeness = scores / max(best, 1e-6), Likeness.among(view, rows)
    chosen = choose_diverse(relevance, likeness, options.k, options.diversity, parties, places)
    return rows[chosen], scores[chosen]


def _joined(
    lists: Sequence[Ranked], groups: Sequence[Group]
) -> tuple[Positions, FloatArray, Positions]:
    """Join the lists of groups, best first: rows, scores and parties."""
    none = np.empty(0, np.int64)
    rows = np.concatenate([none, *(rows for rows, _ in lists)])
    scores = np.concatenate([np.empty(0, np.float32), *(scores for _, scores in lists)])
    parties = [np.full(len(r), g.party) for (r, _), g in zip(lists, groups, strict=True)]
    order = np.argsort(-scores, kind="stable")
    return rows[order], scores[order], np.concatenate([none, *parties])[order]


def _find(
    view: View,
    query: Query,
    options: RankingOptions,
    group: Group,
    chances: Mapping[str, Chance],
    weights: Mapping[str, float],
    penalty: FloatArray | None,
) -> Ranked:
    """Find the candidates of a group, with the scores that are shown."""
    least, allowed = options.min_score, group.allowed
    chance = chances[group.domains[0]] if chances else None
    if options.depth is not None:
        rows, scores = best_of(view, query, options.depth, allowed, weights, penalty)
    elif least is not None:
        # Rounding must not cut what calibrates to just the least score.
        raw = least if chance is None else chance.raw(least) - 1e-5
        rows, scores = range_of(view, query, raw, allowed, weights, penalty)
    if chance is not None:
        scores = chance.calibrate(scores)
    return (rows, scores) if least is None else at_least((rows, scores), least)
