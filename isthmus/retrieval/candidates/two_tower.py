"""A two-tower model: a user vector learned from the history, an item vector from content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self
from weakref import ref

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState, Columns, FloatArray, with_prefix
from isthmus.retrieval.candidates.dot_product_index import DotProductIndexes
from isthmus.retrieval.candidates.feature_projection import (
    COARSE_DIM,
    FeatureProjection,
    coarse,
)
from isthmus.retrieval.candidates.generator import CandidateGenerator
from isthmus.retrieval.candidates.scorer import DotProductScorer
from isthmus.retrieval.candidates.settings import Normalisation
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories

if TYPE_CHECKING:
    from isthmus.retrieval.candidates.two_tower_network import TwoTowerNetwork

WEIGHTS = "weights."
PROJECTION = "projection."


@dataclass
class TwoTower(CandidateGenerator):
    """Score items by the dot product of a user vector and an item vector.

    Trained with the sampled softmax over a domain's items, on users of whom all but a few items
    of that domain are hidden. Early stopping is by recall@200 of held-out users.

    Attributes
    ----------
    dim : int
        Dimension of the vectors.
    epochs : int
        Passes over the users, at most.
    patience : int
        Epochs without improvement before training stops.
    batch_size : int
        Users a step.
    learning_rate, weight_decay : float
        Of AdamW.
    dropout : float
        In the user tower.
    id_dropout : float
        Share of the items whose own embedding is dropped in a step, so that the content of an
        item suffices (DropoutNet; Volkovs et al., NeurIPS 2017).
    negatives : int
        Items that a batch is trained against.
    adversarial : float
        Weight of a domain classifier behind a gradient reversal (Ganin et al., JMLR 2016).
    coral : float
        Weight of the distance between the domains' covariances (Sun and Saenko, ECCV 2016).
    mmd : float
        Weight of the maximum mean discrepancy between the domains (Long et al., ICML 2015).
    normalisation : str
        Of content vectors, see `FeatureProjection`.
    seed : int
        Of initialisation, batches and sampling.
    """

    name: ClassVar[str] = "two-tower"
    dim: int = 64
    epochs: int = 30
    patience: int = 2
    batch_size: int = 512
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    dropout: float = 0.2
    id_dropout: float = 0.3
    negatives: int = 8_192
    adversarial: float = 0.0
    coral: float = 0.0
    mmd: float = 0.0
    normalisation: Normalisation = "whiten"
    seed: int = 0

    def fit(self, data: TrainingData) -> Self:
        """Train both towers."""
        from isthmus.retrieval.candidates.two_tower_training import fit_towers

        self._projection = FeatureProjection(normalisation=self.normalisation, seed=self.seed)
        self._projection.fit(data.features, data.domains, len(data.domain_names))
        return self._set_network(*fit_towers(self, data, self._projection))

    def _set_network(self, network: TwoTowerNetwork, items: FloatArray) -> Self:
        from isthmus.retrieval.candidates.two_tower_network import UserTower

        self._network, self._items, self._user_tower = network, items, UserTower(network)
        self._extended: tuple[ref[TrainingData], FloatArray] | None = None
        self._compared: tuple[FeatureProjection, bool] | None = None
        self._indexes = DotProductIndexes()
        return self

    def scorer(self, data: TrainingData, users: UserHistories, target: int) -> DotProductScorer:
        """Return the dot products of user and item vectors."""
        vectors, items = self.user_vectors(data, users, target), self.item_vectors(data)
        return DotProductScorer(vectors, items, self._indexes.of(data, items, target))

    def user_vectors(self, data: TrainingData, users: UserHistories, target: int) -> FloatArray:
        """Return the vectors of users for a target domain, shape (n_users, dim + 1)."""
        liked = users.liked
        domains = data.domains[liked.columns]
        features = self._features(data, liked.columns)
        vectors = self._user_tower.vectors(features, domains, liked, target)
        # The last component of an item vector is its bias.
        return np.concatenate([vectors, np.ones((len(vectors), 1), np.float32)], axis=1)

    def item_vectors(self, data: TrainingData) -> FloatArray:
        """Return the vectors of all items, shape (n_items, dim + 1); the last part is a bias."""
        from isthmus.retrieval.candidates.two_tower_training import embed_items

        if len(data) == len(self._items):
            return self._items
        extended = self._extended
        if extended is None or extended[0]() is not data:
            new = np.arange(len(self._items), len(data))
            added = embed_items(self._network, self._projection, data, new)
            extended = self._extended = ref(data), np.concatenate([self._items, added])
        return extended[1]

    def state(self) -> ArrayState:
        """Return the weights of both towers, the feature projection, and the item vectors."""
        weights = {WEIGHTS + k: v.cpu().numpy() for k, v in self._network.state_dict().items()}
        projection = {PROJECTION + key: value for key, value in self._projection.state().items()}
        return {**weights, **projection, "items": self._items}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        from isthmus.retrieval.candidates.two_tower_network import network_from

        projection = FeatureProjection(normalisation=self.normalisation)
        self._projection = projection.restore(with_prefix(state, PROJECTION))
        network = network_from(with_prefix(state, WEIGHTS), self.dropout)
        return self._set_network(network, state["items"])

    def _features(self, data: TrainingData, columns: Columns) -> FloatArray:
        """Return projected features of items; those of the data if they are the same."""
        projected = data.projected
        projection = projected.projection
        if min(COARSE_DIM, projection.width) == self._projection.width:
            if self._compared is None or self._compared[0] is not projection:
                self._compared = projection, self._projection.is_prefix_of(projection)
            if self._compared[1]:
                return coarse(projected.take(columns))
        return self._projection.transform(data.features, data.domains, columns)
