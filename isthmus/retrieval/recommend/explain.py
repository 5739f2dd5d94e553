"""Explanations by deletion: what the score would be without a piece of evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from isthmus.index.ann.exact import Positions
from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.retrieval.candidates.pool import Pool
from isthmus.retrieval.candidates.training_data import Corpus
from isthmus.retrieval.candidates.user_histories import Histories
from isthmus.retrieval.recommend.recommender import DEPTH, Answer, Recommender, depth_of
from isthmus.retrieval.recommend.serving import Serving, within
from isthmus.retrieval.recommend.users import User
from isthmus.retrieval.search.ranking import Group
from isthmus.retrieval.search.results import (
    ContentReason,
    Explanation,
    HistoryReason,
    Hit,
    SourceReason,
)

MOST_REMOVED = 30


def explain_hits(
    serving: Serving,
    user: User,
    text: Mapping[str, FloatArray] | None,
    rows: Positions,
    hits: Sequence[Hit],
    groups: Sequence[Group],
    n: int,
) -> list[Hit]:
    """Give hits with their explanations; those of domains without a head have none.

    Parameters
    ----------
    serving : Serving
        What answered.
    user : User
        To whom.
    text : mapping of str to numpy.ndarray, optional
        The vectors of what the user says.
    rows : numpy.ndarray
        int64, shape (n_hits,): the rows of the hits.
    hits : sequence of Hit
        What was answered.
    groups : sequence of Group
        The domains, and the rows that may be recommended.
    n : int
        Items that each group was asked for.
    """
    history = serving.histories([user], [text])
    out = list(hits)
    for domain in dict.fromkeys(hit.domain for hit in hits):
        if domain not in serving.recommender.heads:
            continue
        places = [place for place, hit in enumerate(hits) if hit.domain == domain]
        items = serving.contents.columns[rows[places]]
        group = next(group for group in groups if domain in group.domains)
        allowed = serving.allowed(domain, within(serving, group, [domain]))
        reasons = explain(serving, history, domain, items, allowed, depth=depth_of(n))
        for place, reason in zip(places, reasons, strict=True):
            out[place] = replace(hits[place], explanation=reason)
    return out


def explain(
    serving: Serving,
    history: Histories,
    domain: str,
    items: Columns,
    allowed: Mask,
    *,
    depth: int = DEPTH,
) -> list[Explanation]:
    """Explain the scores of items for one user.

    Each piece of evidence is taken away and the whole is ranked again: an item of the history
    before candidates are looked for, a source or a block of contents after that. The fall of the
    score is the gain.

    Parameters
    ----------
    serving : Serving
        What answers.
    history : Histories
        Of one user.
    domain : str
        The domain of the items.
    items : numpy.ndarray
        int64, shape (n_items,): columns of the items, which are among the candidates.
    allowed : numpy.ndarray
        bool, shape (n_items,): what may be recommended.
    depth : int
        Candidates of each source.
    """
    history = serving.recommender.shown(serving.corpus, history, domain)
    entries = _strongest(history)
    variants = _without_each(history, entries)
    answer = serving.answer(variants, domain, allowed, depth=depth)
    scores = np.stack([_scores(answer, user, items) for user in range(len(variants))])
    own = _pool_of(answer.pool, 0)
    silent = _without_each_source(serving, history, domain, own, items)
    blind = _without_each_block(serving, history, domain, own, items)
    head = serving.recommender.heads[domain]
    popular = head.popularity_part(serving.recommender.facts.popularity(items))
    return [
        Explanation(
            score=float(scores[0, at]),
            popularity=float(popular[at]),
            personal=float(scores[0, at] - popular[at]),
            history=_history(serving, history, entries, scores[0, at] - scores[1:, at], item),
            sources=_sources(own, item, scores[0, at] - silent[:, at]),
            contents=_contents(serving.contents.blocks, scores[0, at] - blind[:, at]),
        )
        for at, item in enumerate(items.tolist())
    ]


def _strongest(history: Histories) -> Columns:
    """Give the places of the entries that weigh most, thirty at most."""
    order = np.argsort(-history.weights, kind="stable")[:MOST_REMOVED]
    return np.sort(order[history.weights[order] > 0])


def _without_each(history: Histories, entries: Columns) -> Histories:
    """Give the history whole, and without each of some entries."""
    n = len(history.columns)
    copies = history.of_users(np.zeros(len(entries) + 1, np.int64))
    kept = np.ones(len(copies.columns), bool)
    kept[(np.arange(len(entries)) + 1) * n + entries] = False
    return copies.keeping(kept)


def _scores(answer: Answer, user: int, items: Columns) -> FloatArray:
    """Give a user's scores of items; what is no candidate any more has the lowest there is."""
    pool = answer.pool
    own = slice(pool.starts[user], pool.starts[user + 1])
    found, scores = pool.items[own], answer.scores[own]
    if not len(found):
        return np.zeros(len(items), np.float32)
    at = np.minimum(np.searchsorted(found, items), len(found) - 1)
    return np.where(found[at] == items, scores[at], scores.min())


