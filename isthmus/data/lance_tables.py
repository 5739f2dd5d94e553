"""Lance tables: open, compact, index the key, and select rows by key.

Every table is opened here, so that every commit is durable (`isthmus.data.lance_commits`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus.data.lance_commits import (
    DurableCommits,
    drop_torn_version,
    require_whole,
)
from isthmus.data.lance_manifest import versions_of
from isthmus.durable import make_folder

if TYPE_CHECKING:
    import pyarrow as pa

MAX_FRAGMENTS = 32
MIN_INDEXED_ROWS = 50_000  # a scan of fewer rows is as fast as an index
VALUES_PER_PREDICATE = 5_000
DELETED_SHARE = 0.1  # of a fragment's rows, above which compaction rewrites it


def open_table(path: Path) -> Any:
    """Return a table, for reading and writing; None where there is none.

    A writer that was killed while it created the table leaves a folder without a version. This
    counts as none: `open_or_create` creates the table again.
    """
    try:
        table = _opened(path)
        require_whole(path, int(table.version))
    except (OSError, ValueError):
        if not versions_of(path):
            return None
        if not drop_torn_version(path):
            raise
        return open_table(path)
    return table


def create_table(path: Path, schema: pa.Schema, *, stable_row_ids: bool = False) -> Any:
    """Create an empty table and return it."""
    import lance

    make_folder(path.parent)
    return lance.write_dataset(
        schema.empty_table(),
        str(path),
        enable_stable_row_ids=stable_row_ids,
        commit_lock=DurableCommits(path),
    )


def open_or_create(path: Path, schema: pa.Schema) -> Any:
    """Return a table, created empty where there is none."""
    table = open_table(path)
    return create_table(path, schema) if table is None else table


def _opened(path: Path) -> Any:
    import lance

    return lance.dataset(str(path), commit_lock=DurableCommits(path))


def compact_if_fragmented(dataset: Any, key: str) -> None:
    """Merge small fragments if there are many, and keep the index of the key up to date.

    Parameters
    ----------
    dataset : lance.LanceDataset
        The table.
    key : str
        The column that rows are looked up by. Large tables get an index of it, so that the cost
        of a look-up does not grow with the table.
    """
    dataset.checkout_latest()
    fragmented = len(dataset.get_fragments()) > MAX_FRAGMENTS
    if fragmented:
        dataset.optimize.compact_files()
    _index_key(dataset, key, update=fragmented)


def compact_table(
    path: Path, key: str, keep: timedelta, *, deleted_share: float = DELETED_SHARE
) -> tuple[int, int, int, int]:
    """Merge all small fragments, update the key's index, and drop versions older than `keep`.

    Parameters
    ----------
    path : Path
        The table.
    key : str
        The column that rows are looked up by.
    keep : timedelta
        Versions younger than this stay.
    deleted_share : float, default 0.1
        Share of deleted rows above which a fragment is rewritten without them.

    Returns
    -------
    tuple of int
        Fragments before and after, versions removed, bytes freed.
    """
    dataset = open_table(path)
    before = len(dataset.get_fragments())
    dataset.optimize.compact_files(materialize_deletions_threshold=deleted_share)
    _index_key(dataset, key, update=True)
    removed = dataset.cleanup_old_versions(older_than=keep)
    dataset.checkout_latest()
    after = len(dataset.get_fragments())
    return before, after, int(removed.old_versions), int(removed.bytes_removed)


def has_versions_older(path: Path, keep: timedelta) -> bool:
    """Return whether a table has versions, besides the latest, that are older than `keep`."""
    table = open_table(path)
    versions = [] if table is None else table.versions()[:-1]
    oldest_kept = datetime.now() - keep
    return any(version["timestamp"] < oldest_kept for version in versions)


def _index_key(dataset: Any, key: str, *, update: bool) -> None:
    if dataset.count_rows() < MIN_INDEXED_ROWS:
        return
    name = f"{key}_idx"
    if not any(index["name"] == name for index in dataset.list_indices()):
        dataset.create_scalar_index(key, "BTREE", name=name)
    elif update:
        dataset.optimize.optimize_indices(index_names=[name])


def predicates_in(column: str, values: Sequence[str]) -> Iterator[str]:
    """Yield predicates that together select the rows whose column has one of the values.

    Examples
    --------
    >>> list(predicates_in("item_id", ["a", "it's"]))
    ["item_id IN ('a', 'it''s')"]
    """
    for start in range(0, len(values), VALUES_PER_PREDICATE):
        part = values[start : start + VALUES_PER_PREDICATE]
        quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in part)
        yield f"{column} IN ({quoted})"


def digest_predicates_in(column: str, digests: Sequence[bytes]) -> Iterator[str]:
    """Yield predicates that together select the rows whose column has one of the digests.

    Examples
    --------
    >>> list(digest_predicates_in("content_hash", [b"ab"]))
    ["content_hash IN (X'6162')"]
    """
    for start in range(0, len(digests), VALUES_PER_PREDICATE):
        quoted = ", ".join(
            f"X'{value.hex()}'" for value in digests[start : start + VALUES_PER_PREDICATE]
        )
        yield f"{column} IN ({quoted})"
