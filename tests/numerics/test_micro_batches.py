"""What threads ask for at one time is done together, and fails alone."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from isthmus.numerics.micro_batches import MicroBatcher

WAIT_S = 30.0


class Work:
    """Doubles numbers; the first batch waits until it is let go."""

    def __init__(self, size=4):
        self.begun, self.opened = threading.Event(), threading.Event()
        self.batches = []
        self.batcher = MicroBatcher(self.double, size)

    def double(self, numbers):
        self.batches.append(list(numbers))
        self.begun.set()
        assert self.opened.wait(WAIT_S)
        if 13 in numbers:
            raise ValueError("refused: 13")
        return [2 * number for number in numbers]

    def together(self, *asked):
        """Ask for the first pair of number and key, and for the others while it is done."""

        def ask(number, key):
            try:
                return self.batcher.ask(number, key)
            except ValueError as error:
                return str(error)

        with ThreadPoolExecutor(len(asked)) as threads:
            futures = [threads.submit(ask, *asked[0])]
            assert self.begun.wait(WAIT_S)
            for at, one in enumerate(asked[1:], 1):
                futures.append(threads.submit(ask, *one))
                end = time.monotonic() + WAIT_S
                while self.batcher.waiting < at:
                    assert time.monotonic() < end
                    time.sleep(0.001)
            self.opened.set()
            return [future.result() for future in futures]


def test_what_comes_meanwhile_is_one_batch_of_each_key():
    work = Work()
    asked = [(n, "even" if n % 2 == 0 else "odd") for n in range(8)]
    assert work.together(*asked) == [2 * n for n in range(8)]
    assert work.batches == [[0], [1, 3, 5, 7], [2, 4, 6]]
    assert work.batcher.waiting == 0


def test_a_batch_has_no_more_items_than_its_size():
    work = Work(size=2)
    assert work.together(*[(n, None) for n in range(6)]) == [2 * n for n in range(6)]
    assert work.batches == [[0], [1, 2], [3, 4], [5]]


def test_an_item_that_is_refused_fails_no_other():
    work = Work()
    assert work.together((1, None), (2, None), (13, None), (3, None)) == [2, 4, "refused: 13", 6]
    assert work.batches == [[1], [2, 13, 3], [2], [13], [3]]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_in_the_midst_of_a_batch_leaves_a_child_that_answers():
    work = Work()
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(work.batcher.ask, 1)
        assert work.begun.wait(WAIT_S)
        child = os.fork()
        if child == 0:  # the thread that leads is not here
            work.opened.set()
            os._exit(work.batcher.ask(21))
        work.opened.set()
        assert running.result(WAIT_S) == 2
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