def _pool_of(pool: Pool, user: int) -> Pool:
    own = slice(pool.starts[user], pool.starts[user + 1])
    starts = np.array([0, own.stop - own.start])
    return Pool(pool.sources, starts, pool.items[own], pool.scores[:, own], pool.ranks[:, own])


def _without_each_source(
    serving: Serving, history: Histories, domain: str, pool: Pool, items: Columns
) -> FloatArray:
    """Score items with each source silent in turn, shape (n_sources, n_items)."""
    out = np.zeros((len(pool.sources), len(items)), np.float32)
    for source in range(len(pool.sources)):
        scores, ranks = pool.scores.copy(), pool.ranks.copy()
        scores[source], ranks[source] = 0, 0
        silent = replace(pool, scores=scores, ranks=ranks)
        out[source] = _rescored(serving.recommender, serving.corpus, history, domain, silent, items)
    return out


def _without_each_block(
    serving: Serving, history: Histories, domain: str, pool: Pool, items: Columns
) -> FloatArray:
    """Score items with each block of contents unseen in turn, shape (n_blocks, n_items)."""
    blocks = serving.contents.blocks
    corpus = replace(serving.corpus, mapped=None, coarse=None)  # to be mapped otherwise
    out = np.zeros((len(blocks), len(items)), np.float32)
    for at, block in enumerate(blocks):
        blind = serving.recommender.facts.without(serving.contents.part_of(block))
        recommender = replace(serving.recommender, facts=blind)
        out[at] = _rescored(recommender, corpus, history, domain, pool, items)
    return out


def _rescored(
    recommender: Recommender,
    corpus: Corpus,
    history: Histories,
    domain: str,
    pool: Pool,
    items: Columns,
) -> FloatArray:
    head, target = recommender.heads[domain], recommender.domain_names.index(domain)
    found = head.score(corpus, history, pool, recommender.facts, target)
    return _scores(Answer(pool, found), 0, items)


def _history(
    serving: Serving, history: Histories, entries: Columns, gains: FloatArray, item: int
) -> tuple[HistoryReason, ...]:
    names = serving.corpus.item_ids[history.columns[entries]]
    likeness = serving.contents.similarities(history.columns[entries], item)
    order = np.argsort(-gains, kind="stable")
    return tuple(HistoryReason(str(names[at]), float(gains[at]), likeness[at]) for at in order)


def _sources(pool: Pool, item: int, gains: FloatArray) -> tuple[SourceReason, ...]:
    at = int(np.searchsorted(pool.items, item))
    order = np.argsort(-gains, kind="stable")
    return tuple(
        SourceReason(pool.sources[s], int(pool.ranks[s, at]) or None, float(gains[s]))
        for s in order
    )


def _contents(blocks: Sequence[str], gains: FloatArray) -> tuple[ContentReason, ...]:
    order = np.argsort(-gains, kind="stable")
    return tuple(ContentReason(blocks[at], float(gains[at])) for at in order)
