"""Protocols: ways to hide interactions, each a task to tune on and one to report.

Who and what is hidden follows from a seed and the ids of users and items, by hash: the order of
the rows does not matter, and a user or item that is added moves no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from isthmus.errors import InvalidInput
from isthmus.evaluation.interaction_log import Codes, InteractionLog, Mask, chances
from isthmus.evaluation.task import Kind, Split, Task, TestUser
from isthmus.schema import TIME

HALVES: tuple[Split, Split] = ("val", "test")


class Protocol(NamedTuple):
    """The two tasks of a protocol."""

    val: Task
    test: Task


def cold_user(
    interactions: pa.Table,
    domains: Mapping[str, str],
    target_domain: str,
    *,
    least: int = 5,
    share: float = 0.1,
    seed: int = 0,
) -> Protocol:
    """Hide everything that some users did in the target domain.

    Of the users with enough interactions in the target domain and outside it, a share is held out
    for val and another for test. Where there is one domain alone, nothing is left of them: their
    histories are empty.

    Parameters
    ----------
    interactions : pyarrow.Table
        user_id, item_id, value, time.
    domains : mapping of str to str
        The domain of every item, used or not.
    target_domain : str
        Where to recommend.
    least : int
        Distinct items that a held-out user has in the target domain, and outside it.
    share : float
        Of the users with so many, held out for each of val and test.
    seed : int
        Of the choice.

    Returns
    -------
    Protocol
        Tasks with one train table: of the held-out users it has what is outside the target.

    Raises
    ------
    InvalidInput
        If the interactions cannot be used, or nobody is held out.
    """
    log = InteractionLog(interactions, domains)
    return _cold(log, target_domain, 0, least, share, seed)


def few_shot(
    interactions: pa.Table,
    domains: Mapping[str, str],
    target_domain: str,
    shots: int,
    *,
    least: int = 5,
    share: float = 0.1,
    seed: int = 0,
) -> Protocol:
    """Hide what the users of `cold_user` did in the target domain but for a few interactions.

    The first by time are revealed, or, where times are equal or absent, some by hash. They are in
    the history and excluded from the lists, and not in the train table, which is that of
    `cold_user`. Users of whom nothing is then left to hide are dropped.

    Parameters
    ----------
    interactions, domains, target_domain, least, share, seed
        As for `cold_user`.
    shots : int
        Interactions revealed of each user, 1 or more.

    Raises
    ------
    InvalidInput
        If the interactions cannot be used, or nobody is held out.
    """
    if shots < 1:
        raise InvalidInput(f"{shots} shots reveal nothing; give 1 or more, or take cold_user")
    log = InteractionLog(interactions, domains)
    return _cold(log, target_domain, shots, least, share, seed)


def warm(
    interactions: pa.Table,
    domains: Mapping[str, str],
    target_domain: str,
    *,
    hidden: float = 0.2,
    least: int = 5,
    share: float = 0.1,
    seed: int = 0,
) -> Protocol:
    """Hide some of what some users did in the target domain.

    Parameters
    ----------
    interactions, domains, target_domain, share, seed
        As for `cold_user`.
    hidden : float
        Share of a held-out user's target interactions that is hidden, rounded up; one stays.
    least : int
        Distinct items that a held-out user has in the target domain, 2 or more.

    Raises
    ------
    InvalidInput
        If the interactions cannot be used, or nobody is held out.
    """
    log = InteractionLog(interactions, domains)
    target = log.in_domain(target_domain)
    counts = log.counts(target)
    part = _part(log.user_ids, counts >= max(least, 2), share, seed)
    held = target & (part[log.users] >= 0)
    wanted = np.minimum(np.ceil(hidden * counts).astype(np.int64), counts - 1)
    hide = _first_of_each(log, held, log.pair_chances(seed + 1, held), wanted)
    facts = {"hidden": hidden, "least": least, "share": share, "seed": seed}
    tasks = (
        _task(log, f"warm {target_domain}", "warm", split, target_domain, ~hide,
              hide & (part[log.users] == number), facts)
        for number, split in enumerate(HALVES)
    )  # fmt: skip
    return Protocol(*tasks)


def cold_item(
    interactions: pa.Table,
    domains: Mapping[str, str],
    target_domain: str,
    *,
    share: float = 0.1,
    seed: int = 0,
) -> Protocol:
    """Hide everything that anybody did with some items, and rank those items alone.

    Parameters
    ----------
    interactions, domains, target_domain, seed
        As for `cold_user`.
    share : float
        Of the target domain's items, hidden for each of val and test.

    Raises
    ------
    InvalidInput
        If the interactions cannot be used, or nobody has a history and a hidden item.
    """
    log = InteractionLog(interactions, domains)
    candidates = np.array(log.candidates(target_domain), object)
    part_of = dict(zip(candidates, _part(candidates, True, share, seed), strict=True))
    part = np.array([part_of.get(item, -1) for item in log.item_ids], np.int64)[log.items]
    facts = {"share": share, "seed": seed}
    tasks = []
    for number, split in enumerate(HALVES):
        own = [item for item in candidates if part_of[item] == number]
        hide = (part == number) & (log.counts(part < 0) > 0)[log.users]
        tasks.append(
            _task(log, f"cold items of {target_domain}", "cold item", split, target_domain,
                  part < 0, hide, facts, own)
        )  # fmt: skip
    return Protocol(*tasks)


def rating(
    interactions: pa.Table,
    domains: Mapping[str, str],
    target_domain: str | None = None,
    *,
    share: float = 0.1,
    seed: int = 0,
) -> Protocol:
    """Hide some values, to be predicted.

    Parameters
    ----------
    interactions, domains, seed
        As for `cold_user`.
    target_domain : str, optional
        Where to predict; by default everywhere.
    share : float
        Of the pairs of user and item, hidden for each of val and test.

    Raises
    ------
    InvalidInput
        If the interactions cannot be used, or nothing is hidden.
    """
    log = InteractionLog(interactions, domains)
    target = log.in_domain(target_domain)
    drawn = log.pair_chances(seed, target)
    facts = {"share": share, "seed": seed}
    visible = ~(target & (drawn < 2 * share))
    tasks = (
        _task(log, f"ratings of {target_domain or 'all'}", "rating", split, target_domain, visible,
              target & (number * share <= drawn) & (drawn < (number + 1) * share), facts)
        for number, split in enumerate(HALVES)
    )  # fmt: skip
    return Protocol(*tasks)


def temporal(
    interactions: pa.Table,
    domains: Mapping[str, str],
    target_domain: str | None = None,
    *,
    shares: tuple[float, float] = (0.8, 0.9),
    times: tuple[Any, Any] | None = None,
) -> Protocol:
    """Hide everything after a moment, of everybody.

    Val hides what lies from the first moment until before the second, test what lies from the
    second on; each trains on all that lies before its own moment and on nothing later. What a user
    did before is excluded and does not count again. Users that start later stay, with an empty
    history, and so do items that start later, since neither is known beforehand when a system is
    in use; the task's facts count both.

    Parameters
    ----------
    interactions, domains
        As for `cold_user`; every interaction has a time.
    target_domain : str, optional
        Where to recommend; by default everywhere.
    shares : tuple of float
        The moments, as shares of all interactions that lie before them.
    times : tuple, optional
        The moments themselves, as datetimes or numbers like the times.

    Raises
    ------
    InvalidInput
        If the interactions cannot be used, a time is null, or nothing is hidden.
    """
    log = InteractionLog(interactions, domains)
    at = log.times()
    first, second = _moments(log, at, shares) if times is None else (_moment(log, t) for t in times)
    if not first < second:
        raise InvalidInput(f"the moments {first} and {second} are not one after the other")
    tasks = []
    for split, start, end in zip(HALVES, (first, second), (second, None), strict=True):
        before = at < start
        after = (at >= start) & (True if end is None else at < end)
        tasks.append(_later(log, target_domain, split, before, after, start))
    return Protocol(*tasks)


def _cold(
    log: InteractionLog, target_domain: str, shots: int, least: int, share: float, seed: int
) -> Protocol:
    target = log.in_domain(target_domain)
    enough = log.counts(target) >= max(least, 1)
    if not target.all():
        enough &= log.counts(~target) >= least
    part = _part(log.user_ids, enough, share, seed)
    held = target & (part[log.users] >= 0)
    name = f"cold users in {target_domain}"
    kind: Kind = "cold user"
    shown = np.zeros(len(log), bool)
    if shots:
        name, kind = f"{shots} shots in {target_domain}", "few-shot"
        most = np.full(len(log.user_ids), shots)
        shown = _first_of_each(log, held, log.pair_chances(seed + 1, held), most, by_time=True)
    facts = {"least": least, "share": share, "seed": seed, "shots": shots}
    tasks = (
        _task(log, name, kind, split, target_domain, ~held,
              held & ~shown & (part[log.users] == number), facts, shown=shown)
        for number, split in enumerate(HALVES)
    )  # fmt: skip
    return Protocol(*tasks)


def _later(
    log: InteractionLog,
    target_domain: str | None,
    split: Split,
    before: Mask,
    after: Mask,
    start: Any,
) -> Task:
    hide = after & log.in_domain(target_domain)
    hide &= ~log.known(hide, before)
    users_before = log.counts(before) > 0
    items_before = np.bincount(log.items[before], minlength=len(log.item_ids)) > 0
    pairs = log.firsts(hide)
    facts = {
        "from": str(pa.scalar(start, log.table.schema.field(TIME).type).as_py()),
        "users that start later": len(np.unique(log.users[pairs & ~users_before[log.users]])),
        "items that start later": len(np.unique(log.items[pairs & ~items_before[log.items]])),
        "hidden of items that start later": int((pairs & ~items_before[log.items]).sum()),
    }
    name = f"after a moment in {target_domain or 'all'}"
    return _task(log, name, "temporal", split, target_domain, before, hide, facts)


def _task(
    log: InteractionLog,
    name: str,
    kind: Kind,
    split: Split,
    target_domain: str | None,
    train: Mask,
    hide: Mask,
    facts: Mapping[str, Any],
    candidates: list[str] | None = None,
    shown: Mask | None = None,
) -> Task:
    """Make a task of what is trained on, what is hidden, and what is shown beside the train."""
    visible = train if shown is None else train | shown
    ranked = log.candidates(target_domain) if candidates is None else candidates
    histories = log.items_by_user(visible)
    excluded: dict[int, tuple[str, ...]] = {}
    if kind not in ("cold item", "rating"):
        excluded = log.items_by_user(visible & log.in_domain(target_domain))
    truths = log.items_by_user(hide)
    values = log.values_by_user(hide) if kind == "rating" else {}
    users = [
        TestUser(
            log.user_ids[user],
            histories.get(user, ()),
            truth,
            excluded.get(user, ()),
            values.get(user),
        )
        for user, truth in truths.items()
    ]
    if not users:
        raise InvalidInput(
            f"the protocol {name!r} hides nothing for {split}; there are too few interactions, or "
            "a share or a moment leaves none out"
        )
    return Task(
        name, kind, log.table.filter(pa.array(train)), users, ranked, target_domain, log.domains,
        split, facts,
    )  # fmt: skip


def _part(ids: Any, eligible: Any, share: float, seed: int) -> Codes:
    """Give each id the number of the half that it is held out for, and -1 to the others."""
    if not 0 < share <= 0.5:
        raise InvalidInput(f"the share is {share}; give one over 0.0 and up to 0.5, for each half")
    drawn = chances(ids, seed)
    return np.where(eligible & (drawn < 2 * share), (drawn >= share).astype(np.int64), -1)


def _first_of_each(
    log: InteractionLog, mask: Mask, drawn: Any, most: Codes, *, by_time: bool = False
) -> Mask:
    """Choose so many of each user's items in the mask by what was drawn, or by time and then that.

    Every interaction with a chosen item is chosen.
    """
    rows = np.flatnonzero(log.firsts(mask))
    if by_time and not log.table.column(TIME).null_count:
        order = rows[np.lexsort((drawn[rows], log.times()[rows], log.users[rows]))]
    else:
        order = rows[np.lexsort((drawn[rows], log.users[rows]))]
    users = log.users[order]
    starts = np.searchsorted(users, users)
    chosen = np.zeros(len(log), bool)
    chosen[order[np.arange(len(order)) - starts < most[users]]] = True
    return log.known(mask, chosen)


def _moments(log: InteractionLog, at: Any, shares: tuple[float, float]) -> tuple[Any, Any]:
    if not 0 < shares[0] < shares[1] < 1 or not len(log):
        raise InvalidInput(f"{shares} cannot cut {len(log)} interactions; give two rising shares")
    ordered = np.sort(at)
    first, second = (ordered[int(share * len(ordered))].item() for share in shares)
    return first, second


def _moment(log: InteractionLog, time: datetime | float) -> Any:
    kind = log.table.schema.field(TIME).type
    try:
        scalar = pa.scalar(time, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError) as error:
        raise InvalidInput(f"{time!r} is no moment among times of type {kind}: {error}") from error
    return scalar.cast(pa.int64()).as_py() if pa.types.is_temporal(kind) else scalar.as_py()
