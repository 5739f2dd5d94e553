"""Baselines against their definitions, on matrices small enough to write down."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy.sparse import csr_array

from isthmus.errors import InvalidInput
from isthmus.evaluation.baselines.baseline import (
    BaselineSystem,
    GeneratorBaseline,
    Random,
    training_data,
)
from isthmus.evaluation.baselines.rating_means import GlobalMean, Offsets
from isthmus.evaluation.baselines.tuning import (
    SIMILARITIES,
    als,
    default_grids,
    rating_grids,
    tuned,
    tuned_rater,
)
from isthmus.evaluation.protocols import cold_user
from isthmus.evaluation.task import TestUser
from isthmus.numerics.co_occurrence import top_k_per_group
from isthmus.retrieval.candidates.content import Content
from isthmus.retrieval.candidates.ease import EASE
from isthmus.retrieval.candidates.item_knn import ItemKNN
from isthmus.retrieval.candidates.popularity import Popularity
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.candidates.user_knn import UserKNN
from tests.retrieval.evaluation.worlds import interactions, small_task

ITEMS = ["a", "b", "c", "d", "e"]
TRAIN = interactions(
    [(f"u{u}", item) for u, items in enumerate(["abc", "ab", "bc", "cd", "abd"]) for item in items]
)
MATRIX = np.array(
    [[1, 1, 1, 0, 0], [1, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 1, 1, 0], [1, 1, 0, 1, 0]], float
)
VECTORS = np.array([[1, 0], [2, 0], [0, 1], [3, 3], [0, 0]], np.float32)


def item_knn(kind="cosine", k=None, shrink=50.0):
    return ItemKNN(**SIMILARITIES[kind], k=k, shrink=shrink, max_user_items=None)


def user_knn(kind="cosine", k=None, shrink=0.0, item_weights="idf"):
    return UserKNN(**SIMILARITIES[kind], k=k, shrink=shrink, item_weights=item_weights)


def ease(l2, max_items=12_000):
    return EASE(l2=l2, max_items=max_items, rank=None)


def of(generator, seed=0):
    return GeneratorBaseline(generator, seed)


EVERY = [
    Random(), of(Popularity()), of(item_knn()), of(user_knn()), of(ease(1.0)), of(Content("mean")),
    of(als(factors=4, iterations=3)),
]  # fmt: skip


def ranking(baseline, history="a", exclude="", candidates=ITEMS, n=5, user="x", train=TRAIN):
    if not isinstance(baseline, Random | GeneratorBaseline):
        baseline = of(baseline)
    baseline.fit(train, ITEMS, VECTORS)
    found = baseline.recommend([TestUser(user, tuple(history), (), tuple(exclude))], candidates, n)
    return found[0].tolist()


def fitted_data(matrix, generator):
    """Fit a generator to a matrix, and return it with its training data."""
    data = training_data(ITEMS, csr_array(matrix.astype(np.float32)), np.empty((5, 0), np.float32))
    return generator.fit(data), data


def scores_of(matrix, generator, histories, columns):
    """Fit a generator to a matrix, and return the scores of columns for histories."""
    generator, data = fitted_data(matrix, generator)
    users = UserHistories.from_lists(
        [np.array([ITEMS.index(i) for i in history]) for history in histories]
    )
    scorer = generator.scorer(data, users, 0)
    pairs = np.repeat(np.arange(len(users)), len(columns)), np.tile(columns, len(users))
    return scorer.score_pairs(*pairs).reshape(len(users), len(columns))


def in_order(scores, but=()):
    """Return the items by descending score, which must be distinct but for those named."""
    order = [i for i in np.argsort(-np.asarray(scores)) if ITEMS[i] not in but]
    assert len({round(float(scores[i]), 9) for i in order}) == len(order)
    return [ITEMS[i] for i in order]


@pytest.mark.parametrize("baseline", EVERY, ids=lambda b: b.name)
def test_lists_hold_candidates_once_and_nothing_excluded(baseline):
    assert sorted(ranking(baseline, "ab", exclude="b", candidates=["b", "e", "d", "c"])) == [
        "c",
        "d",
        "e",
    ]
    assert len(ranking(baseline, n=2)) == 2
    with pytest.raises(InvalidInput, match="candidate 'z' was not among the items"):
        baseline.recommend([], ["z"], 1)
    with pytest.raises(InvalidInput, match="n is 0"):
        baseline.recommend([], ["a"], 0)


@pytest.mark.parametrize("baseline", EVERY, ids=lambda b: b.name)
def test_the_order_of_items_users_and_candidates_does_not_matter(baseline):
    rng = np.random.default_rng(0)
    train = interactions([(f"u{rng.integers(30)}", f"i{rng.integers(40)}") for _ in range(200)])
    items = [f"i{n}" for n in range(40)]
    vectors = rng.standard_normal((40, 4)).astype(np.float32)
    users = [
        TestUser(f"x{n}", tuple(f"i{i}" for i in rng.integers(0, 40, 3)), ()) for n in range(8)
    ]
    before = baseline.fit(train, items, vectors).recommend(users, items, 10)
    again = baseline.fit(train, items, vectors).recommend(users[::-1], items[::-1], 10)[::-1]
    assert [row.tolist() for row in before] == [row.tolist() for row in again]


def test_ties_are_broken_at_random_and_not_by_order():
    nobody = interactions([("u", "a")])
    items = [f"i{n}" for n in range(200)]
    one, other = (
        of(Popularity(), seed).fit(nobody, items).recommend([TestUser("x", (), ())], items, 200)[0]
        for seed in (0, 1)
    )
    places = [items.index(item) for item in one]
    assert places != sorted(places)
    assert abs(np.corrcoef(places, np.arange(200))[0, 1]) < 0.25
    assert one.tolist() != other.tolist()


@pytest.mark.parametrize("baseline", EVERY, ids=lambda b: b.name)
def test_a_shorter_list_is_the_beginning_of_a_longer_one(baseline):
    rng = np.random.default_rng(1)
    train = interactions([(f"u{rng.integers(30)}", f"i{rng.integers(60)}") for _ in range(100)])
    items = [f"i{n}" for n in range(60)]
    baseline.fit(train, items, rng.standard_normal((60, 4)).astype(np.float32))
    users = [TestUser(f"x{n}", (f"i{n}",), (), (f"i{n}",)) for n in range(8)]
    whole = [row.tolist() for row in baseline.recommend(users, items, 100)]
    for n in (1, 5, 30):
        assert [row.tolist() for row in baseline.recommend(users, items, n)] == [
            row[:n] for row in whole
        ]


def test_random_lists_differ_between_users():
    items = [f"i{n}" for n in range(50)]
    fitted = Random().fit(TRAIN, items)
    first, second = fitted.recommend([TestUser("x", (), ()), TestUser("y", (), ())], items, 50)
    assert first.tolist() != second.tolist()
    assert sorted(first) == sorted(items)


def test_popularity():
    again = pa.concat_tables([TRAIN, interactions([("u3", "d")] * 9)])
    assert ranking(Popularity(), train=again)[0] == "b"
    assert set(ranking(Popularity(), train=again)[1:3]) == {"a", "c"}
    assert ranking(Popularity(), train=again)[3:] == ["d", "e"]


def test_item_knn_is_the_shrunk_similarity():
    shared = MATRIX.T @ MATRIX
    users = MATRIX.sum(0)
    cosine = shared / (np.sqrt(np.outer(users, users)) + 2)
    jaccard = shared / (np.add.outer(users, users) - shared + 2)
    conditional = shared / (users[:, None] + 2)
    between = shared / (np.outer(users**0.75, users**0.25) + 2)
    named = (("cosine", cosine), ("jaccard", jaccard), ("conditional", conditional),
             ("asymmetric", between))  # fmt: skip
    for kind, similarity in named:
        scores = similarity[[0, 3]].sum(0)
        found = ranking(item_knn(kind, None, 2.0), "ad", exclude="ad")
        assert found[:2] == in_order(scores, but="ade")


def test_item_knn_keeps_the_nearest_of_each_item():
    # d is nearest to a (1/sqrt(6)) with c (1/sqrt(6)) and b (1/sqrt(8)): k = 2 leaves out b
    found = ranking(item_knn("cosine", 2, 0.0), "d", exclude="d", candidates=["b", "e"])
    fitted, data = fitted_data(MATRIX, item_knn("cosine", 2, 0.0))
    kept = fitted._similar.of(data, 0).toarray()
    assert set(found) == {"b", "e"}
    assert ((kept > 0).sum(axis=1) <= 2).all()
    assert kept[3] == pytest.approx([1 / np.sqrt(6), 0, 1 / np.sqrt(6), 0, 0])


def test_largest_of_each_row():
    matrix = csr_array(np.array([[3.0, 1, 2, 0], [0, 0, 5, 0], [1, 2, 3, 4]]))
    assert top_k_per_group(matrix, 2).toarray().tolist() == [
        [3, 0, 2, 0],
        [0, 0, 5, 0],
        [0, 0, 3, 4],
    ]
    assert top_k_per_group(matrix, None) is matrix


def test_user_knn_is_the_cosine_of_histories_without_oneself():
    similarity = MATRIX @ [1, 1, 0, 0, 0] / np.sqrt(2 * MATRIX.sum(1))
    scores = similarity @ MATRIX
    assert ranking(user_knn(item_weights="none"), "ab", exclude="ab") == in_order(scores, but="ab")
    similarity[1] = 0
    scores = similarity @ MATRIX
    assert ranking(user_knn(item_weights="none"), "ab", user="u1")[:4] == in_order(scores[:4])


def test_user_knn_weighs_rare_items():
    rarity = np.maximum(np.log(5 / (1 + MATRIX.sum(0))), 0)
    similarity = (
        (MATRIX * rarity)
        @ [1, 0, 0, 1, 0]
        / np.sqrt((rarity @ [1, 0, 0, 1, 0]) * np.maximum(MATRIX @ rarity, 1e-12))
    )
    expected = in_order(similarity @ MATRIX, but="ade")
    assert ranking(user_knn(item_weights="idf"), "ad", exclude="ad")[:2] == expected


@pytest.mark.parametrize("users", [3, 5, 9])
def test_ease_is_the_closed_form_whichever_side_is_inverted(users):
    rng = np.random.default_rng(users)
    matrix = (rng.random((users, 5)) < 0.6).astype(float)
    matrix[0] = 1
    p = np.linalg.inv(matrix.T @ matrix + 2.0 * np.eye(5))
    b = -p / np.diag(p)
    np.fill_diagonal(b, 0)
    scores = scores_of(matrix, ease(2.0), ["ad", "b"], np.arange(5))
    assert scores == pytest.approx(np.array([b[0] + b[3], b[1]]), abs=1e-5)


def test_ease_models_the_most_popular_items_where_both_sides_are_large():
    p = np.linalg.inv(MATRIX[:, :3].T @ MATRIX[:, :3] + 2.0 * np.eye(3))
    b = -p / np.diag(p)
    scores = scores_of(MATRIX, ease(2.0, max_items=3), ["ad"], np.array([1, 2, 3, 4]))
    assert scores == pytest.approx(np.array([[b[0, 1], b[0, 2], 0, 0]]), abs=1e-5)


def test_content_takes_the_mean_or_the_best():
    # c is like c; d lies between; e has no content
    assert ranking(Content("mean"), "ac", exclude="ace") == ["d", "b"]
    assert ranking(Content("max"), "ac", exclude="ace") == ["b", "d"]
    assert len(ranking(Content("max"), "")) == 5
    with pytest.raises(InvalidInput, match="needs one vector an item"):
        of(Content("mean")).fit(TRAIN, ITEMS)
    with pytest.raises(InvalidInput, match="not finite"):
        of(Content("mean")).fit(TRAIN, ITEMS, np.full((5, 2), np.nan, np.float32))


def test_als_finds_the_named_vector_of_a_user():
    rng = np.random.default_rng(0)
    rows = [(f"u{u}", f"{'ab'[u % 2]}{i}") for u in range(60) for i in rng.choice(10, 6, False)]
    items = [f"{b}{i}" for b in "ab" for i in range(10)]
    fitted = of(als(factors=4, regularization=0.1)).fit(interactions(rows), items)
    (found,) = fitted.recommend([TestUser("x", ("b1", "b3"), ())], items, 5)
    assert {item[0] for item in found} == {"b"}


def clustered():
    """Users of three tastes, each with its own items in both domains."""
    rng = np.random.default_rng(0)
    domains = {f"{d}{i}": d for d in "ab" for i in range(30)}
    rows = []
    for user in range(150):
        taste = user % 3
        for domain in "ab":
            liked = rng.choice(10, 6, replace=False) + 10 * taste
            rows += [(f"u{user}", f"{domain}{i}") for i in liked]
    return interactions(rows), domains


def test_tuning_keeps_the_best_of_the_grid_and_every_trial():
    val, test = cold_user(*clustered(), "b")
    grid = [of(item_knn(k=1, shrink=1000.0)), of(item_knn(shrink=0.0)), of(item_knn(k=2))]
    found = tuned(grid, val)
    scores = [trial.score for trial in found.trials]
    assert found.score == max(scores)
    assert found.system.baseline == grid[int(np.argmax(scores))]
    assert found.trials[0].settings == {
        "seed": 0, "alpha": 0.5, "beta": 0.5, "jaccard": False, "k": 1, "shrink": 1000.0,
        "in_domain": False, "max_user_items": None,
    }  # fmt: skip
    with pytest.raises(InvalidInput, match="settings tuned on what is reported"):
        tuned(grid, test)
    with pytest.raises(InvalidInput, match="got 0"):
        tuned([], val)


def test_every_collaborative_method_beats_popularity_which_beats_random():
    val, _ = cold_user(*clustered(), "b", share=0.3)
    grids = default_grids()
    collaborative = ["item-KNN", "user-KNN", "EASE", "ALS", "factor regression"]
    assert list(grids) == ["random", "popularity", *collaborative]
    scores = {name: tuned(grid[:2], val).score for name, grid in grids.items()}
    for name in collaborative:
        assert scores[name] > 2 * scores["popularity"]
    assert list(default_grids(content=True))[-1] == "content"


def test_a_system_learns_again_only_for_another_train_table():
    val, test = cold_user(*clustered(), "b")
    fitted = []

    class Counted(Popularity):
        def fit(self, data):
            fitted.append(data.liked.shape)
            return super().fit(data)

    system = BaselineSystem(of(Counted()))
    system.recommend(val, 5)
    system.recommend(test, 5)
    assert len(fitted) == 1
    system.recommend(small_task(), 5)
    assert len(fitted) == 2


def test_content_of_a_system_may_lack_items_of_the_task():
    vectors = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    system = BaselineSystem(of(Content("mean")), ["a0", "b3", "b1"], vectors)
    found = system.recommend(small_task(), 6)
    assert found.items[0][0] == "b3"
    assert len(found.items[0]) == 6


RATED = [("u", "a", 5.0), ("v", "a", 4.0), ("v", "b", 1.0), ("w", "b", 2.0)]


def rating_task(split="val"):
    users = [
        TestUser("u", ("a",), ("b", "new"), ratings=(2.0, 3.0)),
        TestUser("unknown", (), ("a",), ratings=(4.0,)),
    ]
    train, candidates = interactions(RATED), ["a", "b", "new"]
    return small_task(kind="rating", train=train, users=users, candidates=candidates, split=split)


def test_offsets_are_means_of_what_is_left():
    mean, alone = 3.0, [3.0, 3.0]
    assert [row.tolist() for row in GlobalMean().rate(rating_task())] == [alone, [mean]]
    # undamped: a lies 1.5 above the mean and b 1.5 below; of what is left u has 0.5
    strict = Offsets(items=0.0, users=0.0).rate(rating_task())
    assert [row.tolist() for row in strict] == [[2.0, 3.5], [4.5]]
    # damped by as many values as there are: a, b at 0.75, so u has (5 - 3.75) / 2
    damped = Offsets(items=2.0, users=1.0).rate(rating_task())
    assert [row.tolist() for row in damped] == [[2.875, 3.625], [3.75]]


def test_predictions_stay_within_the_values():
    rows = [("u", "a", 5.0), ("u", "b", 5.0), ("v", "c", 5.0), ("v", "d", 1.0)]
    users = [TestUser("u", (), ("c",), ratings=(5.0,))]
    task = small_task(kind="rating", train=interactions(rows), users=users, candidates=["c"])
    assert Offsets(items=0.0, users=0.0).rate(task)[0].tolist() == [5.0]


def test_raters_are_tuned_on_val_by_their_error():
    grid = [Offsets(items=1e9, users=1e9), Offsets(items=2.0, users=1.0)]
    found = tuned_rater(grid, rating_task())
    assert found.system == grid[1]
    assert found.score == min(trial.score for trial in found.trials)
    assert found.trials[1].settings == {"items": 2.0, "users": 1.0}
    assert list(rating_grids()) == ["mean", "offsets"]
    with pytest.raises(InvalidInput, match="settings tuned on what is reported"):
        tuned_rater(grid, rating_task("test"))
