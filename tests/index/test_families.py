"""The index families: all run the contract, and each has tests of its own."""

from __future__ import annotations

import faiss
import numpy as np
import pytest

from isthmus.index.ann.bitmap import Bitmap
from isthmus.index.ann.contract import SharedTraining
from isthmus.index.ann.flat import FlatIndex
from isthmus.index.ann.hnsw import HnswIndex
from isthmus.index.ann.ivf import IvfIndex, choose_nlist
from isthmus.index.ann.recipes import EXACT, RECIPES, recipe_named
from tests.index.index_contract import (
    DIM,
    ROWS,
    IndexFamilyContract,
    at_full_width,
    recall,
    recipes_of,
)
from tests.index.vectors import by_sorting, clustered


def name_of(recipe):
    return recipe.name


@pytest.fixture(scope="module")
def vectors():
    return clustered(np.random.default_rng(0), ROWS, DIM)


class TestFlat(IndexFamilyContract):
    family = FlatIndex

    @pytest.fixture(scope="class", params=recipes_of(FlatIndex), ids=name_of)
    def recipe(self, request):
        return request.param

    def test_size_is_that_of_the_codes(self, index):
        sizes = {EXACT: 4 * DIM, "exact fp16": 2 * DIM}
        largest = 3 * DIM if index.recipe.is_refined else sizes[index.recipe.name]
        assert sizes.get(index.recipe.name, DIM) <= index.bytes_per_vector <= largest + 1

    def test_every_vector_fits(self, index, vectors):
        assert index.training_fit(vectors[:50]) is None


class TestHnsw(IndexFamilyContract):
    family = HnswIndex

    @pytest.fixture(scope="class", params=recipes_of(HnswIndex), ids=name_of)
    def recipe(self, request):
        return request.param

    def check_far_recall(self, reached):
        """A graph may get stuck far from the filter; the segment then searches exactly."""

    def test_size_is_at_least_that_of_the_codes(self, index):
        sizes = {"HNSW fp32": 4 * DIM, "HNSW RaBitQ": DIM // 8}
        assert index.bytes_per_vector >= sizes.get(index.recipe.name, DIM)

    def test_codes_with_ranges_know_how_vectors_fit(self, index, vectors):
        has_ranges = index.recipe.name == "HNSW SQ8"
        assert (index.training_fit(vectors[:50]) is not None) == has_ranges


class TestIvf(IndexFamilyContract):
    family = IvfIndex

    @pytest.fixture(scope="class", params=recipes_of(IvfIndex), ids=name_of)
    def recipe(self, request):
        return request.param

    def test_size_is_at_least_that_of_the_codes(self, index):
        assert index.bytes_per_vector >= DIM

    def test_centroids_know_how_vectors_fit(self, index, vectors):
        assert index.training_fit(vectors[:50]) is not None


def test_every_recipe_is_of_a_tested_family():
    families = {TestFlat.family, TestHnsw.family, TestIvf.family}
    assert {recipe.family for recipe in RECIPES} == families


@pytest.mark.parametrize("name", ["IVF SQ8", "HNSW SQ8"])
def test_vectors_unlike_those_of_training_fit_worse(name):
    half = clustered(np.random.default_rng(5), 1_000, DIM // 2)
    trained, unlike = (np.pad(half, ((0, 0), side)) for side in ((0, DIM // 2), (DIM // 2, 0)))
    index = recipe_named(name).build(trained)
    assert index.training_fit(trained) <= 1.001
    assert index.training_fit(unlike) < 0.8 * index.training_fit(trained)
    assert index.training_fit(trained[:0]) is None


@pytest.mark.parametrize("recipe", [r for r in RECIPES if r.codes.endswith("fs")], ids=name_of)
def test_an_index_beyond_the_cache_answers_as_well(recipe, vectors, monkeypatch):
    monkeypatch.setattr("isthmus.index.ann.ivf.CACHED_BYTES", 0)
    index = at_full_width(recipe.build(vectors))
    queries, mask = vectors[:100], np.random.default_rng(1).random(ROWS) < 0.5
    assert recall(index.search(queries, 10)[0], by_sorting(queries, vectors, 10)) >= 0.97
    scores, positions = index.search_filtered(queries, 10, Bitmap(mask), n_candidates=ROWS)
    assert mask[positions[positions >= 0]].all()
    assert recall(scores, by_sorting(queries, vectors, 10, mask)) >= 0.97


def test_lists_grow_with_the_rows_and_from_one_square_root_to_four():
    assert [choose_nlist(rows) for rows in (1, 100, 10_000, 100_000)] == [1, 6, 100, 316]
    assert choose_nlist(500_000) == 1_414
    assert choose_nlist(1_000_000) == 4_000
    assert choose_nlist(4_000_000) == 8_000
    sizes = [choose_nlist(rows) for rows in range(1, 2_000_000, 9_973)]
    assert sizes == sorted(sizes)


def centroids_of(index):
    inverted_file = faiss.extract_index_ivf(index.faiss_index)
    return inverted_file.quantizer.reconstruct_n(0, choose_nlist(ROWS))


def finds_nearly_everything(index, vectors):
    scores, _ = at_full_width(index).search(vectors[:50], 10)
    return recall(scores, by_sorting(vectors[:50], vectors, 10)) > 0.95


def test_inverted_files_share_their_centroids(vectors):
    shared, inverted_files = SharedTraining(), recipes_of(IvfIndex)
    first = inverted_files[0].build(vectors, shared=shared)
    assert shared.seconds(IvfIndex) > 0
    for recipe in inverted_files[1:]:
        index = recipe.build(vectors, shared=shared)
        np.testing.assert_array_equal(centroids_of(index), centroids_of(first))
        assert finds_nearly_everything(index, vectors)


def test_centroids_of_another_number_of_lists_are_not_taken_over(vectors):
    shared, recipe = SharedTraining(), recipe_named("IVF SQ8")
    recipe.build(vectors[:1_000], shared=shared)
    assert len(centroids_of(recipe.build(vectors, shared=shared))) == choose_nlist(ROWS)


@pytest.mark.parametrize("first", ["HNSW fp32", "HNSW SQ8", "HNSW RaBitQ"])
def test_graphs_share_their_links(vectors, first):
    shared = SharedTraining()
    names = [first, "HNSW fp32", "HNSW SQ8", "HNSW RaBitQ"]
    indexes = [recipe_named(name).build(vectors, shared=shared) for name in names]
    assert shared.seconds(HnswIndex) > 0
    links = [faiss.vector_to_array(index.faiss_index.hnsw.neighbors) for index in indexes]
    for index, index_links in zip(indexes, links, strict=True):
        np.testing.assert_array_equal(index_links, links[0])
        assert finds_nearly_everything(index, vectors)


def test_a_graph_of_signs_is_an_eighth_as_large_as_its_vectors_and_still_exact_in_its_scores():
    vectors = clustered(np.random.default_rng(3), 2_000, 384)
    index = recipe_named("HNSW RaBitQ").build(vectors)
    assert index.bytes_per_vector < 220
    index = index.with_width(200, 10)
    scores, _ = index.search(vectors[:50], 10)
    np.testing.assert_allclose(scores[:, 0], 1, atol=1e-5)
    assert recall(scores, by_sorting(vectors[:50], vectors, 10)) > 0.95
    assert len(index.search(vectors[:2], 150)[1][0]) == 150
