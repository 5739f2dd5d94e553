"""The privacy budget of a space: what every private training has spent of it, on disk."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from isthmus.durable import write_atomically
from isthmus.errors import InvalidInput
from isthmus.files import with_checksum, without_checksum
from isthmus.privacy.accountant import Mechanism, epsilon_of
from isthmus.schema import PRIVACY_BUDGET_FILE

DEFAULT_DELTA: Final = 1e-6


class Expense(BaseModel):
    """What one training spent.

    Attributes
    ----------
    time : str
        When, in ISO 8601.
    mechanisms : list of Mechanism
        The mechanisms that were run.
    """

    model_config = ConfigDict(extra="forbid")
    time: str
    mechanisms: list[Mechanism]


class Budget(BaseModel):
    """All expenses of a space, the oldest first."""

    model_config = ConfigDict(extra="forbid")
    expenses: list[Expense] = []

    @property
    def mechanisms(self) -> list[Mechanism]:
        """All mechanisms that were run."""
        return [one for expense in self.expenses for one in expense.mechanisms]

    def spent(self, delta: float) -> float:
        """Return the epsilon of all expenses together, at a delta."""
        return epsilon_of(self.mechanisms, delta)


def read_budget(space: Path) -> Budget:
    """Read the budget of a space; one without private trainings has spent nothing.

    Raises
    ------
    InvalidInput
        If the record is damaged: what was spent is then not known, so nothing may be spent.
    """
    path = space / PRIVACY_BUDGET_FILE
    try:
        return Budget.model_validate(without_checksum(path.read_bytes()))
    except FileNotFoundError:
        return Budget()
    except ValueError as error:
        raise InvalidInput(
            f"{path} is damaged, so what private trainings have spent is not known; restore it "
            "from a backup"
        ) from error


def spend(
    space: Path, mechanisms: Sequence[Mechanism], delta: float, total: float | None
) -> Budget:
    """Record an expense, durably, before its result exists; return the budget with it.

    Parameters
    ----------
    space : Path
        The space; nobody else may spend meanwhile.
    mechanisms : sequence of Mechanism
        What will be run.
    delta : float
        The delta at which the total is compared.
    total : float or None
        Largest epsilon of all expenses together; None for no limit.

    Raises
    ------
    InvalidInput
        If the expenses would exceed the total, or the record is damaged; nothing is recorded.
    """
    before = read_budget(space)
    expense = Expense(
        time=datetime.now(UTC).isoformat(timespec="seconds"), mechanisms=list(mechanisms)
    )
    budget = Budget(expenses=[*before.expenses, expense])
    if total is not None and budget.spent(delta) > total * (1 + 1e-6):
        raise InvalidInput(
            f"this training would bring what {space} has spent from epsilon "
            f"{before.spent(delta):.3g} to {budget.spent(delta):.3g} at delta {delta:g}, and "
            f"[privacy] total_epsilon in space.toml is {total:g}; train with a smaller epsilon, or "
            "raise the total"
        )
    write_atomically(space / PRIVACY_BUDGET_FILE, with_checksum(budget.model_dump_json()))
    return budget


def require_budget(epsilon: float, delta: float, users: int) -> None:
    """Refuse a budget that promises nothing.

    Raises
    ------
    InvalidInput
        If epsilon is not above 0, or delta is not between 0 and 1 / users: with a larger one a
        mechanism that publishes all rows of one random user would pass as private.
    """
    if not epsilon > 0 or epsilon == float("inf"):
        raise InvalidInput(f"epsilon is {epsilon:g}; give a finite number above 0, such as 3")
    if not 0 < delta * users < 1:
        raise InvalidInput(
            f"delta is {delta:g}, and there are {users:,} users; it must be above 0 and below 1 / "
            f"{users:,} = {1 / max(users, 1):.3g}: with a larger one, all rows of one random user "
            "could be published"
        )
