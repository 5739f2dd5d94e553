"""The splits that an evaluation plan needs: each protocol in each target domain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.interactions.ratings import latest_ratings, rated_events
from isthmus.errors import InvalidInput, command_in
from isthmus.evaluation.interaction_log import Positives, select_positives
from isthmus.evaluation.protocols import (
    Protocol,
    cold_item,
    cold_user,
    few_shot,
    rating,
    warm,
)
from isthmus.evaluation.request import FEW, EvaluationPlan
from isthmus.evaluation.task import read_protocol
from isthmus.evaluation.time_splits import session, temporal
from isthmus.schema import EVENT, ITEM_ID, VALUE

BY_TIME = {"temporal": temporal, "session": session}


class PlannedSplit(NamedTuple):
    """A protocol of the plan, not yet made.

    Attributes
    ----------
    name : str
        Its name before there are tasks.
    make : callable
        Returns the tasks; raises `InvalidInput` with the reason where that is impossible.
    """

    name: str
    make: Callable[[], Protocol]


def planned_splits(
    plan: EvaluationPlan, interactions: pa.Table, domains: Mapping[str, str]
) -> Iterator[PlannedSplit]:
    """Yield every protocol of a plan, folders first, then target by target.

    Parameters
    ----------
    plan : EvaluationPlan
        The plan.
    interactions : pyarrow.Table
        user_id, item_id, value, time; used only where the plan names protocols.
    domains : mapping of str to str
        The domain of every item, used or not.

    Raises
    ------
    InvalidInput
        If a target is unknown, there are no interactions, or none is positive.
    """
    for folder in plan.folders:
        yield PlannedSplit(str(folder), partial(_require_users, partial(_read, folder), 1))
    if not plan.protocol_names:
        return
    targets = _targets(plan, interactions, domains)
    positives = select_positives(interactions, plan.positive_from)
    for target in targets:
        for name in plan.protocol_names:
            if name == "rating":
                make = partial(_rating, interactions, domains, target, plan.seed)
            else:
                make = partial(_ranking, name, positives, domains, target, plan.seed)
            yield PlannedSplit(f"{name} {target}", partial(_require_users, make, plan.min_users))


def _targets(
    plan: EvaluationPlan, interactions: pa.Table, domains: Mapping[str, str]
) -> tuple[str, ...]:
    all_domains = sorted(set(domains.values()))
    for target in plan.targets or ():
        if target not in all_domains:
            raise InvalidInput(
                f"no domain {target!r} in this space; its domains are: "
                f"{', '.join(all_domains) or 'none yet'}"
            )
    if not len(interactions):
        raise InvalidInput(
            "the space has no interactions with its items, so there is nothing to evaluate on; "
            f"add some with: {command_in(None, 'interactions add FILES')}"
        )
    used = {domains[item] for item in pc.unique(interactions.column(ITEM_ID)).to_pylist()}
    return plan.targets or tuple(domain for domain in all_domains if domain in used)


def _read(folder: Path) -> Protocol:
    return Protocol(read_protocol(folder, "val"), read_protocol(folder, "test"))


def _rating(table: pa.Table, domains: Mapping[str, str], target: str, seed: int) -> Protocol:
    values = table.column(VALUE)
    if pc.count_distinct(values).as_py() < 2:
        raise InvalidInput(f"every value is {values[0].as_py():g}, so there is nothing to predict")
    if EVENT in table.column_names:
        table = latest_ratings(table, rated_events(table))
    if not len(table):
        raise InvalidInput("values differ by the kind of event alone; there is nothing to predict")
    return rating(table, domains, target, seed=seed)


def _ranking(
    name: str, positives: Positives, domains: Mapping[str, str], target: str, seed: int
) -> Protocol:
    data = (positives.table, domains, target)
    few = FEW.fullmatch(name)
    if few:
        protocol = few_shot(*data, int(few.group(1)), seed=seed)
    elif name in BY_TIME:
        protocol = BY_TIME[name](*data)
    else:
        make = {"cold": cold_user, "warm": warm, "cold_item": cold_item}[name]
        protocol = make(*data, seed=seed)
    return Protocol(*(replace(task, facts={**task.facts, **positives.facts}) for task in protocol))


def _require_users(make: Callable[[], Protocol], min_users: int) -> Protocol:
    """Make a protocol, and refuse it where it has too few users."""
    protocol = make()
    for task in protocol:
        if len(task.users) < min_users:
            raise InvalidInput(
                f"there are {len(task.users)} users to recommend to in {task.split}, fewer than "
                f"the minimum of {min_users}"
            )
    return protocol
