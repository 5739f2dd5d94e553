"""Protocols with one global split by time: everything after a cut-off, and sessions after it.

A split by time never trains on the future. The cut-off is the same for all users, as when a model
is trained at night and serves the next day.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from isthmus.errors import InvalidInput
from isthmus.evaluation.interaction_log import InteractionLog
from isthmus.evaluation.protocols import SPLITS, Protocol, make_task
from isthmus.evaluation.task import Split, Task
from isthmus.numerics.arrays import Mask, Positions
from isthmus.schema import TIME

SESSION_GAP_S = 1_800.0  # the usual 30 minutes without an event end a session
Window = tuple[Any, Any]


def temporal(
    interactions: pa.Table,
    domains: Mapping[str, str],
    target_domain: str | None = None,
    *,
    shares: tuple[float, float] = (0.8, 0.9),
    times: tuple[Any, Any] | None = None,
) -> Protocol:
    """Hide all interactions after a cut-off time.

    Val hides the interactions from the first cut-off until before the second, test those from the
    second on; each trains on all that lie before its cut-off and on nothing later. Items that a
    user had before are excluded and do not count again. Users and items that start later stay in
    the task, as they occur when a system is in use; the task's facts count both.

    Parameters
    ----------
    interactions, domains
        As for `cold_user`; every interaction has a time.
    target_domain : str, optional
        Where to recommend; by default everywhere.
    shares : tuple of float
        The cut-offs, as shares of all interactions that lie before them.
    times : tuple, optional
        The cut-offs, as datetimes or numbers like the times.

    Raises
    ------
    InvalidInput
        If the interactions cannot be used, a time is null, or nothing is hidden.
    """
    log = InteractionLog(interactions, domains)
    at = log.times()
    tasks = []
    for split, (start, end) in zip(SPLITS, _windows(log, at, shares, times), strict=True):
        before = at < start
        after = (at >= start) & (True if end is None else at < end)
        tasks.append(_temporal_task(log, target_domain, split, before, after, start))
    return Protocol(*tasks)


def session(
    interactions: pa.Table,
    domains: Mapping[str, str],
    target_domain: str | None = None,
    *,
    gap_s: float = SESSION_GAP_S,
    shares: tuple[float, float] = (0.8, 0.9),
    times: tuple[Any, Any] | None = None,
) -> Protocol:
    """Hide the second half of one session of each user after a cut-off time.

    A session ends where a user does nothing for longer than the gap. The session of a user is the
    first that begins after the cut-off and has two items or more of the target that are new to the
    user. The first half of these items (rounded down) is visible, with everything that the user did
    before them; the others are to be predicted. One list a user keeps users independent. Val has
    the sessions that begin from the first cut-off until before the second, test those from the
    second on; each trains on what lies before its cut-off. A session that is under way at a cut-off
    is not used.

    Parameters
    ----------
    interactions, domains, target_domain, shares, times
        As for `temporal`.
    gap_s : float
        Seconds; of times that are numbers, in their unit.

    Raises
    ------
    InvalidInput
        If the interactions cannot be used, a time is null, the gap is not above 0, or nothing is
        hidden.
    """
    if not gap_s > 0:
        raise InvalidInput(f"a session ends after a gap above 0 seconds, not {gap_s:g}")
    log = InteractionLog(interactions, domains)
    at = log.times()
    sessions = _sessions(log, at, gap_s)
    starts = at[np.searchsorted(sessions, sessions)]  # of the session of each row
    tasks = []
    for split, (start, end) in zip(SPLITS, _windows(log, at, shares, times), strict=True):
        inside = (starts >= start) & (True if end is None else starts < end)
        revealed, hide = _halves(log, sessions, inside & log.in_domain(target_domain))
        facts = {"from": _shown_time(log, start), "session gap (s)": gap_s}
        name = f"sessions in {target_domain or 'all'}"
        tasks.append(
            make_task(log, name, "session", split, target_domain, at < start, hide, facts,
                      revealed=revealed)
        )  # fmt: skip
    return Protocol(*tasks)


def _temporal_task(
    log: InteractionLog,
    target_domain: str | None,
    split: Split,
    before: Mask,
    after: Mask,
    start: Any,
) -> Task:
    hide = after & log.in_domain(target_domain)
    hide &= ~log.with_pairs_of(hide, before)
    users_before = log.counts(before) > 0
    items_before = np.bincount(log.items[before], minlength=len(log.item_ids)) > 0
    pairs = log.first_of_pairs(hide)
    facts = {
        "from": _shown_time(log, start),
        "users that start later": len(np.unique(log.users[pairs & ~users_before[log.users]])),
        "items that start later": len(np.unique(log.items[pairs & ~items_before[log.items]])),
        "hidden of items that start later": int((pairs & ~items_before[log.items]).sum()),
    }
    name = f"temporal {target_domain or 'all'}"
    return make_task(log, name, "temporal", split, target_domain, before, hide, facts)


def _windows(
    log: InteractionLog, at: Any, shares: tuple[float, float], times: tuple[Any, Any] | None
) -> tuple[Window, Window]:
    """Return the begin and the end of val and of test; that of test is None.

    Raises
    ------
    InvalidInput
        If the cut-offs are not ascending.
    """
    first, second = (
        _cutoffs_of_shares(log, at, shares)
        if times is None
        else (_cutoff_of_time(log, time) for time in times)
    )
    if not first < second:
        raise InvalidInput(f"the cut-offs {first} and {second} are not ascending")
    return (first, second), (second, None)


def _sessions(log: InteractionLog, at: Any, gap_s: float) -> Positions:
    """Return the session of each interaction, numbered in the order of the log, shape (n,)."""
    kind = log.table.schema.field(TIME).type
    ticks = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}
    gap = gap_s * (ticks[kind.unit] if pa.types.is_timestamp(kind) else 1)
    first = np.ones(len(log), bool)
    first[1:] = (np.diff(log.users) != 0) | (np.diff(at) > gap)
    return np.asarray(np.cumsum(first) - 1, np.int64)


def _halves(log: InteractionLog, sessions: Positions, mask: Mask) -> tuple[Mask, Mask]:
    """Split the first session of each user in the mask that has two new items or more.

    Returns
    -------
    tuple of numpy.ndarray
        bool, shape (n,): what is visible of these users, and the new items that are hidden.
    """
    new = np.flatnonzero(mask & log.first_of_pairs(np.ones(len(log), bool)))
    _, place, counts = np.unique(sessions[new], return_inverse=True, return_counts=True)
    new = new[counts[place] > 1]
    _, first = np.unique(log.users[new], return_index=True)
    new = new[np.isin(sessions[new], sessions[new[first]])]
    _, begin, place, counts = np.unique(
        log.users[new], return_index=True, return_inverse=True, return_counts=True
    )
    visible = np.arange(len(new)) - begin[place] < counts[place] // 2
    hide = np.zeros(len(log), bool)
    hide[new[~visible]] = True
    last = np.full(len(log.user_ids), -1)
    np.maximum.at(last, log.users[new[visible]], new[visible])
    return np.arange(len(log)) <= last[log.users], hide


def _shown_time(log: InteractionLog, time: Any) -> str:
    return str(pa.scalar(time, log.table.schema.field(TIME).type).as_py())


def _cutoffs_of_shares(
    log: InteractionLog, times: Any, shares: tuple[float, float]
) -> tuple[Any, Any]:
    if not 0 < shares[0] < shares[1] < 1 or not len(log):
        raise InvalidInput(f"{shares} cannot cut {len(log)} interactions; give two rising shares")
    ordered = np.sort(times)
    first, second = (ordered[int(share * len(ordered))].item() for share in shares)
    return first, second


def _cutoff_of_time(log: InteractionLog, time: datetime | float) -> Any:
    kind = log.table.schema.field(TIME).type
    try:
        scalar = pa.scalar(time, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError) as error:
        raise InvalidInput(f"{time!r} is no cut-off for times of type {kind}: {error}") from error
    return scalar.cast(pa.int64()).as_py() if pa.types.is_temporal(kind) else scalar.as_py()
