"""A space whose encoders are brought together: text finds pictures."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from isthmus import Space
from isthmus.encoders.training.settings import AlignmentSettings
from isthmus.errors import (
    FingerprintMismatch,
    InvalidInput,
    InvalidMapping,
    UnsupportedModality,
    UnsupportedOperation,
)
from isthmus.retrieval.search.searcher import encode_contents
from isthmus.schema import ALIGNMENTS_FOLDER, RELEASE_ALIGNMENT_FOLDER
from tests.encoders.alignment.test_alignment import some_alignment
from tests.toy import COLOURS, item, joint_encoder, picture, two_encoders

QUICK = AlignmentSettings(epochs=2)


def coloured(each: int = 8) -> list[dict]:
    """Items with a text that names the colour of their picture."""
    return [
        item(f"{colour}{n}", f"{colour} thing{n}", "things", image=picture(colour, 4 + n))
        for colour in COLOURS
        for n in range(each)
    ]


def pictures_alone() -> list[dict]:
    return [
        {"item_id": f"only {colour}", "domain": "pictures", "image": picture(colour, 40)}
        for colour in COLOURS
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A space that was published, then aligned by its own items."""
    path = tmp_path_factory.mktemp("aligned") / "s"
    space = Space.create(path, two_encoders())
    space.upsert(coloured() + pictures_alone())
    space.publish()
    report = space.align(settings=QUICK)
    return path, report


@pytest.fixture
def aligned(made, tmp_path):
    shutil.copytree(made[0], tmp_path / "s")
    return Space.open(tmp_path / "s", encoder=two_encoders())


def test_the_report_says_what_it_is_worth(made):
    report = made[1]
    assert report.pairs == {"things": 48}
    assert report.encoded == {"text": 0, "image": 0}
    assert report.problems == []
    assert report.release == 2
    found = report.recall["aligned"]["things"]
    assert found["text_to_image"] > found["chance_text_to_image"] or found["images"] <= 10


def test_text_finds_pictures_that_have_no_text(aligned):
    for colour in COLOURS:
        hits = aligned.search(f"{colour} thing1", domain="pictures", k=1)
        assert [hit.item_id for hit in hits] == [f"only {colour}"]
        assert aligned.search(image=picture(colour, 3), domain="things", k=8)[0].item_id.startswith(
            colour
        )
    assert aligned.status()["aligned"] is True


def test_what_comes_later_is_aligned_too(aligned):
    aligned.upsert([{"item_id": "new", "domain": "later", "image": picture("red", 50)}])
    assert [h.item_id for h in aligned.search("red", domain="later")] == ["new"]
    aligned.publish()
    assert [h.item_id for h in aligned.search("red", domain="later")] == ["new"]


def test_many_queries_of_a_file_are_aligned_too(aligned, tmp_path):
    rows = [{"query_id": c, "text": f"{c} thing1"} for c in COLOURS]
    aligned.search_file(rows, tmp_path / "out.parquet", k=1, domain="pictures")
    import pyarrow.parquet as pq

    found = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert {row["query_id"]: row["item_id"] for row in found} == {c: f"only {c}" for c in COLOURS}


def test_without_alignment_text_does_not_pretend_to_find_pictures(space):
    space.upsert(coloured(1) + pictures_alone())
    with pytest.raises(UnsupportedModality, match="isthmus align --pairs FILES --space"):
        space.search("red", domain="pictures")
    assert space.search("red thing0", k=1)[0].item_id == "red0"


def test_a_file_of_queries_names_those_that_cannot_find_pictures(space, tmp_path):
    space.upsert(coloured(1) + pictures_alone())
    out, rows = tmp_path / "out.parquet", [{"query_id": "a", "text": "red thing0"}]
    (problem,) = space.search_file(rows, out, domain="pictures").problems
    assert "isthmus align --pairs FILES --space" in problem.reason
    report = space.search_file(rows, out, k=1)
    assert (report.problems, report.answered) == ([], 1)


def test_the_named_vectors_of_the_encoders_stay_as_they_were(aligned, tmp_path):
    plain = Space.create(tmp_path / "plain", two_encoders())
    plain.upsert(coloured() + pictures_alone())
    for vector_name in ("text", "image"):
        views = [space.opened.view() for space in (plain, aligned)]
        rows = [view.find(["red0", "blue3"]) for view in views]
        vectors = [v.vectors(vector_name, r).vectors for v, r in zip(views, rows, strict=True)]
        np.testing.assert_array_equal(*vectors)


