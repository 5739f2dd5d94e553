"""A/B tests: users are split by a keyed hash between scenarios, or between releases."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from pydantic import Field, SkipValidation

from isthmus.errors import InvalidInput
from isthmus.requests import Request, require_mapping
from isthmus.retrieval.recommend.request import RecommendRequest

POINTS: Final = 2**64


class Arm(Request):
    """One arm of an experiment: what answers, and which share of the users it has."""

    scenario: str | None = Field(default=None, description="Scenario of the arm's lists.")
    release: int | None = Field(
        default=None, ge=1, description="Release whose recommender ranks the arm's lists."
    )
    share: float = Field(
        default=1.0, gt=0, allow_inf_nan=False, description="Users, relative to the other arms."
    )


class Experiment(Request):
    """Two arms or more between which users are split.

    Examples
    --------
    >>> test = Experiment(name="boots", arms={"a": {}, "b": {"scenario": "boots"}}, key="k7")
    >>> test.arm_of("user-1"), test.arm_of("user-1"), test.arm_of(None)
    ('a', 'a', None)
    """

    name: str = Field(description="Name of the experiment; another name splits anew.")
    arms: SkipValidation[Mapping[str, Any]] = Field(
        description="Arms by name, such as {'a': {}, 'b': {'scenario': 'home'}}; the first one "
        "is the control."
    )
    key: str = Field(
        default="", description="Key of the hash, so that nobody can choose an arm by an id."
    )

    def check(self) -> None:
        """Raise `InvalidInput` if there are too few arms, or one is not valid."""
        if not self.name.strip():
            raise InvalidInput("the name of an experiment is empty; give one")
        if not isinstance(self.arms, Mapping) or len(self.arms) < 2:
            raise InvalidInput(
                f"the experiment {self.name!r} has no two arms; give arms by name, such as "
                "{'a': {}, 'b': {'scenario': 'home'}}"
            )
        for name in self.arms:
            self.arm(name)

    @classmethod
    def of(cls, given: Any) -> Experiment:
        """Return an experiment that is given as such, or by its values."""
        if isinstance(given, Experiment):
            return given
        require_mapping(given, "experiment", "values, or an isthmus.Experiment")
        return cls(**given)

    def arm(self, name: str) -> Arm:
        """Return an arm by its name."""
        values = self.arms[name]
        if isinstance(values, Arm):
            return values
        require_mapping(values, f"the arm {name!r} of {self.name!r}", "its settings")
        try:
            return Arm(**values)
        except InvalidInput as error:
            raise InvalidInput(f"the arm {name!r} of {self.name!r}: {error}") from error

    def arm_of(self, user_id: str | None) -> str | None:
        """Return the arm that a user belongs to; None for a user without an id.

        The same user has the same arm as long as name, key and shares stay.
        """
        if user_id is None:
            return None
        # Keys of BLAKE2b have at most 64 bytes.
        key = blake2b(self.key.encode()).digest()
        hashed = blake2b(f"{self.name}\0{user_id}".encode(), digest_size=8, key=key).digest()
        point = int.from_bytes(hashed, "big") / POINTS
        shares = {name: self.arm(name).share for name in self.arms}
        left = point * sum(shares.values())
        for name, share in shares.items():
            left -= share
            if left < 0:
                return name
        return name


class Assigned(NamedTuple):
    """What an experiment says of a user: the arm, and the release whose recommender ranks."""

    experiment: str | None = None
    arm: str | None = None
    release: int | None = None


def in_arm(request: RecommendRequest) -> tuple[RecommendRequest, Assigned]:
    """Return a request with the scenario of the user's arm, and the arm."""
    if request.experiment is None:
        return request, Assigned()
    experiment = Experiment.of(request.experiment)
    name = experiment.arm_of(request.user.id)
    arm = experiment.arm(next(iter(experiment.arms)) if name is None else name)
    assigned = Assigned(experiment.name, name, arm.release)
    if arm.scenario is None:
        return request, assigned
    if request.scenario is not None:
        raise InvalidInput(
            f"the scenario {request.scenario!r} is given beside the experiment "
            f"{experiment.name!r}, whose arms have their own; leave it out"
        )
    given = {name: getattr(request, name) for name in request.model_fields_set}
    return RecommendRequest(**{**given, "scenario": arm.scenario}), assigned
