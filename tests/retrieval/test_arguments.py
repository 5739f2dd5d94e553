"""Arguments of a wrong type are refused by name, whichever verb has them."""

from __future__ import annotations

import inspect
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from isthmus import IsthmusError, Space, User
from tests.toy import item, two_encoders

ODD = [
    *(5, -1, 2**63, 10**400, 1.5, float("nan"), float("inf"), True, b"x", "x", "\ud800", ""),
    *([], [1], [None], [["x"]], ("x",), {}, {"x": "y"}, {"x": None}, {1: 2}, {"x": [1]}),
    *(object(), datetime.now(UTC), np.array([True, False]), np.float32("nan")),
]
# What each verb needs. A verb that is not here trains, builds, or writes outside the space.
VERBS: dict[str, tuple[Any, ...]] = {
    "search": ("sea",),
    "search_batch": (["sea"],),
    "similar": ("f1",),
    "recommend": (User(id="u"),),
    "recommend_batch": ([User(id="u")],),
    "recommend_rows": (User(id="u"),),
    "recommend_users": ("f1",),
    "count": (),
    "ids": (),
    "scroll": (),
    "facets": (["price"],),
    "get": ("f1",),
    "vectors": (),
    "attributes": (),
    "quarantine": (),
    "interactions": (),
    "events": (),
    "users": (),
    "upsert": ([item("f1", "sea", "f")],),
    "update": ([{"item_id": "f1", "price": 3}],),
    "delete": (["unknown"],),
    "cast_attribute": ("f", "price", "float"),
    "add_interactions": ([{"user_id": "u", "item_id": "f1"}],),
    "add_users": ([{"user_id": "u", "age": 3}],),
    "compact": (),
    "rollback": (),
    "set_weights": ({"text": 1.0},),
    "set_scenario": ("home",),
    "delete_scenario": ("home",),
}
ARGUMENTS = [
    (verb, name)
    for verb in VERBS
    for name in list(inspect.signature(getattr(Space, verb)).parameters)[1:]
]


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    made = Space.create(tmp_path_factory.mktemp("arguments") / "s", two_encoders())
    made.upsert([item(f"f{n}", f"sea {n}", "f", price=n) for n in range(5)])
    made.add_interactions([{"user_id": "u", "item_id": "f1"}])
    return made


@pytest.mark.parametrize(("verb", "name"), ARGUMENTS)
def test_an_argument_is_taken_or_refused_by_an_error_of_isthmus(space, verb, name):
    method = getattr(space, verb)
    needed = dict(zip(inspect.signature(method).parameters, VERBS[verb], strict=False))
    for value in ODD:
        with suppress(IsthmusError):
            found = method(**{**needed, name: value})
            if inspect.isgenerator(found):
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
