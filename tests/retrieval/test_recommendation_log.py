"""The log of recommendations, exploration, and what events say of logged lists."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter

import numpy as np
import pytest

from isthmus import IsthmusWarning, Space, User
from isthmus.data.recommendations import RecommendationStore
from isthmus.errors import SpaceLocked
from isthmus.index.catalog.lock import write_lock
from isthmus.retrieval.recommend.recommendation_log import RecommendationLog
from tests.retrieval.crowd import ids
from tests.toy import PointEncoder, item


@pytest.fixture
def shop(tmp_path):
    space = Space.create(tmp_path / "s", PointEncoder(2))
    space.upsert([item(f"i{n:03}", f"10 {n}", "shop", price=n) for n in range(60)])
    return space


def test_a_logged_list_is_stored_whole_and_has_an_id(shop):
    shop.set_scenario("home", ban=["i001"])
    user = User(id="ann", history=["i000"])
    first = shop.recommend(user, k=3, scenario="home", where="price < 50", log=True)
    assert first.as_dict()["recommendation_id"] == first.recommendation_id
    second = shop.recommend(user, k=3, scenario="home", where="price < 50", log=True,
                            cursor=first.cursor)  # fmt: skip
    shop.recommend(user, k=3)
    rows = shop.recommendations().to_pylist()
    assert [row["recommendation_id"] for row in rows] == [
        first.recommendation_id,
        second.recommendation_id,
    ]
    for row, hits, offset in zip(rows, (first, second), (0, 3), strict=True):
        assert row["item_id"] == ids(hits)
        assert row["score"] == pytest.approx([hit.score for hit in hits])
        assert (row["user_id"], row["scenario"], row["offset"]) == ("ann", "home", offset)
        assert row["propensity"] == [1.0] * 3
        assert row["explored"] == [False] * 3
        assert json.loads(row["request"]) == {"k": 3, "where": "price < 50"}
    assert shop.recommendations("ann").num_rows == 2
    assert shop.recommendations("bob").num_rows == 0
    assert shop.recommend(user).recommendation_id is None
    assert shop.recommendation_log.counts.as_dict() == {
        "written": 2, "waiting": 0, "dropped": 0, "failures": 0, "error": None,
    }  # fmt: skip


def test_the_thread_stores_lists_without_being_asked(shop):
    shop.recommend(User(id="ann"), log=True)
    store = RecommendationStore(shop.path)
    until = time.monotonic() + 120
    while not len(store) and time.monotonic() < until:
        time.sleep(0.05)
    assert len(store) == 1


def test_a_full_queue_drops_and_counts_and_a_failed_write_is_repeated(shop):
    log = RecommendationLog(shop.path, keep_days=9, wait_s=0, capacity=2)
    shop.recommend(User(id="ann"), log=True)
    (row,) = shop.recommendations().to_pylist()
    rows = [{**row, "recommendation_id": f"r{n}"} for n in range(4)]
    with write_lock(shop.path, "interactions"):
        log.put(rows[0])
        log.put(rows[1])
        with pytest.warns(IsthmusWarning, match="2 recommendations wait to be logged"):
            log.put(rows[2])
        log.put(rows[3])
        with pytest.raises(SpaceLocked):
            in_thread(log.flush)
        assert (log.counts.waiting, log.counts.dropped, log.counts.written) == (2, 2, 0)
    log.close()
    assert (log.counts.waiting, log.counts.written) == (0, 2)
    stored = shop.recommendations().column("recommendation_id").to_pylist()
    assert stored[-2:] == ["r0", "r1"]


def in_thread(function):
    """Call a function where it holds no lock of this thread, and raise what it raises."""
    raised = []

    def run():
        try:
            function()
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def test_old_lists_are_deleted_and_those_of_an_erased_user(shop):
    for user in ("ann", "bob"):
        shop.recommend(User(id=user), log=True)
    shop.recommendation_log.flush()
    shop.recommend(User(id="bob"), log=True)  # waits
    shop.forget_user("bob")
    assert shop.recommendations().column("user_id").to_pylist() == ["ann"]
    log = RecommendationLog(shop.path, keep_days=1e-9)
    (row,) = shop.recommendations().to_pylist()
    log.put({**row, "recommendation_id": "newer"})
    log.close()
    assert shop.recommendations().num_rows == 0
    shop.compact(keep_days=0)
    assert not any(b"bob" in file.read_bytes() for file in shop.path.rglob("*") if file.is_file())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_fork_leaves_waiting_rows_to_its_parent(shop):
    log = RecommendationLog(shop.path, keep_days=9)
    shop.recommend(User(id="ann"), log=True)
    (row,) = shop.recommendations().to_pylist()
    log.put({**row, "recommendation_id": "r1"})
    waiting = log.counts.waiting + log.counts.written
    child = os.fork()
    if not child:
        os._exit(log.counts.waiting)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    log.close()
    assert waiting == 1
    assert log.counts.written == 1


def test_events_name_the_list_they_came_from(shop):
    hits = shop.recommend(User(id="ann"), log=True)
    clicked = {
        "event_id": "e1", "user_id": "ann", "item_id": hits[1].item_id, "event": "click",
        "recommendation_id": hits.recommendation_id,
    }  # fmt: skip
    other = {"event_id": "e2", "user_id": "ann", "item_id": "i009", "event": "click"}
    shop.record_events([other])
    assert shop.opened.interactions.of_recommendations().num_rows == 0
    assert shop.record_events([clicked, other]).added == 1
    assert shop.record_events([clicked]).added == 0
    shop.add_interactions([{"user_id": "bob", "item_id": "i001"}])
    (row,) = shop.opened.interactions.of_recommendations().to_pylist()
    assert (row["recommendation_id"], row["item_id"], row["event"]) == (
        hits.recommendation_id, hits[1].item_id, "click",
    )  # fmt: skip
    assert shop.interactions("ann").num_rows == 2
    reopened = Space.open(shop.path, encoder=PointEncoder(2))
    assert reopened.interactions().num_rows == 3
    shop.forget_user("ann")
    assert shop.opened.interactions.of_recommendations().num_rows == 0


def test_a_share_of_the_places_goes_to_new_items(shop):
    plain = ids(shop.recommend(User(id="u0"), k=30))
    assert ids(shop.recommend(User(id="u0"), k=30, explore=0.0)) == plain
    drawn = Counter()
    for n in range(150):
        hits = shop.recommend(User(id=f"u{n}"), explore=0.2, log=True)
        assert len(set(ids(hits))) == 10
        for at, hit in enumerate(hits):
            if hit.rule == "explored":
                drawn[at] += 1
                assert hit.item_id not in plain
            else:
                assert hit.item_id == plain[at]
        whole = shop.recommend(User(id=f"u{n}"), explore=0.2, k=25)
        assert ids(whole)[:10] == ids(hits)
    places = np.array([drawn[at] for at in range(10)])
    assert abs(places.sum() - 300) < 4 * np.sqrt(1_500 * 0.2 * 0.8)
    for row in shop.recommendations().to_pylist():
        for at, (p, explored) in enumerate(zip(row["propensity"], row["explored"], strict=True)):
            q = 0.2 / 30  # thirty items are drawn from, all unknown
            of_item = q * (1 - q) ** at
            assert p == pytest.approx(of_item if explored else 1 - 30 * of_item)


def test_items_that_were_clicked_are_explored_more_and_known_ones_not(shop):
    late = ids(shop.recommend(User(id="u0"), k=30))
    new = sorted({f"i{n:03}" for n in range(60)} - set(late))
    liked, shown, known = new[0], new[1], new[2:]
    now = time.time()
    events = [("click", liked, 5), ("impression", liked, 6), ("impression", shown, 20)]
    events += [("impression", name, 100) for name in known]
    shop.add_interactions(
        [
            {"user_id": f"other{k}", "item_id": name, "event": kind, "time": now - k}
            for kind, name, n in events
            for k in range(n)
        ]
    )
    explored = Counter(
        hit.item_id
        for n in range(60)
        for hit in shop.recommend(User(id=f"u{n}"), k=10, explore=0.3)
        if hit.rule == "explored"
    )
    assert set(explored) <= {liked, shown}
    assert explored[liked] > 40


def test_an_export_has_the_logged_lists_of_the_user_and_of_no_other(shop):
    listed = shop.recommend(User(id="ann"), k=2, log=True)
    shop.recommend(User(id="bob"), k=2, log=True)
    shop.recommendation_log.flush()
    exported = json.loads(json.dumps(shop.export_user("ann")))
    (row,) = exported["recommendations"]
    assert (row["recommendation_id"], row["item_id"]) == (listed.recommendation_id, ids(listed))
