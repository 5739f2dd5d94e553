"""Protocols: ways to split interactions into a task to tune on (val) and one to report (test).

Users and items are held out by a hash of their ids and a seed: the order of the rows does not
matter, and an added user or item moves no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from isthmus.errors import InvalidInput
from isthmus.evaluation.interaction_log import InteractionLog, hash_uniform
from isthmus.evaluation.task import Kind, Split, Task, TestUser
from isthmus.numerics.arrays import Counts, Mask, Positions
from isthmus.schema import TIME

SPLITS: tuple[Split, Split] = ("val", "test")


class Protocol(NamedTuple):
    """The two tasks of a protocol."""

    val: Task
    test: Task


def cold_user(
    interactions: pa.Table,
    domains: Mapping[str, str],
    target_domain: str,
    *,
    min_items: int = 5,
    share: float = 0.1,
    seed: int = 0,
) -> Protocol:
    """Hide all interactions of some users in the target domain: cold-start users.

    Of the users with enough interactions in the target domain and outside it, a share is held out
    for val and another for test. With one domain alone their histories are empty.

    Parameters
    ----------
    interactions : pyarrow.Table
        user_id, item_id, value, time.
    domains : mapping of str to str
        The domain of every item, used or not.
    target_domain : str
        Where to recommend.
    min_items : int
        Distinct items that a held-out user has in the target domain, and outside it.
    share : float
        Share of the users with so many that is held out for each of val and test.
    seed : int
        Random seed.

    Returns
    -------
    Protocol
        Tasks with one train table: of the held-out users it has the interactions outside the
        target.

    Raises
    ------
    InvalidInput
        If the interactions cannot be used, or no user is held out.
    """
    log = InteractionLog(interactions, domains)
    return _cold(log, target_domain, 0, min_items, share, seed)


def few_shot(
    interactions: pa.Table,
    domains: Mapping[str, str],
    target_domain: str,
    shots: int,
    *,
    min_items: int = 5,
    share: float = 0.1,
    seed: int = 0,
) -> Protocol:
    """Hide all but a few interactions of the users of `cold_user` in the target domain.

    The first by time are revealed, or, where times are equal or absent, some by hash. They are in
    the history and excluded from the lists, and not in the train table, which is that of
    `cold_user`. Users without further interactions are dropped.

    Parameters
    ----------
    interactions, domains, target_domain, min_items, share, seed
        As for `cold_user`.
    shots : int
        Interactions revealed of each user, 1 or more.

    Raises
    ------
    InvalidInput
        If the interactions cannot be used, or no user is held out.
    """
    if shots < 1:
        raise InvalidInput(f"{shots} shots reveal nothing; give 1 or more, or take cold_user")
    log = InteractionLog(interactions, domains)
    return _cold(log, target_domain, shots, min_items, share, seed)


def warm(
    interactions: pa.Table,
    domains: Mapping[str, str],
    target_domain: str,
    *,
    hidden: float = 0.2,
    min_items: int = 5,
    share: float = 0.1,
    seed: int = 0,
) -> Protocol:
    """Hide some interactions of some users in the target domain.

    Parameters
    ----------
    interactions, domains, target_domain, share, seed
        As for `cold_user`.
    hidden : float
        Share of a held-out user's target interactions that is hidden, rounded up; one stays.
    min_items : int
        Distinct items that a held-out user has in the target domain, 2 or more.

    Raises
    ------
    InvalidInput
        If the interactions cannot be used, or no user is held out.
    """
    log = InteractionLog(interactions, domains)
    target = log.in_domain(target_domain)
    counts = log.counts(target)
    split_of = _assign_splits(log.user_ids, counts >= max(min_items, 2), share, seed)
    held_out = target & (split_of[log.users] >= 0)
    n_hidden = np.minimum(np.ceil(hidden * counts).astype(np.int64), counts - 1)
    hide = _first_of_each(log, held_out, log.pair_hashes(seed + 1, held_out), n_hidden)
    facts = {"hidden": hidden, "min_items": min_items, "share": share, "seed": seed}
    tasks = (
        make_task(log, f"warm {target_domain}", "warm", split, target_domain, ~hide,
              hide & (split_of[log.users] == number), facts)
        for number, split in enumerate(SPLITS)
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
    """Hide all interactions with some items, and rank those items alone: cold-start items.

    Parameters
    ----------
    interactions, domains, target_domain, seed
        As for `cold_user`.
    share : float
        Share of the target domain's items that is hidden for each of val and test.

    Raises
    ------
    InvalidInput
        If the interactions cannot be used, or no user has a history and a hidden item.
    """
    log = InteractionLog(interactions, domains)
    candidates = np.array(log.candidates(target_domain), object)
    splits = _assign_splits(candidates, True, share, seed)
    split_of_item = dict(zip(candidates, splits, strict=True))
    split_of = np.array([split_of_item.get(i, -1) for i in log.item_ids], np.int64)[log.items]
    facts = {"share": share, "seed": seed}
    tasks = []
    for number, split in enumerate(SPLITS):
        ranked = [item for item in candidates if split_of_item[item] == number]
        hide = (split_of == number) & (log.counts(split_of < 0) > 0)[log.users]
        tasks.append(
            make_task(log, f"cold items of {target_domain}", "cold item", split, target_domain,
                  split_of < 0, hide, facts, ranked)
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
        Share of the pairs of user and item that is hidden for each of val and test.

    Raises
    ------
    InvalidInput
        If the interactions cannot be used, or nothing is hidden.
    """
    log = InteractionLog(interactions, domains)
    target = log.in_domain(target_domain)
    hashes = log.pair_hashes(seed, target)
    facts = {"share": share, "seed": seed}
    visible = ~(target & (hashes < 2 * share))
    tasks = (
        make_task(log, f"ratings of {target_domain or 'all'}", "rating", split, target_domain,
              visible,
              target & (number * share <= hashes) & (hashes < (number + 1) * share), facts)
        for number, split in enumerate(SPLITS)
    )  # fmt: skip
    return Protocol(*tasks)


