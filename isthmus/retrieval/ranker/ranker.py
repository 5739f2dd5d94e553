"""The ranking head as it is used: a network and the names of what it looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.errors import InvalidInput
from isthmus.numerics.arrays import ArrayState, Columns, FloatArray
from isthmus.retrieval.candidates.pool import CandidatePool
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.ranker.batches import Known, known_of
from isthmus.retrieval.ranker.features import Features, feature_names, make_features
from isthmus.retrieval.ranker.item_statistics import ItemFacts
from isthmus.retrieval.ranker.network import (
    ATTENDED,
    CLAMPED,
    POPULARITY_SCALE,
    SHARPNESS,
    TOLD_TRAITS,
    HeadNetwork,
    HeadShape,
    Network,
)
from isthmus.retrieval.ranker.numeric_features import OF_NUMBERS

SIZES = ("content", "hidden", "rank", "attention", "members")  # beside what follows from sources


@dataclass(frozen=True, eq=False)
class RankingHead:
    """Scores the candidates of users.

    Attributes
    ----------
    network : HeadNetwork
        The trained network.
    sources : tuple of str
        The sources that it knows, in their order.
    """

    network: HeadNetwork
    sources: tuple[str, ...]
    _served: dict[str, tuple[int, FusedNetwork]] = field(default_factory=dict, repr=False)

    @classmethod
    def untrained(
        cls,
        sources: Sequence[str],
        content: int,
        *,
        members: int = 3,
        hidden: int = 64,
        dropout: float = 0.2,
        seed: int = 0,
        numbers: bool = True,
    ) -> RankingHead:
        """Make a head that learned nothing yet.

        Parameters
        ----------
        sources : sequence of str
            Names of the sources.
        content : int
            Length of mapped contents.
        members, hidden
            See `HeadShape`.
        dropout : float
            In training.
        seed : int
            Of the first weights.
        numbers : bool
            Whether it looks at what `ItemNumbers` tells.
        """
        torch.manual_seed(seed)
        names = feature_names(tuple(sources))
        shape = HeadShape(
            features=len(names) - (0 if numbers else len(OF_NUMBERS)),
            popularity=names.index("item: popularity"),
            content=content,
            hidden=hidden,
            members=members,
        )
        return cls(HeadNetwork(shape, dropout), tuple(sources))

    def score(
        self,
        corpus: TrainingData,
        histories: UserHistories,
        pool: CandidatePool,
        facts: ItemFacts,
        target: int,
    ) -> FloatArray:
        """Score every candidate of a pool, float32, shape (n_candidates,).

        Raises
        ------
        InvalidInput
            If the pool comes from other sources than the head was trained with.
        """
        if pool.sources != self.sources:
            raise InvalidInput(
                f"the head was trained with candidates from {', '.join(self.sources)}; these come "
                f"from {', '.join(pool.sources)}: train anew with: isthmus train"
            )
        features = make_features(corpus, histories, pool, facts, target)
        return self.score_features(features, corpus, histories, pool, facts, target)

    def score_features(
        self,
        features: Features,
        corpus: TrainingData,
        histories: UserHistories,
        pool: CandidatePool,
        facts: ItemFacts,
        target: int,
    ) -> FloatArray:
        """Score a pool whose features are known."""
        return self._fused().scores(
            features.values,
            pool.starts,
            features.evidence,
            facts.coarse(corpus, pool.items),
            known_of(corpus, histories, facts, target),
        )

    def popularity_part(self, popularity: FloatArray) -> FloatArray:
        """Give the part of the score that is popularity alone, shape of the popularities."""
        with torch.inference_mode():
            weight = float(nn.functional.softplus(self.network.popular).mean())
        return np.asarray(weight * POPULARITY_SCALE * popularity, np.float32)

    def state(self) -> ArrayState:
        """Give the weights as arrays."""
        return {key: value.numpy() for key, value in self.network.state_dict().items()}

    def description(self) -> dict[str, Any]:
        """Give what is needed beside the weights, as plain values."""
        return {"sources": list(self.sources), "shape": asdict(self.network.shape)}

    @property
    def numbers(self) -> bool:
        """Whether it looks at what `ItemNumbers` tells."""
        return self.network.shape.features == len(feature_names(self.sources))

    def fits(self, other: RankingHead) -> bool:
        """Tell whether it can go on where another would begin; either may look past numbers."""
        own = asdict(self.network.shape) | {"features": other.network.shape.features}
        return self.sources == other.sources and own == asdict(other.network.shape)

    def unlike(self, other: RankingHead) -> str:
        """Say in what it looks at something else than another head, or has another size."""
        own, sizes = asdict(self.network.shape), asdict(other.network.shape)
        more = [repr(name) for name in self.sources if name not in other.sources]
        less = [repr(name) for name in other.sources if name not in self.sources]
        parts = [f"it looks at {', '.join(more)} too"] if more else []
        parts += [f"it does not look at {', '.join(less)}"] if less else []
        parts += [
            f"its {name} is {own[name]}, not {sizes[name]}"
            for name in SIZES
            if own[name] != sizes[name]
        ]
        return "; ".join(parts) or "its sources stand in another order"

    @classmethod
    def restored(cls, description: dict[str, Any], state: ArrayState) -> RankingHead:
        """Make the head of what `description` and `state` gave."""
        network = HeadNetwork(HeadShape(**description["shape"]))
        network.load_state_dict({key: torch.from_numpy(np.array(v)) for key, v in state.items()})
        network.eval()
        return cls(network, tuple(description["sources"]))

    def _fused(self) -> FusedNetwork:
        """Give the network as it serves, made anew where it was trained since."""
        known = self._served.get("network")
        if known is None or known[0] != self.network.changes:
            known = self._served["network"] = self.network.changes, FusedNetwork(self.network)
        return known[1]


class FusedNetwork:
    """Gives the scores of `HeadNetwork.score`, but for rounding, without padding.

    Parameters
    ----------
    network : HeadNetwork
        A trained network; later changes of it are not seen.
    """

    def __init__(self, network: HeadNetwork) -> None:
        shape, attention = network.shape, network.attention
        self._popularity = shape.popularity
        self._mean = _array(network.mean)
        self._scale = 1 / _array(network.deviation)
        self._popular = _array(nn.functional.softplus(network.popular))
        self._rates = _array(nn.functional.softplus(network.rate))
        sharp = SHARPNESS * attention.scale
        self._look = sharp * _array(attention.key.weight).T @ _array(attention.query.weight)
        self._traits = _array(attention.traits.weight)[0]
        self._trait_bias = _array(attention.traits.bias)
        self._members = _Members(network)

    def scores(
        self,
        features: FloatArray,
        starts: Columns,
        evidence: FloatArray,
        offered: FloatArray,
        known: Known,
    ) -> FloatArray:
        """Score candidates, float32, shape (n_candidates,).

        Parameters
        ----------
        features : numpy.ndarray
            float32, shape (n_candidates, n_features).
        starts : numpy.ndarray
            int64, shape (n_users + 1,): where each user's candidates begin.
        evidence : numpy.ndarray
            float32, shape (n_users,): logarithm of one plus what is known of each.
        offered : numpy.ndarray
            float32, shape (n_candidates, content): contents of the candidates.
        known : Known
            The histories.
        """
        features = features[:, : len(self._mean)]
        out = POPULARITY_SCALE * self._popular.mean() * features[:, self._popularity]
        gates = (1 - np.exp(-self._rates * evidence[:, None])) / len(self._rates)
        for user in np.flatnonzero(evidence > 0).tolist():  # of the others popularity is all
            own = slice(starts[user], starts[user + 1])
            if own.start == own.stop:
                continue
            entries = slice(known.starts[user], known.starts[user + 1])
            told = np.empty((own.stop - own.start, features.shape[1] + ATTENDED), np.float32)
            plain = told[:, :-ATTENDED]
            np.subtract(features[own], self._mean, out=plain)
            plain *= self._scale
            np.clip(plain, -CLAMPED, CLAMPED, out=plain)
            told[:, -ATTENDED:] = self.attended(
                offered[own], known.contents[entries], known.traits[entries]
            )
            out[own] += gates[user] @ self._members.scores(told)
        return np.asarray(out, np.float32)

    def attended(self, offered: FloatArray, known: FloatArray, traits: FloatArray) -> FloatArray:
        """Give what attention tells of a user's candidates, see `Attention`, shape (n, 4)."""
        if not len(known):
            return np.zeros((len(offered), ATTENDED), np.float32)
        both = np.concatenate([known, known @ self._look]) @ offered.T  # (2 n_entries, n)
        cosines, logits = both[: len(known)], both[len(known) :]
        logits += (traits @ self._traits + self._trait_bias)[:, None]
        logits -= logits.max(axis=0)
        weights = np.exp(logits, out=logits)
        told = np.empty((ATTENDED, len(offered)), np.float32)
        told[1] = 1  # the largest weight, before they are made to add up to one
        told[2:] = traits[:, TOLD_TRAITS].T @ weights
        total = weights.sum(axis=0)
        weights *= cosines
        weights.sum(axis=0, out=told[0])
        told /= total
        return told.T


