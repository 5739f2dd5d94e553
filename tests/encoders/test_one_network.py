"""Models that read text and media in one network give what their library gives."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

from isthmus import load_encoder
from isthmus.encoders.audio import Waveform
from isthmus.errors import InvalidInput, MissingDependency, UnknownEncoder
from tests.encoders import multimodal_models as models
from tests.encoders.contract import pictures

TEXTS = ["a red shoe", "hat", "a green hat of a blue shoe", "red", "blue shoe " * 90]
ROLES = ("document", "query")
FOLDERS = (models.qwen3_vl_sentence_folder, models.embedding_gemma2_sentence_folder)


def library(folder, **options):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu", local_files_only=True, **options)


def by_library(model, role, contents, **options):
    """Return what the library gives for contents, each by itself."""
    encode = {"document": model.encode_document, "query": model.encode_query}[role]
    return np.stack([encode(content, **options) for content in contents])


def clips():
    rng = np.random.default_rng(0)
    return [rng.standard_normal(n).astype(np.float32) for n in (16_000, 9_000)]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("save", FOLDERS)
def test_texts_and_pictures_of_both_roles(save, role, folder_of, encoder_of):
    folder = folder_of(save)
    encoder, model = encoder_of(f"sentence-transformers/{folder}"), library(folder)
    found = encoder.encode(TEXTS, "text", role)
    np.testing.assert_allclose(found, by_library(model, role, TEXTS), atol=2e-5)
    found = encoder.encode(pictures(), "image", role)
    np.testing.assert_allclose(found, by_library(model, role, pictures()), atol=2e-5)


def test_sounds(folder_of, encoder_of):
    folder = folder_of(models.embedding_gemma2_sentence_folder)
    encoder, model = encoder_of(f"sentence-transformers/{folder}"), library(folder)
    found = encoder.encode([Waveform(clip, models.RATE) for clip in clips()], "audio")
    told = [{"array": clip, "sampling_rate": models.RATE} for clip in clips()]
    np.testing.assert_allclose(found, by_library(model, "document", told), atol=2e-5)


def test_a_prompt_of_a_chat_is_a_message_of_its_own(folder_of):
    folder = folder_of(models.qwen3_vl_sentence_folder)
    spec = f"sentence-transformers/{folder}"
    encoder = load_encoder(f"{spec}?query_prompt=a%20green%20hat", device="cpu")
    model = library(folder)
    for modality, contents in (("text", TEXTS), ("image", pictures())):
        found = encoder.encode(contents, modality, "query")
        expected = by_library(model, "query", contents, prompt="a green hat")
        np.testing.assert_allclose(found, expected, atol=2e-5)
        assert np.abs(found - encoder.encode(contents, modality)).max(1).min() > 1e-4
    assert encoder.fingerprint != load_encoder(spec, device="cpu").fingerprint


def test_an_instruction_takes_its_place_in_the_prompt(folder_of, encoder_of):
    folder = folder_of(models.qwen3_vl_sentence_folder)
    encoder = encoder_of(f"sentence-transformers/{folder}")
    found = encoder.encode(TEXTS, role="query", instruction="a green hat")
    expected = by_library(library(folder), "query", TEXTS, prompt="Instruct: a green hat\nQuery:")
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_a_template_may_ask_for_the_role(folder_of, encoder_of):
    template = models.CHAT + "{% if task == 'query' %}a hat{% endif %}"
    folder = folder_of(models.qwen3_vl_sentence_folder, template=template)
    encoder, model = encoder_of(f"sentence-transformers/{folder}"), library(folder)
    for role in ROLES:
        found = encoder.encode(TEXTS, "text", role)
        np.testing.assert_allclose(found, by_library(model, role, TEXTS), atol=2e-5)
    other = encoder_of(f"sentence-transformers/{folder_of(models.qwen3_vl_sentence_folder)}")
    assert encoder.fingerprint != other.fingerprint
    assert encoder.components["weights"] == other.components["weights"]


def test_long_texts_are_cut_before_the_end_of_the_template_and_counted(folder_of):
    folder = folder_of(models.qwen3_vl_sentence_folder)
    encoder = load_encoder(f"sentence-transformers/{folder}?max_length=30", device="cpu")
    model = library(folder)
    model.max_seq_length = 30
    found = encoder.encode(TEXTS)
    np.testing.assert_allclose(found, by_library(model, "document", TEXTS), atol=2e-5)
    prepared = encoder.prepare(TEXTS, "text")
    assert encoder.are_truncated(prepared, "text") == [False, False, False, False, True]


class TestOfTransformers:
    @pytest.mark.parametrize("save", FOLDERS)
    def test_a_folder_that_states_pooling_is_one_encoder_by_both_names(
        self, save, folder_of, encoder_of
    ):
        folder = folder_of(save)
        one, other = (
            encoder_of(f"{f}/{folder}") for f in ("sentence-transformers", "transformers")
        )
        assert one.components == other.components
        np.testing.assert_array_equal(one.encode(TEXTS), other.encode(TEXTS))

    @pytest.mark.parametrize(
        ("save", "pooling", "mode"),
        [
            (models.qwen3_vl_folder, "last", "lasttoken"),
            (models.embedding_gemma2_folder, "mean", "mean"),
        ],
    )
    def test_a_pooling_that_is_given(self, save, pooling, mode, folder_of, encoder_of):
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.base.modules import Transformer
        from sentence_transformers.sentence_transformer.modules import Pooling

        folder = folder_of(save)
        encoder = encoder_of(f"transformers/{folder}?pooling={pooling}")
        modules = [Transformer(str(folder)), Pooling(encoder.dim, pooling_mode=mode)]
        model = SentenceTransformer(modules=modules, device="cpu")
        for modality, contents in (("text", TEXTS), ("image", pictures())):
            expected = by_library(model, "document", contents, normalize_embeddings=True)
            np.testing.assert_allclose(encoder.encode(contents, modality), expected, atol=2e-5)

    def test_one_that_states_none_is_refused_with_what_to_do(self, folder_of):
        spec = f"transformers/{folder_of(models.qwen3_vl_folder)}"
        message = "states no pooling of its hidden states.*?pooling=last"
        with pytest.raises(UnknownEncoder, match=message):
            load_encoder(spec, device="cpu")
        with pytest.raises(InvalidInput, match="unknown pooling 'max'"):
            load_encoder(f"{spec}?pooling=max", device="cpu")

    def test_without_the_library_it_says_what_to_install(self, folder_of, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "sentence_transformers", None)
        spec = f"transformers/{folder_of(models.qwen3_vl_folder)}?pooling=last"
        with pytest.raises(MissingDependency, match=re.escape("isthmus[sentence-transformers]")):
            load_encoder(spec, device="cpu")


class TestPeAv:
    @pytest.mark.parametrize("kind", ["pe_audio", "pe_audio_video"])
    def test_texts_and_sounds_are_those_of_the_model(self, kind, folder_of, encoder_of):
        import torch
        from transformers import AutoFeatureExtractor, AutoTokenizer

        folder = folder_of(getattr(models, f"{kind}_folder"))
        encoder = encoder_of(f"transformers/{folder}")
        model = getattr(models, f"{kind}_model")().eval()
        hears = getattr(model, "audio_model", model)
        extractor = AutoFeatureExtractor.from_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        for clip, text in zip(clips() * 2, TEXTS[:4], strict=True):
            features = extractor(clip, sampling_rate=models.RATE, return_tensors="pt")
            tokens = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
            with torch.inference_mode():
                out = hears(**tokens, **features)
            for found, expected in (
                (encoder.encode([text]), out.text_audio_embeds),
                (encoder.encode([Waveform(clip, models.RATE)], "audio"), out.audio_embeds),
            ):
                unit = torch.nn.functional.normalize(expected, dim=-1).numpy()
                np.testing.assert_allclose(found, unit, atol=2e-5)

    def test_its_films_are_refused(self, tmp_path):
        (tmp_path / "config.json").write_text('{"model_type": "pe_video"}')
        with pytest.raises(UnknownEncoder, match=r"of text and films.*pe-av"):
            load_encoder(f"transformers/{tmp_path}", device="cpu")


def test_pictures_that_are_not_alike_share_no_batch(folder_of, encoder_of):
    encoder = encoder_of(f"sentence-transformers/{folder_of(models.qwen3_vl_sentence_folder)}")
    sizes = [(64, 64), (32, 64), (64, 32), (32, 64)]
    images = [Image.new("RGB", size, (20 * n, 40, 60)) for n, size in enumerate(sizes)]
    apart = np.concatenate([encoder.encode([image], "image") for image in images])
    np.testing.assert_allclose(encoder.encode(images, "image"), apart, atol=1e-5)
