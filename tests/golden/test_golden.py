"""A space written in an earlier format still opens and answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from isthmus import Space
from isthmus.errors import InvalidMapping, UnsupportedModality
from tests.encoders.alignment.test_alignment import some_alignment
from tests.golden.make_planned import ITEMS, RECIPE, text_of
from tests.golden.make_trained import WEIGHTS, lists
from tests.toy import item, picture, sound_encoder, text_encoder, tone, two_encoders

HERE = Path(__file__).parent


@pytest.fixture(params=["format_1.space"])
def golden(request, tmp_path):
    shutil.copytree(HERE / request.param, tmp_path / "s")
    return Space.open(tmp_path / "s", encoder=two_encoders())


def test_a_golden_space_answers(golden):
    assert golden.count() == 5
    assert golden.current_release == 2
    assert [hit.item_id for hit in golden.search("sea storm ship", k=2)] == ["f1", "b1"]
    assert [hit.item_id for hit in golden.search("desert night", k=1)] == ["new"]
    assert [hit.item_id for hit in golden.search(image=picture("blue", 4), k=1)] == ["b1"]
    assert golden.get("f2")["attributes"] == {"year": 2001, "pages": None, "minutes": None}
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
    assert (segment_vectors.recipe, segment_vectors.vectors) == (RECIPE, ITEMS)
    assert space.stats()["index"]["text"]["recipe"].startswith(RECIPE)
    view = space._live.now()
    queries = view.vectors("text", np.arange(0, ITEMS, 11)).vectors
    best, _ = view.exact("text", queries, 10)
    found, _ = view.search("text", queries, 10)
    assert (found >= best[:, -1:] - 1e-5).mean() >= 0.95
    assert space.search("quite new", k=1)[0].item_id == "new"
    assert "i7" not in {hit.item_id for hit in space.search(text_of(7), k=40)}
    assert len(space.search(text_of(7), k=40, where="n % 2 = 0", domain="a")) == 40


def test_a_golden_alignment_answers_and_is_rolled_back_to(tmp_path):
    shutil.copytree(HERE / "format_2.space", tmp_path / "s")
    space = Space.open(tmp_path / "s", encoder=two_encoders())
    assert space.settings.alignment == some_alignment().fingerprint
    assert [hit.item_id for hit in space.search("sea", domain="pictures")] == ["seen"]
    assert [hit.item_id for hit in space.search("desert night", k=1)] == ["new"]
    assert space.publish().number == 2
    assert space.rollback() == 1
    assert space.count() == 7


def test_a_golden_space_with_audio_answers_and_takes_more(tmp_path):
    shutil.copytree(HERE / "format_3.space", tmp_path / "s")
    sounds = sound_encoder()
    encoders = {"text": sounds, "image": two_encoders()["image"], "audio": sounds}
    space = Space.open(tmp_path / "s", encoder=encoders)
    assert space.settings.format == 3
    assert [hit.item_id for hit in space.search("high", k=1)] == ["s2"]
    assert [hit.item_id for hit in space.search(audio=tone("middle", 16_000), k=1)] == ["new"]
    assert [(row["item_id"], row["modality"]) for row in space.quarantine()] == [("bad", "audio")]
    report = space.upsert([item("again", "", "songs", audio=tone("low"))])
    assert report.encoded == {"text": 0, "image": 0, "audio": 0}
    assert space.publish().number == 2


def test_a_space_without_audio_keeps_an_attribute_of_that_name(golden):
    golden.upsert([item("x", "new word", audio="side a"), item("y", "other", audio="side b")])
    assert golden.settings.format == 1
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
    shutil.copytree(HERE / "format_4.space", tmp_path / "s")
    space = Space.open(tmp_path / "s", encoder=two_encoders())
    assert (space.settings.format, space.current_release) == (4, 2)
    assert space.weights == {"text": 1.0, "image": 3.0}
    assert [hit.item_id for hit in space.search("desert night", k=1)] == ["new"]
    assert space.rollback() == 1
    assert space.weights == {"text": 1.0, "image": 1.0}
    assert [hit.item_id for hit in space.search("desert night", k=1)] == ["new"]


def test_a_golden_recommender_answers_the_lists_it_was_stored_with(tmp_path):
    shutil.copytree(HERE / "trained.space", tmp_path / "s")
    space = Space.open(tmp_path / "s", encoder=two_encoders())
    assert space.settings.alignment == some_alignment().fingerprint
    assert space.weights == WEIGHTS
    for found, stored in zip(lists(space), stored_lists(), strict=True):
        assert found["scores"] == pytest.approx(stored["scores"], abs=1e-4)
        assert certain(found) == certain(stored)


def stored_lists():
    return json.loads((HERE / "trained_lists.json").read_text())


def certain(ranked):
    """Return the items that score more than the last of a list, beyond rounding."""
    last = min(ranked["scores"]) + 1e-3
    return {i for i, score in zip(ranked["items"], ranked["scores"], strict=True) if score > last}
