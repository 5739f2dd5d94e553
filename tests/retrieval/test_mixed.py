"""A release with an index, newer items and deletions together, against a dictionary."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus import Space
from isthmus.index.ann.recipes import recipe_named
from tests.toy import item, text_encoder

ROWS, STEPS, K = 1_500, 6, 10
WORDS = [f"w{n}" for n in range(300)]


def text(rng):
    return " ".join(rng.choice(WORDS, 4))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("recipe", ["IVF PQ4 fast-scan + SQ8", "HNSW SQ8"])
def test_release_delta_and_deletions_answer_like_a_dictionary(tmp_path, monkeypatch, recipe, seed):
    monkeypatch.setattr(
        "isthmus.index.releases.build.suitable", lambda dim, on_gpu: [recipe_named(recipe)]
    )
    monkeypatch.setattr("isthmus.index.ann.filter_costs.MAX_EXACT", 50)
    rng = np.random.default_rng(seed)
    encoder = text_encoder()
    space = Space.create(tmp_path / "s", {"text": encoder})
    model = {f"i{n}": text(rng) for n in range(ROWS)}
    space.upsert([item(name, t, "ab"[len(name) % 2]) for name, t in model.items()])
    space.publish(recall=0.98, latency_ms=1_000)
    newer: set[str] = set()
    for step in range(STEPS):
        names = [f"i{n}" for n in rng.integers(ROWS, size=40)] + [
            f"new{step}-{n}" for n in range(9)
        ]
        changed = {name: text(rng) for name in names}
        model |= changed
        space.upsert([item(name, t, "ab"[len(name) % 2]) for name, t in changed.items()])
        gone = rng.choice(sorted(model), 60, replace=False).tolist()
        assert space.delete(gone) == 60
        model = {name: t for name, t in model.items() if name not in gone}
        newer = (newer | set(changed)) - set(gone)
        for domain in (None, "a"):
            check(space, encoder, model, newer, domain, rng)


def check(space, encoder, model, newer, domain, rng):
    names = [n for n in sorted(model) if domain is None or "ab"[len(n) % 2] == domain]
    vectors = encoder.encode([model[n] for n in names], "text")
    place = {name: row for row, name in enumerate(names)}
    queries = encoder.encode([text(rng) for _ in range(40)], "text")
    found = space.search_batch(queries, k=K, domain=domain)
    hits = 0
    for query, ids, scores in zip(queries, found.item_ids, found.scores, strict=True):
        cosines = vectors @ query
        assert None not in ids
        assert len(set(ids)) == K
        np.testing.assert_allclose(scores, cosines[[place[n] for n in ids]], atol=1e-5)
        worst = np.sort(cosines)[-K]
        hits += int((scores >= worst - 1e-5).sum())
        best_newer = {n for n in newer if n in place and cosines[place[n]] > worst + 1e-5}
        assert best_newer <= set(ids)  # what is newer than the release is found exactly
    assert hits >= 0.88 * K * len(queries)  # these queries are unlike the recall queries
