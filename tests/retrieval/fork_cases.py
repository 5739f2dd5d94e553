"""A process that was forked from one that used a space does as its parent; see `test_fork.py`."""

from __future__ import annotations

import gc
import os
import threading
from contextlib import suppress

import faiss
import numpy as np
import pyarrow as pa
import pytest

from isthmus import Space, User
from isthmus.data.lance_tables import open_or_create
from isthmus.encoders.stack import LazyEncoders
from isthmus.errors import UnsupportedOperation
from isthmus.index.ann.exact import exact_search
from isthmus.index.catalog.snapshot import Snapshot
from tests.forked import in_child
from tests.retrieval.crowd import encoders, make_crowd
from tests.toy import item

pytestmark = [
    pytest.mark.filterwarnings("ignore:lance is not fork-safe"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
]


@pytest.fixture
def served(tmp_path):
    """A space whose process has computed with several threads."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(2)
    space = make_crowd(tmp_path)
    space.add_interactions([{"user_id": "u", "item_id": "f01"}])
    many = np.random.default_rng(0).standard_normal((4_000, 64)).astype(np.float32)
    exact_search(many[:100], many, 10)  # the pool of threads is there
    yield space
    faiss.omp_set_num_threads(threads)


def answers_of(space):
    return [
        [hit.as_dict() for hit in hits]
        for hits in (
            space.search("1 0 0 0 0", k=5),
            space.search("1 0 0 0 0", k=5, attributes=True, where="n < 40"),
            space.search("1 0 0 0 0", k=5, hybrid=True),
            space.recommend(User(id="u"), k=5),
        )
    ]


@pytest.mark.parametrize("before", ["search", "write", "open"])
def test_a_forked_process_answers(served, before):
    space, expected = served, repr(answers_of(served))
    if before == "write":
        space.upsert([item("f01", "0 0 0 0 1", "films", n=1)])
        expected = repr(answers_of(Space(served.path, encoder=encoders())))
    if before == "open":
        space = Space(served.path, encoder=encoders())
    for _ in range(2):
        assert in_child(lambda: answers_of(space)) == expected
    assert repr(answers_of(space)) == expected  # and so does the parent, as before


def test_a_forked_process_writes_and_its_parent_sees_it(served):
    def write():
        served.upsert([item("new", "1 0 0 0 0", "films", n=7)])
        deleted = served.delete(["f03"])
        return deleted, served.search("1 0 0 0 0", k=1)[0].item_id, served.publish().number

    assert in_child(write) == "(1, 'new', 2)"
    assert served.count(where="item_id = 'f03'") == 0
    assert served.get("new")["attributes"]["n"] == 7


def test_a_table_that_was_changed_since_it_was_opened_is_read_as_it_is(tmp_path):
    rows = pa.table({"n": [1, 2, 3]})
    table = open_or_create(tmp_path / "t", rows.schema)
    table.insert(rows)
    assert in_child(lambda: table.to_table().column("n").to_pylist()) == "[1, 2, 3]"


def test_a_process_forked_from_a_forked_one_answers(served):
    expected = served.get("f03")

    def answer():
        return served.get("f03") == expected

    assert in_child(lambda: (answer(), in_child(answer), answer())) == "(True, 'True', True)"


def test_a_forked_process_is_told_what_it_cannot_do(served):
    ids = served.ids()
    assert next(ids)

    def refused(call):
        with pytest.raises(UnsupportedOperation) as error:
            call()
        return str(error.value)

    assert "begin to read after the fork" in in_child(lambda: refused(lambda: list(ids)))
    assert len(list(ids)) + 1 == served.count()
    cast = in_child(lambda: refused(lambda: served.cast_attribute("films", "n", "string")))
    assert "spawn or forkserver" in cast
    assert served.get("f03")["attributes"]["n"] == 3


def test_a_lock_that_another_thread_held_at_the_fork_is_free(served):
    entered, leave = threading.Barrier(3), threading.Event()

    class Waiting:
        def count_rows(self):
            return 0

        def config(self):
            entered.wait()
            leave.wait()
            raise SystemExit

    def read(call):
        with suppress(SystemExit):
            call()

    lazy = LazyEncoders({"text": "waiting"}, {})
    lazy._load = lambda modality: Waiting().config()
    known = served.opened.catalog.snapshot()
    snapshot = Snapshot(served.path, Waiting(), known.stamp, known.table)
    waits = (lambda: lazy("text"), lambda: snapshot.attributes)
    readers = [threading.Thread(target=read, args=(call,), daemon=True) for call in waits]
    for reader in readers:
        reader.start()
    entered.wait()

    def answer():
        served.get("f01")  # needs the attributes
        return lazy._lock.acquire(timeout=1)

    assert in_child(answer) == "True"
    leave.set()


def test_a_forked_process_does_not_destroy_what_its_parent_left(served):
    destroyed = []

    class Model:
        def __init__(self):
            self.itself = self

        def __del__(self):
            destroyed.append(os.getpid())

    def collect():
        gc.collect()
        return destroyed, [hit.item_id for hit in served.search("1 0 0 0 0", k=1)]

    gc.disable()  # the model is left for the child to collect
    try:
        Model()
        assert in_child(collect) == "([], ['f16'])"
    finally:
        gc.enable()
    gc.collect()
    assert destroyed == [os.getpid()]
