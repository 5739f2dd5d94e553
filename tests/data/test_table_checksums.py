"""Checksums of Lance tables: what a version consists of, and which of its files is damaged."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import lance
import pyarrow as pa
import pytest

from isthmus.data.lance_manifest import TableManifest, manifest_name, versions_of
from isthmus.data.table_checksums import (
    VersionRecord,
    read_record,
    record_version,
    require_index_intact,
    require_intact,
    unrecorded_files,
)
from isthmus.errors import CorruptTable


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of two fragments, one with deleted rows, and an index."""
    path = tmp_path / "t.lance"
    rows = pa.table({"name": [f"n{i}" for i in range(20)], "value": range(20)})
    dataset = lance.write_dataset(rows, path, enable_stable_row_ids=True)
    dataset.insert(rows.slice(0, 5), mode="append")
    dataset.delete("value = 7")
    dataset.create_scalar_index("name", "BTREE", name="name_idx")
    return path


def manifest_of(table: Path, version: int) -> TableManifest:
    return TableManifest.parse((table / manifest_name(version)).read_bytes())


def test_a_manifest_says_the_same_as_lance(table):
    for version in versions_of(table):
        dataset, manifest = lance.dataset(table, version=version), manifest_of(table, version)
        assert manifest.version == version
        assert [f.number for f in manifest.fragments] == [
            f.fragment_id for f in dataset.get_fragments()
        ]
        assert [f.rows for f in manifest.fragments] == [
            f.count_rows() for f in dataset.get_fragments()
        ]
        expected = set()
        for fragment in dataset.get_fragments():
            expected |= {f"data/{file.path}" for file in fragment.data_files()}
            if fragment.deletion_file() is not None:
                expected.add(fragment.deletion_file())
        assert set(manifest.files) == expected
        assert [name for name, _ in manifest.indexes] == [
            index.name for index in dataset.describe_indices()
        ]
        assert all((table / folder).is_dir() for _, folder in manifest.indexes)


def test_every_cut_of_a_manifest_is_refused(table):
    content = (table / manifest_name(4)).read_bytes()
    for size in range(len(content)):
        with pytest.raises(ValueError, match="no manifest"):
            TableManifest.parse(content[:size])


def test_every_flipped_byte_of_a_record_is_noticed(table):
    content = record_version(table, 4).encode()
    assert VersionRecord.decode(content) == read_record(table, 4)
    for at in range(len(content)):
        flipped = bytearray(content)
        flipped[at] ^= 1
        with pytest.raises(ValueError, match="damaged"):
            VersionRecord.decode(bytes(flipped))


@pytest.mark.parametrize("how", ["flip", "cut", "remove"])
def test_a_damaged_file_of_a_version_is_named(table, how):
    record = record_version(table, 4)
    require_intact(table, 4)
    rows = {name for name in record.files if not name.startswith("_indices/")}
    assert rows == {manifest_name(4), *manifest_of(table, 4).files}
    for name in record.files:
        file, content = table / name, (table / name).read_bytes()
        if how == "remove":
            file.unlink()
        else:
            damaged = bytearray(content if how == "flip" else content[:-1])
            damaged[len(damaged) // 2] ^= how == "flip"
            file.write_bytes(damaged)
        if name != manifest_name(4) or how != "remove":
            with pytest.raises(CorruptTable, match=name):
                require_intact(table, 4)
            with pytest.raises(CorruptTable, match=name) if name in rows else nullcontext():
                require_intact(table, 4, besides="name_idx")
            with pytest.raises(CorruptTable, match=name) if name not in rows else nullcontext():
                require_index_intact(table, 4, "name_idx", "isthmus publish")
        file.write_bytes(content)


def test_a_file_that_was_damaged_since_it_was_recorded_never_gets_a_new_checksum(table):
    former = record_version(table, 1)
    (name,) = manifest_of(table, 1).files
    content = bytearray((table / name).read_bytes())
    content[100] ^= 1
    (table / name).write_bytes(content)
    assert record_version(table, 4).files[name] == former.files[name]
    with pytest.raises(CorruptTable, match=name):
        require_intact(table, 4)


def test_files_that_no_record_lists_are_reported(table):
    assert set(unrecorded_files(table, manifest_of(table, 1))) == set(manifest_of(table, 1).files)
    record_version(table, 1)
    new = set(manifest_of(table, 3).files) - set(manifest_of(table, 1).files)
    assert set(unrecorded_files(table, manifest_of(table, 3))) == new
    record_version(table, 3)
    assert unrecorded_files(table, manifest_of(table, 3)) == []
