"""A lost or damaged release is reported, with a remedy that works."""

from __future__ import annotations

import re
import shutil
import threading

import pytest

from isthmus import Space
from isthmus.errors import CorruptRelease
from tests.toy import item, two_encoders


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A space with three releases, of which the second is current."""
    space = Space.create(tmp_path_factory.mktemp("releases") / "s", two_encoders())
    for n in range(3):
        space.upsert([item(f"f{n}", f"word{n}")])
        space.publish()
    space.rollback(2)
    return space.path


@pytest.fixture
def folder(published, tmp_path):
    return shutil.copytree(published, tmp_path / "s")


def opened(folder):
    return Space.open(folder, encoder=two_encoders())


DAMAGES = {
    "removed": lambda current: current.unlink(),
    "cut off": lambda current: current.write_bytes(current.read_bytes()[:5]),
    "empty": lambda current: current.write_bytes(b""),
    "of another release": lambda current: current.write_bytes(
        current.read_bytes().replace(b"2", b"3", 1)
    ),
    "of a release that is not there": lambda current: current.write_text("000009\n"),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_current_is_reported_and_rollback_mends_it(folder, how):
    reader = opened(folder)
    assert reader.current_release == 2
    DAMAGES[how](folder / "CURRENT")
    for space in (reader, opened(folder)):
        with pytest.raises(CorruptRelease, match="CURRENT") as raised:
            space.search("word0")
        assert re.findall("isthmus [^,]*", str(raised.value)) == [
            f"isthmus rollback 2 --space {folder}",
            f"isthmus publish --space {folder}",
        ]
    assert opened(folder).rollback() == 2
    assert opened(folder).current_release == 2
    assert {hit.item_id for hit in opened(folder).search("word0")} == {"f0", "f1", "f2"}


@pytest.mark.parametrize("how", DAMAGES)
def test_publishing_mends_a_damaged_current(folder, how):
    DAMAGES[how](folder / "CURRENT")
    assert opened(folder).publish().number == 4
    assert opened(folder).current_release == 4


def test_a_space_whose_releases_were_all_rejected_has_lost_nothing(tmp_path):
    space = Space.create(tmp_path / "s", two_encoders())
    (tmp_path / "s" / "releases" / "000001").mkdir(parents=True)
    assert space.search("word") == []


def test_every_changed_value_of_a_manifest_is_noticed(folder):
    manifest = folder / "releases" / "000002" / "manifest.json"
    content = manifest.read_bytes()
    for at in range(0, len(content), 7):
        flipped = bytearray(content)
        flipped[at] ^= 1
        manifest.write_bytes(flipped)
        if bytes([flipped[at]]).isspace() or content[at : at + 1].isspace():
            continue  # between the values, where it may be harmless
        with pytest.raises(CorruptRelease, match=r"manifest\.json"):
            opened(folder).search("word0")
    manifest.write_bytes(content)


def test_releases_can_be_listed_and_read_while_another_process_removes_some(folder):
    toml = folder / "space.toml"
    toml.write_text(toml.read_text().replace("keep_releases = 5", "keep_releases = 1"))
    problems, stop = [], threading.Event()

    def read():
        space = opened(folder)
        while not stop.is_set():
            try:
                assert len(space.releases()) >= 1
                assert len(opened(folder).search("word0")) == 3
            except Exception as error:
                problems.append(error)
                return

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(8):
        opened(folder).publish()
    stop.set()
    reader.join()
    assert problems == []