class _Members:
    """The members of a network side by side."""

    def __init__(self, network: HeadNetwork) -> None:
        shape, members = network.shape, [_Member(own) for own in _members_of(network)]
        self._count, self._hidden, self._rank = len(members), shape.hidden, shape.rank
        parts = zip(*(member.first for member in members), strict=True)
        self._first = np.concatenate([np.concatenate(part) for part in parts]).T.copy()
        self._deep_bias = np.concatenate([member.deep_bias for member in members])
        self._up, self._up_bias, self._down, self._second, self._second_bias, self._last = (
            np.stack(part) for part in zip(*(member.others for member in members), strict=True)
        )
        self._bias = np.array([[member.bias] for member in members], np.float32)

    def scores(self, told: FloatArray) -> FloatArray:
        """Give each member's scores of candidates, shape (members, n)."""
        count, rank, wide = self._count, self._rank, self._count * self._hidden
        first = told @ self._first
        ends = wide, wide + count * rank, wide + 2 * count * rank
        deep = _gelu(first[:, : ends[0]] + self._deep_bias)
        down, side = (
            first[:, start:end].reshape(len(told), count, rank).transpose(1, 0, 2)
            for start, end in (ends[:2], ends[1:])
        )
        crossed = down @ self._up
        crossed += self._up_bias
        crossed *= told
        after = crossed @ self._down  # (members, n, rank + 1)
        out: FloatArray = np.einsum("mnr,mnr->mn", after[:, :, :rank], side)
        out += after[:, :, rank]
        out += first[:, ends[2] :].T
        second = deep.reshape(len(told), count, -1).transpose(1, 0, 2) @ self._second
        second += self._second_bias
        out += (_gelu(second) @ self._last)[:, :, 0]
        out += self._bias
        return out


