"""A space is moved to other encoders while it serves, and back."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from isthmus import Space
from isthmus.errors import (
    FingerprintMismatch,
    InvalidInput,
    ReleaseRejected,
    SpaceLocked,
    UnknownEncoder,
    UnsupportedModality,
    UnsupportedOperation,
)
from isthmus.index.catalog.alignments import AlignmentAttachment
from isthmus.schema import ALIGNMENTS_FOLDER as ALIGNMENTS
from tests.encoders import models
from tests.encoders.alignment.test_alignment import some_alignment
from tests.toy import ToyEncoder, item, picture, text_encoder, two_encoders

ROOT = Path(__file__).resolve().parents[2]


class Interrupt(Exception):
    """Stands for Ctrl-C."""


class Meddling(ToyEncoder):
    """An encoder that does something once, when it has encoded so much."""

    def __init__(self, act, after=1, **options):
        super().__init__("text", **options)
        self._act, self._after = act, after

    def embed(self, prepared, modality):
        vectors = super().embed(prepared, modality)
        if self._act is not None and len(self.encoded) >= self._after:
            act, self._act = self._act, None
            act()
        return vectors


def other(**options) -> ToyEncoder:
    """An encoder of other vectors, of another length."""
    return text_encoder(dim=24, salt="other", spec="toy/other", **options)


def things(count: int = 30) -> list[dict]:
    return [
        item(f"t{n}", f"thing{n} of {'red' if n % 2 else 'blue'}", image=picture("red", 4 + n))
        for n in range(count)
    ]


@pytest.fixture
def shop(tmp_path):
    space = Space.create(tmp_path / "s", two_encoders())
    space.upsert(things())
    space.publish()
    return space


def found(space, text, k=3):
    return [hit.item_id for hit in space.search(text, k=k)]


def same_vectors(one, two, vector_name):
    views = [space.opened.view() for space in (one, two)]
    ids = sorted(str(name) for name in views[0].item_ids(views[0].find(["t0", "t3", "t29"])))
    vectors = [v.vectors(vector_name, v.find(ids)).vectors for v in views]
    np.testing.assert_allclose(*vectors, atol=1e-6)


def test_a_space_that_was_moved_is_one_made_with_these_encoders(shop, tmp_path):
    report = shop.reembed(text_encoder=other())
    made = Space.create(tmp_path / "made", {"text": other(), "image": two_encoders()["image"]})
    made.upsert(things())
    made.publish()
    assert report.encoded == {"text": 30}
    assert (report.release, report.alignment, report.quarantined) == (2, "none", 0)
    assert shop.fingerprint == made.fingerprint == report.fingerprint != report.former
    for vector_name in ("text", "image"):
        same_vectors(shop, made, vector_name)
    encoders = {"text": other(), "image": two_encoders()["image"]}
    for space in (shop, Space.open(shop.path, encoder=encoders)):
        assert found(space, "thing7 of red", 1) == ["t7"]
        assert space.get("t7")["modalities"] == ["text", "image"]
        space.upsert([item("late", "later")])
        assert found(space, "later", 1) == ["late"]
        space.delete("late")
    assert len(shop.opened.catalog.vector_columns()) == 2


def test_every_encoder_at_once_and_from_two_named_vectors_to_one(shop):
    joint = ToyEncoder("text", "image", salt="joint")
    report = shop.reembed(joint)
    assert report.encoded == {"text": 30, "image": 30}
    assert [named_vector.name for named_vector in shop.settings.layout] == ["joint"]
    assert shop.search(image=picture("red", 99), k=1)[0].item_id.startswith("t")
    assert shop.rollback() == 1
    assert [named_vector.name for named_vector in shop.settings.layout] == ["text", "image"]


def test_a_process_that_has_the_space_open_is_served_until_the_switch_and_then_refused(shop):
    reader = Space.open(shop.path, encoder=two_encoders())
    seen = []

    def act():
        seen.append(found(reader, "thing7 of red", 1))
        reader.upsert([item("new", "brand new thing")])
        seen.append(found(reader, "brand new thing", 1))
        reader.delete("t3")
        seen.append(reader.current_release)

    report = shop.reembed(text_encoder=Meddling(act, dim=24, salt="other"))
    assert seen == [["t7"], ["new"], 1]
    assert report.encoded == {"text": 31}
    with pytest.raises(FingerprintMismatch, match=r"text\.dim was '64' and is '24'.*open it again"):
        found(reader, "thing7")
    with pytest.raises(FingerprintMismatch, match="open it again"):
        reader.upsert([item("x", "y")])
    assert found(shop, "brand new thing", 1) == ["new"]
    assert shop.count() == 30


def test_what_changes_while_the_release_is_built_is_taken_up(shop, monkeypatch):
    writer = Space.open(shop.path, encoder=two_encoders())
    written = AlignmentAttachment.write

    def write(self, folder, view):
        writer.upsert([item("new", "brand new thing"), item("t5", "another fifth")])
        writer.delete("t9")
        return written(self, folder, view)

    monkeypatch.setattr(AlignmentAttachment, "write", write)
    report = shop.reembed(text_encoder=other())
    assert report.taken_up == 2
    assert report.encoded == {"text": 32}
    assert found(shop, "brand new thing", 1) == ["new"]
    assert found(shop, "another fifth", 1) == ["t5"]
    assert shop.count() == 30
    assert "t9" not in found(shop, "thing9 of red", 30)


def test_a_refused_release_leaves_everything_as_it_was(shop, monkeypatch):
    reader = Space.open(shop.path, encoder=two_encoders())
    before, columns = shop.fingerprint, shop.opened.catalog.vector_columns()
    monkeypatch.setattr(AlignmentAttachment, "shortfalls", lambda self: ["it is Sunday"])
    with pytest.raises(ReleaseRejected, match="it is Sunday"):
        shop.reembed(text_encoder=other())
    for space in (shop, reader, Space.open(shop.path, encoder=two_encoders())):
        assert (space.fingerprint, space.current_release) == (before, 1)
        assert found(space, "thing7 of red", 1) == ["t7"]
    assert shop.opened.catalog.vector_columns() == columns
    monkeypatch.undo()
    again = shop.reembed(text_encoder=other())
    assert again.encoded == {"text": 0}


def test_a_space_is_switched_by_one_at_a_time(tmp_path, monkeypatch):
    space = Space.create(tmp_path / "s", two_encoders())
    space.upsert(things())
    space.publish()
    written = AlignmentAttachment.write
    meddler = Space.open(space.path, encoder=two_encoders(), wait_s=0.01)

    def write(self, folder, view):
        monkeypatch.undo()
        with pytest.raises(SpaceLocked):
            meddler.set_weights({"image": 2})
        return written(self, folder, view)

    monkeypatch.setattr(AlignmentAttachment, "write", write)
    space.reembed(text_encoder=other())
    assert space.weights == {"text": 1.0, "image": 1.0}
    assert len(space.opened.catalog.vector_columns()) == 2
    assert len(space.search("red", k=3)) == 3


def test_an_interrupted_move_goes_on_where_it_was(shop):
    def stop():
        raise Interrupt

    shop.upsert([item(f"m{n}", f"more{n}", domain="more") for n in range(3_000)])
    cut = Meddling(stop, after=1_500, dim=24, salt="other")
    with pytest.raises(Interrupt):
        shop.reembed(text_encoder=cut)
    assert found(shop, "thing7 of red", 1) == ["t7"]
    report = shop.reembed(text_encoder=other())
    assert 0 < report.encoded["text"] < 3_030
    assert len(cut.encoded) - 1_024 + report.encoded["text"] <= 3_030 + 1_024
    assert found(shop, "more2999", 1) == ["m2999"]


SCRIPT = """
import sys, time
from isthmus import Space
from tests.toy import ToyEncoder, two_encoders

