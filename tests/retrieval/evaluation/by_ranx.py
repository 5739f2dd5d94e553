"""Run ranx in a process of its own, without Numba's compiler, which would take a minute."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

SCRIPT = """
import json, sys
import numpy as np
import ranx
from ranx import statistical_tests
given = json.load(sys.stdin)
if "run" in given:
    qrels, run = ranx.Qrels(given["qrels"]), ranx.Run(given["run"])
    found = ranx.evaluate(qrels, run, given["metrics"], return_mean=False)
    print(json.dumps({name: list(values) for name, values in found.items()}))
else:
    pair = np.array(given["control"]), np.array(given["treatment"])
    student = statistical_tests.paired_student_t_test(*pair)[0]
    fisher = statistical_tests.fisher_randomization_test(*pair, given["permutations"])[0]
    print(json.dumps({"student": float(student), "fisher": float(fisher)}))
"""


def ranx_says(request: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of ranx: of ``run`` and ``qrels``, or p-values of two systems."""
    pytest.importorskip("ranx")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps(request),
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])
