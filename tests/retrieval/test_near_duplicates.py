"""Near-duplicate groups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from isthmus import Space
from isthmus.errors import InvalidFilter, InvalidInput
from tests.toy import ToyEncoder, item, picture


class Circle(ToyEncoder):
    """The text is an angle in degrees, or a seed and a spread, and so is the vector."""

    def __init__(self) -> None:
        super().__init__("text", dim=8, spec="toy/circle")

    def _vector(self, text):
        centre, spread, seed = (float(part) for part in f"{text} 0 0".split()[:3])
        if spread == 0 == seed:
            vector = np.zeros(8)
            vector[:2] = np.cos(np.radians(centre)), np.sin(np.radians(centre))
        else:
            vector = np.random.default_rng(int(centre)).standard_normal(8)
            vector += spread * np.random.default_rng(int(seed)).standard_normal(8)
        return np.asarray(vector / np.linalg.norm(vector), np.float32)


@pytest.fixture
def circle(tmp_path):
    return Space.create(tmp_path / "circle", Circle())


def groups_of(table):
    groups = {}
    for row in table.to_pylist():
        groups.setdefault(row["group"], set()).add(row["item_id"])
    return groups


def test_the_same_text_in_two_domains_is_a_group(space):
    space.upsert([item("f1", "sea storm"), item("f2", "snow"), item("b1", "sea storm", "books")])
    table = space.duplicates()
    assert table.to_pylist() == [
        {
            "group": 1,
            "item_id": name,
            "domain": domain,
            "score": pytest.approx(1),
            "closest": pytest.approx(1),
            "representative": "b1",
        }
        for name, domain in [("b1", "books"), ("f1", "films")]
    ]
    assert len(space.duplicates(domain="films")) == 0
    assert space.duplicates(domain=["films", "books"]) == table
    assert space.duplicates(1.0) == table


def test_a_chain_is_one_group_with_the_similarity_of_its_ends(circle):
    """Neighbours are 10 degrees apart; the ends are 40."""
    circle.upsert([item(f"i{a:02}", str(a)) for a in (0, 10, 20, 30, 40)])
    circle.upsert([item("j", "90"), item("k", "95"), item("alone", "180")])
    rows = circle.duplicates(np.cos(np.radians(11))).to_pylist()
    cosine = {a: float(np.cos(np.radians(a))) for a in (0, 5, 10, 20)}
    assert [(row["group"], row["item_id"], row["representative"]) for row in rows] == [
        (1, "i20", "i20"),
        (1, "i10", "i20"),
        (1, "i30", "i20"),
        (1, "i00", "i20"),
        (1, "i40", "i20"),
        (2, "j", "j"),
        (2, "k", "j"),
    ]
    assert [row["score"] for row in rows] == pytest.approx(
        [cosine[a] for a in (0, 10, 10, 20, 20, 0, 5)]
    )
    assert [row["closest"] for row in rows] == pytest.approx([cosine[10]] * 5 + [cosine[5]] * 2)


def test_filters_choose_what_is_compared(circle):
    circle.upsert([item(f"i{a}", str(a), n=a) for a in (0, 10, 20)])
    threshold = float(np.cos(np.radians(11)))
    assert groups_of(circle.duplicates(threshold)) == {1: {"i0", "i10", "i20"}}
    assert groups_of(circle.duplicates(threshold, where="n <> 10")) == {}, "the link is gone"
    circle.delete("i0")
    assert groups_of(circle.duplicates(threshold)) == {1: {"i10", "i20"}}


def test_a_named_vector_may_be_chosen(space):
    space.upsert(
        [
            item("a", "sea", image=picture("red")),
            item("b", "snow", image=picture("red", 5)),
            item("c", "sea"),
        ]
    )
    assert groups_of(space.duplicates()) == {1: {"a", "c"}}
    assert groups_of(space.duplicates(vector_name="image")) == {1: {"a", "b"}}


def test_an_empty_space_has_no_duplicates(space):
    table = space.duplicates()
    assert table.column_names == [
        "group",
        "item_id",
        "domain",
        "score",
        "closest",
        "representative",
    ]
    assert len(table) == 0


def test_invalid_options_are_refused(space):
    space.upsert([item("a", "sea")])
    for threshold in (0, -1, 1.1, float("nan")):
        with pytest.raises(InvalidInput, match="threshold is"):
            space.duplicates(threshold)
    with pytest.raises(InvalidInput, match="its named vectors are: text, image"):
        space.duplicates(vector_name="sound")
    with pytest.raises(InvalidInput, match="no domain"):
        space.duplicates(domain="books")
    with pytest.raises(InvalidFilter):
        space.duplicates(where="nothing = 1")


def test_a_thousand_copies_are_one_group(space):
    space.upsert([item(f"{n:04}", "the same", "ab"[n % 2]) for n in range(1_000)])
    space.upsert([item("other", "another")])
    table = space.duplicates()
    assert groups_of(table) == {1: {f"{n:04}" for n in range(1_000)}}
    assert table.column("representative")[0].as_py() == "0000"


def test_the_index_finds_what_exact_search_finds(space, monkeypatch):
    monkeypatch.setattr("isthmus.index.ann.filter_costs.MAX_EXACT", 100)
    rng = np.random.default_rng(0)
    words = [f"w{n}" for n in range(100)]
    texts = [" ".join(rng.choice(words, 4)) for _ in range(1_500)]
    space.upsert([item(f"{n}", text) for n, text in enumerate(texts + texts[:200])])
    exact = space.duplicates(0.99)
    settings_file = space.path / "space.toml"
    settings_file.write_text(
        settings_file.read_text()
        .replace("exact_bytes = 33554432", "exact_bytes = 0")
        .replace("exact_rows = 20000", "exact_rows = 0")
    )
    indexed = Space.open(space.path)
    release = indexed.publish(recall=0.9, memory=350_000)  # exact search takes 435,200 bytes
    assert release.named_vectors["text"].recipe != "exact fp32"
    found = {frozenset(g) for g in groups_of(indexed.duplicates(0.99)).values()}
    expected = {frozenset(g) for g in groups_of(exact).values()}
    assert len(expected) >= 200
    assert found == expected


def brute_force(vectors, threshold):
    """Components by repeated flooding over all pairs."""
    similar = vectors @ vectors.T >= threshold
    label = np.arange(len(vectors))
    while True:
        lowest = np.where(similar, label[None, :], len(vectors)).min(axis=1)
        if (lowest == label).all():
            break
        label = lowest
    return {frozenset(np.flatnonzero(label == g).tolist()) for g in set(label.tolist())}


@settings(max_examples=25)
@given(
    points=st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from([0.01, 0.2, 0.6]), st.integers(1, 30)),
        min_size=1,
        max_size=60,
    ),
    threshold=st.sampled_from([0.6, 0.8, 0.9, 0.97, 0.999]),
    widths=st.sampled_from([(16, 128), (1,), (1, 2), (2, 5)]),
    batch=st.sampled_from([1, 7, 1_024]),
    publish=st.booleans(),
)
def test_groups_are_those_of_brute_force(
    tmp_path_factory, points, threshold, widths, batch, publish
):
    texts = [f"{centre} {spread} {seed}" for centre, spread, seed in points]
    vectors = Circle().encode(texts).astype(np.float64)
    pairs = (vectors @ vectors.T)[np.triu_indices(len(texts), 1)]
    assume(not (np.abs(pairs - threshold) < 1e-5).any())
    space = Space.create(tmp_path_factory.mktemp("points") / "s", Circle())
    half = len(texts) // 2
    rows = [item(str(n), text) for n, text in enumerate(texts)]
    space.upsert(rows[:half])
    if publish and half:
        space.publish()
    space.upsert(rows[half:])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("isthmus.retrieval.search.near_duplicates.WIDTHS", widths)
        patch.setattr("isthmus.retrieval.search.near_duplicates.BATCH_SIZE", batch)
        table = space.duplicates(threshold)
    found = {frozenset(map(int, group)) for group in groups_of(table).values()}
    assert found == {g for g in brute_force(vectors, threshold) if len(g) > 1}
    for row in table.to_pylist():
        vector, best = vectors[int(row["item_id"])], vectors[int(row["representative"])]
        assert row["score"] == pytest.approx(vector @ best, abs=1e-5)
        group = next(g for g in found if int(row["item_id"]) in g)
        others = [vectors[n] @ vector for n in group if n != int(row["item_id"])]
        assert row["closest"] == pytest.approx(max(others), abs=1e-5)
