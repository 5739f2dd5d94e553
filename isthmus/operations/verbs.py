"""What every verb of a space has in common: it keeps what it reads, and names damaged files."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from isthmus.data.leases import LeaseScope, lease_scope
from isthmus.errors import InvalidInput, IsthmusError, MissingDependency
from isthmus.operations.damage import damage_in_tables

FAISS: Final = "faiss"
MODEL_PACKAGES: Final = frozenset({"torch", "transformers", "timm", "open_clip"})


class _HasPath(Protocol):
    path: Path


Streamed = TypeVar("Streamed")
SpaceClass = TypeVar("SpaceClass", bound=type[_HasPath])


def as_verbs(cls: SpaceClass) -> SpaceClass:
    """Make every public method of a class a verb.

    A verb keeps the versions of tables and the releases that it reads until it returns: another
    process that compacts or publishes does not remove them. What Lance or FAISS raises because a
    file was damaged after it had been checked becomes the error that names the file.
    """
    for name, method in list(vars(cls).items()):
        if inspect.isfunction(method) and not name.startswith("_"):
            setattr(cls, name, _verb(method))
    return cls


def _verb(method: Callable[..., Any]) -> Callable[..., Any]:
    flags = {name for name, kind in method.__annotations__.items() if kind == "bool"}

    @wraps(method)
    def run(self: _HasPath, *args: Any, **kwargs: Any) -> Any:
        for name in flags.intersection(kwargs):
            _require_truth(name, kwargs[name])
        with lease_scope():
            try:
                answer = method(self, *args, **kwargs)
            except BaseException as error:
                _explain(self.path, error)
                raise
        # A generator has not begun to read: it keeps what it reads until it ends.
        return streamed(self.path, lambda: answer) if inspect.isgenerator(answer) else answer

    return run


def _require_truth(name: str, value: Any) -> None:
    """Raise `InvalidInput` for what is neither true nor false, such as an array."""
    try:
        bool(value)
    except ValueError as error:
        raise InvalidInput(f"{name} is {value!r}; give True or False") from error


def streamed(space: Path, begin: Callable[[], Iterator[Streamed]]) -> Iterator[Streamed]:
    """Return what an iterator yields; what it reads is kept from its beginning to its end.

    Parameters
    ----------
    space : Path
        Folder of the space.
    begin : callable
        Returns the iterator; called at once.
    """
    scope = LeaseScope()
    with lease_scope(scope):
        values = begin()
    return _kept(space, scope, values)


def _kept(space: Path, scope: LeaseScope, values: Iterator[Streamed]) -> Iterator[Streamed]:
    try:
        while True:
            with lease_scope(scope):
                try:
                    value = next(values)
                except StopIteration:
                    return
                except BaseException as error:
                    _explain(space, error)
                    raise
            yield value
    finally:
        scope.close()


def _explain(space: Path, error: BaseException) -> None:
    """Raise an error that names the remedy, where one was not raised on purpose.

    `CorruptTable` where it comes from a damaged file; `MissingDependency` where FAISS, PyTorch, or
    a package of its models, is not installed.

    A panic of Lance is no `Exception`; an interrupt is none either, and is no sign of damage.
    """
    if isinstance(error, IsthmusError | KeyboardInterrupt | SystemExit | GeneratorExit):
        return
    if isinstance(error, ModuleNotFoundError) and error.name == FAISS:
        raise MissingDependency(
            "this needs FAISS, which is not installed; install it with: "
            "pip install 'isthmus[cpu]', or 'isthmus[gpu]' for a GPU"
        ) from error
    if isinstance(error, ModuleNotFoundError) and error.name in MODEL_PACKAGES:
        raise MissingDependency(
            f"this needs {error.name}, which is not installed; install it with: "
            "pip install 'isthmus[models]'"
        ) from error
    damage = damage_in_tables(space)
    if damage is not None:
        raise damage from error
