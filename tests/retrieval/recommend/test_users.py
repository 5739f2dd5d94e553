"""Users with every kind of history, and many users at once."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus import Space, User
from isthmus.data.interactions.feedback import Feedback
from isthmus.errors import InvalidInput
from isthmus.retrieval.recommend import space_recommender
from isthmus.retrieval.recommend.users import stored_histories
from tests.retrieval.recommend.worlds import ITEMS_A_TASTE, TASTES, name, taste_of
from tests.toy import item, text_encoder


def answers(space, user, domain="books", k=12):
    return [(hit.item_id, hit.score) for hit in space.recommend(user, domain=domain, k=k)]


def same(one, other):
    assert [i for i, _ in one] == [i for i, _ in other]
    np.testing.assert_allclose([s for _, s in one], [s for _, s in other], rtol=1e-4)


def tastes(space, user, k=4, domain="books"):
    return [taste_of(hit.item_id) for hit in space.recommend(user, domain=domain, k=k)]


def test_ratings_up_to_half_of_the_best_have_no_weight(board):
    liked = {name("films", 1, n): 5.0 for n in range(3)}
    poor = {name("films", 6, n): stars for n, stars in enumerate((2.5, 1.0, 0.0))}
    user = User(ratings={**liked, **poor})
    assert tastes(board, user) == [1] * 4
    same(answers(board, user), answers(board, User(ratings=liked)))
    found = answers(board, user, "films", TASTES * ITEMS_A_TASTE)
    assert not {i for i, _ in found} & {*liked, *poor}


def test_ratings_have_no_order(board):
    pairs = [(name("films", taste, n), 5.0 - n) for taste in (1, 4) for n in range(3)]
    history = [name("films", 7, 0)]
    for more in ({}, {"history": history}, {"id": "u3"}):
        one, other = User(ratings=pairs, **more), User(ratings=pairs[::-1], **more)
        same(answers(board, one, k=40), answers(board, other, k=40))


def test_ages_count_from_the_newest_and_ratings_have_one():
    user = User(["a", "b"], ratings={"x": 5, "y": 4, "z": 1}, clicks=["c"])
    assert [entry.item_id for entry in user.history] == ["x", "y", "z", "a", "b", "c"]
    assert user.ages().tolist() == [3, 3, 3, 2, 1, 0]
    whole = user.after(User(["s", "t"]).history, ordered=True)
    assert whole.ages().tolist() == [7, 6, 3, 3, 3, 2, 1, 0]
    assert user.after(user.history, ordered=False).ages().tolist() == [3] * 9 + [2, 1, 0]
    assert User().after(user.history, ordered=False).ages().tolist() == [0] * 6


def test_clicks_are_the_newest_and_as_strong_as_the_strongest():
    user = User([("a", 4.0, 10), ("b", 2.0, 5)], clicks=["c", "d"])
    assert [(entry.item_id, entry.value) for entry in user.history] == [
        ("b", 2.0), ("a", 4.0), ("c", 4.0), ("d", 4.0)
    ]  # fmt: skip


def test_clicks_count_like_a_history_that_ends_with_them(board):
    first, last = name("films", 1, 0), [name("films", 5, n) for n in range(2)]
    same(answers(board, User([first], clicks=last)), answers(board, User([first, *last])))
    assert answers(board, User([first], clicks=last)) != answers(board, User([first]))


def test_times_without_a_zone_are_utc(monkeypatch):
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    early, late = datetime(2020, 1, 1, 0), datetime(2020, 1, 1, 1, tzinfo=UTC)
    try:
        user = User([("late", 1.0, late), ("early", 1.0, early)])
        other = User([("late", 1.0, late.replace(tzinfo=None)), ("early", 1.0, early)])
    finally:
        monkeypatch.undo()
        time.tzset()
    for one in (user, other):
        assert [entry.item_id for entry in one.history] == ["early", "late"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"history": "film-1"}, "history is 'film-1'; give a list"),
        ({"clicks": "film-1"}, "clicks is 'film-1'; give a list"),
        ({"history": ["a", {"item": "b"}]}, "history entry 1 is {'item': 'b'}; give an item id"),
        ({"history": [("a", 1.0, 2.0, 3.0)]}, "history entry 0 is .*; give an item id"),
        ({"history": [("a", "much")]}, "history entry 0 is .* its value is no finite number"),
        ({"history": [("a", 1e39)]}, "history entry 0 is .* over the largest number, 3.4e"),
        ({"ratings": {"a": -1e39}}, "ratings entry 0 is .* over the largest number, 3.4e"),
        ({"history": [b"1"]}, "history entry 0: its item id is b'1'"),
        ({"clicks": [b"1"]}, "clicks entry 0: its item id is b'1'"),
        ({"ratings": [b"12"]}, "ratings entry 0 is b'12'; give"),
        ({"history": [("a", None)]}, "history entry 0 is .* its value is no finite number"),
        ({"history": [("a", 1.0, "now")]}, "history entry 0 is .* a time is a datetime or a"),
        ({"clicks": ["a", 7.5]}, "clicks entry 1: its item id is 7.5 .*; an id is text or a whole"),
        ({"history": [True]}, "history entry 0: its item id is True .*; an id is text or a whole"),
        ({"ratings": {"a": "good"}}, "ratings entry 0 is .* its value is no finite number"),
        ({"ratings": ["ab"]}, r"ratings entry 0 is 'ab'; give \(item_id, value\)"),
        ({"text": 5}, "text is 5; give a text, such as '5'"),
        ({"id": 4.5}, r"the id of a user is 4.5 \(float\); an id is text or a whole number"),
    ],
)
def test_malformed_users_are_refused(arguments, message):
    with pytest.raises(InvalidInput, match=message):
        User(**arguments)


def test_unknown_arguments_may_be_none(board):
    nothing = User(None, None, id=None, clicks=None, ratings=None)
    same(answers(board, nothing), answers(board, User()))
    array = np.array([name("films", 2, 0), name("films", 2, 1)])
    same(answers(board, User(array)), answers(board, User(array.tolist())))


@pytest.mark.parametrize("taste", [0, 5])
def test_a_text_finds_its_theme(board, taste):
    user = User(text=f"booksword{taste}")
    assert tastes(board, user) == [taste] * 4
    found = {i for i, _ in answers(board, user, k=TASTES * ITEMS_A_TASTE)}
    assert len(found) == TASTES * ITEMS_A_TASTE  # what stands for a text was not seen


def test_text_and_history_both_count(board):
    both = User([name("films", 2, 0), name("films", 2, 1)], text="booksword6")
    assert {2, 6} <= set(tastes(board, both, k=12))


def test_unknown_users_and_items_are_ignored(board):
    nothing = answers(board, User())
    for user in (User(id="nobody"), User(["no-such-thing"]), User(text="  ", ratings={})):
        same(answers(board, user), nothing)
    known = [name("films", 3, 0)]
    same(answers(board, User([*known], id="nobody")), answers(board, User(known)))


def test_a_history_comes_after_what_is_stored(board):
    stored = [row["item_id"] for row in board.interactions().to_pylist() if row["user_id"] == "u3"]
    more = User([name("films", 6, 0), name("books", 6, 1)], id="u3")
    found = {i for i, _ in answers(board, more, k=TASTES * ITEMS_A_TASTE)}
    assert not found & {*stored, name("books", 6, 1)}
    assert answers(board, more) != answers(board, User(id="u3"))


USERS = [
    ("nothing", User()),
    ("unknown", User(id="nobody")),
    ("stored", User(id="u5")),
    ("both", User([name("films", 2, 0)], id="u6")),
    ("text", User(text="filmsword1")),
    ("rated", User(ratings={name("films", 4, 0): 5, name("books", 0, 0): 1})),
    ("long", User([name("films", taste, n) for taste in range(8) for n in range(4)])),
]


@pytest.mark.parametrize("options", [
    {"domain": "books"},
    {},
    {"where": "item_id like '%-0'"},
    {"quotas": {"films": 3}},
])  # fmt: skip
def test_a_batch_is_answered_as_each_user_alone(board, options):
    table = board.recommend_batch(USERS, k=8, **options).to_pylist()
    for user_id, user in USERS:
        rows = [row for row in table if row["user_id"] == user_id]
        assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
        alone = board.recommend(user, k=8, **options)
        same(
            [(row["item_id"], row["score"]) for row in rows], [(h.item_id, h.score) for h in alone]
        )


ITEMS = st.sampled_from(
    [name(domain, taste, n) for domain in ("films", "books") for taste in (0, 3, 7) for n in (0, 1)]
)
ANYBODY = st.builds(
    User,
    st.lists(ITEMS, max_size=12),
    st.sampled_from([None, "booksword2"]),
    id=st.sampled_from([None, "u3", "u17", "nobody"]),
    clicks=st.lists(ITEMS, max_size=2),
)


@settings(max_examples=15)
@given(users=st.lists(ANYBODY, min_size=1, max_size=9), size=st.integers(1, 9), k=st.integers(1, 9))
def test_a_batch_is_the_lists_of_its_users(board, users, size, k):
    """In parts of any size: the same items, and scores that are equal but for rounding."""
    usual, space_recommender.USERS_A_BATCH = space_recommender.USERS_A_BATCH, size
    try:
        table = board.recommend_batch(enumerated(users), domain="books", k=k).to_pylist()
    finally:
        space_recommender.USERS_A_BATCH = usual
    expected = [
        (str(at), hit.item_id, hit.rank)
        for at, user in enumerate(users)
        for hit in board.recommend(user, domain="books", k=k)
    ]
    assert [(row["user_id"], row["item_id"], row["rank"]) for row in table] == expected
    scores = [hit.score for user in users for hit in board.recommend(user, domain="books", k=k)]
    np.testing.assert_allclose([row["score"] for row in table], scores, rtol=1e-5)


def enumerated(users):
    return [(str(at), user) for at, user in enumerate(users)]


@pytest.mark.parametrize("options", [{"domain": "books"}, {}, {"where": "item_id like '%-0'"}])
def test_several_processes_answer_as_one(board, options, monkeypatch):
    monkeypatch.setattr(space_recommender, "USERS_A_BATCH", 2)
    alone = board.recommend_batch(USERS, k=8, **options)
    together = board.recommend_batch(USERS, k=8, processes=2, **options)
    assert together.drop_columns("score").equals(alone.drop_columns("score"))
    one, other = (table.column("score").to_numpy() for table in (alone, together))
    np.testing.assert_allclose(one, other, rtol=1e-5)


def test_no_process_is_refused(board):
    with pytest.raises(InvalidInput, match="processes is 0; give a number from 1 to 1024"):
        board.recommend_batch(USERS, processes=0)


def test_an_empty_batch_returns_an_empty_table(board):
    assert board.recommend_batch([]).num_rows == 0


def test_without_rankers_other_users_of_a_batch_change_nothing(tmp_path):
    """One gives up to five stars and one up to three; each has a favourite of their own."""
    space = Space.create(tmp_path / "space", {"text": text_encoder()})
    space.upsert([item(f"{word}{n}", f"{word} {n}") for word in ("sea", "jazz") for n in range(5)])
    space.add_interactions(
        [
            {"user_id": "generous", "item_id": "jazz0", "value": 5.0},
            {"user_id": "generous", "item_id": "sea0", "value": 1.0},
            {"user_id": "strict", "item_id": "jazz1", "value": 1.0},
            {"user_id": "strict", "item_id": "sea1", "value": 3.0},
        ]
    )
    alone = [hit.item_id for hit in space.recommend(User(id="strict"), k=8)]
    assert alone[0].startswith("sea")
    both = [("generous", User(id="generous")), ("strict", User(id="strict"))]
    table = space.recommend_batch(both, k=8).to_pylist()
    assert [row["item_id"] for row in table if row["user_id"] == "strict"] == alone


def test_stored_values_reach_the_threshold_of_the_same_value(board):
    table = board.interactions().slice(0, 2)
    at = table.column_names.index("value")
    column = np.array([0.7, 0.6], np.float32)
    table = table.set_column(at, table.schema.field("value"), [column])
    feedback = Feedback.of(table, positive_from=0.7)
    entries = [
        e
        for entries_of_user, _ in stored_histories(table, feedback).values()
        for e in entries_of_user
    ]
    assert [entry.value > 0 for entry in entries] == [True, False]


def test_several_events_with_an_item_are_one_as_strong_as_the_strongest(space):
    """Whoever looks again at what they bought has not stopped to like it."""
    space.add_interactions(
        [
            {"user_id": "u", "item_id": "a", "value": 5.0, "event": "buy", "time": 1},
            {"user_id": "u", "item_id": "b", "value": 4.0, "event": "buy", "time": 2},
            {"user_id": "u", "item_id": "a", "value": 1.0, "event": "view", "time": 3},
        ],
        time_unit="s",
    )
    ((history, ordered),) = stored_histories(space.interactions("u", waiting=True)).values()
    assert [(entry.item_id, entry.value) for entry in history] == [
        ("b", pytest.approx(np.log2(5))),  # of amounts, the logarithm counts
        ("a", pytest.approx(np.log2(6))),
    ]
    assert ordered


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(-2, 5)), max_size=6))
def test_shares_of_ratings(pairs):
    user = User(ratings=pairs)
    best = max((value for _, value in pairs), default=0)
    for (item_id, value), entry in zip(pairs, user.history, strict=True):
        assert entry.item_id == item_id
        good = best > 0 and value > best / 2
        assert entry.value == (pytest.approx(value / best) if good else 0)


def test_users_with_an_id_need_no_other_name(board):
    users = [User(id="u3"), User(id="u4", clicks=[name("films", 1, 0)])]
    named = [("u3", users[0]), ("u4", users[1])]
    found = board.recommend_batch(users, k=3, domain="books")
    assert found.column("user_id").to_pylist() == ["u3"] * 3 + ["u4"] * 3
    assert found.equals(board.recommend_batch(named, k=3, domain="books"))


@pytest.mark.parametrize("wrong", [User(), "u3", ("u3", "u4"), ("u3",)])
def test_users_without_a_name_are_refused(board, wrong):
    with pytest.raises(InvalidInput, match=r"users\[1\] is .*; give User\(id=...\), or a pair"):
        board.recommend_batch([User(id="u3"), wrong])


@pytest.mark.parametrize("options", [{}, {"domain": "books"}, {"diversity": 0.5}])
def test_a_longer_list_begins_with_the_shorter_one_whatever_ranks(board, options):
    user = User(id="u3", history=[name("films", 1, 0)])
    whole = [(hit.item_id, hit.score) for hit in board.recommend(user, k=30, **options)]
    for k in (1, 7, 10, 23):
        page = board.recommend(user, k=k, **options)
        assert [(hit.item_id, hit.score) for hit in page] == whole[:k]
        rest = board.recommend(user, k=30 - k, cursor=page.cursor, **options)
        assert [(hit.item_id, hit.score) for hit in rest] == whole[k:]
        assert [hit.rank for hit in rest] == list(range(k + 1, len(whole) + 1))


@pytest.mark.parametrize("wrong", [{"history": ["f1"]}, "u1", None, 7])
def test_what_is_no_user_is_refused(board, wrong):
    for ask in (board.recommend, lambda user: board.predict_ratings(user, ["f1"])):
        with pytest.raises(InvalidInput, match=r"is no user; give isthmus.User\(history="):
            ask(wrong)
