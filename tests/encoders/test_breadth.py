"""Options and kinds of models give what their library gives, on tiny random weights."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from isthmus import load_encoder
from isthmus.errors import InvalidInput, UnknownEncoder
from tests.encoders import models
from tests.encoders.contract import cosines
from tests.encoders.sounds import noise, sine
from tests.toy import COLOURS

TEXTS = ["a red shoe", "hat", "a green hat of a blue shoe", "red", "blue shoe " * 40]


def library(folder, **options):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu", local_files_only=True, **options)


def pictures():
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (40, 50, 3), np.uint8) for _ in range(3)]
    return [*map(Image.fromarray, noise), Image.new("RGB", (30, 60), COLOURS["red"])]


def test_queries_and_documents_have_networks_of_their_own(folder_of, encoder_of):
    folder = folder_of(models.router_folder)
    encoder, model = encoder_of(f"sentence-transformers/{folder}"), library(folder)
    documents, queries = encoder.encode(TEXTS), encoder.encode(TEXTS, role="query")
    np.testing.assert_allclose(documents, model.encode_document(TEXTS), atol=2e-5)
    np.testing.assert_allclose(queries, model.encode_query(TEXTS), atol=2e-5)
    assert cosines(documents, queries).max() < 0.9
    assert encoder.for_queries().fingerprint == encoder.fingerprint
    assert {"text.query_tokenizer", "text.query_max_length"} <= encoder.components.keys()


def test_a_given_prompt_reaches_the_network_of_queries(folder_of):
    folder = folder_of(models.router_folder)
    encoder = load_encoder(f"sentence-transformers/{folder}?query_prompt=hat", device="cpu")
    expected = library(folder).encode_query(TEXTS, prompt="hat")
    np.testing.assert_allclose(encoder.encode(TEXTS, role="query"), expected, atol=2e-5)


def test_one_model_of_several_modalities(folder_of, encoder_of):
    folder = folder_of(models.clip_sentence_folder)
    encoder, model = encoder_of(f"sentence-transformers/{folder}"), library(folder)
    assert encoder.modalities == {"text", "image"}
    texts = [text[:10] for text in TEXTS]
    expected = model.encode(texts, normalize_embeddings=True)
    np.testing.assert_allclose(encoder.encode(texts), expected, atol=2e-5)
    expected = model.encode(pictures(), normalize_embeddings=True)
    np.testing.assert_allclose(encoder.encode(pictures(), "image"), expected, atol=2e-5)
    assert encoder.for_queries().encode(pictures(), "image").shape == expected.shape


@pytest.mark.parametrize("save", [models.clap_sentence_folder, models.ast_sentence_folder])
def test_sounds_of_a_window_are_those_of_the_library(save, folder_of, encoder_of):
    folder = folder_of(save)
    encoder, model = encoder_of(f"sentence-transformers/{folder}"), library(folder)
    clips = [sine(440), noise(0.5, seed=2), noise(0.3)]
    inputs = [{"array": clip.samples, "sampling_rate": clip.rate} for clip in clips]
    expected = model.encode(inputs, normalize_embeddings=True)
    np.testing.assert_allclose(encoder.encode(clips, "audio"), expected, atol=2e-5)


def test_text_finds_sounds_in_one_space(folder_of, encoder_of):
    folder = folder_of(models.clap_sentence_folder)
    encoder, model = encoder_of(f"sentence-transformers/{folder}"), library(folder)
    assert encoder.modalities == {"text", "audio"}
    texts = [text[:10] for text in TEXTS]
    expected = model.encode(texts, normalize_embeddings=True)
    np.testing.assert_allclose(encoder.encode(texts), expected, atol=2e-5)


def test_a_window_is_refused_where_no_sounds_are_taken(folder_of):
    spec = f"sentence-transformers/{folder_of(models.sentence_folder)}?window=1"
    with pytest.raises(InvalidInput, match=r"window is for audio, and .* takes none"):
        load_encoder(spec, device="cpu")


def test_a_checkpoint_that_the_library_would_fill_with_random_weights_is_refused(folder_of):
    """Of Whisper the library loads the encoder, by names that the whole model does not have."""
    folder = folder_of(models.whisper_folder)
    with pytest.raises(
        UnknownEncoder, match=r"lacks 37 of the model's weights.*or take transformers/"
    ):
        load_encoder(f"sentence-transformers/{folder}", device="cpu")


class TestStatedPooling:
    @pytest.mark.parametrize("mode", ["cls", "mean", "lasttoken"])
    def test_it_is_that_of_the_folder(self, mode, folder_of, encoder_of):
        folder = folder_of(models.pooled_folder, mode=mode)
        expected = library(folder).encode(TEXTS, normalize_embeddings=True)
        # The two read different lengths: 24 tokens, and what the model has positions for.
        found = encoder_of(f"transformers/{folder}?max_length=24").encode(TEXTS)
        np.testing.assert_allclose(found, expected, atol=2e-5)

    def test_as_former_versions_of_the_library_stated_it(self, folder_of, tmp_path):
        folder = shutil.copytree(folder_of(models.pooled_folder), tmp_path / "copy")
        stated = {"word_embedding_dimension": 32, "pooling_mode_cls_token": True}
        stated |= {"pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": False}
        (folder / "1_Pooling/config.json").write_text(json.dumps(stated))
        encoder = load_encoder(f"transformers/{folder}", device="cpu")
        assert encoder.components["text.pooling"] == "cls"

    def test_an_option_takes_its_place(self, folder_of):
        folder = folder_of(models.pooled_folder)
        encoder = load_encoder(f"transformers/{folder}?pooling=mean", device="cpu")
        assert encoder.components["text.pooling"] == "mean"

    def test_what_hidden_states_lack_is_refused(self, folder_of):
        folder = folder_of(models.sentence_folder)
        with pytest.raises(UnknownEncoder, match="states Dense beside its pooling"):
            load_encoder(f"transformers/{folder}", device="cpu")
        load_encoder(f"transformers/{folder}?pooling=mean", device="cpu")

    def test_another_pooling_is_refused(self, folder_of):
        folder = folder_of(models.pooled_folder, mode="max")
        with pytest.raises(UnknownEncoder, match="states the pooling max"):
            load_encoder(f"transformers/{folder}", device="cpu")


HUB = """
import numpy as np
from isthmus import load_encoder

