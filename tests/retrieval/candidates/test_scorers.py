"""Opinions and pools against tables of every user and item."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from isthmus.numerics.top_k import top_k
from isthmus.retrieval.candidates import scorer as module
from isthmus.retrieval.candidates.content import InterestScorer
from isthmus.retrieval.candidates.item_features import InMemoryItemFeatures
from isthmus.retrieval.candidates.pool import candidate_pool
from isthmus.retrieval.candidates.scorer import (
    DotProductIndex,
    DotProductScorer,
    PopularityScorer,
    SparseScorer,
)
from tests.numerics.sparse import rows_of
from tests.retrieval.candidates.toy_data import make_training_data

scores = st.sampled_from([0.0, 0.0, 1.0, 2.0, 2.5, 3.0])


@st.composite
def cases(draw):
    """A table of scores, what is allowed, what was seen, and the length of the list."""
    users, items = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    table = np.array(
        draw(st.lists(scores, min_size=users * items, max_size=users * items)), np.float32
    ).reshape(users, items)
    flags = st.lists(st.booleans(), min_size=items, max_size=items)
    allowed = np.array(draw(flags), bool)
    seen = np.array([draw(flags) for _ in range(users)], np.float32)
    return table, allowed, seen, draw(st.integers(1, 10))


def by_sorting(table, allowed, seen, n):
    """Return each user's best items by a stable sort of all."""
    lists = []
    for row, known in zip(table, seen, strict=True):
        order = np.argsort(-row, kind="stable")
        lists.append([i for i in order.tolist() if row[i] > 0 and allowed[i] and not known[i]][:n])
    return lists


def lists_of(found):
    return [part.tolist() for part in np.split(found.items, found.starts[1:-1])]


def check(scorer, table, allowed, seen, n):
    found = scorer.top_k(n, allowed, csr_array(seen))
    assert lists_of(found) == by_sorting(table, allowed, seen, n)
    owners = np.repeat(np.arange(len(table)), np.diff(found.starts))
    assert found.scores.tolist() == table[owners, found.items].tolist()
    users, items = np.divmod(np.arange(table.size), table.shape[1])
    assert scorer.score_pairs(users, items).tolist() == table.ravel().tolist()


@given(cases())
def test_sparse_scorers(case):
    check(SparseScorer(rows_of(csr_array(case[0])), case[0].shape[1]), *case)


@given(cases())
def test_popularity_scorers(case):
    table, allowed, seen, n = case
    table = np.repeat(table[:1], len(table), axis=0)
    order = np.argsort(-table[0], kind="stable")
    scorer = PopularityScorer(table[0], order[table[0][order] > 0], len(table))
    check(scorer, table, allowed, seen, n)


@given(cases(), st.sampled_from([1, 10, module.MAX_PRODUCTS]))
def test_dot_product_scorers_in_batches(case, cells):
    """Each item has a direction of its own, so that products are the table's scores, exactly."""
    table, allowed, seen, n = case
    vectors = np.eye(table.shape[1], dtype=np.float32)
    scorer = DotProductScorer(table, vectors, DotProductIndex(np.arange(len(vectors)), vectors))
    before = module.MAX_PRODUCTS
    module.MAX_PRODUCTS = cells
    try:
        found = scorer.top_k(n, allowed, csr_array(seen))
    finally:
        module.MAX_PRODUCTS = before
    for user, found_items in enumerate(lists_of(found)):
        good = by_sorting(table, allowed, seen, n)[user]
        assert found_items[: len(good)] == good  # what scores zero may follow
        if not table[user].any():
            assert found_items == []


def test_dot_products_leave_out_items_that_are_not_indexed():
    vectors = np.array([[-1, 0], [0, 0], [2, 0]], np.float32)
    index = DotProductIndex(np.array([0, 2]), vectors)
    scorer = DotProductScorer(np.array([[1, 0], [0, 0]], np.float32), vectors, index)
    found = scorer.top_k(3, np.ones(3, bool), csr_array((2, 3)))
    assert lists_of(found) == [[2, 0], []]
    assert scorer.score_pairs(np.array([0, 0, 1]), np.array([0, 1, 2])).tolist() == [-1, 0, 0]


def test_the_nearest_of_several_interests_counts():
    data = make_training_data(users=0, items=8)
    vectors = data.features.vectors
    scorer = InterestScorer(data.features, [np.array([0, 1]), np.empty(0, np.int64)])
    seen = np.zeros((2, len(data)))
    seen[0, :2] = 1
    found = scorer.top_k(4, np.ones(len(data), bool), csr_array(seen))
    nearest = (vectors @ vectors[:2].T).max(axis=1)
    order = [i for i in np.argsort(-nearest).tolist() if i > 1][:4]
    assert lists_of(found) == [order, []]
    np.testing.assert_allclose(found.scores, nearest[order], rtol=1e-5)


