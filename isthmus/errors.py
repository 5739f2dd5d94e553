"""The errors of Isthmus; a message names the item, the cause and the remedy.

Each error is also a built-in exception, so callers can catch either.
"""

from __future__ import annotations

import shlex
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from difflib import get_close_matches
from pathlib import Path
from types import FrameType
from typing import Any

COMMAND_SPACE: ContextVar[Path | None] = ContextVar("command_space", default=None)
MOST_NAMES = 8
MAX_NAME = 40


class IsthmusError(Exception):
    """Base of the errors that Isthmus raises on purpose."""

    def __str__(self) -> str:
        """Return the message without the quotes that ``KeyError`` adds."""
        return str(self.args[0]) if self.args else ""


class InvalidRows(IsthmusError, ValueError):
    """Rows that are invalid; nothing of their input was encoded or stored.

    Attributes
    ----------
    problems : tuple of (int, str)
        Row number (from 0, over the whole input) and what is wrong with it.
    source : str
        Name of the input.

    The argument `place` returns where a row stands, for the message: ``row 3``, ``a.csv line 7``.
    """

    def __init__(
        self,
        problems: Sequence[tuple[int, str]],
        source: str = "input",
        place: Callable[[int], str] = "row {}".format,
    ) -> None:
        self.problems, self.source = tuple(problems), source
        shown = "; ".join(f"{place(row)}: {what}" for row, what in self.problems[:10])
        more = f"; and {len(self.problems) - 10} more" if len(self.problems) > 10 else ""
        super().__init__(
            f"{len(self.problems)} invalid row(s) in {source}: {shown}{more}. Nothing was added. "
            "Correct the rows, or pass skip_invalid=True (--skip-invalid) to add the others."
        )


class InvalidItems(InvalidRows):
    """Items that are invalid."""


class InvalidInteractions(InvalidRows):
    """Interactions that are invalid."""


class InvalidUsers(InvalidRows):
    """Users that are invalid."""


class InvalidMapping(IsthmusError, ValueError):
    """The field mapping names a column that the input does not have, or is malformed."""


class InvalidInput(IsthmusError, ValueError):
    """An argument, a file or a query that cannot be used."""


class InvalidMedia(IsthmusError, ValueError):
    """An image or audio that cannot be read or decoded safely."""


class InvalidImage(InvalidMedia):
    """An image that cannot be decoded safely."""


class InvalidAudio(InvalidMedia):
    """Audio that cannot be decoded safely."""


class InvalidFilter(IsthmusError, ValueError):
    """A ``where`` predicate that the table engine rejects."""


class UnknownEncoder(IsthmusError, ValueError):
    """An encoder spec that names no loadable encoder."""


class UnsupportedModality(IsthmusError, ValueError):
    """A modality that the encoder, or the space, does not support."""


class MissingDependency(IsthmusError, ImportError):
    """An optional package is missing; the message names the command that installs it."""


class FingerprintMismatch(IsthmusError, ValueError):
    """Vectors of different encoder stacks would be mixed."""


