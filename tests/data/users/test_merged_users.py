"""Users that were merged into others: what is stored, and what comes later, is the others'."""

from __future__ import annotations

import shlex
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus import Space
from tests.toy import item, text_encoder

USERS = ("a", "b", "c", "d")
START = datetime(2026, 1, 1, tzinfo=UTC)
EVENTS = st.tuples(st.sampled_from(USERS), st.integers(0, 2), st.integers(0, 1))
STEPS = st.one_of(
    st.tuples(st.just("add"), st.lists(EVENTS, min_size=1, max_size=6)),
    st.tuples(st.just("merge"), st.permutations(USERS).map(lambda users: users[:2])),
    st.tuples(st.just("forget"), st.sampled_from(USERS)),
)


@pytest.fixture(scope="module")
def items():
    return [item(f"i{n}", f"sea word{n}") for n in range(3)]


def row(user, number, day):
    return {"user_id": user, "item_id": f"i{number}", "time": START + timedelta(days=day)}


class Model:
    """What a space of users should hold: the events, and the present user of each former id."""

    def __init__(self):
        self.events, self.targets = set(), {}

    def add(self, events):
        self.events |= {(self.targets.get(user, user), *rest) for user, *rest in events}

    def merge(self, users):
        former, user = users
        self.targets.pop(user, None)
        for name in [former, *(n for n, target in self.targets.items() if target == former)]:
            self.targets[name] = user
        self.events = {(user if u == former else u, *rest) for u, *rest in self.events}

    def forget(self, user):
        gone = {user, *(n for n, target in self.targets.items() if target == user)}
        self.events = {event for event in self.events if event[0] not in gone}
        self.targets = {n: t for n, t in self.targets.items() if user not in (n, t)}


@settings(max_examples=25)
@given(st.lists(STEPS, min_size=2, max_size=7))
def test_events_are_those_of_the_users_that_there_are_now(items, steps):
    model = Model()
    with tempfile.TemporaryDirectory() as folder:
        space = Space.create(Path(folder) / "s", text_encoder())
        space.upsert(items)
        for verb, argument in steps:
            getattr(model, verb)(argument)
            if verb == "add":
                space.add_interactions([row(*event) for event in argument])
            elif verb == "merge":
                space.merge_users(argument[0], into=argument[1])
            else:
                space.forget_user(argument)
        stored = space.interactions().to_pylist()
        found = [(e["user_id"], int(e["item_id"][1:]), (e["time"] - START).days) for e in stored]
        assert sorted(found) == sorted(model.events)


def test_a_log_that_is_added_again_says_whose_its_events_are(tmp_path, items):
    space = Space.create(tmp_path / "s", text_encoder())
    space.upsert(items)
    log = [row("visitor", 0, 0), row("visitor", 1, 1), row("known", 0, 0)]
    space.add_interactions(log)
    assert space.merge_users("visitor", into="known") == 2
    assert len(space.interactions("known")) == 2  # both did one of them
    again = space.add_interactions(log)
    assert (again.added, again.unchanged) == (0, 3)
    note = "events of users that were merged into others: 2; they are stored as the others'"
    assert again.notes == [note]
    late = space.record_events([{"event_id": "e", "user_id": "visitor", "item_id": "i2"}])
    assert late.added == 1
    assert "merged into others: 1;" in late.notes[0]
    other = Space.open(space.path, encoder=text_encoder())
    assert sorted(other.interactions("known").column("item_id").to_pylist()) == ["i0", "i1", "i2"]
    assert other.verify().sound
    other.forget_user("known")
    space.compact(keep_days=0)
    kept = b"".join(p.read_bytes() for p in (space.path / "merged_users.lance").rglob("*.*"))
    assert b"visitor" not in kept
    assert space.add_interactions(log).notes == []
    assert sorted(space.interactions("visitor").column("item_id").to_pylist()) == ["i0", "i1"]


def test_what_is_left_of_a_user_has_a_remedy_that_can_be_typed(tmp_path, items):
    space = Space.create(tmp_path / "s", text_encoder())
    space.upsert(items)
    space.add_interactions([row("Anna's guest", 0, 0)])
    (trace,) = [t for t in space.verify_forgotten("Anna's guest").traces if "rows" in t.found]
    words = shlex.split(trace.remedy)
    assert words[1:4] == ["interactions", "forget-user", "Anna's guest"]
