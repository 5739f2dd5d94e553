"""Training of the network of a ranker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from isthmus.numerics.adamw import AdamW, ComputedLoss
from isthmus.numerics.arrays import ArrayState, Columns, FloatArray
from isthmus.numerics.listwise import cross_entropy, label_shares, log_softmax
from isthmus.numerics.training import TrainingLoop
from isthmus.retrieval.ranker.examples import Examples
from isthmus.retrieval.ranker.models.model import Scaling
from isthmus.retrieval.ranker.settings import TrainingSettings

TEMPERATURE = 2.0
LABEL_WEIGHT = 0.3


class Activations(NamedTuple):
    """What the gradients of a batch need of its scores.

    Attributes
    ----------
    inputs : numpy.ndarray
        float32, shape (n_candidates, n_features).
    hidden : numpy.ndarray
        float32, shape (n_candidates, members, hidden): after dropout.
    passed : numpy.ndarray
        float32, in the shape of `hidden`: by how much each unit passes a change on; 0 if it is
        off or dropped.
    """

    inputs: FloatArray
    hidden: FloatArray
    passed: FloatArray


class RankerNetwork:
    """Networks of one hidden layer beside a linear part, one for each member.

    Parameters
    ----------
    n_features : int
        Number of features.
    settings : TrainingSettings
        Members, hidden units and dropout.
    random : numpy.random.Generator
        Of the initial parameters and of dropout.
    """

    def __init__(
        self, n_features: int, settings: TrainingSettings, random: np.random.Generator
    ) -> None:
        members, hidden = settings.members, settings.hidden
        first = random.standard_normal((n_features, members * hidden), np.float32)
        last = random.standard_normal((members, hidden), np.float32)
        self.parameters: ArrayState = {
            "first": first * np.float32(n_features**-0.5),
            "bias": np.zeros(members * hidden, np.float32),
            "last": last * np.float32(0.1 * hidden**-0.5),
            "linear": np.zeros((n_features, members), np.float32),
        }
        self._kept, self._random = 1 - settings.dropout, random

    def scores(self, inputs: FloatArray) -> tuple[FloatArray, Activations]:
        """Return the scores of candidates by each member, shape (n_candidates, members)."""
        weights = self.parameters
        hidden = inputs @ weights["first"] + weights["bias"]
        passed = (hidden > 0).astype(np.float32)
        if self._kept < 1:
            passed *= self._random.random(passed.shape, np.float32) < self._kept
            passed /= self._kept
        shape = (len(inputs), *weights["last"].shape)  # (n_candidates, members, hidden)
        hidden, passed = (hidden * passed).reshape(shape), passed.reshape(shape)
        scores = (hidden * weights["last"]).sum(axis=2) + inputs @ weights["linear"]
        return scores, Activations(inputs, hidden, passed)

    def gradients(self, by_scores: FloatArray, seen: Activations) -> ArrayState:
        """Return the gradients by the parameters, from those by the scores."""
        by_hidden = by_scores[:, :, None] * self.parameters["last"] * seen.passed
        by_hidden = by_hidden.reshape(len(by_scores), -1)  # (n_candidates, members * hidden)
        return {
            "first": seen.inputs.T @ by_hidden,
            "bias": by_hidden.sum(axis=0),
            "last": (by_scores[:, :, None] * seen.hidden).sum(axis=0),
            "linear": seen.inputs.T @ by_scores,
        }


def train_network(
    examples: Examples,
    scaling: Scaling,
    settings: TrainingSettings,
    *,
    start: Mapping[str, FloatArray] | None = None,
    targets: FloatArray | None = None,
) -> ArrayState:
    """Train a network, and return its parameters by name.

    Parameters
    ----------
    examples : Examples
        What it learns from.
    scaling : Scaling
        Of the features.
    settings : TrainingSettings
        Hyperparameters.
    start : mapping of str to numpy.ndarray, optional
        Parameters to go on from; the others are random.
    targets : numpy.ndarray, optional
        float32, shape (n_candidates,): scores of a teacher. The loss is then the Kullback-Leibler
        divergence from its softmax, and a part of that of the labels.
    """
    network = RankerNetwork(len(examples.columns), settings, np.random.default_rng(settings.seed))
    for name, values in (start or {}).items():
        network.parameters[name] = np.array(values, np.float32)
    rows = examples.informative
    optimizer = AdamW(
        network.parameters,
        settings.learning_rate,
        weight_decay=settings.weight_decay,
        steps=-(-len(rows) // settings.batch_size) * settings.epochs,
    )

    def batches(epoch: int) -> Iterator[Columns]:
        order = np.random.default_rng([settings.seed, epoch]).permutation(rows)
        for first in range(0, len(order), settings.batch_size):
            yield order[first : first + settings.batch_size]

    rng = np.random.default_rng(settings.seed)
    # Numbers of the candidates in place of their items, to find their targets.
    numbered = replace(examples, items=np.arange(len(examples.items)))

    def loss(batch: Columns) -> ComputedLoss:
        part, corrections = numbered.sampled(batch, settings.sampled_candidates, rng)
        scores, seen = network.scores(scaling.apply(part.features))
        # A candidate that was sampled with probability q stands for 1 / q candidates.
        corrections = corrections[:, None]
        shares = label_shares(part.labels, part.starts)[:, None]
        value, by_scores = cross_entropy(scores + corrections, shares, part.starts)
        if targets is not None:
            taught = targets[part.items][:, None]
            apart, by_apart = divergence(taught, scores, corrections, part.starts)
            value = apart + LABEL_WEIGHT * value
            by_scores = by_apart + np.float32(LABEL_WEIGHT) * by_scores
        return ComputedLoss(value, network.gradients(by_scores, seen), optimizer)

    TrainingLoop(loss, batches, optimizer, settings.epochs).run()
    return network.parameters


def divergence(
    taught: FloatArray, scores: FloatArray, corrections: FloatArray, starts: Columns
) -> tuple[float, FloatArray]:
    """Return the Kullback-Leibler divergence of softmaxes from that of a teacher.

    Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network" (2015), over lists as
    in "Ranking distillation" (Tang and Wang, KDD 2018). It is multiplied by the square of the
    temperature, so that the size of the gradient does not depend on it.

    Parameters
    ----------
    taught : numpy.ndarray
        float32, shape (n_candidates, 1): scores of the teacher.
    scores : numpy.ndarray
        float32, shape (n_candidates, members).
    corrections : numpy.ndarray
        float32, shape (n_candidates, 1): minus the logarithm of the probability with which each
        candidate was sampled.
    starts : numpy.ndarray
        int64, shape (n_users + 1,): where the candidates of each user begin.

    Returns
    -------
    divergence, gradient
        The mean over users, summed over members, and its gradient by the scores.
    """
    goal_logs = log_softmax(taught / np.float32(TEMPERATURE) + corrections, starts)
    goal = np.exp(goal_logs)
    crossed, gradient = cross_entropy(scores / np.float32(TEMPERATURE) + corrections, goal, starts)
    entropy = -float((goal * goal_logs).sum(dtype=np.float64)) / max(1, len(starts) - 1)
    apart = TEMPERATURE**2 * (crossed - scores.shape[1] * entropy)
    return apart, gradient * np.float32(TEMPERATURE)
