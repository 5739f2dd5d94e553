"""The user's tower as it serves: the arithmetic of `TwoTowerNetwork.users`, in a few products.

A list is made for one user at a time, and there PyTorch's calls cost ten times what they do.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.numerics.sparse import row_maxima, row_sums
from isthmus.retrieval.candidates.two_tower_model import TwoTowerNetwork
from isthmus.retrieval.candidates.user_histories import UserHistories

FEW = 1e-6


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
        weights = np.exp(logits - row_maxima(logits, starts)[owners])
        counts = np.diff(starts)
        share = np.log1p(counts) / np.maximum(row_sums(weights, starts), 1e-9)
        known *= weights[:, None]
        pooled = row_sums(known, starts) * share[:, None].astype(np.float32)
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
