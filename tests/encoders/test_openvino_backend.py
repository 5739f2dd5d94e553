"""Encoders on OpenVINO: close to what they were, named so, and refused where they are not."""

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
def plain():
    return load_encoder("local/text", device="cpu")


@pytest.fixture(scope="module")
def quick():
    return load_encoder(INT8, device="cpu")


def test_its_vectors_are_nearly_those_of_the_model(plain, quick):
    ours, expected = quick.encode(TEXTS), plain.encode(TEXTS)
    assert (ours.shape, ours.dtype) == (expected.shape, np.float32)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)
    assert (ours * expected).sum(1).min() > 0.99
    assert 0.99 <= quick.agreement < 1
    assert plain.agreement == 1.0


def test_it_has_a_fingerprint_of_its_own_and_keeps_it(plain, quick):
    again = load_encoder(quick.spec, device="cpu")
    assert quick.spec == INT8
    assert again.components == quick.components
    assert quick.components["text.backend"].startswith("openvino-int8 ")
    assert quick.fingerprint != plain.fingerprint
    recorded = {f"text.{name}": value for name, value in plain.components.items()}
    with pytest.raises(FingerprintMismatch, match=r"text\.text\.backend was None"):
        LazyEncoders({"text": INT8}, recorded)("text")


def test_an_alignment_holds_whatever_runs_the_model(quick, tmp_path):
    encoders = {"text": quick, "image": load_encoder("local/image", device="cpu")}
    space = Space.create(tmp_path / "s", encoders)
    assert space.settings.alignment
    assert space.settings.encoders["text"] == INT8


def test_threads_get_what_one_gets(quick):
    texts = TEXTS * 3
    expected = quick.encode(texts)
    with ThreadPoolExecutor(4) as threads:
        found = np.concatenate(list(threads.map(lambda text: quick.encode([text]), texts)))
    assert (found * expected).sum(1).min() > 0.999


def test_mixed_vectors_are_nearer_to_the_model_than_those_in_8_bits(plain, quick):
    mixed = load_encoder("local/text?backend=openvino-mixed", device="cpu")
    expected = plain.encode(TEXTS)
    turned = [1 - (one.encode(TEXTS) * expected).sum(1).mean() for one in (mixed, quick)]
    assert turned[0] < turned[1] / 2
    assert mixed.agreement > quick.agreement
    assert " layers " in mixed.components["text.backend"]


@pytest.mark.parametrize("make", [models.bert_folder, models.sentence_folder])
def test_other_kinds_of_text_models(make, tmp_path):
    kind = "transformers" if make is models.bert_folder else "sentence-transformers"
    spec = f"{kind}/{make(tmp_path)}"
    expected = load_encoder(spec, device="cpu").encode(TEXTS)
    for backend in ("openvino-fp32", "openvino-bf16", "openvino-mixed", "openvino-int8"):
        found = load_encoder(f"{spec}?backend={backend}").encode(TEXTS)
        assert (found * expected).sum(1).min() > (0.99999 if "fp32" in backend else 0.99)


@pytest.mark.parametrize(
    ("kind", "save"),
    [
        ("local/image", None),
        ("transformers/", models.vit_folder),
        ("transformers/", models.convnext_folder),
        ("timm/test_vit:", models.timm_checkpoint),
    ],
)
def test_models_of_images(kind, save, tmp_path):
    spec = f"{kind}{save(tmp_path)}" if save else kind
    images = [*pictures(), *pictures()]
    expected = load_encoder(spec, device="cpu").encode(images, "image")
    for backend, least in (("openvino-fp32", 0.99999), ("openvino-bf16", 0.9)):
        quick = load_encoder(f"{spec}?backend={backend}&agreement={least}")
        assert (quick.encode(images, "image") * expected).sum(1).min() > least
        assert quick.components["image.backend"].startswith(backend)
        assert least <= quick.agreement <= 1.000001


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
def test_what_cannot_be_used_is_refused(spec, device, reason):
    with pytest.raises(InvalidInput, match=reason):
        load_encoder(spec, device=device)


@pytest.mark.parametrize("package", ["openvino", "nncf"])
def test_a_missing_package_names_the_command_that_installs_it(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependency, match=r"pip install 'isthmus\[openvino\]'"):
        load_encoder(INT8, device="cpu")
