"""Systems: whatever answers tasks, fitted or still to be trained for a protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from isthmus.errors import InvalidInput
from isthmus.evaluation.lists import Rater, Recommender
from isthmus.evaluation.task import Task

FittedSystem = Recommender | Rater


@dataclass(frozen=True)
class SystemFactory:
    """A system that is trained anew for each protocol.

    Attributes
    ----------
    make : callable
        Takes the task of the split ``"val"``, to learn from its train table and to tune on its
        truth, and returns the system that answers val and test. It never sees the test task; the
        system that it returns does when it answers, as every system.
    ranks, rates : bool
        Whether the system recommends, and whether it predicts values.
    settings : mapping, optional
        All that its answers depend on beside the task, as JSON values. Only answers of a system
        with settings are cached.
    """

    make: Callable[[Task], FittedSystem]
    ranks: bool = True
    rates: bool = False
    settings: Mapping[str, Any] | None = None


@dataclass(eq=False)
class LazySystem:
    """A system that is made when it is first used."""

    make: Callable[[], FittedSystem]

    def __post_init__(self) -> None:
        self._made: FittedSystem | None = None

    def made(self) -> FittedSystem:
        """Return the system."""
        if self._made is None:
            self._made = self.make()
        return self._made


System = FittedSystem | SystemFactory | Callable[[Task], FittedSystem]


def can_answer(system: System, task: Task) -> bool:
    """Return whether a system answers tasks of this kind.

    A plain function is taken to make a recommender.
    """
    is_rating = task.kind == "rating"
    if isinstance(system, SystemFactory):
        return system.rates if is_rating else system.ranks
    if _is_fitted(system):
        return hasattr(system, "rate" if is_rating else "recommend")
    return not is_rating


def require_system(name: str, system: object) -> None:
    """Refuse what is no system.

    Raises
    ------
    InvalidInput
        If it can neither answer nor be called to make a system.
    """
    if not (isinstance(system, SystemFactory) or _is_fitted(system) or callable(system)):
        raise InvalidInput(
            f"{name!r} is no system: {system!r} has neither recommend(task, n) nor rate(task), and "
            "is no function that makes one of a task"
        )


def prepare(system: System, val: Task) -> FittedSystem | LazySystem:
    """Return what answers the tasks of a protocol; a system to be trained is made on first use."""
    if _is_fitted(system):
        return cast(FittedSystem, system)
    make = (
        system.make
        if isinstance(system, SystemFactory)
        else cast(Callable[[Task], FittedSystem], system)
    )
    return LazySystem(lambda: make(val))


def settings_of(system: System) -> dict[str, Any] | None:
    """Return the settings of a system; None where it has none."""
    attribute = getattr(system, "settings", None)
    settings = attribute() if callable(attribute) else attribute
    return None if settings is None else dict(settings)


def _is_fitted(system: object) -> bool:
    return hasattr(system, "recommend") or hasattr(system, "rate")
