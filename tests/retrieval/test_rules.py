"""Business rules: boosts, pins, bans, caps, what was shown, and minimum relevance."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus import Interaction, IsthmusWarning, Space, User
from isthmus.errors import InvalidFilter, InvalidInput
from tests.retrieval.crowd import BRANDS, IDS, NUMBER, ids
from tests.toy import PointEncoder, item

DAY = 86_400.0


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Ten items, i0 nearest to the query; two brands by turns, tags of some."""
    space = Space.create(tmp_path_factory.mktemp("shop") / "s", PointEncoder(2))
    space.upsert(
        [
            item(
                f"i{n}",
                f"10 {n}",
                "shop",
                price=n,
                brand="even" if n % 2 == 0 else "odd",
                tags=["new", "red"] if n in (1, 2, 3) else ["old"] if n == 4 else None,
            )
            for n in range(10)
        ]
    )
    return space


def test_a_factor_divides_the_place_of_an_item(shop):
    # i7 has place 8, which becomes 2; i0 has 1, which becomes 4.
    assert ids(shop.search("1 0", k=5, boost={"price = 7": 4})) == ["i0", "i7", "i1", "i2", "i3"]
    assert ids(shop.search("1 0", k=4, boost={"price = 0": 0.25})) == ["i1", "i2", "i3", "i0"]


def test_an_addition_moves_an_item_up_so_many_places(shop):
    assert ids(shop.search("1 0", k=4, boost={"price = 8": "+6"})) == ["i0", "i1", "i8", "i2"]
    assert ids(shop.search("1 0", k=4, boost={"price = 0": "-2"})) == ["i1", "i2", "i0", "i3"]


def test_boosts_of_one_item_are_combined(shop):
    boosts = {"price = 9": 2, "brand = 'odd'": "+3"}
    # The keys of i1, i3, i5, i7 are -1, 1, 3, 5; that of i9 is 10 / 2 - 3.
    assert ids(shop.search("1 0", boost=boosts)) == [
        "i1", "i3", "i0", "i9", "i5", "i2", "i7", "i4", "i6", "i8",
    ]  # fmt: skip


def test_an_item_from_far_below_is_found(crowd):
    last = ids(crowd.search("1 0 0 0 0", k=len(IDS)))[-1]
    hits = crowd.search("1 0 0 0 0", k=3, boost={f"n = {NUMBER[last]}": "+1000"})
    assert hits[0].item_id == last
    assert hits[0].rule == "boosted"
    assert hits[1].rule is None


def test_pins_have_the_first_places_and_bans_none(shop):
    hits = shop.search("1 0", k=4, pin=["i8", "i5"], ban=["i0", "i2"])
    assert ids(hits) == ["i8", "i5", "i1", "i3"]
    assert [hit.rule for hit in hits] == ["pinned", "pinned", None, None]
    assert [hit.rank for hit in hits] == [1, 2, 3, 4]
    assert ids(shop.similar("i0", k=2, pin=["i9"])) == ["i9", "i1"]


def test_a_pin_obeys_the_filter_and_a_note_says_so(shop):
    with pytest.warns(IsthmusWarning, match="not pinned: i8, nothing"):
        hits = shop.search("1 0", k=2, pin=["i8", "nothing", "i4"], where="price < 6")
    assert ids(hits) == ["i4", "i0"]


def test_a_cap_holds_in_the_whole_list_and_of_each_value_of_a_list(shop):
    assert ids(shop.search("1 0", caps={"brand": 2})) == ["i0", "i1", "i2", "i3"]
    # Red and new are those of the first item of the three; items without tags are not capped.
    assert ids(shop.search("1 0", caps={"tags": 1}, k=5)) == ["i0", "i1", "i4", "i5", "i6"]
    assert ids(shop.search("1 0", caps={"brand": 1}, pin=["i7"])) == ["i7", "i0"]


def test_rules_go_with_words_and_a_range(shop):
    plain = ids(shop.search("10 3", hybrid=True))
    hits = shop.search("10 3", hybrid=True, pin=["i9"], ban=[plain[0]], caps={"brand": 3})
    assert ids(hits)[0] == "i9"
    assert plain[0] not in ids(hits)
    assert len(hits) == 6
    near = shop.search("1 0", k=None, min_score=0.95, ban=["i1"], boost={"price = 3": 10})
    assert ids(near) == ["i3", "i0", "i2"]


def place_keys(boosts, whole):
    """The boosted places of all items, computed one by one."""
    tests = {
        "n % 3 = 0": lambda n: n % 3 == 0,
        "n >= 50": lambda n: n >= 50,
        "brand = 'acme'": lambda n: BRANDS[n % 4] == "acme",
    }
    keys = {}
    for place, name in enumerate(whole, 1):
        factor, places = 1.0, 0.0
        for predicate, value in boosts.items():
            if tests[predicate](NUMBER[name]):
                factor *= value if not isinstance(value, str) else 1.0
                places += float(value) if isinstance(value, str) else 0.0
        keys[name] = place / factor - places
    return sorted(whole, key=lambda name: (keys[name], -whole.index(name)))


