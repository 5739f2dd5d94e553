"""Users of whom only attributes are known, from the table of users to the candidates."""

from __future__ import annotations

import numpy as np

from isthmus import Space, User
from tests.retrieval.recommend.worlds import BRIEF, TASTES, checkerboard


def test_attributes_propose_candidates_to_a_user_of_whom_nothing_else_is_known(tmp_path):
    space = checkerboard(tmp_path / "s")
    rows = [{"user_id": f"u{user}", "taste": f"t{user % TASTES}"} for user in range(0, 160, 3)]
    space.add_users([*rows, {"user_id": "new", "taste": "t3"}])
    space.train("books", settings=BRIEF)
    space.publish()
    reader = Space.open(space.path)
    view = reader.opened.view()
    serving = reader._recommender.serving(view)
    asked = [User(id="new"), User(id="new", attributes={"taste": "t5"}), User(id="nobody")]
    events = reader._recommender._stored_events(asked)
    users = reader._recommender._with_stored(view, asked, events)
    histories = serving.histories(users, [None] * len(users))
    ranked = serving.rank(histories, "books", serving.allowed("books", None))
    ids = np.array(serving.data.item_ids)
    for generator in ("popularity by segment", "attribute regression"):
        proposed = [ids[ranked.proposed_by(generator, user, 4)].tolist() for user in range(3)]
        assert {item.split("-")[1] for item in proposed[0]} == {"3"}
        assert {item.split("-")[1] for item in proposed[1]} == {"5"}
        assert proposed[2] == []
    stored, given = User(id="new"), User(attributes={"taste": "t3"})
    lists = [reader.recommend(user, domain="books", k=10) for user in (stored, given)]
    assert [hit.item_id for hit in lists[0]] == [hit.item_id for hit in lists[1]]