@given(cases())
def test_lookups_of_sparse_rows(case):
    table = case[0]
    rows, columns = np.divmod(np.arange(table.size), table.shape[1])
    sparse, width = rows_of(csr_array(table)), table.shape[1]
    assert sparse.lookup(rows, columns, width).tolist() == table.ravel().tolist()
    some = rows % 2 == 0
    assert sparse.lookup(rows[some], columns[some], width).tolist() == table[::2].ravel().tolist()
    none = np.empty(0, np.int64)
    assert sparse.lookup(none, none, width).tolist() == []


@given(st.lists(st.sampled_from([-np.inf, 0.0, 1.0, 2.0]), max_size=12), st.integers(0, 12))
def test_the_largest_are_those_of_a_stable_sort(values, n):
    expected = sorted(range(len(values)), key=lambda i: -values[i])[:n]
    assert top_k(np.array(values), n).tolist() == expected


@settings(max_examples=60)
@given(st.lists(cases(), min_size=1, max_size=3), st.integers(1, 4))
def test_pools_against_brute_force(parts, n):
    users = min(len(part[0]) for part in parts)
    items = min(part[0].shape[1] for part in parts)
    tables = {f"s{at}": part[0][:users, :items] for at, part in enumerate(parts)}
    allowed, seen = parts[0][1][:items], parts[0][2][:users, :items]
    scorers = {
        name: SparseScorer(rows_of(csr_array(table)), items) for name, table in tables.items()
    }
    pool = candidate_pool(scorers, n, allowed, csr_array(seen))
    lists = {name: by_sorting(table, allowed, seen, n) for name, table in tables.items()}
    assert pool.generators == tuple(tables)
    assert len(pool) == users
    for user in range(users):
        span = slice(pool.starts[user], pool.starts[user + 1])
        union = sorted({item for name in tables for item in lists[name][user]})
        assert pool.items[span].tolist() == union
        assert (pool.owners[span] == user).all()
        for at, (name, table) in enumerate(tables.items()):
            assert pool.scores[at, span].tolist() == table[user, union].tolist()
            listed = [table[user, item] for item in lists[name][user]]
            ranks = [
                1 + sum(score > table[user, item] for score in listed)
                if listed and table[user, item] >= listed[-1]
                else 0
                for item in union
            ]
            assert pool.ranks[at, span].tolist() == ranks
    kept = pool.items % 2 == 0
    thin = pool.filter(kept)
    assert thin.items.tolist() == pool.items[kept].tolist()
    assert thin.owners.tolist() == pool.owners[kept].tolist()
    assert thin.scores.tolist() == pool.scores[:, kept].tolist()
    assert thin.ranks.tolist() == pool.ranks[:, kept].tolist()


def test_nearest_items_are_among_the_allowed_ones():
    vectors = make_training_data(users=0, items=8).features.vectors
    contents = InMemoryItemFeatures(vectors)
    allowed = np.arange(16) % 4 == 1
    found, cosines = contents.nearest(vectors[:3], 6, allowed)
    for row, (items, row_cosines) in enumerate(zip(found, cosines, strict=True)):
        order = sorted(np.flatnonzero(allowed), key=lambda i: -float(vectors[row] @ vectors[i]))
        assert items.tolist() == [*order, -1, -1]
        np.testing.assert_allclose(
            row_cosines[:4], vectors[order] @ vectors[row], rtol=1e-5, atol=1e-6
        )
    nothing = contents.nearest(vectors[:2], 2, np.zeros(16, bool))
    assert nothing[0].tolist() == [[-1, -1], [-1, -1]]


def test_scores_that_rounding_parts_have_one_rank():
    """A small score is the sum of terms as large as the best, and rounded as they are."""
    small = np.float32(0.01)
    others = [small, small + np.float32(2e-8), small + np.float32(1e-5)]
    table = np.array([[0.9, *others], [0.0, *others]], np.float32)
    pool = candidate_pool(
        {"one": SparseScorer(rows_of(csr_array(table)), 4)}, 4, np.ones(4, bool), csr_array((2, 4))
    )
    assert pool.ranks[0, :4].tolist() == [1, 3, 3, 2]
    assert pool.ranks[0, 4:].tolist() == [3, 2, 1]  # all are small, and so are their terms
