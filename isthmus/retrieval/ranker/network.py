"""The network of a ranker: an ensemble over features and an attention over the history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from isthmus.retrieval.ranker.features import POPULARITY

ATTENTION_FEATURES = 4
TRAITS = ("log strength", "log recency", "in domain")
ATTENDED_TRAITS = (TRAITS.index("log strength"), TRAITS.index("in domain"))
SHARPNESS = 10.0
MAX_DEVIATIONS = 8.0
POPULARITY_SCALE = 10.0


@dataclass(frozen=True)
class NetworkShape:
    """Sizes of a network, apart from the features that it reads.

    Attributes
    ----------
    content : int
        Length of coarse contents.
    hidden : int
        Hidden units.
    rank : int
        Rank of the crosses.
    attention : int
        Length of keys and queries.
    members : int
        Networks that are averaged.
    """

    content: int
    hidden: int = 64
    rank: int = 16
    attention: int = 32
    members: int = 3


@dataclass(frozen=True, eq=False)
class Batch:
    """Candidates and histories of some users, padded.

    Attributes
    ----------
    features : Tensor
        float32, shape (n_users, n_candidates, n_features).
    mask : Tensor
        bool, shape (n_users, n_candidates): which are candidates, not padding.
    evidence : Tensor
        float32, shape (n_users,): ``log(1 + n)`` of the number of liked items.
    candidate_contents : Tensor
        float32, shape (n_users, n_candidates, content).
    history_contents : Tensor
        float32, shape (n_users, n_history, content).
    history_traits : Tensor
        float32, shape (n_users, n_history, 3), see `TRAITS`.
    history_mask : Tensor
        bool, shape (n_users, n_history): which are entries, not padding.
    """

    features: Tensor
    mask: Tensor
    evidence: Tensor
    candidate_contents: Tensor
    history_contents: Tensor
    history_traits: Tensor
    history_mask: Tensor

    def to(self, device: str) -> Batch:
        """Return the batch on a device."""
        return Batch(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


class Attention(nn.Module):
    """Attention of a candidate over the history, by content, domain, strength and recency.

    As in the deep interest network (Zhou et al., KDD 2018), over contents, which do not change
    when the candidate generators are trained again.
    """

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.query = nn.Linear(shape.content, shape.attention, bias=False)
        self.key = nn.Linear(shape.content, shape.attention, bias=False)
        self.traits = nn.Linear(len(TRAITS), 1)
        self.scale = shape.attention**-0.5

    def weights(self, batch: Batch) -> Tensor:
        """Return the attention weights, shape (n_users, n_candidates, n_history)."""
        queries = self.query(batch.candidate_contents)
        keys = self.key(batch.history_contents)
        logits = queries @ keys.transpose(1, 2) * self.scale
        logits = logits * SHARPNESS + self.traits(batch.history_traits).transpose(1, 2)
        logits = logits.masked_fill(~batch.history_mask[:, None], -torch.inf)
        return torch.nan_to_num(torch.softmax(logits, dim=2))  # of an empty history all are NaN

    def forward(self, batch: Batch) -> Tensor:
        """Return features from the attention, shape (n_users, n_candidates, 4).

        They are the mean cosine, the largest weight, and the mean of two traits, over the history.
        """
        cosines = batch.candidate_contents @ batch.history_contents.transpose(1, 2)
        weights = self.weights(batch)
        features = [
            (weights * cosines).sum(2),
            weights.amax(2) if weights.shape[2] else weights.sum(2),
            *((weights * batch.history_traits[:, None, :, i]).sum(2) for i in ATTENDED_TRAITS),
        ]
        return torch.stack(features, dim=2)


class EnsembleMember(nn.Module):
    """The sum of a linear part, low-rank crosses and a multi-layer perceptron.

    The crosses are those of DCN-V2 (Wang et al., WWW 2021).
    """

    def __init__(self, n_features: int, shape: NetworkShape, dropout: float) -> None:
        super().__init__()
        width = n_features + ATTENTION_FEATURES
        self.linear = nn.Linear(width, 1)
        self.down = nn.ModuleList([nn.Linear(width, shape.rank, bias=False) for _ in range(2)])
        self.up = nn.ModuleList([nn.Linear(shape.rank, width) for _ in range(2)])
        self.crossed = nn.Linear(width, 1, bias=False)
        self.deep = nn.Sequential(
            nn.Linear(width, shape.hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(shape.hidden, shape.hidden // 2),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(shape.hidden // 2, 1),
        )
        for up in self.up:
            nn.init.normal_(up.weight, std=0.01)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """Return the score of each candidate, shape (n_users, n_candidates)."""
        crossed = features  # (n_users, n_candidates, width)
        for down, up in zip(self.down, self.up, strict=True):
            crossed = features * up(down(crossed)) + crossed
        total = self.linear(features) + self.crossed(crossed) + self.deep(features)
        return torch.as_tensor(total.squeeze(2))


class RankerNetwork(nn.Module):
    """The score of a candidate: its popularity, plus an ensemble gated by the evidence.

    The ensemble is multiplied by ``1 - exp(-rate * log(1 + n))``, with n the number of liked items
    of the user: without any, the order is exactly that of popularity.

    Parameters
    ----------
    features : sequence of str
        Names of the features that it reads; popularity must be among them.
    shape : NetworkShape
        Sizes.
    dropout : float
        Dropout probability while training.
    """

    def __init__(self, features: Sequence[str], shape: NetworkShape, dropout: float = 0.2) -> None:
        super().__init__()
        self.features, self.shape = tuple(features), shape
        self.popularity_column = self.features.index(POPULARITY)
        self.version = 0  # counts changes of mode; the weights are constant in between
        self.attention = Attention(shape)
        self.members = nn.ModuleList(
            [EnsembleMember(len(self.features), shape, dropout) for _ in range(shape.members)]
        )
        self.popularity_weight = nn.Parameter(torch.full((shape.members,), 1.0))
        self.gate_rate = nn.Parameter(torch.full((shape.members,), 1.0))
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(len(self.features)))
        self.register_buffer("deviation", torch.ones(len(self.features)))

    def train(self, mode: bool = True) -> Self:
        """Switch between training and use."""
        self.version += 1
        return super().train(mode)

    def forward(self, batch: Batch) -> Tensor:
        """Return the score by each member, shape (members, n_users, n_candidates)."""
        standardised = (batch.features - self.mean) / self.deviation
        standardised = standardised.clamp(-MAX_DEVIATIONS, MAX_DEVIATIONS)
        # of shape (n_users, n_candidates, n_features + 4)
        inputs = torch.cat([standardised, self.attention(batch)], dim=2)
        popularity = batch.features[:, :, self.popularity_column] * POPULARITY_SCALE
        scores = []
        for at, member in enumerate(self.members):
            gate = 1 - torch.exp(-nn.functional.softplus(self.gate_rate[at]) * batch.evidence)
            weight = nn.functional.softplus(self.popularity_weight[at])
            scores.append(weight * popularity + gate[:, None] * member(inputs))
        return torch.stack(scores)

    def score(self, batch: Batch) -> Tensor:
        """Return the mean score of the members, shape (n_users, n_candidates); padding is -inf."""
        return torch.as_tensor(self(batch).mean(dim=0).masked_fill(~batch.mask, -torch.inf))
