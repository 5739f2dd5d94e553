"""Distillation: students are trained, saved, resumed after interruptions, and measured."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from isthmus import DistillSettings, distill, load_encoder
from isthmus.encoders.training.distillation import distill as training
from isthmus.encoders.training.losses import cosine_loss
from isthmus.errors import (
    InvalidInput,
    InvalidMapping,
    IsthmusError,
    MissingDependency,
    UnsupportedModality,
)
from isthmus.numerics import checkpoint
from tests.encoders import models
from tests.encoders.distillation.conftest import QUICK


class Interrupt(Exception):
    """Stands for Ctrl-C."""


def interrupt_after(number):
    def on_epoch(done, loss):
        if done == number:
            raise Interrupt

    return on_epoch


class Counting:
    """A teacher that counts the contents it encodes."""

    def __init__(self, encoder):
        self.encoder, self.encoded = encoder, 0

    def __getattr__(self, name):
        return getattr(self.encoder, name)

    def encode(self, batch, modality="text"):
        self.encoded += len(batch)
        return self.encoder.encode(batch, modality)


def test_training_brings_a_static_student_closer_to_its_teacher(teacher, texts, tmp_path):
    start = distill(teacher, "static", texts, tmp_path / "a", settings=replace(QUICK, epochs=0))
    made = distill(teacher, "static", texts, tmp_path / "b", settings=replace(QUICK, epochs=20))
    assert made.losses[-1] < made.losses[0]
    assert made.quality.cosine > start.quality.cosine
    assert made.quality.cosine > 0.97


def test_a_small_transformer_learns(teacher, texts, tmp_path):
    student = f"transformers/{models.bert_folder(tmp_path / 'start', 5)}"
    made = distill(teacher, student, texts, tmp_path / "b", settings=replace(QUICK, epochs=6))
    assert made.losses[-1] < made.losses[0] / 2
    before, after = load_encoder(student, device="cpu"), load_encoder(made.student, device="cpu")
    assert (before.dim, after.dim, teacher.dim) == (32, 32, 16)
    assert before.components["weights"] != after.components["weights"]


def test_a_timm_model_learns_from_images_and_bad_ones_are_named(tmp_path):
    given = tmp_path / "pictures"
    given.mkdir()
    random = np.random.default_rng(0)
    for n in range(30):
        noise = random.integers(0, 255, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(noise).save(given / f"{n:02}.png")
    (given / "99.png").write_bytes(b"no picture")
    teacher = f"transformers/{models.vit_folder(tmp_path / 'teacher')}"
    student = f"timm/test_vit:{models.timm_checkpoint(tmp_path / 'start', 3)}"
    settings = replace(QUICK, epochs=3, batch_size=8)
    made = distill(teacher, student, given, tmp_path / "out", modality="image", settings=settings)
    assert [row for row, _ in made.problems] == [30]
    assert made.problems[0][1].startswith("not an image in a known format; JPEG, PNG,")
    assert made.losses[-1] < made.losses[0]
    encoder = load_encoder(made.student, device="cpu")
    assert encoder.modalities == {"image"}
    assert encoder.fingerprint == made.student_fingerprint


@pytest.mark.parametrize("kind", ["static", "transformers", "sentence-transformers"])
def test_a_resumed_run_ends_with_the_same_student(kind, teacher, texts, tmp_path):
    starts = {
        "static": lambda: "static",
        "transformers": lambda: f"transformers/{models.bert_folder(tmp_path / 's', 5)}",
        "sentence-transformers": lambda: (
            f"sentence-transformers/{models.sentence_folder(tmp_path / 's', 5)}"
        ),
    }
    student, counting = starts[kind](), Counting(teacher)
    whole = distill(teacher, student, texts, tmp_path / "whole", settings=QUICK)
    with pytest.raises(Interrupt):
        distill(counting, student, texts, tmp_path / "cut", settings=QUICK,
                on_epoch=interrupt_after(2))  # fmt: skip
    encoded, seen = counting.encoded, []
    cut = distill(teacher, student, texts, tmp_path / "cut", settings=QUICK,
                  on_epoch=lambda number, loss: seen.append(number))  # fmt: skip
    assert encoded >= whole.distinct
    assert seen == [3]
    assert cut.losses == whole.losses
    assert cut.student_fingerprint == whole.student_fingerprint


def test_a_run_resumed_within_an_epoch_ends_with_the_same_student(
    teacher, texts, tmp_path, monkeypatch
):
    whole = distill(teacher, "static", texts, tmp_path / "whole", settings=QUICK)
    steps = iter(range(8))  # a pass has five

    def fail_at_last(*vectors):
        if next(steps, None) is None:
            raise Interrupt
        return cosine_loss(*vectors)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "SECONDS_BETWEEN", -1.0)
        patched.setattr(training, "cosine_loss", fail_at_last)
        with pytest.raises(Interrupt):
            distill(teacher, "static", texts, tmp_path / "cut", settings=QUICK)
    seen = []
    cut = distill(teacher, "static", texts, tmp_path / "cut", settings=QUICK,
                  on_epoch=lambda number, loss: seen.append(number))  # fmt: skip
    assert seen == [2, 3]
    assert cut.losses == whole.losses
    assert cut.student_fingerprint == whole.student_fingerprint


def test_the_teacher_encodes_each_content_once(teacher, texts, tmp_path):
    first, again = Counting(teacher), Counting(teacher)
    distill(first, "static", texts, tmp_path / "out", settings=QUICK)
    timed = distill(again, "static", [*texts, "a red zorb of quix of zorb"], tmp_path / "out",
                    settings=QUICK).speed.contents  # fmt: skip
    assert first.encoded > len(set(texts))
    assert again.encoded == 1 + 3 * timed + min(8, timed)  # the new text; the rest is measuring


def test_the_seed_determines_the_student(teacher, texts, tmp_path):
    def make(name, seed):
        settings = replace(QUICK, seed=seed)
        return distill(teacher, "static", texts, tmp_path / name, settings=settings)

    first, same, other = make("a", 1), make("b", 1), make("c", 2)
    assert first.student_fingerprint == same.student_fingerprint
    assert first.student_fingerprint != other.student_fingerprint


def test_a_checkpoint_of_other_settings_is_ignored(teacher, texts, tmp_path):
    distill(teacher, "static", texts, tmp_path / "a", settings=QUICK)
    changed = replace(QUICK, temperature=0.2)
    made = distill(teacher, "static", texts, tmp_path / "a", settings=changed)
    fresh = distill(teacher, "static", texts, tmp_path / "b", settings=changed)
    assert made.losses == fresh.losses


@pytest.mark.parametrize("storage", ["int8", "float16", "float32"])
def test_model2vec_opens_the_student_with_the_same_vectors(storage, teacher, texts, tmp_path):
    from model2vec import StaticModel

    settings = replace(QUICK, storage=storage)
    made = distill(teacher, "static", texts, tmp_path / "out", settings=settings)
    peer = StaticModel.from_pretrained(tmp_path / "out").encode(texts[:50], normalize=True)
    ours = load_encoder(made.student, device="cpu").encode(texts[:50])
    np.testing.assert_allclose(ours, peer, atol=2e-3 if storage == "float16" else 1e-6)


def test_int8_changes_little_and_is_smaller(teacher, texts, tmp_path):
    vectors, sizes = {}, {}
    for storage in ("int8", "float32"):
        settings = replace(QUICK, storage=storage)
        made = distill(teacher, "static", texts, tmp_path / storage, settings=settings)
        vectors[storage] = load_encoder(made.student, device="cpu").encode(texts)
        sizes[storage] = (tmp_path / storage / "model.safetensors").stat().st_size
    assert (vectors["int8"] * vectors["float32"]).sum(1).min() > 0.999
    assert sizes["int8"] < sizes["float32"] / 2


def test_frequent_words_become_tokens_and_rare_ones_stay_in_pieces(teacher, texts, tmp_path):
    given = [*texts, "a wug", "red wug"]  # twice is too rare
    distill(teacher, "static", given, tmp_path / "out", settings=replace(QUICK, held_out=0.01))
    vocabulary = json.loads((tmp_path / "out" / "tokenizer.json").read_text())["model"]["vocab"]
    assert {"zorb", "quix"} <= vocabulary.keys()
    assert "wug" not in vocabulary
    distill(teacher, "static", given, tmp_path / "none", settings=replace(QUICK, max_words=0))
    vocabulary = json.loads((tmp_path / "none" / "tokenizer.json").read_text())["model"]["vocab"]
    assert "zorb" not in vocabulary


def test_bad_texts_are_reported_and_stop_nothing(teacher, texts, tmp_path):
    given = [None, *texts[:150], "", "  \t ", 7, "\ud800", texts[0]]
    made = distill(teacher, "static", given, tmp_path / "out", settings=QUICK)
    assert made.problems == (
        (0, "is null"),
        (151, "is empty"),
        (152, "is empty"),
        (153, "is a int, not a text"),
        (154, "is no valid Unicode"),
    )
    assert (made.rows_read, made.distinct) == (156, len(set(texts[:150])))


def test_the_report_is_written_beside_the_model(teacher, texts, tmp_path):
    made = distill(teacher, "static", texts, tmp_path / "out", settings=QUICK)
    stored = json.loads((tmp_path / "out" / "distillation.json").read_text())
    assert stored == json.loads(json.dumps(made.as_dict()))
    assert stored["quality"]["held_out"] + made.trained == made.distinct == len(set(texts))
    assert stored["student"] == f"static/{tmp_path / 'out'}"
    assert load_encoder(stored["student"]).fingerprint == stored["student_fingerprint"]
    assert stored["speed"]["ratio"] == pytest.approx(made.speed.student / made.speed.teacher)
    assert stored["size_ratio"] == pytest.approx(made.teacher_bytes / made.student_bytes)


def test_a_student_equal_to_its_teacher_keeps_everything(teacher, texts, tmp_path):
    student = teacher.spec
    labelled = [{"text": text, "first": text.split()[0]} for text in texts]
    made = distill(teacher, student, labelled, tmp_path / "out", label="first",
                   settings=replace(QUICK, epochs=0))  # fmt: skip
    assert made.quality.recall_kept == 1.0
    assert made.quality.similarity_kept == pytest.approx(1.0)
    assert made.quality.cosine == pytest.approx(1.0, abs=1e-5)
    assert made.quality.ndcg_kept == 1.0
    assert made.student_fingerprint == teacher.fingerprint


def test_files_templates_and_labels(teacher, texts, tmp_path):
    rows = [{"title": text, "colour": text[0], "more": None} for text in texts]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "items.parquet")
    (tmp_path / "plain.txt").write_text("\n".join(["a zorb", "", *texts[:40]]))
    made = distill(teacher, "static", tmp_path / "items.parquet", tmp_path / "a",
                   text="{title}. {more}", label="colour", settings=QUICK)  # fmt: skip
    assert 0 < made.quality.ndcg_teacher <= 1
    assert made.quality.labelled > 0
    plain = distill(teacher, "static", [tmp_path / "plain.txt"], tmp_path / "b", settings=QUICK)
    assert plain.problems == ((1, "is empty"),)
    assert plain.quality.ndcg_teacher is None


def test_labels_of_few_contents_are_held_out_whole(teacher, tmp_path):
    rows = [{"text": f"{a} {b}", "pair": a} for a in "abcdefghijklmnop" for b in "qrstu"]
    made = distill(teacher, "static", rows, tmp_path / "out", label="pair", settings=QUICK)
    assert made.quality.labelled == made.quality.held_out
    assert made.quality.held_out % 5 == 0


def test_unusable_inputs_are_refused(teacher, texts, tmp_path):
    image = f"transformers/{models.vit_folder(tmp_path / 'image')}"
    table = pa.Table.from_pylist([{"title": text} for text in texts])
    out = tmp_path / "out"
    with pytest.raises(InvalidInput, match=r"1 distinct contents of 2 rows.*row 1: is null"):
        distill(teacher, "static", ["a hat", None], out)
    with pytest.raises(InvalidMapping, match=r"no column 'text', only title; .*--text"):
        distill(teacher, "static", table, out)
    with pytest.raises(UnsupportedModality, match="not text"):
        distill(image, "static", texts, out)
    with pytest.raises(UnsupportedModality, match="a static student takes text, not image"):
        distill(image, "static", [tmp_path], out, modality="image")
    with pytest.raises(UnsupportedModality, match="not text"):
        distill(teacher, image, texts, out)
    with pytest.raises(InvalidInput, match="'local/image' cannot be trained further"):
        distill(teacher, "local/image", texts, out)
    with pytest.raises(InvalidInput, match="holds something else than a distilled encoder"):
        distill(teacher, "static", texts, tmp_path / "image")
    with pytest.raises(InvalidInput, match=r"of 9\d* distinct contents, \d would be held out"):
        distill(teacher, "static", [f"{a} {b}" for a in "abcdefghij" for b in "abcdefghi"], out,
                settings=DistillSettings(held_out=1e-9))  # fmt: skip


@pytest.mark.parametrize(
    ("student", "interactions", "reason"),
    [
        ("transformers//no/such/folder", None, "nothing is at /no/such/folder"),
        ("static", [{"user_id": "u", "item_id": "x"}], "recommendation cannot be measured"),
    ],
)
def test_unusable_inputs_are_refused_before_the_teacher_encodes(
    student, interactions, reason, teacher, texts, tmp_path
):
    counting = Counting(teacher)
    rows = [{"item_id": str(n), "text": text} for n, text in enumerate(texts)]
    with pytest.raises(IsthmusError, match=reason):
        distill(
            counting, student, rows, tmp_path / "out", interactions=interactions, settings=QUICK
        )
    assert counting.encoded == 0


def test_neither_teacher_nor_student_is_overwritten(teacher, texts, tmp_path):
    spec = distill(teacher, "static", texts, tmp_path / "out", settings=QUICK).student
    for one, other in ((spec, "static"), (load_encoder(spec), "static"), (teacher, spec)):
        with pytest.raises(InvalidInput, match=r"out holds 'static/.*', which would"):
            distill(one, other, texts, tmp_path / "out", settings=QUICK)


@pytest.mark.parametrize(
    "setting",
    [{"epochs": -1}, {"batch_size": 1}, {"learning_rate": 0}, {"temperature": 0},
     {"storage": "int4"}, {"held_out": 1.0}, {"max_words": -1}, {"similarity_weight": -1}],
)  # fmt: skip
def test_settings_out_of_range_are_refused(setting):
    (name,) = setting
    with pytest.raises(InvalidInput, match=f"{name} is .*; give "):
        DistillSettings(**setting)


def test_without_model2vec_the_command_that_installs_it_is_named(
    teacher, texts, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "model2vec", None)
    with pytest.raises(MissingDependency, match=r"pip install 'isthmus\[distill\]'"):
        distill(teacher, "static", texts, tmp_path / "out", settings=QUICK)


def test_unseen_pieces_may_be_left_out(teacher, texts, tmp_path):
    whole = distill(teacher, "static", texts, tmp_path / "all", settings=QUICK)
    counting = Counting(teacher)
    few = [text.replace("blue", "red") for text in texts]
    settings = replace(QUICK, pieces="seen")
    made = distill(counting, "static", few, tmp_path / "seen", settings=settings)
    kept = json.loads((tmp_path / "seen" / "tokenizer.json").read_text())["model"]["vocab"]
    everything = json.loads((tmp_path / "all" / "tokenizer.json").read_text())["model"]["vocab"]
    assert kept.keys() < everything.keys()
    assert "blue" not in kept
    assert {"[PAD]", "[UNK]", "red", "zorb", "b", "##u"} <= kept.keys()
    assert sorted(kept.values()) == list(range(len(kept)))
    student = load_encoder(made.student, device="cpu")
    assert np.isfinite(student.encode(["blue shoe"])).all()  # spelled
    assert made.quality.cosine == pytest.approx(whole.quality.cosine, abs=0.05)
    with pytest.raises(InvalidInput, match="pieces is 'some'; give one of"):
        replace(QUICK, pieces="some")