def _cold(
    log: InteractionLog, target_domain: str, shots: int, min_items: int, share: float, seed: int
) -> Protocol:
    target = log.in_domain(target_domain)
    eligible = log.counts(target) >= max(min_items, 1)
    if not target.all():
        eligible &= log.counts(~target) >= min_items
    split_of = _assign_splits(log.user_ids, eligible, share, seed)
    held_out = target & (split_of[log.users] >= 0)
    name = f"cold users in {target_domain}"
    kind: Kind = "cold user"
    revealed = np.zeros(len(log), bool)
    if shots:
        name, kind = f"{shots} shots in {target_domain}", "few-shot"
        n_revealed = np.full(len(log.user_ids), shots)
        hashes = log.pair_hashes(seed + 1, held_out)
        revealed = _first_of_each(log, held_out, hashes, n_revealed, by_time=True)
    facts = {"min_items": min_items, "share": share, "seed": seed, "shots": shots}
    tasks = (
        make_task(log, name, kind, split, target_domain, ~held_out,
              held_out & ~revealed & (split_of[log.users] == number), facts, revealed=revealed)
        for number, split in enumerate(SPLITS)
    )  # fmt: skip
    return Protocol(*tasks)


def make_task(
    log: InteractionLog,
    name: str,
    kind: Kind,
    split: Split,
    target_domain: str | None,
    train: Mask,
    hide: Mask,
    facts: Mapping[str, Any],
    candidates: list[str] | None = None,
    revealed: Mask | None = None,
) -> Task:
    """Make a task from masks of shape (n_interactions,): to train on, hidden, revealed besides."""
    visible = train if revealed is None else train | revealed
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
            "a share or a cut-off leaves none out"
        )
    return Task(
        name, kind, log.table.filter(pa.array(train)), users, ranked, target_domain, log.domains,
        split, facts,
    )  # fmt: skip


def _assign_splits(ids: Any, eligible: Any, share: float, seed: int) -> Positions:
    """Return the index in `SPLITS` that each id is held out for, and -1 for the others."""
    if not 0 < share <= 0.5:
        raise InvalidInput(f"the share is {share}; give one over 0.0 and up to 0.5, for each split")
    hashes = hash_uniform(ids, seed)
    return np.where(eligible & (hashes < 2 * share), (hashes >= share).astype(np.int64), -1)


def _first_of_each(
    log: InteractionLog, mask: Mask, hashes: Any, counts: Counts, *, by_time: bool = False
) -> Mask:
    """Choose `counts` of each user's items in the mask by hash, or by time and then hash.

    Every interaction with a chosen item is chosen.
    """
    rows = np.flatnonzero(log.first_of_pairs(mask))
    if by_time and not log.table.column(TIME).null_count:
        order = rows[np.lexsort((hashes[rows], log.times()[rows], log.users[rows]))]
    else:
        order = rows[np.lexsort((hashes[rows], log.users[rows]))]
    users = log.users[order]
    starts = np.searchsorted(users, users)
    chosen = np.zeros(len(log), bool)
    chosen[order[np.arange(len(order)) - starts < counts[users]]] = True
    return log.with_pairs_of(mask, chosen)
