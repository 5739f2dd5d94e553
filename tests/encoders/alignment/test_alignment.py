"""Alignments on disk, and the encoders that they are for."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.encoders.alignment import FILES, PACKAGED, Alignment, resolve_alignment
from isthmus.encoders.projection_head import ProjectionHead
from isthmus.encoders.stack import EncoderStack
from isthmus.errors import CorruptAlignment, FingerprintMismatch
from tests.damage.damages import flip
from tests.toy import ToyEncoder, two_encoders


def some_alignment(seed: int = 0, hidden: int = 0) -> Alignment:
    """Random heads for the toy encoders."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    encoders = two_encoders()
    heads = {
        modality: ProjectionHead(
            draw(encoder.dim),
            draw(encoder.dim, 5),
            draw(5),
            *((draw(encoder.dim, hidden), draw(hidden), draw(hidden, 5)) if hidden else ()),
        )
        for modality, encoder in encoders.items()
    }
    return Alignment(
        heads,
        {modality: encoder.spec for modality, encoder in encoders.items()},
        {modality: dict(encoder.components) for modality, encoder in encoders.items()},
        {"pairs": {"a": 3}},
    )


def test_the_gate_weighs_the_columns_of_each_expert():
    head = ProjectionHead(
        np.zeros(2, np.float32),
        np.array([[1, 0, 1], [0, 1, 1]], np.float32),
        np.zeros(3, np.float32),
        gate=np.array([[50, -50], [-50, 50]], np.float32),
        gate_bias=np.zeros(2, np.float32),
        share=np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32),
    )
    half = 0.5**0.5
    expected = [[half, 0, half], [0, half, half]]
    np.testing.assert_allclose(head(np.eye(2, dtype=np.float32)), expected, atol=1e-6)
    np.testing.assert_array_equal(
        ProjectionHead.from_tensors(head.tensors())(np.eye(2)), head(np.eye(2))
    )


@pytest.mark.parametrize("hidden", [0, 7])
def test_an_alignment_survives_saving_and_loading(tmp_path, hidden):
    made = some_alignment(hidden=hidden)
    made.save(tmp_path / "a")
    read = Alignment.load(tmp_path / "a")
    assert (read.fingerprint, read.dim, read.report) == (made.fingerprint, 5, made.report)
    vectors = np.eye(8, dtype=np.float32)
    np.testing.assert_array_equal(read.align("image", vectors), made.align("image", vectors))
    np.testing.assert_allclose(np.linalg.norm(read.align("image", vectors), axis=1), 1, atol=1e-6)


def test_other_heads_have_another_fingerprint():
    assert some_alignment(0).fingerprint == some_alignment(0).fingerprint
    assert some_alignment(0).fingerprint != some_alignment(1).fingerprint
    stacks = [EncoderStack(two_encoders(), alignment=a) for a in (None, some_alignment())]
    assert stacks[0].fingerprint != stacks[1].fingerprint
    assert [named_vector.name for named_vector in stacks[1].named_vectors] == [
        "text",
        "image",
        "aligned",
    ]


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_refused(tmp_path, name):
    some_alignment().save(tmp_path / "a")
    flip(tmp_path / "a" / name)
    with pytest.raises(CorruptAlignment, match=r"heads\.safetensors is damaged|can be read"):
        Alignment.load(tmp_path / "a")
    with pytest.raises(CorruptAlignment, match="no alignment can be read"):
        Alignment.load(tmp_path / "nothing")


def test_an_alignment_is_refused_for_other_encoders():
    others = {**two_encoders(), "text": ToyEncoder("text", salt="other")}
    with pytest.raises(FingerprintMismatch, match=r"learned for the text encoder.*isthmus align"):
        EncoderStack(others, alignment=some_alignment())


def test_the_packaged_alignment_is_for_the_local_pair_only():
    assert resolve_alignment("auto", two_encoders()) is None
    packaged = Alignment.load(PACKAGED)
    assert packaged.specs == {"text": "local/text", "image": "local/image"}
    assert sum(file.stat().st_size for file in PACKAGED.iterdir()) < 5 * 2**20
