"""Loading from a model hub or a local folder, with errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from isthmus.encoders.spec import local_path
from isthmus.errors import IsthmusError, MissingDependency, UnknownEncoder

CHECKPOINTS = ("model.safetensors", "pytorch_model.bin", "model.pth")


class Source(NamedTuple):
    """Where a model comes from.

    Attributes
    ----------
    name : str
        A name on the hub, or a path.
    local : bool
        Whether it is a path; the network is then left alone.
    """

    name: str
    local: bool


def find_source(name: str, spec: str) -> Source:
    """Tell a local folder from a name on the hub."""
    path = local_path(name, spec)
    return Source(name, False) if path is None else Source(str(path), True)


def find_checkpoint(name: str, spec: str) -> Path:
    """Give the checkpoint that a path means: the file, or the one in the folder.

    Raises
    ------
    UnknownEncoder
        If there is none.
    """
    path = local_path(name, spec)
    if path is None:
        raise UnknownEncoder(f"cannot load {spec!r}: there is no checkpoint {name!r}")
    if path.is_file():
        return path
    for file in CHECKPOINTS:
        if (path / file).is_file():
            return path / file
    raise UnknownEncoder(f"cannot load {spec!r}: {path} has none of {', '.join(CHECKPOINTS)}")


@contextmanager
def explained(spec: str) -> Iterator[None]:
    """Turn whatever a library raises while it loads into an error that says what to do."""
    try:
        yield
    except IsthmusError:
        raise
    except ImportError as error:
        raise MissingDependency(f"{spec!r} needs a package that is absent: {error}") from error
    except Exception as error:
        raise UnknownEncoder(
            f"cannot load {spec!r}: {_first_line(error)}. If this machine cannot reach the model "
            "hub, download the model elsewhere and give its local folder in place of the name"
        ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")
