"""Fine-tuned encoders keep the contract of every encoder."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

from isthmus import finetune
from tests.encoders import models
from tests.encoders.contract import EncoderContract, pictures
from tests.encoders.finetuning.conftest import QUICK, WORDS

PAIRS = [(f"a {a} {b}", f"{b} of {a}") for a, b in itertools.permutations(WORDS, 2)]


class TestLora(EncoderContract):
    options = ("?pooling=cls", "?max_length=9")

    def make(self, folder: Path, seed: int) -> str:
        start = f"transformers/{models.bert_folder(folder / 'start', seed)}"
        return finetune(start, PAIRS, folder / "tuned", settings=QUICK).after


class TestUpperLayersOfSentenceTransformers(EncoderContract):
    options = ("?max_length=9",)

    def make(self, folder: Path, seed: int) -> str:
        start = f"sentence-transformers/{models.sentence_folder(folder / 'start', seed)}"
        settings = replace(QUICK, method="full", layers=1)
        return finetune(start, PAIRS, folder / "tuned", settings=settings).after


class TestTextAndPictures(EncoderContract):
    options = ("?max_length=9",)

    def make(self, folder: Path, seed: int) -> str:
        start = f"transformers/{models.clip_folder(folder / 'start', seed)}"
        given = folder / "pictures"
        given.mkdir()
        rows = []
        for n, picture in enumerate(pictures() * 6):
            picture.rotate(5 * n, expand=True).save(given / f"{n}.png")
            rows.append({"text": f"{PAIRS[n][0]} {n}", "image": str(given / f"{n}.png")})
        settings = replace(QUICK, epochs=1, batch=4, choosing=0.3)
        return finetune(start, rows, folder / "tuned", image="image", settings=settings).after


del EncoderContract  # it is abstract: pytest would collect it here
