"""Models of the second stage give what their library gives, on tiny random weights."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from isthmus import load_encoder
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
        with pytest.raises(UnknownEncoder, match="is no cross-encoder"):
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


def test_an_unknown_family_is_refused_with_examples():
    with pytest.raises(UnknownEncoder, match="cross-encoder/ms-marco"):
        load_second_stage("bm42/x")


def test_an_unknown_option_is_refused():
    with pytest.raises(InvalidInput, match="does not take these options"):
        load_second_stage("cross-encoder/x?pooling=cls")
