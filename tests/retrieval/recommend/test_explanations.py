"""Explanations are differences of the real score, and the named reasons matter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from isthmus import Space, User
from isthmus.errors import InvalidInput
from isthmus.retrieval.candidates.generators import default_generators
from isthmus.retrieval.recommend.space_data import space_training_data
from isthmus.schema import INTERACTIONS
from tests.retrieval.recommend.worlds import ITEMS_A_TASTE, QUICK, TASTES, name, taste_of
from tests.toy import COLOURS, item, picture, two_encoders

EVERY = TASTES * ITEMS_A_TASTE


def mixed(taste):
    """Three films of one taste, and one of each of three others."""
    others = [name("films", (taste + step) % TASTES, 5) for step in (2, 3, 5)]
    return [others[0], *(name("films", taste, n) for n in range(3)), *others[1:]]


def explained(space, history, item_id, **options):
    hits = space.recommend(User(history), domain="books", k=EVERY, explain=True, **options)
    return next(hit.explanation for hit in hits if hit.item_id == item_id)


def test_popularity_and_personal_part_are_the_score(board):
    for user in (User(mixed(1)), User(id="u3"), User(text="filmsword5"), User()):
        for hit in board.recommend(user, k=12, explain=True):
            explanation = hit.explanation
            assert explanation.popularity + explanation.personal == pytest.approx(
                explanation.score, abs=1e-5
            )


def test_an_unknown_user_has_no_personal_part(board):
    for hit in board.recommend(User(), k=EVERY, explain=True):
        explanation = hit.explanation
        assert explanation.personal == pytest.approx(0, abs=1e-5)
        assert explanation.history == ()
        for reason in explanation.contents:
            assert reason.gain == pytest.approx(0, abs=1e-5)


def test_explanations_do_not_change_the_hits(board):
    plain = board.recommend(User(mixed(4)), k=9)
    with_reasons = board.recommend(User(mixed(4)), k=9, explain=True)
    assert [(h.item_id, h.score) for h in with_reasons] == [(h.item_id, h.score) for h in plain]
    scores = [hit.explanation.score for hit in with_reasons if hit.domain == "books"]
    assert scores == sorted(scores, reverse=True)


def test_reasons_are_sorted_by_gain(board):
    user = User(mixed(3))
    for hit in board.recommend(user, domain="books", k=10, explain=True):
        explanation = hit.explanation
        for reasons in (explanation.history, explanation.generators, explanation.contents):
            gains = [reason.gain for reason in reasons]
            assert gains == sorted(gains, reverse=True)
        assert sorted(reason.item_id for reason in explanation.history) == sorted(mixed(3))
        assert all(set(reason.similarity) == {"text"} for reason in explanation.history)
        assert any(source.rank for source in explanation.generators)


@pytest.mark.parametrize("taste", range(TASTES))
def test_the_strongest_reason_is_of_the_right_taste(board, taste):
    hits = board.recommend(User(mixed(taste)), domain="books", k=4, explain=True)
    for hit in hits:
        if taste_of(hit.item_id) == taste:
            assert taste_of(hit.explanation.history[0].item_id) == taste
    assert taste_of(hits[0].item_id) == taste


def test_gains_are_what_the_score_loses_without_the_item(board):
    history = mixed(2)
    explanation = explained(board, history, name("books", 2, 0))
    for reason in explanation.history:
        rest = User([(i, 0.0 if i == reason.item_id else 1.0) for i in history])
        hits = board.recommend(rest, domain="books", k=EVERY, explain=True)
        left = next(h.explanation for h in hits if h.item_id == name("books", 2, 0))
        assert explanation.score - left.score == pytest.approx(reason.gain, abs=1e-3)


def test_taking_the_named_reason_away_costs_more_than_another(board):
    """The mean over users of what an item loses: by its strongest reason, and by any other."""
    named, others, rng = [], [], np.random.default_rng(0)
    for taste in range(TASTES):
        top = board.recommend(User(mixed(taste)), domain="books", k=1, explain=True)[0]
        first, *rest = (reason.item_id for reason in top.explanation.history)
        for gone, falls in ((first, named), (rng.choice(rest), others)):
            left = [i for i in mixed(taste) if i != gone]
            falls.append(top.explanation.score - explained(board, left, top.item_id).score)
    assert np.mean(named) > np.mean(others)
    assert np.mean(named) > 0


def test_a_filter_does_not_change_the_reasons(copied):
    """Many items fill the candidates; the filter lets few through, which are explained."""
    space = copied()
    space.upsert([item(f"more{n}", f"booksword{n % 8} more{n}", "books") for n in range(320)])
    where = "item_id = 'more0' or item_id like 'more31%'"
    hits = space.recommend(User(mixed(1)), domain="books", where=where, k=20, explain=True)
    assert len(hits) == 12
    scores = [hit.explanation.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    for hit in hits:
        ranks = [source.rank for source in hit.explanation.generators if source.rank]
        assert ranks
        assert max(ranks) <= 12
    deep = space.recommend(User(mixed(1)), domain="books", k=340, explain=True)
    assert all(any(s.rank for s in hit.explanation.generators) for hit in deep)


def test_explanations_name_the_modality_that_counts(tmp_path):
    """Whoever likes films of one colour likes the books of it; what is written tells nothing."""
    space = Space.create(tmp_path / "shop.space", two_encoders())
    colours = list(COLOURS)
    things = [(domain, n) for domain in ("films", "books") for n in range(60)]
    space.upsert(
        [
            item(f"{domain}-{n}", f"{domain}{n}", domain, image=picture(colours[n % 6], 8 + n // 6))
            for domain, n in things
        ]
    )
    rng = np.random.default_rng(0)
    space.add_interactions(
        [
            {"user_id": f"u{user}", "item_id": f"{domain}-{6 * int(n) + user % 6}"}
            for user in range(120)
            for domain in ("films", "books")
            for n in rng.permutation(10)[:3]
        ]
    )
    others = [
        part.name for part in default_generators() if part.name not in ("popularity", "content")
    ]
    settings = replace(QUICK, exclude_generators=tuple(others), check_source_domains=False)
    space.train("books", settings=settings)
    space.publish()
    gains = {"text": [], "image": []}
    for colour in range(6):
        user = User([f"films-{6 * n + colour}" for n in range(3)])
        hit = space.recommend(user, domain="books", k=1, explain=True)[0]
        for reason in hit.explanation.contents:
            gains[reason.name].append(reason.gain)
    assert [len(gain) for gain in gains.values()] == [6, 6]
    assert np.mean(gains["image"]) > max(np.mean(gains["text"]), 0)


def test_explanations_need_a_ranker(tmp_path):
    space = Space.create(tmp_path / "bare", two_encoders())
    space.upsert([item("a", "sea")])
    with pytest.raises(InvalidInput, match="explanations need a trained ranker: isthmus train"):
        space.recommend(User(), explain=True)


def test_similarities_are_of_the_named_vectors_that_both_have(tmp_path):
    space = Space.create(tmp_path / "two", two_encoders())
    space.upsert(
        [
            item("both", "sea ship", image=picture("red")),
            item("other", "sea ship", image=picture("red", 9)),
            item("words", "sea storm"),
            item("deaf", None, image=picture("red")),
        ]
    )
    view = space.opened.view()
    training_data = space_training_data(
        view, space.opened.vector_weights, pa.Table.from_pylist([], INTERACTIONS)
    )
    place = {item_id: at for at, item_id in enumerate(training_data.item_ids.tolist())}
    columns = np.array([place[i] for i in ("other", "words", "deaf")])
    found = training_data.features.similarities(columns, place["both"])
    assert [set(cosine) for cosine in found] == [{"text", "image"}, {"text"}, {"image"}]
    assert found[0] == {"text": pytest.approx(1), "image": pytest.approx(1)}
    whole = np.ones(len(training_data), bool)
    vectors = training_data.features.take(np.arange(len(training_data)))
    items, cosines = training_data.features.nearest(vectors, 4, whole)
    for row, (columns, scores) in enumerate(zip(items, cosines, strict=True)):
        columns, scores = columns[columns >= 0], scores[columns >= 0]
        np.testing.assert_allclose(scores, vectors[columns] @ vectors[row], atol=1e-5)
        assert (np.diff(scores) <= 1e-6).all()
