"""Audio in a space, through its public face."""

from __future__ import annotations

import base64

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isthmus import Space
from isthmus.encoders import Waveform, decoder_pool, load_encoder
from isthmus.encoders.decoder_pool import DecoderPool
from isthmus.errors import (
    InvalidAudio,
    InvalidInput,
    InvalidItems,
    InvalidMapping,
    MissingDependency,
    UnsupportedModality,
)
from tests.encoders import models
from tests.encoders.sounds import file_of, noise, sine, written
from tests.toy import ToyEncoder, item, picture, sound_encoder, text_encoder, tone, two_encoders


def ids(hits):
    return [hit.item_id for hit in hits]


@pytest.fixture
def sounds(tmp_path):
    """An empty space in which a low tone and the word low are the same."""
    return Space.create(tmp_path / "sounds.space", sound_encoder())


@pytest.fixture
def filled(sounds):
    sounds.upsert(
        [
            item("low", "", "songs", audio=tone("low")),
            item("high", "", "songs", audio=tone("high"), year=1990),
            item("both", "middle", "songs", audio=tone("middle")),
            item("text", "low sea", "books"),
        ]
    )
    return sounds


@pytest.fixture(scope="module")
def clap(tmp_path_factory):
    return f"clap/{models.clap_folder(tmp_path_factory.mktemp('clap') / 'model')}"


# Searching


def test_text_finds_audio_and_audio_finds_items(filled):
    assert filled.settings.layout[0].modalities == ("text", "audio")
    assert ids(filled.search("high", k=1)) == ["high"]
    assert ids(filled.search("low", domain="songs", k=1)) == ["low"]
    assert ids(filled.search(audio=tone("high", 16_000), k=1)) == ["high"]
    assert ids(filled.search(audio=tone("low"), k=2)) == ["low", "text"]
    assert ids(filled.search(audio=tone("low"), domain="books", k=1)) == ["text"]
    assert ids(filled.similar("low", k=1)) == ["text"]


def test_an_audio_query_is_a_file_bytes_or_a_waveform(filled, tmp_path):
    (tmp_path / "a.wav").write_bytes(tone("high"))
    for query in (tmp_path / "a.wav", str(tmp_path / "a.wav"), tone("high"), sine(1_500)):
        (hit,) = filled.search(audio=query, k=1)
        assert (hit.item_id, round(hit.score, 5)) == ("high", 1)
    both = filled.search("high", audio=tone("low"), k=2)
    assert set(ids(both)) == {"high", "low"}
    assert ids(filled.search(audio=tone("low"), like="text", k=1)) == ["low"]


def test_hits_and_items_carry_their_audio(filled):
    (hit,) = filled.search("high", k=1, attributes=True)
    assert hit.audio.startswith("media:")
    assert hit.attributes == {"year": 1990}
    assert hit.as_dict()["audio"] == hit.audio
    assert filled.get("high")["audio"] == hit.audio
    assert filled.get("both")["modalities"] == ["text", "audio"]
    assert filled.get("text")["audio"] is None
    assert filled.count(where="audio IS NOT NULL") == 3
    assert filled.media.read(hit.audio) == tone("high")


def test_what_is_looked_for_must_be_audio(filled, tmp_path):
    with pytest.raises(InvalidAudio, match="not audio in a known format"):
        filled.search(audio=b"nonsense")
    with pytest.raises(InvalidInput, match="no audio file"):
        filled.search(audio=tmp_path / "absent.wav")
    with pytest.raises(InvalidInput, match="text, image and audio, not by all"):
        filled.search(audio=tone("low"), vector=np.ones(64))
    with pytest.raises(UnsupportedModality, match="no image encoder, only text, audio"):
        filled.search(image=picture("red"))


def test_a_space_without_audio_refuses_audio(space):
    with pytest.raises(UnsupportedModality, match="this space has no audio encoder"):
        space.search(audio=tone("low"))
    with pytest.raises(InvalidMapping, match="no encoder of audio for the column 'clip'"):
        space.upsert([item("a", "x", clip="a.wav")], audio="clip")


def test_a_release_is_measured_with_audio_as_queries(filled):
    manifest = filled.publish()
    measured = {(row.vector_name, row.kind) for row in manifest.recall if row.domain == "songs"}
    assert {("joint", "audio to item"), ("joint", "text to item")} <= measured
    assert manifest.worst_recall == 1
    assert ids(filled.search(audio=tone("high"), k=1)) == ["high"]
    stats = filled.status()
    assert stats["named_vectors"] == {"joint": {"dim": 64, "modalities": ("text", "audio")}}
    assert stats["aligned"] is True


def test_recipes_are_planned_with_audio_as_queries(sounds, monkeypatch):
    monkeypatch.setattr("isthmus.index.releases.publish.MIN_PLANNED_ROWS", 50)
    rates = range(8_000, 8_060)
    sounds.upsert([item(f"{r}", f"word {r}", audio=tone("low", r)) for r in rates])
    (plan,) = sounds.plan()
    assert {"audio to item", "text to item"} <= plan.table[0].sample.recall.keys()


