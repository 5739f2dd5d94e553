"""Distilled encoders keep the contract of every encoder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from isthmus import distill
from tests.encoders import models
from tests.encoders.contract import ImageEncoderContract, SavedEncoderContract, pictures
from tests.encoders.distillation.conftest import QUICK, WORDS


def texts(seed: int) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, random.integers(1, 6))) for _ in range(120)]


class TestStatic(SavedEncoderContract):
    modalities = ("text",)

    def make(self, folder: Path, seed: int) -> str:
        teacher = f"sentence-transformers/{models.sentence_folder(folder / 'teacher', seed)}"
        return distill(teacher, "static", texts(seed), folder / "student", settings=QUICK).student


class TestStaticInHalves(SavedEncoderContract):
    modalities = ("text",)

    def make(self, folder: Path, seed: int) -> str:
        teacher = f"transformers/{models.bert_folder(folder / 'teacher', seed)}"
        settings = replace(QUICK, storage="float16")
        made = distill(teacher, "static", texts(seed), folder / "student", settings=settings)
        return made.student


class TestSmallTransformer(SavedEncoderContract):
    modalities = ("text",)
    options = ("?pooling=cls", "?max_length=9")

    def make(self, folder: Path, seed: int) -> str:
        teacher = f"sentence-transformers/{models.sentence_folder(folder / 'teacher', seed)}"
        student = f"transformers/{models.bert_folder(folder / 'start', seed)}"
        return distill(teacher, student, texts(seed), folder / "student", settings=QUICK).student


class TestSmallImageModel(SavedEncoderContract, ImageEncoderContract):
    modalities = ("image",)

    def make(self, folder: Path, seed: int) -> str:
        teacher = f"transformers/{models.vit_folder(folder / 'teacher', seed)}"
        student = f"transformers/{models.convnext_folder(folder / 'start', seed)}"
        given = folder / "pictures"
        given.mkdir()
        for n, picture in enumerate(pictures()):
            for turn in range(0, 80, 20):
                picture.rotate(turn, expand=True).save(given / f"{n}-{turn}.png")
        settings = replace(QUICK, batch_size=8, epochs=1)
        return distill(
            teacher, student, given, folder / "student", modality="image", settings=settings
        ).student
