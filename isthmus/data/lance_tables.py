"""Lance tables: what every table of a space needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

MANY_FRAGMENTS = 32
INDEXED_ROWS = 50_000
VALUES_A_LIST = 5_000
MUCH_DELETED = 0.1


def open_table(path: Path) -> Any:
    """Open a table; None where there is none.

    A writer that was killed as it made the table leaves a folder without a version, which counts
    as none: `open_or_make` makes it anew.
    """
    import lance

    if not any((path / "_versions").glob("*.manifest")):
        return None
    return lance.dataset(str(path))


def open_or_make(path: Path, schema: pa.Schema) -> Any:
    """Open a table, or make an empty one."""
    import lance

    found = open_table(path)
    if found is not None:
        return found
    path.parent.mkdir(parents=True, exist_ok=True)
    return lance.write_dataset(schema.empty_table(), str(path))


def tidy(dataset: Any, key: str) -> None:
    """Merge small fragments where there are many, and keep the index of the key up to date.

    Parameters
    ----------
    dataset : lance.LanceDataset
        The table.
    key : str
        The column that rows are looked up by; large tables get an index of it, so that a look-up
        does not cost more as they grow.
    """
    dataset.checkout_latest()
    many = len(dataset.get_fragments()) > MANY_FRAGMENTS
    if many:
        dataset.optimize.compact_files()
    _index_key(dataset, key, renew=many)


def compact_table(
    path: Path, key: str, keep: timedelta, *, deleted: float = MUCH_DELETED
) -> tuple[int, int, int, int]:
    """Merge all small fragments, renew the key's index, and drop versions older than `keep`.

    Parameters
    ----------
    path : Path
        The table.
    key : str
        The column that rows are looked up by.
    keep : timedelta
        Versions younger than this stay.
    deleted : float, default 0.1
        Share of deleted rows above which a fragment is written anew, without them.

    Returns
    -------
    tuple of int
        Fragments before and after, versions removed, bytes freed.
    """
    import lance

    dataset = lance.dataset(str(path))
    before = len(dataset.get_fragments())
    dataset.optimize.compact_files(materialize_deletions_threshold=deleted)
    _index_key(dataset, key, renew=True)
    removed = dataset.cleanup_old_versions(older_than=keep)
    dataset.checkout_latest()
    after = len(dataset.get_fragments())
    return before, after, int(removed.old_versions), int(removed.bytes_removed)


def has_versions_older(path: Path, keep: timedelta) -> bool:
    """Tell whether a table holds versions, beside the latest, that are older than `keep`."""
    table = open_table(path)
    former = [] if table is None else table.versions()[:-1]
    before = datetime.now() - keep
    return any(version["timestamp"] < before for version in former)


def _index_key(dataset: Any, key: str, *, renew: bool) -> None:
    if dataset.count_rows() < INDEXED_ROWS:
        return
    name = f"{key}_idx"
    if not any(index["name"] == name for index in dataset.list_indices()):
        dataset.create_scalar_index(key, "BTREE", name=name)
    elif renew:
        dataset.optimize.optimize_indices(index_names=[name])


def among(column: str, values: Sequence[str]) -> Iterator[str]:
    """Give predicates that together select the rows whose column holds one of the values.

    Examples
    --------
    >>> list(among("item_id", ["a", "it's"]))
    ["item_id IN ('a', 'it''s')"]
    """
    for start in range(0, len(values), VALUES_A_LIST):
        part = values[start : start + VALUES_A_LIST]
        quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in part)
        yield f"{column} IN ({quoted})"


def among_digests(column: str, digests: Sequence[bytes]) -> Iterator[str]:
    """Give predicates that together select the rows whose column holds one of the digests.

    Examples
    --------
    >>> list(among_digests("content_hash", [b"ab"]))
    ["content_hash IN (X'6162')"]
    """
    for start in range(0, len(digests), VALUES_A_LIST):
        quoted = ", ".join(f"X'{value.hex()}'" for value in digests[start : start + VALUES_A_LIST])
        yield f"{column} IN ({quoted})"
