"""Media: the bytes of an image or of audio, in a file, inline, in the space or at an address."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import socket
import time
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from isthmus.digests import digest, digest_file
from isthmus.durable import make_folder, write_atomically
from isthmus.errors import InvalidMedia

STORED = "media:"  # prefix of a reference to bytes in the space's media folder
DATA_URI = "data:"
ADDRESS = ("http://", "https://")
MAX_REDIRECTS = 5


@dataclass(frozen=True)
class MediaLimits:
    """What may be read.

    Attributes
    ----------
    max_bytes : int
        Largest file, in bytes.
    http : bool
        Whether http(s) addresses may be fetched at all.
    timeout_s : float
        Longest fetch, in seconds.
    private_addresses : bool
        Whether hosts on private, loopback and link-local addresses may be contacted.
    """

    max_bytes: int = 256 * 2**20
    http: bool = False
    timeout_s: float = 10.0
    private_addresses: bool = False


def to_data_uri(data: bytes) -> str:
    """Return bytes as a data URI.

    Examples
    --------
    >>> from_data_uri(to_data_uri(b"picture"))
    b'picture'
    """
    return f"data:;base64,{base64.b64encode(data).decode()}"


def from_data_uri(uri: str) -> bytes:
    """Return the bytes of a data URI (RFC 2397).

    Raises
    ------
    InvalidMedia
        If the URI is malformed.
    """
    header, comma, payload = uri.partition(",")
    if not comma:
        raise InvalidMedia("data URI without a comma")
    if not header.endswith(";base64"):
        return urllib.parse.unquote_to_bytes(payload)
    try:
        return base64.b64decode(urllib.parse.unquote(payload), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidMedia(f"data URI with broken base64: {error}") from error


def is_reference(value: str) -> bool:
    """Return whether a text is a data URI, stored media or an address, and not a path."""
    return value.startswith((DATA_URI, STORED, *ADDRESS))


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

    def put(self, data: bytes) -> str:
        """Store bytes and return their reference; equal bytes are stored once."""
        name = digest(data).hex()
        target = self.folder / name[:2] / name
        if not target.exists():
            make_folder(target.parent)
            write_atomically(target, data)
        return STORED + name

    def read(self, reference: str) -> bytes:
        """Return the bytes of a reference: a path, stored media, or an http(s) address.

        Raises
        ------
        InvalidMedia
            If they cannot be read; the message names the cause.
        """
        if _is_address(reference):
            return _fetch(reference, self.limits)
        return self._from_file(self._path(reference), Path.read_bytes)

    def digest(self, reference: str) -> bytes:
        """Return the digest of a reference's bytes; a file is digested in blocks.

        Raises
        ------
        InvalidMedia
            If they cannot be read; the message names the cause.
        """
        if _is_address(reference):
            return digest(_fetch(reference, self.limits))
        return self._from_file(self._path(reference), digest_file)

    def put_inline(self, content: str | bytes) -> str:
        """Return a reference to a file; bytes and data URIs are stored first.

        Raises
        ------
        InvalidMedia
            If a data URI is malformed.
        """
        if isinstance(content, bytes):
            return self.put(content)
        return self.put(from_data_uri(content)) if content.startswith(DATA_URI) else content

    def _path(self, reference: str) -> Path:
        if reference.startswith(STORED):
            name = reference.removeprefix(STORED)
            return self.folder / name[:2] / name
        return Path(reference)

    def _from_file(self, path: Path, read: Callable[[Path], bytes]) -> bytes:
        try:
            size = path.stat().st_size
            if not path.is_file():
                raise InvalidMedia(f"{path} is no file")
            if size > self.limits.max_bytes:
                raise InvalidMedia(f"{path} has {size} bytes, over {self.limits.max_bytes}")
            return read(path)
        except FileNotFoundError as error:
            raise InvalidMedia(f"no file {path}") from error
        except (OSError, ValueError) as error:
            raise InvalidMedia(f"cannot read {path}: {error}") from error


def _is_address(reference: str) -> bool:
    return reference.startswith(ADDRESS)


def _fetch(url: str, limits: MediaLimits) -> bytes:
    if not limits.http:
        raise InvalidMedia("http(s) addresses are switched off; allow them with http=True (--http)")
    deadline = time.monotonic() + limits.timeout_s
    data = bytearray()
    try:
        for _ in range(MAX_REDIRECTS):
            _refuse_private_host(url, limits)
            # Proxies from the environment would hide which address answers.
            with httpx.stream("GET", url, timeout=limits.timeout_s, trust_env=False) as response:
                _refuse_private_peer(url, response.extensions, limits)
                if response.has_redirect_location:
                    url = urllib.parse.urljoin(url, response.headers["location"])
                    continue
                response.raise_for_status()
                for chunk in response.iter_bytes():
                    data += chunk
                    if len(data) > limits.max_bytes:
                        raise InvalidMedia(f"{url} sent more than {limits.max_bytes} bytes")
                    if time.monotonic() > deadline:
                        raise InvalidMedia(f"{url} took more than {limits.timeout_s:g} s")
                return bytes(data)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise InvalidMedia(f"cannot fetch {url}: {error}") from error
    raise InvalidMedia(f"{url}: too many redirects")


def _refuse_private_host(url: str, limits: MediaLimits) -> None:
    """Refuse hosts on private networks, so that a catalogue cannot reach them (SSRF)."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidMedia(f"{url} is no http(s) address")
    if limits.private_addresses:
        return
    for *_, address in socket.getaddrinfo(parts.hostname, parts.port or 80):
        _refuse_private(url, str(address[0]))


def _refuse_private_peer(url: str, extensions: Mapping[str, Any], limits: MediaLimits) -> None:
    """Check the address that answered: a name may resolve differently the second time."""
    if not limits.private_addresses:
        _refuse_private(url, str(extensions["network_stream"].get_extra_info("server_addr")[0]))


def _refuse_private(url: str, address: str) -> None:
    if not ipaddress.ip_address(address.split("%")[0]).is_global:
        raise InvalidMedia(f"{url} leads to the private address {address}")
