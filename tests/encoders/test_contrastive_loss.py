"""The contrastive loss, against its formula written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from isthmus.encoders.training.losses import same_content, symmetric_contrastive


def by_hand(text, image, text_ids, image_ids, scale):
    """Return the loss from the probability of each answer among itself and its negatives."""
    total = 0.0
    for one, other in ((text, image), (image, text)):
        for i in range(len(one)):
            others = [
                j
                for j in range(len(one))
                if j != i and text_ids[i] != text_ids[j] and image_ids[i] != image_ids[j]
            ]
            positive = scale * float(one[i] @ other[i])
            rest = [scale * float(one[i] @ other[j]) for j in others]
            total += math.log(sum(math.exp(s) for s in [positive, *rest])) - positive
    return total / (2 * len(text))


@pytest.mark.parametrize(
    ("text_ids", "image_ids"),
    [([0, 1, 2, 3], [0, 1, 2, 3]), ([0, 1, 0, 2], [0, 1, 2, 2])],
    ids=["all differ", "copies"],
)
def test_the_contrastive_loss_equals_its_formula(text_ids, image_ids):
    rng = np.random.default_rng(0)
    text, image = (rng.standard_normal((4, 3)).astype(np.float32) for _ in range(2))
    same = same_content(torch.tensor(text_ids), torch.tensor(image_ids))
    loss = symmetric_contrastive(
        torch.from_numpy(text), torch.from_numpy(image), same, torch.tensor(2.0)
    )
    assert float(loss) == pytest.approx(by_hand(text, image, text_ids, image_ids, 2.0), rel=1e-5)


def test_copies_are_no_negatives():
    text = torch.eye(2, 3)
    same = same_content(torch.tensor([5, 5]), torch.tensor([0, 1]))
    alone = symmetric_contrastive(text, text.flip(0), same, torch.tensor(10.0))
    assert float(alone) == 0.0
    other = symmetric_contrastive(
        text,
        text.flip(0),
        same_content(torch.tensor([5, 6]), torch.tensor([0, 1])),
        torch.tensor(10.0),
    )
    assert float(other) == pytest.approx(10.0, abs=1e-3)
