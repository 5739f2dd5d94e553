"""The ranker as it is used: a calibrated model for each situation, over the same features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from isthmus.errors import InvalidInput
from isthmus.numerics.arrays import ArrayState, Columns, FloatArray, with_prefix
from isthmus.numerics.sparse import concatenate_ranges, lengths_of, starts_of
from isthmus.retrieval.candidates.pool import CandidatePool
from isthmus.retrieval.candidates.situations import (
    CROSS_DOMAIN,
    FEW,
    MORE,
    NEW_ITEMS,
    SITUATIONS,
    UNKNOWN,
    all_new,
    situation_weights,
)
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.ranker.calibration import Calibration
from isthmus.retrieval.ranker.features import FeatureInputs, compute_features, require_columns
from isthmus.retrieval.ranker.item_statistics import ItemStatistics
from isthmus.retrieval.ranker.models.registry import restored_model
from isthmus.retrieval.ranker.selection import SituationModel

SCORED_ALONE = 16  # of so few users each is scored alone

# What ranks where no user could be simulated in a situation: the nearest in which some could.
NEAREST = {
    UNKNOWN: (UNKNOWN, CROSS_DOMAIN, FEW, MORE, NEW_ITEMS),
    CROSS_DOMAIN: (CROSS_DOMAIN, FEW, MORE, UNKNOWN, NEW_ITEMS),
    FEW: (FEW, MORE, CROSS_DOMAIN, UNKNOWN, NEW_ITEMS),
    MORE: (MORE, FEW, CROSS_DOMAIN, UNKNOWN, NEW_ITEMS),
    NEW_ITEMS: (NEW_ITEMS, MORE, FEW, CROSS_DOMAIN, UNKNOWN),
}


@dataclass(frozen=True, eq=False)
class Ranker:
    """Scores the candidates of users.

    Attributes
    ----------
    columns : tuple of str
        Names of the features that it reads.
    generators : tuple of str
        Names of the candidate generators whose candidates it was trained on.
    models : mapping of str to SituationModel
        By situation.
    """

    columns: tuple[str, ...]
    generators: tuple[str, ...]
    models: Mapping[str, SituationModel]

    def score(
        self,
        data: TrainingData,
        histories: UserHistories,
        pool: CandidatePool,
        statistics: ItemStatistics,
        target: int,
    ) -> FloatArray:
        """Score every candidate of a pool.

        Returns
        -------
        numpy.ndarray
            float32, shape (n_candidates,): the log-odds that the user likes the candidate. For a
            user between two situations they are the weighted mean of those of both.

        Raises
        ------
        InvalidInput
            If the pool has other candidate generators than those of the training.
        """
        self.require_generators(pool.generators)
        inputs = FeatureInputs(data, histories, pool, statistics, target)
        features = compute_features(inputs, self.columns).values
        weights = self._weights(inputs)
        out = np.zeros(len(pool.items), np.float32)
        for at, situation in enumerate(SITUATIONS):
            users = np.flatnonzero(weights[:, at])
            if not len(users):
                continue
            lengths = lengths_of(pool.starts)[users]
            rows = concatenate_ranges(pool.starts[users], lengths)
            starts = starts_of(lengths)
            part = features if len(users) == len(pool) else features[rows]
            log_odds = _log_odds(self.model_of(situation), part, starts)
            out[rows] += np.repeat(weights[users, at], lengths) * log_odds
        return out

    def model_of(self, situation: str) -> SituationModel:
        """Return what ranks in a situation."""
        return next(self.models[name] for name in NEAREST[situation] if name in self.models)

    def _weights(self, inputs: FeatureInputs) -> FloatArray:
        """Return how far each user is in each of `SITUATIONS`, shape (n_users, 5)."""
        weights = np.zeros((len(inputs.pool), len(SITUATIONS)), np.float32)
        weights[:, :-1] = situation_weights(inputs.histories, inputs.data, inputs.target)
        unused = inputs.statistics.popularity(inputs.pool.items) == 0
        new = all_new(unused, inputs.pool.starts) & (weights[:, 0] == 0)
        weights[new] = 0
        weights[new, -1] = 1
        return weights

    def require_generators(self, generators: Sequence[str]) -> None:
        """Raise `InvalidInput` unless these are the candidate generators of the training."""
        missing = [repr(name) for name in self.generators if name not in generators]
        unknown = [repr(name) for name in generators if name not in self.generators]
        if missing or unknown:
            parts = [f"there is no {', '.join(missing)}"] if missing else []
            parts += [f"it does not know {', '.join(unknown)}"] if unknown else []
            raise InvalidInput(
                f"the ranker was trained with other candidate generators: {', and '.join(parts)}"
            )

    def state(self) -> ArrayState:
        """Return what the models learned, as arrays."""
        return {
            f"{situation}/{key}": np.asarray(value)
            for situation, part in self.models.items()
            for key, value in part.model.state().items()
        }

    def description(self) -> dict[str, Any]:
        """Return what is needed beside the arrays, JSON-serialisable."""
        return {
            "generators": list(self.generators),
            "features": list(self.columns),
            "models": {
                situation: {
                    **part.model.description(),
                    "slope": part.calibration.slope,
                    "intercept": part.calibration.intercept,
                }
                for situation, part in self.models.items()
            },
        }

    @classmethod
    def restored(
        cls, description: Mapping[str, Any], state: Mapping[str, npt.NDArray[Any]]
    ) -> Ranker:
        """Make the ranker whose `description` and `state` these are.

        Raises
        ------
        InvalidInput
            If it needs a feature or a model that this version does not have.
        """
        columns, generators = tuple(description["features"]), tuple(description["generators"])
        require_columns(columns, generators)
        models = {
            situation: SituationModel(
                restored_model(stored, columns, with_prefix(state, f"{situation}/")),
                Calibration(stored["slope"], stored["intercept"]),
            )
            for situation, stored in description["models"].items()
        }
        return cls(columns, generators, models)

    def misfits(self, generators: Sequence[str]) -> list[str]:
        """Return why training cannot go on from this ranker; empty where it can.

        It needs the same candidate generators. Its features may differ from those of a new one,
        since they are computed by name.
        """
        more = [repr(name) for name in self.generators if name not in generators]
        less = [repr(name) for name in generators if name not in self.generators]
        parts = [f"it needs the candidate generators {', '.join(more)}"] if more else []
        if less:
            parts.append(f"it was trained without the candidate generators {', '.join(less)}")
        return parts


def _log_odds(model: SituationModel, features: FloatArray, starts: Columns) -> FloatArray:
    """Return the log-odds of the candidates of users.

    A few users, who are ranked for together since their requests came together, are scored one by
    one: products of larger matrices round otherwise, and a list must not depend on the others.
    """
    if len(starts) - 1 > SCORED_ALONE:
        return model.log_odds(features, starts)
    parts = [
        model.log_odds(features[start:end], np.array([0, end - start]))
        for start, end in pairwise(starts.tolist())
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