class Slow(ToyEncoder):
    def embed(self, prepared, modality):
        time.sleep(0.2)
        print(len(self.encoded), flush=True)
        return super().embed(prepared, modality)

Space.open(sys.argv[1], encoder=two_encoders()).reembed(
    text_encoder=Slow("text", dim=24, salt="other", spec="toy/other")
)
"""


@pytest.mark.heavy
def test_killed_it_loses_seconds_and_the_space_is_as_it_was(shop):
    shop.upsert([item(f"m{n}", f"more{n}", domain="more") for n in range(12_000)])
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(shop.path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        while int(process.stdout.readline() or 12_000) < 6_000:
            time.sleep(0.01)
        process.kill()
    assert found(shop, "more17", 1) == ["m17"]
    report = shop.reembed(text_encoder=other())
    assert 0 < report.encoded["text"] < 12_030 - 3_000
    assert found(shop, "more11999", 1) == ["m11999"]


@pytest.fixture
def loadable(monkeypatch):
    """Let toy encoders be loaded by their specs, as those that are installed are."""
    from isthmus.encoders import stack as recorded

    known = {"toy/words": text_encoder, "toy/other": other}
    monkeypatch.setattr(recorded, "load_encoder", lambda spec, **_: known[spec]())


def test_rollback_brings_the_former_encoders_back(tmp_path, loadable):
    space = Space.create(tmp_path / "s", text_encoder())
    space.upsert(things())
    space.publish()
    first = space.fingerprint
    second = space.reembed(other()).fingerprint
    space.upsert([item("late", "later")])
    assert space.rollback(1) == 1
    assert space.fingerprint == first
    assert [found(space, "thing7 of red", 1), found(space, "later", 1)] == [["t7"], ["late"]]
    assert space.rollback(2) == 2
    assert space.fingerprint == second
    assert [found(space, "thing7 of red", 1), found(space, "later", 1)] == [["t7"], ["late"]]
    assert found(Space.open(space.path), "later", 1) == ["late"]


def test_rollback_brings_alignment_weights_and_encoders_back(tmp_path, loadable):
    space = Space.create(tmp_path / "s", two_encoders(), alignment=some_alignment())
    space.upsert([*things(), {"item_id": "p", "domain": "pictures", "image": picture("red")}])
    space.publish()
    first = space.fingerprint
    space.set_weights({"image": 3})
    report = space.reembed(text_encoder=other())
    assert report.alignment == "lost"
    assert space.weights == {"text": 1.0, "image": 3.0}
    assert not list((space.path / ALIGNMENTS).glob("*"))
    with pytest.raises(UnsupportedModality, match="isthmus align"):
        space.search("red", domain="pictures")
    assert space.rollback(1) == 1
    assert space.fingerprint == first
    assert space.status()["alignment"] == some_alignment().fingerprint


def test_an_alignment_that_fits_stays(tmp_path):
    space = Space.create(tmp_path / "s", two_encoders(), alignment=some_alignment())
    space.upsert(things())
    same = ToyEncoder("text", spec="toy/elsewhere")
    assert space.reembed(text_encoder=same).alignment == "kept"


def test_what_the_new_encoder_cannot_take_goes_to_quarantine(tmp_path):
    class Blind(ToyEncoder):
        def embed(self, prepared, modality):
            vectors = super().embed(prepared, modality)
            for row, image in enumerate(prepared):
                vectors[row] = np.nan if image.size == (7, 7) else vectors[row]
            return vectors

    space = Space.create(tmp_path / "s", ToyEncoder("image", dim=8))
    space.upsert(
        [
            {"item_id": f"p{n}", "domain": "pictures", "image": picture("red", n)}
            for n in range(4, 10)
        ]
    )
    space.publish()
    report = space.reembed(Blind("image", dim=8, salt="other"))
    assert report.quarantined == 1
    (row,) = space.quarantine()
    assert (row["item_id"], row["reason"]) == (
        "p7",
        "the encoder gives a vector that holds NaN or infinity",
    )
    assert space.count() == 5
    assert space.get("p7")["modalities"] == []


def test_the_same_encoders_change_nothing(shop):
    before = shop.fingerprint
    report = shop.reembed(text_encoder=two_encoders()["text"])
    assert (report.former, report.fingerprint, report.release) == (before, before, None)
    assert report.encoded == {"text": 0, "image": 0}
    assert shop.current_release == 1


def test_a_space_of_relative_folders_is_used_from_anywhere(tmp_path, monkeypatch):
    models.bert_folder(tmp_path / "bert", seed=1)
    models.bert_folder(tmp_path / "tuned", seed=2)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    space = Space.create("s", text_encoder="transformers/bert", device="cpu")
    space.upsert([item("a", "red hat"), item("b", "blue shoe")])
    assert space.settings.encoders == {"text": f"transformers/{tmp_path}/bert"}
    space.reembed(text_encoder="transformers/tuned")
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = Space.open("../s", device="cpu")
    assert found(again, "blue shoe", 1) == ["b"]


def test_the_same_encoder_at_another_place_is_loaded_from_there(tmp_path):
    models.bert_folder(tmp_path / "bert")
    path = Space.create(tmp_path / "s", text_encoder=f"transformers/{tmp_path}/bert").path
    Space.open(path).upsert([item("a", "red hat")])
    (tmp_path / "bert").rename(tmp_path / "moved")
    reader = Space.open(path)
    with pytest.raises(UnknownEncoder, match=r"reembed --text-encoder SPEC"):
        reader.search("hat")
    report = Space.open(path).reembed(text_encoder=f"transformers/{tmp_path}/moved")
    assert (report.encoded, report.release) == ({"text": 0}, None)
    assert report.encoders == {"text": f"transformers/{tmp_path}/moved"}
    assert found(Space.open(path), "hat", 1) == ["a"]


def test_a_kill_between_settings_and_release_goes_unnoticed(shop, monkeypatch):
    from isthmus.index.releases.release import Releases

    def kill(self, number):
        raise Interrupt

    with monkeypatch.context() as patched:
        patched.setattr(Releases, "make_current", kill)
        with pytest.raises(Interrupt):
            shop.reembed(text_encoder=other())
    encoders = {"text": other(), "image": two_encoders()["image"]}
    again = Space.open(shop.path, encoder=encoders)
    assert found(again, "thing7 of red", 1) == ["t7"]
    assert again.current_release == 2
    again.reembed(text_encoder=encoders["text"])
    assert again.current_release == 2
    assert (shop.path / "CURRENT").read_text().startswith("000002")
    assert found(again, "thing7 of red", 1) == ["t7"]
    assert len(again.opened.catalog.vector_columns()) == 2


def test_a_space_without_a_release_is_moved_too(tmp_path):
    space = Space.create(tmp_path / "s", text_encoder())
    space.upsert(things())
    assert space.reembed(other()).release is None
    assert found(space, "thing7 of red", 1) == ["t7"]
    empty = Space.create(tmp_path / "empty", text_encoder())
    assert empty.reembed(other()).encoded == {"text": 0}


def test_a_recommender_of_former_vectors_is_dropped_only_on_request(board, tmp_path):
    shutil.copytree(board.path, tmp_path / "s")
    space = Space.open(tmp_path / "s", encoder=text_encoder())
    moved = ToyEncoder("text", dim=24, salt="other")
    with pytest.raises(UnsupportedOperation, match=r"--drop-recommender.*isthmus train"):
        space.reembed(moved)
    assert space.releases()[-1].attached != []
    report = space.reembed(moved, drop_recommender=True)
    assert report.recommender_dropped
    assert space.releases()[-1].attached == []
    space.publish()
    assert space.releases()[-1].attached == []
    assert not space.reembed(moved).recommender_dropped


def test_what_was_learned_of_former_vectors_is_not_stored(board, tmp_path, monkeypatch):
    shutil.copytree(board.path, tmp_path / "s")
    space, mover = (Space.open(tmp_path / "s", encoder=text_encoder()) for _ in range(2))
    moved = ToyEncoder("text", dim=24, salt="other")
    monkeypatch.setattr(
        "isthmus.operations.training.train_recommender",
        lambda *_, **__: mover.reembed(moved, drop_recommender=True),
    )
    with pytest.raises(FingerprintMismatch, match="another text encoder while it was trained"):
        space.train()
    mover.publish()
    assert mover.releases()[-1].attached == []


def test_what_cannot_be_moved_is_refused(tmp_path):
    space = Space.create(tmp_path / "s", text_encoder())
    with pytest.raises(InvalidInput, match="--text-encoder"):
        space.reembed()
    with pytest.raises(UnsupportedModality, match="no image encoder that could be replaced"):
        space.reembed(image_encoder=ToyEncoder("image"))
    with pytest.raises(UnsupportedModality, match="takes image, and this space has text alone"):
        space.reembed(ToyEncoder("image"))
