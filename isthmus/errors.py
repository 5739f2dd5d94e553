"""Every error Isthmus raises: what happened, to which item, and what to do.

Each leaf is also the built-in exception that fits it, so callers may catch either.
"""

from __future__ import annotations

from collections.abc import Sequence


class IsthmusError(Exception):
    """Base of every error raised on purpose by Isthmus."""

    def __str__(self) -> str:
        """Give the message plainly (``KeyError`` would quote it)."""
        return str(self.args[0]) if self.args else ""


class InvalidRows(IsthmusError, ValueError):
    """Rows that break the declared rules; nothing of their input was encoded or stored.

    Attributes
    ----------
    problems : tuple of (int, str)
        Row number (from 0, over the whole input) and what is wrong with it.
    source : str
        Name of the input.
    """

    def __init__(self, problems: Sequence[tuple[int, str]], source: str = "input") -> None:
        self.problems, self.source = tuple(problems), source
        shown = "; ".join(f"row {row}: {what}" for row, what in self.problems[:10])
        more = f"; and {len(self.problems) - 10} more" if len(self.problems) > 10 else ""
        super().__init__(
            f"{len(self.problems)} invalid row(s) in {source}: {shown}{more}. Nothing was added. "
            "Correct the rows, or pass skip_invalid=True (--skip-invalid) to add the others."
        )


class InvalidItems(InvalidRows):
    """Items that break the declared rules."""


class InvalidInteractions(InvalidRows):
    """Interactions that break the declared rules."""


class InvalidMapping(IsthmusError, ValueError):
    """The field mapping names a column that the input does not have, or is malformed."""


class InvalidInput(IsthmusError, ValueError):
    """An argument, a file or a query that cannot be used as given."""


class InvalidMedia(IsthmusError, ValueError):
    """A file of an item that cannot be read or decoded safely."""


class InvalidImage(InvalidMedia):
    """An image that cannot be decoded safely."""


class InvalidAudio(InvalidMedia):
    """Audio that cannot be decoded safely."""


class InvalidFilter(IsthmusError, ValueError):
    """A ``where`` predicate that the table engine refuses."""


class UnknownEncoder(IsthmusError, ValueError):
    """An encoder specification that names no encoder that can be loaded."""


class UnsupportedModality(IsthmusError, ValueError):
    """A modality that the encoder, or the space, cannot answer."""


class MissingDependency(IsthmusError, ImportError):
    """An optional package is absent; the message names the command that installs it."""


class FingerprintMismatch(IsthmusError, ValueError):
    """Vectors of two different encoder stacks would have been mixed."""


class ItemNotFound(IsthmusError, KeyError):
    """No item of the space has this id."""


class SpaceNotFound(IsthmusError, FileNotFoundError):
    """The folder is no space."""


class SpaceExists(IsthmusError, FileExistsError):
    """A space, or something else, already stands in this folder."""


class SpaceLocked(IsthmusError, TimeoutError):
    """Another process is writing to the space."""


class UnsupportedFormat(IsthmusError, ValueError):
    """The space was written in an on-disk format that this version cannot read."""


class ReleaseNotFound(IsthmusError, LookupError):
    """The space has no such release."""


class CorruptRelease(IsthmusError, OSError):
    """A file of a release is damaged or missing."""


class CorruptAlignment(IsthmusError, OSError):
    """A file of an alignment is damaged or missing."""


class ReleaseRejected(IsthmusError, RuntimeError):
    """A release was built and kept, but misses its recall target and was not made current."""


class ImpossibleTargets(IsthmusError, ValueError):
    """No index recipe meets the targets; the message names the nearest that can be had."""


class UnsupportedOperation(IsthmusError, NotImplementedError):
    """Something that the device, or the library below, cannot do; nothing else was done instead."""


def first_line(error: BaseException) -> str:
    """Give the first line of what went wrong elsewhere, to be told within a message."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
