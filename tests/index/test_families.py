"""One contract for every recipe."""

from __future__ import annotations

import faiss
import numpy as np
import pytest

from isthmus.errors import CorruptRelease
from isthmus.index.ann.bitmap import Bitmap
from isthmus.index.ann.faiss_index import VectorIndex
from isthmus.index.ann.recipes import EXACT, INVERTED_FILE, RECIPES, cells_for, recipe_named
from isthmus.index.ann.search_parameters import SearchParameters
from isthmus.index.ann.shared import Shared
from tests.index.vectors import by_sorting, clustered

ROWS, DIM = 3_000, 32
EVERY = (*RECIPES, INVERTED_FILE)


@pytest.fixture(scope="module")
def vectors():
    return clustered(np.random.default_rng(0), ROWS, DIM)


@pytest.fixture(scope="module", params=EVERY, ids=lambda recipe: recipe.name)
def index(request, vectors):
    made = VectorIndex.build(request.param, vectors)
    return made.trying(SearchParameters(visits=made.most_visits, depth=request.param.depths()[-1]))


def recall(scores, best):
    return float((scores >= best[:, -1:] - 1e-5).mean())


def test_the_greatest_effort_finds_nearly_everything(index, vectors):
    queries = vectors[:100]
    scores, _ = index.search(queries, 10)
    assert recall(scores, by_sorting(queries, vectors, 10)) >= 0.97


@pytest.mark.parametrize("k", [1, 10, 100])
def test_scores_are_the_true_cosines_of_distinct_rows_in_order(index, vectors, k):
    queries = vectors[::97]
    scores, found = index.search(queries, k)
    assert scores.shape == found.shape == (len(queries), k)
    for query, own, rows in zip(queries, scores, found, strict=True):
        assert len(set(rows.tolist())) == k
        np.testing.assert_allclose(own, vectors[rows] @ query, atol=1e-5)
        assert (np.diff(own) <= 1e-6).all()


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_a_filter_is_always_applied(index, vectors, share):
    mask = np.random.default_rng(1).random(ROWS) < share
    allowed, queries = Bitmap(mask), vectors[:100]
    scores, found = index.search_allowed(queries, 10, allowed, visits=ROWS)
    assert mask[found[found >= 0]].all()
    assert recall(scores, by_sorting(queries, vectors, 10, mask)) >= 0.97


def test_a_filter_far_from_the_queries_still_finds_their_nearest(index, vectors):
    closeness = vectors @ vectors[0]
    queries, mask = vectors[np.argsort(-closeness)[:20]], closeness < np.quantile(closeness, 0.3)
    scores, found = index.search_allowed(queries, 10, Bitmap(mask), visits=int(mask.sum()))
    assert mask[found[found >= 0]].all()
    if (
        index.recipe.family != "hnsw"
    ):  # a graph may get stuck; the named vector then searches exactly
        assert recall(scores, by_sorting(queries, vectors, 10, mask)) >= 0.9


def test_another_effort_changes_no_shared_state(index, vectors):
    before = index.search(vectors[:50], 10)[1]
    index.trying(SearchParameters(visits=min(1, index.most_visits))).search(vectors[:50], 10)
    np.testing.assert_array_equal(before, index.search(vectors[:50], 10)[1])


def test_a_written_index_answers_the_same(index, vectors, tmp_path):
    if index.recipe.name == EXACT:
        pytest.skip("the vectors are the index")
    path = tmp_path / "index.faiss"
    index.write(path)
    read = VectorIndex.read(path, index.recipe, vectors, index.parameters)
    np.testing.assert_array_equal(read.search(vectors[:9], 5)[1], index.search(vectors[:9], 5)[1])
    cut = tmp_path / "cut.faiss"
    cut.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CorruptRelease, match="publish --rebuild"):
        VectorIndex.read(cut, index.recipe, vectors, index.parameters)


def test_the_training_of_a_written_index_can_be_taken_over(index, vectors, tmp_path):
    if index.recipe.name == EXACT:
        pytest.skip("the vectors are the index")
    index.write(tmp_path / "index.faiss")
    read = VectorIndex.read(tmp_path / "index.faiss", index.recipe, vectors, index.parameters)
    refilled = VectorIndex.build(index.recipe, vectors[::-1].copy(), read).trying(index.parameters)
    assert (refilled.search(vectors[:20], 1)[1][:, 0] == ROWS - 1 - np.arange(20)).mean() >= 0.9
    assert (read.search(vectors[:20], 1)[1][:, 0] == np.arange(20)).mean() >= 0.9


def test_a_training_taken_over_finds_new_vectors(index):
    fresh = clustered(np.random.default_rng(0), ROWS + 500, DIM)
    refilled = VectorIndex.build(index.recipe, fresh, index).trying(index.parameters)
    scores, found = refilled.search(fresh[-100:], 1)
    assert (found[:, 0] == np.arange(len(fresh))[-100:]).mean() >= 0.97
    np.testing.assert_allclose(scores[:, 0], 1, atol=1e-3)


