"""Fitted alignments: known rotations are recovered, held-out pairs are not trained on."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from isthmus.encoders.projection_head import unit_rows
from isthmus.encoders.training.alignment.closed_form import Correlations
from isthmus.encoders.training.alignment.contrastive import mine_hard_negatives, train_heads
from isthmus.encoders.training.alignment.cross_modal_recall import (
    cross_modal_recall,
    mean_recall,
    recall_by_set,
)
from isthmus.encoders.training.alignment.fit import fit_alignment
from isthmus.encoders.training.alignment.pairs import join_pairs
from isthmus.encoders.training.settings import AlignmentSettings
from isthmus.errors import InvalidInput
from tests.encoders.alignment.synthetic_pairs import rotated_pairs

QUICK = AlignmentSettings(dim=12, epochs=4, batch_size=64, held_out=0.2)


def test_a_known_rotation_is_recovered():
    pairs = rotated_pairs()
    fitted = fit_alignment(pairs, QUICK)
    text, image = fitted.heads[0](pairs.text), fitted.heads[1](pairs.image)
    assert ((text @ image.T).argmax(1) == np.arange(len(pairs))).mean() >= 0.99
    assert fitted.report["recall@10"]["aligned"]["a"]["text_to_image"] == 1.0
    assert fitted.report["pairs"] == {"a": 200}


@pytest.mark.parametrize(
    "changed",
    [{"hidden": 8}, {"modality_dropout": 0.5}, {"anchor_weight": 1.0}, {"hard_negatives": 0.0}],
    ids=str,
)
def test_trained_heads_are_never_worse_than_the_closed_form_on_held_out_pairs(changed):
    fitted = fit_alignment(rotated_pairs(noise=0.3), replace(QUICK, **changed))
    found = {n: f["a"] for n, f in fitted.report["recall@10"].items()}
    for way in ("text_to_image", "image_to_text"):
        assert 0 < found["aligned"][way] <= 1
    mean = {n: (f["text_to_image"] + f["image_to_text"]) / 2 for n, f in found.items()}
    assert mean["aligned"] >= mean["cca"]


def test_training_improves_a_bad_start():
    pairs = rotated_pairs()
    known, other = Correlations(pairs.text, pairs.image), rotated_pairs(noise=9.0)
    start = known.cca(12, 1.0, 1.0)[0], Correlations(other.text, other.image).cca(12, 1, 1)[1]
    learned = train_heads(
        start,
        pairs,
        replace(QUICK, epochs=30, learning_rate=0.03, dropout=0.0),
        lambda heads: mean_recall(heads, pairs),
    )
    assert learned.epochs > 0
    assert learned.recall > mean_recall(start, pairs) + 0.2


def test_few_held_out_pairs_distinguish_good_heads_from_bad_ones():
    pairs, few = rotated_pairs(), rotated_pairs().take(np.arange(6))
    known, other = Correlations(pairs.text, pairs.image), rotated_pairs(noise=9.0)
    good = known.cca(12, 0.1, 0.1)
    bad = good[0], Correlations(other.text, other.image).cca(12, 1, 1)[1]
    assert recall_by_set(bad, few)["a"].text_to_image == 1.0  # ten of six
    assert mean_recall(good, few) == 1.0
    assert mean_recall(bad, few) < 0.8


@pytest.mark.parametrize("epochs", [1, 3, 30])
def test_the_progress_bars_are_filled(epochs, monkeypatch):
    calls = []

    @contextmanager
    def bar(label, total, *, show):
        calls.append((label, total))
        yield lambda steps: calls.append((label, -steps))

    monkeypatch.setattr("isthmus.encoders.training.alignment.fit.progress_bar", bar)
    monkeypatch.setattr("isthmus.numerics.training.progress_bar", bar)
    fit_alignment(rotated_pairs(noise=0.3), replace(QUICK, epochs=epochs, patience=2))
    for name in ("closed form", "contrastive training"):
        assert sum(steps for label, steps in calls if label == name) == 0


def test_the_same_seed_gives_the_same_heads():
    one, other = (fit_alignment(rotated_pairs(noise=0.3), QUICK) for _ in range(2))
    np.testing.assert_array_equal(one.heads[0].linear, other.heads[0].linear)


def test_the_random_state_of_the_caller_is_unchanged():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    fit_alignment(rotated_pairs(), QUICK)
    assert torch.equal(torch.rand(3), expected)


def test_each_set_is_reported():
    pairs = join_pairs([rotated_pairs(60, name="a"), rotated_pairs(80, name="b")])
    report = fit_alignment(pairs, QUICK).report
    assert report["pairs"] == {"a": 60, "b": 80}
    assert set(report["recall@10"]["aligned"]) == {"a", "b"}


def test_experts_serve_sets_that_contradict_each_other():
    one, other = rotated_pairs(150, name="a"), rotated_pairs(150, name="b")
    moved = replace(other, text=unit_rows(-other.text + 3), image=unit_rows(other.image + 3))
    pairs = join_pairs([one, moved])
    fitted = fit_alignment(pairs, replace(QUICK, dim=36))
    assert fitted.heads[0].gate is not None
    assert fitted.heads[0].dim == 36
    for found in fitted.report["recall@10"]["aligned"].values():
        assert found["text_to_image"] >= 0.9
    alone = fit_alignment(pairs, replace(QUICK, dim=36, experts=False))
    assert alone.heads[0].gate is None


def test_too_few_pairs_are_refused():
    with pytest.raises(InvalidInput, match=r"10 pairs of text and picture.*give 20 or more"):
        fit_alignment(rotated_pairs(10), QUICK)


def test_linked_pairs_are_held_out_together():
    pairs = rotated_pairs(100)
    pairs = replace(pairs, text_ids=np.arange(100) // 5, image_ids=np.arange(100) // 2)
    learn, held = pairs.split(0.2, 0)
    assert len(learn) + len(held) == 100
    assert 10 <= len(held) <= 20
    assert not set(learn.text_ids) & set(held.text_ids)
    assert not set(learn.image_ids) & set(held.image_ids)


def test_every_image_of_a_title_is_relevant_to_it():
    eye = np.eye(4, dtype=np.float32)
    titles, pictures = np.array([0, 0, 1, 2]), np.arange(4)
    turned = eye[[1, 0, 2, 3]]  # the two pictures of title 0 change places
    found = cross_modal_recall(eye, turned, titles, pictures, k=1)
    assert (found.texts, found.images) == (3, 4)
    assert found.text_to_image == 1.0
    assert found.chance_text_to_image == pytest.approx((2 / 4 + 1 / 4 + 1 / 4) / 3)
    assert found.chance_image_to_text == pytest.approx(1 / 3)


def test_positives_are_never_mined_as_hard_negatives():
    pairs = replace(rotated_pairs(30), text_ids=np.arange(30) // 3)
    near = mine_hard_negatives(pairs.text, pairs.text, pairs)
    assert (pairs.text_ids[near] != pairs.text_ids[:, None]).all()
