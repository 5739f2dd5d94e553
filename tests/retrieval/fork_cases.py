"""A process that was forked after a search answers as its parent does; run by `test_fork.py`."""

from __future__ import annotations

import gc
import os

import faiss
import numpy as np
import pytest

from isthmus import User
from isthmus.index.ann.exact import exact_search
from tests.forked import in_child
from tests.retrieval.crowd import make_crowd


@pytest.fixture
def served(tmp_path):
    """A space that has answered with several threads."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(2)
    space = make_crowd(tmp_path)
    space.add_interactions([{"user_id": "u", "item_id": "f01"}])
    many = np.random.default_rng(0).standard_normal((4_000, 64)).astype(np.float32)
    exact_search(many[:100], many, 10)  # the pool of threads is there
    yield space
    faiss.omp_set_num_threads(threads)


@pytest.mark.filterwarnings("ignore:lance is not fork-safe")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_answers(served):
    def answers():
        return [
            [hit.as_dict() for hit in hits]
            for hits in (
                served.search("1 0 0 0 0", k=5),
                served.search("1 0 0 0 0", k=5, attributes=True, where="n < 40"),
                served.search("1 0 0 0 0", k=5, hybrid=True),
                served.recommend(User(id="u"), k=5),
            )
        ]

    expected = repr(answers())
    assert in_child(answers) == expected
    assert repr(answers()) == expected  # and so does the parent, as before


@pytest.mark.filterwarnings("ignore:lance is not fork-safe")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_writes_and_its_parent_sees_it(served):
    def write():
        return served.delete(["f03"])

    assert in_child(write) == "1"
    assert served.count(where="item_id = 'f03'") == 0


@pytest.mark.filterwarnings("ignore:lance is not fork-safe")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
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
