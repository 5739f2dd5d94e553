"""Fetching: from public addresses only, within limits of time and size, outside any lock."""

from __future__ import annotations

import errno
import functools
import io
import ipaddress
import socket
import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.data.addresses import MediaLimits, is_public
from isthmus.data.fetch import PART_BYTES, fetch, fetch_into
from isthmus.data.media import MediaStore
from isthmus.digests import digest
from isthmus.errors import InvalidMedia
from tests.data.servers import answering, dripping, listening
from tests.toy import item

OPEN = MediaLimits(http=True, private_addresses=True, max_bytes=1000)


@pytest.fixture(scope="module")
def server():
    with answering() as (address, _):
        yield address


# Which addresses

PUBLIC = ["93.184.216.34", "8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "2a00:1450:4001::200e"]
_REFUSED = """
    0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.255
    169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.8 192.0.0.9 192.0.0.170
    192.0.2.1 192.88.99.1 192.168.0.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1
    224.0.0.1 232.1.2.3 233.252.0.1 239.255.255.255 240.0.0.1 255.255.255.255 :: ::1 ::8.8.8.8
    ::ffff:8.8.8.8 ::ffff:127.0.0.1 ::ffff:0:8.8.8.8 64:ff9b::8.8.8.8 64:ff9b::7f00:1
    64:ff9b:1::8.8.8.8 100::1 100:0:0:1::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2
    2001:2::1 2001:3::1 2001:10::1 2001:20::1 2001:db8::1 2002:7f00:1:: 2002:808:808::1 3fff::1
    3fff:fff::1 4000::1 5f00::1 fc00::1 fd12:3456::1 fe80::1 fe80::1%eth0 fec0::1 ff00::1
    ff02::1 ff0e::1 8000::1 no-address 1.2.3 1.2.3.4.5 [::1] 1.2.3.4/32
"""
REFUSED = _REFUSED.split()


@pytest.mark.parametrize("address", PUBLIC)
def test_a_host_of_the_public_internet_is_contacted(address):
    assert is_public(address)


@pytest.mark.parametrize("address", REFUSED)
def test_every_other_address_is_refused(address):
    assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_no_form_that_wraps_an_ipv4_address_is_public(wrapped):
    number = int(wrapped)
    for prefix, shift in (("::", 0), ("::ffff:0:0", 0), ("64:ff9b::", 0), ("2002::", 80)):
        address = ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) | number << shift)
        assert not is_public(str(address))


@given(st.ip_addresses())
def test_what_python_calls_special_is_never_public(ip):
    special = ip.is_private or ip.is_loopback or ip.is_link_local or ip.is_multicast
    assert not (is_public(str(ip)) and (special or ip.is_reserved or ip.is_unspecified))


# Where the connection goes


def test_addresses_are_refused_by_default(server, tmp_path):
    with pytest.raises(InvalidMedia, match="switched off; allow them with http=True"):
        MediaStore(tmp_path).read(f"{server}/picture")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "0"])
def test_this_machine_is_not_contacted_by_any_name(host):
    with answering() as (address, seen):
        port = address.rpartition(":")[2]
        with pytest.raises(InvalidMedia, match=r"leads to the private address|cannot fetch"):
            fetch(f"http://{host}:{port}/picture", MediaLimits(http=True))
        assert seen == []


def test_a_redirect_is_checked_as_the_first_address_is(monkeypatch):
    with answering() as (address, seen):
        monkeypatch.setattr("isthmus.data.fetch.is_public", lambda ip: ip == "127.0.0.1")
        with pytest.raises(InvalidMedia, match=r"private address 169\.254\.169\.254"):
            fetch(f"{address}/inside", MediaLimits(http=True))
        with pytest.raises(InvalidMedia, match="file:///x is no http"):
            fetch(f"{address}/file", MediaLimits(http=True))
        assert seen == ["/inside", "/file"]