class ItemNotFound(IsthmusError, KeyError):
    """The space has no item with this id.

    Attributes
    ----------
    item_ids : tuple of str
        All ids of several that are unknown; empty where the message names the only one.
    """

    def __init__(self, message: str, item_ids: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.item_ids = tuple(item_ids)


class SpaceNotFound(IsthmusError, FileNotFoundError):
    """The folder is no space."""


class SpaceExists(IsthmusError, FileExistsError):
    """The folder exists already and is not empty."""


class SpaceLocked(IsthmusError, TimeoutError):
    """Another process is writing to the space."""


class UnsupportedFormat(IsthmusError, ValueError):
    """The space has an on-disk format that this version does not read."""


class ReleaseNotFound(IsthmusError, LookupError):
    """The space has no such release."""


class CorruptRelease(IsthmusError, OSError):
    """A file of a release is damaged or missing."""


class CorruptTable(IsthmusError, OSError):
    """A file of a table (items, interactions, embedding cache) is damaged or missing."""


class BackupNotFound(IsthmusError, LookupError):
    """There is no backup of that name, or none at all."""


class CorruptBackup(IsthmusError, OSError):
    """A content of a backup is damaged or missing."""


class CorruptAlignment(IsthmusError, OSError):
    """A file of an alignment is damaged or missing."""


class ReleaseRejected(IsthmusError, RuntimeError):
    """A release was built and kept, but misses its targets and did not become current."""


class ImpossibleTargets(IsthmusError, ValueError):
    """No index recipe meets the targets; the message names the nearest one."""


class UnsupportedOperation(IsthmusError, NotImplementedError):
    """The device or a library cannot do this; nothing was done instead."""


class ServiceError(IsthmusError, ConnectionError):
    """A service that is reached over a network does not answer as it should."""


class MalformedAnswer(ServiceError):
    """A service answers, each time with something that is not what was asked for."""


class ServiceRefusal(ServiceError):
    """A service refuses one request for what is in it; another may succeed."""


class PartlyEncoded(ServiceError):
    """A remote encoder encoded some contents of a batch, and not all.

    Attributes
    ----------
    vectors : dict of int to array
        The vectors that it made, by position in the batch.
    refused : dict of int to str
        Contents that it refuses for what they are, and why.
    is_over : bool
        Whether it answers no more, so that nothing else was tried.
    """

    def __init__(
        self,
        message: str,
        vectors: Mapping[int, Any],
        refused: Mapping[int, str],
        *,
        is_over: bool,
    ) -> None:
        super().__init__(message)
        self.vectors, self.refused, self.is_over = dict(vectors), dict(refused), is_over


class InvalidKey(IsthmusError, PermissionError):
    """A request to the HTTP service has no key, or one that is unknown or revoked."""


class AccessDenied(IsthmusError, PermissionError):
    """A key of the HTTP service does not reach that far."""


class UnknownRoute(IsthmusError, LookupError):
    """The HTTP service has no such operation, space or job."""


class RequestTooLarge(IsthmusError, ValueError):
    """A request to the HTTP service exceeds a limit of it."""


class Busy(ServiceError):
    """The HTTP service has too much to do; the same request may succeed later.

    Attributes
    ----------
    retry_after_s : float
        After how many seconds it is worth to try again.
    """

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TooManyRequests(Busy):
    """A key of the HTTP service has too many requests at a time."""


class IsthmusWarning(UserWarning):
    """Something about an answer that its reader should know, such as a history of unknown items."""


def warn(note: str) -> None:
    """Warn the caller of Isthmus of a note, at the line of the call."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and _is_ours(frame):
        frame, level = frame.f_back, level + 1
    warnings.warn(note, IsthmusWarning, stacklevel=level)


def _is_ours(frame: FrameType) -> bool:
    name = str(frame.f_globals.get("__name__", ""))
    return name.split(".", 1)[0] == "isthmus"


def listed(names: Sequence[str], near: str | None = None) -> str:
    """Return names to quote in a message: all of a few, and of many the first, or the most like.

    Parameters
    ----------
    names : sequence of str
        The names that there are.
    near : str, optional
        What was asked for.

    Examples
    --------
    >>> listed(["title", "year"])
    'title, year'
    >>> listed([f"feature_{i}" for i in range(57)] + ["title"], near="titel")
    'title, feature_0, feature_1, feature_2, feature_3, feature_4, feature_5, and 51 more'
    """
    if len(names) > MOST_NAMES:
        first = get_close_matches(near, names, n=3) if near else []
        rest = [name for name in names if name not in first]
        shown = [*first, *rest][: MOST_NAMES - 1]
        return f"{listed(shown)}, and {len(names) - len(shown)} more"
    return ", ".join(name if len(name) <= MAX_NAME else f"{name[:MAX_NAME]}..." for name in names)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type, to quote in another message."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def command_in(space: Path | None, words: str, *values: str) -> str:
    """Return a command for a space, to be typed as it is.

    Values from data, such as ids and names, are quoted. Where one looks like an option, they
    follow ``--``.

    Where a message is made that does not know the space, it is the one that the command line was
    called with, and elsewhere the placeholder ``SPACE``.

    Examples
    --------
    >>> command_in(Path("my shop.space"), "verify --repair")
    "isthmus verify --repair --space 'my shop.space'"
    >>> command_in(None, "verify --repair")
    'isthmus verify --repair --space SPACE'
    >>> command_in(Path("s"), "attributes drop", "art prints", "size")
    "isthmus attributes drop 'art prints' size --space s"
    >>> command_in(Path("s"), "attributes drop", "-x", "size")
    'isthmus attributes drop --space s -- -x size'
    """
    space = COMMAND_SPACE.get() if space is None else space
    quoted = [shlex.quote(value) for value in values]
    option = f"--space {'SPACE' if space is None else shlex.quote(str(space))}"
    if any(value.startswith("-") for value in values):
        return " ".join(["isthmus", words, option, "--", *quoted])
    return " ".join(["isthmus", words, *quoted, option])


def commands_for_another_space(modality: str, dim: object) -> str:
    """Return the commands that make another space of vectors that come with the items.

    Parameters
    ----------
    modality : str
        What the vectors stand for.
    dim : object
        Length of a vector, or a placeholder.

    Examples
    --------
    >>> print(commands_for_another_space("text", 384))
    isthmus create --text-encoder SPEC --vectors text=384 --space NEW, then isthmus upsert FILES \
--vectors text=COLUMN --space NEW
    """
    return (
        f"isthmus create --{modality}-encoder SPEC --vectors {modality}={dim} --space NEW, then "
        f"isthmus upsert FILES --vectors {modality}=COLUMN --space NEW"
    )