class _Member:
    """The weights of one member, brought into another order."""

    def __init__(self, member: Network) -> None:
        weight = _array(member.crossed.weight)[0]
        down = [_array(part.weight) for part in _linear(member.down)]
        up = [_array(part.weight) for part in _linear(member.up)]
        up_bias = [_array(part.bias) for part in _linear(member.up)]
        deep = [part for part in member.deep if isinstance(part, nn.Linear)]
        straight = _array(member.linear.weight) + weight * up_bias[1]
        self.first = (_array(deep[0].weight), down[0], (weight[:, None] * up[1]).T, straight)
        self.deep_bias = _array(deep[0].bias)
        self.bias = float(_array(member.linear.bias)[0] + _array(deep[2].bias)[0])
        self.others = (
            up[0].T,
            up_bias[0][None] + 1,
            np.concatenate([down[1], weight[None]]).T,
            _array(deep[1].weight).T,
            _array(deep[1].bias)[None],
            _array(deep[2].weight).T,
        )


def _members_of(network: HeadNetwork) -> list[Network]:
    return [member for member in network.members if isinstance(member, Network)]


def _linear(parts: nn.ModuleList) -> list[nn.Linear]:
    return [part for part in parts if isinstance(part, nn.Linear)]


def _array(values: Tensor) -> FloatArray:
    return np.array(values.detach().cpu().numpy(), np.float32)


def _gelu(values: FloatArray) -> FloatArray:
    with torch.inference_mode():
        return np.asarray(nn.functional.gelu(torch.from_numpy(values)).numpy())
