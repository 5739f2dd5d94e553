"""Learned fusion weights: how much each named vector counts, for each kind of query."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isthmus import Space
from isthmus.errors import InvalidInput, InvalidMapping
from isthmus.retrieval.search.fusion_weights import MIN_QUERIES, FusionWeights, LearnedFactors
from isthmus.schema import FUSION_WEIGHTS_FILE
from tests.retrieval.test_weights import WORDS, scores
from tests.toy import COLOURS, item, joint_encoder, picture, text_encoder, two_encoders

KIND = "item to item"
BOTH_WEIGHTS = {"text": 1.0, "image": 1.0}


def shop() -> list[dict]:
    """Items that belong together by a word of their text; their colours are noise."""
    colours = tuple(COLOURS)[:3]
    rng = np.random.default_rng(0)
    by_word = [
        item(f"w{n}", f"kind{n % 15} w{n}", "shop", image=picture(colours[n // 15 % 3], 4 + n % 50))
        | {"belongs": f"kind{n % 15}"}
        for n in rng.permutation(240).tolist()
    ]
    text_only = [item(f"only {word}", word, "shop") | {"belongs": None} for word in WORDS]
    return by_word + text_only


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    space = Space.create(tmp_path_factory.mktemp("fusion") / "s", two_encoders())
    space.upsert(shop())
    return space


@pytest.fixture(scope="module")
def report(space):
    return space.learn_fusion(label="belongs")


def test_learned_weights_are_better_on_held_out_queries(report):
    ndcg = report.ndcg[KIND]
    assert report.chosen == {KIND: "learned"}
    assert ndcg["learned"] > ndcg["fixed"] + 0.1
    assert report.gain[KIND].low > 0
    assert report.gain[KIND].value == pytest.approx(ndcg["learned"] - ndcg["fixed"])
    assert report.queries[KIND] + report.held_out[KIND] == 240
    factors = report.factors[KIND]
    assert set(factors) == {"text", "image"}
    assert factors["text"] > factors["image"]


def test_learned_weights_are_the_default_and_survive_reopening(space, report):
    again = Space.open(space.path, encoder=two_encoders())
    assert again.similar("w1") == space.similar("w1")
    assert again.similar("w1") != again.similar("w1", weights=BOTH_WEIGHTS)


def test_queries_of_another_kind_keep_the_weights_of_the_space(space, report):
    assert space.search("kind1") == space.search("kind1", weights=BOTH_WEIGHTS)
    weights = FusionWeights(space.path, space.fingerprint).of("text to item", BOTH_WEIGHTS)
    assert weights == BOTH_WEIGHTS


def test_weights_of_a_query_override_learned_ones(space, report, tmp_path):
    other = Space.create(tmp_path / "s", two_encoders())
    other.upsert(shop())
    assert scores(space.similar("w1", k=20, weights={"image": 2})) == pytest.approx(
        scores(other.similar("w1", k=20, weights={"image": 2})), abs=1e-6
    )
    same_word = {f"w{n}" for n in range(240) if n % 15 == 1} - {"w1"}
    assert {hit.item_id for hit in space.similar("w1", k=len(same_word))} == same_word


@pytest.mark.parametrize("learned", [False, True])
@given(weight=st.floats(0, 100), query=st.integers(0, 239))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_items_keep_their_order_whatever_the_weight_of_what_they_lack(
    space, report, learned, weight, query
):
    def order(weights):
        hits = space.similar(f"w{query}", k=None, min_score=-2, weights=weights)
        return [hit.item_id for hit in hits if hit.item_id.startswith("only")]

    reference = order(None if learned else BOTH_WEIGHTS)
    assert order({"image": weight}) == reference
    assert len(reference) == len(WORDS)


@given(weight=st.floats(0.01, 100), word=st.sampled_from(WORDS))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_weights_change_no_score_where_a_query_has_one_named_vector(space, report, weight, word):
    plain = scores(space.search(word, k=50))
    assert scores(space.search(word, k=50, weights={"image": weight})) == plain


def test_ranges_centring_and_hubness_hold_with_learned_weights(space, report):
    hits = space.similar("w1", k=None, min_score=0.05)
    best = space.similar("w1", k=len(hits))
    assert scores(hits) == pytest.approx(scores(best), abs=1e-6)
    assert len(space.similar("w1", k=5, hubness_correction=0.5)) == 5
    assert len(space.similar("w1", k=5, center_scores=True)) == 5


@pytest.mark.parametrize("weights", [None, {"image": 3.0}])
def test_a_file_of_queries_weighs_named_vectors_as_single_queries_do(
    space, report, tmp_path, weights
):
    rows = [
        {"query_id": "both", "text": "kind1", "image": picture("red", 30)},
        {"query_id": "text", "text": "kind1", "image": None},
        {"query_id": "image", "text": None, "image": picture("red", 30)},
        {"query_id": "again", "text": "kind2", "image": picture("blue", 30)},
    ]
    space.search_file(rows, tmp_path / "out.parquet", k=5, weights=weights)
    lists = pq.read_table(tmp_path / "out.parquet").to_pylist()
    for row in rows:
        hits = space.search(row["text"], image=row["image"], k=5, weights=weights)
        of_query = [hit["item_id"] for hit in lists if hit["query_id"] == row["query_id"]]
        assert of_query == [hit.item_id for hit in hits]


def test_pairs_name_what_is_wrong(tmp_path):
    space = Space.create(tmp_path / "s", two_encoders())
    space.upsert(shop())
    pairs = [{"item_id": f"w{n}", "like": f"w{(n + 15) % 120}", "text": None} for n in range(120)]
    pairs += [{"item_id": "w1", "like": "gone"}, {"item_id": None, "like": "w1"}, {"item_id": "x"}]
    report = space.learn_fusion(pairs)
    assert report.queries.keys() == {KIND}
    assert len(report.problems) == 3
    assert "like 'gone': there is no such item" in report.problems


def test_weights_are_learned_from_interactions(tmp_path):
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
    assert report.chosen == {KIND: "learned"}
    assert report.factors[KIND]["text"] > report.factors[KIND]["image"]
    assert report.ndcg[KIND]["learned"] > report.ndcg[KIND]["fixed"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"label": "smell"}, InvalidInput, "no attribute 'smell'.*belongs"),
        ({"pairs": [{"a": 1}], "label": "belongs"}, InvalidInput, "not both"),
        ({"pairs": [{"a": "x"}]}, InvalidMapping, "give item_id"),
        (
            {"pairs": [{"item_id": "w1", "like": "w2"}]},
            InvalidInput,
            f"only 1 .* and {MIN_QUERIES}",
        ),
        ({}, InvalidInput, "no interactions to learn from"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(space, options, error, message):
    with pytest.raises(error, match=message):
        space.learn_fusion(**options)


def test_a_single_named_vector_has_nothing_to_weigh(tmp_path):
    space = Space.create(tmp_path / "s", joint_encoder())
    with pytest.raises(InvalidInput, match="one named vector, so there is nothing to weigh"):
        space.learn_fusion(label="belongs")


def test_a_damaged_file_is_refused(tmp_path):
    space = Space.create(tmp_path / "s", two_encoders())
    space.upsert(shop()[:5])
    (space.path / FUSION_WEIGHTS_FILE).write_text("{")
    with pytest.raises(InvalidInput, match="damaged or of another version"):
        space.similar(shop()[0]["item_id"])


def test_weights_learned_for_other_vectors_are_ignored(space, report, tmp_path):
    encoders = {"text": text_encoder(salt="x"), "image": two_encoders()["image"]}
    other = Space.create(tmp_path / "s", encoders)
    other.upsert(shop())
    (other.path / FUSION_WEIGHTS_FILE).write_bytes((space.path / FUSION_WEIGHTS_FILE).read_bytes())
    assert other.similar("w1") == other.similar("w1", weights=BOTH_WEIGHTS)


def test_factors_multiply_the_weights_of_the_space(tmp_path):
    LearnedFactors("f", {KIND: {"text": 3.0}}).save(tmp_path)
    weights = FusionWeights(tmp_path, "f")
    assert weights.of(KIND, {"text": 2.0, "image": 0.5}) == {"text": 6.0, "image": 0.5}
    assert weights.of(KIND, {"text": 2.0}) == {"text": 2.0}
    assert FusionWeights(tmp_path, "other").of(KIND, BOTH_WEIGHTS) == BOTH_WEIGHTS


def test_centring_takes_off_what_a_domain_scores_on_average(tmp_path):
    space = Space.create(tmp_path / "s", text_encoder())
    ships = [item(f"s{n}", f"ship sea{n}", "ships") for n in range(200)]
    trees = [item(f"t{n}", f"tree leaf{n}", "trees") for n in range(200)] + [
        item("odd", "tree ship", "trees")
    ]
    space.upsert(ships + trees)
    assert space.search("ship", k=1)[0].domain == "ships"
    plain = scores(space.search("ship", k=None, min_score=-1))
    found = scores(space.search("ship", k=None, min_score=-1, center_scores=True))
    means = {
        d: np.mean([plain[i["item_id"]] for i in rows]) for d, rows in (("s", ships), ("t", trees))
    }
    for name, score in found.items():
        mean = means["t" if name == "odd" else name[0]]
        assert score == pytest.approx(plain[name] - mean, abs=0.03)
    assert space.search("ship", k=1, center_scores=True)[0].item_id == "odd"
    with pytest.raises(InvalidInput, match="center_scores and normalize_scores shift"):
        space.search("ship", center_scores=True, normalize_scores=True)
