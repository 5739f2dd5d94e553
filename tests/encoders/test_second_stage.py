"""Models of the second stage give what their library gives, on tiny random weights."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from isthmus import load_encoder
from isthmus.encoders.multi_vectors import compress, expand, max_sim
from isthmus.encoders.registry import load_second_stage
from isthmus.errors import InvalidInput, UnknownEncoder
from tests.encoders import models

TEXTS = ["a red shoe", "hat", "", "a green hat of a blue shoe", "red", "hat", "blue shoe " * 40]
QUERY = "a blue hat"


def load(family, folder, options=""):
    return load_second_stage(f"{family}/{folder}{options}", device="cpu")


class TestCrossEncoder:
    @pytest.fixture
    def folder(self, folder_of):
        return folder_of(models.cross_encoder_folder)

    def library(self, folder, **options):
        from sentence_transformers import CrossEncoder

        return CrossEncoder(str(folder), device="cpu", local_files_only=True, **options)

    def test_scores_are_those_of_predict(self, folder):
        scores = load("cross-encoder", folder).score(QUERY, TEXTS)
        expected = self.library(folder).predict([(QUERY, text) for text in TEXTS])
        np.testing.assert_allclose(scores, expected, atol=1e-5)
        assert np.ptp(scores) > 0.05

    def test_the_order_is_that_of_rank(self, folder):
        distinct = list(dict.fromkeys(TEXTS))
        scores = load("cross-encoder", folder).score(QUERY, distinct)
        ranked = self.library(folder).rank(QUERY, distinct)
        assert np.argsort(-scores).tolist() == [place["corpus_id"] for place in ranked]

    def test_equal_texts_have_equal_scores(self, folder):
        scores = load("cross-encoder", folder).score(QUERY, [f"hat {n}" for n in range(70)] + TEXTS)
        assert scores[-2] != scores[-1]
        assert scores[70 + 1] == scores[70 + 5]

    def test_max_length_cuts_as_the_library_cuts(self, folder):
        scores = load("cross-encoder", folder, "?max_length=8").score(QUERY, TEXTS)
        library = self.library(folder, max_length=8)
        expected = library.predict([(QUERY, text) for text in TEXTS])
        np.testing.assert_allclose(scores, expected, atol=1e-5)

    def test_a_sigmoid_of_the_configuration_is_applied(self, folder, tmp_path):
        copy = shutil.copytree(folder, tmp_path / "copy")
        stated = json.loads((copy / "config_sentence_transformers.json").read_text())
        stated["activation_fn"] = "torch.nn.modules.activation.Sigmoid"
        (copy / "config_sentence_transformers.json").write_text(json.dumps(stated))
        scores = load("cross-encoder", copy).score(QUERY, TEXTS)
        expected = self.library(copy).predict([(QUERY, text) for text in TEXTS])
        np.testing.assert_allclose(scores, expected, atol=1e-5)
        assert ((scores > 0) & (scores < 1)).all()
        assert load("cross-encoder", copy).fingerprint != load("cross-encoder", folder).fingerprint

    def test_an_activation_of_its_own_is_refused(self, folder, tmp_path):
        copy = shutil.copytree(folder, tmp_path / "copy")
        stated = json.loads((copy / "config_sentence_transformers.json").read_text())
        stated["activation_fn"] = "evil.Activation"
        (copy / "config_sentence_transformers.json").write_text(json.dumps(stated))
        with pytest.raises(UnknownEncoder, match=r"evil\.Activation"):
            load("cross-encoder", copy)

    def test_several_scores_are_refused(self, folder_of):
        folder = folder_of(models.cross_encoder_folder, n_labels=3)
        with pytest.raises(UnknownEncoder, match="gives 3 scores to a pair"):
            load("cross-encoder", folder)

    @pytest.mark.parametrize("save", [models.bert_folder, models.sentence_folder])
    def test_another_model_is_refused(self, save, folder_of):
        with pytest.raises(UnknownEncoder, match="is no CrossEncoder"):
            load("cross-encoder", folder_of(save))

    def test_the_folder_is_no_part_of_the_fingerprint(self, folder, tmp_path):
        copy = shutil.copytree(folder, tmp_path / "copy")
        assert load("cross-encoder", copy).fingerprint == load("cross-encoder", folder).fingerprint
        other = models.cross_encoder_folder(tmp_path / "other", seed=1)
        assert load("cross-encoder", other).fingerprint != load("cross-encoder", folder).fingerprint

    def test_it_is_no_encoder_of_items(self, folder):
        for family in ("cross-encoder", "sentence-transformers"):
            with pytest.raises(UnknownEncoder, match="rerank="):
                load_encoder(f"{family}/{folder}", device="cpu")

    def test_half_a_character_is_refused(self, folder):
        with pytest.raises(InvalidInput, match="half of a surrogate pair"):
            load("cross-encoder", folder).score(QUERY, ["\ud83d"])


class TestLateInteraction:
    @pytest.fixture
    def folder(self, folder_of):
        return folder_of(models.colbert_folder)

    def library(self, folder):
        from sentence_transformers import MultiVectorEncoder

        return MultiVectorEncoder(str(folder), device="cpu", local_files_only=True)

    def test_vectors_are_those_of_both_roles(self, folder):
        model, library = load("late-interaction", folder), self.library(folder)
        assert model.modality == "text"
        np.testing.assert_allclose(
            model.encode_query(QUERY), library.encode_query(QUERY, convert_to_numpy=True), atol=1e-5
        )
        expected = library.encode_document(TEXTS, convert_to_numpy=True)
        for ours, theirs in zip(model.encode_documents(TEXTS), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)
        assert len(model.encode_query(QUERY)) == 12

    def test_max_sim_is_that_of_the_library(self, folder):
        model, library = load("late-interaction", folder), self.library(folder)
        query, documents = library.encode_query([QUERY]), library.encode_document(TEXTS)
        expected = library.similarity(query, documents)[0].numpy()
        ours = max_sim(model.encode_query(QUERY), model.encode_documents(TEXTS))
        np.testing.assert_allclose(ours, expected, atol=1e-5)

    def test_compressed_vectors_score_nearly_the_same(self, folder):
        model = load("late-interaction", folder)
        exact = max_sim(model.encode_query(QUERY), model.encode_documents(TEXTS))
        scores = model.score(QUERY, model.encode_records(TEXTS))
        np.testing.assert_allclose(scores, exact, atol=12 * 0.01)
        assert not np.array_equal(scores, exact)

    def test_the_mean_over_tokens_is_taken_where_the_model_takes_it(self, folder, tmp_path):
        copy = shutil.copytree(folder, tmp_path / "copy")
        stated = json.loads((copy / "config_sentence_transformers.json").read_text())
        stated["similarity_fn_name"] = "meanmaxsim"
        (copy / "config_sentence_transformers.json").write_text(json.dumps(stated))
        model, other = load("late-interaction", copy), load("late-interaction", folder)
        records = model.encode_records(TEXTS)
        expected = other.score(QUERY, records) / 12
        np.testing.assert_allclose(model.score(QUERY, records), expected, atol=1e-6)
        assert model.fingerprint != other.fingerprint

    def test_a_model_without_a_trained_projection_is_refused(self, folder_of):
        for save in (models.bert_folder, models.sentence_folder, models.cross_encoder_folder):
            with pytest.raises(UnknownEncoder, match="is no MultiVectorEncoder"):
                load("late-interaction", folder_of(save))

    def test_it_is_no_encoder_of_items(self, folder):
        for family in ("late-interaction", "sentence-transformers"):
            with pytest.raises(UnknownEncoder, match="isthmus precompute"):
                load_encoder(f"{family}/{folder}", device="cpu")


class TestCompression:
    @given(
        arrays(np.float32, st.tuples(st.integers(0, 5), st.integers(1, 8)),
               elements=st.floats(-1e3, 1e3, width=32, allow_subnormal=False))
    )  # fmt: skip
    def test_a_value_is_off_by_half_a_code(self, vectors):
        largest = np.abs(vectors).max(axis=1, initial=0, keepdims=True)
        back = expand(compress(vectors))
        assert back.shape == vectors.shape
        assert (np.abs(back - vectors) <= largest / 253 + 1e-30).all()

    @given(st.lists(st.integers(0, 4), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
    def test_max_sim_is_its_definition(self, lengths, seed):
        rng = np.random.default_rng(seed)
        query = rng.standard_normal((3, 4)).astype(np.float32)
        documents = [rng.standard_normal((n, 4)).astype(np.float32) for n in lengths]
        scores = max_sim(query, documents)
        for score, vectors in zip(scores, documents, strict=True):
            if len(vectors):
                expected = sum(max(float(q @ v) for v in vectors) for q in query)
            else:
                expected = -sum(float(np.linalg.norm(q)) for q in query)
            assert score == pytest.approx(expected, abs=1e-4)


class TestLearnedSparse:
    @pytest.fixture
    def folder(self, folder_of):
        return folder_of(models.splade_folder)

    def library(self, folder):
        from sentence_transformers import SparseEncoder

        return SparseEncoder(str(folder), device="cpu", local_files_only=True)

    def dense(self, model, records):
        vectors = np.zeros((len(records), model.dim), np.float32)
        for row, of_text in zip(vectors, records, strict=True):
            row[of_text["term"]] = of_text["weight"]
        return vectors

    def test_weights_are_those_of_both_roles(self, folder):
        model, library = load("sparse", folder), self.library(folder)
        texts = TEXTS * 6  # several batches
        documents = self.dense(model, model.encode_records(texts))
        expected = library.encode_document(texts, convert_to_sparse_tensor=False).numpy()
        np.testing.assert_allclose(documents, expected, atol=1e-5)
        query = self.dense(model, [model.encode_query(QUERY)])
        expected = library.encode_query([QUERY], convert_to_sparse_tensor=False).numpy()
        np.testing.assert_allclose(query, expected, atol=1e-5)
        assert 0 < (documents > 0).mean() < 0.9

    @pytest.mark.parametrize("similarity", ["dot", "cosine"])
    def test_inner_products_are_its_similarity(self, similarity, folder_of):
        folder = folder_of(models.splade_folder, similarity=similarity)
        model, library = load("sparse", folder), self.library(folder)
        query = self.dense(model, [model.encode_query(QUERY)])
        documents = self.dense(model, model.encode_records(TEXTS))
        expected = library.similarity(library.encode_query([QUERY]), library.encode_document(TEXTS))
        np.testing.assert_allclose(query @ documents.T, expected.numpy(), rtol=1e-4, atol=1e-5)

    def test_a_similarity_that_is_no_inner_product_is_refused(self, folder_of):
        folder = folder_of(models.splade_folder, similarity="euclidean")
        with pytest.raises(UnknownEncoder, match="compares its vectors by euclidean"):
            load("sparse", folder)

    def test_a_masked_language_model_is_taken_as_the_library_takes_it(self, folder_of):
        folder = folder_of(models.masked_bert_folder)
        model = load("sparse", folder)
        expected = self.library(folder).encode_document(TEXTS, convert_to_sparse_tensor=False)
        found = self.dense(model, model.encode_records(TEXTS))
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)

    @pytest.mark.parametrize("save", [models.bert_folder, models.sentence_folder])
    def test_a_model_without_trained_terms_is_refused(self, save, folder_of):
        with pytest.raises(UnknownEncoder, match="is no SparseEncoder"):
            load("sparse", folder_of(save))

    def test_it_is_no_encoder_of_items(self, folder):
        with pytest.raises(UnknownEncoder, match="words='sparse'"):
            load_encoder(f"sentence-transformers/{folder}", device="cpu")


def test_an_unknown_family_is_refused_with_examples():
    with pytest.raises(UnknownEncoder, match="cross-encoder/ms-marco"):
        load_second_stage("bm42/x")


def test_an_unknown_option_is_refused():
    with pytest.raises(InvalidInput, match="does not take these options"):
        load_second_stage("cross-encoder/x?pooling=cls")
