"""What the contents of a history predict, in worlds where it is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isthmus.interactions.matrix import InteractionMatrix
from isthmus.retrieval.candidates.content_regression import ContentRegression
from isthmus.retrieval.candidates.corpus import Corpus, HeldContents
from tests.retrieval.candidates.corpora import histories_of

BOOKS, FILMS, SONGS = range(3)
TASTES, ITEMS, USERS = 4, 8, 400  # of each taste: eight books and eight films
NEW = 2 * TASTES * ITEMS


def world(*, crossed: bool = True) -> Corpus:
    """Who likes books of taste t likes films of taste t + 1, and half of them each.

    The films' contents say nothing of which books go with them: only users tell. At the end stands
    a film of each taste that nobody used.
    """
    rng = np.random.default_rng(0)
    tastes = np.concatenate([np.tile(np.arange(TASTES), 2 * ITEMS), np.arange(TASTES)])
    domains = np.repeat([BOOKS, FILMS, FILMS], [TASTES * ITEMS, TASTES * ITEMS, TASTES])
    centres = np.linalg.qr(rng.standard_normal((16, 2 * TASTES)))[0].T
    vectors = centres[tastes + TASTES * (domains == FILMS)]
    vectors = vectors + 0.05 * rng.standard_normal(vectors.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    lists = []
    for user in range(USERS):
        films = (user + crossed) % TASTES
        own = [np.flatnonzero((tastes == user % TASTES) & (domains == BOOKS))]
        own.append(np.flatnonzero((tastes[:NEW] == films) & (domains[:NEW] == FILMS)))
        lists.append(np.sort(np.concatenate([rng.choice(part, 4, replace=False) for part in own])))
    columns = np.concatenate(lists)
    return Corpus(
        item_ids=np.array([f"i{n}" for n in range(len(domains))], object),
        domain_names=("books", "films", "songs"),
        domains=domains.astype(np.int64),
        contents=HeldContents(vectors.astype(np.float32)),
        matrix=InteractionMatrix(
            users=np.array([f"u{n}" for n in range(USERS)], object),
            items=len(domains),
            starts=np.arange(0, len(columns) + 1, 8),
            columns=columns,
            strengths=np.ones(len(columns), np.float32),
            moments=np.full(len(columns), np.nan),
            likes=np.ones(len(columns), bool),
        ),
    )


def ranked(source, corpus, history, n, allowed=None):
    """Give the n films that are thought best for somebody."""
    histories = histories_of(history)
    inside = corpus.in_domain(FILMS) if allowed is None else allowed
    found = source.opinion(corpus, histories, FILMS)
    return found.best(n, inside, histories.seen(len(corpus))).items.tolist()


@pytest.mark.parametrize("crossed", [True, False])
def test_books_tell_which_films_strangers_like(crossed):
    corpus = world(crossed=crossed)
    source = ContentRegression(ridge=0.5).fit(corpus)
    for taste in range(TASTES):
        films = ranked(source, corpus, [taste, taste + TASTES], ITEMS)
        assert {film % TASTES for film in films} == {(taste + crossed) % TASTES}


def test_a_new_film_is_liked_by_whom_films_of_its_contents_are():
    corpus = world()
    source = ContentRegression(ridge=0.5).fit(corpus)
    fresh = np.arange(len(corpus)) >= NEW
    for taste in range(TASTES):
        assert ranked(source, corpus, [taste, taste + TASTES], 1, fresh) == [
            NEW + (taste + 1) % TASTES
        ]


def test_a_film_that_came_later_is_scored_as_one_that_nobody_used():
    corpus = world()
    before = replace(
        corpus,
        item_ids=corpus.item_ids[:NEW],
        domains=corpus.domains[:NEW],
        contents=HeldContents(corpus.contents.vectors[:NEW]),
        matrix=replace(corpus.matrix, items=NEW),
        _alike=[],
    )
    source = ContentRegression(ridge=0.5).fit(before)
    for taste in range(TASTES):
        films = ranked(source, corpus, [taste], 1, np.arange(len(corpus)) >= NEW)
        assert films == [NEW + (taste + 1) % TASTES]


def test_films_tell_which_other_films():
    corpus = world()
    source = ContentRegression(ridge=0.5).fit(corpus)
    first = TASTES * ITEMS
    for taste in range(TASTES):
        films = ranked(source, corpus, [first + taste, first + taste + TASTES], ITEMS - 2)
        assert {film % TASTES for film in films} == {taste}


def test_the_most_popular_film_scores_about_one_for_a_user_in_the_middle():
    corpus = world()
    source = ContentRegression(rank=1, ridge=1e9).fit(corpus)  # contents say nothing
    scores = source.opinion(corpus, histories_of([0]), FILMS).at(
        np.zeros(NEW // 2, np.int64), np.arange(NEW // 2, NEW)
    )
    assert scores.max() == pytest.approx(1, abs=1e-3)


def test_a_domain_that_nobody_used_has_no_opinions():
    corpus = world()
    source = ContentRegression(ridge=0.5).fit(corpus)
    found = source.opinion(corpus, histories_of([0]), SONGS)
    assert not found.best(
        5, corpus.in_domain(SONGS), histories_of([0]).seen(len(corpus))
    ).items.size


def test_where_nothing_can_be_learned_there_is_no_opinion():
    corpus = world()
    lonely = replace(
        corpus,
        matrix=replace(
            corpus.matrix,
            users=corpus.matrix.users[:1],
            starts=np.array([0, 1]),
            columns=corpus.matrix.columns[:1],
            strengths=corpus.matrix.strengths[:1],
            moments=corpus.matrix.moments[:1],
            likes=corpus.matrix.likes[:1],
        ),
    )
    source = ContentRegression(ridge=0.5).fit(lonely)
    assert ranked(source, lonely, [0], 5) == []
