"""Parts worked on by other processes come back whole and in order."""

from __future__ import annotations

import os
import time

import pytest

from isthmus.numerics.processes import cores, forked


@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("parts", [0, 1, 20])
def test_results_are_in_the_order_of_the_parts(processes, parts):
    def work(part):
        time.sleep(0.002 * (part % 3))
        return part * 2, os.getpid()

    found = list(forked(work, iter(range(parts)), processes))
    assert [result for result, _ in found] == [part * 2 for part in range(parts)]
    others = {process for _, process in found} - {os.getpid()}
    assert (len(others) > 0) == (processes > 1 and parts > 0)


def test_parts_are_taken_a_few_ahead():
    taken = []

    def parts():
        for part in range(30):
            taken.append(part)
            yield part

    for done, _ in enumerate(forked(abs, parts(), 2), 1):
        assert len(taken) <= done + 5


@pytest.mark.parametrize("processes", [1, 2])
def test_what_goes_wrong_is_raised(processes):
    def work(part):
        if part == 3:
            raise ValueError("part three")
        return part

    with pytest.raises(ValueError, match="part three"):
        list(forked(work, range(9), processes))
    assert list(forked(abs, range(4), processes)) == [0, 1, 2, 3]


def test_there_is_a_core():
    assert cores() >= 1
