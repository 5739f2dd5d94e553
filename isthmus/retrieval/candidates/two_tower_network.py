"""The networks of the two-tower model, and the user tower as NumPy for serving."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.numerics.sparse import row_max, row_sum
from isthmus.retrieval.candidates.user_histories import UserHistories

MIN_WEIGHT = 1e-6  # of an entry of a history, before its logarithm is taken


@dataclass(frozen=True)
class TwoTowerShape:
    """Sizes of the two towers.

    Attributes
    ----------
    content : int
        Dimension of the projected features of an item.
    items : int
        Items with an embedding of their own.
    domains : int
        Number of domains.
    dim : int
        Dimension of the user and item vectors.
    """

    content: int
    items: int
    domains: int
    dim: int


class ItemTower(nn.Module):
    """An item vector: an adapter of its content, plus an embedding of the item and its domain.

    The embedding of the item is dropped at times in training, so that a cold-start item has a
    useful vector from its content alone (DropoutNet; Volkovs et al., NeurIPS 2017).
    """

    def __init__(self, shape: TwoTowerShape) -> None:
        super().__init__()
        self.adapter = nn.Sequential(
            nn.Linear(shape.content, 2 * shape.dim), nn.GELU(), nn.Linear(2 * shape.dim, shape.dim)
        )
        self.embedding = nn.Embedding(shape.items, shape.dim)
        self.domain = nn.Embedding(shape.domains, shape.dim)
        nn.init.normal_(self.embedding.weight, std=0.02)
        nn.init.normal_(self.domain.weight, std=0.02)

    def forward(self, items: Tensor, features: Tensor, domains: Tensor, kept: Tensor) -> Tensor:
        """Return item vectors, shape (n, dim).

        Parameters
        ----------
        items : Tensor
            int64, shape (n,); -1 for items without an embedding.
        features : Tensor
            float32, shape (n, content).
        domains : Tensor
            int64, shape (n,).
        kept : Tensor
            bool, shape (n,): items whose embedding is used.
        """
        embedded = self.embedding(items.clamp(min=0)) * (kept & (items >= 0)).unsqueeze(1)
        return torch.as_tensor(self.adapter(features) + self.domain(domains) + embedded)


class TwoTowerNetwork(nn.Module):
    """Both towers. Items have one tower as part of a history and another as candidates.

    A user vector is pooled from the history by attention, whose query is the target domain, then
    passes a small network. The vector of the target domain is added; it is the whole vector of a
    user without a history.
    """

    def __init__(self, shape: TwoTowerShape, dropout: float) -> None:
        super().__init__()
        self.history_items = ItemTower(shape)
        self.candidates = ItemTower(shape)
        self.bias = nn.Embedding(shape.items, 1)
        self.target = nn.Embedding(shape.domains, shape.dim)
        self.has_users: Tensor
        self.register_buffer("has_users", torch.zeros(shape.items, dtype=torch.bool))
        self.same_domain = nn.Parameter(torch.zeros(1))
        self.weight_scale = nn.Parameter(torch.ones(1))
        self.mlp = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(shape.dim, 2 * shape.dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(2 * shape.dim, shape.dim),
        )
        nn.init.zeros_(self.bias.weight)
        nn.init.normal_(self.target.weight, std=0.02)

    def users(
        self,
        history: Tensor,
        owners: Tensor,
        log_weights: Tensor,
        same_domain: Tensor,
        targets: Tensor,
    ) -> Tensor:
        """Return user vectors, shape (n_users, dim).

        Parameters
        ----------
        history : Tensor
            Vectors of the items of all histories, shape (n_entries, dim).
        owners : Tensor
            int64, shape (n_entries,): the user of each entry.
        log_weights : Tensor
            Logarithm of the weight of each entry, shape (n_entries,).
        same_domain : Tensor
            1 where an entry is of the target domain, shape (n_entries,).
        targets : Tensor
            int64, shape (n_users,): the target domain of each user.
        """
        n_users = len(targets)
        query = self.target(targets)  # (n_users, dim)
        logits = (history * query[owners]).sum(1)
        logits = logits + self.weight_scale * log_weights + self.same_domain * same_domain
        top = logits.new_full((n_users,), -torch.inf)
        top = top.scatter_reduce(0, owners, logits.detach(), "amax")
        weights = torch.exp(logits - top[owners])
        total = logits.new_zeros(n_users).index_add(0, owners, weights)
        pooled = history.new_zeros(n_users, history.shape[1])
        pooled = pooled.index_add(0, owners, history * weights[:, None])
        counts = logits.new_zeros(n_users).index_add(0, owners, torch.ones_like(weights))
        # The mean of the history, longer for longer histories.
        pooled = pooled * (torch.log1p(counts) / total.clamp(min=1e-9))[:, None]
        return torch.as_tensor(query + pooled + self.mlp(pooled) * (counts > 0)[:, None])


def network_from(weights: Mapping[str, npt.NDArray[Any]], dropout: float) -> TwoTowerNetwork:
    """Return the network of stored weights, in evaluation mode."""
    items, dim = weights["history_items.embedding.weight"].shape
    shape = TwoTowerShape(
        content=weights["history_items.adapter.0.weight"].shape[1],
        items=items,
        domains=len(weights["target.weight"]),
        dim=dim,
    )
    network = TwoTowerNetwork(shape, dropout)
    tensors = {key: torch.from_numpy(np.array(value)) for key, value in weights.items()}
    network.load_state_dict(tensors)
    return network.eval()


class UserTower:
    """The user tower in NumPy: `TwoTowerNetwork.users` with `ItemTower`, for serving.

    One user is served at a time, and there the calls of PyTorch take ten times as long as what
    they compute.

    Parameters
    ----------
    network : TwoTowerNetwork
        The trained network; later changes of its weights may be missed.
    """

    def __init__(self, network: TwoTowerNetwork) -> None:
        state = {
            name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()
        }
        self._adapter = _Perceptron(network.history_items.adapter)
        self._mlp = _Perceptron(network.mlp)
        self._embedding: FloatArray = state["history_items.embedding.weight"]
        self._has_users: Mask = state["has_users"]
        self._domain: FloatArray = state["history_items.domain.weight"]
        self._target: FloatArray = state["target.weight"]
        self._weight_scale, self._same_domain = state["weight_scale"][0], state["same_domain"][0]

    def vectors(
        self, features: FloatArray, domains: Columns, users: UserHistories, target: int
    ) -> FloatArray:
        """Return the vectors of users for a target domain, float32, shape (n_users, dim).

        Parameters
        ----------
        features : numpy.ndarray
            float32, shape (n_entries, content): projected features of the histories' items.
        domains : numpy.ndarray
            int64, shape (n_entries,): their domains.
        users : UserHistories
            The histories.
        target : int
            Code of the domain.
        """
        query, starts, owners = self._target[target], users.starts, users.owners
        if not len(owners):
            return np.tile(query, (len(users), 1))
        history = self._history_items(features, domains, users.columns)  # (n_entries, dim)
        logits = history @ query + self._weight_scale * np.log(
            np.maximum(users.weights, MIN_WEIGHT)
        )
        logits += self._same_domain * (domains == target)
        weights = np.exp(logits - row_max(logits, starts)[owners])
        counts = np.diff(starts)
        scales = np.log1p(counts) / np.maximum(row_sum(weights, starts), 1e-9)
        history *= weights[:, None]
        pooled = row_sum(history, starts) * scales[:, None].astype(np.float32)
        out = query + pooled
        out[counts > 0] += self._mlp(pooled[counts > 0])
        return np.asarray(out, np.float32)

    def _history_items(
        self, features: FloatArray, domains: Columns, columns: Columns
    ) -> FloatArray:
        """Return the vectors of a history's items, see `ItemTower`."""
        out = self._adapter(features)
        out += self._domain[domains]
        embedded = np.flatnonzero(columns < len(self._has_users))
        embedded = embedded[self._has_users[columns[embedded]]]
        out[embedded] += self._embedding[columns[embedded]]
        return out


class _Perceptron:
    """Two linear layers with a GELU between them."""

    def __init__(self, layers: nn.Sequential) -> None:
        first, last = (layer for layer in layers if isinstance(layer, nn.Linear))
        self._first, self._first_bias = _weights(first)
        self._last, self._last_bias = _weights(last)

    def __call__(self, values: FloatArray) -> FloatArray:
        hidden = torch.from_numpy(values @ self._first + self._first_bias)
        with torch.inference_mode():
            out = nn.functional.gelu(hidden).numpy() @ self._last
        out += self._last_bias
        return np.asarray(out, np.float32)


def _weights(layer: nn.Linear) -> tuple[FloatArray, FloatArray]:
    return layer.weight.detach().cpu().numpy().T, layer.bias.detach().cpu().numpy()
