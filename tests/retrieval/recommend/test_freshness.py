"""Items and interactions of a moment ago count at once, and nothing that must not appears."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from isthmus import Space, User
from tests.retrieval.recommend.worlds import ITEMS_A_TASTE, TASTES, name, taste_of
from tests.toy import item

EVERY = TASTES * ITEMS_A_TASTE
USERS = [
    User(),
    User(id="u3"),
    User(history=[name("films", 1, 0), name("films", 1, 1)]),
    User(history=[name("films", 1, 0), name("books", 6, 1)], text="booksword2"),
]


def ids(hits):
    return [hit.item_id for hit in hits]


def copy_of(liked, item_id):
    """Return an item whose content is that of another one of the checkerboard, but for a word."""
    domain, taste, n = liked.split("-")
    return item(item_id, f"{domain}word{taste} {domain}{taste}x{n}", domain)


def test_a_new_item_is_recommended_at_once(copied):
    space = copied()
    liked = name("films", 4, 2)
    user = User(history=[name("books", 4, 1), name("books", 4, 2), liked])
    assert "new" not in ids(space.recommend(user, domain="films", k=EVERY))
    space.upsert([copy_of(liked, "new")])
    hits = space.recommend(user, domain="films", k=EVERY)
    assert "new" in ids(hits)[:ITEMS_A_TASTE]
    other = space.recommend(
        User(history=[name("books", 1, 1), name("films", 1, 0)]), domain="films", k=EVERY
    )
    scores = [next(hit.score for hit in some if hit.item_id == "new") for some in (hits, other)]
    assert scores[0] > 2 * scores[1]
    space.delete("new")
    assert "new" not in ids(space.recommend(user, domain="films", k=EVERY))


def test_a_new_item_in_the_row_of_another_has_its_own_features(copied):
    """One new item goes and another comes: as many items, but not the same."""
    space = copied()
    space.upsert([copy_of(name("films", 4, 2), "new4")])
    for user in USERS:
        space.recommend(user, k=EVERY)
    space.delete("new4")
    space.upsert([copy_of(name("books", 1, 2), "new1")])
    fresh = copied()
    for user in USERS:
        for domain in ("films", "books", None):
            updated, anew = (s.recommend(user, domain=domain, k=2 * EVERY) for s in (space, fresh))
            assert ids(updated) == ids(anew)
            np.testing.assert_allclose(
                [hit.score for hit in updated], [hit.score for hit in anew], rtol=1e-4
            )


def test_an_item_that_moved_is_recommended_where_it_is_now(copied):
    space = copied()
    moved = name("films", 2, 0)
    space.delete(moved)
    space.upsert([item(moved, "booksword2 booksmoved", "books")])
    assert moved not in ids(space.recommend(User(), domain="films", k=EVERY))
    hits = ids(space.recommend(User(history=[name("books", 2, 1)]), domain="books", k=EVERY + 1))
    assert moved in hits
    assert len(hits) == EVERY  # all but the one of the history


def test_a_new_interaction_moves_the_very_next_list(copied):
    space = copied()
    user = User(id="somebody")
    nothing = space.recommend(User(), domain="books", k=EVERY)
    before = space.recommend(user, domain="books", k=EVERY)
    assert [(h.item_id, h.score) for h in before] == [(h.item_id, h.score) for h in nothing]
    for taste in (2, 5):
        space.add_interactions(
            [{"user_id": "somebody", "item_id": name("films", taste, n)} for n in range(4)]
        )
        found = ids(space.recommend(user, domain="books", k=ITEMS_A_TASTE))
        assert taste in [taste_of(hit) for hit in found]
        space.forget_user("somebody")
    after = space.recommend(user, domain="books", k=EVERY)
    assert [(h.item_id, h.score) for h in after] == [(h.item_id, h.score) for h in nothing]


def test_deleted_items_never_appear(copied):
    space = copied()
    gone = [name(domain, taste, 0) for domain in ("films", "books") for taste in range(TASTES)]
    space.delete(gone)
    for user in USERS:
        found = ids(space.recommend(user, k=2 * EVERY))
        assert not set(found) & set(gone)
    whole = ids(space.recommend(User(), k=2 * EVERY))
    assert len(whole) == 2 * EVERY - len(gone)


@pytest.mark.parametrize("published", [False, True])
def test_an_emptied_space_recommends_nothing(copied, published):
    space = copied()
    for domain in ("films", "books"):
        space.delete([name(domain, t, n) for t in range(TASTES) for n in range(ITEMS_A_TASTE)])
    if published:
        space.publish()
    for user in (User(history=[name("films", 3, 1)]), User(id="u3"), User()):
        assert list(space.recommend(user, k=3)) == []
        assert list(space.recommend(user, k=3, explain=True)) == []
    assert space.recommend_batch([User(id="u3")], k=3).num_rows == 0
    space.upsert([item("films-again", "filmsword3", "films")])
    assert [hit.item_id for hit in space.recommend(User(id="u3"), k=3)] == ["films-again"]


def test_a_deleted_domain_does_no_harm(copied):
    space = copied()
    space.delete([name("films", taste, n) for taste in range(TASTES) for n in range(ITEMS_A_TASTE)])
    for user in USERS:
        assert all(hit.domain == "books" for hit in space.recommend(user, k=5))


def test_a_domain_without_a_ranker_is_ranked_by_content(copied):
    space = copied()
    space.upsert([item(f"song{n}", f"filmsword3 song{n}", "songs") for n in range(4)])
    user = User(history=[name("films", 3, 0)])
    assert len(space.recommend(user, domain="songs", k=4)) == 4
    hits = space.recommend(user, k=2 * EVERY + 4)
    assert len(hits) == 2 * EVERY + 3
    assert {hit.domain for hit in hits} == {"films", "books", "songs"}
    explained = space.recommend(user, k=2 * EVERY + 4, explain=True)
    assert ids(explained) == ids(hits)
    assert all((hit.explanation is None) == (hit.domain == "songs") for hit in explained)


@pytest.mark.parametrize("domain", ["films", "books", None])
@pytest.mark.parametrize("user", USERS)
def test_k_items_are_found_where_k_exist(board, user, domain):
    whole = ids(board.recommend(user, domain=domain, k=2 * EVERY))
    history = seen(board, user)
    exist = [
        i for i in everything() if (domain is None or i.startswith(domain)) and i not in history
    ]
    assert sorted(whole) == sorted(exist)
    assert len(set(whole)) == len(whole)
    for k in (1, 7, len(exist)):
        assert len(board.recommend(user, domain=domain, k=k)) == k


def everything():
    return [
        name(domain, taste, n)
        for domain in ("films", "books")
        for taste in range(TASTES)
        for n in range(ITEMS_A_TASTE)
    ]


def seen(space: Space, user: User) -> set[str]:
    table = space.interactions().to_pylist() if user.id else []
    stored = {row["item_id"] for row in table if row["user_id"] == user.id}
    return stored | {entry.item_id for entry in user.history}


def test_filters_hold(board):
    where = "item_id like '%-0'"
    for user in USERS:
        for domain in ("films", None):
            found = ids(board.recommend(user, domain=domain, where=where, k=EVERY))
            exist = [
                i for i in everything()
                if i.endswith("-0") and i not in seen(board, user)
                and (domain is None or i.startswith(domain))
            ]  # fmt: skip
            assert sorted(found) == sorted(exist)
    assert board.recommend(User(), where="item_id = 'nothing'") == []


def test_quotas_and_diversity_hold(board):
    hits = board.recommend(USERS[2], k=6, quotas={"films": 2, "books": 4})
    assert sorted(hit.domain for hit in hits) == ["books"] * 4 + ["films"] * 2
    plain = ids(board.recommend(USERS[2], domain="books", k=6))
    diverse = ids(board.recommend(USERS[2], domain="books", k=6, diversity=0.9))
    assert len({taste_of(i) for i in diverse}) > len({taste_of(i) for i in plain})


def test_status_says_what_the_recommender_has_not_seen(copied):
    space = copied()
    described = space.status()["recommender"]
    assert set(described["domains"]) == {"books", "films"}
    assert (described["unseen_items"], described["unseen_events"]) == (0, 0)
    assert described["age_days"] >= 0
    space.upsert([item("new", "taste1 word", "films")])
    space.add_interactions([{"user_id": "u1", "item_id": "new"}, {"user_id": "u2", "item_id": "x"}])
    described = space.status()["recommender"]
    assert (described["unseen_items"], described["unseen_events"]) == (1, 2)
    assert described["deleted_events"] == 0
    learned = len(space.interactions("u1")) - 1
    assert space.forget_user("u1") == learned + 1
    assert space.status()["recommender"]["deleted_events"] == learned


def test_a_user_is_forgotten_when_no_byte_and_no_sum_is_left(copied):
    space = copied()
    user = "user-to-forget"
    space.add_users([{"user_id": user, "country": "NL"}])
    space.add_interactions([{"user_id": user, "item_id": "f1"}, {"user_id": "u1", "item_id": "f2"}])
    before = space.verify_forgotten(user)
    assert not before.forgotten
    tables = {"interactions.lance", "users.lance"}
    rows = {trace.where.partition(",")[0] for trace in before.traces if "rows" in trace.found}
    assert rows == tables
    assert {t.where.partition("/")[0] for t in before.traces if t.found == "its id"} == tables
    space.forget_user(user)
    left = space.verify_forgotten(user)
    assert {trace.remedy for trace in left.traces} == {
        f"isthmus compact --keep-days 0 --space {space.path}"
    }
    space.compact(keep_days=0)
    after = space.verify_forgotten(user)
    assert (after.traces, after.deleted_events, after.forgotten) == ([], 0, True)
    assert (after.files > 0, after.bytes > 0, after.versions > 0) == (True, True, True)
    space.forget_user("u1")  # of whom the published recommender learned
    space.compact(keep_days=0)
    learned = space.verify_forgotten("u1")
    assert (learned.traces, learned.forgotten) == ([], False)
    assert learned.deleted_events > 0


def test_evidence_names_titles_and_what_was_done(copied):
    space = copied()
    known = space.interactions().column("item_id")[0].as_py()
    space.upsert(
        [{**item(known, space.get(known)["text"], space.get(known)["domain"]), "title": "Dune"}]
    )
    day = datetime(2024, 5, 3, tzinfo=UTC)
    space.add_interactions(
        [{"user_id": "reader", "item_id": known, "event": "purchase", "time": day}]
    )
    hits = space.recommend(User(id="reader"), k=3, explain=True)
    reasons = {reason.describe() for hit in hits for reason in hit.explanation.history}
    assert reasons == {'"Dune" (bought 3 May 2024)'}
    assert hits[0].explanation.describe() in (
        'because of "Dune" (bought 3 May 2024)',
        "because it is popular",
    )
