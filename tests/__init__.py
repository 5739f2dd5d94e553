"""Tests. One thread a process, set before NumPy is loaded.

Test processes run side by side, and a thread that waits for a core of another process spins
instead of working.
"""

import os

for pool in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(pool, "1")
