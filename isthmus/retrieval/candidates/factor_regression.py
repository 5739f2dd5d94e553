"""Cross-domain factor regression: EMCDR with a linear map (Man et al., IJCAI 2017).

Where few users are shared, a joint factorization has nothing that carries a user from one domain
to another. Here each side has factors from all of its users, and the shared users teach a
map between them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState, Columns, FloatArray, Mask, with_prefix
from isthmus.retrieval.candidates.factor_generator import FactorGenerator
from isthmus.retrieval.candidates.implicit_factors import FoldIn, factorize, limited_factors
from isthmus.retrieval.candidates.scorer import DotProductScorer
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories

ITEMS = "items"
SOURCE = "source/"
MAP = "map/"
SHARED = "shared/"
# Penalties and confidences that go together.
GRID = ((150.0, 20.0), (50.0, 10.0), (50.0, 2.0), (15.0, 2.0), (2.0, 2.0))
PENALTIES = (0.1, 0.3, 1.0)  # of the map
WARM_ITERATIONS = 4


@dataclass
class FactorRegression(FactorGenerator):
    """Score items by user factors that are predicted from the history in other domains.

    For each target domain, ALS factorizes the likes of the target and those of everything else.
    A ridge regression over the shared users maps standardised source factors to centred target
    factors. What is known of a user in the target then corrects the mapped factors, see
    `FoldIn.update`. Without any history in other domains the mean factors of the users of the
    target take the place of the mapped ones. A target with fewer shared users than `min_shared`
    has no map, and its items no scores. Hyperparameters of the factorizations are those of
    `FactorGenerator`.

    Attributes
    ----------
    seeds : int
        Factorizations of each side, from other initial factors each, whose scores are averaged.
    l2 : float
        Ridge penalty of the map for each shared user.
    min_shared : int
        Shared users from which on there is a map.
    """

    name: ClassVar[str] = "factor regression"
    seeds: int = 2
    l2: float = 0.3
    min_shared: int = 50

    def fit(self, data: TrainingData) -> Self:
        """Factorize both sides of every target, and regress one on the other."""
        return self._fit(data, _Sides(self, data))

    def fit_grid(self, data: TrainingData) -> Iterator[Self]:
        """Yield maps of several penalties for each factorization, which begins from the last."""
        sides: _Sides | None = None
        others = [pair for pair in GRID if pair != (self.regularization, self.alpha)]
        penalties = (self.l2, *sorted({*PENALTIES} - {self.l2}))
        for regularization, alpha in [(self.regularization, self.alpha), *others]:
            of_pair = replace(self, regularization=regularization, alpha=alpha)
            once = replace(of_pair, seeds=1)
            if sides is not None:
                once.iterations = min(once.iterations, WARM_ITERATIONS)
            sides = _Sides(once, data, sides)
            for l2 in penalties:
                other = replace(of_pair, l2=l2)._fit(data, sides)
                yield other
                if not other.shared_users:
                    return  # no map, whatever the settings

    def _fit(self, data: TrainingData, sides: _Sides) -> Self:
        items = np.zeros((len(data), sides.width), np.float32)
        sources: dict[int, FloatArray] = {}
        maps: dict[int, FloatArray] = {}
        self._shared: dict[int, int] = {}
        for target in data.target_codes:
            inside = data.in_domain(target)
            others = np.unique(data.domains[~inside & (data.popularity > 0)])
            shared = data.domain_users(target) & sides.users_of(~inside)
            if not len(others):
                continue
            self._shared[target] = int(shared.sum())
            if self._shared[target] < self.min_shared:
                continue
            maps[target] = self._regress(sides, inside, np.flatnonzero(shared))
            items[inside] = sides.items_of(inside)[inside]
            if len(others) == 1:  # its factors are those of everything else
                items[~inside] = sides.items_of(~inside)[~inside]
            else:
                sources[target] = sides.items_of(~inside)
        return self._set(items, sources, maps)

    @property
    def shared_users(self) -> dict[int, int]:
        """The number of users that a map was learned from, by the code of the target."""
        return {target: self._shared[target] for target in self._maps}

    def missing(self, target: int) -> str | None:
        """Return that too few users are shared, where other domains have no map to a target."""
        shared = self._shared.get(target)
        if shared is None or target in self._maps:
            return None
        return (
            f"{shared:,} users liked something of the domain and of another one, and a map "
            f"between domains is learned from {self.min_shared:,} on"
        )

    def scorer(self, data: TrainingData, users: UserHistories, target: int) -> DotProductScorer:
        """Return the products of predicted user factors and item factors of the target."""
        users = users.first_items(len(self._items)).liked
        vectors = np.zeros((len(users), self._items.shape[1]), np.float32)
        if target in self._maps:
            vectors = self._user_factors(data, users, target)
        return self._products(data, vectors, target)

    def state(self) -> ArrayState:
        """Return the item factors and the map of each target."""
        sources = {f"{SOURCE}{target}": items for target, items in self._sources.items()}
        maps = {f"{MAP}{target}": fitted for target, fitted in self._maps.items()}
        shared = {f"{SHARED}{target}": np.array([n]) for target, n in self._shared.items()}
        return {ITEMS: self._items, **sources, **maps, **shared}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        sources = {int(key): items for key, items in with_prefix(state, SOURCE).items()}
        maps = {int(key): fitted for key, fitted in with_prefix(state, MAP).items()}
        self._shared = {int(key): n.item() for key, n in with_prefix(state, SHARED).items()}
        return self._set(state[ITEMS], sources, maps)

    def _set(
        self, items: FloatArray, sources: dict[int, FloatArray], maps: dict[int, FloatArray]
    ) -> Self:
        self._sources, self._maps = sources, maps
        self._set_items(items)
        self._fold_ins: dict[int, list[tuple[FoldIn, FoldIn]]] = {}
        return self

    def _regress(self, sides: _Sides, inside: Mask, shared: Columns) -> FloatArray:
        """Return the maps of all factorizations, float32, shape (seeds, factors + 2, factors).

        The last rows of a map are the intercept, and the mean of the users of the target.
        """
        inputs, outputs = sides.users_of_side(~inside, shared), sides.users_of_side(inside, shared)
        pairs = zip(inputs, outputs, strict=True)
        return np.stack([_ridge(source, target, self.l2) for source, target in pairs])

    def _user_factors(self, data: TrainingData, users: UserHistories, target: int) -> FloatArray:
        """Return the factors of users in a target, shape (n_users, seeds * factors)."""
        inside = data.domains[users.columns] == target
        known, others = users.filter(inside), users.filter(~inside)
        is_mapped, has_any = others.counts() > 0, users.counts() > 0
        blocks = []
        folds = zip(self._fold_ins_of(data, target), self._maps[target], strict=True)
        for (source, target_side), fitted in folds:
            solved = source.solve(others, self.alpha)
            # One user after the other: products of matrices round by the number of their rows.
            rows = [row[None] @ fitted[:-2] for row in solved]
            mapped = np.concatenate([solved[:0] @ fitted[:-2], *rows]) + fitted[-2]
            prior = np.where(is_mapped[:, None], mapped, fitted[-1])
            blocks.append(target_side.update(prior, known, self.alpha))
        vectors = np.concatenate(blocks, axis=1) / np.float32(len(blocks))
        return np.asarray(np.where(has_any[:, None], vectors, 0), np.float32)

    def _fold_ins_of(self, data: TrainingData, target: int) -> list[tuple[FoldIn, FoldIn]]:
        """Return what solves for users on both sides, of each factorization; it is cached."""
        if target not in self._fold_ins:
            inside = data.domains[: len(self._items)] == target
            source = self._sources.get(target, self._items)
            seeds = len(self._maps[target])
            self._fold_ins[target] = [
                (
                    FoldIn(source_items, self.regularization, ~inside),
                    FoldIn(target_items, self.regularization, inside),
                )
                for source_items, target_items in zip(
                    np.split(source, seeds, axis=1),
                    np.split(self._items, seeds, axis=1),
                    strict=True,
                )
            ]
        return self._fold_ins[target]


class _Sides:
    """The factorizations of parts of the training data, each computed once.

    Parameters
    ----------
    settings : FactorRegression
        The hyperparameters.
    data : TrainingData
        Items and interactions.
    start : _Sides, optional
        Factorizations of the same data to start from, such as those for another penalty.
    """

    def __init__(
        self, settings: FactorRegression, data: TrainingData, start: _Sides | None = None
    ) -> None:
        self._settings, self._data, self._start = settings, data, start
        self._factors: dict[bytes, list[tuple[FloatArray, FloatArray]]] = {}
        self._items: dict[bytes, FloatArray] = {}
        self.width = settings.seeds * settings.factors

    def users_of(self, items: Mask) -> Mask:
        """Return which users liked one of some items, shape (n_users,)."""
        return np.asarray(self._data.liked @ items.astype(np.float32) > 0)

    def items_of(self, items: Mask) -> FloatArray:
        """Return the factors of some items, of all factorizations side by side.

        Returns
        -------
        numpy.ndarray
            float32, shape (n_items, seeds * factors), zero for other items.
        """
        used = items & (self._data.popularity > 0)
        key = used.tobytes()
        if key not in self._items:
            self._factors[key] = self._factorized(key, used)
            shape = (len(items), self._settings.seeds, self._settings.factors)
            out = np.zeros(shape, np.float32)
            for n, (_, found) in enumerate(self._factors[key]):
                out[used, n, : found.shape[1]] = found
            self._items[key] = out.reshape(len(items), -1)
        return self._items[key]

    def _factorized(self, key: bytes, used: Mask) -> list[tuple[FloatArray, FloatArray]]:
        """Return the factors of users and items of each factorization."""
        settings = self._settings
        liked = self._data.liked[:, used]
        liked = liked[np.diff(liked.indptr) > 0]
        factors = limited_factors(settings.factors, liked)
        penalties = (settings.regularization, settings.alpha, settings.iterations)
        starts: list[tuple[FloatArray, FloatArray]] | list[None] = [None] * settings.seeds
        if self._start is not None:
            starts = self._start._factors[key]
        return [
            factorize(liked, factors, *penalties, settings.seed + n, start)
            for n, start in enumerate(starts)
        ]

    def users_of_side(self, items: Mask, users: Columns) -> list[FloatArray]:
        """Return the factors of users by what they liked of some items, of each factorization."""
        histories = UserHistories.from_matrix(self._data.liked[users])
        histories = histories.filter(items[histories.columns])
        settings = self._settings
        blocks = np.split(self.items_of(items), settings.seeds, axis=1)
        return [
            FoldIn(block, settings.regularization).solve(histories, settings.alpha)
            for block in blocks
        ]


def _ridge(source: FloatArray, target: FloatArray, l2: float) -> FloatArray:
    """Return the regression of target factors on source factors, see `FactorRegression._regress`.

    Source factors are standardised, target factors centred; the penalty is `l2` for each user.
    """
    x, y = source.astype(np.float64), target.astype(np.float64)  # (n_shared, factors)
    mean, scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-9)
    centre = y.mean(axis=0)
    standard = (x - mean) / scale
    gram = standard.T @ standard
    gram[np.diag_indices_from(gram)] += l2 * len(x)
    weights = np.linalg.solve(gram, standard.T @ (y - centre)) / scale[:, None]
    return np.vstack([weights, centre - mean @ weights, centre]).astype(np.float32)
