"""Lance in another process does what Lance does."""

from __future__ import annotations

import os
import signal

import lance
import pyarrow as pa
import pytest

from isthmus.data.lance_process import LanceProcess
from isthmus.errors import UnsupportedOperation

ROWS = pa.table({"id": ["a", "b", "c"], "n": [1, 2, 3]})


@pytest.fixture
def process():
    process = LanceProcess()
    yield process
    process.forget()


def test_a_table_is_written_and_read(process, tmp_path):
    path = str(tmp_path / "t")
    table = process.library.write_dataset(ROWS, path)
    changed = pa.table({"id": ["b", "d"], "n": [20, 40]})
    merge = table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
    transaction, counts = merge.execute_uncommitted(changed)
    assert counts["num_inserted_rows"] == 1
    process.library.LanceDataset.commit(table, transaction)

    table = process.library.dataset(path)
    expected = lance.dataset(path)
    assert table.version == expected.version == 2
    assert table.schema == expected.schema
    assert table.to_table() == expected.to_table()
    batches = list(table.scanner(filter="n > 2", batch_size=1).to_batches())
    assert pa.Table.from_batches(batches) == expected.to_table(filter="n > 2")
    fragments = [fragment.fragment_id for fragment in table.get_fragments()]
    assert fragments == [fragment.fragment_id for fragment in expected.get_fragments()]


def test_errors_are_those_of_lance(process, tmp_path):
    path = str(tmp_path / "t")
    table = process.library.write_dataset(ROWS, path)
    with pytest.raises(ValueError, match="no_such_column"):
        table.to_table(columns=["no_such_column"])
    with pytest.raises(OSError, match="already exists"):
        process.library.write_dataset(ROWS, path)
    with pytest.raises(AttributeError, match="no_such_method"):
        table.no_such_method()
    assert table.count_rows() == 3  # the connection is as it was


def test_a_function_is_refused_and_nothing_done(process, tmp_path):
    table = process.library.write_dataset(ROWS, str(tmp_path / "t"))
    with pytest.raises(UnsupportedOperation, match=r"cannot be given a function.*"):
        table.add_columns(lambda batch: batch)
    assert table.schema == ROWS.schema


def test_a_process_that_ended_is_named(process):
    os.kill(process._process.pid, signal.SIGKILL)
    with pytest.raises(UnsupportedOperation, match="forked process ended with exit status -9"):
        process.library.dataset("t")
    assert process.has_ended
