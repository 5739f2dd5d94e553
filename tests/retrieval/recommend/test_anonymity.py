"""Nothing is shown that rests on fewer users than the space demands."""

from __future__ import annotations

import tomllib
from collections import Counter
from itertools import combinations

import pytest
import tomli_w

from isthmus import Space, User
from isthmus.errors import InvalidInput
from tests.retrieval.recommend.worlds import board as deeds
from tests.retrieval.recommend.worlds import name
from tests.toy import text_encoder

DEMANDED = 10
USER = User([name("films", 3, n) for n in range(4)])


def demand(space: Space, users: object) -> Space:
    """Write the number into the settings, as by hand, and open the space again."""
    file = space.path / "space.toml"
    values = tomllib.loads(file.read_text())
    file.write_text(tomli_w.dumps({**values, "privacy": {"min_users": users}}))
    return Space.open(space.path, encoder={"text": text_encoder()})


def behind() -> tuple[Counter, Counter]:
    """Count the users of each item, and of each pair of items."""
    items: dict[str, set[str]] = {}
    for deed in deeds(160):
        items.setdefault(deed["user_id"], set()).add(deed["item_id"])
    alone = Counter(item for liked in items.values() for item in liked)
    pairs = Counter(frozenset(two) for liked in items.values() for two in combinations(liked, 2))
    return alone, pairs


def test_reasons_rest_on_enough_users(copied):
    alone, pairs = behind()
    open_space, kept = copied(), 0
    plain = open_space.recommend(USER, domain="books", k=20, explain=True)
    hits = demand(open_space, DEMANDED).recommend(USER, domain="books", k=20, explain=True)
    assert [(hit.item_id, hit.score) for hit in hits] == [(h.item_id, h.score) for h in plain]
    assert {alone[hit.item_id] < DEMANDED for hit in hits} == {True, False}
    for before, hit in zip(plain, hits, strict=True):
        if alone[hit.item_id] < DEMANDED:
            assert hit.explanation is None
            continue
        expected = [
            reason
            for reason in before.explanation.history
            if pairs[frozenset((hit.item_id, reason.item_id))] not in range(1, DEMANDED)
        ]
        assert list(hit.explanation.history) == expected
        assert hit.explanation.generators == before.explanation.generators
        kept += len(expected)
    assert 0 < kept < sum(len(before.explanation.history) for before in plain)


def test_popular_items_have_enough_users(copied):
    alone, _ = behind()
    space, demanded = copied(), 14

    def popular(space: Space) -> list[str]:
        rows = space.recommend_rows(User(), domain="books", k=16, categories=0)
        return [hit.item_id for row in rows if row.kind == "popular" for hit in row.hits]

    shown = popular(space)
    assert min(alone[item] for item in shown) < demanded <= max(alone[item] for item in shown)
    anonymous = popular(demand(space, demanded))
    assert anonymous == [item for item in shown if alone[item] >= demanded]


@pytest.mark.parametrize("users", [0, -1, 2.5, "many"])
def test_what_is_no_number_of_users_is_refused(copied, users):
    with pytest.raises(InvalidInput, match="min_users"):
        demand(copied(), users)
