"""A task: what a system may see, and what is hidden from it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from isthmus.digests import digest
from isthmus.errors import InvalidInput
from isthmus.schema import DOMAIN, EXCLUDE, HISTORY, ITEM_ID, TIME, TRUTH, USER_ID, VALUE

Kind = Literal["cold user", "few-shot", "warm", "cold item", "rating", "temporal", "session",
             "other"]  # fmt: skip
Split = Literal["val", "test"]
KINDS: tuple[Kind, ...] = get_args(Kind)
INTERACTION_COLUMNS = (USER_ID, ITEM_ID, VALUE, TIME)


@dataclass(frozen=True)
class TestUser:
    """A user to recommend to.

    Attributes
    ----------
    user_id : str
        The id of the user.
    history : tuple of str
        The visible items, of every domain, oldest first where times are known.
    truth : tuple of str
        The hidden items, which are relevant.
    exclude : tuple of str
        The visible items of the target domain, which are neither recommended nor counted.
    ratings : tuple of float, optional
        The value of each item of the truth, where values are to be predicted.
    """

    __test__: ClassVar[bool] = False  # pytest does not collect it

    user_id: str
    history: tuple[str, ...]
    truth: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    ratings: tuple[float, ...] | None = None


@dataclass(frozen=True, eq=False)
class Task:
    """One task, the same for every system.

    Attributes
    ----------
    name : str
        Its name in reports.
    kind : str
        One of `KINDS`.
    train : pyarrow.Table
        user_id, item_id, value, time: the training interactions.
    users : sequence of TestUser
        The users to recommend to.
    candidates : sequence of str
        The items that are ranked, all of them.
    target_domain : str or None
        The domain of the candidates; None where they are of several.
    domains : mapping of str to str
        The domain of each item, where there is one.
    split : str
        ``"val"`` to tune on, ``"test"`` to report.
    facts : mapping
        How it was made: seeds, thresholds, counts.

    Raises
    ------
    InvalidInput
        If the train table lacks a column, or a user's truth is empty, no candidate, or excluded.
    """

    name: str
    kind: Kind
    train: pa.Table
    users: Sequence[TestUser]
    candidates: Sequence[str]
    target_domain: str | None
    domains: Mapping[str, str] = field(default_factory=dict)
    split: Split = "test"
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        absent = [name for name in INTERACTION_COLUMNS if name not in self.train.column_names]
        if absent:
            raise InvalidInput(
                f"the train table of task {self.name!r} has no column {', '.join(absent)}; it "
                f"needs {', '.join(INTERACTION_COLUMNS)}"
            )
        if self.kind not in KINDS:
            raise InvalidInput(f"a task cannot be {self.kind!r}; it is one of {', '.join(KINDS)}")
        self._check_counts()
        for user in self.users:
            self._check(user)

    def _check_counts(self) -> None:
        """Refuse a split without users, and users or candidates that would count twice."""
        split = f"the {self.split} split of task {self.name!r}"
        if not self.users:
            raise InvalidInput(f"{split} has no users, so there is nothing to measure")
        for what, ids in (
            ("user", [user.user_id for user in self.users]),
            ("candidate", self.candidates),
        ):
            if not all(ids):
                row = [bool(name) for name in ids].index(False) + 1
                raise InvalidInput(f"{split} has no {what} id in row {row}; leave the row out")
            if len(set(ids)) < len(ids):
                (twice, n), *_ = Counter(ids).most_common(1)
                raise InvalidInput(
                    f"{split} lists {what} {twice!r} {n} times; list each once (a user with all "
                    "hidden items in one row)"
                )

    def _check(self, user: TestUser) -> None:
        name = f"user {user.user_id!r} of task {self.name!r}"
        if not user.truth or len(set(user.truth)) < len(user.truth):
            raise InvalidInput(f"the truth of {name} is empty or names an item twice; leave it out")
        unknown = [item for item in user.truth if item not in self.candidate_set]
        if unknown:
            raise InvalidInput(f"the truth of {name} has {unknown[0]!r}, which is no candidate")
        excluded = set(user.truth).intersection(user.exclude)
        if excluded:
            raise InvalidInput(f"the truth of {name} has {min(excluded)!r}, which is excluded")
        if user.ratings is not None and len(user.ratings) != len(user.truth):
            raise InvalidInput(
                f"{name} has {len(user.ratings)} ratings for {len(user.truth)} items"
            )

    @cached_property
    def candidate_set(self) -> frozenset[str]:
        """The candidates, to look up."""
        return frozenset(self.candidates)

    @cached_property
    def popularity(self) -> Mapping[str, int]:
        """The number of distinct users of each item of the train table."""
        pairs = self.train.select([USER_ID, ITEM_ID]).group_by([USER_ID, ITEM_ID]).aggregate([])
        counts = pairs.column(ITEM_ID).combine_chunks().value_counts()
        ids, users = counts.field("values").to_pylist(), counts.field("counts").to_pylist()
        return dict(zip(ids, users, strict=True))

    @cached_property
    def train_users(self) -> int:
        """The number of distinct users of the train table."""
        return int(pc.count_distinct(self.train.column(USER_ID)).as_py())

    @cached_property
    def digest(self) -> str:
        """Digest of everything but the facts, in hexadecimal: equal for equal tasks."""
        train = pa.BufferOutputStream()
        with pa.ipc.new_stream(train, self.train.schema) as stream:
            stream.write_table(self.train.combine_chunks())
        named = (self.name, self.kind, self.split, self.target_domain)
        rest = (named, list(self.candidates), list(self.users), sorted(self.domains.items()))
        return digest(digest(train.getvalue()) + digest(repr(rest))).hex()

    def visible_in_target(self, user: TestUser) -> int:
        """Return the number of visible items of a user in the target domain."""
        if self.target_domain is None:
            return len(set(user.history))
        in_target = {item for item in user.history if self.domains.get(item) == self.target_domain}
        return len(in_target.union(user.exclude))


def read_protocol(
    folder: str | Path,
    split: Split = "test",
    *,
    kind: Kind | None = None,
    target_domain: str | None = None,
) -> Task:
    """Read a task from a folder of Parquet files.

    ``train.parquet`` has user_id and item_id, and optionally value, time and domain;
    ``val.parquet`` and ``test.parquet`` have user_id, history, truth and exclude, a row a user;
    ``candidates.parquet`` has item_id, and ``candidates_val.parquet`` takes its place for val
    where it exists.

    Parameters
    ----------
    folder : path
        The folder; its name becomes the task's.
    split : str
        ``"val"`` or ``"test"``.
    kind : str, optional
        One of `KINDS`; by default inferred from the beginning of the folder's name (``cold_item_``,
        ``cold_``, ``few``, ``warm``, ``rating``, ``temporal``,
        ``session``).
    target_domain : str, optional
        By default the most frequent domain of the candidates in the train table; without any, the
        domain with which the folder's name ends.

    Raises
    ------
    InvalidInput
        If a file is absent or lacks a column, or the task is inconsistent.
    """
    folder = Path(folder)
    rows = _read(folder / f"{split}.parquet", [USER_ID, HISTORY, TRUTH, EXCLUDE]).to_pylist()
    of_split = folder / f"candidates_{split}.parquet"
    file = of_split if of_split.exists() else folder / "candidates.parquet"
    candidates = _read(file, [ITEM_ID]).column(ITEM_ID).to_pylist()
    table = _read(folder / "train.parquet", [USER_ID, ITEM_ID])
    domains: dict[str, str] = {}
    if DOMAIN in table.column_names:
        pairs = table.select([ITEM_ID, DOMAIN]).group_by([ITEM_ID, DOMAIN]).aggregate([])
        ids, names = pairs.column(ITEM_ID).to_pylist(), pairs.column(DOMAIN).to_pylist()
        domains = dict(zip(ids, names, strict=True))
    target = target_domain or _target(folder.name, candidates, domains)
    if target is not None:
        domains |= {item: target for item in candidates if item not in domains}
    return Task(
        name=folder.name,
        kind=kind or _kind(folder.name),
        train=_interactions(table),
        users=[_user(row) for row in rows],
        candidates=candidates,
        target_domain=target,
        domains=domains,
        split=split,
    )


def _read(file: Path, columns: Sequence[str]) -> pa.Table:
    if not file.exists():
        raise InvalidInput(f"there is no {file}; a protocol folder holds train, val, test and "
                           "candidates as .parquet")  # fmt: skip
    table = pq.read_table(file)
    absent = [name for name in columns if name not in table.column_names]
    if absent:
        raise InvalidInput(f"{file} has no column {', '.join(absent)}")
    return table


def _interactions(table: pa.Table) -> pa.Table:
    """Return the four columns of interactions; without a column, values are 1 and times null."""
    rows = len(table)
    names = set(table.column_names)
    return pa.table(
        {
            USER_ID: table.column(USER_ID).cast(pa.string()),
            ITEM_ID: table.column(ITEM_ID).cast(pa.string()),
            VALUE: table.column(VALUE) if VALUE in names else pa.repeat(1.0, rows),
            TIME: table.column(TIME) if TIME in names else pa.nulls(rows, pa.float64()),
        }
    )


def _user(row: Mapping[str, Any]) -> TestUser:
    history, truth, exclude = (tuple(row[name] or ()) for name in (HISTORY, TRUTH, EXCLUDE))
    return TestUser(row[USER_ID], history, truth, exclude)


def _kind(name: str) -> Kind:
    beginnings: dict[str, Kind] = {
        "cold_item": "cold item",
        "cold": "cold user",
        "few": "few-shot",
        "warm": "warm",
        "rating": "rating",
        "temporal": "temporal",
        "session": "session",
    }
    return next((kind for start, kind in beginnings.items() if re.match(start, name)), "other")


def _target(name: str, candidates: Sequence[str], domains: Mapping[str, str]) -> str | None:
    counts = Counter(domains[item] for item in candidates if item in domains)
    if counts:
        return counts.most_common(1)[0][0]
    ends = [domain for domain in set(domains.values()) if name.endswith(domain)]
    return max(ends, key=len, default=None)
