"""Metrics against arithmetic by hand, ranx, and each other."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import InvalidInput
from isthmus.evaluation.lists import (
    ItemVectors,
    clean_lists,
    coverage,
    diversity,
    exposure,
    gini,
    hit_matrix,
    list_metrics,
    novelty,
    shown_popularity,
    truth_ranks,
)
from isthmus.numerics.metrics import ranking_metrics, rating_errors
from tests.retrieval.evaluation.by_ranx import ranx_says
from tests.retrieval.evaluation.worlds import small_task

LISTS = [["a", "x", "b", "y", "c"], ["x", "y"], [], ["q", "p"]]
TRUTHS = [["a", "b", "c", "z"], ["y"], ["a"], ["p", "q"]]


def measured(lists, truths, ks, n=10):
    hits = hit_matrix(lists, truths, n)
    return ranking_metrics(hits, np.array([len(truth) for truth in truths]), ks)


def test_every_metric_by_hand():
    found = measured(LISTS, TRUTHS, [3])
    ideal = 1 + 1 / log2(3) + 1 / 2
    expected = {
        "ndcg@3": [(1 + 1 / 2) / ideal, 1 / log2(3), 0, 1],
        "recall@3": [2 / 4, 1, 0, 1],
        "precision@3": [2 / 3, 1 / 3, 0, 2 / 3],
        "f1@3": [4 / 7, 1 / 2, 0, 4 / 5],
        "hit_rate@3": [1, 1, 0, 1],
        "mrr@3": [1, 1 / 2, 0, 1],
        "map@3": [(1 + 2 / 3) / 4, 1 / 2, 0, 1],
        "mrr": [1, 1 / 2, 0, 1],
    }
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name] == pytest.approx(values), name


def test_the_reciprocal_rank_of_the_whole_list_sees_beyond_k():
    found = measured([["x", "y", "a"]], [["a"]], [2])
    assert (found["mrr@2"][0], found["mrr"][0]) == (0, pytest.approx(1 / 3))


lists = st.lists(st.sampled_from("abcdefghij"), max_size=8, unique=True)
truths = st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=6, unique=True)


@given(st.lists(st.tuples(lists, truths), min_size=1, max_size=6), st.integers(1, 10))
def test_bounds_and_relations(users, k):
    found = measured([items for items, _ in users], [truth for _, truth in users], [k, 10])
    for name, values in found.items():
        assert ((values >= 0) & (values <= 1 + 1e-12)).all(), name
    assert (found[f"recall@{k}"] <= found["recall@10"]).all()
    assert (found[f"map@{k}"] <= found[f"recall@{k}"] + 1e-12).all()
    assert ((found[f"ndcg@{k}"] > 0) == (found[f"hit_rate@{k}"] > 0)).all()


def test_metrics_are_those_of_ranx():
    rng = np.random.default_rng(0)
    items = np.array([f"i{number}" for number in range(60)])
    ours = [rng.permutation(items)[: rng.integers(1, 40)].tolist() for _ in range(50)]
    truth = [rng.permutation(items)[: rng.integers(1, 15)].tolist() for _ in range(50)]
    run = {f"u{u:02}": {i: 1 / r for r, i in enumerate(items, 1)} for u, items in enumerate(ours)}
    qrels = {f"u{u:02}": dict.fromkeys(items, 1) for u, items in enumerate(truth)}
    found = measured(ours, truth, [1, 5, 10, 20], n=40)
    theirs = ranx_says({"run": run, "qrels": qrels, "metrics": list(found)})
    for name, values in found.items():
        assert values == pytest.approx(theirs[name]), name


def test_metrics_need_k_and_truth():
    with pytest.raises(InvalidInput, match="k from 1"):
        measured(LISTS, TRUTHS, [0])
    with pytest.raises(InvalidInput, match="users with relevant items"):
        measured([["a"]], [[]], [1])


def test_excluded_unknown_and_repeated_items_take_no_place():
    task = small_task()
    lists = [["b0", "a0", "b0", "b5", "zz"], np.array(["b4", "b1", "b2"])]
    assert clean_lists(task, lists, 10) == [["b0", "b5"], ["b1", "b2"]]
    assert clean_lists(task, lists, 1) == [["b0"], ["b1"]]
    with pytest.raises(InvalidInput, match="1 lists for the 2 users"):
        clean_lists(task, lists[:1], 10)


def test_ranks_of_truth():
    assert [ranks.tolist() for ranks in truth_ranks(LISTS, TRUTHS)] == [
        [1, 3, 5, 0],
        [2],
        [0],
        [2, 1],
    ]


def test_what_lists_are_like_by_hand():
    found = [["a", "b", "c"], ["a", "c", "b"]]
    assert coverage(found, 10, 2) == 0.3
    # a twice, b and c once, of four: (-3 * 0 - 1 * 1 + 1 * 1 + 3 * 2) / (4 * 4)
    assert gini(found, 4, 2) == pytest.approx(6 / 16)
    popularity = {"a": 7, "b": 3}
    assert shown_popularity(found, popularity, 2) == (7 + 3 + 7 + 0) / 4
    assert novelty(found, popularity, 7, 2) == (0 + 1 + 0 + 3) / 4
    vectors = np.array([[1, 0], [0, 2], [3, 3], [0, 0]], np.float32)
    items = ItemVectors(["a", "b", "c", "d"], vectors)
    half = 1 / np.sqrt(2)
    expected = ((1 - 0) + (1 - half)) / 2
    assert diversity(found, items, 2) == pytest.approx(expected, abs=1e-6)
    assert diversity([["a", "d"], ["a"], []], items, 2) is None
    with pytest.raises(InvalidInput, match="4 items have 3 vectors"):
        ItemVectors(["a", "b", "c", "d"], vectors[:3])


def test_lists_without_anything_have_no_novelty():
    assert list_metrics(small_task(), [[], []], 10, None) == {
        "coverage@10": 0.0,
        "gini@10": 0.0,
        "novelty@10": None,
        "popularity@10": None,
        "head@10": None,
        "mid@10": None,
        "tail@10": None,
    }


def test_exposure_by_popularity_by_hand():
    popularity = {"a": 40, "b": 20, "c": 20, "d": 10, "e": 10}  # 0, 40, 40, 80, 80 lie above
    assert exposure([["a", "b"], ["c", "e"], ["d"]], popularity, "abcde", 2) == {
        "head": 0.2, "mid": 0.4, "tail": 0.4,
    }  # fmt: skip
    assert exposure([["a", "b"], ["c", "e"], ["d"]], popularity, "abcde", 1) == {
        "head": 1 / 3, "mid": 1 / 3, "tail": 1 / 3,
    }  # fmt: skip
    unused = dict.fromkeys(("head", "mid", "tail"))
    assert exposure([["a"]], {}, "abcde", 2) == exposure([[]], popularity, "abcde", 2) == unused


@given(
    st.dictionaries(st.sampled_from("abcdefghij"), st.integers(0, 30)),
    st.lists(lists, min_size=1, max_size=5),
)
def test_exposure_of_equally_popular_items_is_equal_and_shares_sum_to_one(popularity, found):
    shares = exposure(found, popularity, "abcdefghij", 10)
    if any(found) and any(popularity.values()):
        assert sum(shares.values()) == pytest.approx(1.0)
    group = {
        item: max(exposure([[item]], popularity, "abcdefghij", 1).items(), key=lambda part: part[1])
        for item in "abcdefghij"
        if any(popularity.values())
    }
    for one in group:
        for other in group:
            if popularity.get(one, 0) == popularity.get(other, 0):
                assert group[one] == group[other]


@given(st.lists(lists, min_size=1, max_size=5), st.integers(10, 30))
def test_gini_is_half_the_relative_mean_difference(found, candidates):
    shown = [item for items in found for item in items]
    if not shown:
        return
    counts = [shown.count(item) for item in set(shown)]
    counts += [0] * (candidates - len(counts))
    differences = sum(abs(a - b) for a in counts for b in counts)
    expected = differences / (2 * candidates * sum(counts))
    assert gini(found, candidates, 10) == pytest.approx(expected)


def test_errors_of_ratings():
    found = rating_errors([np.array([4.0, 2.0]), np.array([5.0])], [[3.0, 3.0], [3.0]])
    assert found == {"rmse": pytest.approx(2**0.5), "mae": pytest.approx(4 / 3)}
    with pytest.raises(InvalidInput, match="user number 0 are not 2 finite values"):
        rating_errors([np.array([4.0])], [[3.0, 3.0]])
    with pytest.raises(InvalidInput, match="user number 0"):
        rating_errors([np.array([np.nan])], [[3.0]])
