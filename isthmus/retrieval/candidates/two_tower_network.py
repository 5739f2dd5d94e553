"""The two towers: a user's history and an item, each made one vector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.numerics.sparse import row_max, row_sum
from isthmus.retrieval.candidates.user_histories import UserHistories

FEW = 1e-6


@dataclass(frozen=True)
class TwoTowerShape:
    """Sizes of the two towers.

    Attributes
    ----------
    content : int
        Length of an item's mapped content.
    items : int
        Items that have a residual of their own.
    domains : int
        Number of domains.
    dim : int
        Length of the vectors that are multiplied.
    """

    content: int
    items: int
    domains: int
    dim: int


class ItemTower(nn.Module):
    """An item: a content adapter plus a residual of its own, dropped in training at times.

    So an item that nobody ever used still has a place, by its content (DropoutNet, Volkovs et
    al., NeurIPS 2017).
    """

    def __init__(self, shape: TwoTowerShape) -> None:
        super().__init__()
        self.adapter = nn.Sequential(
            nn.Linear(shape.content, 2 * shape.dim), nn.GELU(), nn.Linear(2 * shape.dim, shape.dim)
        )
        self.residual = nn.Embedding(shape.items, shape.dim)
        self.domain = nn.Embedding(shape.domains, shape.dim)
        nn.init.normal_(self.residual.weight, std=0.02)
        nn.init.normal_(self.domain.weight, std=0.02)

    def forward(self, items: Tensor, contents: Tensor, domains: Tensor, kept: Tensor) -> Tensor:
        """Give the vectors of items.

        Parameters
        ----------
        items : Tensor
            int64, shape (n,); -1 for items without a residual.
        contents : Tensor
            float32, shape (n, content).
        domains : Tensor
            int64, shape (n,).
        kept : Tensor
            bool, shape (n,): whose residuals count.
        """
        own = self.residual(items.clamp(min=0)) * (kept & (items >= 0)).unsqueeze(1)
        return torch.as_tensor(self.adapter(contents) + self.domain(domains) + own)


class TwoTowerNetwork(nn.Module):
    """Users and items in one space of products.

    A user's vector is pooled from the history by attention that knows the domain asked for,
    strength and recency, then passes a small network; the domain's mean user is added, which is
    all that is left of a user without a history.
    """

    def __init__(self, shape: TwoTowerShape, dropout: float) -> None:
        super().__init__()
        self.known = ItemTower(shape)
        self.offered = ItemTower(shape)
        self.bias = nn.Embedding(shape.items, 1)
        self.asked = nn.Embedding(shape.domains, shape.dim)
        self.used: Tensor
        self.register_buffer("used", torch.zeros(shape.items, dtype=torch.bool))
        self.same = nn.Parameter(torch.zeros(1))
        self.strength = nn.Parameter(torch.ones(1))
        self.mix = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(shape.dim, 2 * shape.dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(2 * shape.dim, shape.dim),
        )
        nn.init.zeros_(self.bias.weight)
        nn.init.normal_(self.asked.weight, std=0.02)

    def users(
        self, known: Tensor, owners: Tensor, logs: Tensor, same: Tensor, asked: Tensor
    ) -> Tensor:
        """Give the vectors of users.

        Parameters
        ----------
        known : Tensor
            Vectors of the items of all histories, shape (n_entries, dim).
        owners : Tensor
            int64, shape (n_entries,): the user of each.
        logs : Tensor
            Logarithm of the weight of each, shape (n_entries,).
        same : Tensor
            1 where an entry is of the domain asked for, shape (n_entries,).
        asked : Tensor
            int64, shape (n_users,): the domain asked for.
        """
        users = len(asked)
        wish = self.asked(asked)
        logits = (known * wish[owners]).sum(1) + self.strength * logs + self.same * same
        top = logits.new_full((users,), -torch.inf)
        top = top.scatter_reduce(0, owners, logits.detach(), "amax")
        weights = torch.exp(logits - top[owners])
        total = logits.new_zeros(users).index_add(0, owners, weights)
        pooled = known.new_zeros(users, known.shape[1])
        pooled = pooled.index_add(0, owners, known * weights[:, None])
        counts = logits.new_zeros(users).index_add(0, owners, torch.ones_like(weights))
        pooled = pooled * (torch.log1p(counts) / total.clamp(min=1e-9))[:, None]
        return torch.as_tensor(wish + pooled + self.mix(pooled) * (counts > 0)[:, None])


class UserTower:
    """Gives users the vectors that two towers have for them.

    Parameters
    ----------
    model : TwoTowers
        What was learned; later changes of its weights are seen or not.
    """

    def __init__(self, model: TwoTowerNetwork) -> None:
        state = {name: own.detach().cpu().numpy() for name, own in model.state_dict().items()}
        self._adapter = _Perceptron(model.known.adapter)
        self._mix = _Perceptron(model.mix)
        self._residual: FloatArray = state["known.residual.weight"]
        self._used: Mask = state["used"]
        self._domain: FloatArray = state["known.domain.weight"]
        self._asked: FloatArray = state["asked.weight"]
        self._strength, self._same = state["strength"][0], state["same"][0]

    def vectors(
        self, contents: FloatArray, domains: Columns, histories: UserHistories, target: int
    ) -> FloatArray:
        """Give the vectors of users who ask for a domain, float32, shape (n_users, dim).

        Parameters
        ----------
        contents : numpy.ndarray
            float32, shape (n_entries, content): mapped contents of the histories' items.
        domains : numpy.ndarray
            int64, shape (n_entries,): their domains.
        histories : Histories
            The users.
        target : int
            Code of the domain.
        """
        wish, starts, owners = self._asked[target], histories.starts, histories.owners
        if not len(owners):
            return np.tile(wish, (len(histories), 1))
        known = self._known(contents, domains, histories.columns)
        logits = known @ wish + self._strength * np.log(np.maximum(histories.weights, FEW))
        logits += self._same * (domains == target)
        weights = np.exp(logits - row_max(logits, starts)[owners])
        counts = np.diff(starts)
        share = np.log1p(counts) / np.maximum(row_sum(weights, starts), 1e-9)
        known *= weights[:, None]
        pooled = row_sum(known, starts) * share[:, None].astype(np.float32)
        out = wish + pooled
        out[counts > 0] += self._mix(pooled[counts > 0])
        return np.asarray(out, np.float32)

    def _known(self, contents: FloatArray, domains: Columns, columns: Columns) -> FloatArray:
        """Give the vectors of a history's items, see `ItemSide`."""
        out = self._adapter(contents)
        out += self._domain[domains]
        learned = np.flatnonzero(columns < len(self._used))
        learned = learned[self._used[columns[learned]]]
        out[learned] += self._residual[columns[learned]]
        return out


class _Perceptron:
    """Two linear layers with a GELU between them."""

    def __init__(self, layers: nn.Sequential) -> None:
        first, last = (layer for layer in layers if isinstance(layer, nn.Linear))
        self._first, self._first_bias = _weights(first)
        self._last, self._last_bias = _weights(last)

    def __call__(self, values: FloatArray) -> FloatArray:
        inner = torch.from_numpy(values @ self._first + self._first_bias)
        with torch.inference_mode():
            out = nn.functional.gelu(inner).numpy() @ self._last
        out += self._last_bias
        return np.asarray(out, np.float32)


def _weights(layer: nn.Linear) -> tuple[FloatArray, FloatArray]:
    return layer.weight.detach().cpu().numpy().T, layer.bias.detach().cpu().numpy()
