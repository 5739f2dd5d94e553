"""Buckets and attribution by hand."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.evaluation.attribution import Attribution, attribute, generator_coverage
from isthmus.evaluation.buckets import HISTORY_LENGTH, by_attributes, by_evidence, by_truth
from isthmus.evaluation.lists import truth_ranks
from isthmus.evaluation.task import TestUser
from tests.retrieval.evaluation.worlds import interactions, small_task

LISTS = [["b0", "b1"], ["b2", "b1"]]


def test_users_are_grouped_by_visible_interactions():
    a, b = [f"a{i}" for i in range(12)], [f"b{i}" for i in range(12)]
    known = [(0, 0), (0, 1), (2, 2), (11, 3), (4, 5), (10, 6)]
    users = [
        TestUser(f"u{n}", (*a[:source], *b[:target]), ("t",)) for n, (target, source) in
        enumerate(known)
    ]  # fmt: skip
    domains = {**dict.fromkeys(a, "a"), **dict.fromkeys([*b, "t"], "b")}
    task = small_task(users=users, candidates=[*b, "t"], domains=domains)
    values = np.array([0.0, 1.0, 0.2, 0.3, 0.4, 0.5])
    found = {(x.by, x.name): x for x in by_evidence(task, values, "m")}
    assert {name: x.users for (by, name), x in found.items() if by == "target interactions"} == {
        "0": 2, "2-3": 1, "4-5": 1, "6-10": 1, ">10": 1,
    }  # fmt: skip
    assert {name: x.users for (by, name), x in found.items() if by == "source interactions"} == {
        "0": 1, "1": 1, "2-3": 2, "4-5": 1, "6-10": 1,
    }  # fmt: skip
    cold = found["target interactions", "0"]
    assert cold.estimate is not None
    assert (cold.estimate.value, cold.estimate.low, cold.estimate.high) == (0.5, 0.0, 1.0)
    assert found["source interactions", "2-3"].estimate.value == pytest.approx(0.25)


def test_users_are_grouped_by_the_length_of_the_history():
    a = [f"a{i}" for i in range(130)]
    users = [TestUser(f"u{n}", tuple(a[:n]), ("b0",)) for n in (0, 1, 5, 6, 30, 101, 130)]
    found = by_evidence(small_task(users=users), np.arange(7) / 10, "m")
    assert {x.name: x.users for x in found if x.by == HISTORY_LENGTH} == {
        "0": 1, "1-5": 2, "6-10": 1, "21-50": 1, ">100": 2,
    }  # fmt: skip


def test_users_are_grouped_by_their_attributes_the_most_frequent_first():
    users = [TestUser(f"u{n}", (), ("b0", "b1")) for n in range(12)]
    task, values = small_task(users=users), np.arange(12) / 100
    country = dict.fromkeys(["u0", "u1", "u2"], "NL") | dict.fromkeys(["u4", "u5"], "DE")
    town = {f"u{n}": f"t{n % 10}" for n in range(12)}
    found = by_attributes(task, values, "m", {"country": country, "town": town})
    assert [(x.by, x.name, x.users, x.truth) for x in found[:3]] == [
        ("user attribute country", "NL", 3, 6),
        ("user attribute country", "DE", 2, 4),
        ("user attribute country", "unknown", 7, 14),
    ]
    assert found[0].estimate.value == pytest.approx(0.01)
    assert [x.name for x in found[3:]] == [f"t{n}" for n in range(8)] + ["others"]
    assert by_attributes(task, values, "m", {}) == []


def test_hidden_items_are_grouped_by_domain_and_popularity():
    train = interactions([(f"v{v}", "b0") for v in range(6)] + [("v0", "b1")])
    task = small_task(
        train=train,
        users=[TestUser("u1", (), ("b0", "b5")), TestUser("u2", (), ("b1", "c0", "b0"))],
        candidates=["b0", "b1", "b2", "b5", "c0"],
        domains={"b0": "b", "b1": "b", "b2": "b", "b5": "b", "c0": "c"},
        target_domain=None,
    )
    ranks = truth_ranks([["b0", "b1"], ["b2", "c0", "b1"]], [u.truth for u in task.users])
    found = {(x.by, x.name): x for x in by_truth(task, ranks, 2)}
    counted = {key: (x.users, x.truth, round(x.estimate.value, 4)) for key, x in found.items()}
    assert counted == {
        ("domain of the truth", "b"): (2, 4, 0.25),
        ("domain of the truth", "c"): (1, 1, 1.0),
        ("users of the truth", "0"): (2, 2, 0.5),
        ("users of the truth", "1-5"): (1, 1, 0.0),
        ("users of the truth", "6-20"): (2, 2, 0.5),
    }
    deeper = {(x.by, x.name): x.estimate.value for x in by_truth(task, ranks, 3)}
    assert deeper["users of the truth", "1-5"] == 1.0


def test_hidden_items_are_grouped_by_modalities_where_they_differ():
    task = small_task(
        users=[TestUser("u1", (), ("b0", "b1")), TestUser("u2", (), ("b1", "b2", "b3"))],
        candidates=["b0", "b1", "b2", "b3"],
    )
    ranks = truth_ranks([["b0"], ["b1", "b2"]], [u.truth for u in task.users])
    modalities = {"b0": "text", "b1": "text and image", "b2": "text"}
    found = {x.name: x for x in by_truth(task, ranks, 2, modalities) if x.by.startswith("modal")}
    assert {n: (x.users, x.truth, round(x.estimate.value, 4)) for n, x in found.items()} == {
        "none": (1, 1, 0.0),
        "text": (2, 2, 1.0),
        "text and image": (2, 2, 0.5),
    }
    all_text = dict.fromkeys(task.candidates, "text")
    for same in (None, {}, all_text):
        assert {x.by for x in by_truth(task, ranks, 2, same)} == {
            "domain of the truth",
            "users of the truth",
        }


def test_every_hidden_item_is_counted_once():
    task = small_task()
    generators = {"one": [["b0", "b3"], []], "two": [["b5"], ["b2"]]}
    assert attribute(task, LISTS, generators, 1) == Attribution(1, 1, 2, 0)
    assert attribute(task, LISTS, generators, 2) == Attribution(2, 2, 1, 0)
    assert attribute(task, LISTS, {}, 2) == Attribution(2, 2, 0, 1)


def test_coverage_of_candidate_generators_each_and_together():
    task = small_task()
    generators = {"one": [["b0", "b3"], []], "two": [["a0", "b5", "b0"], ["b4", "b1"]]}
    first, union = generator_coverage(task, generators, 1)
    assert {g.generator: (g.recall, g.unique) for g in first} == {
        "one": (0.25, 0.25),
        "two": (0.75, 0.75),
    }
    assert union == 1.0
    deep, union = generator_coverage(task, generators, 2)
    assert {g.generator: (g.recall, g.unique) for g in deep} == {
        "one": (0.25, 0.0),
        "two": (1.0, 0.75),
    }
    assert union == 1.0
