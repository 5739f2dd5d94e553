"""Pages of lists: a longer list begins with the shorter, and pages neither skip nor repeat."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus import Interaction, IsthmusWarning, Space, User
from isthmus.errors import InvalidInput
from isthmus.index.ann.exact import exact_search, inner_products
from isthmus.retrieval.search.paging import lists_in_windows
from tests.retrieval.crowd import BRANDS, DOMAIN, IDS, MATRIX, NUMBER, encoders, ids
from tests.toy import PointEncoder, item, picture

LISTS = {
    "search": lambda space, **options: space.search("1 0 0 0 0", **options),
    "vector": lambda space, **options: space.search(vector=MATRIX[3], **options),
    "hybrid": lambda space, **options: space.search("1 0 0 0 0", hybrid=True, **options),
    "similar": lambda space, **options: space.similar("f01", **options),
    "examples": lambda space, **options: space.search("1 0 0 0 0", **{"like": ["b03"], **options}),
    "recommend": lambda space, **options: space.recommend(
        User(history=["f00", "b03", "s01"]), **options
    ),
    "dislikes": lambda space, **options: space.recommend(
        User(history=[Interaction("f00"), Interaction("b03"), Interaction("f02", -1.0)]), **options
    ),
    "unknown user": lambda space, **options: space.recommend(User(), **options),
}
QUOTAS = st.sampled_from(
    [{"films": 0.5}, {"songs": 0.25, "books": 0.4}, {"films": 0.5, "songs": 0.5}]
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "domain": st.just(["films", "songs", "books"]),
        "where": st.sampled_from(["n % 2 = 0", "n < 50"]),
        "diversity": st.sampled_from([0.4, 0.7, 1.0]),
        "quotas": QUOTAS,
        "min_score": st.just(-0.2),
        "normalize_scores": st.just(True),
        "hubness_correction": st.just(0.5),
        "center_scores": st.just(True),
        "like": st.just(["b02", "s03"]),
        "unlike": st.just(["f04"]),
        "weights": st.just({"text": 2.0, "image": 1.0}),
        "num_candidates": st.just(130),
        "boost": st.sampled_from(
            [{"n % 3 = 0": 3}, {"n >= 50": "+12", "brand = 'acme'": 0.5}, {"n < 9": "-4"}]
        ),
        "pin": st.sampled_from([["s05"], ["b11", "f30", "s02"]]),
        "ban": st.just(["f03", "b04", "s01"]),
        "caps": st.sampled_from([{"brand": 2}, {"brand": 7}]),
        "min_relevance": st.sampled_from([0.1, 0.5]),
    },
)
SHIFTS = ("normalize_scores", "hubness_correction", "center_scores")
RULES = ("boost", "pin", "ban", "caps")
OF_USERS = ("domain", "where", "diversity", "quotas", "num_candidates", *RULES, "min_relevance")


def with_query(name, options):
    """Return the options that a kind of list has."""
    if name == "hybrid":
        kept = ("domain", "where", "weights", *RULES)
        options = {o: v for o, v in options.items() if o in kept}
    if name in ("recommend", "unknown user", "dislikes"):
        options = {o: v for o, v in options.items() if o in OF_USERS}
    else:
        options.pop("min_relevance", None)
    shifts = [name for name in SHIFTS if name in options]
    return {o: v for o, v in options.items() if o not in shifts[1:]}


def keys(hits):
    return [(hit.item_id, hit.score) for hit in hits]


@settings(max_examples=60)
@given(st.sampled_from(sorted(LISTS)), OPTIONS, st.integers(1, 40), st.integers(1, 80))
def test_a_longer_list_begins_with_the_shorter_one(crowd, name, options, short, more):
    options = with_query(name, options)
    first = LISTS[name](crowd, k=short, **options)
    whole = LISTS[name](crowd, k=short + more, **options)
    assert keys(whole)[: len(first)] == keys(first)
    assert [hit.rank for hit in whole] == list(range(1, len(whole) + 1))


@settings(max_examples=30)
@given(st.sampled_from(sorted(LISTS)), OPTIONS, st.integers(3, 15))
def test_pages_join_to_the_whole_list(crowd, name, options, k):
    options = with_query(name, options)
    whole = LISTS[name](crowd, k=len(IDS), **options)
    by_offset, by_cursor, cursor = [], [], None
    for offset in range(0, len(whole) + k, k):
        by_offset += LISTS[name](crowd, k=k, offset=offset, **options)
        page = LISTS[name](crowd, k=k, cursor=cursor, **options)
        by_cursor += page
        cursor = page.cursor
        if cursor is None:
            break
    assert by_offset[: len(whole)] == by_cursor == list(whole)


@pytest.fixture(scope="module")
def equals(tmp_path_factory):
    """A space of few different points and pictures, so that most items are equal to others."""
    space = Space.create(tmp_path_factory.mktemp("equals") / "s", encoders())
    rng, drawn = np.random.default_rng(3), ["1 0 0 0 0", "1 1 0 0 0", "2 1 1 0 1", "0 1 0 3 0"]
    items = [
        item(
            name,
            drawn[n % len(drawn)],
            DOMAIN[name],
            n=NUMBER[name],
            brand=BRANDS[n % 4],
            image=picture("red", 8 + n % 3) if n % 2 else None,
        )
        for n, name in enumerate(rng.permutation(IDS).tolist())
    ]
    space.upsert(items[::2])
    space.publish()
    space.upsert(items[1::2])
    return space


@settings(max_examples=15)
@given(st.sampled_from(sorted(LISTS)), OPTIONS, st.integers(1, 15), st.booleans())
def test_pages_of_equal_items_join_to_the_whole_list(equals, name, options, k, with_picture):
    options = with_query(name, options)
    if with_picture and name == "search":
        options["image"] = picture("red", 9)
    whole = LISTS[name](equals, k=len(IDS), **options)
    joined, cursor = [], None
    while not joined or cursor is not None:
        page = LISTS[name](equals, k=k, cursor=cursor, **options)
        joined, cursor = joined + page, page.cursor
    assert keys(joined) == keys(whole)
    if name != "unknown user" and not {"diversity", "quotas", *RULES} & {*options}:
        stated = sorted(whole, key=lambda hit: (-hit.score, hit.domain, hit.item_id))
        assert ids(whole) == ids(stated)


@settings(max_examples=20)
@given(
    st.sampled_from(sorted(set(LISTS) - {"hybrid"})),
    st.sampled_from([{"films": 2, "songs": 1}, {"books": 3}, {"films": 2, "books": 0.5}]),
    st.sampled_from([0.0, 0.5]),
    st.integers(6, 30),
    st.integers(1, 60),
)
def test_numbers_of_places_begin_a_list_of_any_length(crowd, name, quotas, diversity, short, more):
    options = {"quotas": quotas, "diversity": diversity}
    first = LISTS[name](crowd, k=short, **options)
    whole = LISTS[name](crowd, k=short + more, **options)
    assert keys(whole)[:short] == keys(first)


def test_a_number_of_places_is_of_pages_of_one_length(crowd):
    page = crowd.search("1 0 0 0 0", k=6, quotas={"films": 2})
    with pytest.raises(InvalidInput, match="of another request"):
        crowd.search("1 0 0 0 0", k=7, quotas={"films": 2}, cursor=page.cursor)
    page = crowd.search("1 0 0 0 0", k=6, quotas={"films": 0.5})
    shown = crowd.search("1 0 0 0 0", k=7, quotas={"films": 0.5}, cursor=page.cursor)
    whole = crowd.search("1 0 0 0 0", k=13, quotas={"films": 0.5})
    assert ids(page) + ids(shown) == ids(whole)


@settings(max_examples=15)
@given(st.integers(1, 6), st.data())
def test_quotas_hold_on_every_page(crowd, pages, data):
    k, quotas = 6, {"films": 2, "books": 0.5}
    whole = [crowd.search("1 0 0 0 0", k=k, quotas=quotas, offset=k * p) for p in range(pages)]
    shown = [hit for page in whole for hit in page]
    assert len({hit.item_id for hit in shown}) == len(shown)
    full = data.draw(st.integers(0, min(pages, 4) - 1))
    domains = [hit.domain for hit in whole[full]]
    assert (domains.count("films"), domains.count("books")) == (2, 3)


@pytest.fixture
def growing(tmp_path):
    """A published space of thirty points on an arc."""
    space = Space.create(tmp_path / "s", PointEncoder(2))
    space.upsert([item(f"p{n:02}", f"{30 - n} {n}") for n in range(30)])
    space.publish()
    return space


def test_a_cursor_goes_on_while_items_come_and_go(growing):
    first = growing.search("1 0", k=5)
    growing.delete([first[1].item_id, first[4].item_id])  # the last item shown is gone
    growing.upsert([item("new", "100 1")])  # would be on the first page
    second = growing.search("1 0", k=5, cursor=first.cursor)
    assert set(ids(second)).isdisjoint(ids(first))
    third = growing.search("1 0", k=5, cursor=second.cursor)
    after = int(second[-1].item_id[1:]) + 1
    assert ids(third) == [f"p{n:02}" for n in range(after, after + 5)]


def test_a_cursor_says_what_it_is_not_for(growing):
    page = growing.search("1 0", k=5)
    with pytest.raises(InvalidInput, match="of another request"):
        growing.search("0 1", k=5, cursor=page.cursor)
    with pytest.raises(InvalidInput, match="'nonsense' is no cursor"):
        growing.search("1 0", k=5, cursor="nonsense")
    with pytest.raises(InvalidInput, match="without an offset"):
        growing.search("1 0", k=5, cursor=page.cursor, offset=5)
    growing.publish()
    with pytest.raises(InvalidInput, match="of release 1, and release 2 is current"):
        growing.search("1 0", k=5, cursor=page.cursor)
    assert growing.search("1 0", k=31).cursor is None


def test_equal_items_have_equal_scores_and_a_stated_order(tmp_path):
    space = Space.create(tmp_path / "s", PointEncoder(3))
    rng = np.random.default_rng(0)
    others = [item(f"o{n}", " ".join(map(str, rng.standard_normal(3)))) for n in range(200)]
    twins = [item(f"t{n:02}", "3 1 2", "books" if n % 2 else "films") for n in range(40)]
    space.upsert(twins[:15] + others + twins[15:25][::-1])
    space.publish()
    space.upsert(twins[25:])
    in_order = [f"t{n:02}" for n in range(1, 40, 2)] + [f"t{n:02}" for n in range(0, 40, 2)]
    for options in ({}, {"where": "domain <> 'none'"}, {"diversity": 0.0, "min_score": 0.0}):
        hits = space.search("3 1 2", k=40, **options)
        assert ids(hits) == in_order
        assert len({hit.score for hit in hits}) == 1
    assert ids(space.search("3 1 2", k=7)) == in_order[:7]
    fused = space.search("3 1 2", k=40, hybrid=True)
    assert (ids(fused), len({hit.score for hit in fused})) == (in_order, 1)
    batch = space.search_batch(np.array([[3, 1, 2], [1, 0, 0]]) / np.sqrt(14), k=9)
    assert batch.item_ids[0].tolist() == in_order[:9]
    assert len(set(batch.scores[0].tolist())) == 1


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_a_score_is_the_same_for_one_query_and_for_many(n_queries, n_vectors, seed):
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((n_vectors, 48)).astype(np.float32)[
        rng.integers(0, n_vectors, n_vectors)
    ]
    queries = rng.standard_normal((n_queries, 48)).astype(np.float32)
    scores, rows = exact_search(queries, vectors, n_vectors)
    for query, found, at in zip(queries, scores, rows, strict=True):
        alone, _ = exact_search(query[None], vectors, n_vectors)
        np.testing.assert_array_equal(alone[0], found)
        np.testing.assert_array_equal(inner_products(vectors, query)[at], found)


@given(st.integers(1, 400))
def test_windows_keep_what_earlier_windows_found(n):
    def noisy(window, _):  # an approximate search, which finds other items in a wider one
        rows = np.random.default_rng(window).permutation(np.arange(window * 2))[:window]
        return [(rows, -rows.astype(np.float32))]

    ((rows, _),) = lists_in_windows(n, noisy)
    ((longer, _),) = lists_in_windows(n + 7, noisy)
    assert longer[:n].tolist() == rows.tolist()
    assert len(set(rows.tolist())) == len(rows) == n


def test_what_is_to_be_said_is_said(crowd):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert crowd.search("1 0 0 0 0", where="n > 999").notes == (
            "the filter matches no item: n > 999",
        )
        hits = crowd.recommend(User(history=["x1", "x2"]), k=3)
        assert hits.notes == (
            "no item of the history is in this space (x1, x2); the list is that of an unknown user",
        )
        crowd.similar("f01", where="n < 0", domain="books")
        crowd.recommend(User(id="nobody"), k=3)
    assert {(one.category, one.filename) for one in said} == {(IsthmusWarning, __file__)}
    assert len(said) == 4
    with pytest.warns(IsthmusWarning, match=r"^1 of the 2 items of the history are not in"):
        crowd.recommend(User(history=["f01", "x1"]), k=3)
    with pytest.warns(IsthmusWarning, match="^of 2 of the 3 users no item of the history"):
        crowd.recommend_batch([User(id="a"), User(id="b", history=["x"]), ("c", User())], k=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert crowd.recommend(User(), k=3).notes == ()
        assert crowd.search("1 0 0 0 0", k=3).notes == ()
    assert NUMBER["f01"] == 1


def test_a_domain_without_items_is_a_note_and_an_unknown_one_an_error(growing):
    growing.upsert([item("w", "1 1", "wine")])
    growing.delete("w")
    for _ in range(2):
        for answer in (
            growing.search("1 0", domain="wine"),
            growing.recommend(User(history=["p01"]), domain="wine"),
            growing.similar("p01", domain="wine", where="item_id > 'a'"),
        ):
            assert (list(answer), answer.notes) == ([], ("the domain wine has no items",))
        hits = growing.search("1 0", domain=["wine", "films"], k=3)
        assert (len(hits), hits.notes) == (3, ("the domain wine has no items",))
        assert growing.count(domain="wine") == 0
        growing.publish()
    with pytest.raises(InvalidInput, match="no domain 'wines' in this space; did you mean 'wine'"):
        growing.recommend(User(), domain="wines")
