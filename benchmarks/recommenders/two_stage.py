"""Two stages, as in public solutions of recommendation contests: candidates, then LightGBM.

Candidates of item-KNN, user-KNN, ALS and popularity; features are the score and the rank that each
gives, the popularity of the item, and how much is known of the user. The ranker learns on users of
the train table whose target items are hidden as the task hides them, with candidates of a first
stage that does not see these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from isthmus.evaluation.task import TestUser
from recommenders.factors import Als
from recommenders.method import USERS_AT_ONCE, Data, Floats, Integers, Method, Score, Settings
from recommenders.neighbours import ItemKNN, Popularity, UserKNN

DEPTH = 150  # candidates of each method
MAX_USERS = 2_000
HIDDEN_SHARE = 0.2  # of a warm user's target items
FIRST_STAGE: tuple[tuple[type[Method], Settings], ...] = (
    (ItemKNN, {"kind": "CosineRecommender", "k": 300}),
    (ItemKNN, {"kind": "BM25Recommender", "k": 300}),
    (UserKNN, {"k": 300, "idf": True, "of_target": True}),
    (Als, {"factors": 64, "l2": 100.0, "alpha": 10.0}),
    (Popularity, {}),
)
_Stage = tuple[Method, Score]
NOT_A_CANDIDATE = np.float32(-1e9)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Candidates of users with their features.

    Attributes
    ----------
    users : numpy.ndarray
        int64, shape (n,): places of the users, ascending.
    places : numpy.ndarray
        int64, shape (n,): places of the items among the candidates of the data.
    features : numpy.ndarray
        float32, shape (n, n_features).
    """

    users: Integers
    places: Integers
    features: Floats


class TwoStage(Method):
    """Candidate generators and a LightGBM ranker."""

    packages: ClassVar[tuple[str, ...]] = ("lightgbm", "implicit")
    kinds: ClassVar[tuple[str, ...]] = ("cold user", "few-shot", "warm")

    def __init__(self) -> None:
        self._examples: tuple[_Rows, npt.NDArray[np.bool_]] | None = None
        self._stage: tuple[csr_matrix, list[_Stage]] | None = None

    def grid(self) -> list[Settings]:
        """Return objectives and sizes of the trees."""
        return [
            {"objective": objective, "leaves": leaves, "trees": trees}
            for objective in ("lambdarank", "binary")
            for leaves, trees in ((7, 100), (15, 200), (31, 300))
        ]

    def fit(self, data: Data, settings: Settings) -> Score:
        """Learn from simulated users; the first stage is then fitted to everything."""
        if self._examples is None:
            self._examples = _examples(data)
        ranker = _boost(*self._examples, settings)
        if self._stage is None or self._stage[0] is not data.matrix:
            self._stage = data.matrix, _first_stage(data)
        stage = self._stage[1]
        self.model = ranker.model_to_string(), [method.model for method, _ in stage]

        def score(users: Sequence[TestUser]) -> Floats:
            rows = _candidates(data, stage, users)
            out = np.full((len(users), len(data.candidates)), NOT_A_CANDIDATE)
            out[rows.users, rows.places] = ranker.predict(rows.features)
            return out

        return score


def _first_stage(data: Data) -> list[_Stage]:
    methods = [(make(), settings) for make, settings in FIRST_STAGE]
    return [(method, method.fit(data, settings)) for method, settings in methods]


def _candidates(data: Data, stage: Sequence[_Stage], users: Sequence[TestUser]) -> _Rows:
    """Return what the first stage finds for users, without what they are known to have."""
    place_of = {column: place for place, column in enumerate(data.candidates.tolist())}
    popularity = np.log1p(np.asarray(data.matrix.sum(axis=0)).ravel()[data.candidates])
    owners, places, features = [], [], []
    for start in range(0, len(users), USERS_AT_ONCE):
        batch = users[start : start + USERS_AT_ONCE]
        scores = np.stack(
            [score(batch) for _, score in stage], axis=2
        )  # (n_users, n_items, stages)
        for row, user in enumerate(batch):
            known = (place_of.get(data.column_of.get(item, -1), -1) for item in user.exclude)
            scores[row, [place for place in known if place >= 0]] = -np.inf
            ranks = _ranks(scores[row])
            found = np.flatnonzero((ranks > 0).any(axis=1))
            evidence = [len(user.exclude), len(user.history)]
            groups = [
                scores[row, found],
                1 / np.where(ranks[found] > 0, ranks[found], np.inf),
                popularity[found, None],
                np.tile(np.log1p(evidence), (len(found), 1)),
            ]
            owners.append(np.full(len(found), start + row))
            places.append(found)
            features.append(np.concatenate(groups, axis=1).astype(np.float32))
    return _Rows(np.concatenate(owners), np.concatenate(places), np.concatenate(features))


