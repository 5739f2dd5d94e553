"""The catalog: the table of items. It is the truth of a space; every index is a cache of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from isthmus.data.domain_mapping import DomainMapping
from isthmus.data.lance_library import lance_library
from isthmus.data.lance_manifest import VERSIONS
from isthmus.data.lance_tables import (
    compact_if_fragmented,
    create_table,
    open_table,
    predicates_in,
)
from isthmus.data.leases import hold
from isthmus.data.table_checksums import corrupt, stamp_of, table_identity
from isthmus.digests import DIGEST_BYTES
from isthmus.encoders.stack import NamedVector
from isthmus.index.catalog.attributes import AttributeChange, place_attributes
from isthmus.index.catalog.snapshot import SCAN_ROWS, Snapshot
from isthmus.index.catalog.text_index import index_words
from isthmus.schema import (
    CATALOG_TABLE,
    CONTENT_HASH,
    CONTENT_VERSION,
    DOMAIN,
    ITEM_ID,
    MAPPING_KEY,
    MODALITY_MASK,
    QUARANTINE,
    TEXT,
    Modality,
    media_columns,
    vector_column,
)


class Catalog:
    """The items of a space; reads go through `snapshot`.

    Parameters
    ----------
    folder : Path
        The space.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / CATALOG_TABLE
        self._last: Snapshot | None = None

    @classmethod
    def create(cls, folder: Path, named_vectors: Sequence[NamedVector]) -> Catalog:
        """Create an empty catalog."""
        create_table(folder / CATALOG_TABLE, _schema(named_vectors), stable_row_ids=True)
        return cls(folder)

    def snapshot(self) -> Snapshot:
        """Return the catalog as it is now, kept until the end of the lease scope.

        It is the same object as before where nothing changed.

        Raises
        ------
        CorruptTable
            If a file of it is missing or damaged.
        """
        last = self._last
        if last is not None:
            hold(self._path, last.version)
            if last.stamp.is_newest():
                return last
        dataset = self._latest()
        stamp = stamp_of(self._path, dataset.version)
        self._last = Snapshot(self._path, dataset, stamp, table_identity(self._path))
        return self._last

    def place_attributes(
        self, types: Mapping[str, Mapping[str, pa.DataType]]
    ) -> dict[str, dict[str, pa.Field]]:
        """Set the types of attributes of domains; return by domain and name the columns of them.

        See `isthmus.index.catalog.attributes.place_attributes`.
        """
        return place_attributes(self._latest(), types)

    def change_attributes(self) -> AttributeChange:
        """Begin a change of the attributes."""
        return AttributeChange(self._latest())

    def write(self, added: pa.Table, changed: pa.Table) -> None:
        """Append added items and replace changed ones, with their vectors."""
        dataset = self._latest()
        if len(added):
            dataset.insert(_complete(dataset, added), mode="append")
        if len(changed):
            merge = dataset.merge_insert(ITEM_ID).when_matched_update_all()
            merge.when_not_matched_insert_all().execute(_complete(dataset, changed))

    def patch(self, items: pa.Table) -> None:
        """Replace some columns of items, in one commit that neither reads nor writes others.

        The vectors do not count as changed, so no index needs to know. Ids that the catalog does
        not have are passed over.

        Parameters
        ----------
        items : pyarrow.Table
            Item id and the columns to replace.
        """
        dataset = self._latest()
        if len(items) and items.num_columns > 1:
            schema = dataset.schema
            typed = [schema.field(name) for name in items.column_names]
            merge = dataset.merge_insert(ITEM_ID).when_matched_update_all()
            merge.write_mode("rewrite_columns").execute(items.cast(pa.schema(typed)))

    def remember(self, mappings: Mapping[str, DomainMapping]) -> None:
        """Store the mapping of domains, in one commit, before items that are made by them.

        So no item is ever without the mapping that made it. A mapping without items binds nobody.
        """
        dataset = self._latest()
        config = dataset.config()
        values = {f"{MAPPING_KEY}{d}": mapping.as_json() for d, mapping in mappings.items()}
        changed = {key: value for key, value in values.items() if config.get(key) != value}
        if changed:
            dataset.update_config(changed)

    def delete(self, item_ids: Sequence[str]) -> int:
        """Delete items; return how many there were."""
        dataset = self._latest()
        before = dataset.count_rows()
        for predicate in predicates_in(ITEM_ID, item_ids):
            dataset.delete(predicate)
        return int(before - dataset.count_rows())

    def index_text(self) -> None:
        """Build the full-text index, or bring it up to date."""
        index_words(self._latest())

    def compute_vectors(
        self,
        named_vector: NamedVector,
        read: Sequence[str],
        compute: Callable[[pa.RecordBatch], pa.Array],
    ) -> None:
        """Add the column of a new named vector to every item.

        Rows do not count as changed. An incomplete column of a job that was killed is replaced.

        Parameters
        ----------
        named_vector : NamedVector
            The named vector.
        read : sequence of str
            Columns that `compute` needs.
        compute : callable
            Returns the vectors of a batch of rows, a list or null for each. It must not read from
            Lance, which would deadlock: it runs in Lance's threads.
        """
        self.drop_vectors([named_vector.column])
        dataset = self._latest()
        schema = pa.schema([(named_vector.column, pa.list_(pa.float32()))])

        @lance_library().batch_udf(output_schema=schema)  # type: ignore[untyped-decorator]
        def computed(batch: pa.RecordBatch) -> pa.RecordBatch:
            return pa.record_batch([compute(batch)], schema=schema)

        dataset.add_columns(computed, read_columns=list(read), batch_size=SCAN_ROWS)

    def add_vectors(self, named_vectors: Sequence[NamedVector]) -> None:
        """Add the columns of named vectors that no item has yet; those that are there stay."""
        dataset = self._latest()
        new = [v.column for v in named_vectors if v.column not in dataset.schema.names]
        if new:
            dataset.add_columns(pa.schema([(name, pa.list_(pa.float32())) for name in new]))

    def drop_vectors(self, columns: Sequence[str]) -> None:
        """Drop columns of vectors; unknown names are ignored."""
        dataset = self._latest()
        present = [name for name in columns if name in dataset.schema.names]
        if present:
            dataset.drop_columns(present)

    def vector_columns(self) -> list[str]:
        """Return the names of the columns of vectors."""
        return [n for n in self._latest().schema.names if n.startswith(vector_column(""))]

    def compact_if_fragmented(self) -> None:
        """Merge small fragments if there are many; index item ids in a large table."""
        compact_if_fragmented(self._latest(), ITEM_ID)

    def _latest(self) -> Any:
        dataset = open_table(self._path)
        if dataset is None:
            raise corrupt(self._path, VERSIONS)
        return dataset