@settings(max_examples=40, deadline=None)
@given(
    boosts=st.dictionaries(
        st.sampled_from(["n % 3 = 0", "n >= 50", "brand = 'acme'"]),
        st.sampled_from([0.25, 2, 5.5, "+3", "-7", "+40"]),
        min_size=1,
    ),
    ban=st.lists(st.sampled_from(IDS), max_size=8, unique=True),
    most=st.integers(1, 9),
    k=st.integers(1, 66),
)
def test_a_list_is_that_of_all_items_under_the_rules(crowd, boosts, ban, most, k):
    whole = ids(crowd.search(vector=[1, 0, 0, 0, 0], k=len(IDS)))
    expected, counts = [], {}
    for name in place_keys(boosts, whole):
        brand = BRANDS[NUMBER[name] % 4]
        if name in ban or (brand is not None and counts.get(brand, 0) == most):
            continue
        counts[brand] = counts.get(brand, 0) + 1
        expected.append(name)
    hits = crowd.search(vector=[1, 0, 0, 0, 0], k=k, boost=boosts, ban=ban, caps={"brand": most})
    assert ids(hits) == expected[:k]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"boost": {"price < 2": 0}}, "boost of 'price < 2' is 0; give a factor from 0.01 to 100"),
        ({"boost": {"price < 2": "5"}}, "places to move up or down, such as"),
        ({"boost": {"price < 2": True}}, "give a factor"),
        ({"boost": ["price"]}, "give a mapping"),
        ({"caps": {"brand": 0}}, "cap of 'brand' is 0; give the most items"),
        ({"caps": {"colour": 2}}, "attribute 'colour', which no domain has; there are: "),
        ({"pin": ["i1", "i1"]}, "'i1' twice"),
        ({"pin": ["i1"], "ban": ["i1"]}, "pinned and banned"),
        ({"pin": [f"i{n}" for n in range(11)]}, "pin at most 10"),
    ],
)
def test_rules_that_make_no_sense_are_refused(shop, options, words):
    with pytest.raises(InvalidInput, match=words):
        shop.search("1 0", **options)


def test_a_predicate_that_is_none_is_refused(shop):
    with pytest.raises(InvalidFilter, match="colour"):
        shop.search("1 0", boost={"colour = 'red'": 2})


def test_recommendations_obey_the_rules(shop):
    user = User(history=["i0"])
    plain = ids(shop.recommend(user))
    assert ids(shop.recommend(user, pin=[plain[4]], ban=[plain[0]])) == [
        plain[4], *plain[1:4], *plain[5:],
    ]  # fmt: skip
    # What the user knows is not recommended, pinned or not.
    with_known = shop.recommend(user, pin=["i0"])
    assert ids(with_known) == plain
    table = shop.recommend_batch([("u", user)], k=3, boost={f"price = {plain[5][1:]}": "+50"})
    assert table["item_id"].to_pylist() == [plain[5], plain[0], plain[1]]
    few = shop.recommend(user, min_relevance=0.3)
    scores = {hit.item_id: hit.score for hit in shop.recommend(user)}
    best = max(scores.values())
    assert ids(few) == [name for name in plain if scores[name] >= 0.3 * best]
    assert 0 < len(few) < len(plain)


@pytest.fixture
def watched(tmp_path):
    """One user was shown items at several times, and dismissed one."""
    space = Space.create(tmp_path / "s", PointEncoder(2))
    space.upsert([item(f"i{n}", f"10 {n}", "shop") for n in range(10)])
    now = time.time()
    events = [
        ("i1", "impression", now - DAY / 2),
        ("i2", "impression", now - 3 * DAY),
        ("i3", "dismiss", now - DAY / 2),
        ("i4", "impression", None),
        ("i5", "impression", now + DAY),
    ]
    space.add_interactions(
        [
            {"user_id": "ann", "item_id": name, "event": event, "time": moment}
            for name, event, moment in events
        ]
        + [{"user_id": "bob", "item_id": "i6", "event": "impression", "time": now - 60}]
    )
    return space


def test_what_was_shown_stays_out_for_a_time(watched):
    ann = User(id="ann", history=["i0"])
    plain = ids(watched.recommend(ann))
    assert set(plain) == {f"i{n}" for n in range(1, 10)}  # impressions are no history
    shown_for = {"1d": {"i1", "i3"}, "7d": {"i1", "i2", "i3"}, "1h": set()}
    for duration, shown in shown_for.items():
        expected = [name for name in plain if name not in shown]
        assert ids(watched.recommend(ann, exclude_shown_for=duration)) == expected
    assert "i1" not in ids(watched.recommend(ann, exclude_shown_for="1d", pin=["i1"]))
    table = watched.recommend_batch([User(id="ann"), User(id="bob")], exclude_shown_for="1d")
    lists = {"ann": set(), "bob": set()}
    for row in table.to_pylist():
        lists[row["user_id"]].add(row["item_id"])
    everything = {f"i{n}" for n in range(10)}
    assert lists == {"ann": everything - {"i1", "i3"}, "bob": everything - {"i6"}}
    with pytest.raises(InvalidInput, match="exclude_shown_for is 'a while'; give a number of"):
        watched.recommend(ann, exclude_shown_for="a while")


def test_pages_go_on_although_those_before_were_shown_meanwhile(watched):
    ann = User(id="ann")
    options = {"k": 3, "exclude_shown_for": "1d"}
    whole = ids(watched.recommend(ann, k=10, exclude_shown_for="1d"))
    seen, cursor = [], None
    while True:
        page = watched.recommend(ann, cursor=cursor, **options)
        seen += ids(page)
        if page.cursor is None:
            break
        watched.add_interactions(
            [
                {"user_id": "ann", "item_id": name, "event": "impression", "time": time.time()}
                for name in ids(page)
            ]
        )
        cursor = page.cursor
    assert seen == whole
    again = watched.recommend(ann, **options)
    assert not set(ids(again)) & set(whole[:6])


def test_a_dislike_moves_the_next_list(watched):
    ann = User(id="ann", history=[Interaction("i0", 1.0, time.time() - 9 * DAY)])
    before = ids(watched.recommend(ann))
    watched.add_interactions(
        [{"user_id": "ann", "item_id": before[0], "event": "dislike", "time": time.time()}]
    )
    after = ids(watched.recommend(ann))
    assert before[0] not in after
    assert after != before[1:]
