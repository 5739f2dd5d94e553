"""The golden spaces open and answer: the on-disk format is what this version writes."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from isthmus import Space
from isthmus.errors import InvalidMapping, UnsupportedFormat, UnsupportedModality
from isthmus.schema import FORMAT, SPACE_FILE
from tests.encoders.alignment.test_alignment import some_alignment
from tests.golden.make import (
    HERE,
    LISTS,
    PLANNED_ITEMS,
    RECIPE,
    TRAINED_WEIGHTS,
    planned_text,
    trained_lists,
)
from tests.toy import item, picture, sound_encoder, text_encoder, tone, two_encoders


@pytest.fixture
def golden(tmp_path):
    shutil.copytree(HERE / "plain.space", tmp_path / "s")
    return Space.open(tmp_path / "s", encoder=two_encoders())


@pytest.mark.parametrize("number", [FORMAT + 1, 0, None])
def test_a_space_of_another_format_is_refused_with_the_command_that_rebuilds_it(tmp_path, number):
    shutil.copytree(HERE / "plain.space", tmp_path / "s")
    toml = (tmp_path / "s" / SPACE_FILE).read_text()
    other = "" if number is None else f"format = {number}\n"
    changed = toml.replace(f"format = {FORMAT}\n", other)
    assert changed != toml
    (tmp_path / "s" / SPACE_FILE).write_text(changed)
    with pytest.raises(
        UnsupportedFormat, match="isthmus create --space NEW, then isthmus upsert FILES"
    ):
        Space.open(tmp_path / "s")


def test_a_golden_space_answers(golden):
    assert golden.count() == 5
    assert golden.current_release == 2
    assert [hit.item_id for hit in golden.search("sea storm ship", k=2)] == ["f1", "b1"]
    assert [hit.item_id for hit in golden.search("desert night", k=1)] == ["new"]
    assert [hit.item_id for hit in golden.search(image=picture("blue", 4), k=1)] == ["b1"]
    assert golden.get("f2")["attributes"] == {"year": 2001}
    assert golden.count(where="pages < 300") == 1
    assert [row["item_id"] for row in golden.quarantine()] == ["b3"]


def test_a_golden_space_takes_new_items_and_encodes_nothing_it_knows(golden):
    report = golden.upsert(
        [item("again", "jazz club", image=picture("red")), item("x", "new word")]
    )
    assert report.encoded == {"text": 1, "image": 0}
    assert golden.publish().number == 3
    assert golden.rollback() == 2
    assert golden.count() == 7


def test_a_golden_index_answers_as_exact_search_does(tmp_path):
    shutil.copytree(HERE / "planned.space", tmp_path / "s")
    space = Space.open(tmp_path / "s", encoder={"text": text_encoder(dim=16)})
    (segment_vectors,) = space.releases()[0].named_vectors.values()
    assert (segment_vectors.recipe, segment_vectors.vectors) == (RECIPE, PLANNED_ITEMS)
    assert space.status()["index"]["text"]["recipe"].startswith(RECIPE)
    view = space.opened.view()
    queries = view.vectors("text", np.arange(0, PLANNED_ITEMS, 11)).vectors
    best, _ = view.exact("text", queries, 10)
    found, _ = view.search("text", queries, 10)
    assert (found >= best[:, -1:] - 1e-5).mean() >= 0.95
    assert space.search("quite new", k=1)[0].item_id == "new"
    assert "i7" not in {hit.item_id for hit in space.search(planned_text(7), k=40)}
    assert len(space.search(planned_text(7), k=40, where="n % 2 = 0", domain="a")) == 40


def test_a_golden_alignment_answers_and_is_rolled_back_to(tmp_path):
    shutil.copytree(HERE / "aligned.space", tmp_path / "s")
    space = Space.open(tmp_path / "s", encoder=two_encoders())
    assert space.settings.alignment == some_alignment().fingerprint
    assert [hit.item_id for hit in space.search("sea", domain="pictures")] == ["seen"]
    assert [hit.item_id for hit in space.search("desert night", k=1)] == ["new"]
    assert space.publish().number == 3
    assert space.rollback() == 2
    assert space.count() == 7


def test_a_golden_space_with_audio_answers_and_takes_more(tmp_path):
    shutil.copytree(HERE / "audio.space", tmp_path / "s")
    sounds = sound_encoder()
    encoders = {"text": sounds, "image": two_encoders()["image"], "audio": sounds}
    space = Space.open(tmp_path / "s", encoder=encoders)
    assert space.settings.format == FORMAT
    assert [hit.item_id for hit in space.search("high", k=1)] == ["s2"]
    assert [hit.item_id for hit in space.search(audio=tone("middle", 16_000), k=1)] == ["new"]
    assert [(row["item_id"], row["modality"]) for row in space.quarantine()] == [("bad", "audio")]
    report = space.upsert([item("again", "", "songs", audio=tone("low"))])
    assert report.encoded == {"text": 0, "image": 0, "audio": 0}
    assert space.publish().number == 2


def test_a_space_without_audio_keeps_an_attribute_of_that_name(golden):
    golden.upsert([item("x", "new word", audio="side a"), item("y", "other", audio="side b")])
    assert golden.settings.format == FORMAT
    assert golden.get("x")["attributes"]["audio"] == "side a"
    assert golden.count(where="audio = 'side b'") == 1
    (hit,) = golden.search("new word", k=1, attributes=True)
    assert (hit.audio, hit.attributes["audio"]) == (None, "side a")
    assert golden.upsert([item("x", "new word", audio="side a")]).unchanged == 1
    assert golden.retry_quarantine().quarantined == 1
    with pytest.raises(UnsupportedModality, match="this space has no audio encoder"):
        golden.search(audio=tone("low"))
    with pytest.raises(InvalidMapping, match="no encoder of audio for the column 'clip'"):
        golden.upsert([item("z", "new", clip=tone("low"))], audio="clip")


def test_a_golden_space_with_changed_weights_answers_and_goes_back(tmp_path):
    shutil.copytree(HERE / "aligned.space", tmp_path / "s")
    space = Space.open(tmp_path / "s", encoder=two_encoders())
    assert (space.settings.format, space.current_release) == (FORMAT, 2)
    assert space.weights == {"text": 1.0, "image": 3.0}
    assert [hit.item_id for hit in space.search("desert night", k=1)] == ["new"]
    assert space.rollback() == 1
    assert space.weights == {"text": 1.0, "image": 1.0}
    assert [hit.item_id for hit in space.search("desert night", k=1)] == ["new"]


def test_a_golden_recommender_answers_the_lists_it_was_stored_with(tmp_path):
    shutil.copytree(HERE / "trained.space", tmp_path / "s")
    space = Space.open(tmp_path / "s", encoder=two_encoders())
    assert space.settings.alignment == some_alignment().fingerprint
    assert space.weights == TRAINED_WEIGHTS
    for found, stored in zip(trained_lists(space), stored_lists(), strict=True):
        assert found["scores"] == pytest.approx(stored["scores"], abs=1e-4)
        assert certain(found) == certain(stored)


def stored_lists():
    return json.loads((HERE / LISTS).read_text())


def certain(ranked):
    """Return the items that score more than the last of a list, beyond rounding."""
    last = min(ranked["scores"]) + 1e-3
    return {i for i, score in zip(ranked["items"], ranked["scores"], strict=True) if score > last}
