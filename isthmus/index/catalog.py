"""The catalog: the table of items and the only truth of a space; every index is its cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.columns import (
    AUDIO,
    CONTENT_HASH,
    DOMAIN,
    INTERNAL_PREFIX,
    ITEM_COLUMNS,
    ITEM_ID,
    MODALITY_MASK,
    ROW_HASH,
    ROW_ID,
    TEXT,
    UPDATED_AT,
    Modality,
    media_columns,
    vector_column,
)
from isthmus.digests import DIGEST_BYTES, DigestIndex, digest, keys_of
from isthmus.encoders.stack import Block
from isthmus.index.filters import check, columns_named, refusing
from isthmus.tables import VALUES_A_LIST, among, tidy

FOLDER = "catalog.lance"
VERSIONS = "_versions"  # where the table engine keeps a file for each version
CREATED_AT = "_row_created_at_version"
SCAN_ROWS = 8_192
WORD_SCORE = "_score"
TEXT_INDEX = "text_idx"
# ICU finds the words of scripts without spaces; the stop words of one language are names in
# another, and BM25 gives common words little weight anyway.
TEXT_INDEX_OPTIONS = {
    "base_tokenizer": "icu",
    "with_position": False,
    "remove_stop_words": False,
}
EVERY_PART = 1_000_000
TAKEN_ID = "_taken_id"
TAKEN_ROWS = 5_000
LISTED_ROWS = 50_000  # from which all rows are read, and those asked for are chosen

RowIds = npt.NDArray[np.uint64]


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
            [f for f in self._dataset.schema if f.name not in own and not _is_internal(f.name)]
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
        return _numbers(self._dataset.scanner(columns=[], with_row_id=True).to_table())

    def created_since(self, version: int) -> int:
        """Count the items that are there now and were not at a version."""
        return int(self._dataset.count_rows(f"{CREATED_AT} > {version}"))

    def changed_since(self, version: int, blocks: Sequence[Block]) -> Iterator[pa.RecordBatch]:
        """Give items new or changed after a version, with vectors and row ids, in batches."""
        yield from self._scan(blocks, f"{UPDATED_AT} > {version}").to_batches()

    def searchable(self, blocks: Sequence[Block]) -> Iterator[pa.RecordBatch]:
        """Give all items that have a vector, with vectors and row ids, batch by batch."""
        yield from self._scan(blocks, f"{MODALITY_MASK} > 0").to_batches()

    def sample(self, blocks: Sequence[Block], most: int) -> pa.Table:
        """Give items drawn at random, as `searchable` gives them."""
        there = self.row_ids()
        drawn = np.sort(np.random.default_rng(0).permutation(there)[:most])
        columns = [ITEM_ID, DOMAIN, *(block.column for block in blocks)]
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
        with refusing(where, self._visible):
            check(self._dataset, where, self._visible)
            table = self._dataset.scanner(
                columns=[MODALITY_MASK], filter=where, with_row_id=True
            ).to_table()
        selected: RowIds = _numbers(table)[_is_searchable(table)]
        return selected

    def select_among(self, where: str, row_ids: RowIds) -> RowIds:
        """Give those of some row ids that `select` would give, in their order.

        The rows are taken by id and filtered in memory, so the cost grows with their number and
        not with the catalog. A value that the predicate cannot be computed for (a text that is
        cast to a number and is none) is met only if it is in one of these rows.

        Parameters
        ----------
        where : str
            A SQL predicate.
        row_ids : numpy.ndarray
            uint64, shape (n,); ids that are not there are not selected.

        Raises
        ------
        InvalidFilter
            As by `select`.
        """
        import lance

        with refusing(where, self._visible):
            check(self._dataset, where, self._visible)
            found = []
            for part in np.split(row_ids, range(TAKEN_ROWS, len(row_ids), TAKEN_ROWS)):
                rows = self._searchable_rows(part, columns_named(where, self._visible))
                if len(rows):
                    in_memory = lance.write_dataset(rows, "memory://")
                    scanner = in_memory.scanner(columns=[TAKEN_ID], filter=where)
                    found.append(scanner.to_table().column(TAKEN_ID).to_numpy())
        selected: RowIds = row_ids[np.isin(row_ids, np.concatenate([row_ids[:0], *found]))]
        return selected

    def fetch(self, row_ids: RowIds, columns: Sequence[str]) -> pa.Table:
        """Give columns of rows, in the order of the row ids; null for a row that is gone."""
        if len(row_ids) == 0:
            return self._dataset.schema.empty_table().select(list(columns))
        listed = ", ".join(map(str, row_ids.tolist())) if len(row_ids) < LISTED_ROWS else None
        scanner = self._dataset.scanner(
            columns=list(columns),
            filter=listed and f"{ROW_ID} IN ({listed})",
            with_row_id=True,
        )
        table = scanner.to_table()
        found = np.argsort(_numbers(table))
        known = np.append(_numbers(table)[found], np.iinfo(np.uint64).max)
        at = np.searchsorted(known, row_ids)
        places = pa.array(np.append(found, 0)[at], mask=known[at] != row_ids)
        return table.drop_columns([ROW_ID]).take(places)

    def find(self, item_ids: Sequence[str], columns: Sequence[str]) -> pa.Table:
        """Give columns of the items with these ids; ids that are not there are left out."""
        tables = [
            self._dataset.scanner(columns=list(columns), filter=predicate).to_table()
            for predicate in among(ITEM_ID, item_ids)
        ]
        return pa.concat_tables(tables or [self._dataset.schema.empty_table().select(columns)])

    def holds(self, item_ids: pa.Array) -> pa.BooleanArray:
        """Tell for each item id whether there is such an item, searchable or not."""
        if len(item_ids) <= VALUES_A_LIST:
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
        if peek:
            return PeekedDigests(self)
        return ItemDigests(self._dataset.to_table(columns=self.digest_columns))

    @property
    def digest_columns(self) -> list[str]:
        """The columns that `ItemDigests` is made of."""
        there = self._dataset.schema.names
        return [ITEM_ID, DOMAIN, ROW_HASH, *(h for h in CONTENT_HASH.values() if h in there)]

    @property
    def has_text_index(self) -> bool:
        """Whether the texts have an index of words, if perhaps an older one."""
        return any(index["name"] == TEXT_INDEX for index in self._dataset.list_indices())

    def match_words(self, text: str, limit: int) -> pa.Table:
        """Give the items whose text holds some word of another text, best by BM25 first.

        Items newer than the index of words, or all of them where there is none, are read one by
        one. The text is taken as plain words: it has no operators.

        Returns
        -------
        pyarrow.Table
            At most `limit` rows of item_id and ``_score``.
        """
        from lance.query import MatchQuery

        # Arrow and Lance hold valid Unicode only; a half of a surrogate pair is no word.
        words = text.encode("utf-8", "replace").decode()
        scanner = self._dataset.scanner(
            columns=[ITEM_ID, WORD_SCORE], full_text_query=MatchQuery(words, TEXT), limit=limit
        )
        return scanner.to_table()

    def _scan(self, blocks: Sequence[Block], where: str) -> Any:
        vectors = [block.column for block in blocks]
        return self._dataset.scanner(
            columns=[ITEM_ID, DOMAIN, *vectors],
            filter=where,
            with_row_id=True,
            batch_size=SCAN_ROWS,
        )

    @cached_property
    def _visible(self) -> pa.Schema:
        """The columns that a filter may name."""
        return pa.schema([f for f in self._dataset.schema if not _is_internal(f.name)])

    def _searchable_rows(self, row_ids: RowIds, columns: Sequence[str]) -> pa.Table:
        """Give columns of those of the rows that are searchable, with their ids, in any order."""
        listed = ", ".join(map(str, row_ids.tolist()))
        if not listed:
            return pa.table({TAKEN_ID: pa.array([], pa.uint64())})
        table = self._dataset.scanner(
            columns=[*columns, MODALITY_MASK], filter=f"{ROW_ID} IN ({listed})", with_row_id=True
        ).to_table()
        table = table.filter(pa.array(_is_searchable(table))).drop_columns([MODALITY_MASK])
        return table.rename_columns([*columns, TAKEN_ID])


class Catalog:
    """Writes the items of a space.

    Parameters
    ----------
    folder : Path
        The space.
    blocks : sequence of Block
        The blocks of its item vectors.
    """

    def __init__(self, folder: Path, blocks: Sequence[Block]) -> None:
        import lance

        self._path = str(folder / FOLDER)
        self._versions = folder / FOLDER / VERSIONS
        self._blocks = tuple(blocks)
        self._dataset = lance.dataset(self._path)

    @classmethod
    def create(cls, folder: Path, blocks: Sequence[Block]) -> Catalog:
        """Make an empty catalog."""
        import lance

        schema = _schema(blocks)
        lance.write_dataset(schema.empty_table(), str(folder / FOLDER), enable_stable_row_ids=True)
        return cls(folder, blocks)

    def touched(self) -> int:
        """Give when a version last came or went, in nanoseconds since 1970 (some 2 µs)."""
        return self._versions.stat().st_mtime_ns

    def snapshot(self) -> Snapshot:
        """Give the catalog as it is now."""
        import lance

        return Snapshot(lance.dataset(self._path))

    def add_attributes(self, wanted: pa.Schema) -> pa.Schema:
        """Add the attribute columns that are new, and give all of these as they are stored."""
        self._dataset.checkout_latest()
        new = [field for field in wanted if field.name not in self._dataset.schema.names]
        if new:
            self._dataset.add_columns(pa.schema(new))
        return pa.schema([self._dataset.schema.field(name) for name in wanted.names])

    def write(self, added: pa.Table, changed: pa.Table) -> None:
        """Store items: new ones are appended, changed ones replaced."""
        self._dataset.checkout_latest()
        if len(added):
            self._dataset.insert(self._complete(added), mode="append")
        if len(changed):
            merge = self._dataset.merge_insert(ITEM_ID).when_matched_update_all()
            merge.when_not_matched_insert_all().execute(self._complete(changed))

    def delete(self, item_ids: Sequence[str]) -> int:
        """Delete items and give how many there were."""
        self._dataset.checkout_latest()
        before = self._dataset.count_rows()
        for predicate in among(ITEM_ID, item_ids):
            self._dataset.delete(predicate)
        return int(before - self._dataset.count_rows())

    def index_text(self) -> None:
        """Make the index of words, or bring it up to date.

        It is always merged into one part: as of Lance 14, parts that are only appended still
        find a changed item by its former words, since stable row ids stay
        (https://github.com/lance-format/lance/issues/7795).
        """
        self._dataset.checkout_latest()
        if Snapshot(self._dataset).has_text_index:
            self._dataset.optimize.optimize_indices(
                index_names=[TEXT_INDEX], num_indices_to_merge=EVERY_PART
            )
        else:
            self._dataset.create_scalar_index(
                TEXT, "INVERTED", name=TEXT_INDEX, **TEXT_INDEX_OPTIONS
            )

    def compute_vectors(
        self, block: Block, read: Sequence[str], compute: Callable[[pa.RecordBatch], pa.Array]
    ) -> None:
        """Give every item its vector in a block that is new to the catalog.

        Rows do not count as changed by it. A column that was left half done, by a job that was
        killed, is made anew.

        Parameters
        ----------
        block : Block
            The block.
        read : sequence of str
            Columns that its vectors are computed from.
        compute : callable
            Gives the vectors of a batch of rows, a list or null for each. It must not ask Lance
            for anything: that would wait for the very threads it is called from.
        """
        import lance

        self._dataset.checkout_latest()
        self.drop_vectors([block.column])
        schema = pa.schema([(block.column, pa.list_(pa.float32()))])

        @lance.batch_udf(output_schema=schema)  # type: ignore[untyped-decorator]
        def computed(batch: pa.RecordBatch) -> pa.RecordBatch:
            return pa.record_batch([compute(batch)], schema=schema)

        self._dataset.add_columns(computed, read_columns=list(read), batch_size=SCAN_ROWS)

    def drop_vectors(self, columns: Sequence[str]) -> None:
        """Drop columns of vectors, those of them that are there."""
        self._dataset.checkout_latest()
        there = [name for name in columns if name in self._dataset.schema.names]
        if there:
            self._dataset.drop_columns(there)

    def vector_columns(self) -> list[str]:
        """Name the columns of vectors that are there."""
        self._dataset.checkout_latest()
        return [n for n in self._dataset.schema.names if n.startswith(vector_column(""))]

    def tidy(self) -> None:
        """Merge small fragments where there are many."""
        tidy(self._dataset, ITEM_ID)

    def _complete(self, table: pa.Table) -> pa.Table:
        """Put the columns in the catalog's order and types; absent ones become null."""
        columns = []
        for field in self._dataset.schema:
            if field.name in table.column_names:
                columns.append(table.column(field.name).cast(field.type))
            else:
                columns.append(pa.nulls(len(table), field.type))
        return pa.table(columns, schema=self._dataset.schema)


class ItemDigests:
    """What the catalog knows of each item, compactly: to tell new, changed and unchanged."""

    def __init__(self, table: pa.Table) -> None:
        self._index = DigestIndex(keys_of(map(digest, table.column(ITEM_ID).to_pylist())))
        self._domains = table.column(DOMAIN).combine_chunks().dictionary_encode()
        columns: dict[str, str] = {"row": ROW_HASH}
        columns |= {str(modality): name for modality, name in CONTENT_HASH.items()}
        self._hashes = {
            k: table.column(name).combine_chunks()
            for k, name in columns.items()
            if name in table.column_names
        }

    def among(self, item_ids: Sequence[str]) -> ItemDigests:
        """Give the digests of these items, and perhaps of others."""
        del item_ids
        return self

    def find(self, item_ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Give the place of each item, or -1 where it is new, shape (len(item_ids),)."""
        return self._index.find(keys_of(map(digest, item_ids)))

    def domain(self, place: int) -> str:
        """Give the domain of the item at a place."""
        return str(self._domains[place].as_py())

    def hashes(self, what: str, places: npt.NDArray[np.int64]) -> list[bytes | None]:
        """Give the digests (of ``row``, or of a modality) of the items at places."""
        known = pa.array(places, mask=places < 0)
        taken: list[bytes | None] = self._hashes[what].take(known).to_pylist()
        return taken


class PeekedDigests(ItemDigests):
    """The same, read from the catalog for each batch of items."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def among(self, item_ids: Sequence[str]) -> ItemDigests:
        """Read the digests of these items."""
        return ItemDigests(self._snapshot.find(item_ids, self._snapshot.digest_columns))


def _schema(blocks: Sequence[Block]) -> pa.Schema:
    media = media_columns({modality for block in blocks for modality in block.modalities})
    digested: list[Modality] = ["text", *media]
    return pa.schema(
        [
            pa.field(ITEM_ID, pa.string(), nullable=False),
            pa.field(DOMAIN, pa.string(), nullable=False),
            (TEXT, pa.string()),
            *((name, pa.string()) for name in media),
            (MODALITY_MASK, pa.uint8()),
            (ROW_HASH, pa.binary(DIGEST_BYTES)),
            *((CONTENT_HASH[m], pa.binary(DIGEST_BYTES)) for m in digested),
            # Lists, not fixed-size lists: an absent vector then takes no room in memory.
            *((b.column, pa.list_(pa.float32())) for b in blocks),
        ]
    )


def _is_internal(name: str) -> bool:
    return name.startswith(INTERNAL_PREFIX)


def _is_searchable(table: pa.Table) -> npt.NDArray[np.bool_]:
    return np.asarray(table.column(MODALITY_MASK).to_numpy() > 0, bool)


def _numbers(table: pa.Table) -> RowIds:
    return np.asarray(table.column(ROW_ID).to_numpy(), np.uint64)
