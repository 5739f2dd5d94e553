"""The encoders of a space: loaded one by one, shared by spec, and checked."""

from __future__ import annotations

import pytest

from isthmus.encoders.stack import EncoderStack, LazyEncoders
from isthmus.errors import FingerprintMismatch, UnknownEncoder, UnsupportedModality
from tests.toy import ToyEncoder, joint_encoder, two_encoders


@pytest.fixture
def loads(monkeypatch):
    """The specs that were loaded, in order."""
    encoders = {
        "two/text": lambda: two_encoders()["text"],
        "two/image": lambda: two_encoders()["image"],
    }
    encoders |= {"joint": joint_encoder, "other": lambda: ToyEncoder("text", salt="other")}
    loaded = []

    def load(spec, *, device, precision):
        assert precision == "auto"
        loaded.append(spec)
        return encoders[spec]()

    monkeypatch.setattr("isthmus.encoders.stack.load_encoder", load)
    return loaded


def test_an_encoder_is_loaded_when_it_is_first_used(loads):
    specs = {"text": "two/text", "image": "two/image"}
    encoder_of = LazyEncoders(specs, EncoderStack(two_encoders()).components)
    assert loads == []
    assert encoder_of("text") is encoder_of("text")
    assert loads == ["two/text"]
    encoder_of("image")
    assert loads == ["two/text", "two/image"]


def test_modalities_of_one_spec_share_an_encoder(loads):
    joint = joint_encoder()
    components = EncoderStack({"text": joint, "image": joint}).components
    encoder_of = LazyEncoders({"text": "joint", "image": "joint"}, components)
    assert encoder_of("text") is encoder_of("image")
    assert loads == ["joint"]


def test_an_encoder_that_has_changed_since_is_refused(loads):
    components = EncoderStack({"text": ToyEncoder("text")}).components
    encoder_of = LazyEncoders({"text": "other"}, components)
    with pytest.raises(FingerprintMismatch, match=r"text\.salt was '' and is 'other'"):
        encoder_of("text")


def test_a_modality_without_encoder_is_refused(loads):
    with pytest.raises(UnsupportedModality, match="no image encoder, only text"):
        LazyEncoders({"text": "joint"}, {})("image")


def test_the_recorded_precision_is_used(monkeypatch):
    loaded = []

    def load(spec, *, device, precision):
        loaded.append(precision)
        return ToyEncoder("text")

    monkeypatch.setattr("isthmus.encoders.stack.load_encoder", load)
    encoder_of = LazyEncoders({"text": "x"}, {"text.precision": "fp32"})
    with pytest.raises(FingerprintMismatch, match=r"text\.precision was 'fp32' and is None"):
        encoder_of("text")
    assert loaded == ["fp32"]


def test_the_error_of_a_missing_model_names_the_remedy():
    encoder_of = LazyEncoders({"text": "static//no/such/folder"}, {})
    with pytest.raises(
        UnknownEncoder, match=r"nothing is at /no/such/folder\. .*reembed --text-encoder SPEC"
    ):
        encoder_of("text")
