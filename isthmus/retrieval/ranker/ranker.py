"""The ranker as it is used: a trained network, and the names of what it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.errors import InvalidInput
from isthmus.numerics.arrays import ArrayState, Columns, FloatArray
from isthmus.retrieval.candidates.pool import CandidatePool
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.ranker.batches import HistoryInputs, history_inputs
from isthmus.retrieval.ranker.features import (
    FeatureInputs,
    Features,
    compute_features,
    feature_columns,
    require_columns,
)
from isthmus.retrieval.ranker.item_statistics import ItemStatistics
from isthmus.retrieval.ranker.network import (
    ATTENDED_TRAITS,
    ATTENTION_FEATURES,
    MAX_DEVIATIONS,
    POPULARITY_SCALE,
    SHARPNESS,
    EnsembleMember,
    NetworkShape,
    RankerNetwork,
)


@dataclass(frozen=True, eq=False)
class Ranker:
    """Scores the candidates of users.

    Attributes
    ----------
    network : RankerNetwork
        The network; it names the features that it reads.
    generators : tuple of str
        Names of the candidate generators whose candidates it was trained on.
    """

    network: RankerNetwork
    generators: tuple[str, ...]
    _fused: dict[Literal["network"], tuple[int, FusedNetwork]] = field(
        default_factory=dict, repr=False
    )

    @classmethod
    def untrained(
        cls,
        generators: Sequence[str],
        content: int,
        *,
        members: int = 3,
        hidden: int = 64,
        dropout: float = 0.2,
        seed: int = 0,
        columns: Sequence[str] | None = None,
    ) -> Ranker:
        """Make a ranker with random weights.

        Parameters
        ----------
        generators : sequence of str
            Names of the candidate generators.
        content : int
            Length of coarse contents.
        members, hidden : int
            See `NetworkShape`.
        dropout : float
            Dropout probability while training.
        seed : int
            Seed of the weights.
        columns : sequence of str, optional
            Names of the features that it reads; by default all.
        """
        torch.manual_seed(seed)
        columns = feature_columns(generators) if columns is None else columns
        shape = NetworkShape(content=content, hidden=hidden, members=members)
        return cls(RankerNetwork(columns, shape, dropout), tuple(generators))

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the features that it reads."""
        return self.network.features

    def score(
        self,
        data: TrainingData,
        histories: UserHistories,
        pool: CandidatePool,
        statistics: ItemStatistics,
        target: int,
    ) -> FloatArray:
        """Score every candidate of a pool, float32, shape (n_candidates,).

        Raises
        ------
        InvalidInput
            If the pool has other candidate generators than those of the training.
        """
        missing = [repr(name) for name in self.generators if name not in pool.generators]
        unknown = [repr(name) for name in pool.generators if name not in self.generators]
        if missing or unknown:
            parts = [f"there is no {', '.join(missing)}"] if missing else []
            parts += [f"it does not know {', '.join(unknown)}"] if unknown else []
            raise InvalidInput(
                f"the ranker was trained with other candidate generators: {'; '.join(parts)}; "
                "train again with: isthmus train"
            )
        inputs = FeatureInputs(data, histories, pool, statistics, target)
        features = compute_features(inputs, self.columns)
        return self.score_features(features, inputs)

    def score_features(self, features: Features, inputs: FeatureInputs) -> FloatArray:
        """Score a pool whose features, see `columns`, are computed already."""
        return self._fused_network().scores(
            features.values,
            inputs.pool.starts,
            features.evidence,
            inputs.statistics.coarse(inputs.data, inputs.pool.items),
            history_inputs(inputs.data, inputs.histories, inputs.statistics, inputs.target),
        )

    def popularity_part(self, popularity: FloatArray) -> FloatArray:
        """Return the part of the score that comes from popularity, in the shape of the input."""
        with torch.inference_mode():
            weight = float(nn.functional.softplus(self.network.popularity_weight).mean())
        return np.asarray(weight * POPULARITY_SCALE * popularity, np.float32)

    def state(self) -> ArrayState:
        """Return the weights as arrays."""
        return {key: value.numpy() for key, value in self.network.state_dict().items()}

    def description(self) -> dict[str, Any]:
        """Return what is needed beside the weights, JSON-serialisable."""
        return {
            "generators": list(self.generators),
            "features": list(self.columns),
            "shape": asdict(self.network.shape),
        }

    @classmethod
    def restored(cls, description: dict[str, Any], state: ArrayState) -> Ranker:
        """Make the ranker whose `description` and `state` these are.

        Raises
        ------
        InvalidInput
            If it reads a feature that this version does not compute.
        """
        generators = tuple(description["generators"])
        require_columns(description["features"], generators)
        network = RankerNetwork(description["features"], NetworkShape(**description["shape"]))
        network.load_state_dict({key: torch.from_numpy(np.array(v)) for key, v in state.items()})
        network.eval()
        return cls(network, generators)

    def misfits(self, other: Ranker) -> list[str]:
        """Return why this ranker cannot be trained on in place of another; empty where it can.

        It needs the same candidate generators and sizes. Its features may differ, since they are
        computed by name.
        """
        mine, theirs = asdict(self.network.shape), asdict(other.network.shape)
        more = [repr(name) for name in self.generators if name not in other.generators]
        less = [repr(name) for name in other.generators if name not in self.generators]
        parts = [f"it needs the candidate generators {', '.join(more)}"] if more else []
        parts += (
            [f"it was trained without the candidate generators {', '.join(less)}"] if less else []
        )
        parts += [
            f"its {name} is {mine[name]}, not {theirs[name]}"
            for name in mine
            if mine[name] != theirs[name]
        ]
        return parts

    def _fused_network(self) -> FusedNetwork:
        """Return the network as it serves; it is made again where the network was trained since."""
        cached = self._fused.get("network")
        if cached is None or cached[0] != self.network.version:
            cached = self._fused["network"] = self.network.version, FusedNetwork(self.network)
        return cached[1]


