"""A damaged table is noticed by whoever reads it, and nothing of it is served as true."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from isthmus import Space
from isthmus.data.leases import lease_scope
from isthmus.errors import CorruptTable
from tests.toy import item, picture, two_encoders

TABLES = ("catalog.lance", "interactions.lance", "embedding_cache")
READS = {
    "catalog.lance": lambda space: space.search("word1", k=20, attributes=True),
    "interactions.lance": lambda space: space.interactions(),
    "embedding_cache": lambda space: space.upsert([item("new", "new")]),
}


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A space with something in every table."""
    space = Space.create(tmp_path_factory.mktemp("damage") / "s", two_encoders())
    space.upsert(
        [item(f"f{n}", f"word{n}", image=picture("red", 4 + n), year=1900 + n) for n in range(8)]
        + [item("broken", "no picture", image=b"none")]
    )
    space.add_interactions([{"user_id": "u", "item_id": f"f{n}"} for n in range(8)])
    space.delete(["f7"])
    space.compact(keep_days=0)
    return space.path


def copied(filled, tmp_path):
    shutil.copytree(filled, tmp_path / "s")
    return tmp_path / "s"


def files_of(table, part):
    return sorted(path for path in table.rglob(f"{part}/*") if not path.name.endswith(".json"))


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("how", ["flip", "cut", "remove"])
def test_every_damaged_file_of_a_table_is_reported(filled, tmp_path, table, how):
    space = copied(filled, tmp_path)
    damaged = 0
    for part in ("data", "_versions", "_deletions"):
        for file in files_of(space / table, part):
            content = file.read_bytes()
            if how == "remove":
                file.unlink()
            else:
                half = len(content) // 2
                flipped = content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]
                file.write_bytes(flipped if how == "flip" else content[:half])
            reader = Space.open(space, encoder=two_encoders())
            with pytest.raises(CorruptTable, match=file.name):
                READS[table](reader)
            file.write_bytes(content)
            damaged += 1
    assert damaged >= 2
    for read in READS.values():
        read(Space.open(space, encoder=two_encoders()))


def test_every_write_is_followed_by_a_record(filled, tmp_path):
    space = Space.open(copied(filled, tmp_path), encoder=two_encoders())
    space.upsert([item("f1", "another"), item("more", "more", colour="red")])
    space.add_interactions([{"user_id": "v", "item_id": "f1"}])
    space.forget_user("u")
    space.set_weights({"image": 2.0})
    space.publish()
    space.compact()
    tables = [path.parent for path in space.path.rglob("_versions")]
    assert len(tables) == 4
    for table in tables:
        versions = {2**64 - 1 - int(p.stem) for p in (table / "_versions").glob("*.manifest")}
        assert {int(path.name) for path in (table / "_checksums").iterdir()} == versions


def test_a_version_without_a_record_is_read_and_recorded_by_the_next_write(filled, tmp_path):
    space = Space.open(copied(filled, tmp_path), encoder=two_encoders())
    records = space.path / "catalog.lance" / "_checksums"
    shutil.rmtree(records)
    assert space.count() == 8
    space.upsert([item("more", "more")])
    assert len(list(records.iterdir())) >= 1
    assert Space.open(space.path, encoder=two_encoders()).count() == 9


def test_a_version_in_use_outlives_compaction(filled, tmp_path):
    space = Space.open(copied(filled, tmp_path), encoder=two_encoders())
    other = Space.open(space.path, encoder=two_encoders())
    with lease_scope():
        snapshot = space.opened.view().snapshot
        with ThreadPoolExecutor(1) as thread:  # another thread is another reader
            thread.submit(other.upsert, [item("f1", "another")]).result()
            thread.submit(other.compact, keep_days=0).result()
        assert snapshot.find(["f1"], ["text"]).to_pylist() == [{"text": "word1"}]
    other.compact(keep_days=0)
    assert space.get("f1")["text"] == "another"
    assert len(files_of(space.path / "catalog.lance", "_versions")) == 1


def test_a_space_in_the_place_of_another_is_noticed(tmp_path):
    def create(name):
        space = Space.create(tmp_path / "s", two_encoders())
        space.upsert([item(name, "word")])
        space.add_interactions([{"user_id": "u", "item_id": name}])
        return space

    former = create("old")
    assert [hit.item_id for hit in former.search("word")] == ["old"]
    assert former.interactions("u").column("item_id").to_pylist() == ["old"]
    shutil.rmtree(tmp_path / "s")
    create("new")
    assert [hit.item_id for hit in former.search("word")] == ["new"]
    assert former.interactions("u").column("item_id").to_pylist() == ["new"]


def test_a_damaged_text_index_is_reported_and_publishing_mends_it(filled, tmp_path):
    def opened():
        return Space.open(space, encoder=two_encoders())

    space = copied(filled, tmp_path)
    opened().index_text()
    expected = [hit.item_id for hit in opened().search("word3", k=3, hybrid=True)]
    file = max((space / "catalog.lance" / "_indices").rglob("*.lance"), key=lambda p: p.name)
    file.write_bytes(file.read_bytes()[:-9])
    assert [hit.item_id for hit in opened().search("word3", k=1)] == ["f3"]
    with pytest.raises(CorruptTable, match=f"{file.name} .* isthmus publish"):
        opened().search("word3", k=3, hybrid=True)
    opened().publish()
    assert [hit.item_id for hit in opened().search("word3", k=3, hybrid=True)] == expected
