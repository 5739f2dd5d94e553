"""Systems: whoever answers tasks, ready or still to be learned for a protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from isthmus.errors import InvalidInput
from isthmus.evaluation.lists import Rater, Recommender
from isthmus.evaluation.task import Task

Ready = Recommender | Rater


@dataclass(frozen=True)
class Learner:
    """A system that is made anew for each protocol.

    Attributes
    ----------
    make : callable
        Is handed the task of the split ``"val"``, to learn from its train table and to tune on
        its truth, and gives the system that answers val and test. It never sees the test task;
        the system that it gives does when it answers, as every system.
    ranks, rates : bool
        Whether what is made recommends, and whether it predicts values; it is asked for nothing
        else.
    settings : mapping, optional
        All that its answers depend on beside the task, as values that JSON knows. Answers of a
        system whose settings are told can be kept, and are not computed again.
    """

    make: Callable[[Task], Ready]
    ranks: bool = True
    rates: bool = False
    settings: Mapping[str, Any] | None = None


@dataclass(eq=False)
class Later:
    """A system that is made when it is first asked."""

    make: Callable[[], Ready]

    def __post_init__(self) -> None:
        self._made: Ready | None = None

    def made(self) -> Ready:
        """Give the system."""
        if self._made is None:
            self._made = self.make()
        return self._made


System = Ready | Learner | Callable[[Task], Ready]


def answers(system: System, task: Task) -> bool:
    """Tell whether a system is one for the kind of a task.

    A plain function is taken for the maker of a recommender.
    """
    rating = task.kind == "rating"
    if isinstance(system, Learner):
        return system.rates if rating else system.ranks
    if _is_ready(system):
        return hasattr(system, "rate" if rating else "recommend")
    return not rating


def require_system(name: str, system: object) -> None:
    """Refuse what is no system.

    Raises
    ------
    InvalidInput
        If it can neither answer nor be called to make what can.
    """
    if not (isinstance(system, Learner) or _is_ready(system) or callable(system)):
        raise InvalidInput(
            f"{name!r} is no system: {system!r} has neither recommend(task, n) nor rate(task), and "
            "is no function that makes one of a task"
        )


def prepared(system: System, val: Task) -> Ready | Later:
    """Give what answers the tasks of a protocol; a system to be learned waits to be asked."""
    if _is_ready(system):
        return cast(Ready, system)
    make = system.make if isinstance(system, Learner) else cast(Callable[[Task], Ready], system)
    return Later(lambda: make(val))


def settings_of(system: System) -> dict[str, Any] | None:
    """Give the settings that a system tells of itself; None where it tells none."""
    told = getattr(system, "settings", None)
    found = told() if callable(told) else told
    return None if found is None else dict(found)


def _is_ready(system: object) -> bool:
    return hasattr(system, "recommend") or hasattr(system, "rate")
