"""Arguments of a wrong type are refused by name, whichever verb has them."""

from __future__ import annotations

import inspect
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus import IsthmusError, Space, User
from tests.toy import item, two_encoders

ODD = st.sampled_from(
    [
        *(5, -1, 1.5, float("nan"), True, b"x", "x", "\ud800", "", object(), datetime.now(UTC)),
        *([], [1], [None], [["x"]], ("x",), {}, {"x": "y"}, {"x": None}, {1: 2}, {"x": [1]}),
    ]
)
# What each verb needs, and the arguments that are names, numbers by name, or contents.
VERBS = {
    "search": (("sea",), ("image", "audio", "domain", "quotas", "weights", "boost", "caps")),
    "similar": (("f1",), ("domain", "quotas", "weights", "pin", "ban")),
    "recommend": ((User(id="u"),), ("domain", "quotas", "experiment")),
    "count": ((), ("domain", "where")),
    "ids": ((), ("domain",)),
    "facets": ((["price"],), ("attributes", "domain")),
    "vectors": ((), ("domain", "names")),
    "events": ((), ("event_weights",)),
    "upsert": (([item("f1", "sea", "f")],), ("columns", "exclude", "domain", "vectors", "decimal")),
    "add_interactions": (([{"user_id": "u", "item_id": "f1"}],), ("null_values", "event")),
    "recommend_batch": (([User(id="u")],), ("users", "domain", "quotas")),
    "rollback": ((), ("number",)),
    "set_weights": ((), ("weights",)),
    "set_scenario": (("home",), ("domain", "quotas")),
}
ARGUMENTS = [(verb, name) for verb, (_, names) in VERBS.items() for name in names]


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    made = Space.create(tmp_path_factory.mktemp("arguments") / "s", two_encoders())
    made.upsert([item(f"f{n}", f"sea {n}", "f", price=n) for n in range(5)])
    made.add_interactions([{"user_id": "u", "item_id": "f1"}])
    return made


def test_every_argument_that_is_tried_exists():
    for verb, name in ARGUMENTS:
        assert name in inspect.signature(getattr(Space, verb)).parameters


@settings(max_examples=150)
@given(st.sampled_from(ARGUMENTS), ODD)
def test_an_argument_is_taken_or_refused_by_an_error_of_isthmus(space, argument, value):
    verb, name = argument
    method = getattr(space, verb)
    needed = dict(zip(inspect.signature(method).parameters, VERBS[verb][0], strict=False))
    with suppress(IsthmusError):
        found = method(**{**needed, name: value})
        if verb == "ids":
            list(found)


@pytest.mark.parametrize("domain", ["", "  ", "a\nb", "\x1b[31m", "\ud800"])
def test_a_domain_of_all_items_follows_the_rule_of_those_in_a_column(space, domain):
    row = {"item_id": "new", "text": "sea"}
    for call in (
        lambda: space.upsert([row], domain=domain),
        lambda: space.upsert([{**row, "domain": domain}]),
        lambda: space.update([row], domain=domain),
    ):
        with pytest.raises(IsthmusError, match=r"domain'? (is|')|no domain in 'domain'"):
            call()
    assert "new" not in space.ids()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.search("sea", domain=5), "domain is 5; "),
        (lambda s: s.search("sea", quotas="f"), "quotas is 'f'; give a mapping"),
        (lambda s: s.search("sea", weights=[1]), r"weights is \[1\]; give a mapping"),
        (lambda s: s.search(image=5), "image is a path, bytes or a PIL image, not a int"),
        (lambda s: s.events({"view": "x"}), "weight of event 'view' is 'x'; give a number"),
        (lambda s: s.upsert([], vectors=["v"]), r"vectors is \['v'\]; give a mapping"),
        (lambda s: s.recommend_batch(5), "users is 5; give a list of users"),
        (lambda s: s.rollback("x"), "number of a release is 'x'; give a whole number"),
    ],
)
def test_the_argument_is_named(space, call, message):
    with pytest.raises(IsthmusError, match=message):
        call(space)
