"""A recommender joined with the space of this moment: items that came and went since it learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.index.lru_cache import Recent
from isthmus.index.releases.view import Selection, View
from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.numerics.sparse import pad_columns, to_csr
from isthmus.retrieval.candidates.content_graph import content_graph
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.ranker.item_statistics import coarse
from isthmus.retrieval.ratings.model import RatingModel
from isthmus.retrieval.recommend.recommender import DEPTH, Answer, Recommender
from isthmus.retrieval.recommend.space_data import ViewContents, codes_of
from isthmus.retrieval.recommend.users import User

if TYPE_CHECKING:
    from scipy.sparse import csr_array
from isthmus.numerics.arrays import Positions
from isthmus.retrieval.recommend.content_based import recommend
from isthmus.retrieval.recommend.recommender import depth_of
from isthmus.retrieval.search.query import ScoredRows
from isthmus.retrieval.search.ranking import DomainGroup

PRIOR = 5.0
Texts = Sequence[Mapping[str, FloatArray] | None]

TOLD_BY_TEXT = 10
SHARPNESS = 10.0
MASKS = 8


@dataclass(frozen=True, eq=False)
class Serving:
    """A recommender that knows where its items are in a view, and what is new there.

    Attributes
    ----------
    recommender : Recommender
        What answers.
    corpus : Corpus
        The items that it learned from, then those that are new.
    contents : ViewContents
        The contents of these, out of the view.
    """

    recommender: Recommender
    corpus: TrainingData
    contents: ViewContents
    _allowed: Recent[Mask] = field(init=False, default_factory=lambda: Recent(MASKS), repr=False)

    @classmethod
    def of(
        cls,
        recommender: Recommender,
        view: View,
        weights: Mapping[str, float],
        before: Serving | None = None,
    ) -> Serving:
        """Join a recommender with a view.

        Parameters
        ----------
        recommender : Recommender
            What answers.
        view : View
            The items of this moment.
        weights : mapping of str to float
            Weight of each named vector.
        before : Serving, optional
            The same recommender with an earlier view of the same release: what did not change
            is taken from it.
        """
        known = _where_they_were(recommender, view)
        unknown = view.living.rows.copy()
        unknown[known[known >= 0]] = False
        new = np.flatnonzero(unknown)
        codes = codes_of(view.item_domains(new), recommender.domain_names)
        new, codes = new[codes >= 0], codes[codes >= 0]
        rows = np.concatenate([known, new])
        contents = ViewContents(view, rows, weights, recommender.vector_names)
        domains = np.concatenate([recommender.domains, codes])
        mapped = _mapped(recommender, contents, domains, before)
        corpus = TrainingData(
            item_ids=np.concatenate([recommender.item_ids, view.item_ids(new)]),
            domain_names=recommender.domain_names,
            domains=domains,
            features=contents,
            interactions=_nobody(len(domains)),
            projected_features=mapped,
            coarse_features=coarse(mapped),
            projection=recommender.facts.space,
            _content_graph=[_alike(recommender, contents, codes)],
        )
        return cls(recommender, corpus, contents)

    @property
    def view(self) -> View:
        """The view it is joined with."""
        return self.contents.view

    def allowed(self, domain: str, selection: Selection | None) -> Mask:
        """Tell which items of a domain may be recommended, shape (n_items,); not to be changed."""
        return self._allowed.get((domain, selection), lambda: self._allow(domain, selection))

    def _allow(self, domain: str, selection: Selection | None) -> Mask:
        rows = self.contents.rows
        mask = (rows >= 0) & self.corpus.in_domain(self.corpus.domain_code(domain))
        if selection is not None:
            mask &= selection.rows[np.maximum(rows, 0)]
        if selection is not None and selection.count == int(mask.sum()):
            self.contents.remember(mask, selection)
        mask.flags.writeable = False
        return mask

    def histories(
        self, users: Sequence[User], texts: Sequence[Mapping[str, FloatArray] | None]
    ) -> UserHistories:
        """Find the histories of users; what a user says stands for the items nearest to it."""
        columns = self.columns_of([entry.item_id for user in users for entry in user.history])
        ends = np.cumsum([len(user.history) for user in users])[:-1]
        told = [self._told(text) for text in texts]
        parts = [
            _entries(user, own, said)
            for user, own, said in zip(users, np.split(columns, ends), told, strict=True)
        ]
        found, strengths, ages, assumed = zip(*parts, strict=True)
        return UserHistories.from_lists(found, strengths, ages, assumed)

    def answer(
        self, histories: UserHistories, domain: str, allowed: Mask, *, depth: int = DEPTH
    ) -> Answer:
        """Find and rank candidates, see `Recommender.answer`."""
        return self.recommender.answer(self.corpus, histories, domain, allowed, depth=depth)

    @cached_property
    def rating(self) -> RatingModel | None:
        """The model of values, with the items that are new."""
        model = self.recommender.rating
        new = np.arange(len(self.recommender.item_ids), len(self.corpus))
        if model is None or not len(new):
            return model
        return model.extended(self.contents.take(new), self.corpus.domains[new])

    def columns_of(self, item_ids: Sequence[str]) -> Columns:
        """Give the column of each item, -1 for one that is not there."""
        rows = self.view.find(item_ids)
        columns = self.contents.columns  # of a space that was emptied there may be none
        return np.where(rows >= 0, columns[rows], -1) if len(columns) else rows

    def _told(self, text: Mapping[str, FloatArray] | None) -> tuple[Columns, FloatArray]:
        """Give the items that a text is nearest to, and how much each stands for it."""
        if not text:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        parts = [
            text.get(named_vector.name, np.zeros(named_vector.dim, np.float32))
            for named_vector in self.view.named_vectors
            if named_vector.name in self.recommender.vector_names
        ]
        there = self.contents.rows >= 0
        found, cosines = self.contents.nearest(np.concatenate(parts)[None], TOLD_BY_TEXT, there)
        good = found[0] >= 0
        sharp = np.exp(SHARPNESS * (cosines[0][good] - cosines[0].max(initial=-1)))
        return found[0][good], np.asarray(sharp, np.float32)


def _entries(
    user: User, columns: Columns, told: tuple[Columns, FloatArray]
) -> tuple[Columns, FloatArray, FloatArray, Mask]:
    """Give the items of a user, strengths, ages, and which were only told; none twice."""
    latest = {column: at for at, column in enumerate(columns.tolist()) if column >= 0}
    own, at = np.array(list(latest), np.int64), np.array(list(latest.values()), np.int64)
    strengths = np.array([max(entry.value, 0.0) for entry in user.history], np.float32)
    strengths = strengths[at] / max(float(strengths.max(initial=0)), 1e-12)
    ages = user.ages().astype(np.float32)[at]
    items, shares = told
    if not len(items):
        return own, strengths, ages, np.zeros(len(own), bool)
    fresh = ~np.isin(items, own)
    return (
        np.concatenate([own, items[fresh]]),
        np.concatenate([strengths, shares[fresh]]),
        np.concatenate([ages, np.zeros(int(fresh.sum()), np.float32)]),
        np.concatenate([np.zeros(len(own), bool), np.ones(int(fresh.sum()), bool)]),
    )


def _where_they_were(recommender: Recommender, view: View) -> Columns:
    """Give the row of each item, -1 for one that is gone or moved to another domain."""
    rows = view.find(recommender.item_ids.tolist())
    for code, name in enumerate(recommender.domain_names):
        own = np.flatnonzero((recommender.domains == code) & (rows >= 0))
        inside = view.select([name]) if len(own) and name in view.domains else None
        rows[own if inside is None else own[~inside.rows[rows[own]]]] = -1
    return rows


def _mapped(
    recommender: Recommender, contents: ViewContents, domains: Columns, before: Serving | None
) -> FloatArray:
    """Map the contents of all items, but for those that are where they were."""
    space, learned = recommender.facts.space, len(recommender.item_ids)
    out = np.zeros((len(domains), space.width), np.float32)
    changed = np.ones(len(domains), bool)
    if before is not None and before.corpus.projected_features is not None:
        first = before.contents.view.release_rows
        rows = contents.rows[:learned]
        changed[:learned] = (rows != before.contents.rows[:learned]) | (rows >= first)
        out[:learned] = before.corpus.projected_features[:learned]
    asked = np.flatnonzero(changed)
    out[asked] = space.transform(contents, domains, asked)
    return out


def _alike(recommender: Recommender, contents: ViewContents, new_codes: Columns) -> csr_array:
    """Give the graph of contents, with the neighbours of what is new."""
    from scipy.sparse import vstack

    learned = recommender.alike
    known, width = learned.shape[0], learned.shape[0] + len(new_codes)
    if not len(new_codes):
        return learned
    new = np.zeros(width, bool)
    new[known:] = True
    domains = np.concatenate([recommender.domains, new_codes])
    found = content_graph(contents, domains, new)
    return to_csr(vstack([pad_columns(learned, width), found[known:]], format="csr"))


def _nobody(items: int) -> InteractionMatrix:
    """Give a matrix of items without users."""
    nothing = np.empty(0, np.int64)
    return InteractionMatrix(
        users=np.empty(0, object),
        items=items,
        starts=np.zeros(1, np.int64),
        columns=nothing,
        strengths=np.empty(0, np.float32),
        moments=np.empty(0, np.float64),
        likes=np.empty(0, bool),
    )


def recommend_learned(
    serving: Serving,
    users: Sequence[User],
    texts: Texts,
    n: int,
    group: DomainGroup,
    weights: Mapping[str, float],
) -> list[ScoredRows]:
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
        Weight of each named vector.
    """
    if not group.domains:  # of a space that was emptied
        return [(np.empty(0, np.int64), np.empty(0, np.float32)) for _ in users]
    histories = serving.histories(users, texts)
    learned = [domain for domain in group.domains if domain in serving.recommender.heads]
    others = [domain for domain in group.domains if domain not in serving.recommender.heads]
    domains = learned + others
    shares = domain_shares(serving, histories, domains)
    lists: list[list[ScoredRows]] = []
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


def within(serving: Serving, group: DomainGroup, domains: list[str]) -> Selection | None:
    """Give the rows that a group lets through of some of its domains."""
    if group.selection is None or set(group.domains) != set(domains):
        whole = serving.view.select(domains)
        if group.selection is None or whole is None:
            return whole
        return serving.view.select_mask(whole.rows & group.selection.rows)
    return group.selection


def _shared(
    serving: Serving,
    items: Positions,
    scores: FloatArray,
    among: FloatArray,
) -> ScoredRows:
    """Turn items and scores into rows and their shares among all candidates."""
    top = float(among.max(initial=-np.inf))
    total = float(np.exp(among - top).sum()) if len(among) else 1.0
    return serving.contents.rows[items], np.exp(scores - top) / np.float32(total)


def _merge(lists: Sequence[ScoredRows], weights: FloatArray, n: int) -> ScoredRows:
    rows = np.concatenate([rows for rows, _ in lists])
    scores = np.concatenate([own * w for (_, own), w in zip(lists, weights, strict=True)])
    order = np.argsort(-scores, kind="stable")[:n]
    return rows[order], scores[order].astype(np.float32)
