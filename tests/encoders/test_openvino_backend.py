"""Encoders on OpenVINO: vectors close to the model's, and refusal of those that are not."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from isthmus import Space, load_encoder
from isthmus.encoders.stack import LazyEncoders
from isthmus.errors import FingerprintMismatch, InvalidInput, MissingDependency
from tests.encoders import models
from tests.encoders.contract import TEXTS, pictures

INT8 = "local/text?backend=openvino-int8"


@pytest.fixture(scope="module")
def plain(encoder_of):
    return encoder_of("local/text")


@pytest.fixture(scope="module")
def quick(encoder_of):
    return encoder_of(INT8)


def test_its_vectors_are_nearly_those_of_the_model(plain, quick):
    ours, expected = quick.encode(TEXTS), plain.encode(TEXTS)
    assert (ours.shape, ours.dtype) == (expected.shape, np.float32)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)
    assert (ours * expected).sum(1).min() > 0.99
    assert 0.99 <= quick.agreement < 1
    assert plain.agreement >= 0.9999


def test_it_has_a_fingerprint_of_its_own_and_keeps_it(plain, quick):
    again = load_encoder(quick.spec, device="cpu")
    assert quick.spec == INT8
    assert again.components == quick.components
    assert quick.components["text.backend"].startswith("openvino-int8 ")
    assert quick.fingerprint != plain.fingerprint
    recorded = {f"text.{name}": value for name, value in quick.components.items()}
    with pytest.raises(FingerprintMismatch, match=r"text\.text\.backend was .*openvino-int8"):
        LazyEncoders({"text": "local/text"}, recorded)("text")


def test_an_alignment_stays_valid_on_another_backend(quick, encoder_of, tmp_path):
    encoders = {"text": quick, "image": encoder_of("local/image")}
    space = Space.create(tmp_path / "s", encoders)
    assert space.settings.alignment
    assert space.settings.encoders["text"] == INT8


def test_threads_get_the_same_vectors(quick):
    texts = TEXTS * 3
    expected = quick.encode(texts)
    with ThreadPoolExecutor(4) as threads:
        vectors = np.concatenate(list(threads.map(lambda text: quick.encode([text]), texts)))
    assert (vectors * expected).sum(1).min() > 0.999


@pytest.mark.heavy
def test_mixed_vectors_are_nearer_to_the_model_than_those_in_8_bits(plain, quick, encoder_of):
    mixed = encoder_of("local/text?backend=openvino-mixed")
    expected = plain.encode(TEXTS)
    errors = [1 - (one.encode(TEXTS) * expected).sum(1).mean() for one in (mixed, quick)]
    assert errors[0] < errors[1] / 2
    assert mixed.agreement > quick.agreement
    assert " layers " in mixed.components["text.backend"]


# Where bf16 was emulated, its 8-bit vectors depended on what memory held before.
@pytest.mark.heavy
@pytest.mark.parametrize("save", [models.bert_folder, models.sentence_folder])
def test_other_families_of_text_models(save, encoder_of, folder_of):
    family = "transformers" if save is models.bert_folder else "sentence-transformers"
    spec = f"{family}/{folder_of(save)}"
    expected = encoder_of(spec).encode(TEXTS)
    for backend in ("openvino-fp32", "openvino-bf16", "openvino-mixed", "openvino-int8"):
        vectors = load_encoder(f"{spec}?backend={backend}").encode(TEXTS)
        assert (vectors * expected).sum(1).min() > (0.99999 if "fp32" in backend else 0.99)


@pytest.mark.parametrize(
    ("prefix", "save"),
    [
        ("local/image", None),
        ("transformers/", models.vit_folder),
        pytest.param("transformers/", models.convnext_folder, marks=pytest.mark.heavy),
        pytest.param("timm/test_vit:", models.timm_checkpoint, marks=pytest.mark.heavy),
    ],
)
def test_models_of_images(prefix, save, encoder_of, folder_of):
    spec = f"{prefix}{folder_of(save)}" if save else prefix
    images = [*pictures(), *pictures()]
    expected = encoder_of(spec).encode(images, "image")
    for backend, cosine in (("openvino-fp32", 0.99999), ("openvino-bf16", 0.9)):
        quick = load_encoder(f"{spec}?backend={backend}&agreement={cosine}")
        assert (quick.encode(images, "image") * expected).sum(1).min() > cosine
        assert quick.components["image.backend"].startswith(backend)
        assert cosine <= quick.agreement <= 1.000001


def test_vectors_that_agree_too_little_are_refused():
    with pytest.raises(
        InvalidInput,
        match=r"backend=openvino-int8 the vectors of .* cosine of 0\.9\d+ only .* 0\.99999 is asked"
        r".*leave backend out, or accept it with agreement=0\.9",
    ):
        load_encoder(f"{INT8}&agreement=0.99999")


@pytest.mark.parametrize(
    ("spec", "device", "reason"),
    [
        ("local/text?backend=onnx", "cpu", "unknown backend 'onnx'; use one of openvino-int8"),
        ("local/image?backend=openvino-int8", "cpu", "is for text; images take openvino-fp32 or"),
        (f"{INT8}&agreement=high", "cpu", "agreement=high cannot be used"),
        ("local/text?agreement=0.9", "cpu", "does not take these options.*agreement"),
        (INT8, "cuda", "a backend runs on the CPU, not on 'cuda'"),
    ],
)
def test_options_that_do_not_fit_are_refused(spec, device, reason):
    with pytest.raises(InvalidInput, match=reason):
        load_encoder(spec, device=device)


@pytest.mark.parametrize("package", ["openvino", "nncf"])
def test_a_missing_package_names_the_command_that_installs_it(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependency, match=r"pip install 'isthmus\[openvino\]'"):
        load_encoder(INT8, device="cpu")
