"""Media: the bytes behind a reference to a picture or to audio, wherever they lie."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
import socket
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isthmus.digests import digest, digest_file
from isthmus.errors import InvalidMedia

STORED = "media:"
DATA_URI = "data:"


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
        Whether hosts on private, loopback and link-local addresses may be asked.
    """

    max_bytes: int = 256 * 2**20
    http: bool = False
    timeout_s: float = 10.0
    private_addresses: bool = False


def to_data_uri(data: bytes) -> str:
    """Write bytes as a data URI.

    Examples
    --------
    >>> from_data_uri(to_data_uri(b"picture"))
    b'picture'
    """
    return f"data:;base64,{base64.b64encode(data).decode()}"


def from_data_uri(uri: str) -> bytes:
    """Read the bytes of a data URI (RFC 2397).

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


class MediaStore:
    """Reads references, and keeps bytes that came without a file.

    Parameters
    ----------
    folder : Path
        Where inline bytes are kept, by content: ``ab/abcdef…``.
    limits : MediaLimits
        What may be read.
    """

    def __init__(self, folder: Path, limits: MediaLimits | None = None) -> None:
        self.folder = folder
        self.limits = limits or MediaLimits()

    def put(self, data: bytes) -> str:
        """Keep bytes and give their reference; the same bytes are kept once."""
        name = digest(data).hex()
        target = self.folder / name[:2] / name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_suffix(f".{os.getpid()}.part")
            partial.write_bytes(data)
            partial.replace(target)
        return STORED + name

    def read(self, reference: str) -> bytes:
        """Read the bytes behind a reference: a path, a kept one, or an http(s) address.

        Raises
        ------
        InvalidMedia
            If they cannot be had; the message says why.
        """
        if _is_address(reference):
            return _fetch(reference, self.limits)
        return self._from_file(self._path(reference), Path.read_bytes)

    def digest(self, reference: str) -> bytes:
        """Digest the bytes behind a reference, without holding a whole file in memory.

        Raises
        ------
        InvalidMedia
            If they cannot be had; the message says why.
        """
        if _is_address(reference):
            return digest(_fetch(reference, self.limits))
        return self._from_file(self._path(reference), digest_file)

    def _path(self, reference: str) -> Path:
        if reference.startswith(STORED):
            name = reference.removeprefix(STORED)
            return self.folder / name[:2] / name
        return Path(reference)

    def _from_file(self, path: Path, take: Callable[[Path], bytes]) -> bytes:
        try:
            size = path.stat().st_size
            if not path.is_file():
                raise InvalidMedia(f"{path} is no file")
            if size > self.limits.max_bytes:
                raise InvalidMedia(f"{path} has {size} bytes, over {self.limits.max_bytes}")
            return take(path)
        except FileNotFoundError as error:
            raise InvalidMedia(f"no file {path}") from error
        except (OSError, ValueError) as error:
            raise InvalidMedia(f"cannot read {path}: {error}") from error


def _is_address(reference: str) -> bool:
    return reference.startswith(("http://", "https://"))


def _fetch(url: str, limits: MediaLimits) -> bytes:
    if not limits.http:
        raise InvalidMedia("http(s) addresses are switched off; allow them with http=True (--http)")
    import time

    import httpx

    deadline = time.monotonic() + limits.timeout_s
    data = bytearray()
    try:
        for _ in range(5):
            _refuse_private_host(url, limits)
            # Proxies from the environment would hide which address answers.
            with httpx.stream("GET", url, timeout=limits.timeout_s, trust_env=False) as response:
                _refuse_private_peer(url, response.extensions, limits)
                if response.has_redirect_location:
                    url = urllib.parse.urljoin(url, response.headers["location"])
                    continue
                response.raise_for_status()
                for piece in response.iter_bytes():
                    data += piece
                    if len(data) > limits.max_bytes:
                        raise InvalidMedia(f"{url} sent more than {limits.max_bytes} bytes")
                    if time.monotonic() > deadline:
                        raise InvalidMedia(f"{url} took more than {limits.timeout_s:g} s")
                return bytes(data)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise InvalidMedia(f"cannot fetch {url}: {error}") from error
    raise InvalidMedia(f"{url}: too many redirects")


def _refuse_private_host(url: str, limits: MediaLimits) -> None:
    """Keep a catalogue from making this machine ask its own network (SSRF)."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidMedia(f"{url} is no http(s) address")
    if limits.private_addresses:
        return
    for *_, address in socket.getaddrinfo(parts.hostname, parts.port or 80):
        _refuse_private(url, str(address[0]))


def _refuse_private_peer(url: str, extensions: Mapping[str, Any], limits: MediaLimits) -> None:
    """Look at the address that answered: a name may lead elsewhere when asked again."""
    if not limits.private_addresses:
        _refuse_private(url, str(extensions["network_stream"].get_extra_info("server_addr")[0]))


def _refuse_private(url: str, address: str) -> None:
    if not ipaddress.ip_address(address.split("%")[0]).is_global:
        raise InvalidMedia(f"{url} leads to the private address {address}")