def test_the_address_that_is_checked_is_the_one_connected_to(monkeypatch):
    """A name that resolves to another address the second time is resolved once."""
    with answering() as (address, seen):
        port = int(address.rpartition(":")[2])
        answers = iter(["93.184.216.34", "127.0.0.1"])
        connected = []

        def resolve(host, port, *_, **__):
            assert host == "rebind.test"
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

        def connect(to, *_, **__):
            connected.append(to)
            raise ConnectionRefusedError

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        monkeypatch.setattr(socket, "create_connection", connect)
        with pytest.raises(InvalidMedia, match=r"cannot fetch http://rebind\.test"):
            fetch(f"http://rebind.test:{port}/picture", MediaLimits(http=True))
        assert connected == [("93.184.216.34", port)]
        assert seen == []


def test_a_host_with_one_private_address_among_public_ones_is_refused(monkeypatch):
    entries = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 80)) for ip in ("8.8.8.8", "10.0.0.1")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: entries)
    with pytest.raises(InvalidMedia, match=r"leads to the private address 10\.0\.0\.1"):
        fetch("http://two.test/x", MediaLimits(http=True))


def test_the_host_is_named_to_the_server_that_was_connected_to_by_its_address(monkeypatch):
    heard = []

    def talk(connection):
        heard.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        connection.close()

    with listening(talk) as address:
        port = int(address.rpartition(":")[2])
        entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [entry])
        assert fetch(f"http://Bücher.test:{port}/a b?q=ü", OPEN) == b"ok"
    assert heard[0].startswith(b"GET /a%20b?q=%C3%BC HTTP/1.1\r\n")
    assert b"Host: xn--bcher-kva.test:%d\r\n" % port in heard[0]


# What may come


def test_a_file_is_fetched_within_the_limits(server):
    assert fetch(f"{server}/picture", OPEN) == b"x" * 10
    assert fetch(f"{server}/moved", OPEN) == b"x" * 10
    assert fetch(f"{server.replace('http', 'HTTP')}/gzip", OPEN) == b"y" * 10


@pytest.mark.parametrize(
    ("path", "cause"),
    [
        ("/large", "more than 1000 bytes"),
        ("/bomb", "more than 1000 bytes"),
        ("/cut", "is cut off"),
        ("/br", "the server sends br, though only gzip"),
        ("/absent", "the server says 404"),
        ("/loop", "too many redirects"),
    ],
)
def test_what_exceeds_the_limits_is_refused(server, path, cause):
    with pytest.raises(InvalidMedia, match=cause):
        fetch(server + path, OPEN)


