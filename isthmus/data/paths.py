"""Paths and addresses: local, absolute, resolved once where they enter."""

from __future__ import annotations

import re
import shlex
import stat
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from isthmus.errors import InvalidInput

# Commands that copy what an address names to a folder.
COPY: Final[Mapping[str, str]] = MappingProxyType({"s3": "aws s3 cp", "gs": "gcloud storage cp"})
_SPECIAL: Final = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")  # of two letters or more; C:/ is a path


def local_path(given: str | Path, folder: Path | None = None) -> Path:
    """Return the absolute path of a file or folder on this machine.

    Parameters
    ----------
    given : str or Path
        A path, with ``~`` for the home folder, or a ``file:`` URI, whose escapes are decoded.
    folder : Path, optional
        Folder that a relative path starts from: that of the file which names it. The working
        folder by default.

    Raises
    ------
    InvalidInput
        If it is an address of another scheme, such as ``s3:``; the message names the scheme.

    Examples
    --------
    >>> print(local_path("file:///tmp/two%20words.png"), local_path("a.png", Path("/data")))
    /tmp/two words.png /data/a.png
    """
    text = str(given)
    scheme = scheme_of(text)
    if scheme == "file":
        text = _from_file_uri(text)
    elif scheme is not None:
        copy = f": {COPY[scheme]} {shlex.quote(text)} ." if scheme in COPY else ""
        raise InvalidInput(
            f"{text!r} is an address of the scheme {scheme}:, which Isthmus does not read; copy it "
            f"to a local folder first, and give its path{copy}"
        )
    if "\0" in text:
        raise InvalidInput(f"{text!r} is no path: it holds a null character")
    path = Path(text)
    if text.startswith("~"):
        try:
            path = path.expanduser()
        except RuntimeError as error:
            raise InvalidInput(f"{text!r}: there is no such home folder") from error
    return ((folder or Path()).absolute() / path).absolute()


def special_kind(mode: int) -> str | None:
    """Return what a file is by its mode, where it is no regular one; None where it is.

    Examples
    --------
    >>> special_kind(0o100644), special_kind(0o10644)
    (None, 'a pipe')
    """
    kind = stat.S_IFMT(mode)
    return None if kind == stat.S_IFREG else _SPECIAL.get(kind, "of another kind")


def require_file(path: Path) -> Path:
    """Return a path if it is a regular file, or leads to one.

    Input is read more than once, and the opening of a pipe would wait for its writer.

    Raises
    ------
    InvalidInput
        If it is a folder, a pipe, a socket or a device.
    FileNotFoundError
        If there is nothing.
    """
    special = special_kind(path.stat().st_mode)
    if special is not None:
        raise InvalidInput(
            f"{path} is no file but {special}; write what comes from it to a file first"
            if special != "a folder"
            else f"{path} is no file but a folder; give the files in it: {path / '*'}"
        )
    return path


def scheme_of(text: str) -> str | None:
    """Return the scheme of an address, in lower case; None for a path.

    Examples
    --------
    >>> scheme_of("s3://bucket/a.csv"), scheme_of("data/a.csv"), scheme_of("C:/a.csv")
    ('s3', None, None)
    """
    if text[:5].lower() == "file:":
        return "file"
    found = _SCHEME.match(text)
    return found[1].lower() if found else None


def _from_file_uri(uri: str) -> str:
    parts = urllib.parse.urlsplit(uri)
    if parts.netloc not in ("", "localhost"):
        raise InvalidInput(f"{uri!r} is a file of another machine, {parts.netloc}; mount it first")
    # What is behind ? or # belongs to the name: neither means anything for a file.
    rest = uri[5:]
    if rest.startswith("//"):
        rest = rest[2 + len(parts.netloc) :]
    return urllib.parse.unquote(rest)
