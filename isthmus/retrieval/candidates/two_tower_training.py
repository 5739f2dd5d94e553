"""Training of the two-tower model on users that are made cold-start users at random."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from isthmus.numerics.arrays import Columns, FloatArray
from isthmus.numerics.negative_sampling import NegativeSampler, sampled_softmax
from isthmus.numerics.sparse import rank_in_rows
from isthmus.numerics.training import Clipping, TrainingLoop, Validation
from isthmus.retrieval.candidates.domain_adaptation import (
    coral_loss,
    domain_loss,
    make_critic,
    mmd_loss,
)
from isthmus.retrieval.candidates.dot_product_index import DotProductIndex
from isthmus.retrieval.candidates.feature_projection import FeatureProjection
from isthmus.retrieval.candidates.scorer import DotProductScorer
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.two_tower_network import (
    MIN_WEIGHT,
    ItemTower,
    TwoTowerNetwork,
    TwoTowerShape,
    UserTower,
)
from isthmus.retrieval.candidates.user_histories import UserHistories

MAX_HISTORY = 100  # visible entries of other domains
MAX_LABELS = 20  # hidden items of a user
SHOWN = (0, 0, 0, 1, 3, 5)  # visible items of the target domain, one of these at random
MAX_HELD_OUT = 500  # users for early stopping
RECALL_AT = 200
MIN_IMPROVEMENT = 1e-6  # of recall
ITEMS_AT_ONCE = 100_000


class Hyperparameters(Protocol):
    """What of `TwoTower` the training reads."""

    dim: int
    epochs: int
    patience: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    dropout: float
    id_dropout: float
    negatives: int
    adversarial: float
    coral: float
    mmd: float
    seed: int


@dataclass(frozen=True, eq=False)
class TwoTowerBatch:
    """Some users, their visible histories, and their hidden items of one domain.

    Attributes
    ----------
    target : int
        Code of the domain.
    users : UserHistories
        The visible histories.
    labels, owners : numpy.ndarray
        int64, shape (n_labels,): the hidden items, and the user of each.
    """

    target: int
    users: UserHistories
    labels: Columns
    owners: Columns


def make_batches(
    data: TrainingData, users: UserHistories, batch_size: int, rng: np.random.Generator
) -> Iterator[TwoTowerBatch]:
    """Yield every user in a batch, with all or all but a few items of a random domain hidden.

    Parameters
    ----------
    data : TrainingData
        For the domains of the items.
    users : UserHistories
        All liked items of the users. Users with one item are left out.
    batch_size : int
        Users a batch; all of a batch have the same target domain.
    rng : numpy.random.Generator
        Of the target domains, the hidden items and the order.
    """
    owners, starts = users.owners, users.starts
    usable = np.flatnonzero(np.diff(starts) > 1)
    # The target domain of a user is that of a random entry.
    entries = (starts[usable] + rng.random(len(usable)) * np.diff(starts)[usable]).astype(np.int64)
    targets = np.full(len(users), -1, np.int64)
    targets[usable] = data.domains[users.columns[entries]]
    in_target = data.domains[users.columns] == targets[owners]
    # The rank of an entry in its user's random order, entries of the target domain first.
    ranks = rank_in_rows(owners, in_target, rng.random(len(owners)))
    counts = np.bincount(owners, in_target, len(users)).astype(np.int64)
    shown = np.minimum(rng.choice(SHOWN, len(users)), counts - 1)
    # Users of one domain only show half of it, or there would be no history.
    single = counts == np.diff(starts)
    shown = np.where(single, np.maximum(shown, np.minimum(counts - 1, counts // 2)), shown)
    visible = np.where(in_target, ranks < shown[owners], ranks < MAX_HISTORY + counts[owners])
    hidden = in_target & ~visible & (ranks < shown[owners] + MAX_LABELS)
    batches = []
    for code in range(len(data.domain_names)):
        rows = rng.permutation(np.flatnonzero(targets == code))
        batches += [(code, rows[i : i + batch_size]) for i in range(0, len(rows), batch_size)]
    context, answers = users.filter(visible), users.filter(hidden)
    for at in rng.permutation(len(batches)):
        code, rows = batches[at]
        labels = answers.take_users(rows)
        yield TwoTowerBatch(code, context.take_users(rows), labels.columns, labels.owners)


def fit_towers(
    settings: Hyperparameters, data: TrainingData, projection: FeatureProjection
) -> tuple[TwoTowerNetwork, FloatArray]:
    """Train both towers; return the best network, and the vectors of items, (n_items, dim)."""
    training = _Training(settings, data, projection)
    network = training.network
    network.train()
    TrainingLoop(
        training.loss,
        training.batches,
        training.optimizer,
        settings.epochs,
        clipping=Clipping(list(network.parameters())),
        model=network,
        validation=Validation(
            training.validate,
            settings.patience,
            min_improvement=MIN_IMPROVEMENT,
            untrained=False,
        ),
    ).run("training the two-tower model")
    network.eval().to("cpu")
    return network, embed_items(network, projection, data, np.arange(len(data)))


def embed_items(
    network: TwoTowerNetwork, projection: FeatureProjection, data: TrainingData, columns: Columns
) -> FloatArray:
    """Return the vectors of items as candidates, with a bias, shape (len(columns), dim + 1)."""
    parts = [np.empty((0, network.target.embedding_dim + 1), np.float32)]
    with torch.inference_mode():
        for start in range(0, len(columns), ITEMS_AT_ONCE):
            part = columns[start : start + ITEMS_AT_ONCE]
            vectors, bias = _candidate_vectors(network, projection, data, part)
            parts.append(torch.cat([vectors, bias[:, None]], 1).numpy())
    return np.concatenate(parts)


class _Training:
    """The state of one training."""

    def __init__(
        self, settings: Hyperparameters, data: TrainingData, projection: FeatureProjection
    ) -> None:
        self.settings, self.data, self.projection = settings, data, projection
        torch.manual_seed(settings.seed)
        self.rng = np.random.default_rng(settings.seed)
        self.generator = torch.Generator().manual_seed(settings.seed)
        n_domains = len(data.domain_names)
        shape = TwoTowerShape(projection.width, len(data), n_domains, settings.dim)
        self.network = TwoTowerNetwork(shape, settings.dropout)
        popularity = torch.from_numpy(np.log(data.popularity + 0.5)).float()
        self.network.bias.weight.data[:] = (popularity - popularity.mean())[:, None]
        self.network.has_users[:] = torch.from_numpy(data.popularity > 0)
        self.features = torch.from_numpy(
            projection.transform(data.features, data.domains, np.arange(len(data)))
        )
        self.domains = torch.tensor(data.domains)
        self.critic = make_critic(settings.dim, n_domains)
        self.optimizer = torch.optim.AdamW(
            [*self.network.parameters(), *self.critic.parameters()],
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
        )
        self.sampler = NegativeSampler(data.popularity, data.domains, n_domains, settings.negatives)
        self._split()

    def _split(self) -> None:
        """Hold users out for early stopping."""
        users = UserHistories.from_interactions(self.data.interactions)
        users = users.filter(users.weights > 0)
        order = self.rng.permutation(len(users))
        n_held_out = min(MAX_HELD_OUT, len(order) // 10)
        self.train_users = users.take_users(np.sort(order[n_held_out:]))
        held_out = users.take_users(np.sort(order[:n_held_out]))
        rng = np.random.default_rng(self.settings.seed + 1)
        self.validation = list(make_batches(self.data, held_out, MAX_HELD_OUT, rng))

    def batches(self, epoch: int) -> Iterator[TwoTowerBatch]:
        """Return the batches of an epoch; those without labels are left out."""
        del epoch  # the order follows from the state of the random number generator
        users, batch_size = self.train_users, self.settings.batch_size
        batches = make_batches(self.data, users, batch_size, self.rng)
        return (batch for batch in batches if len(batch.labels))

    def validate(self) -> dict[str, float]:
        """Return recall@200 of the held-out users."""
        self.network.eval()
        recall = self._recall()
        self.network.train()
        return {"recall@200": recall}

    def _item_vectors(self, tower: ItemTower, items: Tensor) -> Tensor:
        """Return item vectors, shape (n, dim), with dropped embeddings."""
        chance = torch.rand(len(items), generator=self.generator) >= self.settings.id_dropout
        kept = self.network.has_users[items] & chance
        return torch.as_tensor(tower(items, self.features[items], self.domains[items], kept))

    def loss(self, batch: TwoTowerBatch) -> Tensor:
        """Return the sampled softmax loss of a batch, and the domain adaptation loss."""
        columns, log_q = self.sampler.sample(batch.target, self.rng)
        sampled, labels = torch.from_numpy(columns), torch.from_numpy(batch.labels)
        owners = torch.from_numpy(batch.owners)
        network, candidates = self.network, self.network.candidates
        history = self._item_vectors(network.history_items, torch.from_numpy(batch.users.columns))
        users = _user_vectors(network, history, self.data, batch.users, batch.target)
        sampled_vectors = self._item_vectors(candidates, sampled)  # (n_sampled, dim)
        label_vectors = self._item_vectors(candidates, labels)  # (n_labels, dim)
        bias = network.bias.weight[:, 0]
        negatives = users @ sampled_vectors.T + bias[sampled]  # (n_users, n_sampled)
        positives = (users[owners] * label_vectors).sum(1) + bias[labels]  # (n_labels,)
        is_positive = _is_positive(owners, labels, sampled, len(users))
        losses = sampled_softmax(positives, owners, negatives, log_q, is_positive)
        counts = torch.bincount(owners, minlength=len(users)).float()
        loss = (losses / counts[owners]).sum() / (counts > 0).sum()  # each user counts once
        return loss + self._adaptation_loss()

    def _adaptation_loss(self) -> Tensor:
        """Return the weighted losses that make the content of all domains comparable."""
        settings, total = self.settings, torch.zeros(())
        if not (settings.adversarial or settings.coral or settings.mmd):
            return total
        n = (settings.batch_size * 2,)
        items = torch.randint(len(self.features), n, generator=self.generator)
        adapted = self.network.history_items.adapter(self.features[items])
        domains = self.domains[items]
        if settings.adversarial:
            total = total + domain_loss(self.critic, adapted, domains, settings.adversarial)
        if settings.coral:
            total = total + settings.coral * coral_loss(adapted, domains)
        if settings.mmd:
            total = total + settings.mmd * mmd_loss(adapted, domains)
        return total

    def _recall(self) -> float:
        """Return recall@200 of the held-out users, over all their hidden items."""
        if not self.validation:
            return 0.0
        n_items = len(self.data)
        items = embed_items(self.network, self.projection, self.data, np.arange(n_items))
        n_hits, n_labels = 0, 0
        for batch in self.validation:
            users = self._embed_users(batch.users, batch.target)
            users = np.concatenate([users, np.ones((len(users), 1), np.float32)], axis=1)
            allowed = self.data.in_domain(batch.target)
            index = DotProductIndex(np.flatnonzero(allowed), items)
            scorer = DotProductScorer(users, items, index)
            top = scorer.top_k(RECALL_AT, allowed, batch.users.seen(n_items))
            retrieved = np.repeat(np.arange(len(users)), np.diff(top.starts)) * n_items + top.items
            n_hits += int(np.isin(batch.owners * n_items + batch.labels, retrieved).sum())
            n_labels += len(batch.labels)
        return n_hits / max(1, n_labels)

    def _embed_users(self, users: UserHistories, target: int) -> FloatArray:
        """Return the vectors of users for a target domain, shape (n_users, dim)."""
        columns, data = users.columns, self.data
        features = self.projection.transform(data.features, data.domains, columns)
        return UserTower(self.network).vectors(features, data.domains[columns], users, target)


def _is_positive(owners: Tensor, labels: Tensor, sampled: Tensor, n_users: int) -> Tensor:
    """Return whether a sampled item is a label of the user, shape (n_users, n_sampled)."""
    at = torch.searchsorted(sampled, labels).clamp(max=max(0, len(sampled) - 1))
    found = sampled[at] == labels
    out = torch.zeros(n_users, len(sampled), dtype=torch.bool)
    out[owners[found], at[found]] = True
    return out


def _candidate_vectors(
    network: TwoTowerNetwork, projection: FeatureProjection, data: TrainingData, columns: Columns
) -> tuple[Tensor, Tensor]:
    """Return vectors and biases of items; new items have the lowest bias."""
    items, kept = _embeddings_of(network, columns)
    features = torch.from_numpy(projection.transform(data.features, data.domains, columns))
    domains = torch.from_numpy(data.domains[columns])
    bias = network.bias.weight[:, 0]
    biases = torch.where(items >= 0, bias[items.clamp(min=0)], bias.min())
    return network.candidates(items, features, domains, kept), biases


def _embeddings_of(network: TwoTowerNetwork, columns: Columns) -> tuple[Tensor, Tensor]:
    """Return the row of each item's embedding, -1 for new items, and whether it is used."""
    fitted = len(network.bias.weight)
    items = torch.from_numpy(np.where(columns < fitted, columns, -1))
    return items, network.has_users[items.clamp(min=0)] & (items >= 0)


def _user_vectors(
    network: TwoTowerNetwork,
    history: Tensor,
    data: TrainingData,
    users: UserHistories,
    target: int,
) -> Tensor:
    """Return user vectors, shape (n_users, dim), from the vectors of their histories' items."""
    log_weights = torch.from_numpy(np.log(np.maximum(users.weights, MIN_WEIGHT)))
    same = torch.from_numpy((data.domains[users.columns] == target).astype(np.float32))
    targets = torch.full((len(users),), target, dtype=torch.int64)
    return network.users(history, torch.from_numpy(users.owners), log_weights, same, targets)
