"""Weights of models as NumPy arrays, read without PyTorch; and their digest."""

from __future__ import annotations

import hashlib
import io
import mmap
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from isthmus.errors import UnknownEncoder
from isthmus.numerics.mapped_arrays import LENGTH_BYTES, map_arrays

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[Any]

# Names of number types, of storages in files of PyTorch.
_STORAGES: Final = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
}


def read_arrays(path: Path) -> dict[str, Array]:
    """Read the tensors of a checkpoint.

    Parameters
    ----------
    path : Path
        A safetensors file, whose arrays are views of the file (pages are read when they are
        used, and changes stay in memory); or a file of PyTorch's first format, from before
        version 1.6.

    Returns
    -------
    dict of str to numpy.ndarray
        In the order of the file.

    Raises
    ------
    UnknownEncoder
        If the file is of another format, is damaged, or holds anything but tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return map_arrays(path)
        return _read_first_format(path)
    except (ValueError, KeyError, EOFError, pickle.UnpicklingError) as error:
        raise UnknownEncoder(f"{path} holds no weights that can be read: {error}") from error


def release_pages(arrays: Mapping[str, Array]) -> None:
    """Release the memory of arrays that are views of a file; it is read again when used."""
    for array in arrays.values():
        owner: Any = array
        while isinstance(owner, np.ndarray):
            owner = owner.base
        owner = owner.obj if isinstance(owner, memoryview) else owner
        if isinstance(owner, mmap.mmap) and hasattr(owner, "madvise"):
            owner.madvise(mmap.MADV_DONTNEED)
        return  # all arrays of a file are views of one mapping


def _read_first_format(path: Path) -> dict[str, Array]:
    """Read tensors: three pickles of versions, one of the names, one of the storages, the values.

    The format is that of ``torch.serialization._legacy_load``. A pickle can run code when it is
    read; this reader knows the classes of tensors and refuses all others.
    """
    with path.open("rb") as file:
        for _ in ("magic number", "version", "sizes of the system's numbers"):
            _TensorUnpickler(file).load()
        reader = _TensorUnpickler(file)
        tensors: dict[str, _Tensor] = reader.load()
        for key in _TensorUnpickler(file).load():
            count = int.from_bytes(file.read(LENGTH_BYTES), "little")
            dtype = np.dtype(reader.storages[key])
            reader.values[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype)
    return {name: tensor.of(reader.values) for name, tensor in tensors.items()}


class _Tensor(NamedTuple):
    """A tensor of a file: a part of a storage, whose values come later in the file."""

    key: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def of(self, storages: Mapping[str, Array]) -> Array:
        """Return the values; raise `ValueError` if they lie outside of the storage."""
        values = storages[self.key]
        if 0 in self.shape:
            return np.empty(self.shape, values.dtype)
        steps = zip(self.shape, self.strides, strict=True)
        last = self.offset + sum((length - 1) * stride for length, stride in steps)
        if min((self.offset, *self.strides)) < 0 or last >= len(values):
            raise ValueError("a tensor is longer than its storage")
        strides = [stride * values.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(
            values[self.offset :], self.shape, strides, writeable=False
        )


class _TensorUnpickler(pickle.Unpickler):
    """Reads pickles that hold numbers, names and tensors, and no other class."""

    def __init__(self, file: io.BufferedReader) -> None:
        super().__init__(file)
        self.storages: dict[str, str] = {}
        self.values: dict[str, Array] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise pickle.UnpicklingError(f"it holds a {module}.{name}, which is no tensor")

    def persistent_load(self, saved: Any) -> str:
        _, dtype, key, _, _, _ = saved
        self.storages[key] = dtype
        return str(key)


def _rebuild_tensor(
    key: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> _Tensor:
    return _Tensor(key, offset, shape, strides)


def hash_weights(state: Mapping[str, torch.Tensor] | Mapping[str, Array]) -> str:
    """Digest names, types, shapes and bytes of tensors, or of the same arrays.

    Examples
    --------
    >>> hash_weights({"a": np.zeros(2)}) == hash_weights({"a": np.zeros((1, 2))})
    False
    """
    names = sorted(state)
    with ThreadPoolExecutor() as threads:  # hashlib releases the interpreter lock
        digests = threads.map(_hash, [state[name] for name in names])
        total = hashlib.blake2b(digest_size=16)
        for name, digest in zip(names, digests, strict=True):
            total.update(name.encode() + b"\0" + digest)
    return total.hexdigest()


def _hash(values: torch.Tensor | Array) -> bytes:
    if isinstance(values, np.ndarray):
        dtype, data = f"torch.{values.dtype}", np.ascontiguousarray(values).reshape(-1)
    else:
        import torch

        dtype = str(values.dtype)
        flat = values.detach().cpu().contiguous().reshape(-1)
        data = flat.view(torch.uint8).numpy()
    header = f"{dtype} {tuple(values.shape)}".encode()
    digest = hashlib.blake2b(header, digest_size=16)
    digest.update(data.view(np.uint8).data)
    return digest.digest()
