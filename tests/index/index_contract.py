"""What every index family promises, as an abstract test class: one subclass a family runs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from isthmus.errors import CorruptRelease
from isthmus.index.ann.bitmap import Bitmap
from isthmus.index.ann.contract import SharedTraining
from isthmus.index.ann.recipes import RECIPES
from tests.index.vectors import by_sorting, clustered

ROWS, DIM = 3_000, 32
MIN_RECALL = 0.97
PQ_CENTROIDS = 16
MAPS = Path("/proc/self/maps")


def recall(scores, best):
    return float((scores >= best[:, -1:] - 1e-5).mean())


def recipes_of(family):
    return [recipe for recipe in RECIPES if recipe.family is family]


def at_full_width(index):
    """The index with the greatest search parameters worth trying."""
    return index.with_width(index.max_width, index.recipe.refine_factors[-1])


def reopened(index, vectors, path):
    """The index written to a file and read again; an exact one is its vectors, and has no file."""
    if index.is_exact:
        return index.recipe.build(vectors).with_parameters(index.parameters)
    index.write(path)
    return index.recipe.read(path, vectors, index.parameters)


class IndexFamilyContract:
    """Run for every recipe of the family that a subclass names."""

    family = None

    @pytest.fixture(scope="class")
    def vectors(self):
        return clustered(np.random.default_rng(0), ROWS, DIM)

    @pytest.fixture(scope="class")
    def index(self, recipe, vectors):
        return at_full_width(recipe.build(vectors))

    def test_the_widest_search_finds_what_exact_search_finds(self, index, vectors):
        queries = vectors[:100]
        scores, _ = index.search(queries, 10)
        assert recall(scores, by_sorting(queries, vectors, 10)) >= MIN_RECALL

    @pytest.mark.parametrize("k", [1, 10, 100])
    def test_scores_are_exact_cosines_of_distinct_rows_in_order(self, index, vectors, k):
        queries = vectors[::97]
        scores, positions = index.search(queries, k)
        assert scores.shape == positions.shape == (len(queries), k)
        for query, query_scores, rows in zip(queries, scores, positions, strict=True):
            assert len(set(rows.tolist())) == k
            np.testing.assert_allclose(query_scores, vectors[rows] @ query, atol=1e-5)
            assert (np.diff(query_scores) <= 1e-6).all()

    def test_search_parameters_of_one_call_change_no_other(self, index, vectors):
        before = index.search(vectors[:50], 10)[1]
        index.with_width(min(1, index.max_width)).search(vectors[:50], 10)
        index.search(vectors[:50], 10, search_scale=0.1)
        np.testing.assert_array_equal(before, index.search(vectors[:50], 10)[1])

    def test_a_search_scale_returns_exact_scores_too(self, index, vectors):
        scores, positions = index.search(vectors[:20], 10, search_scale=0.25)
        exact = np.einsum("qd,qkd->qk", vectors[:20], vectors[positions])
        np.testing.assert_allclose(scores, exact, atol=1e-5)

    @pytest.mark.parametrize("fraction", [0.5, 0.1])
    def test_a_bitmap_is_always_applied(self, index, vectors, fraction):
        mask = np.random.default_rng(1).random(ROWS) < fraction
        queries = vectors[:100]
        scores, positions = index.search_filtered(queries, 10, Bitmap(mask), n_candidates=ROWS)
        assert mask[positions[positions >= 0]].all()
        assert recall(scores, by_sorting(queries, vectors, 10, mask)) >= MIN_RECALL

    def test_a_bitmap_far_from_the_queries_holds(self, index, vectors):
        closeness = vectors @ vectors[0]
        queries = vectors[np.argsort(-closeness)[:20]]
        mask = closeness < np.quantile(closeness, 0.3)
        scores, positions = index.search_filtered(
            queries, 10, Bitmap(mask), n_candidates=int(mask.sum())
        )
        assert mask[positions[positions >= 0]].all()
        self.check_far_recall(recall(scores, by_sorting(queries, vectors, 10, mask)))

    def check_far_recall(self, reached):
        assert reached >= 0.9

    def test_a_written_index_answers_the_same(self, index, vectors, tmp_path):
        path = tmp_path / "index.faiss"
        read, queries = reopened(index, vectors, path), vectors[:9]
        np.testing.assert_array_equal(read.search(queries, 5)[1], index.search(queries, 5)[1])
        if index.is_exact:
            assert not path.exists()
            return
        cut = tmp_path / "cut.faiss"
        cut.write_bytes(path.read_bytes()[:100])
        with pytest.raises(CorruptRelease, match="publish --rebuild"):
            index.recipe.read(cut, vectors, index.parameters)

    @pytest.mark.skipif(not MAPS.exists(), reason="needs the memory maps of Linux")
    def test_a_read_index_is_mapped(self, index, vectors, tmp_path):
        if index.is_exact:
            pytest.skip("the vectors are the index")
        read = reopened(index, vectors, tmp_path / "index.faiss")
        sizes = [
            int(end, 16) - int(start, 16)
            for start, end in (
                line.split()[0].split("-")
                for line in MAPS.read_text().splitlines()
                if line.endswith(str(tmp_path / "index.faiss"))
            )
        ]
        # Beside the codes, lists and graphs, a file has centroids and codebooks.
        assert sum(sizes) >= (tmp_path / "index.faiss").stat().st_size / 2
        del read

    def test_the_training_of_a_written_index_can_be_taken_over(self, index, vectors, tmp_path):
        read = reopened(index, vectors, tmp_path / "index.faiss")
        refilled = index.recipe.build(vectors[::-1].copy(), read).with_parameters(index.parameters)
        nearest = refilled.search(vectors[:20], 1)[1][:, 0]
        assert (nearest == ROWS - 1 - np.arange(20)).mean() >= 0.9
        assert (read.search(vectors[:20], 1)[1][:, 0] == np.arange(20)).mean() >= 0.9

    def test_a_training_taken_over_finds_new_vectors(self, index):
        fresh = clustered(np.random.default_rng(0), ROWS + 500, DIM)
        refilled = index.recipe.build(fresh, index).with_parameters(index.parameters)
        scores, positions = refilled.search(fresh[-100:], 1)
        assert (positions[:, 0] == np.arange(len(fresh))[-100:]).mean() >= MIN_RECALL
        np.testing.assert_allclose(scores[:, 0], 1, atol=1e-3)

    @pytest.mark.parametrize("rows", [1, 9, 40])
    def test_a_tiny_index_finds_all_it_has(self, recipe, rows):
        if "PQ" in recipe.codes:  # FAISS trains no product quantizer with fewer vectors
            rows = max(rows, PQ_CENTROIDS)
        vectors = clustered(np.random.default_rng(4), rows, DIM)
        index = at_full_width(recipe.build(vectors))
        scores, positions = index.search(vectors[:1], rows + 2)
        assert set(positions[0, :rows].tolist()) == set(range(rows))
        assert positions[0, rows:].tolist() == [-1, -1]
        assert np.isneginf(scores[0, rows:]).all()

    def test_no_queries_have_no_results(self, index, vectors):
        scores, positions = index.search(vectors[:0], 5)
        assert scores.shape == positions.shape == (0, 5)

    def test_indexes_of_a_family_share_what_they_were_made_of(self, recipe, vectors):
        shared = SharedTraining()
        for other in (*recipes_of(self.family), recipe):
            index = at_full_width(other.build(vectors, shared=shared))
            scores, _ = index.search(vectors[:50], 10)
            assert recall(scores, by_sorting(vectors[:50], vectors, 10)) > 0.95

    def test_parameters_name_their_width(self, recipe, index):
        parameters = recipe.family.search_parameters(7, 2)
        assert parameters.width == (7 if index.max_width else 0)
        assert parameters.refine_factor == 2
        assert index.with_parameters(parameters).parameters == parameters

    def test_widened_parameters_look_at_more(self, index):
        narrow = index.with_width(min(4, index.max_width), 1)
        wider = narrow.widened_parameters(1.1)
        assert wider.width > narrow.parameters.width or wider.refine_factor > 1

    def test_extrapolated_costs_rise_with_the_rows(self, recipe):
        costs = [recipe.family.extrapolate(1.0, 1.5, (1_000, 4_000, n)) for n in (4_000, 9_000)]
        assert costs[0] == pytest.approx(1.5)
        assert costs[1] > costs[0]
