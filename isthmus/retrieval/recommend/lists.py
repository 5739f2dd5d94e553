"""Lists of several domains: which domain, and then which item of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from isthmus.index.ann.exact import Positions
from isthmus.index.releases.selection import Selection
from isthmus.numerics.arrays import FloatArray
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.recommend.content_based import recommend
from isthmus.retrieval.recommend.recommender import depth_of
from isthmus.retrieval.recommend.serving import Serving
from isthmus.retrieval.recommend.users import User
from isthmus.retrieval.search.query import Ranked
from isthmus.retrieval.search.ranking import Group

PRIOR = 5.0

Texts = Sequence[Mapping[str, FloatArray] | None]


def recommend_learned(
    serving: Serving,
    users: Sequence[User],
    texts: Texts,
    n: int,
    group: Group,
    weights: Mapping[str, float],
) -> list[Ranked]:
    """Rank the items of a group of domains for users.

    An item's score is the share of the user's next choices that it is expected to have: the
    domain's share, from the history's domains shrunk to those of everybody, times the softmax of
    the head's scores over the domain's candidates. Domains without a head are ranked by content
    (see `recommend`), with shares that fall with the rank.

    Parameters
    ----------
    serving : Serving
        What answers.
    users : sequence of User
        Whom to recommend to.
    texts : sequence of mapping or None
        The vectors of what each says.
    n : int
        Items a user.
    group : Group
        The domains, and the rows that may be recommended.
    weights : mapping of str to float
        Weight of each block.
    """
    if not group.domains:  # of a space that was emptied
        return [(np.empty(0, np.int64), np.empty(0, np.float32)) for _ in users]
    histories = serving.histories(users, texts)
    learned = [domain for domain in group.domains if domain in serving.recommender.heads]
    others = [domain for domain in group.domains if domain not in serving.recommender.heads]
    domains = learned + others
    shares = domain_shares(serving, histories, domains)
    lists: list[list[Ranked]] = []
    for domain in learned:
        allowed = serving.allowed(domain, within(serving, group, [domain]))
        answer = serving.answer(histories, domain, allowed, depth=depth_of(n))
        lists.append(
            [
                _shared(serving, *answer.best(user, n), answer.scores_of(user))
                for user in range(len(users))
            ]
        )
    if others:
        selection = within(serving, group, others)
        ranked = recommend(serving.view, users, texts, n, selection, weights)
        lists.append([(rows, scores / max(float(scores.sum()), 1e-12)) for rows, scores in ranked])
    own = shares[:, : len(learned)]
    rest = shares[:, len(learned) :].sum(axis=1, keepdims=True)
    weight = np.concatenate([own, rest], axis=1) if others else own
    return [_merge([found[user] for found in lists], weight[user], n) for user in range(len(users))]


def domain_shares(serving: Serving, histories: UserHistories, domains: Sequence[str]) -> FloatArray:
    """Give the share of each domain in a user's choices, shape (n_users, n_domains).

    The history's own domains, shrunk to the domains' shares of all interactions with a weight of
    five interactions.
    """
    corpus, facts = serving.corpus, serving.recommender.facts
    names = list(corpus.domain_names)
    codes = np.array([names.index(d) if d in names else -1 for d in domains], np.int64)
    liked = histories.weights > 0
    keys = histories.owners[liked] * len(names) + corpus.domains[histories.columns[liked]]
    counts = np.bincount(keys, minlength=len(histories) * len(names)).astype(np.float64)
    counts = counts.reshape(len(histories), len(names))
    prior = np.array([facts.uses[code] if code >= 0 else 0.0 for code in codes]) + 1.0
    own = np.where(codes >= 0, counts[:, np.maximum(codes, 0)], 0)
    shares = own + PRIOR * prior / prior.sum()
    return np.asarray(shares / shares.sum(axis=1, keepdims=True), np.float32)


def within(serving: Serving, group: Group, domains: list[str]) -> Selection | None:
    """Give the rows that a group lets through of some of its domains."""
    if group.allowed is None or set(group.domains) != set(domains):
        whole = serving.view.select(domains)
        if group.allowed is None or whole is None:
            return whole
        return serving.view.only(whole.rows & group.allowed.rows)
    return group.allowed


def _shared(
    serving: Serving,
    items: Positions,
    scores: FloatArray,
    among: FloatArray,
) -> Ranked:
    """Turn items and scores into rows and their shares among all candidates."""
    top = float(among.max(initial=-np.inf))
    total = float(np.exp(among - top).sum()) if len(among) else 1.0
    return serving.contents.rows[items], np.exp(scores - top) / np.float32(total)


def _merge(lists: Sequence[Ranked], weights: FloatArray, n: int) -> Ranked:
    rows = np.concatenate([rows for rows, _ in lists])
    scores = np.concatenate([own * w for (_, own), w in zip(lists, weights, strict=True)])
    order = np.argsort(-scores, kind="stable")[:n]
    return rows[order], scores[order].astype(np.float32)
