"""Snapshots: the items table as it is read, at one version."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.lance_tables import VALUES_PER_PREDICATE, predicates_in
from isthmus.encoders.stack import NamedVector
from isthmus.index.catalog.filters import check, columns_named, refusing
from isthmus.index.catalog.item_changes import ItemDigests, PeekedDigests
from isthmus.index.catalog.text_index import has_word_index, match_words
from isthmus.numerics.arrays import sample_rows
from isthmus.schema import (
    AUDIO,
    CONTENT_HASH,
    CREATED_AT,
    DOMAIN,
    INTERNAL_PREFIX,
    ITEM_COLUMNS,
    ITEM_ID,
    MODALITY_MASK,
    ROW_HASH,
    ROW_ID,
    UPDATED_AT,
    Modality,
)

TAKEN_ID = "_taken_id"
TAKEN_ROWS = 5_000

RowIds = npt.NDArray[np.uint64]

SCAN_ROWS = 8_192
LISTED_ROWS = 50_000  # from which all rows are read, and those asked for are chosen


class Snapshot:
    """The catalog at one version; it never changes."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    @property
    def version(self) -> int:
        """Version of the catalog."""
        return int(self._dataset.version)

    @property
    def rows(self) -> int:
        """Number of items, searchable or not."""
        return int(self._dataset.count_rows())

    @cached_property
    def attributes(self) -> pa.Schema:
        """The attribute columns and their types."""
        own = self.item_columns
        return pa.schema(
            [f for f in self._dataset.schema if f.name not in own and not is_internal(f.name)]
        )

    @cached_property
    def item_columns(self) -> tuple[str, ...]:
        """Id, domain and contents of an item: the columns that are no attributes.

        Where there are no digests of audio, a column called so is an attribute.
        """
        has_audio = CONTENT_HASH["audio"] in self._dataset.schema.names
        return (*ITEM_COLUMNS, AUDIO) if has_audio else ITEM_COLUMNS

    @property
    def columns(self) -> list[str]:
        """All columns that are stored."""
        return list(self._dataset.schema.names)

    def changed_ids(self, version: int) -> list[str]:
        """Give the ids of items that are new or changed after a version."""
        batches = self.changed_since(version, ())
        return [item for batch in batches for item in batch.column(ITEM_ID).to_pylist()]

    def newest_version(self) -> int:
        """Give the version of the catalog on disk now (some 20 µs)."""
        return int(self._dataset.latest_version)

    def row_ids(self) -> RowIds:
        """Give the row ids of all items, shape (rows,)."""
        return row_ids_of(self._dataset.scanner(columns=[], with_row_id=True).to_table())

    def created_since(self, version: int) -> int:
        """Count the items that are there now and were not at a version."""
        return int(self._dataset.count_rows(f"{CREATED_AT} > {version}"))

    def changed_since(
        self, version: int, named_vectors: Sequence[NamedVector]
    ) -> Iterator[pa.RecordBatch]:
        """Give items new or changed after a version, with vectors and row ids, in batches."""
        yield from self._scan(named_vectors, f"{UPDATED_AT} > {version}").to_batches()

    def searchable(self, named_vectors: Sequence[NamedVector]) -> Iterator[pa.RecordBatch]:
        """Give all items that have a vector, with vectors and row ids, batch by batch."""
        yield from self._scan(named_vectors, f"{MODALITY_MASK} > 0").to_batches()

    def sample(self, named_vectors: Sequence[NamedVector], most: int) -> pa.Table:
        """Give items drawn at random, as `searchable` gives them."""
        there = self.row_ids()
        drawn = sample_rows(np.random.default_rng(0), there, most)
        columns = [ITEM_ID, DOMAIN, *(named_vector.column for named_vector in named_vectors)]
        parts = [drawn[i : i + SCAN_ROWS] for i in range(0, max(len(drawn), 1), SCAN_ROWS)]
        table = pa.concat_tables([self.fetch(part, columns) for part in parts])
        return table.append_column(ROW_ID, pa.array(drawn, pa.uint64()))

    def count(self, where: str | None = None) -> int:
        """Count searchable items, of those that a predicate selects."""
        if where is None:
            return int(self._dataset.count_rows(f"{MODALITY_MASK} > 0"))
        return len(self.select(where))

    def select(self, where: str) -> RowIds:
        """Give the row ids of searchable items that a SQL predicate selects.

        Raises
        ------
        InvalidFilter
            If the table engine refuses the predicate; the message lists the columns.
        """
        return select_rows(self._dataset, where)

    def select_among(self, where: str, row_ids: RowIds) -> RowIds:
        """Give those of some row ids that `select` would give, in their order.

        The cost grows with their number and not with the catalog (see
        `isthmus.index.catalog.snapshot`). Ids that are not there are not selected.

        Raises
        ------
        InvalidFilter
            As by `select`.
        """
        return select_rows_among(self._dataset, where, row_ids)

    def fetch(self, row_ids: RowIds, columns: Sequence[str]) -> pa.Table:
        """Give columns of rows, in the order of the row ids; null for a row that is gone."""
        if len(row_ids) == 0:
            return self._dataset.schema.empty_table().select(list(columns))
        listed = having_row_ids(row_ids) if len(row_ids) < LISTED_ROWS else None
        table = self._dataset.scanner(
            columns=list(columns), filter=listed, with_row_id=True
        ).to_table()
        there = row_ids_of(table)
        found = np.argsort(there)
        known = np.append(there[found], np.iinfo(np.uint64).max)
        at = np.searchsorted(known, row_ids)
        places = pa.array(np.append(found, 0)[at], mask=known[at] != row_ids)
        return table.drop_columns([ROW_ID]).take(places)

    def find(self, item_ids: Sequence[str], columns: Sequence[str]) -> pa.Table:
        """Give columns of the items with these ids; ids that are not there are left out."""
        tables = [
            self._dataset.scanner(columns=list(columns), filter=predicate).to_table()
            for predicate in predicates_in(ITEM_ID, item_ids)
        ]
        return pa.concat_tables(tables or [self._dataset.schema.empty_table().select(columns)])

    def holds(self, item_ids: pa.Array) -> pa.BooleanArray:
        """Tell for each item id whether there is such an item, searchable or not."""
        if len(item_ids) <= VALUES_PER_PREDICATE:
            there = self.find(item_ids.to_pylist(), [ITEM_ID]).column(ITEM_ID)
        else:
            there = self.column(ITEM_ID)
        return pc.is_in(item_ids, value_set=there.combine_chunks())

    def column(self, name: str) -> pa.ChunkedArray:
        """Give one column of every item."""
        return self._dataset.to_table(columns=[name]).column(name)

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Give columns of every item, batch by batch."""
        yield from self._dataset.scanner(columns=list(columns), batch_size=SCAN_ROWS).to_batches()

    def with_contents(self, modalities: Sequence[Modality]) -> pa.Table:
        """Give domain and content digests of the items that have all of these modalities."""
        columns = [CONTENT_HASH[modality] for modality in modalities]
        there = " AND ".join(f"{column} IS NOT NULL" for column in columns)
        table: pa.Table = self._dataset.to_table(columns=[DOMAIN, *columns], filter=there)
        return table

    def digests(self, *, peek: bool = False) -> ItemDigests:
        """Give the digests of every item, to tell what has changed.

        Parameters
        ----------
        peek : bool, default False
            Look items up as they are asked for, rather than load all at once.
        """
        there = self._dataset.schema.names
        columns = [ITEM_ID, DOMAIN, ROW_HASH, *(h for h in CONTENT_HASH.values() if h in there)]
        if peek:
            return PeekedDigests(lambda item_ids: self.find(item_ids, columns))
        return ItemDigests(self._dataset.to_table(columns=columns))

    @property
    def has_text_index(self) -> bool:
        """Whether the texts have an index of words, perhaps an older one."""
        return has_word_index(self._dataset)

    def match_words(self, text: str, limit: int) -> pa.Table:
        """Give item_id and ``_score`` of items that share a word with a text, best by BM25 first.

        See `isthmus.index.catalog.text_index`.
        """
        return match_words(self._dataset, text, limit)

    def _scan(self, named_vectors: Sequence[NamedVector], where: str) -> Any:
        vectors = [named_vector.column for named_vector in named_vectors]
        return self._dataset.scanner(
            columns=[ITEM_ID, DOMAIN, *vectors],
            filter=where,
            with_row_id=True,
            batch_size=SCAN_ROWS,
        )


def row_ids_of(rows: pa.Table | pa.RecordBatch) -> RowIds:
    """Give the row ids of rows that were read with theirs, shape (n_rows,)."""
    return np.asarray(rows.column(ROW_ID).to_numpy(), np.uint64)


def having_row_ids(row_ids: RowIds) -> str:
    """Give the predicate that selects the rows with some row ids.

    Examples
    --------
    >>> having_row_ids(np.array([3, 5], np.uint64))
    '_rowid IN (3, 5)'
    """
    return f"{ROW_ID} IN ({', '.join(map(str, row_ids.tolist()))})"


def is_internal(column: str) -> bool:
    """Tell whether a column is none that a filter may name."""
    return column.startswith(INTERNAL_PREFIX)


def select_rows(dataset: Any, where: str) -> RowIds:
    """Give the row ids of searchable items that a predicate selects, by reading the table.

    Raises
    ------
    InvalidFilter
        If the table engine refuses the predicate; the message lists the columns.
    """
    columns = _visible(dataset)
    with refusing(where, columns):
        check(dataset, where, columns)
        table = dataset.scanner(columns=[MODALITY_MASK], filter=where, with_row_id=True).to_table()
    selected: RowIds = row_ids_of(table)[_is_searchable(table)]
    return selected


def select_rows_among(dataset: Any, where: str, row_ids: RowIds) -> RowIds:
    """Give those of some row ids that `select_rows` would give, in their order.

    The rows are taken by id and filtered in memory, so the cost grows with their number and
    not with the table. A value that the predicate cannot be computed for (a text that is cast to
    a number and is none) is met only if it is in one of these rows.

    Raises
    ------
    InvalidFilter
        As by `select_rows`.
    """
    columns = _visible(dataset)
    found = [row_ids[:0]]
    with refusing(where, columns):
        check(dataset, where, columns)
        read = columns_named(where, columns)
        parts = np.split(row_ids, range(TAKEN_ROWS, len(row_ids), TAKEN_ROWS))
        found += [_select_in_memory(_take(dataset, part, read), where) for part in parts]
    selected: RowIds = row_ids[np.isin(row_ids, np.concatenate(found))]
    return selected


def _select_in_memory(rows: pa.Table, where: str) -> RowIds:
    import lance

    if not len(rows):
        return np.empty(0, np.uint64)
    scanner = lance.write_dataset(rows, "memory://").scanner(columns=[TAKEN_ID], filter=where)
    return np.asarray(scanner.to_table().column(TAKEN_ID).to_numpy(), np.uint64)


def _take(dataset: Any, row_ids: RowIds, columns: Sequence[str]) -> pa.Table:
    """Give columns of those of the rows that are searchable, with their ids, in any order."""
    if not len(row_ids):
        return pa.table({TAKEN_ID: pa.array([], pa.uint64())})
    table = dataset.scanner(
        columns=[*columns, MODALITY_MASK], filter=having_row_ids(row_ids), with_row_id=True
    ).to_table()
    table = table.filter(pa.array(_is_searchable(table))).drop_columns([MODALITY_MASK])
    return table.rename_columns([*columns, TAKEN_ID])


def _visible(dataset: Any) -> pa.Schema:
    """Give the columns that a filter may name."""
    return pa.schema([f for f in dataset.schema if not is_internal(f.name)])


def _is_searchable(table: pa.Table) -> npt.NDArray[np.bool_]:
    return np.asarray(table.column(MODALITY_MASK).to_numpy() > 0, bool)