class FusedNetwork:
    """Computes `RankerNetwork.score` without padding, with products of weights made in advance.

    Lists are often made for one user at a time, where many small operations cost more than the
    arithmetic. So the first layers of all members are one matrix product, and of the second cross,
    of which only a weighted sum is needed, only that sum is computed: ``w (x * (U d + b))`` is
    ``(x (w U)) d + x (w b)``. Scores differ from `RankerNetwork.score` by rounding.

    Parameters
    ----------
    network : RankerNetwork
        A trained network; later changes of it have no effect.
    """

    def __init__(self, network: RankerNetwork) -> None:
        attention = network.attention
        self._popularity_column = network.popularity_column
        self._mean = _array(network.mean)
        self._scale = 1 / _array(network.deviation)
        self._popularity_weights = _array(nn.functional.softplus(network.popularity_weight))
        self._gate_rates = _array(nn.functional.softplus(network.gate_rate))
        scale = SHARPNESS * attention.scale
        self._bilinear = scale * _array(attention.key.weight).T @ _array(attention.query.weight)
        self._trait_weights = _array(attention.traits.weight)[0]
        self._trait_bias = _array(attention.traits.bias)
        self._members = _FusedMembers(network)

    def scores(
        self,
        features: FloatArray,
        starts: Columns,
        evidence: FloatArray,
        candidate_contents: FloatArray,
        history: HistoryInputs,
    ) -> FloatArray:
        """Score candidates, float32, shape (n_candidates,).

        Parameters
        ----------
        features : numpy.ndarray
            float32, shape (n_candidates, n_features).
        starts : numpy.ndarray
            int64, shape (n_users + 1,): where the candidates of each user begin.
        evidence : numpy.ndarray
            float32, shape (n_users,): ``log(1 + n)`` of the number of liked items of each user.
        candidate_contents : numpy.ndarray
            float32, shape (n_candidates, content).
        history : HistoryInputs
            The histories.
        """
        popularity = features[:, self._popularity_column]
        out = POPULARITY_SCALE * self._popularity_weights.mean() * popularity
        gates = (1 - np.exp(-self._gate_rates * evidence[:, None])) / len(self._gate_rates)
        for user in np.flatnonzero(evidence > 0).tolist():  # without evidence the gate is 0
            rows = slice(starts[user], starts[user + 1])
            if rows.start == rows.stop:
                continue
            entries = slice(history.starts[user], history.starts[user + 1])
            width = features.shape[1] + ATTENTION_FEATURES
            inputs = np.empty((rows.stop - rows.start, width), np.float32)
            standardised = inputs[:, :-ATTENTION_FEATURES]
            np.subtract(features[rows], self._mean, out=standardised)
            standardised *= self._scale
            np.clip(standardised, -MAX_DEVIATIONS, MAX_DEVIATIONS, out=standardised)
            inputs[:, -ATTENTION_FEATURES:] = self._attention_features(
                candidate_contents[rows], history.contents[entries], history.traits[entries]
            )
            out[rows] += gates[user] @ self._members.scores(inputs)
        return np.asarray(out, np.float32)

    def _attention_features(
        self, candidates: FloatArray, history: FloatArray, traits: FloatArray
    ) -> FloatArray:
        """Return `Attention.forward` for the candidates of one user, shape (n, 4)."""
        if not len(history):
            return np.zeros((len(candidates), ATTENTION_FEATURES), np.float32)
        both = np.concatenate([history, history @ self._bilinear]) @ candidates.T
        cosines, logits = both[: len(history)], both[len(history) :]  # (n_entries, n) each
        logits += (traits @ self._trait_weights + self._trait_bias)[:, None]
        logits -= logits.max(axis=0)
        weights = np.exp(logits, out=logits)
        out = np.empty((ATTENTION_FEATURES, len(candidates)), np.float32)
        out[1] = 1  # the largest weight, before the weights are normalised to a sum of one
        out[2:] = traits[:, ATTENDED_TRAITS].T @ weights
        total = weights.sum(axis=0)
        weights *= cosines
        weights.sum(axis=0, out=out[0])
        out /= total
        return out.T


