"""A hundred thousand ratings of real users."""

from __future__ import annotations

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from isthmus.data.interactions.feedback import Feedback
from isthmus.data.interactions.matrix import InteractionMatrix


@pytest.mark.real_data
def test_movielens_is_added_once_and_read_back(space, real_data):
    path = real_data / "movielens_posters" / "interactions.parquet"
    rows = pq.read_table(path)
    first = space.add_interactions(path)
    assert (first.rows_read, first.added, first.users) == (100_836, 100_836, 610)
    assert (first.unknown_items.items, first.unknown_items.interactions) == (9_724, 100_836)
    again = space.add_interactions(rows)
    assert (again.added, again.unchanged) == (0, 100_836)
    one = rows.column("user_id")[0].as_py()
    theirs = rows.filter(pc.equal(rows.column("user_id"), one)).sort_by("timestamp")
    found = space.interactions(one, waiting=True)
    assert found.column("time").to_pylist() == theirs.column("timestamp").to_pylist()
    assert sorted(found.column("item_id").to_pylist()) == sorted(
        theirs.column("item_id").to_pylist()
    )
    items = pc.unique(rows.column("item_id")).to_pylist()
    places = {name: n for n, name in enumerate(items)}
    log = space.interactions(waiting=True)
    matrix = InteractionMatrix.from_table(
        log,
        lambda names: np.array([places[name] for name in names], np.int64),
        len(items),
        feedback=Feedback.of(log),
    )
    assert matrix.shape == (610, 9_724)
    assert matrix.values.nnz == 100_836
    assert matrix.values.sum() == pytest.approx(pc.sum(rows.column("rating")).as_py())
    assert matrix.liked.nnz == pc.sum(pc.greater_equal(rows.column("rating"), 4)).as_py()
