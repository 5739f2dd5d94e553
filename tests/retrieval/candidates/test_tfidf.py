"""Words of items: what they weigh, and what they say of items that share them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus import Space
from isthmus.retrieval.candidates import tfidf_overlap as module
from isthmus.retrieval.candidates.item_features import InMemoryItemFeatures
from isthmus.retrieval.candidates.tfidf import TfidfVocabulary
from isthmus.retrieval.candidates.tfidf_overlap import TfidfOverlap
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.recommend.space_data import space_training_data
from tests.retrieval.candidates.toy_data import BOOKS, FILMS, histories_of, make_training_data
from tests.toy import item, text_encoder

LETTERS = st.text(alphabet="abcdef ", max_size=12)


def written(texts):
    """Return training data of books whose texts are these."""
    data = make_training_data(items=len(texts), users=0)
    contents = InMemoryItemFeatures(
        data.features.take(np.arange(len(data))), item_texts=[*texts, *texts]
    )
    return replace(data, features=contents)


def test_words_of_one_item_and_of_many_are_left_out():
    texts = ["Red boots Acme", "red: BOOTS", "boots", *["x"] * 17]
    vocabulary = TfidfVocabulary.fit(texts)  # a tenth of the items is two: boots is in too many
    np.testing.assert_allclose(vocabulary.weights, [math.log(20 / 2)], rtol=1e-6)
    assert vocabulary.transform(texts).toarray()[:, 0].tolist() == [1, 1, *[0] * 18]


def test_a_row_is_the_weights_of_its_words_at_unit_norm():
    texts = ["a b", "a c", "b", *["-"] * 27]
    rows = TfidfVocabulary.fit(texts).transform(["a b", "a", "A, a b b", "", "c"]).toarray()
    share = 1 / math.sqrt(2)  # a and b are in two texts each
    expected = [[share, share], [1, 0], [share, share], [0, 0], [0, 0]]
    order = np.argsort(-rows[1])
    np.testing.assert_allclose(rows[:, order], expected, atol=1e-6)


def test_letters_of_any_script_are_words():
    texts = ["Ærø über", "ærø 北京", "ÜBER 北京", *[""] * 27]
    assert TfidfVocabulary.fit(texts).transform(texts).nnz == 6


def test_no_texts_have_no_words():
    assert TfidfVocabulary.fit([]).transform([""]).shape == (1, 0)
    assert TfidfVocabulary.fit(["", ""]).transform(["a"]).nnz == 0


@given(
    texts=st.lists(LETTERS, min_size=12, max_size=16),
    liked=st.lists(st.integers(0, 3), unique=True, max_size=3),
    strengths=st.lists(st.floats(0.1, 1), min_size=3, max_size=3),
)
def test_a_score_is_the_sharpened_mean_of_cosines(texts, liked, strengths):
    data = written(texts)
    weights = np.array(strengths[: len(liked)])
    histories = UserHistories.from_lists([np.array(liked, np.int64)], [weights])
    rows = data.tfidf[1].toarray()
    generator = TfidfOverlap().fit(data)
    scores = generator.scorer(data, histories, BOOKS).score_pairs(
        np.zeros(len(texts), np.int64), np.arange(len(texts))
    )
    cosines = rows[: len(texts)] @ rows[liked].T
    shares = weights / max(weights.sum(), 1e-9)
    expected = np.log(1 + np.expm1(5 * cosines) @ shares) / 5
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_words_that_are_in_very_many_items_are_looked_at_last(monkeypatch):
    texts = ["rare dull", "rare", "dull", "dull x", "x", *[""] * 45]
    data = written(texts)
    scorer = TfidfOverlap().fit(data).scorer(data, histories_of([0]), BOOKS)
    inside, seen = data.in_domain(BOOKS), histories_of([0]).seen(len(data))
    whole = scorer.top_k(10, inside, seen)
    assert whole.items.tolist() == [1, 2, 3]
    monkeypatch.setattr(module, "MAX_POSTINGS", 2)  # rare is in two books, dull in three
    found = scorer.top_k(10, inside, seen)
    assert found.items.tolist() == [1]
    np.testing.assert_allclose(found.scores, whole.scores[:1], rtol=1e-6)


def test_items_of_other_domains_are_not_scored():
    data = make_training_data()
    scorer = TfidfOverlap().fit(data).scorer(data, histories_of([0, 4]), FILMS)
    books = np.flatnonzero(data.in_domain(BOOKS))
    assert not scorer.score_pairs(np.zeros(len(books), np.int64), books).any()


@pytest.fixture
def space(tmp_path):
    space = Space.create(tmp_path / "s.space", {"text": text_encoder()})
    space.upsert(
        [
            item("a", "boots", brand="Acme", tags=["red", "warm"], price=7),
            item("b", "shoes", brand="Acme", tags=None, price=7),
            item("c", "hat", price=7),
        ]
    )
    return space


def test_text_and_attributes_of_text_are_what_is_written(space):
    view = space.opened.view()
    data = space_training_data(view, {}, space.interactions())
    found = dict(zip(data.item_ids, data.features.texts(np.arange(3)), strict=True))
    assert found == {"a": "boots Acme red warm", "b": "shoes Acme", "c": "hat"}


def test_what_was_changed_is_read_anew(space):
    space.upsert([item("b", "shoes", brand="Other", price=7)])
    space.delete("c")
    data = space_training_data(space.opened.view(), {}, space.interactions())
    found = dict(zip(data.item_ids, data.features.texts(np.arange(2)), strict=True))
    assert found == {"a": "boots Acme red warm", "b": "shoes Other"}
