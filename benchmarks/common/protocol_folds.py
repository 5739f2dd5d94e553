"""Folds of a protocol: every user who can be held out is a test user once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from isthmus.evaluation.interaction_log import hash_uniform
from isthmus.evaluation.task import Task, read_protocol

MIN_ITEMS = 5  # in the target, and outside it, as the protocols have it
HIDDEN = 0.2  # of a warm user's target items
VAL_SHARE = 0.1  # of the users who are not in a fold, to tune on
Pairs = dict[str, list[str]]  # the items of each user


def write_folds(folder: Path, out: Path, folds: int, *, with_test: bool) -> list[Path]:
    """Write the folds of a protocol as protocol folders, and return them.

    What the protocol hides is put back first. A fold then hides anew: all target items of cold
    users, all but as many as the protocol shows of few-shot users, a fifth of warm users, a share
    of the items of a protocol of new items. Each fold has validation users of its own.

    Parameters
    ----------
    folder : Path
        The protocol.
    out : Path
        Where folds are written.
    folds : int
        How many.
    with_test : bool
        Whether the users of the test split take part; else nothing of them is used but what the
        train table has.

    Raises
    ------
    SystemExit
        If the protocol is of another kind.
    """
    val = read_protocol(folder, "val")
    splits = [val, *([read_protocol(folder, "test")] if with_test else [])]
    if val.kind not in ("cold user", "few-shot", "warm", "cold item"):
        raise SystemExit(f"{folder} is a {val.kind} task, which is not cross-validated")
    whole = _whole(splits)
    candidates = sorted({item for task in splits for item in task.candidates} | _targets(val))
    for fold in range(folds):
        place = out / f"{folder.name}-fold-{fold}"
        if not place.exists():
            part = place.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            make = _hide_items if val.kind == "cold item" else _hide_users
            make(val, whole, candidates, fold, folds, part)
            part.replace(place)
    return [out / f"{folder.name}-fold-{fold}" for fold in range(folds)]


def _whole(splits: Sequence[Task]) -> Pairs:
    """Return everything that users did: the train table, and what the splits know and hide."""
    whole: Pairs = {}
    train = splits[0].train
    pairs = zip(train["user_id"].to_pylist(), train["item_id"].to_pylist(), strict=True)
    for user, item in pairs:
        whole.setdefault(user, []).append(item)
    for task in splits:
        for user in task.users:
            whole.setdefault(user.user_id, []).extend([*user.history, *user.truth])
    return {user: list(dict.fromkeys(items)) for user, items in whole.items()}


def _targets(task: Task) -> set[str]:
    return {item for item, domain in task.domains.items() if domain == task.target_domain}


def _hide_users(
    task: Task, whole: Pairs, candidates: Sequence[str], fold: int, folds: int, out: Path
) -> None:
    target = {item for item in candidates if task.domains.get(item) == task.target_domain}
    shown = max((len(user.exclude) for user in task.users), default=0)
    in_target = {user: [item for item in items if item in target] for user, items in whole.items()}
    eligible = sorted(
        user
        for user, items in whole.items()
        if len(in_target[user]) >= max(MIN_ITEMS, 2)
        and (task.kind == "warm" or len(items) - len(in_target[user]) >= MIN_ITEMS)
    )
    places = (hash_uniform(eligible, 1) * folds).astype(int)
    other = hash_uniform(eligible, 2) < VAL_SHARE
    rows: dict[str, list[dict[str, Any]]] = {"test": [], "val": []}
    hidden: dict[str, set[str]] = {}
    for user, place, chosen in zip(eligible, places.tolist(), other.tolist(), strict=True):
        if place != fold and not chosen:
            continue
        items = _by_hash(user, in_target[user])
        if task.kind == "warm":
            n = int(np.ceil(HIDDEN * len(items)))
            truth, visible = items[:n], items[n:]
            hidden[user] = set(truth)
        else:
            n = 0 if task.kind == "cold user" else shown
            truth, visible = items[n:], items[:n]
            hidden[user] = set(items)
        if truth:
            history = [item for item in whole[user] if item not in truth]
            row = {"user_id": user, "history": history, "truth": truth, "exclude": visible}
            rows["test" if place == fold else "val"].append(row)
    kept = (
        (user, item)
        for user, items in whole.items()
        for item in items
        if item not in hidden.get(user, ())
    )
    _write(out, task, kept, rows, candidates, candidates)


def _hide_items(
    task: Task, whole: Pairs, candidates: Sequence[str], fold: int, folds: int, out: Path
) -> None:
    del candidates
    target = sorted(_targets(task).union(task.candidates))
    places = (hash_uniform(target, 1) * 2 * folds).astype(int)  # as small as a tenth each
    of_fold = {"test": 2 * fold, "val": 2 * fold + 1}
    ranked = {
        split: [item for item, place in zip(target, places.tolist(), strict=True) if place == n]
        for split, n in of_fold.items()
    }
    new = {item for items in ranked.values() for item in items}
    rows: dict[str, list[dict[str, Any]]] = {"test": [], "val": []}
    for user, items in whole.items():
        history = [item for item in items if item not in new]
        for split, users in rows.items():
            truth = sorted(set(items).intersection(ranked[split]))
            if history and truth:
                users.append({"user_id": user, "history": history, "truth": truth, "exclude": []})
    kept = ((user, item) for user, items in whole.items() for item in items if item not in new)
    _write(out, task, kept, rows, ranked["test"], ranked["val"])


def _by_hash(user: str, items: Sequence[str]) -> list[str]:
    order = np.argsort(hash_uniform([f"{user}\0{item}" for item in items], 3), kind="stable")
    return [items[place] for place in order.tolist()]


def _write(
    out: Path,
    task: Task,
    kept: Iterator[tuple[str, str]],
    rows: Mapping[str, list[dict[str, Any]]],
    candidates: Sequence[str],
    candidates_val: Sequence[str],
) -> None:
    users, items = zip(*kept, strict=True)
    domains = [task.domains.get(item, task.target_domain) for item in items]
    empty = [split for split, of_split in rows.items() if not of_split]
    if empty:
        raise SystemExit(f"a fold of {task.name} has no {empty[0]} users; take fewer folds")
    columns = {"user_id": users, "item_id": items, "domain": domains}
    train = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    pq.write_table(train, out / "train.parquet")
    lists = pa.list_(pa.string())
    schema = pa.schema(
        [("user_id", pa.string()), ("history", lists), ("truth", lists), ("exclude", lists)]
    )
    for split, of_split in rows.items():
        pq.write_table(pa.Table.from_pylist(of_split, schema), out / f"{split}.parquet")
    for name, ids in (("candidates", candidates), ("candidates_val", candidates_val)):
        unique = pc.unique(pa.array(ids, pa.string()))
        pq.write_table(pa.table({"item_id": unique}), out / f"{name}.parquet")