class _FusedMembers:
    """The members of a network side by side."""

    def __init__(self, network: RankerNetwork) -> None:
        shape = network.shape
        members = [
            _FusedMember(member) for member in network.members if isinstance(member, EnsembleMember)
        ]
        self._count, self._hidden, self._rank = len(members), shape.hidden, shape.rank
        parts = zip(*(member.first for member in members), strict=True)
        self._first = np.concatenate([np.concatenate(part) for part in parts]).T.copy()
        self._deep_bias = np.concatenate([member.deep_bias for member in members])
        self._up, self._up_bias, self._down, self._second, self._second_bias, self._last = (
            np.stack(part) for part in zip(*(member.stacked for member in members), strict=True)
        )
        self._bias = np.array([[member.bias] for member in members], np.float32)

    def scores(self, inputs: FloatArray) -> FloatArray:
        """Return the scores of candidates by each member, shape (members, n)."""
        count, rank, wide = self._count, self._rank, self._count * self._hidden
        first = inputs @ self._first  # (n, members * (hidden + 2 rank + 1))
        ends = wide, wide + count * rank, wide + 2 * count * rank
        deep = _gelu(first[:, : ends[0]] + self._deep_bias)
        down, side = (
            first[:, start:end].reshape(len(inputs), count, rank).transpose(1, 0, 2)
            for start, end in (ends[:2], ends[1:])
        )  # (members, n, rank) each
        crossed = down @ self._up
        crossed += self._up_bias
        crossed *= inputs
        after = crossed @ self._down  # (members, n, rank + 1)
        out: FloatArray = np.einsum("mnr,mnr->mn", after[:, :, :rank], side)
        out += after[:, :, rank]
        out += first[:, ends[2] :].T
        second = deep.reshape(len(inputs), count, -1).transpose(1, 0, 2) @ self._second
        second += self._second_bias
        out += (_gelu(second) @ self._last)[:, :, 0]
        out += self._bias
        return out


class _FusedMember:
    """The weights of one member, rearranged.

    Attributes
    ----------
    first : tuple of numpy.ndarray
        Weights that multiply the inputs: of the perceptron, of the first cross, of the second
        cross, and of the linear part.
    stacked : tuple of numpy.ndarray
        The other weights, to be stacked over the members.
    """

    def __init__(self, member: EnsembleMember) -> None:
        weight = _array(member.crossed.weight)[0]
        down = [_array(part.weight) for part in _linear_layers(member.down)]
        up = [_array(part.weight) for part in _linear_layers(member.up)]
        up_bias = [_array(part.bias) for part in _linear_layers(member.up)]
        deep = _linear_layers(member.deep)
        linear = _array(member.linear.weight) + weight * up_bias[1]
        self.first = (_array(deep[0].weight), down[0], (weight[:, None] * up[1]).T, linear)
        self.deep_bias = _array(deep[0].bias)
        self.bias = float(_array(member.linear.bias)[0] + _array(deep[2].bias)[0])
        self.stacked = (
            up[0].T,
            up_bias[0][None] + 1,
            np.concatenate([down[1], weight[None]]).T,
            _array(deep[1].weight).T,
            _array(deep[1].bias)[None],
            _array(deep[2].weight).T,
        )


def _linear_layers(parts: nn.ModuleList | nn.Sequential) -> list[nn.Linear]:
    return [part for part in parts if isinstance(part, nn.Linear)]


def _array(values: Tensor) -> FloatArray:
    return np.array(values.detach().cpu().numpy(), np.float32)


def _gelu(values: FloatArray) -> FloatArray:
    with torch.inference_mode():
        return np.asarray(nn.functional.gelu(torch.from_numpy(values)).numpy())
