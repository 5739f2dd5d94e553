"""Forked processes, in an interpreter of its own.

What other tests have loaded into this process (gRPC, Numba, several runtimes of threads) may not
survive a fork, whatever Isthmus does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CASES = Path(__file__).with_name("fork_cases.py")
LIMIT_S = 600

# A worker of a server ends as any program: its interpreter is taken down.
ENDS = """
import os, sys
from isthmus import Space

space = Space.create(sys.argv[1], "local")
space.upsert([{"item_id": 1, "text": "red boots"}, {"item_id": 2, "text": "a hat"}], domain="shop")

def search():
    return [hit.as_dict() for hit in space.search("red boots", attributes=True)]

expected = search()
child = os.fork()
if not child:
    hits = search()
    for hit, other in zip(hits, expected):
        assert abs(hit.pop("score") - other.pop("score")) < 1e-3
    assert hits == expected
    sys.exit(7)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) - 7)
"""

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


def test_forked_processes_answer_write_and_destroy_nothing():
    run(["-m", "pytest", "-q", "-p", "no:cacheprovider", str(CASES)])


def test_a_forked_process_encodes_and_ends(tmp_path):
    run(["-c", ENDS, str(tmp_path / "s")])


def run(words):
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
