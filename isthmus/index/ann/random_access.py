"""Memory maps for random access to a file that memory may not hold.

The kernel reads ahead, megabytes for the few pages that scoring a candidate needs. While the file
fits into memory that warms it; once it does not, the disk does little else (6.6 MiB were read for
each vector). Such a file is mapped once more, with the advice not to read ahead.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.numerics.arrays import FloatArray

MAX_MEMORY_SHARE = 0.5  # of the memory; the rest is for the index and everything else
CGROUPS = Path("/sys/fs/cgroup")


def random_access(vectors: FloatArray) -> FloatArray:
    """Return the same vectors, mapped for random access where they are many.

    Parameters
    ----------
    vectors : numpy.ndarray
        float32, shape (n, dim). Anything but a whole mapped file is returned as it is.
    """
    file = _whole_file(vectors)
    if (
        file is None
        or vectors.nbytes < MAX_MEMORY_SHARE * memory_limit()
        or not hasattr(mmap, "MADV_RANDOM")
    ):
        return vectors
    with file.open("rb") as opened:
        mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    mapped.madvise(mmap.MADV_RANDOM)
    return np.frombuffer(mapped, vectors.dtype).reshape(vectors.shape)


def memory_limit() -> int:
    """Return the bytes that this process may use: the machine's, or its control group's."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for line in _lines(Path("/proc/self/cgroup")):
        _, controllers, group = line.split(":", 2)
        folder, name = CGROUPS, "memory.max"
        if controllers:
            folder, name = CGROUPS / "memory", "memory.limit_in_bytes"
        if controllers in ("", "memory"):
            for directory in (folder / group.lstrip("/"), folder):
                limits += [int(value) for value in _lines(directory / name) if value.isdigit()]
    return min(limits)


def _whole_file(vectors: FloatArray) -> Path | None:
    mapped: Any = vectors
    while isinstance(mapped.base, np.ndarray):
        mapped = mapped.base
    whole = isinstance(mapped, np.memmap) and mapped.nbytes == vectors.nbytes
    return Path(mapped.filename) if whole and mapped.filename else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
