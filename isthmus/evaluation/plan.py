"""What an evaluation is to be: its protocols, baselines, metrics and seeds, in one object."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.interactions.ratings import rated_events, select_events
from isthmus.errors import InvalidInput
from isthmus.evaluation.baselines.tuning import default_grids, rating_grids
from isthmus.evaluation.interaction_log import Positives, positives_of
from isthmus.evaluation.protocols import (
    Protocol,
    cold_item,
    cold_user,
    few_shot,
    rating,
    temporal,
    warm,
)
from isthmus.evaluation.task import read_protocol
from isthmus.schema import EVENT, ITEM_ID, VALUE

Facts = Mapping[str, Any]

PROTOCOLS = ("cold", "few1", "few3", "few5", "warm", "cold_item", "rating", "temporal")
FEW = re.compile(r"few([1-9]\d*)")


@dataclass(frozen=True)
class EvaluationPlan:
    """The settings of an evaluation.

    Attributes
    ----------
    targets : sequence of str
        Domains to recommend in, one after the other; all that have interactions where none is
        named.
    protocols : sequence of str, optional
        What to hide of the interactions: ``"cold"`` (all that some users did in the target),
        ``"few1"``, ``"few3"``, ``"few5"`` (all but so many), ``"warm"`` (a fifth),
        ``"cold_item"`` (all of some items), ``"rating"`` (some values, to be predicted),
        ``"temporal"`` (all after a moment). See `isthmus.evaluation.protocols`. By
        default all of them, or none where folders are given.
    folders : sequence of path
        Protocols that are ready, as `read_protocol` reads them.
    baselines : sequence of str, optional
        Which baselines; by default all (see `BASELINES`).
    systems : sequence of str, optional
        Which of the space's own ways to answer; by default all (see `isthmus.Space.evaluate`).
    positive_from : float, optional
        The least value that is positive; ranking protocols look at positives alone. By default,
        where all values are equal, every interaction is, and else those of 0.8 of the largest
        value or more (of star ratings up to 5: 4 and more). Ratings are of all values.
    quick : bool
        Whether to take the first settings of every baseline's grid, and not to tune.
    least_users : int
        Tasks with fewer users to recommend to are skipped.
    seed : int
        Of what is hidden, of baselines, and of resamples.
    metric, ks, n, resamples
        As for `isthmus.evaluation.evaluate.evaluate`; the metric is what settings are
        chosen by, too.

    Raises
    ------
    InvalidInput
        If a protocol or a baseline is unknown, something is named twice, or there are targets
        for folders alone.

    Examples
    --------
    >>> EvaluationPlan(protocols=["cold", "few2"]).asked_protocols
    ('cold', 'few2')
    """

    targets: Sequence[str] = ()
    protocols: Sequence[str] | None = None
    folders: Sequence[str | Path] = ()
    baselines: Sequence[str] | None = None
    systems: Sequence[str] | None = None
    positive_from: float | None = None
    quick: bool = False
    least_users: int = 10
    seed: int = 0
    metric: str = "ndcg@10"
    ks: Sequence[int] = (10, 20, 200)
    n: int = 200
    resamples: int = 2_000

    def __post_init__(self) -> None:
        for name in self.asked_protocols:
            if name not in PROTOCOLS and not FEW.fullmatch(name):
                raise InvalidInput(
                    f"no protocol {name!r}; there are {', '.join(PROTOCOLS)} (few with any number)"
                )
        for name in self.asked_baselines:
            if name not in BASELINES:
                raise InvalidInput(f"no baseline {name!r}; there are {', '.join(BASELINES)}")
        if self.targets and not self.asked_protocols:
            raise InvalidInput(
                "a target goes with protocols; a folder has its own: leave targets (--target) out, "
                "or name protocols (--protocols) too"
            )
        for names in (self.asked_protocols, self.asked_baselines, tuple(self.targets)):
            twice = [name for name in names if names.count(name) > 1]
            if twice:
                raise InvalidInput(f"{twice[0]!r} is named twice; name it once")

    @property
    def asked_protocols(self) -> tuple[str, ...]:
        """The protocols that are made of interactions."""
        if self.protocols is None:
            return () if self.folders else PROTOCOLS
        return tuple(self.protocols)

    @property
    def asked_baselines(self) -> tuple[str, ...]:
        """The baselines, of lists and of values."""
        return BASELINES if self.baselines is None else tuple(self.baselines)


BASELINES = (*default_grids(content=True), *rating_grids())


class Proposal(NamedTuple):
    """A protocol that can be made.

    Attributes
    ----------
    name : str
        What it is called before there are tasks.
    make : callable
        Makes the tasks; raises `InvalidInput` with the reason where that is impossible.
    """

    name: str
    make: Callable[[], Protocol]


def proposals(
    plan: EvaluationPlan, interactions: pa.Table, domains: Mapping[str, str]
) -> Iterator[Proposal]:
    """Propose every protocol of a plan, folders first, then target by target.

    Parameters
    ----------
    plan : EvaluationPlan
        What is asked for.
    interactions : pyarrow.Table
        user_id, item_id, value, time; looked at only where the plan names protocols.
    domains : mapping of str to str
        The domain of every item, used or not.

    Raises
    ------
    InvalidInput
        If a target is unknown, there are no interactions, or none is positive.
    """
    for folder in plan.folders:
        yield Proposal(str(folder), partial(_enough, partial(_read, Path(folder)), 1))
    if not plan.asked_protocols:
        return
    targets = _targets(plan, interactions, domains)
    positives = positives_of(interactions, plan.positive_from)
    for target in targets:
        for name in plan.asked_protocols:
            if name == "rating":
                make = partial(_rating, interactions, domains, target, plan.seed)
            else:
                make = partial(_ranking, name, positives, domains, target, plan.seed)
            yield Proposal(f"{name} {target}", partial(_enough, make, plan.least_users))


def _targets(
    plan: EvaluationPlan, interactions: pa.Table, domains: Mapping[str, str]
) -> tuple[str, ...]:
    known = sorted(set(domains.values()))
    for target in plan.targets:
        if target not in known:
            raise InvalidInput(
                f"no domain {target!r} in this space; its domains are: "
                f"{', '.join(known) or 'none yet'}"
            )
    if not len(interactions):
        raise InvalidInput(
            "the space has no interactions with its items, so there is nothing to evaluate on; "
            "add some: isthmus interactions add FILES --space SPACE"
        )
    used = {domains[item] for item in pc.unique(interactions.column(ITEM_ID)).to_pylist()}
    return tuple(plan.targets) or tuple(domain for domain in known if domain in used)


def _read(folder: Path) -> Protocol:
    return Protocol(read_protocol(folder, "val"), read_protocol(folder, "test"))


def _rating(table: pa.Table, domains: Mapping[str, str], target: str, seed: int) -> Protocol:
    values = table.column(VALUE)
    if pc.count_distinct(values).as_py() < 2:
        raise InvalidInput(f"every value is {values[0].as_py():g}, so there is nothing to predict")
    if EVENT in table.column_names:
        table = select_events(table, rated_events(table))
    if not len(table):
        raise InvalidInput("values differ by the kind of event alone; there is nothing to predict")
    return rating(table, domains, target, seed=seed)


def _ranking(
    name: str, positives: Positives, domains: Mapping[str, str], target: str, seed: int
) -> Protocol:
    given = (positives.table, domains, target)
    few = FEW.fullmatch(name)
    if few:
        found = few_shot(*given, int(few.group(1)), seed=seed)
    elif name == "temporal":
        found = temporal(*given)
    else:
        make = {"cold": cold_user, "warm": warm, "cold_item": cold_item}[name]
        found = make(*given, seed=seed)
    return Protocol(*(replace(task, facts={**task.facts, **positives.facts}) for task in found))


def _enough(make: Callable[[], Protocol], least_users: int) -> Protocol:
    """Make a protocol, and refuse it where it is of too few users to say anything."""
    found = make()
    for task in found:
        if len(task.users) < least_users:
            raise InvalidInput(
                f"there are {len(task.users)} users to recommend to in {task.split}, fewer than "
                f"the least of {least_users}"
            )
    return found
