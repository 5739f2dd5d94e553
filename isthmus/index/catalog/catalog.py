"""The catalog: the table of items and the only truth of a space; every index is its cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa

from isthmus.data.lance_tables import compact_if_fragmented, predicates_in
from isthmus.digests import DIGEST_BYTES
from isthmus.encoders.stack import NamedVector
from isthmus.index.catalog.snapshot import SCAN_ROWS, Snapshot
from isthmus.index.catalog.text_index import index_words
from isthmus.schema import (
    CATALOG_TABLE,
    CONTENT_HASH,
    DOMAIN,
    ITEM_ID,
    MODALITY_MASK,
    ROW_HASH,
    TEXT,
    Modality,
    media_columns,
    vector_column,
)

VERSIONS = "_versions"  # where the table engine keeps a file for each version


class Catalog:
    """Writes the items of a space.

    Parameters
    ----------
    folder : Path
        The space.
    """

    def __init__(self, folder: Path) -> None:
        import lance

        self._path = str(folder / CATALOG_TABLE)
        self._versions = folder / CATALOG_TABLE / VERSIONS
        self._dataset = lance.dataset(self._path)

    @classmethod
    def create(cls, folder: Path, named_vectors: Sequence[NamedVector]) -> Catalog:
        """Make an empty catalog."""
        import lance

        schema = _schema(named_vectors)
        lance.write_dataset(
            schema.empty_table(), str(folder / CATALOG_TABLE), enable_stable_row_ids=True
        )
        return cls(folder)

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
        for predicate in predicates_in(ITEM_ID, item_ids):
            self._dataset.delete(predicate)
        return int(before - self._dataset.count_rows())

    def index_text(self) -> None:
        """Make the index of words, or bring it up to date."""
        self._dataset.checkout_latest()
        index_words(self._dataset)

    def compute_vectors(
        self,
        named_vector: NamedVector,
        read: Sequence[str],
        compute: Callable[[pa.RecordBatch], pa.Array],
    ) -> None:
        """Give every item its vector in a named vector that is new to the catalog.

        Rows do not count as changed by it. A column that was left half done, by a job that was
        killed, is made anew.

        Parameters
        ----------
        named_vector : NamedVector
            The named vector.
        read : sequence of str
            Columns that its vectors are computed from.
        compute : callable
            Gives the vectors of a batch of rows, a list or null for each. It must not ask Lance
            for anything: that would wait for the very threads it is called from.
        """
        import lance

        self._dataset.checkout_latest()
        self.drop_vectors([named_vector.column])
        schema = pa.schema([(named_vector.column, pa.list_(pa.float32()))])

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

    def compact_if_fragmented(self) -> None:
        """Merge small fragments where there are many."""
        compact_if_fragmented(self._dataset, ITEM_ID)

    def _complete(self, table: pa.Table) -> pa.Table:
        """Put the columns in the catalog's order and types; absent ones become null."""
        columns = []
        for field in self._dataset.schema:
            if field.name in table.column_names:
                columns.append(table.column(field.name).cast(field.type))
            else:
                columns.append(pa.nulls(len(table), field.type))
        return pa.table(columns, schema=self._dataset.schema)


def _schema(named_vectors: Sequence[NamedVector]) -> pa.Schema:
    media = media_columns(
        {modality for named_vector in named_vectors for modality in named_vector.modalities}
    )
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
            *((b.column, pa.list_(pa.float32())) for b in named_vectors),
        ]
    )
