"""Vectors mapped for random access."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.index.ann import random_access as module
from isthmus.index.ann.random_access import memory_limit, random_access


@pytest.fixture
def mapped(tmp_path):
    np.arange(40, dtype="<f4").tofile(tmp_path / "vectors")
    return np.asarray(np.memmap(tmp_path / "vectors", "<f4", "r")).reshape(-1, 4)


def test_a_file_that_memory_may_not_hold_is_mapped_again_with_the_same_vectors(mapped, monkeypatch):
    monkeypatch.setattr(module, "memory_limit", lambda: 100)
    again = random_access(mapped)
    assert not np.shares_memory(again, mapped)
    np.testing.assert_array_equal(again, mapped)


def test_what_fits_or_is_no_whole_file_stays_as_it_is(mapped, monkeypatch):
    assert random_access(mapped) is mapped
    monkeypatch.setattr(module, "memory_limit", lambda: 100)
    part, copy = mapped[2:], mapped.copy()
    assert random_access(part) is part
    assert random_access(copy) is copy


def test_the_limit_is_the_smaller_of_machine_and_control_group(tmp_path, monkeypatch):
    machine = memory_limit()
    group = tmp_path / "memory" / "jobs"
    group.mkdir(parents=True)
    monkeypatch.setattr(module, "CGROUPS", tmp_path)
    said = {"/proc/self/cgroup": ["9:cpu:/", "4:memory:/jobs", "0::/"]}
    read = module._lines
    monkeypatch.setattr(module, "_lines", lambda path: said.get(str(path)) or read(path))
    assert memory_limit() >= machine
    (group / "memory.limit_in_bytes").write_text("4096\n")
    assert memory_limit() == 4096
    (tmp_path / "memory.max").write_text("2048\n")
    assert memory_limit() == 2048
