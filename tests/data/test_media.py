from __future__ import annotations

import base64
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.data.addresses import MediaLimits
from isthmus.data.media import MediaStore, from_data_uri, to_data_uri
from isthmus.errors import InvalidMedia


def test_equal_inline_bytes_are_stored_once(tmp_path):
    store = MediaStore(tmp_path / "media")
    first, second = store.put(b"picture"), store.put(b"picture")
    assert first == second
    assert store.read(first) == b"picture"
    assert len([path for path in (tmp_path / "media").rglob("*") if path.is_file()]) == 1


@pytest.mark.parametrize(
    "uri",
    [
        "data:image/png;base64,cGlj",
        "data:,pic",
        "DATA:image/png;BASE64,cGlj",
        "data:image/png;charset=utf-8;base64,c G\nl\r\n\tj\f",
        "data:image/png;base64,cGlj%0A",
        to_data_uri(b"pic"),
    ],
)
def test_data_uris_are_read(uri):
    assert from_data_uri(uri) == b"pic"


@given(st.binary(max_size=200))
def test_base64_as_any_tool_wraps_it_is_read(data):
    wrapped = base64.encodebytes(data).decode()
    assert from_data_uri("data:image/png;base64," + wrapped) == data
    assert from_data_uri("data:image/png;base64," + wrapped.replace("\n", "\r\n")) == data
    assert from_data_uri("data:image/png;base64," + wrapped.replace("=", "")) == data


@pytest.mark.parametrize(
    "uri", ["data:image/png;base64", "data:;base64,***", "data:;base64,cGljd", "data:;base64,é"]
)
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
    with pytest.raises(InvalidMedia, match="is no file but a folder"):
        store.read(str(tmp_path))


def make_pipe(path):
    os.mkfifo(path)


def make_socket(path):
    socket.socket(socket.AF_UNIX).bind(str(path))


@pytest.mark.parametrize(
    ("make", "kind"), [(make_pipe, "a pipe"), (Path.mkdir, "a folder"), (make_socket, None)]
)
def test_special_files_are_refused_at_once(make, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the path of a socket has at most 108 bytes
    make(Path("special"))
    store = MediaStore(Path("media"))
    for read in (store.read, store.digest):
        with pytest.raises(InvalidMedia, match=f"no file but {kind}" if kind else "cannot read"):
            read("special")


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_devices_are_refused(device, tmp_path):
    with pytest.raises(InvalidMedia, match=f"{device} is no file but a device"):
        MediaStore(tmp_path).read(device)


def test_a_link_to_a_device_is_refused(tmp_path):
    (tmp_path / "link.png").symlink_to("/dev/zero")
    with pytest.raises(InvalidMedia, match=r"link\.png is no file but a device"):
        MediaStore(tmp_path).digest(str(tmp_path / "link.png"))


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_a_file_that_hides_its_size_is_read_up_to_the_limit(tmp_path):
    assert Path("/proc/self/maps").stat().st_size == 0
    with pytest.raises(InvalidMedia, match="bytes, over 100"):
        MediaStore(tmp_path, MediaLimits(max_bytes=100)).read("/proc/self/maps")
