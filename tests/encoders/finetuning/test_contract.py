"""Fine-tuned encoders keep the contract of every encoder."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from isthmus import finetune
from tests.encoders import models
from tests.encoders.contract import ImageEncoderContract, SavedEncoderContract
from tests.encoders.finetuning.conftest import QUICK, WORDS

PAIRS = [(f"a {a} {b}", f"{b} of {a}") for a, b in itertools.permutations(WORDS, 2)]


class TestLora(SavedEncoderContract):
    modalities = ("text",)
    options = ("?pooling=cls", "?max_length=9")

    def make(self, folder: Path, seed: int) -> str:
        start = f"transformers/{models.bert_folder(folder / 'start', seed)}"
        return finetune(start, PAIRS, folder / "tuned", settings=QUICK).after


class TestUpperLayersOfSentenceTransformers(SavedEncoderContract):
    modalities = ("text",)
    options = ("?max_length=9",)

    def make(self, folder: Path, seed: int) -> str:
        start = f"sentence-transformers/{models.sentence_folder(folder / 'start', seed)}"
        settings = replace(QUICK, method="full", layers=1)
        return finetune(start, PAIRS, folder / "tuned", settings=settings).after


class TestTextAndPictures(SavedEncoderContract, ImageEncoderContract):
    modalities = ("text", "image")
    options = ("?max_length=9",)

    def make(self, folder: Path, seed: int) -> str:
        start = f"transformers/{models.clip_folder(folder / 'start', seed)}"
        given = folder / "pictures"
        given.mkdir()
        random = np.random.default_rng(0)
        rows = []
        for n, (text, _) in enumerate(PAIRS):
            noise = random.integers(0, 255, (20, 20, 3), dtype=np.uint8)
            Image.fromarray(noise).save(given / f"{n}.png")
            rows.append({"text": text, "image": str(given / f"{n}.png")})
        settings = replace(QUICK, epochs=1, batch_size=8)
        return finetune(start, rows, folder / "tuned", image="image", settings=settings).after
