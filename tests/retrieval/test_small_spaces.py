"""Few vectors are searched exactly, without a plan."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from isthmus import Space
from isthmus.errors import InvalidInput
from isthmus.index.releases.build import needs_plan
from isthmus.index.settings import IndexSettings, Targets
from tests.toy import item


@pytest.mark.parametrize(
    ("rows", "dim", "planned"),
    [
        (20_000, 384, False),
        (20_000, 1280, False),  # pictures of the offline pair
        (20_001, 1280, True),
        (22_000, 384, True),
        (100_000, 64, False),
        (1_000, 100_000, False),
    ],
)
def test_an_index_is_planned_from_a_size_on_that_a_query_should_not_read(rows, dim, planned):
    assert needs_plan(rows, dim, IndexSettings()) is planned


@pytest.mark.parametrize("targets", [Targets(latency_ms=1), Targets(memory="1MiB")])
def test_targets_of_latency_or_memory_need_a_plan_early(targets):
    settings = IndexSettings().with_targets(targets)
    assert not needs_plan(1_000, 384, settings)
    assert needs_plan(1_001, 384, settings)


@pytest.mark.parametrize(("items", "rows"), [(1, None), (10, None), (40, 10**9)])
def test_a_plan_of_few_items_is_refused_with_the_reason(space, items, rows):
    space.upsert([item(str(n), f"t{n}") for n in range(items)])
    with pytest.raises(InvalidInput, match=f"{items} vectors are too few to measure .* exactly"):
        space.plan(rows=rows)


def test_a_plan_of_what_is_searched_exactly_measures_nothing_else(space):
    space.upsert([item(str(n), f"t{n}") for n in range(1_001)])
    (plan,) = space.plan()
    assert [(row.recipe, row.verdict) for row in plan.table] == [("exact fp32", "chosen")]
    assert plan.table[0].expected.p50_ms > 0


def test_a_release_of_few_items_is_checked_and_finds_everything(space):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["red", "blue", "sea", "hat", "boat"], 3)) for _ in range(1_200)]
    space.upsert([item(str(n), text, "ab"[n % 2]) for n, text in enumerate(texts)])
    manifest = space.publish()
    assert manifest.named_vectors["text"].recipe == "exact fp32"
    assert manifest.plans == {}
    assert {row.recall for row in manifest.recall} == {1.0}
    assert {row.domain for row in manifest.recall} == {"a", "b", "all"}


def test_half_precision_finds_what_float32_finds_in_one_query_and_in_many(tmp_path):
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((9_000, 256)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[5_000:5_020] = vectors[7]  # equal vectors keep their order
    space = Space.create(tmp_path / "s", "none")
    table = {"item_id": [f"{n:05}" for n in range(9_000)], "embedding": list(vectors)}
    space.upsert(pa.table(table), domain="a", vector="embedding")
    manifest = space.publish()
    (found,) = manifest.named_vectors.values()
    assert (found.recipe, found.bytes_per_vector) == ("exact fp16", pytest.approx(512, abs=1))
    assert {row.recall for row in manifest.recall} == {1.0}
    space = Space.open(space.path)
    queries = vectors[rng.choice(9_000, 40, replace=False)]
    batch = space.search_batch(queries, k=10).item_ids
    for query, ids in zip(queries, batch, strict=True):
        order = sorted(range(9_000), key=lambda n: (-float(vectors[n] @ query), n))[:10]
        assert [hit.item_id for hit in space.search(vector=query, k=10)] == list(ids)
        assert set(ids) == {f"{n:05}" for n in order}
    equal = [hit.item_id for hit in space.search(vector=vectors[7], k=10)]
    assert equal == ["00007", *(f"{n:05}" for n in range(5_000, 5_009))]
