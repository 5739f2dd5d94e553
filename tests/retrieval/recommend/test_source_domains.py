"""Which domains help, which hurt, and that training ignores those that hurt."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus import Space, User
from isthmus.errors import InvalidInput
from isthmus.retrieval.recommend.store import read_description
from isthmus.retrieval.source_domains.assessment import content_distance
from tests.retrieval.recommend.noisy_world import USERS, catalogue, noisy, post
from tests.retrieval.recommend.worlds import BRIEF, QUICK, TASTES, name, taste_of
from tests.toy import item, text_encoder


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Space:
    return noisy(tmp_path_factory.mktemp("noisy") / "shop.space")


@pytest.fixture(scope="module")
def guarded(world: Space) -> Space:
    world.train("books", settings=replace(QUICK, exclude_generators=BRIEF.exclude_generators))
    world.publish()
    return Space.open(world.path, encoder={"text": text_encoder()})


def test_domains_that_help_come_first_and_those_that_hurt_last(world):
    found = world.source_domains("books")
    assert [s.domain for s in found.sources] == ["films", "posts"]
    assert [s.lift.verdict for s in found.sources] == ["helps", "hurts"]
    for source in found.sources:
        assert source.lift.users == USERS
        gain = source.lift.ndcg
        assert gain.low < gain.difference < gain.high


def test_two_domains_of_noise_do_not_hide_each_other(tmp_path):
    space = noisy(tmp_path / "shop.space", noise=("posts", "news"))
    found = {s.domain: s.lift for s in space.source_domains("books").sources}
    assert {domain: lift.verdict for domain, lift in found.items()} == {
        "films": "helps",
        "posts": "hurts",
        "news": "hurts",
    }
    kept = found["films"].ndcg.shown
    assert kept > max(found["posts"].ndcg.shown, found["news"].ndcg.shown)


def test_domains_are_counted(world):
    found = world.source_domains("books", measure=False)
    books, posts = found.quality, next(s for s in found.sources if s.domain == "posts")
    assert (books.items, books.users, books.interactions) == (48, USERS, 4 * USERS)
    assert books.density == pytest.approx(4 / 48)
    assert posts.quality.interactions == 24 * USERS
    assert posts.lift is None
    assert posts.relatedness.shared_users == USERS
    assert (posts.relatedness.jaccard, posts.relatedness.of_target) == (1, 1)


def test_training_ignores_domains_that_hurt_and_keeps_those_that_help(guarded):
    release = guarded.releases()[-1]
    made = read_description(guarded.path / "releases" / f"{release.number:06}" / "recommender")
    assert made.rankers["books"]["ignored_domains"] == ["posts"]
    report = made.reports["books"]
    assert report.ignored == ["posts"]
    assert report.lifts["films"].verdict == "helps"


@pytest.mark.parametrize("taste", range(TASTES))
def test_posts_in_a_history_change_no_list_of_books(guarded, taste):
    films = [name("films", taste, n) for n in range(2)]
    plain = guarded.recommend(User(history=films), domain="books", k=4)
    drowned = guarded.recommend(
        User(history=[*map(post, range(30)), *films]), domain="books", k=4, explain=True
    )
    assert [taste_of(hit.item_id) for hit in drowned] == [taste] * 4
    assert [hit.item_id for hit in plain] == [hit.item_id for hit in drowned]
    for hit in drowned:
        reasons = {reason.item_id for reason in hit.explanation.history}
        assert reasons == set(films)


def test_without_the_check_nothing_is_measured_or_ignored(tmp_path):
    space = noisy(tmp_path / "shop.space")
    made = space.train("books", settings=BRIEF)
    assert made.rankers["books"]["ignored_domains"] == []
    assert made.reports["books"].lifts == {}


def test_without_shared_users_contents_decide(tmp_path):
    space = Space.create(tmp_path / "shop.space", {"text": text_encoder()})
    near = [item(f"near-{n}", f"booksword{n % TASTES} near{n}", "near") for n in range(48)]
    far = [item(f"far-{n}", f"other unrelated far{n}", "far") for n in range(48)]
    space.upsert([*catalogue("books"), *near, *far])
    space.add_interactions(
        [
            {"user_id": f"{domain}{user}", "item_id": item_id}
            for user in range(30)
            for domain, item_id in (
                ("books", name("books", user % TASTES, user % 5)),
                ("near", f"near-{user}"),
                ("far", f"far-{user}"),
            )
        ]
    )
    found = space.source_domains("books").sources
    assert [(s.domain, s.lift.verdict, s.lift.users) for s in found] == [
        ("near", "unmeasured", 0),
        ("far", "unmeasured", 0),
    ]
    assert [s.relatedness.shared_users for s in found] == [0, 0]
    near_by, far_off = (s.relatedness.content_distance for s in found)
    assert 0 <= near_by < 0.1 < far_off < 1


def test_recent_is_the_share_of_the_last_fifth_of_the_time(tmp_path):
    space = Space.create(tmp_path / "shop.space", {"text": text_encoder()})
    space.upsert([item(f"{d}-{n}", f"word{n}", d) for d in ("old", "new") for n in range(5)])
    start = datetime(2020, 1, 1, tzinfo=UTC)
    days = {"old-0": 0, "old-1": 10, "old-2": 85, "old-3": 20, "new-0": 100, "new-1": 80}
    space.add_interactions(
        [
            {"user_id": "u", "item_id": item_id, "time": start + timedelta(days=day)}
            for item_id, day in days.items()
        ]
    )
    found = space.source_domains("new", measure=False)
    assert found.quality.recent == 1.0
    assert found.sources[0].quality.recent == 0.25


def test_an_unknown_target_is_refused_with_the_domains_there_are(world):
    with pytest.raises(InvalidInput, match=r"no domain 'music'; there are .*books"):
        world.source_domains("music")


def test_a_space_without_interactions_is_refused(tmp_path):
    space = Space.create(tmp_path / "shop.space", {"text": text_encoder()})
    space.upsert(catalogue("books"))
    with pytest.raises(InvalidInput, match=r"holds no interactions.*isthmus interactions add"):
        space.source_domains("books")


@given(st.integers(0, 1_000), st.integers(2, 30), st.integers(2, 30), st.floats(0, 5))
def test_distance_is_a_share_the_same_both_ways(seed, n, m, apart):
    rng = np.random.default_rng(seed)
    one = rng.standard_normal((n, 4)).astype(np.float32)
    other = (rng.standard_normal((m, 4)) + apart).astype(np.float32)
    found = content_distance(one, other)
    assert 0 <= found <= 1
    assert content_distance(other, one) == pytest.approx(found, abs=1e-5)
    assert content_distance(one[::-1] + 3, other + 3) == pytest.approx(found, abs=1e-3)
    assert content_distance(one, other + 1_000) > 0.99


def test_the_distance_within_a_distribution_is_almost_zero():
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((2, 1_000, 8)).astype(np.float32)
    assert content_distance(one, other) < 0.005
