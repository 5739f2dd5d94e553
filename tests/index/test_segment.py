"""Rows of a segment by name, and their vectors."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from isthmus.index.ann import segment as module
from isthmus.index.ann.segment import Segment, SegmentVectors

ITEMS = 200


def make(rows):
    vectors = np.arange(2 * len(rows), dtype=np.float32).reshape(-1, 2) + 1
    return Segment(
        row_ids=np.arange(ITEMS, dtype=np.uint64),
        item_ids=pa.array([f"i{n}" for n in range(ITEMS)]),
        domains=pa.array(["d"] * ITEMS).dictionary_encode(),
        named_vectors={"text": SegmentVectors(vectors, np.array(rows, np.int64))},
    )


@pytest.mark.parametrize("without", [[], [0, 7]])
def test_a_row_that_is_none_has_no_vector(without):
    rows = [row for row in range(ITEMS) if row not in without]
    requested = np.array([7, -1, 199, 0])
    found = make(rows).vectors("text", requested)
    for row, vector, present in zip(requested.tolist(), found.vectors, found.present, strict=True):
        assert present == (row in rows)
        at = rows.index(row) if present else -1
        assert vector.tolist() == ([2 * at + 1, 2 * at + 2] if present else [0, 0])
    assert make(rows).vectors("text", np.empty(0, np.int64)).vectors.shape == (0, 2)


def test_items_are_found_however_often_they_are_looked_up(monkeypatch):
    monkeypatch.setattr(module, "MAX_CACHED_ROWS", 3)
    segment = make(range(ITEMS))
    for n in [5, 5, 150, 5, 7, 9, 150, 7]:
        assert segment.find([f"i{n}", "nothing"]).tolist() == [n, -1]
    assert len(segment._cached_rows) <= 3
    many = [*(f"i{n}" for n in range(ITEMS)), "nothing"]
    assert segment.find(many).tolist() == [*range(ITEMS), -1]
