"""Search quality, splits, batches and layers of fine-tuning."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus import FinetuneSettings
from isthmus.encoders.training.finetuning.layers import layer_stacks
from isthmus.encoders.training.finetuning.pairs import assign_splits, component_keys, pairs_of_split
from isthmus.encoders.training.finetuning.quality import similarity_kept
from isthmus.encoders.training.finetuning.report import ratio_of_means
from isthmus.encoders.training.finetuning.training import PairBatches
from isthmus.encoders.training.retrieval_quality import (
    LabelRelevance,
    PairRelevance,
    search_quality,
)
from isthmus.numerics.statistics import estimate


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def reference(vectors, belongs, allowed):
    """Return NDCG@10 and recall@10 of every query that has an answer, computed plainly."""
    out = []
    for query in range(len(vectors)):
        others = [n for n in range(len(vectors)) if n != query and allowed(query, n)]
        answers = {n for n in range(len(vectors)) if n != query and belongs(query, n)}
        if not answers:
            continue
        best = sorted(others, key=lambda n: -float(vectors[query] @ vectors[n]))[:10]
        gain = sum(1 / math.log2(at + 2) for at, n in enumerate(best) if n in answers)
        ideal = sum(1 / math.log2(at + 2) for at in range(min(10, len(answers))))
        out.append((gain / ideal, len(answers & set(best)) / len(answers)))
    return np.array(out)


@given(st.integers(0, 10_000))
@settings(max_examples=25)
def test_search_quality_equals_a_plain_reference(seed):
    random = np.random.default_rng(seed)
    vectors = unit(random.standard_normal((30, 6)))
    pairs = random.integers(0, 30, (25, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    known = {tuple(pair) for pair in pairs.tolist()} | {(b, a) for a, b in pairs.tolist()}
    found = search_quality(vectors, PairRelevance(30, pairs))
    expected = reference(vectors, lambda a, b: (a, b) in known, lambda a, b: True)
    np.testing.assert_allclose(np.stack([found.ndcg, found.recall], 1), expected)
    labels = [random.choice(["", "x", "y", "z"]) for _ in range(30)]
    found = search_quality(vectors, LabelRelevance(labels))
    expected = reference(
        vectors, lambda a, b: bool(labels[a]) and labels[a] == labels[b], lambda a, b: True
    )
    np.testing.assert_allclose(np.stack([found.ndcg, found.recall], 1), expected)


def test_texts_search_images_and_images_texts():
    random = np.random.default_rng(0)
    vectors = unit(random.standard_normal((40, 5)))
    pairs = np.stack([np.arange(20), np.arange(20, 40)], 1)
    sides = np.repeat([0, 1], 20)
    found = search_quality(vectors, PairRelevance(40, pairs), sides)
    expected = reference(vectors, lambda a, b: abs(a - b) == 20, lambda a, b: sides[a] != sides[b])
    np.testing.assert_allclose(np.stack([found.ndcg, found.recall], 1), expected)


def test_the_similarity_kept_is_one_without_a_change():
    vectors = unit(np.random.default_rng(0).standard_normal((50, 6)))
    assert similarity_kept(vectors, vectors) == pytest.approx(np.ones(50))
    turned = unit(np.random.default_rng(1).standard_normal((50, 6)))
    assert similarity_kept(vectors, turned).mean() < 0.9


def test_intervals_contain_the_mean_and_paired_ratios_are_narrower():
    random = np.random.default_rng(0)
    before = random.random(400)
    after = 1.2 * before
    assert ratio_of_means(after, before).low == pytest.approx(1.2)
    mean = estimate(before)
    assert mean.low < mean.value < mean.high
    assert mean.high - mean.low == pytest.approx(4 * before.std() / 20, rel=0.15)


def test_splits_depend_on_the_key_alone():
    keys = [bytes([n // 256, n % 256]) for n in range(4_000)]
    parts = assign_splits(keys, 0.1, 0.2, 3)
    assert np.bincount(parts) / 4_000 == pytest.approx([0.7, 0.1, 0.2], abs=0.02)
    assert assign_splits(keys[::-1], 0.1, 0.2, 3)[::-1].tolist() == parts.tolist()


def test_small_components_stay_together_and_a_large_one_is_split():
    digests = [bytes([n]) for n in range(100)]
    few = np.array([[n, n + 1] for n in range(0, 100, 2)])
    assert len(set(component_keys(digests, few))) == 50
    chain = np.array([[n, n + 1] for n in range(99)])
    assert component_keys(digests, chain) == digests
    parts = assign_splits(digests, 0.2, 0.3, 0)
    assert set(parts[pairs_of_split(chain, parts, 2)].ravel().tolist()) <= {2}


def test_known_pairs_are_never_negatives():
    pairs = np.array([[0, 1], [1, 2], [3, 4], [0, 5]])
    known = np.concatenate([pairs, [[0, 2], [4, 5]]])
    settings = FinetuneSettings(batch_size=4, anchor_texts=3)
    batch = next(PairBatches(pairs, known, False, range(6, 16), settings).of_epoch(1))
    both = {tuple(sorted(p)) for p in known.tolist()}
    for i, first in enumerate(batch.rows[batch.first]):
        for j, second in enumerate(batch.rows[batch.second]):
            same_row = batch.rows[batch.first[j]] == first or batch.rows[batch.second[i]] == second
            expected = tuple(sorted((first, second))) in both or first == second or same_row
            assert batch.positives[i, j] == expected
    assert sorted(batch.anchors + 6) == sorted(batch.rows[batch.anchor_positions])
    assert len(set(batch.rows.tolist())) == len(batch.rows)


def test_layer_stacks_are_found_in_every_model(tmp_path):
    from isthmus import load_encoder
    from tests.encoders import models

    clip = load_encoder(f"transformers/{models.clip_folder(tmp_path / 'c')}", device="cpu")
    assert [len(stack.layers) for stack in layer_stacks(clip.model)] == [2, 2]
    vit = load_encoder(f"timm/test_vit:{models.timm_checkpoint(tmp_path / 't')}", device="cpu")
    assert [stack.name for stack in layer_stacks(vit.model)] == ["blocks"]