class Written(io.RawIOBase):
    """Counts what is written; has room for some bytes."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.parts: list[int] = []

    def write(self, data) -> int:
        if sum(self.parts) + len(data) > self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.parts.append(len(data))
        return len(data)


def test_of_an_answer_that_is_compressed_well_little_is_in_memory(server):
    file, limits = Written(10**8), replace(OPEN, max_bytes=10**7)
    with pytest.raises(InvalidMedia, match="more than 10000000 bytes"):
        fetch_into(file, f"{server}/bomb", limits)
    assert max(file.parts) <= PART_BYTES
    assert sum(file.parts) > 9 * 10**6


def test_a_full_disk_is_no_fault_of_the_address(server):
    with pytest.raises(OSError, match="No space left on device") as raised:
        fetch_into(Written(5), f"{server}/picture", OPEN)
    assert not isinstance(raised.value, InvalidMedia)


MALFORMED = [
    "http://[",
    "http://[::1",
    "http://a:99999/x.png",
    "http://a:b/x.png",
    "http://" + "a" * 70 + "/x.png",
    "http://a..b/x.png",
    "http:///x.png",
    "http://",
    "http://\ud800/x",
    "http://a\x00b/x",
    "http://user:secret@example.com/x",
    "http://example.com/" + "x" * 10_000,
]


@pytest.mark.parametrize("url", MALFORMED)
def test_a_malformed_address_is_an_invalid_medium(url):
    with pytest.raises(InvalidMedia, match="http"):
        fetch(url, MediaLimits(http=True, timeout_s=1))


@given(st.text(max_size=30))
def test_any_text_behind_the_scheme_is_fetched_or_an_invalid_medium(text):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", refuse)
        with pytest.raises(InvalidMedia):
            fetch("http://" + text, MediaLimits(http=True, timeout_s=5))


def refuse(*_, **__):
    raise socket.gaierror("no such host")


@pytest.mark.parametrize(
    ("first", "drop"),
    {
        "nothing": (b"", b""),
        "headers": (b"HTTP/1.1 200 OK\r\nX: ", b"a"),
        "more headers": (b"HTTP/1.1 200 OK\r\n", b"X: a\r\n"),
        "hundreds": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        "a body": (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"a"),
        "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
        "a compressed name": (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x08\0\0\0\0\0\x03",
            b"n",
        ),
    }.values(),
)
def test_a_fetch_ends_whatever_the_server_drips(first, drop):
    with dripping(first, drop) as address, pytest.raises(InvalidMedia, match=r"more than 0\.3 s"):
        fetch(f"{address}/x.png", replace(OPEN, timeout_s=0.3))


def test_a_resolver_that_hangs_ends_with_the_fetch(monkeypatch):
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(30))
    with pytest.raises(InvalidMedia, match=r"took more than 0\.2 s"):
        fetch("http://slow.test/x", MediaLimits(http=True, timeout_s=0.2))
    answered.set()


def test_a_handshake_that_never_ends_ends_with_the_fetch():
    with dripping(b"", b"") as address, pytest.raises(InvalidMedia, match=r"more than 0\.3 s"):
        fetch(f"{address.replace('http', 'https')}/x.png", replace(OPEN, timeout_s=0.3))


# In a space


@pytest.fixture
def open_network(monkeypatch):
    limits = functools.partial(MediaLimits, private_addresses=True)
    monkeypatch.setattr("isthmus.index.open_space.MediaLimits", limits)


def test_bad_addresses_go_to_quarantine_and_the_batch_goes_on(space):
    rows = [
        item(f"bad{n}", "a", image=url) for n, url in enumerate(MALFORMED) if "\ud800" not in url
    ]
    report = space.upsert([*rows, item("good", "b")], http=True)
    assert (report.added, report.quarantined) == (len(rows) + 1, len(rows))
    assert {row["item_id"] for row in space.quarantine()} == {row["item_id"] for row in rows}
    assert space.count() == len(rows) + 1


def test_an_address_is_fetched_once_and_nothing_is_left(space, open_network):
    with answering() as (address, seen):
        rows = [item(f"i{n}", "a", image=f"{address}/picture") for n in range(3)]
        report = space.upsert(rows, http=True)
    assert seen == ["/picture"]
    assert report.quarantined == 3  # what came is no picture
    assert not list((space.path / "media").glob("**/.downloads*"))


def test_what_is_fetched_is_not_fetched_under_the_lock(space, open_network):
    """While a server lets an add wait, another add goes through."""
    requested, go_on = threading.Event(), threading.Event()

    def talk(connection):
        connection.recv(65536)
        requested.set()
        go_on.wait(20)
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        connection.close()

    with listening(talk) as address:
        slow = threading.Thread(
            target=space.upsert,
            args=([item("slow", "a", image=f"{address}/x")],),
            kwargs={"http": True},
        )
        slow.start()
        assert requested.wait(20)
        assert space.upsert([item("quick", "b")]).added == 1
        go_on.set()
        slow.join()
    assert space.count() == 2
    assert [row["item_id"] for row in space.quarantine()] == ["slow"]


def test_an_input_with_invalid_rows_is_refused_before_anything_is_fetched(space, open_network):
    with answering() as (address, seen):
        rows = [item("a", "a", image=f"{address}/picture"), {"item_id": None, "domain": "d"}]
        with pytest.raises(ValueError, match="row 1"):
            space.upsert(rows, http=True)
        assert seen == []


def test_many_addresses_are_fetched_side_by_side(tmp_path):
    """A server that answers only when it has eight requests answers all of them."""
    eight = threading.Barrier(8)

    def talk(connection):
        connection.recv(65536)
        eight.wait(20)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        connection.close()

    with listening(talk) as address:
        store = MediaStore(tmp_path, replace(OPEN, timeout_s=20))
        urls = [f"{address}/{n}" for n in range(16)]
        with store.downloading([*urls, "/no/address", *urls]):
            assert {store.read(url) for url in urls} == {b"ok"}
            assert {store.digest(url) for url in urls} == {digest("ok")}
