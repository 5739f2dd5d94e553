"""Snapshots: the items of a space at one version, read by id, by row id or by filter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.domain_mapping import DomainMapping
from isthmus.data.lance_library import batches_of, lance_library
from isthmus.data.lance_tables import VALUES_PER_PREDICATE, any_of, predicates_in
from isthmus.data.leases import VersionGone, hold
from isthmus.data.table_checksums import TableStamp
from isthmus.encoders.stack import NamedVector
from isthmus.errors import InvalidInput, listed
from isthmus.index.catalog.attribute_filters import (
    compile_for_domains,
    item_columns,
    listed_columns,
)
from isthmus.index.catalog.attributes import Attributes
from isthmus.index.catalog.filters.compiler import CompiledFilter
from isthmus.index.catalog.filters.engine import raise_failures, raising_invalid_filter
from isthmus.index.catalog.item_changes import KnownItems, LazyKnownItems
from isthmus.index.catalog.text_index import has_word_index, match_words
from isthmus.numerics.arrays import sample_rows
from isthmus.schema import (
    AUDIO,
    CONTENT_HASH,
    CONTENT_VERSION,
    CREATED_AT,
    DOMAIN,
    ITEM_COLUMNS,
    ITEM_ID,
    MAPPING_KEY,
    MODALITY_MASK,
    QUARANTINE,
    ROW_ID,
    UPDATED_AT,
    Modality,
)

SCAN_ROWS = 8_192
MAX_LISTED_ROWS = 50_000  # above this, `fetch` scans the whole table and selects from it
FILTER_BATCH_ROWS = 5_000
STABLE_ROW_ID = "_stable_row_id"  # the row id as a plain column of a table in memory

RowIds = npt.NDArray[np.uint64]


class Snapshot:
    """The catalog at one version; immutable.

    A reader of a snapshot keeps the version until the end of its lease scope, from its first read
    on. Who holds a snapshot and does not read from it keeps nothing.

    Parameters
    ----------
    folder : Path
        Folder of the table.
    dataset : lance.LanceDataset
        The table, checked out at that version.
    stamp : TableStamp
        Of that version.
    table : str or None
        Identifies the table, see `isthmus.data.table_checksums.table_identity`.

    Attributes
    ----------
    version : int
        Version of the catalog.
    rows : int
        Number of items, searchable or not.
    """

    def __init__(self, folder: Path, dataset: Any, stamp: TableStamp, table: str | None) -> None:
        self._folder, self._table = folder, dataset
        self.stamp, self.table = stamp, table
        self.version, self.rows = stamp.version, int(dataset.count_rows())

    def keep(self) -> None:
        """Keep the version until the end of the lease scope.

        Raises
        ------
        VersionGone
            If it was removed.
        """
        if hold(self._folder, self.version) and not self.stamp.is_there():
            raise VersionGone(f"{self._folder} has no version {self.version} any more; try again")

    @property
    def _dataset(self) -> Any:
        self.keep()
        return self._table

    @cached_property
    def attributes(self) -> Attributes:
        """The attributes of each domain, and the columns that hold them."""
        return Attributes.of(self._dataset)

    @cached_property
    def item_columns(self) -> tuple[str, ...]:
        """Id, domain, text and media of an item: the public columns that are no attributes.

        In a space that does not encode audio, a column ``audio`` is an attribute.
        """
        has_audio = CONTENT_HASH["audio"] in self._dataset.schema.names
        return (*ITEM_COLUMNS, AUDIO) if has_audio else ITEM_COLUMNS

    @cached_property
    def mappings(self) -> dict[str, DomainMapping]:
        """The remembered mapping of each domain that has items."""
        config = self._dataset.config()
        filled = self.filled_domains if self._mapped_domains else []
        return {
            domain: DomainMapping.parse(config[f"{MAPPING_KEY}{domain}"])
            for domain in self._mapped_domains
            if domain in filled
        }

    @property
    def _mapped_domains(self) -> list[str]:
        keys = (key for key in self._dataset.config() if key.startswith(MAPPING_KEY))
        return [key.removeprefix(MAPPING_KEY) for key in keys]

    @property
    def known_domains(self) -> list[str]:
        """The domains that have, or had, items."""
        return list(dict.fromkeys((*self.filled_domains, *self._mapped_domains)))

    @cached_property
    def filled_domains(self) -> list[str]:
        """The domains that have items, searchable or not."""
        return sorted(pc.unique(self.column(DOMAIN)).to_pylist())

    @cached_property
    def item_schema(self) -> pa.Schema:
        """The public columns: id, domain, contents and attributes."""
        return pa.schema([*item_columns(self._dataset.schema), *self.attributes.schema])

    def vector_schema(self, named_vectors: Sequence[NamedVector]) -> pa.Schema:
        """Return the columns of named vectors, as far as they are there."""
        schema = self._dataset.schema
        names = [vector.column for vector in named_vectors if vector.column in schema.names]
        return pa.schema([schema.field(name) for name in names])

    @property
    def columns(self) -> list[str]:
        """All stored columns."""
        return list(self._dataset.schema.names)

    def changed_ids(self, version: int) -> list[str]:
        """Return the ids of items that are new after a version, or have other contents."""
        batches = self.changed_since(version, ())
        return [item_id for batch in batches for item_id in batch.column(ITEM_ID).to_pylist()]

    def row_ids(self) -> RowIds:
        """Return the row ids of all items, shape (n_rows,)."""
        return row_ids_of(self._dataset.scanner(columns=[], with_row_id=True).to_table())

    def created_since(self, version: int) -> int:
        """Return the number of items that were added after a version."""
        return int(self._dataset.count_rows(f"{CREATED_AT} > {version}"))

    def changed_since(
        self, version: int, named_vectors: Sequence[NamedVector]
    ) -> Iterator[pa.RecordBatch]:
        """Yield items with vectors made after a version, with these and with row ids.

        Items of which only other columns changed are not among them, see `patched_since`.
        """
        yield from batches_of(self._scan(named_vectors, f"{CONTENT_VERSION} > {version}"))

    def patched_since(self, version: int) -> RowIds:
        """Return the row ids of items that changed after a version, but not in their vectors."""
        where = f"{UPDATED_AT} > {version} AND {CONTENT_VERSION} <= {version}"
        return row_ids_of(
            self._dataset.scanner(columns=[], filter=where, with_row_id=True).to_table()
        )

    def searchable(self, named_vectors: Sequence[NamedVector]) -> Iterator[pa.RecordBatch]:
        """Yield all items that have a vector, with vectors and row ids."""
        yield from batches_of(self._scan(named_vectors, f"{MODALITY_MASK} > 0"))

    def sample(self, named_vectors: Sequence[NamedVector], size: int) -> pa.Table:
        """Return a random sample of items, with the columns of `searchable`.

        Parameters
        ----------
        named_vectors : sequence of NamedVector
            Vectors to read.
        size : int
            Largest number of items.
        """
        sampled = sample_rows(np.random.default_rng(0), self.row_ids(), size)
        columns = [ITEM_ID, DOMAIN, *(named_vector.column for named_vector in named_vectors)]
        starts = range(0, max(len(sampled), 1), SCAN_ROWS)
        parts = [sampled[start : start + SCAN_ROWS] for start in starts]
        table = pa.concat_tables([self.fetch(part, columns) for part in parts])
        return table.append_column(ROW_ID, pa.array(sampled, pa.uint64()))

    def count(self, where: str | None = None) -> int:
        """Return the number of searchable items, of those that a predicate selects if given."""
        if where is None:
            return int(self._dataset.count_rows(f"{MODALITY_MASK} > 0"))
        return len(self.select(where))

    def select(self, where: str, domains: frozenset[str] | None = None) -> RowIds:
        """Return the row ids of the searchable items that a SQL predicate selects.

        Parameters
        ----------
        where : str
            The predicate.
        domains : frozenset of str, optional
            The domains that it is for: where an attribute has other types in other domains, those
            of these count. All by default.

        Raises
        ------
        InvalidFilter
            If the predicate is rejected; the message lists the columns.
        """
        return select_rows(self._dataset, self.attributes, where, domains)

    def select_from(
        self, where: str, row_ids: RowIds, domains: frozenset[str] | None = None
    ) -> RowIds:
        """Return the row ids among some that a predicate selects, in their order.

        The cost grows with the number of row ids and not with the catalog. Unknown row ids are
        not selected.

        Raises
        ------
        InvalidFilter
            As in `select`.
        """
        return select_rows_from(self._dataset, self.attributes, where, row_ids, domains)

    def item_ids(
        self, domains: Sequence[str] | None = None, where: str | None = None
    ) -> Iterator[list[str]]:
        """Yield the ids of all items that a filter selects, searchable or not, in batches.

        Raises
        ------
        InvalidInput
            If a domain is unknown.
        InvalidFilter
            As in `select`.
        """
        for batch in self.scan([ITEM_ID], domains, where):
            yield batch.column(ITEM_ID).to_pylist()

    def scan(
        self,
        columns: Sequence[str],
        domains: Sequence[str] | None = None,
        where: str | None = None,
        *,
        rows: int = SCAN_ROWS,
    ) -> Iterator[pa.RecordBatch]:
        """Yield columns of all items that a filter selects, searchable or not, as `item_ids`.

        Parameters
        ----------
        columns : sequence of str
            The columns.
        domains : sequence of str, optional
            Only items of these domains.
        where : str, optional
            Only items that this SQL predicate selects.
        rows : int, optional
            Rows of a batch.
        """
        conditions = [] if domains is None else [any_of(DOMAIN, self._known_domains(domains))]
        known = item_columns(self._dataset.schema)
        searched = None if domains is None else frozenset(domains)
        with raising_invalid_filter(where, listed_columns(known, self.attributes, searched)):
            if where is not None:
                compiled = compile_for_domains(where, known, self.attributes, searched)
                raise_failures(self._dataset, compiled)
                conditions.append(f"({compiled.sql})")
            scanner = self._dataset.scanner(
                columns=list(columns), filter=" AND ".join(conditions) or None, batch_size=rows
            )
            yield from batches_of(scanner)

    def _known_domains(self, names: Sequence[str]) -> Sequence[str]:
        for name in names:
            require_domain(name, self.known_domains)
        return names

    def fetch(self, row_ids: RowIds, columns: Sequence[str]) -> pa.Table:
        """Return columns of rows, in the order of the row ids; null for a deleted row."""
        if len(row_ids) == 0:
            return self._no_rows(columns)
        where = row_id_predicate(row_ids) if len(row_ids) < MAX_LISTED_ROWS else None
        table = self._dataset.scanner(
            columns=list(columns), filter=where, with_row_id=True
        ).to_table()
        read = row_ids_of(table)
        order = np.argsort(read)
        # With a sentinel at the end, so that every row id has an insertion point in the array.
        ascending = np.append(read[order], np.iinfo(np.uint64).max)
        at = np.searchsorted(ascending, row_ids)
        rows = pa.array(np.append(order, 0)[at], mask=ascending[at] != row_ids)
        return table.drop_columns([ROW_ID]).take(rows)

    def find(self, item_ids: Sequence[str], columns: Sequence[str]) -> pa.Table:
        """Return columns of the items with these ids, in any order; unknown ids are left out."""
        tables = [
            self._dataset.scanner(columns=list(columns), filter=predicate).to_table()
            for predicate in predicates_in(ITEM_ID, item_ids)
        ]
        return pa.concat_tables(tables) if tables else self._no_rows(columns)

    def _no_rows(self, columns: Sequence[str]) -> pa.Table:
        schema = self._dataset.schema.append(pa.field(ROW_ID, pa.uint64()))
        return schema.empty_table().select(list(columns))

    def contains(self, item_ids: pa.Array) -> pa.BooleanArray:
        """Return for each item id whether the catalog has the item, searchable or not."""
        if len(item_ids) <= VALUES_PER_PREDICATE:
            present = self.find(item_ids.to_pylist(), [ITEM_ID]).column(ITEM_ID)
        else:
            present = self.column(ITEM_ID)
        return pc.is_in(item_ids, value_set=present.combine_chunks())

    def column(self, name: str) -> pa.ChunkedArray:
        """Return one column of every item."""
        return self._dataset.to_table(columns=[name]).column(name)

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield columns of every item."""
        scanner = self._dataset.scanner(columns=list(columns), batch_size=SCAN_ROWS)
        yield from batches_of(scanner)

    def quarantined(self) -> pa.Table:
        """Return id, domain and failures of the items with a content that could not be embedded."""
        return self._dataset.to_table(
            columns=[ITEM_ID, DOMAIN, QUARANTINE], filter=f"{QUARANTINE} IS NOT NULL"
        )

    def count_quarantined(self) -> int:
        """Count the items with a content that could not be embedded; reads no failure."""
        return int(self._dataset.count_rows(f"{QUARANTINE} IS NOT NULL"))

    def content_digests(self, modalities: Sequence[Modality]) -> pa.Table:
        """Return domain and content digests of the items that have all of these modalities."""
        columns = [CONTENT_HASH[modality] for modality in modalities]
        where = " AND ".join(f"{column} IS NOT NULL" for column in columns)
        table: pa.Table = self._dataset.to_table(columns=[DOMAIN, *columns], filter=where)
        return table

    def known_items(self, *, lazy: bool = False) -> KnownItems:
        """Return the items by id, with domains and row ids.

        Parameters
        ----------
        lazy : bool, default False
            Look items up when they are asked for, instead of loading all of them.
        """
        columns = [ITEM_ID, DOMAIN, ROW_ID]
        if lazy:
            return LazyKnownItems(lambda item_ids: self.find(item_ids, columns))
        return KnownItems(self._dataset.to_table(columns=columns))

    @property
    def has_text_index(self) -> bool:
        """Whether the texts have a full-text index, which may be out of date."""
        return has_word_index(self._dataset)

    def match_words(self, text: str, limit: int) -> pa.Table:
        """Return item_id, text and ``_score`` of items that share a word with a text, best first.

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
    """Return the row ids of rows that were read with row ids, shape (n_rows,)."""
    return np.asarray(rows.column(ROW_ID).to_numpy(), np.uint64)


def row_id_predicate(row_ids: RowIds) -> str:
    """Return the predicate that selects the rows with some row ids.

    Examples
    --------
    >>> row_id_predicate(np.array([3, 5], np.uint64))
    '_rowid IN (3, 5)'
    """
    return f"{ROW_ID} IN ({', '.join(map(str, row_ids.tolist()))})"


def require_domain(name: str, known: Sequence[str]) -> None:
    """Raise `InvalidInput` if a domain is none of those that are known."""
    if name not in known:
        listing = listed(sorted(known), name) or "none yet"
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}? its" if near else "its"
        raise InvalidInput(f"no domain {name!r} in this space; {hint} domains are: {listing}")


def select_rows(
    dataset: Any, attributes: Attributes, where: str, domains: frozenset[str] | None = None
) -> RowIds:
    """Return the row ids of the searchable items that a predicate selects, by a table scan.

    Raises
    ------
    InvalidFilter
        If the predicate is rejected; the message lists the columns.
    """
    columns = item_columns(dataset.schema)
    with raising_invalid_filter(where, listed_columns(columns, attributes, domains)):
        compiled = compile_for_domains(where, columns, attributes, domains)
        raise_failures(dataset, compiled)
        table = dataset.scanner(
            columns=[MODALITY_MASK], filter=compiled.sql, with_row_id=True
        ).to_table()
    selected: RowIds = row_ids_of(table)[_is_searchable(table)]
    return selected


def select_rows_from(
    dataset: Any,
    attributes: Attributes,
    where: str,
    row_ids: RowIds,
    domains: frozenset[str] | None = None,
) -> RowIds:
    """Return the row ids among some that `select_rows` selects, in their order.

    The rows are read by id and filtered in memory, so the cost grows with their number and not
    with the table. A value for which the predicate fails (such as a text that is cast to a number
    and is none) raises only if it is in one of these rows.

    Raises
    ------
    InvalidFilter
        As in `select_rows`.
    """
    columns = item_columns(dataset.schema)
    selected = [row_ids[:0]]
    with raising_invalid_filter(where, listed_columns(columns, attributes, domains)):
        compiled = compile_for_domains(where, columns, attributes, domains)
        parts = np.split(row_ids, range(FILTER_BATCH_ROWS, len(row_ids), FILTER_BATCH_ROWS))
        selected += [
            _select_in_memory(_take(dataset, part, compiled.reads), compiled) for part in parts
        ]
    result: RowIds = row_ids[np.isin(row_ids, np.concatenate(selected))]
    return result


def _select_in_memory(rows: pa.Table, compiled: CompiledFilter) -> RowIds:
    if not len(rows):
        return np.empty(0, np.uint64)
    dataset = lance_library().write_dataset(rows, "memory://")
    raise_failures(dataset, compiled)
    scanner = dataset.scanner(columns=[STABLE_ROW_ID], filter=compiled.sql)
    return np.asarray(scanner.to_table().column(STABLE_ROW_ID).to_numpy(), np.uint64)


def _take(dataset: Any, row_ids: RowIds, columns: Sequence[str]) -> pa.Table:
    """Return columns of the searchable rows among some, with their ids, in any order."""
    if not len(row_ids):
        return pa.table({STABLE_ROW_ID: pa.array([], pa.uint64())})
    table = dataset.scanner(
        columns=[*columns, MODALITY_MASK], filter=row_id_predicate(row_ids), with_row_id=True
    ).to_table()
    table = table.filter(pa.array(_is_searchable(table))).drop_columns([MODALITY_MASK])
    return table.rename_columns([*columns, STABLE_ROW_ID])


def _is_searchable(table: pa.Table) -> npt.NDArray[np.bool_]:
    return np.asarray(table.column(MODALITY_MASK).to_numpy() > 0, bool)
