"""Gated and learned fusion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isthmus import Space
from isthmus.errors import InvalidInput, InvalidMapping
from isthmus.retrieval.search.fusion.gate import Gate
from isthmus.retrieval.search.fusion.gates import FILE
from isthmus.verbs.weights import FEWEST
from tests.retrieval.test_weights import WORDS, scores
from tests.toy import COLOURS, item, joint_encoder, picture, text_encoder, two_encoders

FUSIONS = ("fixed", "gated", "learned")
ALIKE = tuple(COLOURS)[:3]
TOLD = tuple(COLOURS)[3:]


def shop() -> list[dict]:
    """Half of the items belong together by a word of their text, half by their colour.

    The former have any colour, the latter one of three words; so no weights suit both.
    """
    rng = np.random.default_rng(0)
    by_word = [
        item(f"w{n}", f"kind{n % 15} w{n}", "shop", image=picture(ALIKE[n // 15 % 3], 4 + n % 50))
        | {"belongs": f"kind{n % 15}"}
        for n in rng.permutation(120).tolist()
    ]
    by_colour = [
        item(f"c{n}", f"any{n % 4} c{n}", "shop", image=picture(TOLD[n % 3], 4 + n % 50))
        | {"belongs": TOLD[n % 3]}
        for n in rng.permutation(120).tolist()
    ]
    lacking = [item(f"only {word}", word, "shop") | {"belongs": None} for word in WORDS]
    return by_word + by_colour + lacking


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    space = Space.create(tmp_path_factory.mktemp("gating") / "s", two_encoders())
    space.upsert(shop())
    return space


@pytest.fixture(scope="module")
def report(space):
    return space.learn_fusion(label="belongs")


def test_learned_fusion_suits_queries_that_no_fixed_weights_suit(report):
    kind = "item to item"
    found = report.ndcg[kind]
    assert report.kept == {kind: "learned"}
    assert found["learned"] > found["weights"] + 0.02
    assert found["learned"] > found["fixed"] + 0.1
    assert report.gain[kind]["learned"].low > 0
    assert report.queries[kind] + report.held_out[kind] == 240


def test_what_was_learned_is_the_default_and_survives_reopening(space, report):
    again = Space.open(space.path, encoder=two_encoders())
    assert again.similar("w1") == space.similar("w1") == space.similar("w1", fusion="learned")
    assert again.similar("w1") != again.similar("w1", fusion="fixed")
    factors = report.factors["item to item"]
    assert set(factors) == {"text", "image"}


def test_queries_of_another_kind_keep_fixed_weights(space, report):
    assert space.search("kind1") == space.search("kind1", fusion="fixed")
    with pytest.raises(InvalidInput, match="nothing was learned for queries of the kind 'text"):
        space.search("kind1", fusion="learned")


def test_gated_fusion_needs_no_learning(space, tmp_path):
    other = Space.create(tmp_path / "s", two_encoders())
    other.upsert(shop())
    fixed, gated = (scores(other.similar("w1", k=20, fusion=f)) for f in ("fixed", "gated"))
    same_word = {f"w{n}" for n in range(120) if n % 15 == 1} - {"w1"}
    assert fixed != gated
    assert same_word < gated.keys()
    assert scores(space.similar("w1", k=20, fusion="gated")) == pytest.approx(gated, abs=1e-5)


@pytest.mark.parametrize("fusion", FUSIONS)
@given(weight=st.floats(0, 100), asked=st.integers(0, 119))
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_items_keep_their_order_whatever_the_weight_of_what_they_lack(
    space, report, fusion, weight, asked
):
    def order(**options):
        hits = space.similar(f"w{asked}", k=None, min_score=-2, fusion=fusion, **options)
        return [hit.item_id for hit in hits if hit.item_id.startswith("only")]

    assert order(weights={"image": weight}) == order()
    assert len(order()) == len(WORDS)


@given(weight=st.floats(0.01, 100), word=st.sampled_from(WORDS))
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_gate_changes_no_score_where_a_query_has_one_block(space, weight, word):
    plain = scores(space.search(word, k=50, fusion="fixed"))
    assert scores(space.search(word, k=50, fusion="gated", weights={"image": weight})) == plain


def test_ranges_centring_and_hubness_hold_with_a_gate(space, report):
    hits = space.similar("w1", k=None, min_score=0.05, fusion="gated")
    best = space.similar("w1", k=len(hits), fusion="gated")
    assert scores(hits) == pytest.approx(scores(best), abs=1e-6)
    assert len(space.similar("w1", k=5, fusion="gated", hubness=0.5)) == 5
    assert len(space.similar("w1", k=5, fusion="gated", center=True)) == 5


def test_a_file_of_queries_is_gated_as_single_queries_are(space, report, tmp_path):
    import pyarrow.parquet as pq

    rows = [{"query_id": "q", "text": "kind1", "image": picture("red", 30)}]
    space.search_file(rows, tmp_path / "out.parquet", k=5, fusion="gated")
    found = pq.read_table(tmp_path / "out.parquet").column("item_id").to_pylist()
    expected = space.search("kind1", image=picture("red", 30), k=5, fusion="gated")
    assert found == [hit.item_id for hit in expected]


def test_pairs_teach_texts_and_name_what_is_wrong(tmp_path):
    space = Space.create(tmp_path / "s", two_encoders())
    space.upsert(shop())
    pairs = [{"item_id": f"w{n}", "like": f"w{(n + 15) % 120}", "text": None} for n in range(120)]
    pairs += [{"item_id": "w1", "like": "gone"}, {"item_id": None, "like": "w1"}, {"item_id": "x"}]
    report = space.learn_fusion(pairs)
    assert report.queries.keys() == {"item to item"}
    assert len(report.problems) == 3
    assert "like 'gone': there is no such item" in report.problems


def test_users_teach_too(tmp_path):
    space = Space.create(tmp_path / "s", two_encoders())
    space.upsert(shop())
    rows = [
        {"user_id": f"u{user}", "item_id": f"w{n}", "value": 1.0}
        for user in range(45)
        for n in range(120)
        if n % 15 == user % 15
    ]
    space.add_interactions(rows)
    report = space.learn_fusion()
    assert report.kept == {"item to item": "weights"} or report.kept == {"item to item": "learned"}
    assert report.factors["item to item"]["text"] > report.factors["item to item"]["image"]
    assert report.ndcg["item to item"]["learned"] == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"label": "smell"}, InvalidInput, "no attribute 'smell'.*belongs"),
        ({"pairs": [{"a": 1}], "label": "belongs"}, InvalidInput, "not both"),
        ({"pairs": [{"a": "x"}]}, InvalidMapping, "give item_id"),
        ({"pairs": [{"item_id": "w1", "like": "w2"}]}, InvalidInput, f"only 1 .* and {FEWEST}"),
        ({}, InvalidInput, "no interactions to learn from"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(space, options, error, message):
    with pytest.raises(error, match=message):
        space.learn_fusion(**options)


def test_a_single_block_has_nothing_to_weigh(tmp_path):
    space = Space.create(tmp_path / "s", joint_encoder())
    with pytest.raises(InvalidInput, match="one block, so there is nothing to weigh"):
        space.learn_fusion(label="belongs")


def test_bad_fusions_are_refused(space, tmp_path):
    with pytest.raises(InvalidInput, match="fusion is 'magic'; give one of fixed, gated, learned"):
        space.similar("w1", fusion="magic")
    other = Space.create(tmp_path / "s", two_encoders())
    other.upsert(shop()[:5])
    (other.path / FILE).write_text("{")
    with pytest.raises(InvalidInput, match="damaged or of another version"):
        other.similar(shop()[0]["item_id"])


def test_what_was_learned_for_other_vectors_does_not_count(space, report, tmp_path):
    other = Space.create(tmp_path / "s", {"text": text_encoder(salt="x"), **image_alone()})
    other.upsert(shop())
    (other.path / FILE).write_bytes((space.path / FILE).read_bytes())
    assert other.similar("w1") == other.similar("w1", fusion="fixed")


def image_alone():
    return {"image": two_encoders()["image"]}


def test_factors_are_bounded_and_one_for_unknown_blocks():
    gate = Gate(("a",), np.zeros((1, 2)), np.ones((1, 2)), np.zeros(1), np.full((1, 2), 100.0))
    found = gate.factors({"a": np.array([9.0, 9.0]), "b": np.zeros(2)})
    assert found == {"a": pytest.approx(np.exp(4)), "b": 1.0}


def test_centring_takes_off_what_a_domain_scores_on_average(tmp_path):
    space = Space.create(tmp_path / "s", text_encoder())
    ships = [item(f"s{n}", f"ship sea{n}", "ships") for n in range(200)]
    trees = [item(f"t{n}", f"tree leaf{n}", "trees") for n in range(200)] + [
        item("odd", "tree ship", "trees")
    ]
    space.upsert(ships + trees)
    assert space.search("ship", k=1)[0].domain == "ships"
    plain = scores(space.search("ship", k=None, min_score=-1))
    found = scores(space.search("ship", k=None, min_score=-1, center=True))
    means = {
        d: np.mean([plain[i["item_id"]] for i in rows]) for d, rows in (("s", ships), ("t", trees))
    }
    for name, score in found.items():
        own = means["t" if name == "odd" else name[0]]
        assert score == pytest.approx(plain[name] - own, abs=0.03)
    assert space.search("ship", k=1, center=True)[0].item_id == "odd"
    with pytest.raises(InvalidInput, match="center, hubness and calibrate"):
        space.search("ship", center=True, calibrate=True)
