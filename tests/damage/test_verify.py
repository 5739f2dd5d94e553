"""`verify` names what is damaged and lost, mends what follows from something else, and no more."""

from __future__ import annotations

import shutil

import pytest

from isthmus import Space
from isthmus.data.lance_manifest import manifest_name, versions_of
from isthmus.errors import CorruptTable, InvalidInput, IsthmusError
from tests.damage.damages import flip
from tests.toy import item, picture, two_encoders


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A published space; ten items of two commits, two events of each of two users."""
    space = Space.create(tmp_path_factory.mktemp("verify") / "s", two_encoders())
    space.upsert([item(f"a{n}", f"word{n}", image=picture("red", 4 + n)) for n in range(6)])
    space.publish()
    space.upsert([item(f"b{n}", f"late{n}") for n in range(4)])
    space.add_interactions([{"user_id": u, "item_id": f"a{n}"} for u in "uv" for n in range(2)])
    space.index_text()
    return space.path


@pytest.fixture
def folder(filled, tmp_path):
    return shutil.copytree(filled, tmp_path / "s")


def opened(folder):
    return Space.open(folder, encoder=two_encoders())


def files(folder, pattern):
    return sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime_ns)


def everything(folder):
    space = opened(folder)
    hits = space.search("word1", k=99, attributes=True)
    return (
        [(hit.item_id, hit.text, hit.score) for hit in hits],
        [hit.item_id for hit in space.search("late1", k=3, hybrid=True)],
        sorted(map(str, space.interactions().to_pylist())),
        space.set_weights({"image": 1.0}).weights,
    )


def test_a_sound_space_is_reported_as_sound(folder):
    report = opened(folder).verify()
    assert report.sound
    assert report.damages == []
    tables = [path.parent for path in folder.rglob("_versions")]
    assert report.files > 2 * len(tables)


@pytest.mark.parametrize(
    "pattern",
    [
        "catalog.lance/_versions/*.manifest",
        "catalog.lance/_indices/*/*",
        "catalog.lance/_checksums/*",
        "interactions.lance/_versions/*.manifest",
        "embedding_cache/text-*/data/*",
        "embedding_cache/text-*/_versions/*.manifest",
        "releases/000001/rows.arrow",
        "releases/000001/manifest.json",
        "CURRENT",
    ],
)
@pytest.mark.parametrize("how", [flip, lambda path: path.unlink()], ids=["flip", "remove"])
def test_what_follows_from_something_else_is_mended(folder, pattern, how):
    before = everything(folder)
    file = files(folder, pattern)[-1]
    how(file)
    (found,) = opened(folder).verify().damages
    assert folder / found.file == file
    assert found.lost.startswith("nothing")
    assert found.remedy == f"isthmus verify --repair --space {folder}"
    (mended,) = opened(folder).verify(repair=True).damages
    assert mended.repaired
    assert opened(folder).verify().damages == []
    assert everything(folder) == before


@pytest.mark.parametrize("how", [flip, lambda path: path.unlink()], ids=["flip", "remove"])
def test_lost_items_are_named_and_dropped_only_on_request(folder, how):
    file = files(folder, "catalog.lance/data/*")[0]
    how(file)
    with pytest.raises(CorruptTable, match=file.name):
        opened(folder).count()
    report = opened(folder).verify(repair=True)
    (found,) = report.damages
    assert not report.sound
    assert found.names == tuple(f"a{n}" for n in range(6))
    assert found.lost == "6 items (a0, a1, a2, a3, a4, ...)"
    drop, again = found.remedy.split(", then ")
    assert drop == f"isthmus verify --repair --drop-damaged --space {folder}"
    assert again == f"isthmus upsert ITEMS --space {folder}"
    assert opened(folder).verify(drop_damaged=True).sound
    space = opened(folder)
    assert next(hit.item_id for hit in space.search("late1", k=9)) == "b1"
    assert space.count() == 4
    space.upsert([item(f"a{n}", f"word{n}") for n in range(6)])
    assert opened(folder).count() == 10
    assert opened(folder).verify().sound


def test_lost_events_are_reported_with_their_users(folder):
    flip(files(folder, "interactions.lance/data/*")[-1])
    (found,) = opened(folder).verify().damages
    assert found.lost.startswith("4 events")
    assert found.remedy.endswith(f"isthmus interactions add FILES --space {folder}")
    assert opened(folder).verify(drop_damaged=True).sound
    assert len(opened(folder).interactions()) == 0


def test_rows_are_given_up_where_the_power_was_lost_in_a_repair(folder):
    """The manifest of the version without the damaged rows is there, and empty."""
    (cache,) = folder.glob("embedding_cache/text-*.lance")
    flip(files(folder, "embedding_cache/text-*/data/*")[-1])
    (cache / manifest_name(versions_of(cache)[-1] + 1)).touch()
    assert opened(folder).verify(repair=True).sound
    assert opened(folder).verify().damages == []


def test_damaged_media_are_reported(folder):
    file = files(folder, "media/??/*")[0]
    flip(file)
    (found,) = opened(folder).verify(repair=True).damages
    assert folder / found.file == file
    assert not found.repaired
    assert found.remedy == f"isthmus upsert ITEMS --space {folder}"
    opened(folder).upsert(
        [item(f"a{n}", f"word{n}", image=picture("red", 4 + n)) for n in range(6)]
    )
    assert opened(folder).verify().damages == []


def test_changed_settings_are_refused_but_those_of_the_index(folder):
    toml = folder / "space.toml"
    content = toml.read_text()
    toml.write_text(content.replace("keep_releases = 5", "keep_releases = 2"))
    assert opened(folder).settings.index.keep_releases == 2
    toml.write_text(content.replace("dim = 8", "dim = 9"))
    with pytest.raises(InvalidInput, match=r"space\.toml was changed.* isthmus verify --repair"):
        opened(folder)
    toml.unlink()
    with pytest.raises(IsthmusError, match=r"space\.toml is missing; .* isthmus verify --repair"):
        opened(folder)
