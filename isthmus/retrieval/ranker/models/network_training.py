"""Training of the network of a ranker, with PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.numerics.arrays import ArrayState, Columns, FloatArray
from isthmus.numerics.training import Clipping, TrainingLoop, linear_decay
from isthmus.retrieval.ranker.examples import Examples
from isthmus.retrieval.ranker.models.model import Scaling
from isthmus.retrieval.ranker.settings import TrainingSettings

TEMPERATURE = 2.0
LABEL_WEIGHT = 0.3


class RankerNetwork(nn.Module):
    """Networks of one hidden layer beside a linear part, one for each member.

    Parameters
    ----------
    n_features : int
        Number of features.
    settings : TrainingSettings
        Members, hidden units and dropout.
    """

    def __init__(self, n_features: int, settings: TrainingSettings) -> None:
        super().__init__()
        self.members, self.hidden = settings.members, settings.hidden
        width = self.members * self.hidden
        self.first = nn.Parameter(torch.randn(n_features, width) * n_features**-0.5)
        self.bias = nn.Parameter(torch.zeros(width))
        self.last = nn.Parameter(0.1 * torch.randn(self.members, self.hidden) * self.hidden**-0.5)
        self.linear = nn.Parameter(torch.zeros(n_features, self.members))
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Return the scores of candidates by each member, shape (n_candidates, members)."""
        hidden = self.dropout(torch.relu(features @ self.first + self.bias))
        hidden = hidden.view(len(features), self.members, self.hidden)
        return torch.as_tensor((hidden * self.last).sum(dim=2) + features @ self.linear)


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
    torch.manual_seed(settings.seed)
    network = RankerNetwork(len(examples.columns), settings)
    before = {key: torch.from_numpy(np.array(value)) for key, value in (start or {}).items()}
    network.load_state_dict(before, strict=False)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    rows = examples.informative
    steps = -(-len(rows) // settings.batch_size) * settings.epochs

    def batches(epoch: int) -> Iterator[Columns]:
        order = np.random.default_rng([settings.seed, epoch]).permutation(rows)
        for first in range(0, len(order), settings.batch_size):
            yield order[first : first + settings.batch_size]

    draws = np.random.default_rng(settings.seed)
    # Numbers of the candidates in place of their items, to find their targets.
    numbered = replace(examples, items=np.arange(len(examples.items)))

    def loss(batch: Columns) -> Tensor:
        part, corrections = numbered.sampled(batch, settings.sampled_candidates, draws)
        scores = network(torch.from_numpy(scaling.apply(part.features)))
        lists = _Lists(np.diff(part.starts))
        labels = lists.padded(torch.from_numpy(part.labels), value=False)
        # A candidate that was sampled with probability q stands for 1 / q candidates.
        corrected = scores + torch.from_numpy(corrections)[:, None]
        padded = lists.padded(corrected, -torch.inf)  # (n_users, n_candidates, members)
        if targets is None:
            return listwise_loss(padded, labels)
        taught = lists.padded(torch.from_numpy(targets[part.items]), -torch.inf)
        weights = lists.padded(torch.from_numpy(corrections), 0.0)
        apart = divergence(taught, lists.padded(scores, -torch.inf), weights)
        return apart + LABEL_WEIGHT * listwise_loss(padded, labels)

    TrainingLoop(
        loss,
        batches,
        optimizer,
        settings.epochs,
        schedule=linear_decay(optimizer, steps),
        clipping=Clipping(list(network.parameters())),
        model=network,
    ).run()
    return {key: value.numpy() for key, value in network.state_dict().items()}


class _Lists:
    """Pads the candidates of users to equal length."""

    def __init__(self, lengths: Columns) -> None:
        owners = np.repeat(np.arange(len(lengths)), lengths)
        places = np.arange(len(owners)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        self._at = torch.from_numpy(owners), torch.from_numpy(places)
        self._shape = len(lengths), int(lengths.max(initial=0))

    def padded(self, values: Tensor, value: float) -> Tensor:
        """Return rows of equal length, shape (n_users, max_length, ...)."""
        out = values.new_full((*self._shape, *values.shape[1:]), value)
        return out.index_put(self._at, values)


def listwise_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Return minus the mean log-probability of the positives, summed over the members.

    Parameters
    ----------
    scores : Tensor
        Shape (n_users, n_candidates, members); padding is -inf.
    labels : Tensor
        bool, shape (n_users, n_candidates).
    """
    logs = torch.log_softmax(scores, dim=1).masked_fill(~labels[:, :, None], 0)
    means = logs.sum(dim=1) / labels.sum(dim=1).clamp(min=1)[:, None]
    return -means.mean(dim=0).sum()


def divergence(taught: Tensor, scores: Tensor, corrections: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence of softmaxes from that of a teacher.

    Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network" (2015), over lists as
    in "Ranking distillation" (Tang and Wang, KDD 2018). It is multiplied by the square of the
    temperature, so that the size of the gradient does not depend on it.

    Parameters
    ----------
    taught : Tensor
        Scores of the teacher, shape (n_users, n_candidates); padding is -inf.
    scores : Tensor
        Shape (n_users, n_candidates, members); padding is -inf.
    corrections : Tensor
        Shape (n_users, n_candidates): minus the logarithm of the probability with which each
        candidate was sampled.
    """
    padding = torch.isinf(taught)
    goal_logs = torch.log_softmax(taught / TEMPERATURE + corrections, dim=1)
    goal = torch.exp(goal_logs)
    goal_logs = goal_logs.masked_fill(padding, 0)
    logs = torch.log_softmax(scores / TEMPERATURE + corrections[:, :, None], dim=1)
    logs = logs.masked_fill(padding[:, :, None], 0)
    apart = (goal[:, :, None] * (goal_logs[:, :, None] - logs)).sum(dim=1)
    return TEMPERATURE**2 * apart.mean(dim=0).sum()
