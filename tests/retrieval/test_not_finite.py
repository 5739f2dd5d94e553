"""A vector that is not finite is stored nowhere, whatever the modality and the verb."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus import Space
from tests.toy import ToyEncoder, picture

REASON = "the encoder gives a vector that holds NaN or infinity"


class Faulty(ToyEncoder):
    """A toy encoder that returns `value` for texts with the word ``bad`` and for 7 x 7 pictures."""

    value = np.nan

    def embed(self, prepared, modality):
        vectors = super().embed(prepared, modality)
        for row, content in enumerate(prepared):
            bad = "bad" in str(content) if modality == "text" else content.size == (7, 7)
            vectors[row] = self.value if bad else vectors[row]
        return vectors


CONTENTS = {
    "text": ({"text": "a good word"}, {"text": "a bad word"}),
    "image": ({"image": picture("red", 5)}, {"image": picture("red", 7)}),
}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("modality", ["text", "image"])
def test_it_goes_to_quarantine_and_the_batch_goes_on(tmp_path, modality, value):
    encoder = Faulty(modality, dim=8)
    encoder.value = value
    space = Space.create(tmp_path / "s", encoder)
    good, bad = CONTENTS[modality]
    report = space.upsert(
        [{"item_id": "g", "domain": "d", **good}, {"item_id": "b", "domain": "d", **bad}]
    )
    assert (report.added, report.quarantined, report.encoded) == (2, 1, {modality: 1})
    (row,) = space.quarantine()
    assert (row["item_id"], row["modality"], row["reason"]) == ("b", modality, REASON)
    assert space.get("b")["modalities"] == []
    assert [hit.item_id for hit in space.similar("g", k=5)] == []
    assert space.count() == 1


def test_a_retry_after_the_encoder_is_mended_leaves_nothing_in_quarantine(tmp_path):
    encoder = Faulty("text", dim=8)
    space = Space.create(tmp_path / "s", encoder)
    space.upsert([{"item_id": "b", "domain": "d", "text": "a bad word"}])
    assert space.retry_quarantine().quarantined == 1
    assert space.quarantine()[0]["attempts"] == 2
    mended = Space.open(space.path, encoder=ToyEncoder("text", dim=8))
    assert mended.retry_quarantine().quarantined == 0
    assert mended.quarantine() == []
    assert [hit.item_id for hit in mended.search("bad", k=1)] == ["b"]


def test_another_text_leaves_the_quarantine_of_the_former(tmp_path):
    space = Space.create(tmp_path / "s", Faulty("text", dim=8))
    space.upsert([{"item_id": "b", "domain": "d", "text": "a bad word"}])
    space.upsert([{"item_id": "b", "domain": "d", "text": "another word"}])
    assert space.quarantine() == []
    assert space.get("b")["modalities"] == ["text"]


def test_reembedding_quarantines_texts_too(tmp_path):
    space = Space.create(tmp_path / "s", ToyEncoder("text", dim=8))
    space.upsert(
        [{"item_id": f"i{n}", "domain": "d", "text": f"{'bad' if n == 3 else 'word'} {n}"}
         for n in range(6)]
    )  # fmt: skip
    space.publish()
    report = space.reembed(Faulty("text", dim=8, salt="other"))
    assert report.quarantined == 1
    assert [(row["item_id"], row["reason"]) for row in space.quarantine()] == [("i3", REASON)]
    assert space.count() == 5
