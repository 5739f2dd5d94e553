"""Fusion weights of a space, changed after it was made."""

from __future__ import annotations

import pytest

from isthmus import Space
from isthmus.errors import FingerprintMismatch, InvalidInput
from isthmus.operations.switching import switch_vectors, switching
from tests.encoders.alignment.test_alignment import some_alignment
from tests.retrieval.test_weights import ITEMS, scores
from tests.toy import item, joint_encoder, picture, two_encoders

QUERIES = [
    lambda s: s.search("red ship", k=50),
    lambda s: s.search("ship", image=picture("blue", 5), k=50),
    lambda s: s.similar("ship-red", k=50),
]
LAYOUTS = {
    "joint": (joint_encoder, None),
    "apart": (two_encoders, None),
    "aligned": (two_encoders, some_alignment),
}


def make(path, layout, **options):
    encoders, alignment = LAYOUTS[layout]
    return Space.create(path, encoders(), alignment=alignment and alignment(), **options)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("published", [False, True])
def test_a_space_with_changed_weights_is_one_made_with_them(tmp_path, layout, published):
    space = make(tmp_path / "changed", layout)
    made = make(tmp_path / "made", layout, weights={"image": 3.0})
    space.upsert(ITEMS)
    made.upsert(ITEMS)
    if published:
        space.publish()
        made.publish()
    report = space.set_weights({"image": 3})
    meeting = {"joint": ["joint"], "apart": [], "aligned": ["aligned"]}[layout]
    assert (report.weights, report.former["image"]) == ({"text": 1.0, "image": 3.0}, 1.0)
    assert report.vector_names == meeting
    assert report.release == (2 if published and meeting else None)
    assert space.fingerprint == made.fingerprint
    again = Space.open(space.path, encoder=LAYOUTS[layout][0]())
    later = [item("later", "sea", image=picture("green")), item("ship-red", "tree")]
    for one in (space, again):
        assert one.weights == {"text": 1.0, "image": 3.0}
    again.upsert(later)
    made.upsert(later)
    for ask in QUERIES:
        assert scores(ask(again)) == pytest.approx(scores(ask(made)), abs=1e-5)


def test_nothing_is_encoded_for_the_weights_of_a_space(tmp_path):
    encoder = joint_encoder()
    space = Space.create(tmp_path / "s", encoder)
    space.upsert(ITEMS)
    encoder.encoded.clear()
    space.set_weights({"image": 5})
    assert encoder.encoded == []


def test_a_rollback_restores_former_weights(tmp_path):
    space = make(tmp_path / "s", "aligned")
    space.upsert(ITEMS)
    space.publish()
    before = [scores(ask(space)) for ask in QUERIES]
    space.set_weights({"image": 4})
    space.set_weights({"text": 2})
    assert space.current_release == 3
    assert space.rollback(1) == 1
    assert space.weights == {"text": 1.0, "image": 1.0}
    assert [scores(ask(space)) for ask in QUERIES] == [pytest.approx(b, abs=1e-6) for b in before]
    assert space.rollback(2) == 2
    assert space.weights == {"text": 1.0, "image": 4.0}
    opened = Space.open(space.path, encoder=two_encoders())
    assert opened.search("red", k=3)


def test_weights_stay_when_a_space_is_realigned(tmp_path):
    space = make(tmp_path / "s", "aligned")
    space.upsert(ITEMS)
    space.set_weights({"image": 4})
    made = make(tmp_path / "made", "aligned", weights={"image": 4})
    made.upsert(ITEMS)
    with pytest.raises(InvalidInput, match="smell"):
        space.set_weights({"smell": 1})
    for alignment in (None, some_alignment()):
        settings = space.settings.with_alignment(alignment)
        with switching(space.opened):
            switch_vectors(space.opened, settings, alignment, lambda both, switch: switch(None))
    assert space.fingerprint == made.fingerprint
    assert scores(space.search("red", k=50)) == pytest.approx(
        scores(made.search("red", k=50)), abs=1e-5
    )


def test_another_process_has_to_open_the_space_again(tmp_path):
    space = make(tmp_path / "s", "joint")
    space.upsert(ITEMS)
    other = Space.open(space.path, encoder=joint_encoder())
    other.search("red")
    space.set_weights({"image": 2})
    with pytest.raises(FingerprintMismatch, match=r"fusion.image.*open it again"):
        other.search("red")


def test_the_same_weights_change_nothing(tmp_path):
    space = make(tmp_path / "s", "joint", weights={"image": 2})
    space.upsert(ITEMS)
    space.publish()
    report = space.set_weights({"image": 2.0})
    assert (report.vector_names, report.release, space.settings.format) == ([], None, 1)
