"""Memory that was freed, returned to the operating system."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any


def release_memory() -> None:
    """Return freed memory to the operating system.

    The C library keeps what it frees between blocks that are in use, and Arrow keeps a pool, so a
    process stays as large as the sum of what its stages needed at different times. Elsewhere than
    with the GNU C library only the pool is returned.
    """
    arrow = sys.modules.get("pyarrow")
    if arrow is not None:
        arrow.default_memory_pool().release_unused()
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Any:
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
