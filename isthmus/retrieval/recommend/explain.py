"""Explanations by deletion: the score that an item would have without a piece of evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np

from isthmus.numerics.arrays import Columns, FloatArray, Mask, Positions
from isthmus.retrieval.candidates.content import Content
from isthmus.retrieval.candidates.item_features import ItemFeatures
from isthmus.retrieval.candidates.pool import CandidatePool
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.recommend.recommender import DEPTH, RankedPool, Recommender, depth_of
from isthmus.retrieval.recommend.serving import Serving, select_within
from isthmus.retrieval.recommend.users import Interaction, User
from isthmus.retrieval.search.ranking import DomainGroup
from isthmus.retrieval.search.results import (
    ContentReason,
    Explanation,
    GeneratorReason,
    HistoryReason,
    Hit,
)
from isthmus.retrieval.search.titles import titles_of_items

MAX_DELETIONS = 30


def explain_hits(
    serving: Serving,
    user: User,
    text: Mapping[str, FloatArray] | None,
    rows: Positions,
    hits: Sequence[Hit],
    groups: Sequence[DomainGroup],
    n: int,
) -> list[Hit]:
    """Return hits with their explanations; those of domains without a ranker have none.

    Parameters
    ----------
    serving : Serving
        The recommender.
    user : User
        The user.
    text : mapping of str to numpy.ndarray, optional
        The vectors of the text of the user.
    rows : numpy.ndarray
        int64, shape (n_hits,): the rows of the hits.
    hits : sequence of Hit
        The hits.
    groups : sequence of DomainGroup
        The domains, and the rows that may be recommended.
    n : int
        Number of items that each group was asked for.
    """
    history = serving.histories([user], [text])
    out = list(hits)
    evidence = _Evidence.of(serving, user)
    for domain in dict.fromkeys(hit.domain for hit in hits):
        if domain not in serving.recommender.rankers:
            continue
        places = [place for place, hit in enumerate(hits) if hit.domain == domain]
        items = serving.features.columns[rows[places]]
        group = next(group for group in groups if domain in group.domains)
        allowed = serving.allowed(domain, select_within(serving, group, [domain]))
        explanations = explain(serving, history, domain, items, allowed, depth=depth_of(n))
        for place, explanation in zip(places, explanations, strict=True):
            out[place] = replace(hits[place], explanation=evidence.named(explanation))
    return out


@dataclass(frozen=True)
class _Evidence:
    """What a person knows of the items of a history: titles, and what was done with them."""

    titles: Mapping[str, str]
    interactions: Mapping[str, Interaction]

    @classmethod
    def of(cls, serving: Serving, user: User) -> _Evidence:
        interactions = {entry.item_id: entry for entry in user.history}
        return cls(titles_of_items(serving.view, list(interactions)), interactions)

    def named(self, explanation: Explanation) -> Explanation:
        return replace(explanation, history=tuple(map(self._named, explanation.history)))

    def _named(self, reason: HistoryReason) -> HistoryReason:
        done = self.interactions.get(reason.item_id)
        title = self.titles.get(reason.item_id)
        if done is None:  # it stands for the text of the user
            return replace(reason, title=title)
        happened = done.happened or (done.time if isinstance(done.time, datetime) else None)
        return replace(reason, title=title, event=done.event, happened=happened)


def explain(
    serving: Serving,
    history: UserHistories,
    domain: str,
    items: Columns,
    allowed: Mask,
    *,
    depth: int = DEPTH,
) -> list[Explanation]:
    """Explain the scores of items for one user.

    Each piece of evidence is deleted in turn, and the items are ranked again: an item of the
    history is deleted before candidates are generated, a generator or a named vector after
    that. The gain of the evidence is the fall of the score. The part of popularity is the score
    that the item has without any history, or, where it is no candidate then, the lowest of those
    that are.

    Parameters
    ----------
    serving : Serving
        The recommender.
    history : UserHistories
        History of one user.
    domain : str
        The domain of the items.
    items : numpy.ndarray
        int64, shape (n_items,): columns of the items, which must be candidates.
    allowed : numpy.ndarray
        bool, shape (n_items,): the items that may be recommended.
    depth : int
        Candidates of each generator.
    """
    history = serving.recommender.without_ignored(serving.data, history, domain)
    entries = _strongest_entries(history)
    variants = _without_each_entry(history, entries)
    ranked = serving.rank(variants, domain, allowed, depth=depth)
    # (1 + n_entries + 1, n_items): with the whole history, without each entry, without any
    scores = np.stack([_scores(ranked, user, items) for user in range(len(variants))])
    popularity = scores[-1]
    pool = _pool_of_user(ranked.pool, 0)
    without_generator = _without_each_generator(serving, history, domain, pool, items)
    without_vector = _without_each_vector(serving, history, domain, pool, items)
    return [
        Explanation(
            score=float(scores[0, at]),
            popularity=float(popularity[at]),
            personal=float(scores[0, at] - popularity[at]),
            history=_history_reasons(
                serving, history, entries, scores[0, at] - scores[1:-1, at], item
            ),
            generators=_generator_reasons(pool, item, scores[0, at] - without_generator[:, at]),
            contents=_content_reasons(
                serving.features.vector_names, scores[0, at] - without_vector[:, at]
            ),
        )
        for at, item in enumerate(items.tolist())
    ]


def _strongest_entries(history: UserHistories) -> Columns:
    """Return the positions of the entries with the largest weights, at most thirty."""
    order = np.argsort(-history.weights, kind="stable")[:MAX_DELETIONS]
    return np.sort(order[history.weights[order] > 0])


def _without_each_entry(history: UserHistories, entries: Columns) -> UserHistories:
    """Return the whole history, the history without each of some entries, and an empty one."""
    n = len(history.columns)
    copies = history.take_users(np.zeros(len(entries) + 2, np.int64))
    kept = np.ones(len(copies.columns), bool)
    kept[(np.arange(len(entries)) + 1) * n + entries] = False
    kept[(len(entries) + 1) * n :] = False
    return copies.filter(kept)


def _scores(ranked: RankedPool, user: int, items: Columns) -> FloatArray:
    """Return scores of items for a user; an item that is no candidate has the lowest score."""
    rows = ranked.rows_of(user)
    candidates, scores = ranked.pool.items[rows], ranked.scores[rows]
    if not len(candidates):
        return np.zeros(len(items), np.float32)
    at = np.minimum(np.searchsorted(candidates, items), len(candidates) - 1)
    return np.where(candidates[at] == items, scores[at], scores.min())


def _pool_of_user(pool: CandidatePool, user: int) -> CandidatePool:
    rows = slice(pool.starts[user], pool.starts[user + 1])
    starts = np.array([0, rows.stop - rows.start])
    return replace(
        pool,
        starts=starts,
        items=pool.items[rows],
        scores=pool.scores[:, rows],
        ranks=pool.ranks[:, rows],
    )


def _without_each_generator(
    serving: Serving, history: UserHistories, domain: str, pool: CandidatePool, items: Columns
) -> FloatArray:
    """Score items with each generator silenced in turn, shape (n_generators, n_items)."""
    out = np.zeros((len(pool.generators), len(items)), np.float32)
    for at in range(len(pool.generators)):
        scores, ranks = pool.scores.copy(), pool.ranks.copy()
        scores[at], ranks[at] = 0, 0
        silenced = replace(pool, scores=scores, ranks=ranks)
        out[at] = _rescored(serving.recommender, serving.data, history, domain, silenced, items)
    return out


def _without_each_vector(
    serving: Serving, history: UserHistories, domain: str, pool: CandidatePool, items: Columns
) -> FloatArray:
    """Score items with each named vector ignored in turn, shape (n_vectors, n_items)."""
    names = serving.features.vector_names
    out = np.zeros((len(names), len(items)), np.float32)
    for at, name in enumerate(names):
        part = serving.features.part_of(name)
        statistics = serving.recommender.statistics.without_components(part)
        recommender = replace(serving.recommender, statistics=statistics)
        blind = _with_blind_content(serving, history, domain, pool, part)
        out[at] = _rescored(recommender, serving.data, history, domain, blind, items)
    return out


@dataclass(frozen=True, eq=False)
class _WithoutPart:
    """Item features of which some components are 0."""

    features: ItemFeatures
    part: slice

    def take(self, columns: Columns) -> FloatArray:
        vectors = self.features.take(columns).copy()
        vectors[:, self.part] = 0
        return vectors


def _with_blind_content(
    serving: Serving, history: UserHistories, domain: str, pool: CandidatePool, part: slice
) -> CandidatePool:
    """Score and rank the candidates of one user by content without some components."""
    recommender = serving.recommender
    if Content.name not in pool.generators:
        return pool
    at, target = pool.generators.index(Content.name), recommender.domain_names.index(domain)
    scorer: Any = recommender.generators[Content.name].scorer(serving.data, history, target)
    blind = replace(scorer, features=_WithoutPart(serving.features, part))
    scores, ranks = pool.scores.copy(), pool.ranks.copy()
    scores[at] = blind.score_pairs(pool.owners, pool.items)
    places = np.empty(len(pool.items), np.int32)
    places[np.argsort(-scores[at], kind="stable")] = np.arange(1, len(pool.items) + 1)
    ranks[at] = np.where((ranks[at] > 0) & (scores[at] > 0), places, 0)
    return replace(pool, scores=scores, ranks=ranks)


def _rescored(
    recommender: Recommender,
    data: TrainingData,
    history: UserHistories,
    domain: str,
    pool: CandidatePool,
    items: Columns,
) -> FloatArray:
    ranker, target = recommender.rankers[domain], recommender.domain_names.index(domain)
    scores = ranker.score(data, history, pool, recommender.statistics, target)
    return _scores(RankedPool(pool, scores), 0, items)


def _history_reasons(
    serving: Serving, history: UserHistories, entries: Columns, gains: FloatArray, item: int
) -> tuple[HistoryReason, ...]:
    names = serving.data.item_ids[history.columns[entries]]
    similarities = serving.features.similarities(history.columns[entries], item)
    order = np.argsort(-gains, kind="stable")
    return tuple(HistoryReason(str(names[at]), float(gains[at]), similarities[at]) for at in order)


def _generator_reasons(
    pool: CandidatePool, item: int, gains: FloatArray
) -> tuple[GeneratorReason, ...]:
    at = int(np.searchsorted(pool.items, item))
    order = np.argsort(-gains, kind="stable")
    return tuple(
        GeneratorReason(pool.generators[s], int(pool.ranks[s, at]) or None, float(gains[s]))
        for s in order
    )


def _content_reasons(names: Sequence[str], gains: FloatArray) -> tuple[ContentReason, ...]:
    order = np.argsort(-gains, kind="stable")
    return tuple(ContentReason(names[at], float(gains[at])) for at in order)
