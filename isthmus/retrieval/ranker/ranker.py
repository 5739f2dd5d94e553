"""The ranking head as it is used: a network and the names of what it looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from isthmus.errors import InvalidInput
from isthmus.numerics.arrays import ArrayState, FloatArray
from isthmus.retrieval.candidates.pool import CandidatePool
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.ranker.batches import known_of
from isthmus.retrieval.ranker.features import Features, feature_names, make_features
from isthmus.retrieval.ranker.fused_network import FusedNetwork
from isthmus.retrieval.ranker.item_statistics import ItemFacts
from isthmus.retrieval.ranker.network import POPULARITY_SCALE, HeadNetwork, HeadShape
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
