"""Evaluation from the log of recommendations: of another policy, and of the arms of an A/B test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, Field

from isthmus.data.interactions.feedback import canonical
from isthmus.data.recommendations import PROPENSITY
from isthmus.errors import InvalidInput, listed
from isthmus.evaluation.report import MetricValue
from isthmus.numerics.off_policy import LoggedSamples, cross_fitted, estimate_off_policy
from isthmus.numerics.sequential import ArmSums, always_valid_test
from isthmus.numerics.statistics import Estimate, ratio_estimate
from isthmus.requests import Request
from isthmus.schema import EVENT, ITEM_ID, RECOMMENDATION_ID, TIME, USER_ID

SECONDS_A_DAY: Final = 86_400
Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class RewardOptions(Request):
    """What counts as a success of a logged list, and how intervals are made."""

    reward: str = Field(
        default="click",
        description="Kind of event that counts, of those that name a recommendation.",
    )
    resamples: int = Field(default=2_000, ge=1, description="Bootstrap resamples of the intervals.")
    seed: int = Field(default=0, description="Seed of the random numbers.")


class EvaluateLogRequest(RewardOptions):
    """What the lists of a scenario would have earned, by the log."""

    scenario: str | None = Field(
        default=None,
        description="Scenario that is evaluated; by default each list's own.",
    )
    lists: int = Field(default=5_000, ge=1, description="Most lists, the newest, to replay.")


class EvaluateAbRequest(RewardOptions):
    """What the arms of an experiment earned."""

    experiment: str = Field(description="Name of the experiment.")
    control: str | None = Field(
        default=None, description="Arm that the others are compared with; by default the first."
    )


class LogEvaluation(BaseModel):
    """What a policy would have earned, a place, by the log of another.

    Attributes
    ----------
    lists, users, places, rewards : int
        Lists that were replayed, their users and places, and the successes there.
    skipped : int
        Lists without a user id, or that cannot be made any more.
    matched : float
        Share of the places at which the policy shows what was shown.
    effective_size : float
        Places of equal weight that would say as much.
    logged : MetricValue
        Successes a place as the lists were.
    ips, doubly_robust : MetricValue
        Estimates for the policy, see `isthmus.numerics.off_policy`.
    snips : MetricValue or None
        None where too little matches.
    """

    lists: int
    users: int
    places: int
    rewards: int
    skipped: int
    matched: float
    effective_size: float
    logged: MetricValue
    ips: MetricValue
    snips: MetricValue | None
    doubly_robust: MetricValue


class ArmResult(BaseModel):
    """What an arm earned: successes a place, with a bootstrap interval over users."""

    arm: str
    users: int
    lists: int
    places: int
    rewards: int
    rate: MetricValue


class ArmComparison(BaseModel):
    """An arm against the control.

    Attributes
    ----------
    difference : float
        Of the rates.
    low, high : float or None
        95 % confidence sequence: it holds at all days together. None before there is enough data.
    p_value : float
        Always valid, for the number of arms too: one may look every day and stop at any time.
    """

    arm: str
    control: str
    difference: float
    low: float | None
    high: float | None
    p_value: float


class AbEvaluation(BaseModel):
    """The arms of an experiment."""

    experiment: str
    days: int
    arms: list[ArmResult]
    comparisons: list[ArmComparison]


class _Places:
    """The places of logged lists; arrays of shape (n_places,), except `lengths`."""

    def __init__(self, lists: pa.Table, rewarded: set[tuple[str, str]]) -> None:
        items = lists.column(ITEM_ID).to_pylist()
        ids = lists.column(RECOMMENDATION_ID).to_pylist()
        offsets = lists.column("offset").to_pylist()
        self.lengths = np.array([len(of_list) for of_list in items], np.int64)
        self.items = [item for of_list in items for item in of_list]
        self.places = np.concatenate(
            [
                np.empty(0, np.int64),
                *(np.arange(n) + first for n, first in zip(self.lengths, offsets, strict=True)),
            ]
        )
        pairs = zip(ids, items, strict=True)
        self.rewards = np.array(
            [(name, item) in rewarded for name, of_list in pairs for item in of_list], np.float64
        )
        flat = [p for of_list in lists.column(PROPENSITY).to_pylist() for p in of_list]
        self.propensities = np.array(flat, np.float64)
        users = lists.column(USER_ID).to_pylist()
        owners = [name if user is None else user for name, user in zip(ids, users, strict=True)]
        codes = np.unique(np.array(owners, object).astype(str), return_inverse=True)[1]
        self.units = np.repeat(codes, self.lengths)


def rewarded_items(events: pa.Table, reward: str) -> set[tuple[str, str]]:
    """Return the pairs of a recommendation and an item with an event of a kind.

    Raises
    ------
    InvalidInput
        If there is no such event; the message lists the kinds there are.
    """
    kinds = sorted(set(events.column(EVENT).to_pylist()))
    wanted = [kind for kind in kinds if canonical(kind) == canonical(reward)]
    if not wanted:
        there = f"there are: {listed(kinds, reward)}" if kinds else "there are none"
        raise InvalidInput(
            f"no event of the kind {reward!r} names a recommendation; {there}. Send events with "
            "the recommendation_id of the answer"
        )
    rows = events.select([RECOMMENDATION_ID, ITEM_ID, EVENT]).to_pylist()
    return {(row[RECOMMENDATION_ID], row[ITEM_ID]) for row in rows if row[EVENT] in wanted}


def evaluate_log(
    lists: pa.Table,
    events: pa.Table,
    targets: Sequence[Sequence[str]],
    request: EvaluateLogRequest,
    skipped: int = 0,
) -> LogEvaluation:
    """Estimate what other lists would have earned from lists that were logged.

    Parameters
    ----------
    lists : pyarrow.Table
        Logged lists.
    events : pyarrow.Table
        Events that name a recommendation.
    targets : sequence of sequence of str
        For each list, the items that the evaluated policy would have shown in its places.
    request : EvaluateLogRequest
        What counts.
    skipped : int
        Lists that were left out.

    Raises
    ------
    InvalidInput
        If there is no list, or no success.
    """
    if not len(lists):
        raise InvalidInput(
            "no logged list can be replayed; log lists of users with an id: recommend(log=True)"
        )
    places = _Places(lists, rewarded_items(events, request.reward))
    wanted = [
        of_list[at] if at < len(of_list) else None
        for of_list, n in zip(targets, places.lengths.tolist(), strict=True)
        for at in range(n)
    ]
    codes = {item: code for code, item in enumerate(dict.fromkeys([*places.items, *wanted]))}
    items = np.array([codes[item] for item in places.items], np.int64)
    shown = np.array([-1 if item is None else codes[item] for item in wanted], np.int64)
    matched = (items == shown).astype(np.float64)
    predicted, predicted_target = cross_fitted(
        places.units, items, places.places, places.rewards, shown, len(codes)
    )
    samples = LoggedSamples(
        places.units, places.rewards, places.propensities, matched, predicted, predicted_target
    )
    found = estimate_off_policy(samples, resamples=request.resamples, seed=request.seed)
    return LogEvaluation(
        lists=len(lists),
        users=int(places.units.max(initial=-1)) + 1,
        places=len(items),
        rewards=int(places.rewards.sum()),
        skipped=skipped,
        matched=float(matched.mean()),
        effective_size=samples.effective_size,
        logged=_value(found.logged),
        ips=_value(found.ips),
        snips=None if found.snips is None else _value(found.snips),
        doubly_robust=_value(found.doubly_robust),
    )


def evaluate_ab(lists: pa.Table, events: pa.Table, request: EvaluateAbRequest) -> AbEvaluation:
    """Compare the arms of an experiment by its logged lists.

    Parameters
    ----------
    lists : pyarrow.Table
        The logged lists of the experiment that belong to an arm.
    events : pyarrow.Table
        Events that name a recommendation.
    request : EvaluateAbRequest
        Which experiment, and what counts.

    Raises
    ------
    InvalidInput
        If there are fewer than two arms, no such control, or no success.
    """
    names = lists.column("arm").to_pylist()
    arms = sorted(set(names))
    if len(arms) < 2:
        raise InvalidInput(
            f"the log has lists of {len(arms)} arms of the experiment {request.experiment!r}; "
            "answer with log=True and experiment=..., and look again when both arms have users"
        )
    control = arms[0] if request.control is None else request.control
    if control not in arms:
        raise InvalidInput(f"no arm {control!r}; there are: {', '.join(arms)}")
    places = _Places(lists, rewarded_items(events, request.reward))
    arm_of = np.repeat(np.array([arms.index(name) for name in names], np.int64), places.lengths)
    days = _days(lists.column(TIME).to_pylist())
    looks = {
        name: _sums_by_day(places, arm_of == code, np.repeat(days, places.lengths))
        for code, name in enumerate(arms)
    }
    counts = {name: names.count(name) for name in arms}
    others = [name for name in arms if name != control]
    return AbEvaluation(
        experiment=request.experiment,
        days=int(days.max(initial=0)) + 1,
        arms=[
            _arm(name, counts[name], places, arm_of == c, request) for c, name in enumerate(arms)
        ],
        comparisons=[_compared(name, control, looks, len(others)) for name in others],
    )


def _days(times: Sequence[datetime]) -> Codes:
    """Return the day of each time, from 0."""
    days = np.array([int(time.timestamp()) // SECONDS_A_DAY for time in times], np.int64)
    return np.asarray(days - days.min())


def _sums_by_day(places: _Places, of_arm: npt.NDArray[np.bool_], days: Codes) -> ArmSums:
    """Return the sums over users of an arm at the end of each day."""
    units, rewards, at = places.units[of_arm], places.rewards[of_arm], days[of_arm]
    n_units = int(places.units.max(initial=-1)) + 1
    earned, shown = np.zeros(n_units), np.zeros(n_units)
    looks = []
    for day in range(int(days.max(initial=0)) + 1):
        today = at == day
        earned += np.bincount(units[today], weights=rewards[today], minlength=n_units)
        shown += np.bincount(units[today], minlength=n_units)
        looks.append(ArmSums.of(earned, shown))
    return ArmSums(*(np.array(parts, np.float64) for parts in zip(*looks, strict=True)))


def _arm(
    name: str,
    n_lists: int,
    places: _Places,
    of_arm: npt.NDArray[np.bool_],
    request: EvaluateAbRequest,
) -> ArmResult:
    units = np.unique(places.units[of_arm], return_inverse=True)[1]
    rewards = np.asarray(np.bincount(units, weights=places.rewards[of_arm]), np.float64)
    shown = np.bincount(units).astype(np.float64)
    rate = ratio_estimate(rewards, shown, resamples=request.resamples, seed=request.seed)
    assert rate is not None  # every user has places
    return ArmResult(
        arm=name,
        users=len(shown),
        lists=n_lists,
        places=int(shown.sum()),
        rewards=int(rewards.sum()),
        rate=_value(rate),
    )


def _compared(
    name: str, control: str, looks: Mapping[str, ArmSums], comparisons: int
) -> ArmComparison:
    test = always_valid_test(looks[control], looks[name], alpha=0.05 / comparisons)
    low, high = float(test.low[-1]), float(test.high[-1])
    return ArmComparison(
        arm=name,
        control=control,
        difference=float(test.difference[-1]),
        low=low if np.isfinite(low) else None,
        high=high if np.isfinite(high) else None,
        p_value=min(1.0, float(test.p_value[-1]) * comparisons),
    )


def _value(estimate: Estimate) -> MetricValue:
    return MetricValue(value=estimate.value, low=estimate.low, high=estimate.high)


def describe_log(found: LogEvaluation) -> list[tuple[str, Any]]:
    """Return the estimates with their names, in the order in which they are shown."""
    return [
        ("as logged", found.logged),
        ("IPS", found.ips),
        ("SNIPS", found.snips),
        ("doubly robust", found.doubly_robust),
    ]
