"""Media: the bytes of an image or of audio, in a file, inline, in the space or at an address."""

from __future__ import annotations

import base64
import binascii
import os
import re
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from isthmus.data.addresses import MediaLimits, is_address
from isthmus.data.downloads import Downloads
from isthmus.data.paths import scheme_of, special_kind
from isthmus.digests import digest, digest_stream
from isthmus.durable import make_folder, partial_name, put_file
from isthmus.errors import InvalidMedia

STORED = "media:"  # prefix of a reference to bytes in the space's media folder
DATA_URI = "data:"
DOWNLOADS: Final = ".downloads"  # folder in the media folder
BLOCK = 2**20
_WHITE_SPACE = re.compile(r"[\t\n\f\r ]+")

Result = TypeVar("Result")


def to_data_uri(data: bytes) -> str:
    """Return bytes as a data URI.

    Examples
    --------
    >>> from_data_uri(to_data_uri(b"picture"))
    b'picture'
    """
    return f"data:;base64,{base64.b64encode(data).decode()}"


def from_data_uri(uri: str) -> bytes:
    r"""Return the bytes of a data URI (RFC 2397), read as a browser reads it.

    White space in base64, such as line breaks, does not count, and the padding may be missing
    (the forgiving base64 of the WHATWG).

    Raises
    ------
    InvalidMedia
        If the URI is malformed.

    Examples
    --------
    >>> from_data_uri("data:image/png;base64,cGlj\ndHVy\nZQ")
    b'picture'
    """
    header, comma, payload = uri.partition(",")
    if not comma:
        raise InvalidMedia("data URI without a comma")
    if not re.search(r";\s*base64\s*$", header, re.IGNORECASE):
        return urllib.parse.unquote_to_bytes(payload)
    try:
        text = _WHITE_SPACE.sub("", urllib.parse.unquote(payload)).rstrip("=")
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidMedia(f"data URI with broken base64: {error}") from error


def is_data_uri(value: str) -> bool:
    """Return whether a text is a data URI."""
    return value[: len(DATA_URI)].lower() == DATA_URI


def is_reference(value: str) -> bool:
    """Return whether a text is a data URI, stored media or an address, and not a path."""
    return is_data_uri(value) or value.startswith(STORED) or is_address(value)


class MediaStore:
    """Reads media by reference, and stores media that came as bytes.

    Parameters
    ----------
    folder : Path
        Folder for inline bytes, named by their digest: ``ab/abcdef…``.
    limits : MediaLimits
        What may be read.
    """

    def __init__(self, folder: Path, limits: MediaLimits | None = None) -> None:
        self.folder = folder
        self.limits = limits or MediaLimits()
        self._downloads: Downloads | None = None

    @contextmanager
    def downloading(self, references: Iterable[str]) -> Iterator[None]:
        """Fetch the addresses among references, many at a time, for what is read within.

        Without it each address is fetched when it is read. Failures wait, too, for the reader.
        """
        if not self.limits.http:
            yield
            return
        with Downloads(self.folder / DOWNLOADS, self.limits) as downloads:
            downloads.fetch(filter(is_address, references))
            self._downloads = downloads
            try:
                yield
            finally:
                self._downloads = None

    def put(self, data: bytes) -> str:
        """Store bytes and return their reference; equal bytes are stored once.

        A stored file that is damaged is replaced.
        """
        name = digest(data).hex()
        target = self.folder / name[:2] / name
        if not _holds(target, data):
            make_folder(target.parent)
            partial = partial_name(self.folder / name)  # all in one folder: found when left over
            partial.write_bytes(data)
            put_file(partial, target)
        return STORED + name

    def read(self, reference: str) -> bytes:
        """Return the bytes of a reference: a path, stored media, or an http(s) address.

        Raises
        ------
        InvalidMedia
            If they cannot be read; the message names the cause.
        """
        path = self._path(reference)
        return self._fetched(reference) if path is None else self._from_file(path, _all_of)

    def digest(self, reference: str) -> bytes:
        """Return the digest of a reference's bytes; a file is digested in blocks.

        Raises
        ------
        InvalidMedia
            If they cannot be read; the message names the cause.
        """
        path = self._path(reference)
        if path is None:
            return digest(self._fetched(reference))
        return self._from_file(path, digest_stream)

    def _fetched(self, reference: str) -> bytes:
        from isthmus.data.fetch import fetch

        return fetch(reference, self.limits)

    def put_inline(self, content: str | bytes) -> str:
        """Return a reference to a file; bytes and data URIs are stored first.

        Raises
        ------
        InvalidMedia
            If a data URI is malformed.
        """
        if isinstance(content, bytes):
            return self.put(content)
        return self.put(from_data_uri(content)) if is_data_uri(content) else content

    def _path(self, reference: str) -> Path | None:
        """Return the file of a reference; None for an address that must be fetched."""
        if is_address(reference):
            return self._downloads.path(reference) if self._downloads else None
        if reference.startswith(STORED):
            name = reference.removeprefix(STORED)
            return self.folder / name[:2] / name
        scheme = scheme_of(reference)
        if scheme is not None:
            raise InvalidMedia(
                f"{reference} is an address of the scheme {scheme}:, which Isthmus does not read; "
                "copy the file to a local folder first"
            )
        return Path(reference)

    def _from_file(self, path: Path, read: Callable[[Iterator[bytes]], Result]) -> Result:
        try:
            # Without O_NONBLOCK, the opening of a pipe waits for its writer.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            try:
                _refuse_special_file(path, descriptor)
                with os.fdopen(descriptor, "rb", closefd=False) as file:
                    return read(self._blocks(path, file))
            finally:
                os.close(descriptor)
        except FileNotFoundError as error:
            raise InvalidMedia(f"no file {path}") from error
        except (OSError, ValueError) as error:
            raise InvalidMedia(f"cannot read {path}: {error}") from error

    def _blocks(self, path: Path, file: BinaryIO) -> Iterator[bytes]:
        """Yield a file in blocks; its stated size may be wrong, as in ``/proc``."""
        size = os.fstat(file.fileno()).st_size
        while size <= self.limits.max_bytes and (block := file.read(BLOCK)):
            yield block
            size = max(size, file.tell())
        if size > self.limits.max_bytes:
            raise InvalidMedia(f"{path} has {size} bytes, over {self.limits.max_bytes}")


def _holds(path: Path, data: bytes) -> bool:
    """Return whether there is a file with this content."""
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except FileNotFoundError:
        return False


def _refuse_special_file(path: Path, descriptor: int) -> None:
    special = special_kind(os.fstat(descriptor).st_mode)
    if special is not None:
        raise InvalidMedia(f"{path} is no file but {special}")


def _all_of(blocks: Iterator[bytes]) -> bytes:
    return b"".join(blocks)
