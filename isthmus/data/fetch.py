"""Fetching a file from an http(s) address, with one limit for all the time that it takes.

The host is resolved once; the address that is checked is the one that is connected to, and every
redirect is checked in the same way. All waiting - for the resolver, the connection, TLS, the
headers, the body - counts against one deadline, so that a server which sends a byte now and then
gains nothing by it.
"""

from __future__ import annotations

import errno
import io
import socket
import ssl
import threading
import time
import urllib.parse
import zlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, BinaryIO

import httpcore

from isthmus.data.addresses import MediaLimits, is_public
from isthmus.errors import InvalidMedia

MAX_REDIRECTS = 5
MAX_ADDRESSES = 4  # of one host, that are tried one after another
MAX_URL = 8_192  # characters
PART_BYTES = 2**20  # of an answer that are in memory
_PORTS = {"http": 80, "https": 443}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = ((b"User-Agent", b"isthmus"), (b"Accept", b"*/*"), (b"Accept-Encoding", b"gzip"))
_GZIP_OR_ZLIB = 47  # zlib's window bits: 15, plus 32 to detect the header


def fetch(url: str, limits: MediaLimits) -> bytes:
    """Return the bytes at an http(s) address; see `fetch_into`."""
    file = io.BytesIO()
    fetch_into(file, url, limits)
    return file.getvalue()


def fetch_into(file: BinaryIO, url: str, limits: MediaLimits) -> None:
    """Write the bytes at an http(s) address into a file, as they come.

    So many fetches at a time take little memory, however well their answers are compressed.

    Raises
    ------
    InvalidMedia
        If they cannot be had within the limits; the message names address and cause.
    """
    if not limits.http:
        raise InvalidMedia("http(s) addresses are switched off; allow them with http=True (--http)")
    network = _CheckedNetwork(limits, time.monotonic() + limits.timeout_s)
    try:
        for _ in range(MAX_REDIRECTS):
            leads_to = _request(url, network, limits, file)
            if leads_to is None:
                return
            url = leads_to
    except (TimeoutError, httpcore.TimeoutException) as error:
        raise InvalidMedia(f"{_shown(url)} took more than {limits.timeout_s:g} s") from error
    except (*_FAILURES, zlib.error) as error:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise  # the disk is full, and the address is none the worse
        raise InvalidMedia(f"cannot fetch {_shown(url)}: {_cause(error)}") from error
    raise InvalidMedia(f"{_shown(url)}: too many redirects, more than {MAX_REDIRECTS}")


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_FAILURES = (
    *(httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol),
    *(OSError, ValueError),
)


def _request(url: str, network: _CheckedNetwork, limits: MediaLimits, file: BinaryIO) -> str | None:
    """Write the body into a file, or return the address that the answer leads to."""
    target = _parse(url)
    with (
        httpcore.ConnectionPool(ssl_context=_tls(), network_backend=network) as pool,
        pool.stream("GET", target, headers=[(b"Host", _host(target)), *_HEADERS]) as response,
    ):
        if response.status in _REDIRECTS:
            location = _header(response, b"location")
            if not location:
                raise InvalidMedia(f"{_shown(url)} leads on without saying where to")
            return urllib.parse.urljoin(url, location)
        if response.status != 200:
            raise InvalidMedia(f"cannot fetch {_shown(url)}: the server says {response.status}")
        n_bytes = 0
        for part in _decompressed(response, limits.max_bytes):
            n_bytes += len(part)
            if n_bytes > limits.max_bytes:
                raise InvalidMedia(f"{_shown(url)} sent more than {limits.max_bytes} bytes")
            file.write(part)
        return None