def _ranks(scores: Floats) -> Integers:
    """Return the rank from 1 that each method gives an item, 0 beyond its first candidates."""
    ranks = np.zeros(scores.shape, np.int64)
    for method in range(scores.shape[1]):
        column = scores[:, method]
        best = np.argpartition(-column, min(DEPTH, len(column) - 1))[:DEPTH]
        best = best[np.argsort(-column[best], kind="stable")]
        best = best[np.isfinite(column[best]) & (column[best] != 0)]
        ranks[best, method] = np.arange(1, len(best) + 1)
    return ranks


def _examples(data: Data, seed: int = 0) -> tuple[_Rows, npt.NDArray[np.bool_]]:
    """Return candidates of simulated users, and which of them were hidden."""
    rng = np.random.default_rng(seed)
    target, source = data.matrix[:, data.in_target], data.matrix[:, ~data.in_target]
    n_target = np.asarray(target.sum(axis=1)).ravel()
    n_source = np.asarray(source.sum(axis=1)).ravel()
    shown = int(np.median([len(user.exclude) for user in data.task.users]))
    warm = data.task.kind == "warm"
    eligible = np.flatnonzero(
        (n_target >= max(5, 0 if warm else shown + 1)) & (warm | (n_source > 0))
    )
    chosen = rng.permutation(eligible)[: min(MAX_USERS, max(1, len(eligible) // 5))]
    kept = data.matrix.tolil(copy=True)
    users: list[TestUser] = []
    names = data.users.to_pylist()
    for row in chosen.tolist():
        columns = data.matrix.indices[data.matrix.indptr[row] : data.matrix.indptr[row + 1]]
        liked = rng.permutation(columns[data.in_target[columns]])
        hidden = liked[: -(-len(liked) // 5)] if warm else liked[shown:]
        visible = np.setdiff1d(columns, hidden)
        kept[row, hidden if warm else liked] = 0
        items = [data.items[column] for column in visible.tolist()]
        known = [data.items[c] for c in visible.tolist() if data.in_target[c]]
        truth = tuple(data.items[column] for column in hidden.tolist())
        users.append(TestUser(names[row], tuple(items), truth, tuple(known)))
    matrix = csr_matrix(kept)
    matrix.eliminate_zeros()
    without = replace(data, matrix=matrix)
    rows = _candidates(without, _first_stage(without), users)
    items_of = np.array(data.items, object)[data.candidates]
    truths: Mapping[int, set[str]] = {n: set(user.truth) for n, user in enumerate(users)}
    pairs = zip(rows.users.tolist(), items_of[rows.places].tolist(), strict=True)
    return rows, np.array([item in truths[user] for user, item in pairs], bool)


def _boost(rows: _Rows, labels: npt.NDArray[np.bool_], settings: Settings) -> Any:
    """Train the ranker on the users that have a hidden item among their candidates."""
    import lightgbm

    counts = np.bincount(rows.users, labels, int(rows.users.max()) + 1)
    used = counts[rows.users] > 0
    groups = np.unique(rows.users[used], return_counts=True)[1]
    shared = {
        "num_leaves": settings["leaves"],
        "n_estimators": settings["trees"],
        "learning_rate": 0.05,
        "min_child_samples": 50,
        "subsample": 0.8,
        "subsample_freq": 1,
        "colsample_bytree": 0.8,
        "n_jobs": 1,
        "random_state": 0,
        "verbose": -1,
    }
    if settings["objective"] == "lambdarank":
        model = lightgbm.LGBMRanker(objective="lambdarank", **shared)
        model.fit(rows.features[used], labels[used].astype(int), group=groups)
        return model.booster_
    model = lightgbm.LGBMClassifier(objective="binary", **shared)
    model.fit(rows.features[used], labels[used].astype(int))
    return model.booster_
