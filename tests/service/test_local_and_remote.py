"""One suite for a space in a folder and for the same space behind a service."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from isthmus import EvaluationPlan, User, connect
from isthmus.errors import (
    InvalidFilter,
    InvalidInput,
    InvalidInteractions,
    InvalidItems,
    ItemNotFound,
    UnsupportedModality,
    UnsupportedOperation,
)
from tests.service.serving import toy_space
from tests.toy import item, picture, text_encoder

VECTOR = text_encoder().encode(["booksword3"], "text")[0]
QUERIES = {
    "text": lambda s: s.search("filmsword2 films2x1", k=4),
    "two domains": lambda s: s.search("booksword1", domain=["films", "books"], k=30),
    "filter": lambda s: s.search("filmsword1", where="price < 25 AND brand = 'brand1'", k=50),
    "attributes": lambda s: s.search("booksword4", attributes=True, k=3),
    "vector": lambda s: s.search(vector=VECTOR, k=5),
    "named vector": lambda s: s.search(vector={"text": VECTOR.tolist()}, k=5),
    "like": lambda s: s.search(like=["films-1-0"], unlike=["films-2-0"], k=5),
    "hybrid": lambda s: s.search("filmsword3 films3x2", hybrid=True, k=5),
    "diverse": lambda s: s.search("filmsword3", diversity=0.5, k=6),
    "quotas": lambda s: s.search("filmsword3 booksword3", quotas={"films": 2}, k=6),
    "rules": lambda s: s.search(
        "filmsword3",
        k=6,
        pin=["books-1-1"],
        ban=["films-3-1"],
        boost={"price < 25": "+4"},
        caps={"brand": 2},
    ),
    "experiment": lambda s: s.recommend(
        User(id="u3"), k=5, experiment={"name": "t", "arms": {"a": {}, "b": {"share": 2}}}
    ),
    "normalised": lambda s: s.search("filmsword3", normalize_scores=True, k=6),
    "range": lambda s: s.search("filmsword3", min_score=0.2, k=100),
    "offset": lambda s: s.search("filmsword3", k=5, offset=7),
    "nothing": lambda s: s.search("filmsword3", where="price > 1000"),
    "similar": lambda s: s.similar("books-2-2", domain="books", k=7),
    "history": lambda s: s.recommend(User(["films-1-1", "films-1-2"]), domain="books", k=6),
    "rated": lambda s: s.recommend(
        User([("films-1-1", 2.0, 5.0)], ratings={"films-2-2": 5, "films-3-1": 1}), k=6
    ),
    "clicks": lambda s: s.recommend(User(["films-1-1"], clicks=["films-4-1"]), domain="books"),
    "stored": lambda s: s.recommend(User(id="u3"), domain="films", k=6),
    "text of a user": lambda s: s.recommend(User(text="booksword5"), domain="books", k=6),
    "attributes of a user": lambda s: s.recommend(User(attributes={"country": "NL"}), k=4),
    "explained": lambda s: s.recommend(User(id="u3"), domain="books", k=3, explain=True),
}


def everything(hits):
    return hits.as_dict(), [type(hit.score) for hit in hits]


@pytest.mark.parametrize("query", QUERIES)
def test_hits_are_the_same(space, shop, query):
    there, here = QUERIES[query](space), QUERIES[query](toy_space(shop))
    assert everything(there) == everything(here)
    assert there.release == 2


def test_a_list_goes_on_page_by_page(space):
    whole = [hit.item_id for hit in space.search("filmsword3", k=12)]
    pages, cursor = [], None
    for _ in range(3):
        page = space.search("filmsword3", k=4, cursor=cursor)
        pages += [hit.item_id for hit in page]
        cursor = page.cursor
    assert pages == whole


def test_values_of_attributes_have_their_types(space):
    (hit,) = space.search("books0x1", domain="books", k=1, attributes=True)
    assert hit.attributes["released"] == date(2000, 1, 2)
    assert hit.attributes["tags"] == ["tag1", "any"]
    assert hit.text == "booksword0 books0x1"
    assert space.get("books-0-1")["attributes"]["released"] == date(2000, 1, 2)


def test_items_are_read_alone_and_in_lists(space):
    assert space.get("films-1-1")["domain"] == "films"
    assert [one["item_id"] for one in space.get(["films-1-1", "books-1-1"])] == [
        "films-1-1",
        "books-1-1",
    ]
    with pytest.raises(ItemNotFound, match=r"^no item 'films/9' in this space$"):
        space.get("films/9")


def test_batches_of_vectors(space, shop):
    vectors = np.stack([VECTOR, -VECTOR])
    there = space.search_batch(vectors, k=100, domain="books")
    here = toy_space(shop).search_batch(vectors, k=100, domain="books")
    assert there.item_ids.tolist() == here.item_ids.tolist()
    assert there.scores.tolist() == here.scores.tolist()
    assert there.scores.dtype == np.float32


def test_groups(space):
    groups = space.search_groups("brand", "filmsword1", group_size=2, k=3, domain="films")
    assert groups[0].value == "brand1"
    assert [len(group.hits) for group in groups] == [2, 2, 2]
    assert groups[0].hits[0].rank == 1
    by_tag = space.search_groups("tags", "filmsword1", k=3)
    assert [group.value for group in by_tag] == ["tag0", "any", "tag1"] or {
        group.value for group in by_tag
    } == {"tag0", "tag1", "any"}


def test_facets_are_exact(space):
    facets = space.facets(["brand", "domain", "tags", "price"], where="price < 20", k=3)
    assert facets["brand"] == [{"value": "brand0", "count": 12}, {"value": "brand1", "count": 12}]
    assert facets["domain"] == [{"value": "books", "count": 12}, {"value": "films", "count": 12}]
    assert facets["tags"] == [
        {"value": "any", "count": 24},
        {"value": "tag0", "count": 12},
        {"value": "tag1", "count": 12},
    ]
    assert facets["price"] == [{"value": float(n), "count": 2} for n in (0, 1, 10)]
    assert len(space.facets("price", k=100)["price"]) == 48


def test_scrolling_reaches_every_item_once(space):
    seen, cursor = [], None
    while True:
        page = space.scroll("films", k=7, cursor=cursor)
        seen += page
        cursor = page.cursor
        if cursor is None:
            break
    ids = [one["item_id"] for one in seen]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids) == 48
    assert seen[0]["attributes"]["brand"] == "brand0"
    assert list(space.ids("films")) == ids


def test_counts_attributes_and_status(space):
    assert space.count(domain="films", where="price < 20") == 12
    assert {(row["domain"], row["attribute"]) for row in space.attributes()} == {
        (domain, name)
        for domain in ("films", "books")
        for name in ("brand", "price", "released", "tags")
    }
    status = space.status()
    assert (status["domains"], status["release"]) == ({"books": 48, "films": 48}, 2)
    assert space.current_release == 2


def test_lists_for_many_users(space, shop):
    users = [User(id="u3"), ("guest", User(["films-1-1"]))]
    there = space.recommend_batch(users, domain="books", k=3)
    assert there.equals(toy_space(shop).recommend_batch(users, domain="books", k=3))


def test_a_page_has_rows_of_several_kinds_and_no_item_twice(space, shop):
    user = User(["films-1-1", "films-2-2"])
    page = space.recommend_rows(user, k=4, by="brand")
    here = toy_space(shop).recommend_rows(user, k=4, by="brand")
    assert page.as_dict() == here.as_dict()
    assert [row.kind for row in page] == [
        *("for_you", "because", "because", "category", "category", "popular")
    ]
    shown = [hit.item_id for row in page for hit in row.hits]
    assert len(shown) == len(set(shown)) == 24
    assert not {"films-1-1", "films-2-2"} & set(shown)
    first = space.recommend(user, k=4)
    assert [hit.item_id for hit in page[0].hits] == [hit.item_id for hit in first]
    assert [(row.item_id, row.title) for row in page[1:3]] == [
        ("films-2-2", "Because you liked filmsword2 films2x2"),
        ("films-1-1", "Because you liked filmsword1 films1x1"),
    ]
    for row in page[3:5]:
        brands = {space.get(hit.item_id)["attributes"]["brand"] for hit in row.hits}
        assert brands == {row.value}
        assert (row.attribute, row.title) == ("brand", row.value)
    assert [hit.rank for hit in page[0].hits] == [1, 2, 3, 4]
    assert page.release == 2


def test_rows_follow_filters_rules_and_their_number(space):
    given = {"domain": "books", "where": "price < 60", "ban": ["books-3-1"], "pin": ["books-1-1"]}
    page = space.recommend_rows(User(id="u3"), k=3, n_rows=3, because=1, categories=0, **given)
    assert [row.kind for row in page] == ["for_you", "because", "popular"]
    hits = [hit for row in page for hit in row.hits]
    assert hits[0].item_id == "books-1-1"
    assert {hit.domain for hit in hits} == {"books"}
    assert all(hit.item_id.split("-")[1] in "012345" for hit in hits)
    assert "books-3-1" not in {hit.item_id for hit in hits}
    assert len(space.recommend_rows(User(id="u3"), n_rows=1)) == 1


def test_new_items_have_a_row(own):
    own.upsert([item(f"fresh{n}", f"filmsword3 fresh{n}") for n in range(2)])
    page = own.recommend_rows(User(["films-6-1"]), k=4, categories=0)
    (new,) = [row for row in page if row.kind == "new"]
    assert {hit.item_id for hit in new.hits} == {"fresh0", "fresh1"}


def test_users_to_tell_like_what_goes_with_the_item(space, shop):
    found = space.recommend_users("films-1-1", k=5)
    assert found == toy_space(shop).recommend_users("films-1-1", k=5)
    assert [row["rank"] for row in found] == [1, 2, 3, 4, 5]
    assert [row["score"] for row in found] == sorted((r["score"] for r in found), reverse=True)
    stored = toy_space(shop)
    for row in found:
        items = stored.interactions(row["user_id"]).column("item_id").to_pylist()
        assert "films-1-1" not in items
        assert {one.split("-")[1] for one in items} == {"1"}
    with pytest.raises(ItemNotFound, match=r"^no item 'none' in this space$"):
        space.recommend_users("none")


ERRORS = {
    "k": (lambda s: s.search("x", k=0), InvalidInput),
    "nothing to search": (lambda s: s.search(), InvalidInput),
    "word": (lambda s: s.search("x", words="other"), InvalidInput),
    "domain": (lambda s: s.search("x", domain="filsm"), InvalidInput),
    "filter": (lambda s: s.search("x", where="price <"), InvalidFilter),
    "column": (lambda s: s.search("x", where="prise < 5"), InvalidFilter),
    "item": (lambda s: s.similar("none"), ItemNotFound),
    "vector": (lambda s: s.search(vector=[1.0, 2.0]), InvalidInput),
    "modality": (lambda s: s.search(image=picture("red")), UnsupportedModality),
    "cursor": (lambda s: s.search("x", cursor="none"), InvalidInput),
    "page": (lambda s: s.scroll(cursor="none"), InvalidInput),
    "facet": (lambda s: s.facets("brnd"), InvalidInput),
    "user": (lambda s: s.recommend("u1"), InvalidInput),
    "event": (lambda s: s.record_events([{"event_id": "e"}]), InvalidInteractions),
    "no id": (lambda s: s.upsert([{"item_id": "", "domain": "films"}]), InvalidItems),
    "no rating": (lambda s: s.predict_ratings(User(id="u1"), ["films-1-1"]), InvalidInput),
}


@pytest.mark.parametrize("case", [case for case in ERRORS if case != "user"])
def test_errors_are_the_same(space, shop, case):
    ask, kind = ERRORS[case]
    with pytest.raises(kind) as here:
        ask(toy_space(shop))
    with pytest.raises(kind) as there:
        ask(space)
    assert type(there.value) is type(here.value)
    # A service says the name of a space in the place of its path.
    assert str(there.value) == str(here.value).replace(str(shop), "shop") or (
        str(there.value) == str(here.value)
    )


def test_items_are_added_changed_and_deleted(own):
    report = own.upsert([item("new", "filmsword1 unheard", price=5.5)])
    assert (report.added, report.rows_read) == (1, 1)
    (hit,) = own.search("unheard", k=1, attributes=True)
    assert (hit.item_id, hit.attributes["price"]) == ("new", 5.5)
    assert own.update([{"item_id": "new", "price": 6.5}]).changed == 1
    assert own.get("new")["attributes"]["price"] == 6.5
    assert own.delete(["new", "none"]) == 1
    assert own.delete(domain="films", where="price >= 75") == 1
    with pytest.raises(ItemNotFound):
        own.get("new")


def test_a_map_is_the_same(shop, address):
    found = toy_space(shop).map(domain="films", layout="components", limit=20)
    with connect(address) as remote:
        same = remote.map(domain="films", layout="components", limit=20)
        for name in ("vector_name", "item_ids", "domains", "modalities"):
            assert getattr(same, name) == getattr(found, name)
        np.testing.assert_array_equal(same.points, found.points)


def test_what_is_served_is_measured(own):
    report = own.monitor(seed=1)
    assert (report.state.release, report.state.items, report.rolled_back_to) == (2, 96, None)
    assert {one.domain for one in report.recall} == {"films", "books"}
    assert all(one.low <= one.recall <= one.high for one in report.recall)


def test_an_evaluation_is_made_of_a_plan(own):
    plan = EvaluationPlan(
        protocols="cold_item",
        targets="films",
        baselines="popularity",
        systems="interests",
        quick=True,
    )
    found = own.evaluate(plan)
    assert [(task.target_domain, task.split) for task in found.tasks] == [
        ("films", "val"),
        ("films", "test"),
    ]
    assert [[one.name for one in task.systems] for task in found.tasks] == [
        ["popularity", "interests"]
    ] * 2


def test_a_plan_of_files_is_for_the_folder_alone(address):
    with connect(address) as remote:
        for plan in (EvaluationPlan(folders=("a",), protocols=()), EvaluationPlan(n=50)):
            with pytest.raises(UnsupportedOperation, match="is not offered over HTTP"):
                remote.evaluate(plan)
        with pytest.raises(UnsupportedOperation, match="systems and out"):
            remote.evaluate(out="report")


def test_rows_that_are_not_valid_are_named(own):
    with pytest.raises(InvalidItems) as caught:
        own.upsert([item("a", "x"), {"domain": "films", "text": "y"}])
    assert [row for row, _ in caught.value.problems] == [1]


def test_an_event_counts_at_once_and_only_once(own):
    events = [
        {"event_id": f"e{n}", "user_id": "newcomer", "item_id": f"films-5-{n}", "event": "click"}
        for n in range(3)
    ]
    before = own.recommend(User(id="newcomer"), domain="books", k=6)
    first = own.record_events(events)
    again = own.record_events([*events, events[0]])
    assert (first.added, first.unchanged, first.repeated) == (3, 0, 0)
    assert (again.added, again.unchanged, again.repeated) == (0, 3, 1)
    stored = own.interactions("newcomer")
    assert stored.column("item_id").to_pylist() == [e["item_id"] for e in events]
    after = own.recommend(User(id="newcomer"), domain="books", k=6)
    assert {hit.item_id for hit in after} == {f"books-5-{n}" for n in range(6)}
    assert [hit.item_id for hit in before] != [hit.item_id for hit in after]
    assert own.forget_user("newcomer") == 3
    assert len(own.interactions("newcomer")) == 0


def test_an_event_keeps_its_value_and_time(own):
    moment = datetime(2024, 5, 3, 10, 30, tzinfo=UTC)
    own.record_events(
        [
            {"event_id": "a", "user_id": "n", "item_id": "films-1-1", "value": 4.5, "time": moment},
            {"event_id": "b", "user_id": "n", "item_id": "films-1-1", "value": 4.5, "time": moment},
        ]
    )
    rows = own.interactions("n").to_pylist()
    assert [(row["value"], row["time"]) for row in rows] == [(4.5, moment)] * 2


def test_an_event_of_the_future_is_refused(own):
    """It would be the newest for ever: beside it, nothing that is popular now is new."""
    event = {"event_id": "a", "user_id": "n", "item_id": "films-1-1"}
    now = datetime.now(UTC)
    for ahead in (timedelta(days=2), timedelta(days=100_000)):
        with pytest.raises(InvalidInteractions, match="is in the future; give the time in UTC"):
            own.record_events([{**event, "time": now + ahead}])
    assert len(own.interactions("n")) == 0
    assert own.record_events([{**event, "time": now + timedelta(hours=14)}]).added == 1


@pytest.mark.parametrize("name", ["value", "weight"])
def test_an_event_whose_numbers_cannot_be_held_is_refused(own, name):
    event = {"event_id": "a", "user_id": "n", "item_id": "films-1-1", name: 1e39}
    with pytest.raises(InvalidInteractions, match=r"over the largest number, 3\.4e\+38"):
        own.record_events([event])
    assert len(own.interactions("n")) == 0


def test_interactions_and_users_are_added(own):
    rows = [{"user_id": "n", "item_id": "films-1-1", "stars": 4.0}]
    assert own.add_interactions(rows, value="stars").added == 1
    assert own.add_interactions(rows, value="stars").unchanged == 1
    assert own.add_users([{"user_id": "n", "country": "BE"}]).added == 1
    assert own.users(["n", "u1"]) == [
        {"user_id": "n", "country": "BE"},
        {"user_id": "u1", "country": "NL"},
    ]
    assert own.user_ids() == ["n", "u1"]
    assert own.user_attributes()[0]["attribute"] == "country"
    assert own.delete_users("n") == 1


def test_two_users_become_one(own):
    events = [
        {"event_id": f"e{n}", "user_id": "visitor", "item_id": f"films-5-{n}", "event": "click"}
        for n in range(3)
    ]
    own.record_events(events)
    own.record_events([{**events[0], "user_id": "known"}])
    own.add_users([{"user_id": "visitor", "country": "BE", "age": 30}])
    own.add_users([{"user_id": "known", "country": "NL"}])
    assert own.merge_users("visitor", into="known") == 3
    items = own.interactions("known").column("item_id").to_pylist()
    assert sorted(items) == [f"films-5-{n}" for n in range(3)]
    assert len(own.interactions("visitor")) == 0
    assert own.users("known") == [{"user_id": "known", "country": "NL", "age": 30}]
    assert "visitor" not in own.user_ids()
    assert own.merge_users("visitor", into="known") == 0
    assert own.record_events([{**one, "user_id": "known"} for one in events]).added == 0
    with pytest.raises(InvalidInput, match=r"^user_id and into are both 'a'; give two users$"):
        own.merge_users("a", into="a")


def test_all_that_is_stored_of_a_user_is_exported(own):
    moment = datetime(2026, 5, 3, 12, tzinfo=UTC)
    event = {"event_id": "e1", "item_id": "films-5-1", "event": "click", "time": moment}
    own.record_events([{**event, "user_id": "before"}])
    own.add_users([{"user_id": "me", "country": "BE", "since": date(2024, 5, 3)}])
    own.merge_users("before", into="me")
    found = own.export_user("me")
    assert found["former_ids"] == ["before"]
    assert found["attributes"] == {"country": "BE", "since": "2024-05-03"}
    (stored,) = found["interactions"]
    assert (stored["item_id"], stored["event"]) == ("films-5-1", "click")
    assert stored["time"] == "2026-05-03T12:00:00+00:00"
    assert found["recommendations"] == []
    assert own.forget_user("me") == 1
    after = own.export_user("me")
    emptied = {"former_ids": [], "attributes": {}, "interactions": [], "recommendations": []}
    assert {name: after[name] for name in emptied} == emptied


def test_attributes_are_renamed_cast_and_dropped(own):
    own.rename_attribute("films", "price", "cost")
    own.cast_attribute("films", "cost", "text")
    own.drop_attribute("films", "tags")
    names = {row["attribute"]: row["type"] for row in own.attributes("films")}
    assert names["cost"] == "string"
    assert set(names) == {"brand", "cost", "released"}


def test_a_release_is_published_and_rolled_back(own):
    own.upsert([item("new", "filmsword1 unheard")])
    manifest = own.publish()
    assert (manifest.number, manifest.rows) == (3, 97)
    assert own.search("unheard", k=1).release == 3
    assert [release.number for release in own.releases()] == [1, 2, 3]
    assert own.rollback() == 2
    assert own.search("unheard", k=1).release == 2
