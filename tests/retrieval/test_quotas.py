"""Quotas of domains."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus import Space, User
from isthmus.errors import InvalidInput
from isthmus.retrieval.search.quotas import quota_turns
from tests.retrieval.crowd import DOMAIN, IDS, MATRIX, SIZES, counts, ids, unit
from tests.toy import PointEncoder, item


@pytest.fixture
def catalog(tmp_path):
    """Films score most, then books, then songs; within a domain 0 is best."""
    space = Space.create(tmp_path / "s", PointEncoder(2))
    space.upsert(
        [
            item(f"{domain[0]}{n}", f"{10 - place} {place + n / 10}", domain, n=n)
            for place, (domain, size) in enumerate([("films", 6), ("books", 4), ("songs", 2)])
            for n in range(size)
        ]
    )
    return space


def test_one_domain_fills_a_list_without_quotas(catalog):
    assert counts(catalog.search("1 0", k=6)) == {"films": 6}


def test_slots_go_to_the_domains(catalog):
    hits = catalog.search("1 0", k=6, quotas={"films": 3, "books": 2, "songs": 1})
    assert ids(hits) == ["f0", "b0", "f1", "b1", "f2", "s0"]
    assert [hit.rank for hit in hits] == [1, 2, 3, 4, 5, 6]


def test_every_beginning_of_a_list_has_the_shares(catalog):
    hits = catalog.search("1 0", k=10, quotas={"films": 0.5, "books": 0.3, "songs": 0.2})
    assert ids(hits) == ["f0", "b0", "f1", "s0", "f2", "b1", "f3", "b2", "f4", "s1"]


def test_remaining_slots_go_to_the_other_domains(catalog):
    assert ids(catalog.search("1 0", k=4, quotas={"films": 2})) == ["f0", "f1", "b0", "b1"]
    assert counts(catalog.search("1 0", k=8, quotas={"songs": 0.25})) == {"films": 6, "songs": 2}


def test_unfilled_slots_go_to_the_best_of_the_other_quotas(catalog):
    hits = catalog.search("1 0", k=8, quotas={"songs": 4, "books": 4})
    assert ids(hits) == ["s0", "b0", "s1", "b1", "b2", "b3", "f0", "f1"]
    hits = catalog.search("1 0", k=6, quotas={"songs": 4, "books": 2})
    assert ids(hits) == ["s0", "s1", "b0", "b1", "b2", "b3"]


def test_filters_hold(catalog):
    hits = catalog.search("1 0", k=4, quotas={"films": 2, "books": 2}, where="n >= 3")
    assert ids(hits) == ["f3", "b3", "f4", "f5"]
    hits = catalog.search("1 0", k=4, quotas={"books": 0.5}, domain=["books", "songs"])
    assert ids(hits) == ["b0", "s0", "b1", "s1"]
    hits = catalog.search("1 0", k=4, quotas={"songs": 2, "films": 2}, min_score=0.98)
    assert set(counts(hits)) == {"films"}


def test_similar_and_recommended_items_keep_quotas(crowd):
    quotas = {"films": 2, "books": 3, "songs": 1}
    assert counts(crowd.similar("f01", k=6, quotas=quotas)) == quotas
    assert counts(crowd.similar("f01", k=6, quotas=quotas, diversity=0.6)) == quotas
    for user in (User(), User(history=["f00", "b03"])):
        hits = crowd.recommend(user, k=6, quotas=quotas)
        assert counts(hits) == quotas
        table = crowd.recommend_batch([("u", user)], k=6, quotas=quotas)
        assert table["item_id"].to_pylist() == ids(hits)


def test_one_is_a_place_and_one_point_zero_is_all_of_them():
    assert quota_turns({"films": 1}, 3, 3).tolist() == [0, 1, 1]
    assert quota_turns({"films": 1.0}, 3, 3).tolist() == [0, 0, 0]


@st.composite
def some_quotas(draw):
    k = draw(st.integers(1, 40))
    left, quotas = k, {}
    for domain in draw(st.lists(st.sampled_from(list(SIZES)), min_size=1, unique=True)):
        places = draw(st.integers(0, left))
        if places:
            quotas[domain] = places if draw(st.booleans()) else places / k
            left -= places
    return k, quotas


@settings(max_examples=80)
@given(
    k_and_quotas=some_quotas(),
    seed=st.integers(0, 30),
    start=st.integers(0, 66),
    calibrate=st.booleans(),
    diversity=st.sampled_from([0.0, 0.4]),
)
def test_quotas_are_kept_and_lists_are_full(crowd, k_and_quotas, seed, start, calibrate, diversity):
    k, quotas = k_and_quotas
    query = unit(np.random.default_rng(seed).standard_normal(MATRIX.shape[1]))
    options = {"vector": query, "where": f"n >= {start}", "normalize_scores": calibrate}
    hits = crowd.search(k=k, quotas=quotas, diversity=diversity, **options)
    everything = crowd.search(k=100, **options)
    there = {d: sum(DOMAIN[i] == d for i in IDS[start:]) for d in SIZES}
    assert len(hits) == min(k, sum(there.values()))
    assert len(set(ids(hits))) == len(hits)
    assert set(ids(hits)) <= set(IDS[start:])
    got = {d: counts(hits).get(d, 0) for d in SIZES}
    turns = quota_turns(quotas, k, k)
    places = {domain: int((turns == at).sum()) for at, domain in enumerate(quotas)}
    for domain, n in places.items():
        assert got[domain] >= min(n, there[domain])
        others = [d for d in SIZES if d not in places]
        free = k - sum(places.values())
        short = [d for d in places if there[d] < places[d]]
        if got[domain] > n:  # only since others could not fill their places
            assert short or sum(there[d] for d in others) < free
    if not diversity:  # of each domain its best, in order
        for domain in SIZES:
            best = [(h.item_id, h.score) for h in everything if h.domain == domain]
            mine = [(h.item_id, h.score) for h in hits if h.domain == domain]
            assert mine == best[: got[domain]]


@settings(max_examples=200)
@given(some_quotas(), st.integers(1, 3))
def test_every_beginning_is_within_one_place_of_the_quotas(k_and_quotas, pages):
    k, quotas = k_and_quotas
    turns = quota_turns(quotas, k, pages * k)
    assert quota_turns(quotas, k, k).tolist() == turns[:k].tolist()
    numbers = sum(quota for quota in quotas.values() if isinstance(quota, int))
    left = 1 - sum(quota for quota in quotas.values() if isinstance(quota, float))
    given = np.array([turns == at for at in range(len(quotas) + 1)]).cumsum(axis=1)
    for at, quota in enumerate(quotas.values()):
        for place in range(1, pages * k + 1):
            target = quota * place
            if isinstance(quota, int):  # at once, as far as the shares leave places
                page, rest = divmod(place, k)
                target = quota * (page + min(1, rest * left / numbers))
            assert abs(given[at, place - 1] - target) < 1 + 1e-9
        if isinstance(quota, int):
            assert np.diff(given[at, k - 1 :: k], prepend=0).tolist() == [quota] * pages


@pytest.mark.parametrize(
    ("quotas", "message"),
    [
        ({"music": 1}, "no domain 'music' in this space; .* books, films, songs"),
        ({"films": 0}, "quota of domain 'films' is 0; give a whole number"),
        ({"films": -1}, "is -1"),
        ({"films": 1.5}, "is 1.5"),
        ({"films": True}, "is True"),
        ({"films": float("nan")}, "is nan"),
        ({"films": "3"}, "is '3'"),
        ({"films": 8, "books": 4}, "the quotas ask for 12 places, but k is 10"),
        ({"films": 0.8, "books": 0.4}, "the quotas ask for 12 places"),
    ],
)
def test_a_bad_quota_is_refused(catalog, quotas, message):
    with pytest.raises(InvalidInput, match=message):
        catalog.search("1 0", quotas=quotas)


def test_a_quota_outside_the_filter_is_refused(catalog):
    with pytest.raises(InvalidInput, match="quota for domain 'films', which the filter leaves"):
        catalog.search("1 0", quotas={"films": 1}, domain="books")
