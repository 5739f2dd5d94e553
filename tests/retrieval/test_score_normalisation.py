"""Scores that compare across domains."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus import Space
from tests.retrieval.crowd import DOMAIN, IDS, MATRIX, SIZES, counts, ids, unit
from tests.toy import PointEncoder, item


def standard_scores(scores):
    """Standard score in the domain, shrunk by ten items that score as the mean domain."""
    columns_by_domain = {
        d: np.array([s for i, s in zip(IDS, scores, strict=True) if DOMAIN[i] == d]) for d in SIZES
    }
    mean = np.mean([domain_scores.mean() for domain_scores in columns_by_domain.values()])
    variance = np.mean([domain_scores.var() for domain_scores in columns_by_domain.values()])
    out = {}
    for name, score in zip(IDS, scores, strict=True):
        domain_scores = columns_by_domain[DOMAIN[name]]
        m = (domain_scores.sum() + 10 * mean) / (len(domain_scores) + 10)
        v = (len(domain_scores) * domain_scores.var() + 10 * variance) / (len(domain_scores) + 10)
        out[name] = (score - m) / np.sqrt(v)
    return out


def angle(degrees):
    return f"{np.cos(np.radians(degrees)):.6f} {np.sin(np.radians(degrees)):.6f}"


def test_a_domain_near_every_query_does_not_fill_the_list(tmp_path):
    """All films lie nearer than any book, but one book stands out among the books."""
    space = Space.create(tmp_path / "s", PointEncoder(2))
    films = [item(f"f{n}", angle(20 + n / 10)) for n in range(40)]
    books = [item(f"b{n}", angle(80 + n / 10), "books") for n in range(40)]
    space.upsert([*films, *books, item("found", angle(40), "books")])
    assert counts(space.search("1 0", k=40)) == {"films": 40}
    hits = space.search("1 0", k=10, normalize_scores=True)
    assert hits[0].item_id == "found"
    assert hits[0].score > 3
    assert {h.item_id for h in hits if h.domain == "films"} <= {f"f{n}" for n in range(10)}


def test_a_domain_of_one_item_is_judged_as_an_ordinary_one(tmp_path):
    space = Space.create(tmp_path / "s", PointEncoder(2))
    films = [item(f"f{n}", angle(30 + n)) for n in range(50)]
    space.upsert([*films, item("near", angle(10), "books"), item("far", angle(170), "songs")])
    found = ids(space.search("1 0", k=60, normalize_scores=True))
    assert found[0] == "near"
    assert found[-1] == "far"


def test_constant_scores_standardize_to_zero(tmp_path):
    space = Space.create(tmp_path / "s", PointEncoder(2))
    space.upsert([item(str(n), "3 4", "ab"[n % 2]) for n in range(6)])
    assert [h.score for h in space.search("1 0", normalize_scores=True)] == pytest.approx(
        [0] * 6, abs=1e-2
    )


@settings(max_examples=40)
@given(seed=st.integers(0, 30), k=st.integers(1, 80), start=st.integers(0, 60))
def test_scores_are_standard_scores_in_the_domain(crowd, seed, k, start):
    query = unit(np.random.default_rng(seed).standard_normal(MATRIX.shape[1]))
    expected = standard_scores((MATRIX @ query).astype(float).tolist())
    best = sorted((expected[i] for i in IDS[start:]), reverse=True)[:k]
    hits = crowd.search(vector=query, k=k, where=f"n >= {start}", normalize_scores=True)
    assert [h.score for h in hits] == pytest.approx(best, abs=1e-3)
    assert [h.score for h in hits] == pytest.approx([expected[i] for i in ids(hits)], abs=1e-3)


@settings(max_examples=30)
@given(
    name=st.sampled_from(IDS), k=st.integers(1, 80), domains=st.sets(st.sampled_from(list(SIZES)))
)
def test_several_named_vectors_and_domains(crowd, name, k, domains):
    domain_names = sorted(domains) or None
    hits = crowd.similar(name, k=k, domain=domain_names, normalize_scores=True)
    allowed = [i for i in IDS if (DOMAIN[i] in domains or not domains) and i != name]
    assert len(hits) == min(k, len(allowed))
    assert set(ids(hits)) <= set(allowed)
    plain = ids(crowd.similar(name, k=100, domain=domain_names))
    for domain in SIZES:  # within a domain nothing changes places
        order = [h.item_id for h in hits if h.domain == domain]
        assert order == [i for i in plain if DOMAIN[i] == domain][: len(order)]


def test_a_domain_named_twice_counts_once(crowd):
    hits = crowd.similar("f01", domain=["books", "books"], normalize_scores=True, k=50)
    assert len(hits) == len(set(ids(hits))) == SIZES["books"]
