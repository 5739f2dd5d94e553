"""Serving: a recommender joined with the items of the moment, and lists from several domains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from isthmus.data.interactions.feedback import Feedback
from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.data.users.attributes import UserAttributes
from isthmus.index.lru_cache import LRUCache
from isthmus.index.releases.view import Selection, View
from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.numerics.sparse import pad_columns, to_csr
from isthmus.retrieval.candidates.content_graph import content_graph
from isthmus.retrieval.candidates.feature_projection import ProjectedFeatures
from isthmus.retrieval.candidates.item_features import ItemFeatures
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.ranker.calibration import expit
from isthmus.retrieval.ratings.model import RatingModel
from isthmus.retrieval.recommend.content_based import recommend
from isthmus.retrieval.recommend.recommender import DEPTH, RankedPool, Recommender, depth_of
from isthmus.retrieval.recommend.release_contents import ReleaseContents, ViewContents
from isthmus.retrieval.recommend.space_data import ViewItemFeatures, codes_of
from isthmus.retrieval.recommend.users import User
from isthmus.retrieval.search.query import ScoredRows, merge_lists
from isthmus.retrieval.search.ranking import DomainGroup

if TYPE_CHECKING:
    from scipy.sparse import csr_array

TextVectors = Sequence[Mapping[str, FloatArray] | None]

ITEMS_PER_TEXT = 10
SHARPNESS = 10.0
MAX_MASKS = 8
PRIOR_INTERACTIONS = 5.0
DUPLICATES_AT_ONCE = 4_096
SHARED_PLACES = 20  # of a list by content: its first places share its domains' part of the score


@dataclass(frozen=True, eq=False)
class Serving:
    """A recommender joined with a view: where its items are now, and which items are new.

    Attributes
    ----------
    recommender : Recommender
        The recommender.
    data : TrainingData
        The items that it learned from, then those that are new.
    features : ViewItemFeatures
        The features of these, read from the view.
    contents : ReleaseContents or None
        The projected contents of the items of the release, if it has them.
    """

    recommender: Recommender
    data: TrainingData
    features: ViewItemFeatures
    contents: ReleaseContents | None = None
    _masks: LRUCache[Mask] = field(
        init=False, default_factory=lambda: LRUCache(MAX_MASKS), repr=False
    )

    @classmethod
    def of(
        cls,
        recommender: Recommender,
        view: View,
        weights: Mapping[str, float],
        before: Serving | None = None,
        contents: ReleaseContents | None = None,
    ) -> Serving:
        """Join a recommender with a view.

        Parameters
        ----------
        recommender : Recommender
            The recommender.
        view : View
            The items of the moment.
        weights : mapping of str to float
            Weight of each named vector.
        before : Serving, optional
            The same recommender joined with an earlier view of the same release; what has not
            changed since is taken from it.
        contents : ReleaseContents, optional
            The projected contents of the items of the release that the view begins with.
        """
        known = _current_rows(recommender, view)
        unknown = view.living.rows.copy()
        unknown[known[known >= 0]] = False
        new = np.flatnonzero(unknown)
        codes = codes_of(view.item_domains(new), recommender.domain_names)
        new, codes = new[codes >= 0], codes[codes >= 0]
        rows = np.concatenate([known, new])
        features = ViewItemFeatures(view, rows, weights, recommender.vector_names)
        domains = np.concatenate([recommender.domains, codes])
        projected = _projected_features(recommender, features, domains, before, contents)
        data = TrainingData(
            item_ids=np.concatenate([recommender.item_ids, view.item_ids(new)]),
            domain_names=recommender.domain_names,
            domains=domains,
            features=features,
            interactions=_empty_matrix(len(domains)),
            _projected=[projected],
            _content_graph=[_content_graph(recommender, features, codes)],
        )
        return cls(recommender, data, features, contents)

    @property
    def feedback(self) -> Feedback | None:
        """How the events of histories count: as those that it learned from."""
        return self.recommender.feedback

    @property
    def view(self) -> View:
        """The view that it is joined with."""
        return self.features.view

    def allowed(self, domain: str, selection: Selection | None) -> Mask:
        """Return which items of a domain may be recommended, shape (n_items,); read-only."""
        return self._masks.get((domain, selection), lambda: self._make_mask(domain, selection))

    def _make_mask(self, domain: str, selection: Selection | None) -> Mask:
        rows = self.features.rows
        mask = (rows >= 0) & self.data.in_domain(self.data.domain_code(domain))
        if selection is not None:
            mask &= selection.rows[np.maximum(rows, 0)]
        if selection is not None and selection.count == int(mask.sum()):
            self.features.remember(mask, selection)
        mask.flags.writeable = False
        return mask

    def histories(self, users: Sequence[User], texts: TextVectors) -> UserHistories:
        """Return the histories of users; a text is replaced by the items nearest to it."""
        columns = self.columns_of([entry.item_id for user in users for entry in user.history])
        ends = np.cumsum([len(user.history) for user in users])[:-1]
        parts = [
            _history_entries(user, user_columns, *self._items_near(text))
            for user, user_columns, text in zip(users, np.split(columns, ends), texts, strict=True)
        ]
        items, strengths, ages, assumed = zip(*parts, strict=True)
        histories = UserHistories.from_lists(items, strengths, ages, assumed)
        if not any(user.attributes for user in users):
            return histories
        return replace(histories, attributes=UserAttributes.of([u.attributes for u in users]))

    def rank(
        self, histories: UserHistories, domain: str, allowed: Mask, *, depth: int = DEPTH
    ) -> RankedPool:
        """Generate candidates and rank them, see `Recommender.rank`."""
        return self.recommender.rank(self.data, histories, domain, allowed, depth=depth)

    @cached_property
    def rating(self) -> RatingModel | None:
        """The rating model, extended by the items that are new."""
        model = self.recommender.rating
        new = np.arange(len(self.recommender.item_ids), len(self.data))
        if model is None or not len(new):
            return model
        return model.extended(self.features.take(new), self.data.domains[new])

    def columns_of(self, item_ids: Sequence[str]) -> Columns:
        """Return the column of each item, shape (n,), -1 for an unknown one."""
        rows = self.view.find(item_ids)
        columns = self.features.columns  # empty if the space was emptied
        return np.where(rows >= 0, columns[rows], -1) if len(columns) else rows

    def _items_near(self, text: Mapping[str, FloatArray] | None) -> tuple[Columns, FloatArray]:
        """Return the items that a text is nearest to, and a weight of each, at most 1."""
        if not text:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        parts = [
            text.get(vector.name, np.zeros(vector.dim, np.float32))
            for vector in self.view.named_vectors
            if vector.name in self.recommender.vector_names
        ]
        present = self.features.rows >= 0
        query = np.concatenate(parts)[None]  # (1, dim)
        items, cosines = self.features.nearest(query, ITEMS_PER_TEXT, present)
        found = items[0] >= 0
        weights = np.exp(SHARPNESS * (cosines[0][found] - cosines[0].max(initial=-1)))
        return items[0][found], np.asarray(weights, np.float32)


def _history_entries(
    user: User, columns: Columns, text_items: Columns, text_weights: FloatArray
) -> tuple[Columns, FloatArray, FloatArray, Mask]:
    """Return items, strengths, ages, and which items stand for a text; no item twice."""
    latest = {column: at for at, column in enumerate(columns.tolist()) if column >= 0}
    items, at = np.array(list(latest), np.int64), np.array(list(latest.values()), np.int64)
    strengths = np.array([max(entry.value, 0.0) for entry in user.history], np.float32)
    strengths = strengths[at] / max(float(strengths.max(initial=0)), 1e-12)
    ages = user.ages().astype(np.float32)[at]
    if not len(text_items):
        return items, strengths, ages, np.zeros(len(items), bool)
    added = ~np.isin(text_items, items)
    n_added = int(added.sum())
    return (
        np.concatenate([items, text_items[added]]),
        np.concatenate([strengths, text_weights[added]]),
        np.concatenate([ages, np.zeros(n_added, np.float32)]),
        np.concatenate([np.zeros(len(items), bool), np.ones(n_added, bool)]),
    )


def _current_rows(recommender: Recommender, view: View) -> Columns:
    """Return the row of each learned item, -1 for one that is deleted or in another domain now."""
    rows = view.find(recommender.item_ids.tolist())
    for code, name in enumerate(recommender.domain_names):
        items = np.flatnonzero((recommender.domains == code) & (rows >= 0))
        inside = view.select([name]) if len(items) and name in view.domains else None
        rows[items if inside is None else items[~inside.rows[rows[items]]]] = -1
    return rows


def _projected_features(
    recommender: Recommender,
    features: ViewItemFeatures,
    domains: Columns,
    before: Serving | None,
    contents: ReleaseContents | None,
) -> ProjectedFeatures:
    """Return the projected features of all items: those of the release, or else projected now.

    What is unchanged is copied from before.
    """
    projection, learned = recommender.statistics.projection, len(recommender.item_ids)
    if contents is not None and contents.fits(features, projection):
        return ViewContents.of(projection, contents, features, domains)
    out = np.zeros((len(domains), projection.width), np.float32)
    changed = np.ones(len(domains), bool)
    if before is not None:
        first = before.features.view.release_rows
        rows = features.rows[:learned]
        changed[:learned] = (rows != before.features.rows[:learned]) | (rows >= first)
        out[:learned] = before.data.projected.take(np.arange(learned))
    columns = np.flatnonzero(changed)
    out[columns] = projection.transform(features, domains, columns)
    return ProjectedFeatures(projection, out)


def _content_graph(
    recommender: Recommender, features: ItemFeatures, new_codes: Columns
) -> csr_array:
    """Return the content k-NN graph, with the neighbours of new items.

    A new item that is the same as a learned one that nobody used has the neighbours of that one,
    so that both have the same scores.
    """
    from scipy.sparse import vstack

    learned = recommender.content_graph
    known, width = learned.shape[0], learned.shape[0] + len(new_codes)
    if not len(new_codes):
        return learned
    new = np.zeros(width, bool)
    new[known:] = True
    domains = np.concatenate([recommender.domains, new_codes])
    rows = content_graph(features, domains, new)[known:]
    learned = pad_columns(learned, width)
    duplicates = _unused_duplicates(recommender, features, rows)
    if (duplicates >= 0).any():
        both = vstack([learned, rows], format="csr")
        rows = both[np.where(duplicates >= 0, duplicates, np.arange(known, width))]
    return to_csr(vstack([learned, rows], format="csr"))


def _unused_duplicates(
    recommender: Recommender, features: ItemFeatures, rows: csr_array
) -> Columns:
    """Return the learned item without interactions whose features each new item has, or -1.

    Parameters
    ----------
    recommender : Recommender
        Of the learned items.
    features : ItemFeatures
        Of the learned and of the new items.
    rows : scipy.sparse.csr_array
        The neighbours of the new items, shape (n_new, n_items).
    """
    known = rows.shape[1] - rows.shape[0]
    nearest = np.asarray(rows.argmax(axis=1)).ravel()
    duplicates = np.full(rows.shape[0], -1, np.int64)
    candidates = np.flatnonzero(
        (np.diff(rows.indptr) > 0) & (recommender.statistics.popularity(nearest) == 0)
    )
    for start in range(0, len(candidates), DUPLICATES_AT_ONCE):
        at = candidates[start : start + DUPLICATES_AT_ONCE]
        same = (features.take(known + at) == features.take(nearest[at])).all(axis=1)
        duplicates[at[same]] = nearest[at[same]]
    return duplicates


def _empty_matrix(items: int) -> InteractionMatrix:
    """Return a matrix of items without users."""
    empty = np.empty(0, np.int64)
    return InteractionMatrix(
        users=np.empty(0, object),
        items=items,
        starts=np.zeros(1, np.int64),
        columns=empty,
        strengths=np.empty(0, np.float32),
        moments=np.empty(0, np.float64),
        likes=np.empty(0, bool),
    )


def recommend_learned(
    serving: Serving,
    users: Sequence[User],
    texts: TextVectors,
    n: int,
    group: DomainGroup,
    weights: Mapping[str, float],
) -> list[ScoredRows]:
    """Rank the items of a group of domains for users.

    The score of an item is the share of the user's next choices that it is expected to have: the
    share of its domain, times its share of the calibrated probabilities of the candidates of the
    domain. The share of a domain comes from the history, shrunk to the domain shares of all users.
    Domains without a ranker are ranked by content (see `recommend`), with shares of the scores
    there.

    Parameters
    ----------
    serving : Serving
        The recommender.
    users : sequence of User
        The users.
    texts : sequence of mapping or None
        The vectors of the text of each user.
    n : int
        Items for each user.
    group : DomainGroup
        The domains, and the rows that may be recommended.
    weights : mapping of str to float
        Weight of each named vector.
    """
    if not group.domains:  # the space was emptied
        return [(np.empty(0, np.int64), np.empty(0, np.float32)) for _ in users]
    histories = serving.histories(users, texts)
    ranked = [domain for domain in group.domains if domain in serving.recommender.rankers]
    others = [domain for domain in group.domains if domain not in serving.recommender.rankers]
    shares = domain_shares(serving, histories, ranked + others)  # (n_users, n_domains)
    lists: list[list[ScoredRows]] = []
    for domain in ranked:
        allowed = serving.allowed(domain, select_within(serving, group, [domain]))
        pool = serving.rank(histories, domain, allowed, depth=depth_of(n))
        lists.append([_shares_of(serving, pool, user, n) for user in range(len(users))])
    domain_weights = shares[:, : len(ranked)]
    if others:
        selection = select_within(serving, group, others)
        found = recommend(serving.view, users, texts, n, selection, weights)
        lists.append([(rows, _shares(scores)) for rows, scores in found])
        rest = shares[:, len(ranked) :].sum(axis=1, keepdims=True)
        domain_weights = np.concatenate([domain_weights, rest], axis=1)
    return [
        _merge(serving.view, [of_domain[user] for of_domain in lists], domain_weights[user], n)
        for user in range(len(users))
    ]


def domain_shares(serving: Serving, histories: UserHistories, domains: Sequence[str]) -> FloatArray:
    """Return the share of each domain in the choices of a user, shape (n_users, n_domains).

    The shares of the domains in the history, shrunk to their shares of all interactions with the
    weight of five interactions.
    """
    data, statistics = serving.data, serving.recommender.statistics
    names = list(data.domain_names)
    codes = np.array([names.index(d) if d in names else -1 for d in domains], np.int64)
    liked = histories.weights > 0
    keys = histories.owners[liked] * len(names) + data.domains[histories.columns[liked]]
    counts = np.bincount(keys, minlength=len(histories) * len(names)).astype(np.float64)
    counts = counts.reshape(len(histories), len(names))
    uses = statistics.interactions_by_domain
    prior = np.array([uses[code] if code >= 0 else 0.0 for code in codes]) + 1.0
    in_domains = np.where(codes >= 0, counts[:, np.maximum(codes, 0)], 0)
    shares = in_domains + PRIOR_INTERACTIONS * prior / prior.sum()
    return np.asarray(shares / shares.sum(axis=1, keepdims=True), np.float32)


def select_within(serving: Serving, group: DomainGroup, domains: list[str]) -> Selection | None:
    """Return the rows of some domains of a group that pass its filter."""
    if group.selection is None or set(group.domains) != set(domains):
        whole = serving.view.select(domains)
        if group.selection is None or whole is None:
            return whole
        return serving.view.select_mask(whole.rows & group.selection.rows)
    return group.selection


def _shares_of(serving: Serving, pool: RankedPool, user: int, n: int) -> ScoredRows:
    """Return the rows of the n best items, and of their equals, with shares of all probabilities.

    Which of equal items is in the list is decided by their ids, when lists are merged.
    """
    scores = pool.scores_of(user)
    if len(scores) > n > 0:
        n = int((scores >= np.partition(scores, -n)[-n]).sum())
    items, log_odds = pool.best(user, n)
    total = float(expit(scores).sum())
    shares = expit(log_odds) / max(total, 1e-12)
    return serving.features.rows[items], shares.astype(np.float32)


def _shares(scores: FloatArray) -> FloatArray:
    """Return scores of a list by content as shares of its first places, whatever its length."""
    positive = np.maximum(scores, 0)
    return np.asarray(positive / max(float(positive[:SHARED_PLACES].sum()), 1e-12), np.float32)


def _merge(view: View, lists: Sequence[ScoredRows], weights: FloatArray, n: int) -> ScoredRows:
    weighted = [(rows, scores * w) for (rows, scores), w in zip(lists, weights, strict=True)]
    rows, scores, _ = merge_lists(view, weighted)
    return rows[:n], scores[:n]