def _parse(url: str) -> httpcore.URL:
    """Return the parts of an address; its host in the ASCII form."""
    if len(url) > MAX_URL:
        raise InvalidMedia(f"{_shown(url)} has {len(url):,} characters, over {MAX_URL:,}")
    try:
        parts = urllib.parse.urlsplit(url.strip())
        port = parts.port
        host = parts.hostname or ""
        if ":" not in host:  # not an IPv6 address
            host = host.encode("idna").decode("ascii")
    except (ValueError, UnicodeError) as error:
        raise InvalidMedia(f"{_shown(url)} is no http(s) address: {_cause(error)}") from error
    if parts.scheme not in _PORTS or not host:
        raise InvalidMedia(f"{_shown(url)} is no http(s) address")
    if parts.username is not None or parts.password is not None:
        raise InvalidMedia(f"{_shown(url)} holds a user name, which is never sent")
    path = urllib.parse.quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = urllib.parse.quote(parts.query, safe="/?%:@!$&'()*+,;=~-._[]")
    return httpcore.URL(
        scheme=parts.scheme.encode(),
        host=host.encode(),
        port=port,
        target=(f"{path}?{query}" if query else path).encode(),
    )


def _host(target: httpcore.URL) -> bytes:
    host = b"[%s]" % target.host if b":" in target.host else target.host
    return host if target.port is None else b"%s:%d" % (host, target.port)


def _header(response: Any, name: bytes) -> str:
    found = [value for key, value in response.headers if key.lower() == name]
    return found[0].decode("latin-1").strip() if found else ""


def _decompressed(response: Any, max_bytes: int) -> Iterator[bytes]:
    """Yield the body in parts of bounded size, all together at most a byte over the limit."""
    encoding = _header(response, b"content-encoding").lower()
    if encoding in ("", "identity"):
        yield from response.iter_stream()
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise InvalidMedia(f"the server sends {encoding}, though only gzip was asked for")
    inflate, left = zlib.decompressobj(_GZIP_OR_ZLIB), max_bytes + 1
    for chunk in response.iter_stream():
        while chunk and not inflate.eof:
            part = inflate.decompress(chunk, min(left, PART_BYTES))
            chunk, left = inflate.unconsumed_tail, left - len(part)
            yield part
            if not left:
                return
    if not inflate.eof:
        raise InvalidMedia("the compressed answer of the server is cut off")


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return httpcore.default_ssl_context()


def _cause(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _shown(url: str) -> str:
    return url if len(url) <= 200 else url[:200] + "…"


class _CheckedNetwork(httpcore.NetworkBackend):
    """Connects to the addresses that it has checked, until a deadline."""

    def __init__(self, limits: MediaLimits, deadline: float) -> None:
        self._limits = limits
        self._deadline = deadline
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of a host that answers."""
        addresses = _resolve(host, port, _left(self._deadline, timeout))
        if not self._limits.private_addresses:
            for address in addresses:
                if not is_public(address):
                    raise InvalidMedia(f"{host} leads to the private address {address}")
        failure: httpcore.NetworkError | None = None
        for address in addresses[:MAX_ADDRESSES]:
            try:
                stream = self._sockets.connect_tcp(
                    address, port, _left(self._deadline, timeout), local_address, socket_options
                )
            except httpcore.ConnectError as error:
                failure = error
            else:
                return _TimedStream(stream, self._deadline)
        raise failure or httpcore.ConnectError(f"{host} has no address")


class _TimedStream(httpcore.NetworkStream):
    """A connection whose reads and writes end at a deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._deadline, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._deadline, timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        tls = self._stream.start_tls(ssl_context, server_hostname, _left(self._deadline, timeout))
        return _TimedStream(tls, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(deadline: float, timeout: float | None) -> float:
    """Return the seconds that are left of both limits, or raise `TimeoutError`."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left if timeout is None else min(left, timeout)


def _resolve(host: str, port: int, timeout: float) -> list[str]:
    """Return the IP addresses of a host.

    The resolver of the operating system has no time limit: it is left to a thread, which nothing
    waits for when the time is over.
    """
    found: list[Any] = []

    def ask() -> None:
        try:
            found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.append(error)

    thread = threading.Thread(target=ask, name="isthmus-resolver", daemon=True)
    thread.start()
    thread.join(timeout)
    if not found:
        raise TimeoutError
    if isinstance(found[0], Exception):
        raise found[0]
    return list(dict.fromkeys(str(entry[4][0]) for entry in found[0]))
