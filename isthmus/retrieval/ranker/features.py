"""Features of candidates: a registry of named groups, the same for every domain and every space.

To add a feature, add a column to a `FeatureGroup` below, or a group to `FEATURE_GROUPS`. A ranker
stores the names of the columns that it was trained with and selects them by name, so the order of
the registry has no meaning and new columns do not disturb rankers that are already stored.

No feature identifies an item or a user, and most are independent of the scale of the scores of a
generator, so a ranker that was trained on one domain is meaningful on another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from isthmus.errors import InvalidInput
from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.numerics.sparse import row_max
from isthmus.retrieval.candidates.feature_projection import coarse
from isthmus.retrieval.candidates.pool import CandidatePool
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.ranker.item_statistics import STATISTICS, ItemStatistics
from isthmus.retrieval.ranker.numeric_features import NUMERIC_COLUMNS

POPULARITY = "item: popularity"
GENERATOR_RANK = "discounted rank"
RELATIVE_SCORE = "relative score"
MAX_HISTORY = 100
SHARPNESS = 5.0
SIMILARITY_COLUMNS = ("nearest", "mean", "soft maximum")


@dataclass(frozen=True, eq=False)
class FeatureInputs:
    """What features are computed from.

    Attributes
    ----------
    data : TrainingData
        The items.
    histories : UserHistories
        The users.
    pool : CandidatePool
        The candidates of these users.
    statistics : ItemStatistics
        Statistics of the items.
    target : int
        Code of the domain that is recommended from.
    """

    data: TrainingData
    histories: UserHistories
    pool: CandidatePool
    statistics: ItemStatistics
    target: int

    @cached_property
    def owners(self) -> Columns:
        """The user of each candidate, int64, shape (n_candidates,)."""
        return self.pool.owners


@dataclass(frozen=True)
class FeatureGroup:
    """Columns that are computed together.

    Attributes
    ----------
    name : str
        Prefix of the names of the columns.
    columns : tuple of str
        The columns, in the order in which `compute` returns them.
    compute : callable
        Returns the values, float32, shape (n_candidates, n_columns); with `per_generator`, the
        columns of the first generator of the pool, then those of the second, and so on.
    per_generator : bool
        Whether every candidate generator has these columns; they are named after it then.
    """

    name: str
    columns: tuple[str, ...]
    compute: Callable[[FeatureInputs], FloatArray]
    per_generator: bool = False

    def column_names(self, generators: Sequence[str]) -> tuple[str, ...]:
        """Return the full names of the columns, such as ``"item: popularity"``."""
        prefixes = generators if self.per_generator else (self.name,)
        return tuple(column_name(prefix, column) for prefix in prefixes for column in self.columns)


@dataclass(frozen=True, eq=False)
class Features:
    """The features of a pool.

    Attributes
    ----------
    columns : tuple of str
        Names of the features.
    values : numpy.ndarray
        float32, shape (n_candidates, n_columns).
    evidence : numpy.ndarray
        float32, shape (n_users,): ``log(1 + n)`` of the number of liked items of each user.
    """

    columns: tuple[str, ...]
    values: FloatArray
    evidence: FloatArray


def column_name(prefix: str, column: str) -> str:
    """Return the full name of a column of a group or a candidate generator."""
    return f"{prefix}: {column}"


def feature_columns(generators: Sequence[str], *, numeric: bool = True) -> tuple[str, ...]:
    """Return the names of all features, given the names of the candidate generators.

    Parameters
    ----------
    generators : sequence of str
        Names of the candidate generators.
    numeric : bool, default True
        Whether to include the features of numeric attributes.
    """
    groups = [group for group in FEATURE_GROUPS if numeric or group is not NUMERIC]
    return tuple(name for group in groups for name in group.column_names(generators))


def require_columns(columns: Iterable[str], generators: Sequence[str]) -> None:
    """Check that every named feature can be computed from these candidate generators.

    Raises
    ------
    InvalidInput
        If one cannot; the message names all of them.
    """
    available = set(feature_columns(generators))
    missing = [repr(name) for name in columns if name not in available]
    if missing:
        raise InvalidInput(f"no feature {', '.join(missing)} in this version")


def compute_features(inputs: FeatureInputs, columns: Sequence[str]) -> Features:
    """Compute features of every candidate of a pool.

    Parameters
    ----------
    inputs : FeatureInputs
        The candidates and their users.
    columns : sequence of str
        Names of the features; only the groups that they belong to are computed.

    Raises
    ------
    InvalidInput
        If there is no such feature.
    """
    groups, places = _layout(tuple(columns), tuple(inputs.pool.generators))
    blocks = [np.empty((len(inputs.pool.items), 0), np.float32)]
    blocks += [group.compute(inputs) for group in groups]
    values = np.concatenate(blocks, axis=1)
    if places is not None:
        values = values[:, places]
    evidence = np.log1p(_liked_counts(inputs.histories)).astype(np.float32)
    return Features(tuple(columns), values.astype(np.float32, copy=False), evidence)


@lru_cache(maxsize=64)
def _layout(
    columns: tuple[str, ...], generators: tuple[str, ...]
) -> tuple[tuple[FeatureGroup, ...], list[int] | None]:
    """Return the groups of some columns, and where these are in the groups; None for in order."""
    require_columns(columns, generators)
    needed = set(columns)
    groups = tuple(g for g in FEATURE_GROUPS if needed.intersection(g.column_names(generators)))
    names = [name for group in groups for name in group.column_names(generators)]
    place = {name: at for at, name in enumerate(names)}
    return groups, None if names == list(columns) else [place[name] for name in columns]


def _generator_features(inputs: FeatureInputs) -> FloatArray:
    """Return three columns a generator, shape (n_candidates, 3 * n_generators).

    The score over the best score among the user's candidates, ``1 / log2(1 + rank)`` in the list
    of the generator (0 where it did not propose the candidate), and the logarithm of the score.
    """
    pool, owners = inputs.pool, inputs.owners
    scores, ranks = pool.scores.T, pool.ranks.T  # (n_candidates, n_generators)
    positive = np.maximum(scores, 0)
    best = row_max(positive, pool.starts)[owners]
    relative = positive / np.maximum(best, 1e-12)
    discounted = np.where(ranks > 0, 1 / np.log2(1 + np.maximum(ranks, 1)), 0)
    logarithm = np.sign(scores) * np.log1p(10 * np.abs(scores))
    # of shape (n_candidates, n_generators, 3)
    features = np.stack([relative, discounted, logarithm], axis=2).astype(np.float32)
    return features.reshape(len(owners), len(GENERATOR.columns) * len(pool.generators))


def _item_features(inputs: FeatureInputs) -> FloatArray:
    return inputs.statistics.of(inputs.data, inputs.pool.items)


def _liked_counts(histories: UserHistories) -> npt.NDArray[np.float64]:
    return np.asarray(
        np.bincount(histories.owners, histories.weights > 0, len(histories)), np.float64
    )


def _user_features(inputs: FeatureInputs) -> FloatArray:
    """Return features of the user of each candidate, shape (n_candidates, 4)."""
    data, histories = inputs.data, inputs.histories
    owners, n = histories.owners, len(histories)
    liked = histories.weights > 0
    domains = data.domains[histories.columns]
    counts = _liked_counts(histories)
    in_target = np.bincount(owners, liked & (domains == inputs.target), n)
    pairs = np.unique(owners[liked] * len(data.domain_names) + domains[liked])
    n_domains = np.bincount(pairs // len(data.domain_names), minlength=n)
    popularity = np.bincount(owners, liked * inputs.statistics.popularity(histories.columns), n)
    features = [
        np.log1p(counts),
        np.log1p(in_target),
        n_domains,
        popularity / np.maximum(counts, 1),
    ]
    return np.stack(features, axis=1).astype(np.float32)[inputs.owners]


def _content_features(inputs: FeatureInputs) -> FloatArray:
    """Compare the contents of candidates with those of liked items, shape (n_candidates, 12)."""
    data, pool = inputs.data, inputs.pool
    histories = inputs.histories.liked.top_weighted(MAX_HISTORY)
    out = np.zeros((len(pool.items), len(CONTENT.columns)), np.float32)
    inside = data.domains[histories.columns] == inputs.target
    known, fetch = inputs.statistics.contents(data, histories.columns), _fetcher(inputs)
    known_coarse = coarse(known)
    for user in range(len(pool)):
        start, end = histories.starts[user], histories.starts[user + 1]
        rows = slice(pool.starts[user], pool.starts[user + 1])
        if start == end or rows.start == rows.stop:
            continue
        contents = fetch(rows)
        # (n_kinds, n_entries, n_candidates of the user)
        cosines = np.stack(
            [known[start:end] @ contents.T, known_coarse[start:end] @ coarse(contents).T]
        )
        out[rows] = _similarities(cosines, histories.weights[start:end], inside[start:end]).T
    return out


def _fetcher(inputs: FeatureInputs) -> Callable[[slice], FloatArray]:
    """Return a function from a slice of the candidates to their contents.

    Contents that are projected already are read a slice at a time; others are projected at once.
    """
    data, items, get = inputs.data, inputs.pool.items, inputs.statistics.contents
    if data.projected_by(inputs.statistics.projection) is not None:
        return lambda part: get(data, items[part])
    contents = get(data, items)
    return lambda part: contents[part]


def _similarities(cosines: FloatArray, weights: FloatArray, inside: Mask) -> FloatArray:
    """Return similarities to a whole history, and to its part in the target domain (0 if empty).

    Each is the largest cosine, the weighted mean, and a soft maximum between the two,
    ``log(mean(exp(5 cosine))) / 5``. With the soft maximum many moderately similar items can
    outweigh the single nearest one, and a long history does not drown what is similar.

    Parameters
    ----------
    cosines : numpy.ndarray
        float32, shape (n_kinds, n_entries, n_candidates); overwritten.
    weights : numpy.ndarray
        float32, shape (n_entries,).
    inside : numpy.ndarray
        bool, shape (n_entries,): entries in the target domain.

    Returns
    -------
    numpy.ndarray
        float32, shape (n_kinds * 2 * 3, n_candidates), in the order of the columns of `CONTENT`.
    """
    out = np.zeros((len(cosines), 2, len(SIMILARITY_COLUMNS), cosines.shape[2]), np.float32)
    shares = np.stack([weights, weights * inside])
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-9)
    uniform = np.stack([np.ones_like(inside), inside]).astype(np.float32)
    uniform /= np.maximum(uniform.sum(axis=1, keepdims=True), 1)
    n = 2 if inside.any() else 1  # without entries in the domain its similarities stay 0
    out[:, 0, 0] = cosines.max(axis=1)
    if n > 1:
        out[:, 1, 0] = out[:, 0, 0] if inside.all() else cosines[:, inside].max(axis=1)
    out[:, :n, 1] = shares[:n] @ cosines
    cosines *= SHARPNESS
    out[:, :n, 2] = np.log(uniform[:n] @ np.exp(cosines, out=cosines)) / SHARPNESS
    return out.reshape(-1, cosines.shape[2])


def _numeric_features(inputs: FeatureInputs) -> FloatArray:
    return inputs.statistics.numeric.features(
        inputs.data, inputs.histories, inputs.pool, inputs.target
    )


GENERATOR = FeatureGroup(
    "generator",
    (RELATIVE_SCORE, GENERATOR_RANK, "log score"),
    _generator_features,
    per_generator=True,
)
ITEM = FeatureGroup("item", STATISTICS, _item_features)
USER = FeatureGroup(
    "user",
    ("liked items", "liked items in domain", "domains", "popularity of liked items"),
    _user_features,
)
CONTENT = FeatureGroup(
    "content",
    tuple(
        f"{similarity}{where}{kind}"
        for kind in ("", ", coarse")
        for where in ("", " in domain")
        for similarity in SIMILARITY_COLUMNS
    ),
    _content_features,
)
NUMERIC = FeatureGroup("numeric", NUMERIC_COLUMNS, _numeric_features)
FEATURE_GROUPS = (GENERATOR, ITEM, USER, CONTENT, NUMERIC)
