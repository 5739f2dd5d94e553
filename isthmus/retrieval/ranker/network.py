"""The network of the ranking head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

ATTENDED = 4
TOLD_TRAITS = (0, 2)  # logarithm of strength, and whether it is of the domain asked for
SHARPNESS = 10.0
CLAMPED = 8.0
POPULARITY_SCALE = 10.0


@dataclass(frozen=True)
class HeadShape:
    """Sizes of a head.

    Attributes
    ----------
    features : int
        Number of features of a candidate that it looks at, the first ones.
    popularity : int
        Place of the feature that it shrinks to.
    content : int
        Length of mapped contents.
    hidden : int
        Width of the network.
    rank : int
        Rank of the crosses.
    attention : int
        Length of keys and queries.
    members : int
        Networks that are averaged.
    """

    features: int
    popularity: int
    content: int
    hidden: int = 64
    rank: int = 16
    attention: int = 32
    members: int = 3


@dataclass(frozen=True, eq=False)
class Batch:
    """Candidates of some users, padded, and the users' histories, padded.

    Attributes
    ----------
    features : Tensor
        float32, shape (n_users, n_candidates, n_features).
    mask : Tensor
        bool, shape (n_users, n_candidates): which are candidates.
    evidence : Tensor
        float32, shape (n_users,): logarithm of one plus what is known of each.
    offered : Tensor
        float32, shape (n_users, n_candidates, content): contents of the candidates.
    known : Tensor
        float32, shape (n_users, n_history, content): contents of the history.
    traits : Tensor
        float32, shape (n_users, n_history, 3): logarithm of strength, logarithm of recency, and
        1 where it is of the domain asked for.
    present : Tensor
        bool, shape (n_users, n_history).
    """

    features: Tensor
    mask: Tensor
    evidence: Tensor
    offered: Tensor
    known: Tensor
    traits: Tensor
    present: Tensor

    def to(self, device: str) -> Batch:
        """Move everything to a device."""
        return Batch(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


class Attention(nn.Module):
    """Each candidate looks at the history: at what is like it, of which domain, strong, recent.

    As in the deep interest network (Zhou et al., KDD 2018), on contents, which do not change when
    the sources are taught anew.
    """

    def __init__(self, shape: HeadShape) -> None:
        super().__init__()
        self.query = nn.Linear(shape.content, shape.attention, bias=False)
        self.key = nn.Linear(shape.content, shape.attention, bias=False)
        self.traits = nn.Linear(3, 1)
        self.scale = shape.attention**-0.5

    def weights(self, batch: Batch) -> Tensor:
        """Give each candidate's attention, shape (n_users, n_candidates, n_history)."""
        logits = self.query(batch.offered) @ self.key(batch.known).transpose(1, 2) * self.scale
        logits = logits * SHARPNESS + self.traits(batch.traits).transpose(1, 2)
        logits = logits.masked_fill(~batch.present[:, None], -torch.inf)
        return torch.nan_to_num(torch.softmax(logits, dim=2))

    def forward(self, batch: Batch) -> Tensor:
        """Give what attention tells of each candidate, shape (n_users, n_candidates, 4)."""
        cosines = batch.offered @ batch.known.transpose(1, 2)
        weights = self.weights(batch)
        found = [
            (weights * cosines).sum(2),
            weights.amax(2) if weights.shape[2] else weights.sum(2),
            *((weights * batch.traits[:, None, :, i]).sum(2) for i in TOLD_TRAITS),
        ]
        return torch.stack(found, dim=2)


class Network(nn.Module):
    """One member: linear part, low-rank crosses and a multi-layer perceptron, added up.

    Crosses are those of DCN-V2 (Wang et al., WWW 2021).
    """

    def __init__(self, shape: HeadShape, dropout: float) -> None:
        super().__init__()
        width = shape.features + ATTENDED
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

    def forward(self, first: Tensor) -> Tensor:
        """Give a score to each candidate, shape (n_users, n_candidates)."""
        crossed = first
        for down, up in zip(self.down, self.up, strict=True):
            crossed = first * up(down(crossed)) + crossed
        total = self.linear(first) + self.crossed(crossed) + self.deep(first)
        return torch.as_tensor(total.squeeze(2))


class HeadNetwork(nn.Module):
    """The score: popularity, plus what the evidence says as far as there is evidence.

    The second part is multiplied by ``1 - exp(-rate * log(1 + n))``, n being the number of things
    known of the user: at nothing the order is that of popularity, exactly.
    """

    def __init__(self, shape: HeadShape, dropout: float = 0.2) -> None:
        super().__init__()
        self.shape = shape
        self.changes = 0  # of mode; between them the weights are what they were
        self.attention = Attention(shape)
        self.members = nn.ModuleList([Network(shape, dropout) for _ in range(shape.members)])
        self.popular = nn.Parameter(torch.full((shape.members,), 1.0))
        self.rate = nn.Parameter(torch.full((shape.members,), 1.0))
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(shape.features))
        self.register_buffer("deviation", torch.ones(shape.features))

    def train(self, mode: bool = True) -> Self:
        """Go over to training, or to use."""
        self.changes += 1
        return super().train(mode)

    def forward(self, batch: Batch) -> Tensor:
        """Give each member's score of each candidate, shape (members, n_users, n_candidates)."""
        seen = batch.features[:, :, : self.shape.features]
        features = ((seen - self.mean) / self.deviation).clamp(-CLAMPED, CLAMPED)
        features = torch.cat([features, self.attention(batch)], dim=2)
        popularity = batch.features[:, :, self.shape.popularity] * POPULARITY_SCALE
        out = []
        for place, member in enumerate(self.members):
            gate = 1 - torch.exp(-nn.functional.softplus(self.rate[place]) * batch.evidence)
            weight = nn.functional.softplus(self.popular[place])
            out.append(weight * popularity + gate[:, None] * member(features))
        return torch.stack(out)

    def score(self, batch: Batch) -> Tensor:
        """Give the mean score of the members, shape (n_users, n_candidates)."""
        return torch.as_tensor(self(batch).mean(dim=0).masked_fill(~batch.mask, -torch.inf))
