"""Weights: read them safely, and name them by their content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read a checkpoint: safetensors, or a pickle that may hold nothing but tensors."""
    import torch
    from safetensors.torch import load_file

    if path.suffix == ".safetensors":
        return load_file(path)
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def hash_weights(state: Mapping[str, torch.Tensor]) -> str:
    """Digest names, types, shapes and bytes of tensors.

    Examples
    --------
    >>> import torch
    >>> hash_weights({"a": torch.zeros(2)}) == hash_weights({"a": torch.zeros(1, 2)})
    False
    """
    names = sorted(state)
    with ThreadPoolExecutor() as threads:  # hashing leaves the interpreter lock
        digests = threads.map(_hash_tensor, [state[name] for name in names])
        whole = hashlib.blake2b(digest_size=16)
        for name, digest in zip(names, digests, strict=True):
            whole.update(name.encode() + b"\0" + digest)
    return whole.hexdigest()


def hash_text(text: str) -> str:
    """Digest a text: a vocabulary, a configuration."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def hash_settings(settings: Any) -> str:
    """Digest nested settings, whatever the order of their names.

    Examples
    --------
    >>> hash_settings({"a": 1, "b": 2}) == hash_settings({"b": 2, "a": 1})
    True
    """
    return hash_text(json.dumps(settings, sort_keys=True, default=str))


def _hash_tensor(tensor: torch.Tensor) -> bytes:
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    header = f"{tensor.dtype} {tuple(tensor.shape)}".encode()
    digest = hashlib.blake2b(header, digest_size=16)
    digest.update(flat.view(torch.uint8).numpy().data)
    return digest.digest()
