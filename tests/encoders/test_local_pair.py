"""The offline pair on OpenVINO: the vectors of PyTorch, without PyTorch."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from isthmus import load_encoder
from isthmus.encoders.backends import compiled_encoder
from isthmus.encoders.backends.samples import sample_contents
from isthmus.encoders.models import local
from isthmus.encoders.weights import hash_weights, read_arrays
from isthmus.errors import InvalidInput, UnknownEncoder
from tests.encoders.contract import CONTENT

PAIR = [("local/text", "text"), ("local/image", "image")]

WITHOUT_TORCH = """
import sys
from PIL import Image
from isthmus import Space
space = Space.create(sys.argv[1])
items = [{"item_id": 1, "text": "red boots"}, {"item_id": 2, "text": "a hat"}]
space.upsert(items, domain="shop")
assert [hit.item_id for hit in space.search("red boots")] == ["1", "2"]
space.search(image=Image.new("RGB", (40, 30)))
heavy = {"torch", "transformers", "timm", "openvino_telemetry"}
print(sorted(name for name in heavy if sys.modules.get(name)))
"""


COMMAND = """
import sys
from isthmus.cli.main import console
sys.argv[1:] = ["count", "--space", sys.argv[1]]
console()
"""


@pytest.mark.parametrize(("spec", "modality"), PAIR)
def test_vectors_and_fingerprint_are_those_of_pytorch(spec, modality, encoder_of):
    encoder, in_torch = encoder_of(spec), encoder_of(f"{spec}?backend=torch")
    expected = in_torch.encode(CONTENT[modality], modality)
    cosines = (encoder.encode(CONTENT[modality], modality) * expected).sum(1)
    assert cosines.min() >= compiled_encoder.MIN_AGREEMENT
    assert encoder.components == in_torch.components
    assert encoder.agreement >= compiled_encoder.MIN_AGREEMENT
    assert encoder.bytes == pytest.approx(in_torch.bytes, rel=0.01)


@pytest.mark.parametrize(("spec", "modality"), PAIR)
def test_float32_on_request_is_exact(spec, modality, encoder_of):
    exact = load_encoder(spec, device="cpu", precision="fp32")
    expected = encoder_of(f"{spec}?backend=torch").encode(CONTENT[modality], modality)
    np.testing.assert_allclose(exact.encode(CONTENT[modality], modality), expected, atol=2e-5)
    assert exact.numeric_type == "f32"


@pytest.mark.parametrize(("spec", "modality"), PAIR)
def test_the_reference_vectors_are_those_of_pytorch(spec, modality, encoder_of):
    in_torch = encoder_of(f"{spec}?backend=torch")
    reference = local._reference(modality, in_torch.components["weights"])
    expected = in_torch.encode(sample_contents(modality), modality)
    np.testing.assert_allclose(reference, expected, atol=2e-5)
    assert local._reference(modality, "of other weights") is None


def test_a_space_is_made_and_searched_without_pytorch(tmp_path):
    command = [sys.executable, "-c", WITHOUT_TORCH, str(tmp_path / "s")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
    command = [sys.executable, "-X", "importtime", "-c", COMMAND, str(tmp_path / "s")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("count 2", 0), done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "pyarrow._dataset" in imported
    assert not {"pandas.core", "torch", "openvino"} & imported


def test_a_precision_that_disagrees_is_not_used(monkeypatch, tmp_path, encoder_of):
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path))
    monkeypatch.setattr(compiled_encoder, "MIN_AGREEMENT", 1.1)
    encoder = load_encoder("local/text", device="cpu")
    assert encoder.numeric_type == "torch"
    expected = encoder_of("local/text?backend=torch").encode(["red boots"])
    np.testing.assert_allclose(encoder.encode(["red boots"]), expected, atol=1e-6)


def test_the_comparison_is_made_once_on_a_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path))
    first = load_encoder("local/text", device="cpu")
    agreement = first.agreement
    monkeypatch.setattr(compiled_encoder, "sample_contents", None)
    assert load_encoder("local/text", device="cpu").agreement == agreement


def test_text_of_half_a_character_is_refused(encoder_of):
    with pytest.raises(
        InvalidInput, match=r"text 1 holds '\\ud83d' at position 4, half of a surro"
    ):
        encoder_of("local/text").encode(["red", "red \ud83d"])
    with pytest.raises(InvalidInput, match="text 0 is of type int; give a str"):
        encoder_of("local/text").encode([7])


def test_weights_in_a_file_of_pytorch_are_read_and_code_is_not(tmp_path):
    import torch

    state = {"a": torch.arange(12.0).reshape(3, 4).T, "b": torch.arange(3), "c": torch.zeros(())}
    path = tmp_path / "weights.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    arrays = read_arrays(path)
    assert hash_weights(arrays) == hash_weights(state)
    np.testing.assert_array_equal(arrays["a"], state["a"].numpy())
    path.write_bytes(pickle.dumps(os.getcwd) * 4)
    with pytest.raises(UnknownEncoder, match=r"holds a posix.getcwd, which is no tensor"):
        read_arrays(path)


@pytest.mark.parametrize(
    ("capabilities", "seconds", "numeric_type"),
    [
        (["FP32", "BF16"], {"bf16": 1, "f32": 2}, "bf16"),
        (["FP32", "BF16"], {"bf16": 3, "f32": 2}, "f32"),
        (["FP32"], {"bf16": 1, "f32": 2}, "f32"),
    ],
)
def test_bf16_is_used_where_the_processor_has_it_and_it_is_faster(
    monkeypatch, tmp_path, capabilities, seconds, numeric_type
):
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path))
    monkeypatch.setattr(compiled_encoder, "_capabilities", lambda: capabilities)

    def stated(models, batch):
        assert batch["input_ids"].shape == (2, 92)
        return [seconds[model.precision] for model in models]

    monkeypatch.setattr(compiled_encoder, "measure_seconds", stated)
    assert load_encoder("local/text", device="cpu").numeric_type == numeric_type
    monkeypatch.setattr(compiled_encoder, "measure_seconds", None)  # remembered
    assert load_encoder("local/text", device="cpu").numeric_type == numeric_type


def test_models_are_timed_in_turns():
    calls = []
    models = [lambda batch, name=name: calls.append((name, batch)) for name in "ab"]
    seconds = compiled_encoder.measure_seconds(models, "batch")
    assert calls == [("a", "batch"), ("b", "batch")] * compiled_encoder.ROUNDS
    assert len(seconds) == 2
    assert min(seconds) >= 0


def test_a_type_that_disagrees_is_not_timed(monkeypatch, tmp_path):
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path))
    monkeypatch.setattr(compiled_encoder, "_capabilities", lambda: ["FP32", "BF16"])
    monkeypatch.setattr(compiled_encoder, "measure_seconds", None)
    agreements = {"bf16": 0.997, "f32": 1.0}
    monkeypatch.setattr(
        compiled_encoder.CompiledEncoder,
        "_measure",
        lambda encoder, model: agreements[model.precision],
    )
    assert load_encoder("local/image", device="cpu").numeric_type == "f32"
