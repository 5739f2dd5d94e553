"""Weights of the components, from the evidence behind them: small networks trained with MSE."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from isthmus.numerics.training import TrainingLoop
from isthmus.retrieval.ratings.components import (
    COMPONENTS,
    EVIDENCE,
    ITEM_COMPONENTS,
    USER_RATINGS,
    Components,
)
from isthmus.retrieval.ratings.content import Features
from isthmus.retrieval.ratings.cross_fitting import CrossFitted
from isthmus.retrieval.ratings.ratings import Floats, Mask

if TYPE_CHECKING:
    import torch

MEMBERS = 4
HIDDEN = 32
BATCH_SIZE = 2048
EPOCHS = 5
MIN_STEPS = 200
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1e-2
MAX_PAIRS = 400_000
MIN_PAIRS = 500
MAX_DEVIATIONS = 4.0
OUTPUTS = len(COMPONENTS) + 1


class Weights(NamedTuple):
    """The weights of the components of some pairs.

    Attributes
    ----------
    components : numpy.ndarray
        float64, shape (n, len(COMPONENTS)): weight of each component.
    adjustment : numpy.ndarray
        float64, shape (n,): what is added to the weighted sum, in standard deviations.
    """

    components: Floats
    adjustment: Floats


class ComponentWeights:
    """Predicts weights of the components, and an adjustment: the mean of several networks.

    The networks have two layers. They see the evidence and the domain, but not the components. For
    a user without ratings the components of the item keep the weight 1, and the adjustment is 0:
    such a user gets the shrunk mean of the item. With n ratings, the outputs of the networks are
    multiplied by ``n / (n + 1)``.

    Attributes
    ----------
    tensors : dict of str to numpy.ndarray
        float32: parameters of the networks, stacked; empty where every weight is 1.
    """

    def __init__(self, tensors: dict[str, Features]) -> None:
        self.tensors = tensors

    def weights(self, components: Components) -> Weights:
        """Return the weights for each pair."""
        out = np.zeros((len(components.bias), OUTPUTS))
        if self.tensors:
            net = {name: tensor.astype(np.float64) for name, tensor in self.tensors.items()}
            inputs = _inputs(components, net["shares"], net["centre"], net["factor"])
            for member in range(len(net["first"])):
                hidden = np.maximum(inputs @ net["first"][member] + net["first_bias"][member], 0)
                out += hidden @ net["second"][member] + net["second_bias"][member]
            out /= len(net["first"])
        out *= _gates(components)
        return Weights(1 + out[:, :-1], out[:, -1])

    def predict(self, components: Components) -> Floats:
        """Return the prediction for each pair, in standard deviations from the mean rating."""
        weights = self.weights(components)
        weighted = (weights.components * components.values).sum(axis=1)
        return np.asarray(components.bias + weighted + weights.adjustment, np.float64)

    @classmethod
    def fit(cls, pairs: CrossFitted, seed: int) -> ComponentWeights:
        """Learn from cross-fitted components.

        Each network is trained on three quarters of the users. If on the users that each has not
        seen they are together no better than weights of 1, those are kept.
        """
        pairs = _sample(pairs, seed)
        n_users = int(pairs.users.max(initial=0)) + 1
        quarter = (np.random.default_rng(seed).permutation(n_users) % MEMBERS)[pairs.users]
        if len(pairs.truth) < MIN_PAIRS or len(np.unique(quarter)) < MEMBERS:
            return cls({})
        shared = _input_statistics(pairs.components)
        nets, error = [], 0.0
        for member in range(MEMBERS):
            net = _train(pairs, quarter != member, shared, seed + member)
            nets.append(net)
            unseen = pairs.take(np.flatnonzero(quarter == member))
            alone = cls(shared | {name: tensor[None] for name, tensor in net.items()})
            error += float(((alone.predict(unseen.components) - unseen.truth) ** 2).sum())
        if error >= float(((pairs.components.sums - pairs.truth) ** 2).sum()):
            return cls({})
        return cls(shared | {name: np.stack([net[name] for net in nets]) for name in nets[0]})


def _sample(pairs: CrossFitted, seed: int) -> CrossFitted:
    n = len(pairs.truth)
    if n <= MAX_PAIRS:
        return pairs
    return pairs.take(np.sort(np.random.default_rng(seed).permutation(n)[:MAX_PAIRS]))


def _input_statistics(components: Components) -> dict[str, Features]:
    """Return the share of each domain, and centre and scale of the evidence; 0 if constant."""
    deviation = components.evidence.std(axis=0)
    factor = np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0.0)
    shares = np.bincount(components.domains) / len(components.domains)
    return {
        "shares": shares.astype(np.float32),
        "centre": components.evidence.mean(axis=0).astype(np.float32),
        "factor": factor.astype(np.float32),
    }


def _inputs(components: Components, shares: Floats, centre: Floats, factor: Floats) -> Floats:
    """Return standardised evidence, and the domain minus the average domain.

    The shape is (n, len(EVIDENCE) + n_domains). An unknown domain counts as average.
    """
    evidence = (components.evidence - centre) * factor
    evidence = np.clip(evidence, -MAX_DEVIATIONS, MAX_DEVIATIONS)
    one_hot = (components.domains[:, None] == np.arange(len(shares))) - shares
    one_hot[components.domains >= len(shares)] = 0
    return np.concatenate([evidence, one_hot], axis=1)


def _gates(components: Components) -> Floats:
    """Return the factors that the outputs are multiplied by, shape (n, OUTPUTS)."""
    gates = np.ones((len(components.bias), OUTPUTS))
    log_counts = components.evidence[:, EVIDENCE.index(USER_RATINGS)]
    share = 1 - np.exp(-log_counts)  # n / (n + 1)
    for name in ITEM_COMPONENTS:
        gates[:, COMPONENTS.index(name)] = share
    gates[:, -1] = share
    return gates


def _train(
    pairs: CrossFitted, mask: Mask, shared: dict[str, Features], seed: int
) -> dict[str, Features]:
    """Train one network on the pairs of a mask, and return its tensors."""
    import torch

    chosen = pairs.take(np.flatnonzero(mask))
    components, generator = chosen.components, torch.Generator().manual_seed(seed)
    statistics = {name: tensor.astype(np.float64) for name, tensor in shared.items()}
    inputs = _tensor(_inputs(components, **statistics))
    values, gates = _tensor(components.values), _tensor(_gates(components))
    residuals = _tensor(chosen.truth - components.sums)
    net = _initial_network(inputs.shape[1], generator)
    steps = max(EPOCHS * (-(-len(residuals) // BATCH_SIZE)), MIN_STEPS)
    optimizer = torch.optim.AdamW(net.values(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)

    def batches(epoch: int) -> Iterator[torch.Tensor]:
        del epoch  # one epoch of all steps, since few pairs make passes of a step or two
        order = torch.empty(0, dtype=torch.long)
        for _ in range(steps):
            if not len(order):
                order = torch.randperm(len(residuals), generator=generator)
            yield order[:BATCH_SIZE]
            order = order[BATCH_SIZE:]

    def loss(batch: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(inputs[batch] @ net["first"] + net["first_bias"])
        out = (hidden @ net["second"] + net["second_bias"]) * gates[batch]
        predicted = (out[:, :-1] * values[batch]).sum(dim=1) + out[:, -1]
        return ((predicted - residuals[batch]) ** 2).mean()

    TrainingLoop(loss, batches, optimizer, 1, schedule=schedule).run()
    return {name: tensor.detach().numpy() for name, tensor in net.items()}


def _initial_network(inputs: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Return the tensors of a network whose outputs are 0."""
    import torch

    tensors = {
        "first": torch.randn(inputs, HIDDEN, generator=generator) / np.sqrt(inputs),
        "first_bias": torch.zeros(HIDDEN),
        "second": torch.zeros(HIDDEN, OUTPUTS),
        "second_bias": torch.zeros(OUTPUTS),
    }
    return {name: tensor.requires_grad_() for name, tensor in tensors.items()}


def _tensor(array: Floats) -> torch.Tensor:
    import torch

    return torch.from_numpy(array.astype(np.float32))
