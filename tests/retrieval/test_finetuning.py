"""Fine-tuning by what users take together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from isthmus import Space, load_encoder
from isthmus.errors import InvalidInput, UnsupportedOperation
from isthmus.numerics.co_occurrence import co_occurring_pairs
from tests.encoders import models
from tests.encoders.finetuning.conftest import QUICK
from tests.toy import ToyEncoder, item

KINDS = ("red", "green", "blue", "shoe", "hat")


def by_the_book(likes: np.ndarray, least: int, most: int) -> list[list[int]]:
    users, items = likes.shape
    kept = set()
    for first in range(items):
        scored = []
        for partner in range(items):
            common = int((likes[:, first] * likes[:, partner]).sum())
            product = likes[:, first].sum() * likes[:, partner].sum()
            if partner != first and common >= least and common * users > product:
                scored.append((-common / np.sqrt(product), partner))
        kept |= {tuple(sorted((first, partner))) for _, partner in sorted(scored)[:most]}
    return sorted(map(list, kept))


@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(1, 4))
@settings(max_examples=40)
def test_pairs_are_those_of_the_book(seed, least, most):
    likes = (np.random.default_rng(seed).random((25, 12)) < 0.3).astype(float)
    found = co_occurring_pairs(csr_matrix(likes), min_common_users=least, max_partners=most)
    assert found.tolist() == by_the_book(likes, least, most)


def test_what_everybody_takes_goes_with_nothing():
    likes = np.zeros((20, 3))
    likes[:, 0] = 1
    likes[:4, 1] = likes[:4, 2] = 1
    assert co_occurring_pairs(csr_matrix(likes)).tolist() == [[1, 2]]


def text(domain: str, kind: int, number: int) -> str:
    """Three letters stand for a kind, of which a text shows one; the others say nothing."""
    return f"{'abcdefghijklmno'[3 * kind + number % 3]} {'pqrstuvwxyz'[number % 11]} {domain}"


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A space in which users take things of one kind, in two domains."""
    folder = tmp_path_factory.mktemp("tuned")
    encoder = f"transformers/{models.bert_folder(folder / 'bert')}"
    space = Space.create(folder / "s", {"text": load_encoder(encoder, device="cpu")})
    space.upsert(
        [item(f"{domain}{KINDS[kind]}{n}", text(domain, kind, n), domain)
         for domain in ("wug", "zorb") for kind in range(5) for n in range(12)]
        + [item("nothing", "hat", "empty")]
    )  # fmt: skip
    random = np.random.default_rng(0)
    space.add_interactions(
        [
            {"user_id": f"u{user}", "item_id": f"{domain}{KINDS[user % 5]}{n}", "value": 1.0}
            for user in range(60)
            for domain in ("wug", "zorb")
            for n in random.permutation(12)[:5]
        ]
    )
    return space


def test_users_tell_what_belongs_together(shop, tmp_path):
    report = shop.finetune("wug", tmp_path / "out", settings=QUICK, device="cpu")
    assert report.before == shop.settings.encoders["text"]
    assert report.contents == 60
    assert {name: one.measure for name, one in report.other_domains.items()} == {"zorb": "pairs"}
    start = replace(QUICK, epochs=0)
    few = shop.finetune("wug", tmp_path / "few", settings=start, device="cpu", max_pairs_per_item=5)
    assert few.pairs < report.pairs


def test_a_space_is_moved_to_what_it_taught(shop, tmp_path):
    start = f"transformers/{models.bert_folder(tmp_path / 'other', seed=5)}"
    report = shop.finetune("zorb", tmp_path / "out", encoder=start, settings=QUICK, device="cpu")
    moved = shop.reembed(text_encoder=load_encoder(report.after, device="cpu"))
    assert moved.encoders == {"text": report.after}
    assert moved.encoded == {"text": 121}
    again = Space.open(shop.path, device="cpu")
    assert again.search(text("wug", 4, 3), k=1)[0].item_id == "wughat3"


def test_what_users_cannot_teach_is_refused(shop, tmp_path):
    with pytest.raises(InvalidInput, match=r"no domain 'films' with texts.*wug, zorb"):
        shop.finetune("films", tmp_path / "out", settings=QUICK)
    with pytest.raises(InvalidInput, match="--min-common-users"):
        shop.finetune("wug", tmp_path / "out", settings=QUICK, min_common_users=50)
    with pytest.raises(InvalidInput, match="no attribute 'smell'"):
        shop.finetune("wug", tmp_path / "out", settings=QUICK, label="smell")
    pictures = Space.create(tmp_path / "p", ToyEncoder("image", dim=8))
    with pytest.raises(UnsupportedOperation, match="no encoder of text"):
        pictures.finetune("x", tmp_path / "out")
