"""Ratings in evaluations: the model beside means."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from isthmus.errors import InvalidInput
from isthmus.evaluation.baselines.rating_means import GlobalMean, Offsets
from isthmus.evaluation.evaluate import evaluate
from isthmus.evaluation.protocols import rating
from isthmus.evaluation.space_systems import RatingSystem
from isthmus.evaluation.task import Task, TestUser
from isthmus.retrieval.ratings.components import RatingSettings
from tests.retrieval.ratings.worlds import tastes


def table_of(triples):
    users, items, values = zip(*triples, strict=True)
    return pa.table(
        {
            "user_id": pa.array(users),
            "item_id": pa.array(items),
            "value": pa.array(values, pa.float64()),
            "time": pa.nulls(len(users), pa.float64()),
        }
    )


@pytest.fixture(scope="module")
def camps():
    known, vectors, _ = tastes(users=80, items=40)
    triples = [(f"u{u}", f"i{i:02}", known[u, i]) for u, i in np.argwhere(~np.isnan(known))]
    domains = {f"i{i:02}": "films" for i in range(40)}
    return rating(table_of(triples), domains).test, vectors


def test_tastes_are_found_where_means_find_nothing(camps):
    task, vectors = camps
    systems = {
        "mean": GlobalMean(),
        "biases": Offsets(),
        "model": RatingSystem([f"i{i:02}" for i in range(40)], vectors),
    }
    found = evaluate([task], systems, resamples=100)
    errors = {system.name: system.metrics["rmse"].value for system in found.tasks[0].systems}
    assert errors["mean"] == pytest.approx(1, abs=0.1)
    assert errors["biases"] > 0.9
    assert errors["model"] < 0.3


def test_new_users_and_items_are_rated():
    train = table_of([("a", "x", 1.0), ("a", "y", 2.0), ("b", "x", 1.0), ("b", "y", 2.0)])
    users = [TestUser("a", ("x",), ("z",), ratings=(1.0,)), TestUser("c", (), ("y", "x"))]
    task = Task("t", "rating", train, users, ["x", "y", "z"], None)
    model = RatingSystem(settings=RatingSettings(factors=0))
    for system in (model, Offsets(), GlobalMean()):
        new_item, new_user = system.rate(task)
        assert new_item.shape == (1,)
        assert new_user.shape == (2,)
        assert np.isfinite(new_item).all()
    assert GlobalMean().rate(task)[1].tolist() == [1.5, 1.5]
    above, below = Offsets(0, 0).rate(task)[1]
    assert (above, below) == pytest.approx((2.0, 1.0))


def test_vectors_and_items_go_together():
    with pytest.raises(InvalidInput, match="2 vectors for 1 items"):
        RatingSystem(["a"], np.zeros((2, 3), np.float32))
