"""Similar items by common users, beside sums made plainly."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from isthmus.retrieval.ratings.components import Biases
from isthmus.retrieval.ratings.neighbours import CoRatings, Neighbours, NeighbourSettings, Pairs
from isthmus.retrieval.ratings.ratings import Ratings
from tests.retrieval.ratings.worlds import ratings_of

TABLES = arrays(float, (6, 5), elements=st.sampled_from([-1.0, 0.0, 1.0, 2.0, float("nan")]))


@given(TABLES)
def test_common_users_are_summed_as_by_hand(table):
    found = CoRatings.fit(ratings_of(table)).similarities(10.0).toarray()
    there = ~np.isnan(table)
    filled = np.where(there, table, 0)
    products, counts = filled.T @ filled, there.T.astype(int) @ there
    kept = (products > 0) & (counts >= 2) & ~np.eye(5, dtype=bool)
    np.testing.assert_allclose(found, np.where(kept, products / (counts + 10), 0), rtol=1e-6)


@given(TABLES, st.sets(st.integers(0, 4), min_size=1))
def test_some_items_keep_their_similarities(table, chosen):
    near = Neighbours(NeighbourSettings(), CoRatings.fit(ratings_of(table)).similarities(10.0))
    columns = np.array(sorted(chosen))
    whole = near.covariances.toarray()[np.ix_(columns, columns)]
    np.testing.assert_array_equal(near.take_items(columns).covariances.toarray(), whole)


def test_content_alone_makes_neighbours_and_no_item_is_its_own_neighbour():
    units = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    nothing = Ratings(*np.zeros((2, 0), np.int64), np.zeros(0), (0, 3))
    how = NeighbourSettings(content=1.0, power=2.0, damping=1.0)
    near = Neighbours(how, CoRatings.fit(nothing).similarities(1.0))
    known = Ratings(np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros(1), (2, 3))
    to_predict = Pairs(np.array([0, 0, 0, 1]), np.array([0, 1, 2, 1]))
    lean, weight = near.residuals(known, np.array([3.0]), to_predict, units)
    assert lean.tolist() == [0, 1.5, 0, 0]
    assert weight.tolist() == [0, 1, 0, 0]


def test_biases_are_shrunk_by_the_variance_of_items():
    generator = np.random.default_rng(0)
    its = generator.normal(size=200)
    few, many = 5, 195
    table = np.tile(its, (4, 1))
    table[:, few:] += 1
    domains = np.repeat([0, 1], [few, many])
    biases = Biases.fit(ratings_of(table), domains)
    seen = [table[:, domains == d].mean() - table.mean() for d in (0, 1)]
    shares = biases.domains / seen
    assert 0 < shares[0] < shares[1] < 1
    assert biases.of(np.array([2])).tolist() == [0]
