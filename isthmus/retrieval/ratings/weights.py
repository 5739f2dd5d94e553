"""How much each part weighs, from how much it rests on: small networks trained with MSE."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from isthmus.numerics.training import TrainingLoop
from isthmus.retrieval.ratings.components import EVIDENCE, PARTS, Parts
from isthmus.retrieval.ratings.content import Features
from isthmus.retrieval.ratings.cross_fitting import Rows
from isthmus.retrieval.ratings.ratings import Codes, Floats, Mask

if TYPE_CHECKING:
    import torch

MEMBERS = 4
HIDDEN = 32
BATCH = 2048
EPOCHS = 5
LEAST_STEPS = 200
RATE = 3e-3
DECAY = 1e-2
MOST_ROWS = 400_000
LEAST_ROWS = 500
WIDEST = 4.0
ITEM_PARTS = 2  # content and item come first in PARTS
OUTPUTS = len(PARTS) + 1


class Weighed(NamedTuple):
    """What the head makes of parts.

    Attributes
    ----------
    weights : numpy.ndarray
        float64, shape (n, len(PARTS)): of each part.
    adjustment : numpy.ndarray
        float64, shape (n,): what is added beside them, in standard deviations.
    """

    weights: Floats
    adjustment: Floats


class Head:
    """Weights of the parts, and an adjustment: the mean of several networks, each of two layers.

    The networks see the evidence and the domain, and not the parts. What is known of the item
    alone keeps the weight 1, and nothing is added, as long as the user has no rating: such a user
    gets the item's shrunk mean. With n ratings, ``n / (n + 1)`` of what the networks say holds.

    Attributes
    ----------
    tensors : dict of str to numpy.ndarray
        float32, the networks' side by side; empty where every part has the weight 1.
    """

    def __init__(self, tensors: dict[str, Features]) -> None:
        self.tensors = tensors

    def weigh(self, parts: Parts) -> Weighed:
        """Give the weights for each pair."""
        out = np.zeros((len(parts.level), OUTPUTS))
        if self.tensors:
            own = {name: tensor.astype(np.float64) for name, tensor in self.tensors.items()}
            inputs = _inputs(parts, own["shares"], own["centre"], own["factor"])
            for member in range(len(own["first"])):
                hidden = np.maximum(inputs @ own["first"][member] + own["first_bias"][member], 0)
                out += hidden @ own["second"][member] + own["second_bias"][member]
            out /= len(own["first"])
        out *= _gates(parts)
        return Weighed(1 + out[:, :-1], out[:, -1])

    def predict(self, parts: Parts) -> Floats:
        """Give the prediction for each pair, in standard deviations from the mean of all."""
        weighed = self.weigh(parts)
        told = (weighed.weights * parts.values).sum(axis=1)
        return np.asarray(parts.level + told + weighed.adjustment, np.float64)

    @classmethod
    def fit(cls, rows: Rows, seed: int) -> Head:
        """Learn from cross-fitted parts.

        Each network learns from the users of three quarters. If together they are no better on the
        users that each has not seen than weights of 1, those are kept.
        """
        rows = _sample(rows, seed)
        members = int(rows.users.max(initial=0)) + 1
        quarter = (np.random.default_rng(seed).permutation(members) % MEMBERS)[rows.users]
        if len(rows.truth) < LEAST_ROWS or len(np.unique(quarter)) < MEMBERS:
            return cls({})
        shared = _standards(rows.parts)
        nets, error = [], 0.0
        for member in range(MEMBERS):
            own = _train(rows, quarter != member, shared, seed + member)
            nets.append(own)
            left = _only(rows, np.flatnonzero(quarter == member))
            alone = cls(shared | {name: tensor[None] for name, tensor in own.items()})
            error += float(((alone.predict(left.parts) - left.truth) ** 2).sum())
        if error >= float(((rows.parts.sums - rows.truth) ** 2).sum()):
            return cls({})
        return cls(shared | {name: np.stack([net[name] for net in nets]) for name in nets[0]})


def _sample(rows: Rows, seed: int) -> Rows:
    count = len(rows.truth)
    if count <= MOST_ROWS:
        return rows
    return _only(rows, np.sort(np.random.default_rng(seed).permutation(count)[:MOST_ROWS]))


def _only(rows: Rows, kept: Codes) -> Rows:
    parts = rows.parts
    own = Parts(parts.level[kept], parts.values[kept], parts.evidence[kept], parts.domains[kept])
    return Rows(own, rows.truth[kept], rows.users[kept])


def _standards(parts: Parts) -> dict[str, Features]:
    """Give the share of each domain, and centre and factor of the evidence; 0 where all is one."""
    deviation = parts.evidence.std(axis=0)
    factor = np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0.0)
    shares = np.bincount(parts.domains) / len(parts.domains)
    return {
        "shares": shares.astype(np.float32),
        "centre": parts.evidence.mean(axis=0).astype(np.float32),
        "factor": factor.astype(np.float32),
    }


def _inputs(parts: Parts, shares: Floats, centre: Floats, factor: Floats) -> Floats:
    """Give evidence in standard deviations, and the domain; one never seen is as the average."""
    evidence = np.clip((parts.evidence - centre) * factor, -WIDEST, WIDEST)
    one_hot = (parts.domains[:, None] == np.arange(len(shares))) - shares
    one_hot[parts.domains >= len(shares)] = 0
    return np.concatenate([evidence, one_hot], axis=1)


def _gates(parts: Parts) -> Floats:
    """Give how much of the outputs holds, shape (n, OUTPUTS)."""
    gates = np.ones((len(parts.level), OUTPUTS))
    known = 1 - np.exp(-parts.evidence[:, EVIDENCE.index("ratings of the user")])  # n / (n + 1)
    gates[:, :ITEM_PARTS] = known[:, None]
    gates[:, -1] = known
    return gates


def _train(rows: Rows, mask: Mask, shared: dict[str, Features], seed: int) -> dict[str, Features]:
    """Train one network on the rows of a mask, and give its tensors."""
    import torch

    chosen = _only(rows, np.flatnonzero(mask))
    parts, generator = chosen.parts, torch.Generator().manual_seed(seed)
    standards = {name: tensor.astype(np.float64) for name, tensor in shared.items()}
    inputs = _tensor(_inputs(parts, **standards))
    values, gates = _tensor(parts.values), _tensor(_gates(parts))
    left = _tensor(chosen.truth - parts.sums)
    net = _network(inputs.shape[1], generator)
    steps = max(EPOCHS * (-(-len(left) // BATCH)), LEAST_STEPS)
    optimizer = torch.optim.AdamW(net.values(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)

    def batches(epoch: int) -> Iterator[torch.Tensor]:
        del epoch  # one epoch of all steps, since few rows make passes of a step or two
        order = torch.empty(0, dtype=torch.long)
        for _ in range(steps):
            if not len(order):
                order = torch.randperm(len(left), generator=generator)
            yield order[:BATCH]
            order = order[BATCH:]

    def loss(batch: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(inputs[batch] @ net["first"] + net["first_bias"])
        out = (hidden @ net["second"] + net["second_bias"]) * gates[batch]
        predicted = (out[:, :-1] * values[batch]).sum(dim=1) + out[:, -1]
        return ((predicted - left[batch]) ** 2).mean()

    TrainingLoop(loss, batches, optimizer, 1, schedule=schedule).run()
    return {name: tensor.detach().numpy() for name, tensor in net.items()}


def _network(inputs: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Give a network that says 0 at first."""
    import torch

    first = torch.randn(inputs, HIDDEN, generator=generator) / np.sqrt(inputs)
    tensors = {
        "first": first,
        "first_bias": torch.zeros(HIDDEN),
        "second": torch.zeros(HIDDEN, OUTPUTS),
        "second_bias": torch.zeros(OUTPUTS),
    }
    return {name: tensor.requires_grad_() for name, tensor in tensors.items()}


def _tensor(array: Floats) -> torch.Tensor:
    import torch

    return torch.from_numpy(array.astype(np.float32))
