"""Cross-validation of ranker models over users, and the network that all situations share.

The users are divided into three groups, the same in every situation. Each model is trained three
times, each time without one of the groups, and scores the candidates of the users that it was not
trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np

from isthmus.retrieval.candidates.situations import CROSS_DOMAIN, FEW, MORE, NEW_ITEMS
from isthmus.retrieval.ranker.examples import Examples, ExamplesBySituation, join_examples
from isthmus.retrieval.ranker.models.linear import Linear
from isthmus.retrieval.ranker.models.model import STANDARDISED_ROWS, RankerModel, Scaling
from isthmus.retrieval.ranker.models.network import Network
from isthmus.retrieval.ranker.settings import TrainingSettings

GROUPS = 3
ENOUGH_USERS = 40  # below it, users in other situations are learned from too
# Users with a history share a network: what tells likes from others is much the same for them.
SHARED = (CROSS_DOMAIN, FEW, MORE, NEW_ITEMS)


StartsBySituation = Mapping[str, Mapping[str, RankerModel]]
"""By situation and name, trained models to go on from."""


class CrossValidation:
    """Trains models without each group of users.

    Parameters
    ----------
    examples : dict of str to Examples
        By situation, of one domain.
    settings : TrainingSettings
        How to train.
    start : mapping of str to mapping of str to RankerModel, optional
        By situation and name, trained models to go on from.
    """

    def __init__(
        self,
        examples: ExamplesBySituation,
        settings: TrainingSettings,
        start: StartsBySituation | None = None,
    ) -> None:
        self.examples, self.settings, self.start = examples, settings, start or {}
        self.columns = next(iter(examples.values())).columns
        n_users = 1 + max(int(some.users.max(initial=0)) for some in examples.values())
        order = np.random.default_rng(settings.seed).permutation(n_users)
        self.group_of = order % GROUPS  # (n_users,)

    def members(
        self,
        make: Callable[[], RankerModel],
        examples: Examples,
        starts: Sequence[RankerModel],
    ) -> tuple[RankerModel, ...]:
        """Train a model without each group of users, each from its start."""
        return tuple(
            make().fit(self.without(group, examples), start) for group, start in enumerate(starts)
        )

    def without(self, group: int, examples: Examples) -> Examples:
        """Return examples of which those of a group of users have no labels to learn from."""
        return examples.unlabelled(self.group_of[examples.users] == group)

    def learned_from(self, situation: str) -> Examples:
        """Return what a model of one situation learns from: where few, others' examples too."""
        some = self.examples[situation]
        others = [other for name, other in self.examples.items() if name != situation]
        return some if len(some) >= ENOUGH_USERS else join_examples([some, *others])

    def prior(self, situation: str) -> Linear:
        """Return the average of the generators, standardised as all models of a situation are."""
        shared = situation in SHARED
        scaling = self._shared_scaling if shared else Scaling.of(self.examples[situation].features)
        return Linear.prior(self.columns, scaling)

    @cached_property
    def shared_network(self) -> tuple[RankerModel, ...]:
        """The networks of the situations `SHARED`, one without each group of users."""
        before = [self.start[name].get(Network.name) for name in SHARED if name in self.start]
        start = next((model for model in before if model is not None), None)
        start = start or Linear.prior(self.columns, self._shared_scaling)
        return self.members(
            lambda: Network(self.columns, self.settings),
            join_examples(self._shared_examples),
            [start] * GROUPS,
        )

    @property
    def _shared_examples(self) -> list[Examples]:
        return [self.examples[name] for name in SHARED if name in self.examples]

    @cached_property
    def _shared_scaling(self) -> Scaling:
        features = [some.features for some in self._shared_examples]
        step = max(1, sum(map(len, features)) // STANDARDISED_ROWS)
        return Scaling.of(np.concatenate([part[::step] for part in features]))
