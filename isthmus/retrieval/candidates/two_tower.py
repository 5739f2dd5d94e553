"""Two towers: a learned user vector, and the items nearest to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self
from weakref import ref

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState, Columns, FloatArray, with_prefix
from isthmus.retrieval.candidates.feature_projection import FeatureProjection, Normalisation
from isthmus.retrieval.candidates.generator import CandidateGenerator
from isthmus.retrieval.candidates.scorer import DotProductIndexes, DotProductScorer
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories

if TYPE_CHECKING:
    from isthmus.retrieval.candidates.two_tower_network import TwoTowerNetwork

WEIGHTS = "weights."
SPACE = "space."


@dataclass
class TwoTower(CandidateGenerator):
    """A user's vector is learned from the history, an item's from content and use.

    Trained with the sampled softmax over a domain's items, on users of whom that domain is hidden
    wholly or but for a few items. Early stopping is by recall@200 of held-out users.

    Attributes
    ----------
    dim : int
        Length of the vectors.
    epochs : int
        Passes over the users, at most.
    patience : int
        Passes without a gain before it stops.
    batch : int
        Users a step.
    rate : float
        Step of AdamW.
    decay : float
        Weight decay.
    dropout : float
        In the user's network.
    anonymous : float
        Share of the items whose residual is dropped.
    against : int
        Items that a batch is learned against.
    adversarial : float
        Weight of a classifier of domains behind a gradient reversal (Ganin et al., JMLR 2016):
        adapted contents then tell less of their domain.
    coral : float
        Weight of the distance between the domains' covariances (Sun and Saenko, ECCV 2016).
    mmd : float
        Weight of the maximum mean discrepancy between the domains (Long et al., ICML 2015).
    normalisation : str
        Of contents, see `FeatureProjection`.
    seed : int
        Of all that is left to chance.
    """

    name: ClassVar[str] = "two-tower"
    dim: int = 64
    epochs: int = 30
    patience: int = 2
    batch: int = 512
    rate: float = 3e-3
    decay: float = 1e-2
    dropout: float = 0.2
    anonymous: float = 0.3
    against: int = 8_192
    adversarial: float = 0.0
    coral: float = 0.0
    mmd: float = 0.0
    normalisation: Normalisation = "whiten"
    seed: int = 0

    def fit(self, corpus: TrainingData) -> Self:
        """Learn both towers."""
        from isthmus.retrieval.candidates.two_tower_training import fit_towers

        self._space = FeatureProjection(normalisation=self.normalisation, seed=self.seed)
        self._space.fit(corpus.features, corpus.domains, len(corpus.domain_names))
        return self._keep(*fit_towers(self, corpus, self._space))

    def _keep(self, model: TwoTowerNetwork, items: FloatArray) -> Self:
        from isthmus.retrieval.candidates.two_tower_network import UserTower

        self._model, self._items, self._users = model, items, UserTower(model)
        self._grown: tuple[ref[TrainingData], FloatArray] | None = None
        self._compared: tuple[FeatureProjection, bool] | None = None
        self._indexes = DotProductIndexes()
        return self

    def scorer(
        self, corpus: TrainingData, histories: UserHistories, target: int
    ) -> DotProductScorer:
        """Score items by the product of vectors."""
        users, items = self.user_vectors(corpus, histories, target), self.item_vectors(corpus)
        return DotProductScorer(users, items, self._indexes.of(corpus, items, target))

    def user_vectors(
        self, corpus: TrainingData, histories: UserHistories, target: int
    ) -> FloatArray:
        """Give the vectors of users who ask for a domain, shape (n_users, dim + 1)."""
        liked = histories.liked
        domains = corpus.domains[liked.columns]
        contents = self._contents(corpus, liked.columns)
        users = self._users.vectors(contents, domains, liked, target)
        return np.concatenate([users, np.ones((len(users), 1), np.float32)], axis=1)

    def _contents(self, corpus: TrainingData, columns: Columns) -> FloatArray:
        """Map the contents of items, unless the corpus holds them as they are mapped here."""
        held, by = corpus.coarse_features, corpus.projection
        if held is not None and by is not None and held.shape[1] == self._space.width:
            if self._compared is None or self._compared[0] is not by:
                self._compared = by, self._space.is_prefix_of(by)
            if self._compared[1]:
                return held[columns]
        return self._space.transform(corpus.features, corpus.domains, columns)

    def item_vectors(self, corpus: TrainingData) -> FloatArray:
        """Give the vectors of all items, shape (n_items, dim + 1); the last part is a bias."""
        from isthmus.retrieval.candidates.two_tower_training import embed_items

        if len(corpus) == len(self._items):
            return self._items
        known = self._grown
        if known is None or known[0]() is not corpus:
            new = np.arange(len(self._items), len(corpus))
            added = embed_items(self._model, self._space, corpus, new)
            known = self._grown = ref(corpus), np.concatenate([self._items, added])
        return known[1]

    def state(self) -> ArrayState:
        """Give the weights of both towers, the map of contents, and the items' vectors."""
        weights = {WEIGHTS + k: v.cpu().numpy() for k, v in self._model.state_dict().items()}
        space = {SPACE + key: value for key, value in self._space.state().items()}
        return {**weights, **space, "items": self._items}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take weights, map and vectors."""
        from isthmus.retrieval.candidates.two_tower_training import model_of

        own = with_prefix(state, SPACE)
        self._space = FeatureProjection(normalisation=self.normalisation).restore(own)
        weights = with_prefix(state, WEIGHTS)
        return self._keep(model_of(self, weights), state["items"])
