"""Arrays of safetensors files, mapped: processes that read the same file share its memory."""

from __future__ import annotations

import json
import mmap
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

LENGTH_BYTES: Final = 8  # of the length of the header
TYPES: Final = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "U64": "<u8",
    "U32": "<u4",
    "U8": "|u1",
    "BOOL": "|b1",
}


def map_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a safetensors file, in the order of the file.

    They are views of the file: pages are read when they are used, and changes stay in the memory
    of the process.

    Raises
    ------
    ValueError, KeyError
        If the file is damaged, or holds numbers of another type.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        header = json.loads(file.read(length))
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    arrays = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        start, end = entry["data_offsets"]
        dtype = np.dtype(TYPES[entry["dtype"]])
        count = (end - start) // dtype.itemsize
        flat = np.frombuffer(data, dtype, count, LENGTH_BYTES + length + start)
        arrays[name] = flat.reshape(entry["shape"])
    return arrays