@pytest.mark.parametrize("name", ["IVF SQ8", "HNSW SQ8"])
def test_vectors_unlike_those_of_training_fit_worse(name):
    half = clustered(np.random.default_rng(5), 1_000, DIM // 2)
    known, unlike = (np.pad(half, ((0, 0), side)) for side in ((0, DIM // 2), (DIM // 2, 0)))
    index = VectorIndex.build(recipe_named(name), known)
    assert index.fit(known) <= 1.001
    assert index.fit(unlike) < 0.8 * index.fit(known)
    assert index.fit(known[:0]) is None


def test_what_has_neither_cells_nor_ranges_of_codes_fits_everything(index, vectors):
    trained = index.recipe.family == "ivf" or index.recipe.name == "HNSW SQ8"
    assert (index.fit(vectors[:50]) is not None) == trained


def test_size_is_that_of_the_codes(index):
    codes = {EXACT: 4 * DIM, "exact fp16": 2 * DIM, "HNSW fp32": 4 * DIM, "HNSW RaBitQ": DIM // 8}
    assert index.bytes_a_vector >= codes.get(index.recipe.name, DIM)
    if index.recipe.family == "flat":
        most = 3 * DIM if index.recipe.refined else codes[index.recipe.name]
        assert index.bytes_a_vector <= most + 1


@pytest.mark.parametrize("recipe", [r for r in RECIPES if r.codes.endswith("fs")], ids=str)
def test_an_index_beyond_the_cache_answers_as_well(recipe, vectors, monkeypatch):
    monkeypatch.setattr("isthmus.index.ann.faiss_index.CACHED_BYTES", 0)
    made = VectorIndex.build(recipe, vectors)
    index = made.trying(SearchParameters(visits=made.most_visits, depth=recipe.depths()[-1]))
    queries, mask = vectors[:100], np.random.default_rng(1).random(ROWS) < 0.5
    assert recall(index.search(queries, 10)[0], by_sorting(queries, vectors, 10)) >= 0.97
    scores, found = index.search_allowed(queries, 10, Bitmap(mask), visits=ROWS)
    assert mask[found[found >= 0]].all()
    assert recall(scores, by_sorting(queries, vectors, 10, mask)) >= 0.97


def test_cells_grow_with_the_rows_and_from_one_square_root_to_four():
    assert [cells_for(rows) for rows in (1, 100, 10_000, 100_000)] == [1, 6, 100, 316]
    assert cells_for(500_000) == 1_414
    assert cells_for(1_000_000) == 4_000
    assert cells_for(4_000_000) == 8_000
    sizes = [cells_for(rows) for rows in range(1, 2_000_000, 9_973)]
    assert sizes == sorted(sizes)


def cells_of(index):
    return faiss.extract_index_ivf(index.faiss_index).quantizer.reconstruct_n(0, cells_for(ROWS))


def finds_nearly_everything(index, vectors):
    index = index.trying(
        SearchParameters(visits=index.most_visits, depth=index.recipe.depths()[-1])
    )
    return recall(index.search(vectors[:50], 10)[0], by_sorting(vectors[:50], vectors, 10)) > 0.95


def test_inverted_files_share_the_centres_of_their_cells(vectors):
    shared, inverted = Shared(), [r for r in EVERY if r.family == "ivf"]
    first = VectorIndex.build(inverted[0], vectors, shared=shared)
    assert shared.seconds("ivf") > 0
    for recipe in inverted[1:]:
        index = VectorIndex.build(recipe, vectors, shared=shared)
        np.testing.assert_array_equal(cells_of(index), cells_of(first))
        assert finds_nearly_everything(index, vectors)


def test_centres_of_other_vectors_are_left_aside(vectors):
    shared = Shared()
    VectorIndex.build(INVERTED_FILE, vectors[:1_000], shared=shared)
    assert len(cells_of(VectorIndex.build(INVERTED_FILE, vectors, shared=shared))) == cells_for(
        ROWS
    )


@pytest.mark.parametrize("first", ["HNSW fp32", "HNSW SQ8", "HNSW RaBitQ"])
def test_graphs_share_their_links(vectors, first):
    shared = Shared()
    names = [first, "HNSW fp32", "HNSW SQ8", "HNSW RaBitQ"]
    made = [VectorIndex.build(recipe_named(name), vectors, shared=shared) for name in names]
    assert shared.seconds("hnsw") > 0
    links = [faiss.vector_to_array(index.faiss_index.hnsw.neighbors) for index in made]
    for index, own in zip(made, links, strict=True):
        np.testing.assert_array_equal(own, links[0])
        assert finds_nearly_everything(index, vectors)


def test_a_graph_of_signs_is_an_eighth_as_large_as_its_vectors_and_still_exact_in_its_scores():
    vectors = clustered(np.random.default_rng(3), 2_000, 384)
    index = VectorIndex.build(recipe_named("HNSW RaBitQ"), vectors)
    assert index.bytes_a_vector < 220
    index = index.trying(SearchParameters(visits=200, depth=10))
    scores, _ = index.search(vectors[:50], 10)
    np.testing.assert_allclose(scores[:, 0], 1, atol=1e-5)
    assert recall(scores, by_sorting(vectors[:50], vectors, 10)) > 0.95
    assert len(index.search(vectors[:2], 150)[1][0]) == 150