def test_audio_alone_is_a_named_vector(tmp_path):
    encoders = {**two_encoders(), "audio": ToyEncoder("audio", dim=16, salt="audio")}
    space = Space.create(tmp_path / "s", encoders)
    space.upsert([item("a", "sea", image=picture("red")), item("b", "", audio=tone("low"))])
    assert space.status()["aligned"] is False
    assert ids(space.search(audio=tone("low"))) == ["b"]
    kinds = {(row.vector_name, row.kind) for row in space.publish().recall}
    assert ("audio", "item to item") in kinds
    with pytest.raises(UnsupportedModality, match=r"text cannot find .* only audio.*clap/NAME"):
        space.search("sea", where="audio IS NOT NULL")


def test_a_file_of_queries_may_hold_audio(filled, tmp_path):
    (tmp_path / "q.wav").write_bytes(tone("high"))
    rows = [
        {"query_id": "path", "audio": "q.wav", "text": None},
        {"query_id": "text", "text": "middle"},
        {"query_id": "bad", "audio": "absent.wav"},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "q.parquet")
    report = filled.search_file(tmp_path / "q.parquet", tmp_path / "out.parquet", k=1)
    found = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [(row["query_id"], row["item_id"]) for row in found] == [
        ("path", "high"),
        ("text", "both"),
    ]
    (problem,) = report.problems
    assert (problem.query_id, "no file" in problem.reason) == ("bad", True)
    inline = [{"query_id": "a", "audio": tone("low")}, {"query_id": "b", "audio": b"nonsense"}]
    report = filled.search_file(inline, tmp_path / "out.parquet", k=1)
    assert pq.read_table(tmp_path / "out.parquet").column("item_id").to_pylist() == ["low"]
    assert report.problems[0].reason == "not audio in a known format"


# Adding


def test_audio_comes_as_path_bytes_data_uri_or_struct(sounds, tmp_path):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/a.wav").write_bytes(tone("low"))
    uri = f"data:audio/wav;base64,{base64.b64encode(tone('middle')).decode()}"
    table = pa.table({"item_id": ["a", "b"], "clip": ["clips/a.wav", uri]})
    pq.write_table(table, tmp_path / "songs.parquet")
    sounds.upsert(tmp_path / "songs.parquet", domain="songs", audio="clip")
    structs = [{"item_id": "c", "audio": {"bytes": tone("high"), "path": "c.wav"}}]
    report = sounds.upsert(structs, domain="calls")
    assert report.encoded == {"text": 0, "audio": 1}
    for word, name in (("low", "a"), ("middle", "b"), ("high", "c")):
        assert ids(sounds.search(word, k=1)) == [name]
    assert sounds.get("a")["audio"] == str(tmp_path / "clips/a.wav")
    assert sounds.get("a")["attributes"] == {}


def test_the_same_audio_is_encoded_once_and_only_changes_again(sounds):
    items = [item(f"{n}", "the same", audio=tone("low")) for n in range(9)]
    assert sounds.upsert(items).encoded == {"text": 1, "audio": 1}
    assert sounds.upsert(items).unchanged == 9
    report = sounds.upsert([{**items[0], "audio": tone("high")}, *items[1:]])
    assert (report.changed, report.encoded) == (1, {"text": 0, "audio": 1})
    assert ids(sounds.search(audio=tone("high"), k=1)) == ["0"]


def test_an_item_needs_something_that_is_encoded(sounds):
    with pytest.raises(InvalidItems, match="row 1: has no text and no audio"):
        sounds.upsert([item("a", "", audio=tone("low")), item("b", "", audio=None)])
    with pytest.raises(InvalidItems, match="column 'audio' holds a int; give audio as a path"):
        sounds.upsert([{"item_id": "a", "domain": "d", "text": "t", "audio": 7}])
    with pytest.raises(InvalidMapping, match="an attribute cannot be called 'audio'"):
        sounds.upsert([item("a", "x", audio="side a", clip=tone("low"))], audio="clip")


LOW = tone("low")  # made while soundfile is there
BAD = {
    "nonsense": (b"nonsense", "not audio in a known format"),
    "cut": (tone("low")[:900], "cut off"),
    "silent": (file_of(Waveform(np.zeros(99, np.float32), 16_000)), "silent"),
    "nan": (written(np.float32([0, np.nan]), 16_000), "holds NaN"),
    "absent": ("absent.wav", "no file"),
    "uri": ("data:audio/wav;base64,***", "broken base64"),
    "long": (file_of(sine(200, 601, 1_000), "WAV", "PCM_U8"), "longer than 600 s"),
}


def test_bad_audio_goes_to_quarantine_and_stops_nothing(sounds):
    good = [item("good", "low", audio=tone("low"))]
    report = sounds.upsert([*(item(n, f"t{n}", audio=a) for n, (a, _) in BAD.items()), *good])
    assert (report.added, report.quarantined) == (len(BAD) + 1, len(BAD))
    assert report.encoded == {"text": len(BAD) + 1, "audio": 1}
    rows = {row["item_id"]: row for row in sounds.quarantine()}
    assert rows.keys() == BAD.keys()
    for name, (_, reason) in BAD.items():
        assert (rows[name]["modality"], rows[name]["attempts"]) == ("audio", 1)
        assert reason in rows[name]["reason"]
        assert sounds.get(name)["modalities"] == ["text"]
        assert ids(sounds.search(f"t{name}", k=1)) == [name]


