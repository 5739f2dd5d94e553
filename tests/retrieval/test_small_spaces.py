"""Few vectors are searched exactly, without a plan."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.errors import InvalidInput
from isthmus.index.releases.build import needs_plan
from isthmus.index.settings import IndexSettings, Targets
from tests.toy import item


@pytest.mark.parametrize(
    ("rows", "dim", "planned"),
    [
        (20_000, 384, False),
        (20_000, 1280, False),  # pictures of the offline pair
        (80_000, 384, False),
        (100_000, 384, True),
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
