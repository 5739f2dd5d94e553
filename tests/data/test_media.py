from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from isthmus.data.media import MediaLimits, MediaStore, from_data_uri, to_data_uri
from isthmus.errors import InvalidMedia


def test_equal_inline_bytes_are_stored_once(tmp_path):
    store = MediaStore(tmp_path / "media")
    first, second = store.put(b"picture"), store.put(b"picture")
    assert first == second
    assert store.read(first) == b"picture"
    assert len([path for path in (tmp_path / "media").rglob("*") if path.is_file()]) == 1


@pytest.mark.parametrize("uri", ["data:image/png;base64,cGlj", "data:,pic", to_data_uri(b"pic")])
def test_data_uris_are_read(uri):
    assert from_data_uri(uri) == b"pic"


@pytest.mark.parametrize("uri", ["data:image/png;base64", "data:;base64,***"])
def test_broken_data_uris_are_refused(uri):
    with pytest.raises(InvalidMedia, match="data URI"):
        from_data_uri(uri)


def test_absent_and_large_files_are_refused(tmp_path):
    store = MediaStore(tmp_path, MediaLimits(max_bytes=3))
    (tmp_path / "large").write_bytes(b"1234")
    with pytest.raises(InvalidMedia, match="no file"):
        store.read(str(tmp_path / "absent"))
    with pytest.raises(InvalidMedia, match="has 4 bytes, over 3"):
        store.read(str(tmp_path / "large"))
    with pytest.raises(InvalidMedia, match="is no file"):
        store.read(str(tmp_path))


class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("location", "/picture")
            self.end_headers()
            return
        if self.path == "/loop":
            self.send_response(302)
            self.send_header("location", "/loop")
            self.end_headers()
            return
        self.send_response(404 if self.path == "/absent" else 200)
        self.end_headers()
        self.wfile.write(b"x" * (5000 if self.path == "/large" else 10))

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    server = HTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_addresses_are_refused_by_default(server, tmp_path):
    with pytest.raises(InvalidMedia, match="switched off; allow them with http=True"):
        MediaStore(tmp_path).read(f"{server}/picture")


def test_private_addresses_are_refused(server, tmp_path):
    with pytest.raises(InvalidMedia, match=r"leads to the private address 127\.0\.0\.1"):
        MediaStore(tmp_path, MediaLimits(http=True)).read(f"{server}/picture")


def test_a_host_that_resolves_to_a_private_address_the_second_time_is_refused(
    server, tmp_path, monkeypatch
):
    port = server.rsplit(":", 1)[1]
    answers = iter([[(0, 0, 0, "", ("93.184.216.34", 80))]])
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: next(answers, None) or real(*a, **k))
    with pytest.raises(InvalidMedia, match=r"leads to the private address 127\.0\.0\.1"):
        MediaStore(tmp_path, MediaLimits(http=True)).read(f"http://127.0.0.1:{port}/picture")


def test_addresses_are_fetched_within_limits(server, tmp_path):
    limits = MediaLimits(http=True, private_addresses=True, max_bytes=1000)
    store = MediaStore(tmp_path, limits)
    assert store.read(f"{server}/picture") == b"x" * 10
    assert store.read(f"{server}/moved") == b"x" * 10
    with pytest.raises(InvalidMedia, match="more than 1000 bytes"):
        store.read(f"{server}/large")
    with pytest.raises(InvalidMedia, match="404"):
        store.read(f"{server}/absent")
    with pytest.raises(InvalidMedia, match="too many redirects"):
        store.read(f"{server}/loop")
