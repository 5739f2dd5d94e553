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


@pytest.mark.nightly  # a known fault: a child crashes or hangs now and then, see limits.md
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_forked_processes_answer_write_and_destroy_nothing():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(CASES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