def test_mended_audio_leaves_the_quarantine(sounds, tmp_path):
    sounds.upsert([item("a", "words", audio=str(tmp_path / "a.wav"))])
    assert sounds.quarantine()[0]["source"] == str(tmp_path / "a.wav")
    assert sounds.retry_quarantine().quarantined == 1
    assert sounds.quarantine()[0]["attempts"] == 2
    (tmp_path / "a.wav").write_bytes(tone("low"))
    assert sounds.retry_quarantine().quarantined == 0
    assert sounds.quarantine() == []
    assert ids(sounds.search(audio=tone("low"), k=1)) == ["a"]


def test_an_item_may_fail_in_two_modalities(tmp_path):
    space = Space.create(tmp_path / "s", ToyEncoder("text", "image", "audio"))
    space.upsert([item("a", "words", image=b"nonsense", audio=b"nonsense")])
    assert [row["modality"] for row in space.quarantine()] == ["audio", "image"]
    report = space.upsert([item("a", "words", image=picture("red"), audio=b"nonsense")])
    assert report.quarantined == 1
    assert [row["modality"] for row in space.quarantine()] == ["audio"]


def test_a_vector_of_nan_goes_to_quarantine(tmp_path):
    class Broken(ToyEncoder):
        def _vector(self, text):
            return super()._vector(text) * (np.nan if text == "low" else 1)

    space = Space.create(tmp_path / "s", Broken("text", "audio"))
    report = space.upsert([item("a", "x", audio=tone("low")), item("b", "y", audio=tone("high"))])
    assert (report.quarantined, report.encoded) == (1, {"text": 2, "audio": 1})
    assert space.quarantine()[0]["reason"] == (
        "the encoder gives a vector that holds NaN or infinity"
    )
    assert ids(space.search(audio=tone("high"), k=1)) == ["b"]


def test_without_soundfile_the_job_stops_and_says_why(sounds, monkeypatch):
    start = "import sys; sys.modules['soundfile'] = None; " + decoder_pool._START
    monkeypatch.setattr(decoder_pool, "_START", start)
    monkeypatch.setattr(decoder_pool, "_pool", DecoderPool(1))
    with pytest.raises(MissingDependency, match=r"pip install 'isthmus\[audio\]'"):
        sounds.upsert([item("a", "x", audio=LOW)])
    assert sounds.count() == 0
    assert sounds.quarantine() == []


# CLAP


def test_a_space_of_clap(clap, tmp_path):
    space = Space.create(tmp_path / "s", clap, device="cpu")
    space.upsert(
        [
            item("tone", "", "songs", audio=file_of(sine(440, 2.2, 48_000))),
            item("noise", "", "songs", audio=file_of(noise(0.7), channels=2)),
            item("shoe", "a red shoe", "shoes"),
        ]
    )
    assert [b.name for b in space.settings.layout] == ["joint"]
    assert ids(space.search(audio=sine(440, 2.2), k=1)) == ["tone"]
    assert ids(space.search(audio=noise(0.7), k=1)) == ["noise"]
    assert ids(space.search("a red shoe", k=1)) == ["shoe"]
    encoder = load_encoder(clap, device="cpu")
    text, audio = encoder.encode(["hat"]), encoder.encode([noise(0.7)], "audio")
    scores = {hit.item_id: hit.score for hit in space.search("hat", domain="songs")}
    assert scores["noise"] == pytest.approx(float(text[0] @ audio[0]), abs=1e-5)
    assert space.publish().worst_recall == 1
    again = Space.open(tmp_path / "s", device="cpu")
    assert ids(again.search(audio=noise(0.7), k=1)) == ["noise"]
    assert again.settings.components["audio.audio.windows"].startswith("16000 samples every 12000")


def test_encoders_of_one_spec_share_a_named_vector(clap, tmp_path):
    space = Space.create(
        tmp_path / "s",
        text_encoder=clap,
        audio_encoder=clap,
        image_encoder=ToyEncoder("image", dim=8),
        device="cpu",
    )
    assert [(b.name, b.modalities) for b in space.settings.layout] == [
        ("joint", ("text", "audio")),
        ("image", ("image",)),
    ]


def test_an_audio_encoder_beside_one_of_text(tmp_path):
    folder = models.wav2vec2_folder(tmp_path / "model")
    space = Space.create(
        tmp_path / "s",
        text_encoder=text_encoder(),
        audio_encoder=f"transformers/{folder}",
        device="cpu",
    )
    space.upsert(
        [item("a", "x", audio=file_of(sine(440))), item("b", "y", audio=file_of(noise(1)))]
    )
    assert ids(space.search(audio=sine(440), k=1)) == ["a"]
    assert ids(space.search("y", k=1)) == ["b"]
    assert ids(space.similar("a", k=1)) == ["b"]