encoder, local = (load_encoder(f"open_clip/{name}", device="cpu") for name in NAMES)
assert encoder.spec == "open_clip/hf-hub:org/tiny"
texts = ["a red shoe", "hat"]
np.testing.assert_array_equal(encoder.encode(texts), local.encode(texts))
print("equal")
"""


def test_open_clip_by_a_name_on_the_hub(folder_of, tmp_path):
    """From the cache of the hub, without a network, in the layout in which it keeps models."""
    folder, commit = folder_of(models.open_clip_folder), "0123456789abcdef" * 2 + "01234567"
    cached = tmp_path / "hub/models--org--tiny"
    shutil.copytree(folder, cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs/main").write_text(commit)
    names = ["hf-hub:org/tiny", str(folder)]
    done = subprocess.run(
        [sys.executable, "-c", f"NAMES = {names!r}{HUB}"],
        env={**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["equal"], done.stderr


class TestDtype:
    @pytest.mark.parametrize("dtype", ["bf16", "fp16"])
    def test_texts_are_those_of_the_library_in_that_type(self, dtype, folder_of):
        import torch

        folder = folder_of(models.sentence_folder)
        encoder = load_encoder(f"sentence-transformers/{folder}?dtype={dtype}", device="cpu")
        weights = {"bf16": torch.bfloat16, "fp16": torch.float16}[dtype]
        assert {tensor.dtype for tensor in encoder.model.parameters()} == {weights}
        model = library(folder, model_kwargs={"dtype": weights})
        expected = model.encode(TEXTS, convert_to_tensor=True).float().numpy()
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)  # ours is exact, theirs bf16
        found = encoder.encode(TEXTS)
        assert cosines(found, expected).min() > 0.9995
        assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-6)
        exact = load_encoder(f"sentence-transformers/{folder}", device="cpu")
        assert encoder.fingerprint != exact.fingerprint
        assert 1e-7 < 1 - cosines(found, exact.encode(TEXTS)).min() < 1e-3

    @pytest.mark.parametrize(
        ("family", "save"),
        [
            ("transformers", models.clip_folder),
            ("transformers", models.siglip2_folder),
            ("transformers", models.vit_folder),
            ("open_clip", models.open_clip_folder),
            ("timm", models.timm_checkpoint),
            ("clap", models.clap_folder),
        ],
    )
    def test_every_family_takes_it(self, family, save, folder_of, encoder_of):
        name = f"test_vit:{folder_of(save)}" if family == "timm" else folder_of(save)
        encoder = load_encoder(f"{family}/{name}?dtype=bf16", device="cpu")
        exact = encoder_of(f"{family}/{name}")
        for modality, contents in (("text", TEXTS[:4]), ("image", pictures())):
            if modality in encoder.modalities:
                found, expected = (
                    encoder.encode(contents, modality),
                    exact.encode(contents, modality),
                )
                assert cosines(found, expected).min() > 0.995

    def test_fp32_is_exact(self, folder_of, encoder_of):
        folder = folder_of(models.sentence_folder)
        encoder = load_encoder(f"sentence-transformers/{folder}?dtype=fp32", device="cpu")
        assert encoder.fingerprint == encoder_of(f"sentence-transformers/{folder}").fingerprint

    def test_it_is_recorded_and_loaded_again(self, folder_of, tmp_path):
        from isthmus import Space

        spec = f"sentence-transformers/{folder_of(models.sentence_folder)}?dtype=bf16"
        space = Space.create(tmp_path / "s", encoder=spec, device="cpu")
        space.upsert([{"item_id": "a", "domain": "d", "text": "a red shoe"}])
        opened = Space.open(tmp_path / "s", device="cpu")
        assert opened.search("a red shoe")[0].item_id == "a"

    def test_the_second_stage_takes_it(self, folder_of):
        from isthmus.encoders.registry import load_second_stage

        for family, save in (
            ("cross-encoder", models.cross_encoder_folder),
            ("late-interaction", models.colbert_folder),
            ("sparse", models.splade_folder),
        ):
            spec = f"{family}/{folder_of(save)}"
            half, exact = (load_second_stage(s, device="cpu") for s in (f"{spec}?dtype=bf16", spec))
            assert half.fingerprint != exact.fingerprint
            if family == "cross-encoder":
                found, expected = (one.score("hat", TEXTS) for one in (half, exact))
            else:
                found, expected = (one.encode_query("a hat") for one in (half, exact))
            if family == "sparse":
                found, expected = found["weight"][:5], expected["weight"][:5]
            np.testing.assert_allclose(found, expected, atol=0.1)

    @pytest.mark.parametrize(
        ("options", "precision", "message"),
        [
            ("?dtype=int8", "auto", "dtype=int8 is no type of weights; use one of fp32, bf16"),
            ("?dtype=bf16", "fp32", "precision='fp32' disagree"),
            ("?dtype=bf16&backend=openvino-fp32", "auto", "leave dtype out"),
            ("?wat=1", "auto", "these options: wat; it takes .*revision"),
        ],
    )
    def test_what_cannot_be_is_refused(self, options, precision, message, folder_of):
        spec = f"sentence-transformers/{folder_of(models.sentence_folder)}{options}"
        with pytest.raises(InvalidInput, match=message):
            load_encoder(spec, device="cpu", precision=precision)

    def test_a_family_without_weights_refuses_it(self):
        with pytest.raises(InvalidInput, match="these options: dtype; it takes base_url, key_env"):
            load_encoder("openai/x?base_url=http://localhost:1/v1&dtype=bf16")
