"""The contract of an encoder: every one of them runs these tests.

A subclass gives `make`, and names what must change the fingerprint.
"""

from __future__ import annotations

import io
import json
import shutil
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from isthmus.encoders import Encoder, load_encoder, open_image
from isthmus.errors import UnsupportedModality
from isthmus.schema import MODALITIES
from tests.encoders.sounds import sounds

TEXTS = [
    "a red shoe",
    "",
    "hat",
    "a green hat of a blue shoe " * 5,
    "赤い靴 と Grüße из Москвы مرحبا",
    "shoe " * 5_000,
    "🧢",
    "a red shoe",
]
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16")


def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    sizes = [(40, 40), (90, 30), (25, 70), (1, 1), (300, 200), (40, 40)]
    blocks = [rng.integers(0, 256, (4, 4, 3), dtype=np.uint8) for _ in sizes]
    return [
        Image.fromarray(b).resize(size, Image.Resampling.BICUBIC)
        for b, size in zip(blocks, sizes, strict=True)
    ]


CONTENT = {"text": TEXTS, "image": pictures(), "audio": sounds()}


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1)


class EncoderContract(ABC):
    """What is asked of every encoder."""

    options: ClassVar[tuple[str, ...]] = ()
    """Spec options, each of which must change the fingerprint."""

    edits: ClassVar[tuple[tuple[str, dict], ...]] = ()
    """Settings in JSON files of the folder, each of which must change the fingerprint."""

    seeded: ClassVar[bool] = True
    """Whether `make` makes other weights of another seed, in the folder it is given."""

    @abstractmethod
    def make(self, folder: Path, seed: int) -> str:
        """Save a model in the folder, and give its spec."""

    @pytest.fixture(scope="class")
    def home(self, tmp_path_factory):
        return tmp_path_factory.mktemp(type(self).__name__)

    @pytest.fixture(scope="class")
    def spec(self, home):
        return self.make(home / "model", 0)

    @pytest.fixture(scope="class")
    def encoder(self, spec) -> Encoder:
        return load_encoder(spec, device="cpu")

    @pytest.fixture(params=sorted(CONTENT))
    def modality(self, request, encoder):
        if request.param not in encoder.modalities:
            pytest.skip(f"takes no {request.param}")
        return request.param

    @pytest.fixture
    def content(self, modality):
        return CONTENT[modality]

    def test_it_keeps_its_spec(self, encoder, spec):
        assert encoder.spec == spec

    def test_shape_type_and_norm(self, encoder, modality, content):
        vectors = encoder.encode(content, modality)
        assert (vectors.shape, vectors.dtype) == ((len(content), encoder.dim), np.float32)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)

    def test_one_by_one_is_the_same_as_together(self, encoder, modality, content):
        together = encoder.encode(content, modality)
        apart = np.concatenate([encoder.encode([one], modality) for one in content])
        np.testing.assert_allclose(together, apart, atol=1e-5)

    def test_the_same_content_gives_the_same_vector(self, encoder, modality, content):
        first, again = (encoder.encode(content, modality) for _ in range(2))
        np.testing.assert_allclose(first, again, atol=1e-6)
        np.testing.assert_allclose(first[0], encoder.encode(content[:1], modality)[0], atol=1e-5)

    def test_other_content_gives_another_vector(self, encoder, modality, content):
        vectors = encoder.encode(content[:3], modality)
        assert np.abs(vectors[0] - vectors[2]).max() > 1e-4

    def test_more_than_a_chunk_keeps_its_order(self, encoder, modality, content):
        some = content[:3]
        many = encoder.encode(some * 30, modality)
        np.testing.assert_allclose(
            many, np.tile(encoder.encode(some, modality), (30, 1)), atol=1e-5
        )

    def test_nothing_gives_an_empty_array(self, encoder, modality):
        vectors = encoder.encode([], modality)
        assert (vectors.shape, vectors.dtype) == ((0, encoder.dim), np.float32)
        assert encoder.embed([], modality).shape == (0, encoder.dim)

    def test_prepared_in_threads_is_the_same(self, encoder, modality, content):
        with ThreadPoolExecutor(4) as threads:
            pieces = threads.map(lambda one: encoder.prepare([one], modality), content * 4)
            prepared = [value for piece in pieces for value in piece]
        vectors = encoder.embed(prepared, modality)
        expected = np.tile(encoder.encode(content, modality), (4, 1))
        np.testing.assert_allclose(vectors, expected, atol=1e-5)

    def test_images_of_every_mode(self, encoder):
        self._takes(encoder, "image")
        images = [Image.new(mode, (50, 40)) for mode in MODES]
        assert np.isfinite(encoder.encode(images, "image")).all()

    def test_a_turned_photograph_equals_the_upright_one(self, encoder):
        self._takes(encoder, "image")
        upright, exif, stored = CONTENT["image"][1], Image.Exif(), io.BytesIO()
        exif[0x0112] = 6
        upright.transpose(Image.Transpose.ROTATE_90).save(stored, "PNG", exif=exif)
        images = [open_image(stored.getvalue()), Image.open(stored), upright]
        opened, given, expected = encoder.encode(images, "image")
        np.testing.assert_allclose(opened, expected, atol=1e-5)
        np.testing.assert_allclose(given, expected, atol=1e-5)

    def test_other_modalities_are_refused(self, encoder):
        for modality in set(MODALITIES) - encoder.modalities:
            with pytest.raises(UnsupportedModality, match=f"not {modality}"):
                encoder.encode(["x"], modality)

    def test_loaded_again_it_has_the_same_fingerprint(self, encoder, spec):
        assert load_encoder(spec, device="cpu").components == encoder.components

    def test_in_another_folder_it_has_the_same_fingerprint(self, encoder, spec, home, tmp_path):
        self._needs_folder()
        shutil.copytree(home, tmp_path / "moved")
        moved = load_encoder(spec.replace(str(home), str(tmp_path / "moved")), device="cpu")
        assert moved.components == encoder.components
        assert moved.fingerprint == encoder.fingerprint

    def test_other_weights_change_the_fingerprint(self, encoder, tmp_path):
        self._needs_folder()
        other = load_encoder(self.make(tmp_path / "model", 1), device="cpu")
        assert other.fingerprint != encoder.fingerprint
        assert other.components["weights"] != encoder.components["weights"]

    def test_options_change_the_fingerprint(self, encoder, spec):
        for option in self.options:
            changed = load_encoder(spec + option, device="cpu")
            assert changed.fingerprint != encoder.fingerprint, option

    def test_edited_settings_change_the_fingerprint(self, encoder, spec, home, tmp_path):
        for n, (name, change) in enumerate(self.edits):
            shutil.copytree(home, tmp_path / f"{n}")
            (file,) = (tmp_path / f"{n}").rglob(name)
            file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
            edited = load_encoder(spec.replace(str(home), str(tmp_path / f"{n}")), device="cpu")
            assert edited.fingerprint != encoder.fingerprint, (name, change)

    @pytest.mark.gpu
    def test_a_gpu_gives_the_same_vectors(self, encoder, spec, modality, content):
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")
        expected = encoder.encode(content, modality)
        exact = load_encoder(spec, device="cuda", precision="fp32")
        half = load_encoder(spec, device="cuda")
        assert cosines(exact.encode(content, modality), expected).min() > 0.9999
        assert cosines(half.encode(content, modality), expected).min() > 0.99
        assert exact.fingerprint == encoder.fingerprint
        assert half.fingerprint != encoder.fingerprint

    def _takes(self, encoder: Encoder, modality: str) -> None:
        if modality not in encoder.modalities:
            pytest.skip(f"takes no {modality}")

    def _needs_folder(self) -> None:
        if not self.seeded:
            pytest.skip("its weights come with a package")
