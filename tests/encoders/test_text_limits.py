"""At most 1 MiB of a text reaches a tokenizer."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from isthmus.encoders import text as limits
from isthmus.encoders.backends.towers import TextTower
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.text import MAX_TEXT_BYTES, cut_in_groups, cut_text, is_cut


@given(st.text(max_size=60), st.integers(1, 40))
def test_a_text_is_cut_to_whole_characters(text, limit):
    original = limits.MAX_TEXT_BYTES
    limits.MAX_TEXT_BYTES = limit
    try:
        beginning, cut = cut_text(text), is_cut(text)
    finally:
        limits.MAX_TEXT_BYTES = original
    assert text.startswith(beginning)
    assert len(beginning.encode()) <= limit
    assert cut == (beginning != text)
    if cut:  # the next character would be too much
        assert len(text[: len(beginning) + 1].encode()) > limit


def test_texts_of_a_group_are_as_many_as_fit():
    texts = ["a" * (MAX_TEXT_BYTES // 4)] * 9 + ["b" * (MAX_TEXT_BYTES + 1), "c"]
    groups = list(cut_in_groups(texts))
    assert [len(group) for group in groups] == [4, 4, 1, 1, 1]
    assert [text for group in groups for text in group] == [cut_text(text) for text in texts]


def test_no_tokenizer_gets_more():
    got = []

    def tokenize(texts):
        got.append(sum(map(len, texts)))
        return [[1] for _ in texts]

    tower = TextTower(tokenize=tokenize, forward=lambda **_: None, components={})
    assert tower.prepare(["x" * 3 * 2**20, "y", "z" * 2**20]) == [[1]] * 3
    assert got == [2**20, 1, 2**20]


def test_no_encoder_of_your_own_gets_more():
    class Lengths(Encoder):
        spec, modalities, dim = "lengths/", frozenset({"text"}), 1
        components = {}  # noqa: RUF012

        def embed(self, prepared, modality):
            return np.array([[len(text)] for text in prepared], np.float32)

    assert Lengths().encode(["x" * 3 * 2**20, "y"]).ravel().tolist() == [2**20, 1]
