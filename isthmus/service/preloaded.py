"""What workers share: imported before they are forked, in a process that does nothing else.

The process (`multiprocessing`'s fork server) has one thread and opens no space, so its forks are
safe, also for Lance, which starts its threads at the first table.
"""

from __future__ import annotations

import gc
import os
import signal
import warnings
from contextlib import suppress
from importlib import import_module
from typing import Final

MODULES: Final = (
    "isthmus.service.server",
    "faiss",
    "lance",
    "numpy",
    "prometheus_client",
    "pyarrow.compute",
    "pyarrow.dataset",
    "safetensors",
    "scipy.sparse",
    "scipy.stats",
    "threadpoolctl",
)

for name in MODULES:
    with suppress(ImportError):  # of an extra
        import_module(name)
# It warns at each fork, since others fork when they have used it.
warnings.filterwarnings("ignore", "lance is not fork-safe", UserWarning)
# Whoever stops all processes of the service means the workers, whose exit codes pass through here.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))
gc.collect()
gc.freeze()  # the collector would write to each object, and so copy its page in every worker
