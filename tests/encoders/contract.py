"""The contract of an encoder: an abstract test class that every encoder runs.

A subclass defines `make` and `modalities`, and names what must change the fingerprint. Encoders of
images inherit `ImageEncoderContract`, encoders that are saved in a folder `SavedEncoderContract`.
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
from isthmus.schema import IMAGE, MODALITIES, Modality
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
    """Tests of every encoder."""

    modalities: ClassVar[tuple[Modality, ...]]
    """Modalities that the encoder takes; tests of content run once for each."""

    options: ClassVar[tuple[str, ...]] = ()
    """Spec options, each of which must change the fingerprint."""

    tolerance: ClassVar[float] = 1e-5
    """Largest difference of two vectors of one content, in each value."""

    has_one_fingerprint: ClassVar[bool] = False
    """Whether the fingerprint holds for what a GPU computes by default, too."""

    edits: ClassVar[tuple[tuple[str, dict], ...]] = ()
    """Settings in JSON files of the folder, each of which must change the fingerprint."""

    def __init_subclass__(cls) -> None:
        takes_images = IMAGE in getattr(cls, "modalities", ())
        if takes_images and not issubclass(cls, ImageEncoderContract):
            raise TypeError(f"{cls.__name__} takes images: inherit ImageEncoderContract")

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run a test of content for each modality of the encoder, and for no other."""
        if "modality" in metafunc.fixturenames:
            metafunc.parametrize("modality", sorted(self.modalities))

    @abstractmethod
    def make(self, folder: Path, seed: int) -> str:
        """Save a model with weights of this seed in the folder, and return its spec."""

    @pytest.fixture(scope="class")
    def home(self, tmp_path_factory):
        return tmp_path_factory.mktemp(type(self).__name__)

    @pytest.fixture(scope="class")
    def spec(self, home):
        return self.make(home / "model", 0)

    @pytest.fixture(scope="class")
    def encoder(self, spec, encoder_of) -> Encoder:
        return encoder_of(spec)

    @pytest.fixture
    def content(self, modality):
        return CONTENT[modality]

    def test_it_keeps_its_spec(self, encoder, spec):
        assert encoder.spec == spec

    def test_it_takes_the_declared_modalities(self, encoder):
        assert encoder.modalities == set(self.modalities)

    def test_shape_type_and_norm(self, encoder, modality, content):
        vectors = encoder.encode(content, modality)
        assert (vectors.shape, vectors.dtype) == ((len(content), encoder.dim), np.float32)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)

    def test_one_by_one_is_the_same_as_together(self, encoder, modality, content):
        together = encoder.encode(content, modality)
        apart = np.concatenate([encoder.encode([one], modality) for one in content])
        np.testing.assert_allclose(together, apart, atol=self.tolerance)

    def test_the_same_content_gives_the_same_vector(self, encoder, modality, content):
        first, again = (encoder.encode(content, modality) for _ in range(2))
        np.testing.assert_allclose(first, again, atol=self.tolerance / 10)
        np.testing.assert_allclose(
            first[0], encoder.encode(content[:1], modality)[0], atol=self.tolerance
        )

    def test_other_content_gives_another_vector(self, encoder, modality, content):
        vectors = encoder.encode(content[:3], modality)
        assert np.abs(vectors[0] - vectors[2]).max() > 1e-4

    def test_several_chunks_keep_the_order(self, encoder, modality, content):
        few = content[:3]
        many = encoder.encode(few * 30, modality)
        np.testing.assert_allclose(
            many, np.tile(encoder.encode(few, modality), (30, 1)), atol=self.tolerance
        )

    def test_an_empty_batch_gives_an_empty_array(self, encoder, modality):
        vectors = encoder.encode([], modality)
        assert (vectors.shape, vectors.dtype) == ((0, encoder.dim), np.float32)
        assert encoder.embed([], modality).shape == (0, encoder.dim)

    def test_prepared_in_threads_is_the_same(self, encoder, modality, content):
        with ThreadPoolExecutor(4) as threads:
            chunks = threads.map(lambda one: encoder.prepare([one], modality), content * 4)
            prepared = [value for chunk in chunks for value in chunk]
        vectors = encoder.embed(prepared, modality)
        expected = np.tile(encoder.encode(content, modality), (4, 1))
        np.testing.assert_allclose(vectors, expected, atol=self.tolerance)

    def test_other_modalities_are_refused(self, encoder):
        for modality in set(MODALITIES) - encoder.modalities:
            with pytest.raises(UnsupportedModality, match=f"not {modality}"):
                encoder.encode(["x"], modality)

    def test_reloading_keeps_the_fingerprint(self, encoder, spec):
        assert load_encoder(spec, device="cpu").components == encoder.components

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
        assert (half.fingerprint == encoder.fingerprint) == self.has_one_fingerprint


class ImageEncoderContract(EncoderContract):
    """Tests of encoders that take images."""

    def test_images_of_every_mode(self, encoder):
        images = [Image.new(mode, (50, 40)) for mode in MODES]
        assert np.isfinite(encoder.encode(images, "image")).all()

    def test_exif_orientation_is_applied(self, encoder):
        upright, exif, stored = CONTENT["image"][1], Image.Exif(), io.BytesIO()
        exif[0x0112] = 6
        upright.transpose(Image.Transpose.ROTATE_90).save(stored, "PNG", exif=exif)
        images = [open_image(stored.getvalue()), Image.open(stored), upright]
        opened, lazy, expected = encoder.encode(images, "image")
        np.testing.assert_allclose(opened, expected, atol=self.tolerance)
        np.testing.assert_allclose(lazy, expected, atol=self.tolerance)


class SavedEncoderContract(EncoderContract):
    """Tests of encoders that are saved in a folder, with weights of a seed."""

    def test_moving_the_folder_keeps_the_fingerprint(self, encoder, spec, home, tmp_path):
        shutil.copytree(home, tmp_path / "moved")
        moved = load_encoder(spec.replace(str(home), str(tmp_path / "moved")), device="cpu")
        assert moved.components == encoder.components
        assert moved.fingerprint == encoder.fingerprint

    def test_other_weights_change_the_fingerprint(self, encoder, tmp_path):
        other = load_encoder(self.make(tmp_path / "model", 1), device="cpu")
        assert other.fingerprint != encoder.fingerprint
        assert other.components["weights"] != encoder.components["weights"]