def test_another_process_that_has_the_space_open_is_refused(aligned):
    other = Space.open(aligned.path, encoder=two_encoders())
    vector = encode_contents(other.opened, {"text": "red"})["aligned"]
    before = other.fingerprint
    aligned.align(
        [{"text": f"{c} a{n}", "image": picture(c, 60 + n)} for c in COLOURS for n in range(6)],
        settings=QUICK,
    )
    with pytest.raises(FingerprintMismatch, match=r"alignment was '\w+' and is '\w+'.*open it"):
        other.search("red")
    with pytest.raises(FingerprintMismatch, match="alignment was"):
        other.upsert([item("x", "y")])
    with pytest.raises(FingerprintMismatch, match="made with encoder stack"):
        aligned.search(vector=vector, fingerprint=before)


def test_rollback_brings_the_former_alignment_back(aligned):
    first = aligned.fingerprint
    aligned.upsert([{"item_id": "new", "domain": "later", "image": picture("red", 50)}])
    assert aligned.rollback(1) == 1
    assert aligned.status()["aligned"] is False
    with pytest.raises(UnsupportedModality, match="isthmus align"):
        aligned.search("red", domain="pictures")
    assert not list((aligned.path / ALIGNMENTS_FOLDER).glob("*"))
    assert aligned.rollback(2) == 2
    assert aligned.fingerprint == first
    assert [h.item_id for h in aligned.search("red", domain="later")] == ["new"]
    assert (aligned.path / "releases/000002" / RELEASE_ALIGNMENT_FOLDER).is_dir()


def test_pairs_of_files_and_what_is_wrong_with_some(space, tmp_path):
    good = [
        {"text": f"{colour} thing{n}", "image": picture(colour, 4 + n)}
        for colour in COLOURS
        for n in range(8)
    ]
    bad = [
        {"text": "  ", "image": picture("red")},
        {"text": "torn", "image": picture("red")[:40]},
        {"text": "absent", "image": str(tmp_path / "no.png").encode() and None},
    ]
    report = space.align(good + bad, settings=QUICK)
    assert sum(report.pairs.values()) == 48
    assert report.release is None
    assert report.encoded == {"text": 49, "image": 48}
    names = ["row 48: the text is empty", "row 50: there is no picture", "row 49: "]
    for name, problem in zip(names, report.problems, strict=True):
        assert name in problem
    space.upsert(pictures_alone())
    assert [h.item_id for h in space.search("blue thing1", k=1)] == ["only blue"]
    again = space.align(good, settings=QUICK)
    assert again.encoded == {"text": 0, "image": 0}


def test_what_cannot_be_aligned_is_refused(space, tmp_path):
    with pytest.raises(InvalidInput, match="no item of the space has both a text and a picture"):
        space.align()
    with pytest.raises(InvalidMapping, match=r"has no column image.*--image"):
        space.align([{"text": "a"}])
    joint = joint_encoder()
    with pytest.raises(UnsupportedOperation, match="nothing to align"):
        Space.create(tmp_path / "joint", joint).align()
    with pytest.raises(UnsupportedOperation, match="this space encodes text alone"):
        Space.create(tmp_path / "text", {"text": two_encoders()["text"]}).align()


def test_a_space_can_be_made_with_an_alignment(tmp_path):
    space = Space.create(tmp_path / "s", two_encoders(), alignment=some_alignment())
    assert space.status()["alignment"] == some_alignment().fingerprint
    again = Space.open(tmp_path / "s", encoder=two_encoders())
    again.upsert(coloured(1))
    assert len(again.search("red", k=3)) == 3


def test_the_weight_of_an_absent_modality_does_not_move_an_item(tmp_path):
    """Items that lack a picture rank alike among themselves whatever pictures weigh."""
    texts = [item(f"t{n}", f"red thing{n} word{n}") for n in range(6)]
    orders = []
    for number, weight in enumerate((1.0, 7.0)):
        space = Space.create(tmp_path / f"{number}", two_encoders(), alignment=some_alignment())
        space.settings.weights["image"] = weight
        space.upsert(texts + coloured(1))
        hits = space.search("red thing3", domain="films", k=6)
        orders.append([(hit.item_id, round(hit.score, 5)) for hit in hits])
    assert orders[0] == orders[1]
