"""Lance tables: open, compact, index the key, and select rows by key.

Every table is opened here, so that no damaged file is read as sound
(`isthmus.data.table_checksums`) and every commit is durable (`isthmus.data.lance_commits`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus.data.lance_commits import DurableCommits, drop_torn_version, flush_manifest
from isthmus.data.lance_library import TableHandle, batches_of, lance_library
from isthmus.data.lance_manifest import DATA, VERSIONS, manifest_name, versions_of
from isthmus.data.leases import VersionGone, hold, removing
from isthmus.data.table_checksums import (
    corrupt,
    forget_records,
    is_recorded,
    newest_version,
    read_manifest,
    record_version,
    recorded_versions,
    require_intact,
    stamp_of,
    unrecorded_files,
)
from isthmus.durable import make_folder
from isthmus.schema import (
    CATALOG_TABLE,
    EMBEDDING_CACHE_FOLDER,
    ROW_ID,
    USER_TABLES,
)

if TYPE_CHECKING:
    import pyarrow as pa

TEXT_INDEX = "text_idx"  # the full-text index, which is checked when it is used
MAX_TRIES = 100  # to open a table that another process compacts all the time
ALL_VERSIONS = 10**9
MAX_FRAGMENTS = 32
MIN_INDEXED_ROWS = 50_000  # a scan of fewer rows is as fast as an index
VALUES_PER_PREDICATE = 5_000
SUFFIX = ".lance"  # of the folder of a table
DELETED_SHARE = 0.1  # of a fragment's rows, above which compaction rewrites it


def tables_of(space: Path) -> Iterator[Path]:
    """Yield the folder of each table of a space; the embedding caches come last."""
    first = [space / name for name in (CATALOG_TABLE, *USER_TABLES)]
    others = (space / EMBEDDING_CACHE_FOLDER).glob(f"*{SUFFIX}")
    yield from (table for table in [*first, *sorted(others)] if table.is_dir())


def open_table(path: Path) -> Any:
    """Return the newest version of a table, for reading and writing; None where there is none.

    Its files are checked first, each of them once in a process. The version is kept until the end
    of the lease scope, if there is one. A writer that was killed while it created the table leaves
    a folder without a version. This counts as none: `open_or_create` creates the table again.

    Raises
    ------
    CorruptTable
        If a file is missing or damaged; the message names it.
    """
    if not path.exists():  # of a space without users, each list asks for it
        return None
    for _ in range(MAX_TRIES):
        version = newest_version(path)
        if version is None or (path / manifest_name(version + 1)).exists():
            drop_torn_version(path)
        if version is None:
            return None
        hold(path, version)
        with suppress(VersionGone):  # another process compacts the table; there is a newer one
            require_intact(path, version, besides=TEXT_INDEX)
            dataset = open_unchecked(path, version)
            if not is_recorded(path, version):
                _record_read_version(path, dataset)
            return dataset
    raise corrupt(path, f"version {version}")


def create_table(path: Path, schema: pa.Schema, *, stable_row_ids: bool = False) -> Any:
    """Create an empty table and return it."""
    make_folder(path.parent)
    lance_library().write_dataset(
        schema.empty_table(),
        str(path),
        enable_stable_row_ids=stable_row_ids,
        commit_lock=DurableCommits(path),
    )
    return TableHandle(partial(_open_version, path), 1)


def open_or_create(path: Path, schema: pa.Schema) -> Any:
    """Return a table, created empty where there is none."""
    table = open_table(path)
    return create_table(path, schema) if table is None else table


def commit(dataset: Any, operation: Any, read_version: int | None = None) -> None:
    """Commit a transaction, or an operation on a version, that was prepared "uncommitted"."""
    lance_library().LanceDataset.commit(
        dataset.dataset,
        operation,
        read_version=read_version,
        commit_lock=DurableCommits(Path(dataset.uri)),
    )


def read_unrecorded(dataset: Any, *fragments: int) -> None:
    """Read every value of some fragments, which have no checksums.

    Raises
    ------
    CorruptTable
        If one cannot be read.
    """
    for number in fragments:
        fragment = dataset.get_fragment(number)
        try:
            for _ in batches_of(fragment):
                pass
        except BaseException as error:  # a panic of Lance is no `Exception`
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            name = f"{DATA}/{fragment.data_files()[0].path}"
            raise corrupt(Path(dataset.uri), name) from error


def _record_read_version(path: Path, dataset: Any) -> None:
    """Record a version whose writer was killed before it did, when its rows could be read."""
    manifest = read_manifest(path, int(dataset.version))
    new = set(unrecorded_files(path, manifest))
    read_unrecorded(dataset, *(f.number for f in manifest.fragments if new.intersection(f.files)))
    with suppress(OSError):  # in a folder that cannot be written
        flush_manifest(path, manifest.version)
        record_version(path, manifest.version)


def open_unchecked(path: Path, version: int | None) -> Any:
    """Return a version of a table without checking its files; None is the newest."""
    try:
        return TableHandle(partial(_open_version, path), version)
    except (OSError, ValueError, RuntimeError) as error:
        if version is None:
            raise corrupt(path, VERSIONS) from error
        stamp_of(path, version)  # raises `VersionGone` where it was removed
        raise corrupt(path, manifest_name(version)) from error


def _open_version(path: Path, lance: Any, version: int | None) -> Any:
    return lance.dataset(str(path), version=version, commit_lock=DurableCommits(path))


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
    path: Path,
    key: str,
    keep: timedelta,
    *,
    deleted_share: float = DELETED_SHARE,
    alone: bool = True,
) -> tuple[int, int, int, int]:
    """Merge all small fragments, update the key's index, and drop versions older than `keep`.

    Parameters
    ----------
    path : Path
        The table.
    key : str
        The column that rows are looked up by.
    keep : timedelta
        Versions younger than this stay, and so do versions that a reader is using.
    deleted_share : float, default 0.1
        Share of deleted rows above which a fragment is rewritten without them.
    alone : bool, default True
        Whether no other process can be writing: then files that belong to no version are removed.

    Returns
    -------
    tuple of int
        Fragments before and after, versions removed, bytes freed.
    """
    dataset = open_table(path)
    before = len(dataset.get_fragments())
    dataset.optimize.compact_files(materialize_deletions_threshold=deleted_share)
    _index_key(dataset, key, update=True)
    removed_versions, bytes_freed = _remove_versions(path, dataset, keep, alone=alone)
    after = len(dataset.get_fragments())
    return before, after, removed_versions, bytes_freed


def versions_older(path: Path, keep: timedelta) -> list[int]:
    """Return the versions of a table, besides the latest, that are older than `keep`."""
    oldest_kept = time.time() - keep.total_seconds()
    return [
        version
        for version in versions_of(path)[:-1]
        if (path / manifest_name(version)).stat().st_mtime < oldest_kept
    ]


def _remove_versions(path: Path, dataset: Any, keep: timedelta, *, alone: bool) -> tuple[int, int]:
    """Remove versions that nobody uses and, if nobody writes, what killed writers left behind.

    Returns
    -------
    tuple of int
        Versions removed, bytes freed.
    """
    with removing(path, versions_older(path, keep)) as unused:
        chosen = {"versions": unused} if unused else {"retain_versions": ALL_VERSIONS}
        done = dataset.cleanup_old_versions(**chosen, delete_unverified=alone)
    present = set(versions_of(path))
    forget_records(path, (v for v in recorded_versions(path) if v not in present))
    return int(done.old_versions), int(done.bytes_removed)


def _index_key(dataset: Any, key: str, *, update: bool) -> None:
    if dataset.count_rows() < MIN_INDEXED_ROWS:
        return
    name = f"{key}_idx"
    if not any(index["name"] == name for index in dataset.list_indices()):
        dataset.create_scalar_index(key, "BTREE", name=name)
    elif update:
        dataset.optimize.optimize_indices(index_names=[name])


def delete_rows(dataset: Any, predicate: str) -> int:
    """Delete the rows for which a predicate holds, and return how many there were.

    They are deleted by their row ids: a predicate stays in the transactions and manifests of the
    table, and with it what it names, such as a user who is erased.
    """
    rows = dataset.to_table(columns=[ROW_ID], filter=predicate).column(ROW_ID).to_pylist()
    if rows:
        dataset.delete(f"{ROW_ID} IN ({', '.join(map(str, rows))})")
    return len(rows)


def predicates_in(column: str, values: Sequence[str]) -> Iterator[str]:
    """Yield predicates that together select the rows whose column has one of the values.

    Examples
    --------
    >>> list(predicates_in("item_id", ["a", "it's"]))
    ["item_id IN ('a', 'it''s')"]
    """
    for start in range(0, len(values), VALUES_PER_PREDICATE):
        yield any_of(column, values[start : start + VALUES_PER_PREDICATE])


def any_of(column: str, values: Sequence[str]) -> str:
    """Return the predicate that selects the rows whose column has one of the values.

    Examples
    --------
    >>> any_of("domain", ["films", "it's"])
    "domain IN ('films', 'it''s')"
    """
    quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
    return f"{column} IN ({quoted})"


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