def _complete(dataset: Any, table: pa.Table) -> pa.Table:
    """Return a table with the catalog's columns and types; missing columns are null.

    The rows are marked with the version that the next commit makes. The caller's lock keeps
    other writers from making it.
    """
    version = pa.array([dataset.version + 1] * len(table), pa.uint64())
    given = dict(zip(table.column_names, table.columns, strict=True)) | {CONTENT_VERSION: version}
    schema = dataset.schema
    columns = [
        given[field.name].cast(field.type)
        if field.name in given
        else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _schema(named_vectors: Sequence[NamedVector]) -> pa.Schema:
    encoded = [vector for vector in named_vectors if not vector.given]
    media = media_columns({m for vector in encoded for m in vector.modalities})
    digested: list[Modality] = ["text", *media]
    return pa.schema(
        [
            pa.field(ITEM_ID, pa.string(), nullable=False),
            pa.field(DOMAIN, pa.string(), nullable=False),
            (TEXT, pa.string()),
            *((name, pa.string()) for name in media),
            (MODALITY_MASK, pa.uint8()),
            (CONTENT_VERSION, pa.uint64()),
            (QUARANTINE, pa.string()),
            *((CONTENT_HASH[m], pa.binary(DIGEST_BYTES)) for m in digested),
            # Lists, not fixed-size lists: an absent vector takes no memory.
            *((vector.column, pa.list_(pa.float32())) for vector in named_vectors),
        ]
    )
