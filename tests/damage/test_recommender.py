"""A damaged recommender is never published, and never served."""

from __future__ import annotations

import shutil

import pytest

from isthmus import Space, User
from isthmus.errors import CorruptRelease
from tests.toy import text_encoder


@pytest.fixture
def folder(board, tmp_path):
    return shutil.copytree(board.path, tmp_path / "s")


def opened(folder):
    return Space.open(folder, encoder={"text": text_encoder()})


def damage(path):
    content = bytearray(path.read_bytes())
    content[int(len(content) * 0.8)] ^= 0x55
    path.write_bytes(content)


PARTS = ["ranker-0.safetensors", "generators.safetensors", "recommender.json", "items.arrow"]


def lists(space):
    return [(hit.item_id, hit.score) for hit in space.recommend(User(id="u1"), k=5)]


@pytest.mark.parametrize("name", PARTS)
def test_publishing_takes_a_damaged_recommender_from_where_it_was_trained_or_refuses(folder, name):
    before = lists(opened(folder))
    file = folder / "releases" / "000001" / "recommender" / name
    damage(file)
    with pytest.raises(CorruptRelease, match=name):
        lists(opened(folder))
    trained = folder / "training"
    if name == "recommender.json":  # then it is unknown which recommender it was
        shutil.rmtree(trained)
    else:
        assert opened(shutil.copytree(folder, folder.parent / "copy")).publish().number == 2
        assert lists(opened(folder.parent / "copy")) == before
        shutil.rmtree(trained)
    for rebuild in (False, True):
        with pytest.raises(CorruptRelease, match=r"isthmus train"):
            opened(folder).publish(rebuild=rebuild)
    assert opened(folder).current_release == 1


def test_a_damaged_trained_recommender_is_not_published(folder):
    for release in (folder / "releases").glob("0*"):
        shutil.rmtree(release)
    (folder / "CURRENT").unlink()
    (folder / "releases" / ".current").unlink()
    (file,) = (folder / "training" / "recommender").glob("*/ranker-0.safetensors")
    damage(file)
    with pytest.raises(CorruptRelease, match="ranker-0"):
        opened(folder).publish()
    (found,) = opened(folder).verify().damages
    assert found.remedy == f"isthmus train --space {folder}"


@pytest.mark.parametrize("name", ["recommender.json", "items.arrow"])
def test_the_status_says_what_is_damaged_beside_the_rest(folder, name):
    sound = opened(folder).status()
    assert sound["damage"] == []
    damage(folder / "releases" / "000001" / "recommender" / name)
    status = opened(folder).status()
    (line,) = status.pop("damage")
    assert name in line
    assert "isthmus " in line
    assert status.pop("recommender") is None
    assert {**sound, **status} == sound
