"""Static encoders: sums of token vectors for any text."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from isthmus import load_encoder
from isthmus.encoders.models import static
from isthmus.encoders.models.static import WordTokenizer
from isthmus.errors import UnknownEncoder

VOCABULARY = ["[PAD]", "[UNK]", "red", "shoe", "##s", "hat", ",", "!"]


def make_tokenizer():
    tokenizer = Tokenizer(models.WordPiece({t: n for n, t in enumerate(VOCABULARY)},
                                           unk_token="[UNK]"))  # fmt: skip
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


@pytest.fixture
def folder(tmp_path):
    table = torch.randn(len(VOCABULARY), 4, generator=torch.manual_seed(0))
    save_file({"embeddings": table}, tmp_path / "model.safetensors")
    make_tokenizer().save(str(tmp_path / "tokenizer.json"))
    return tmp_path, table.numpy()


def test_a_vector_is_the_unit_sum_of_its_tokens(folder):
    path, table = folder
    sums = np.stack([table[2] + table[3] + table[4], table[5] + table[6] + table[5], table[0]])
    expected = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    vectors = load_encoder(f"static/{path}").encode(["RED\tshoes", "hat, zebra hat", "zebra"])
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


def test_weights_and_shared_rows(folder, tmp_path):
    path, table = folder
    expected = load_encoder(f"static/{path}").encode(["red hat !", "shoes"])
    mapping = torch.tensor([7, 6, 5, 4, 3, 2, 1, 0])
    weights = torch.arange(1, 9).float()
    shared = torch.from_numpy(table)[mapping] / weights[mapping, None]
    save_file({"embeddings": shared, "weights": weights, "mapping": mapping.int()},
              path / "model.safetensors")  # fmt: skip
    vectors = load_encoder(f"static/{path}").encode(["red hat !", "shoes"])
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


@settings(max_examples=60)
@given(st.lists(st.text("redshoat ,!\t\n\u3000x", max_size=20), max_size=8))
def test_ids_are_those_of_the_tokenizer(texts):
    plain, tokenize = make_tokenizer(), WordTokenizer(make_tokenizer(), pad_id=0)
    expected = [
        [n for n in encoding.ids if n != 1] or [0]
        for encoding in plain.encode_batch(texts, add_special_tokens=False)
    ]
    for _ in range(2):  # the second time all words are in the cache
        bags = tokenize(texts)
        assert [ids.tolist() for ids in bags.split()] == expected


def test_a_full_word_cache_does_not_change_vectors(folder, monkeypatch):
    path, _ = folder
    texts = ["red shoe", "hat hat", "shoes", "", "red !"]
    expected = load_encoder(f"static/{path}").encode(texts * 3)
    monkeypatch.setattr(static, "MAX_CACHED_WORDS", 1)
    encoder = load_encoder(f"static/{path}")
    vectors = [encoder.encode([text]) for text in texts * 3]
    np.testing.assert_allclose(np.concatenate(vectors), expected, atol=1e-6)


def test_a_missing_or_empty_folder_is_refused(tmp_path):
    with pytest.raises(UnknownEncoder, match=r"cannot load 'static/small': nothing is at small"):
        load_encoder("static/small")
    with pytest.raises(UnknownEncoder, match=f"cannot load 'static/{tmp_path}'"):
        load_encoder(f"static/{tmp_path}")
