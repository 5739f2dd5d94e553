"""Toy encoders and items with provable answers, quick enough to run thousands of times."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from isthmus.encoders.audio import Waveform
from isthmus.encoders.encoder import Encoder
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import Modality
from tests.encoders.sounds import file_of, sine


class ToyEncoder(Encoder):
    """A text is the sum of its words' random vectors, an image that of its main colour.

    Texts with the same words, and images with the same colour, have the same vector; an image
    of a named colour has, where the salt is the same, the vector of that colour's name, and
    audio that of the name of its tone.
    """

    def __init__(
        self, *modalities: Modality, dim: int = 64, salt: str = "", spec: str = "toy/words"
    ) -> None:
        self.spec = spec
        self.modalities = frozenset(modalities)
        self.dim = dim
        self.salt = salt
        self.encoded: list[Any] = []

    @property
    def components(self) -> Mapping[str, str]:
        return {"kind": "toy", "salt": self.salt, "dim": str(self.dim)}

    def embed(self, prepared: Sequence[Any], modality: Modality) -> FloatArray:
        self.encoded += prepared
        name_of = {"text": str, "image": colour_of, "audio": tone_of}[modality]
        return np.stack([self._vector(name_of(content)) for content in prepared])

    def _vector(self, text: str) -> FloatArray:
        total = np.sum([self._word(word) for word in text.lower().split() or [""]], axis=0)
        return np.asarray(total / np.linalg.norm(total), np.float32)

    def _word(self, word: str) -> FloatArray:
        seed = int.from_bytes(hashlib.blake2b((self.salt + word).encode()).digest()[:8], "little")
        return np.random.default_rng(seed).standard_normal(self.dim).astype(np.float32)


class PointEncoder(ToyEncoder):
    """A text is the point it spells, at unit norm: ``3 0 4`` is (0.6, 0, 0.8)."""

    def __init__(self, dim: int) -> None:
        super().__init__("text", dim=dim, salt="points", spec="toy/points")

    def _vector(self, text: str) -> FloatArray:
        point = np.array(text.split(), np.float64)
        return np.asarray(point / np.linalg.norm(point), np.float32)


class ToyRecords:
    """A model of the second stage: a record for each word of a text, its hash."""

    spec = "late-interaction/toy"
    fingerprint = "toyrecords"
    modality: Modality = "text"
    dtype = np.dtype([("word", "<u4")])

    def encode_records(self, contents: Sequence[str]) -> list[Any]:
        return [
            np.array(
                [(int.from_bytes(hashlib.blake2b(w.encode()).digest()[:4], "little"),)
                 for w in text.split()],
                self.dtype,
            )
            for text in contents
        ]  # fmt: skip


COLOURS = {
    "red": (250, 0, 0),
    "green": (0, 250, 0),
    "blue": (0, 0, 250),
    "black": (0, 0, 0),
    "white": (250, 250, 250),
    "yellow": (250, 250, 0),
}


def colour_of(image: Image.Image) -> str:
    pixel = np.asarray(image.convert("RGB").resize((1, 1)), float)[0, 0]
    return min(COLOURS, key=lambda name: float(np.abs(pixel - COLOURS[name]).sum()))


def picture(colour: str, size: int = 8) -> bytes:
    """Return a PNG of one colour; the size makes files of the same colour differ."""
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), COLOURS[colour]).save(buffer, "PNG")
    return buffer.getvalue()


TONES = {"low": 200, "middle": 500, "high": 1_500}


def tone_of(waveform: Waveform) -> str:
    strengths = np.abs(np.fft.rfft(waveform.samples))
    hertz = float(strengths.argmax()) / waveform.seconds
    return min(TONES, key=lambda name: abs(TONES[name] - hertz))


def tone(name: str, rate: int = 8_000) -> bytes:
    """Return a WAV file of one tone; the rate makes files of the same tone differ."""
    return file_of(sine(TONES[name], 0.25, rate), "WAV", "PCM_16")


def text_encoder(**options: Any) -> ToyEncoder:
    return ToyEncoder("text", **options)


def two_encoders() -> dict[Modality, Encoder]:
    """Separate encoders of text and image: two named vectors."""
    return {"text": text_encoder(), "image": ToyEncoder("image", dim=8, salt="image")}


def joint_encoder() -> ToyEncoder:
    """One encoder in which a red picture and the word red are the same."""
    return ToyEncoder("text", "image")


def sound_encoder() -> ToyEncoder:
    """One encoder in which a low tone and the word low are the same."""
    return ToyEncoder("text", "audio")


def item(item_id: str, text: str, domain: str = "films", **more: Any) -> dict[str, Any]:
    return {"item_id": item_id, "domain": domain, "text": text, **more}
