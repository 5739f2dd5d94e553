"""Fine-tuning: pairs are learned, other domains kept, runs resumed, encoders measured."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isthmus import FinetuneSettings, OtherDomain, finetune, load_encoder
from isthmus.encoders.training.finetuning import training
from isthmus.encoders.training.finetuning.quality import MAX_ANCHORS, split_domain
from isthmus.encoders.training.losses import symmetric_contrastive
from isthmus.errors import InvalidInput, InvalidMapping, MissingDependency, UnsupportedModality
from isthmus.numerics import checkpoint
from tests.encoders import models
from tests.encoders.finetuning.conftest import QUICK
from tests.toy import picture


class Interrupt(Exception):
    """Stands for Ctrl-C."""


def interrupt_after(number):
    def on_epoch(done, loss):
        if done == number:
            raise Interrupt

    return on_epoch


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return f"transformers/{models.bert_folder(tmp_path_factory.mktemp('start') / 'bert')}"


def run(start, pairs, out, **changed):
    given = {name: changed.pop(name) for name in ("others", "on_epoch") if name in changed}
    return finetune(start, pairs, out, settings=replace(QUICK, **changed), device="cpu", **given)


@pytest.mark.parametrize(("method", "layers"), [("lora", None), ("lora", 1), ("full", None)])
def test_fine_tuning_improves_unseen_pairs(start, pairs, tmp_path, method, layers):
    rate = 1e-2 if method == "lora" else 3e-3
    made = run(start, pairs, tmp_path / "out", method=method, layers=layers, learning_rate=rate,
               epochs=30, patience=30)  # fmt: skip
    assert made.losses[-1] < made.losses[0]
    assert made.target.ratio.value > 1.2
    assert made.training_pairs + made.validation_pairs + made.test_pairs == made.pairs == len(pairs)
    assert (made.target.queries, made.target.searched) == (2 * made.test_pairs, 2 * made.test_pairs)


def test_the_saved_encoder_is_the_measured_one(start, pairs, letters, tmp_path):
    made = run(start, pairs, tmp_path / "out", others=[letters])
    before, after = load_encoder(start, device="cpu"), load_encoder(made.after, device="cpu")
    assert (before.fingerprint, after.fingerprint) == (
        made.before_fingerprint, made.after_fingerprint)  # fmt: skip
    assert before.fingerprint != after.fingerprint
    assert before.dim == after.dim
    stored = json.loads((tmp_path / "out" / "finetuning.json").read_text())
    assert stored == json.loads(json.dumps(made.as_dict()))
    assert [one.share for one in made.shares] == [0.0, 1.0, 0.75, 0.5, 0.25]
    assert made.share == max(made.shares, key=lambda one: (one.target, -one.share)).share
    assert made.shares[0].target == made.validation_scores[0]
    assert made.shares[1].target == pytest.approx(made.validation_scores[made.best_epoch], abs=0.02)
    assert made.other_domains["letters"].measure == "labels"
    assert not (tmp_path / "out" / "work" / "shares").exists()


def test_cached_outputs_of_frozen_layers_change_nothing(start, pairs, letters, tmp_path):
    from isthmus.encoders.training.finetuning import network

    skipped = run(start, pairs, tmp_path / "a", layers=1, others=[letters])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(network, "MAX_STATE_BYTES", 0)
        whole = run(start, pairs, tmp_path / "b", layers=1, others=[letters])
    assert (skipped.skipped_frozen, whole.skipped_frozen) == (True, False)
    assert skipped.losses == pytest.approx(whole.losses, abs=1e-4)
    assert run(start, pairs, tmp_path / "c").skipped_frozen is False


def test_lower_layers_stay_unchanged(start, pairs, tmp_path):
    made = run(start, pairs, tmp_path / "out", layers=1, method="full", learning_rate=1e-2)
    states = [load_encoder(spec, device="cpu").model.state_dict() for spec in (start, made.after)]
    moved = {
        name
        for name in states[0]
        if "pooler" not in name and not states[0][name].equal(states[1][name])
    }
    assert moved
    assert all(name.startswith("encoder.layer.1.") for name in moved)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_resumed_run_ends_with_the_same_encoder(start, pairs, letters, tmp_path, method):
    given = {"others": [letters], "method": method, "epochs": 3, "layers": 1}
    whole = run(start, pairs, tmp_path / "whole", **given)
    with pytest.raises(Interrupt):
        run(start, pairs, tmp_path / "cut", on_epoch=interrupt_after(1), **given)
    seen = []
    cut = run(start, pairs, tmp_path / "cut", on_epoch=lambda n, loss: seen.append(n), **given)
    assert seen == list(range(2, len(whole.losses) + 1))
    assert (cut.losses, cut.validation_scores) == (whole.losses, whole.validation_scores)
    assert cut.after_fingerprint == whole.after_fingerprint


def test_a_run_resumed_within_an_epoch_ends_with_the_same_encoder(
    start, pairs, tmp_path, monkeypatch
):
    whole = run(start, pairs, tmp_path / "whole", batch_size=4)
    steps = iter(range(3))

    def fail_at_last(*given):
        if next(steps, None) is None:
            raise Interrupt
        return symmetric_contrastive(*given)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "SECONDS_BETWEEN", -1.0)
        patched.setattr(training, "symmetric_contrastive", fail_at_last)
        with pytest.raises(Interrupt):
            run(start, pairs, tmp_path / "cut", batch_size=4)
    cut = run(start, pairs, tmp_path / "cut", batch_size=4)
    assert cut.losses == whole.losses
    assert cut.after_fingerprint == whole.after_fingerprint


def test_a_checkpoint_of_other_settings_is_ignored(start, pairs, tmp_path):
    run(start, pairs, tmp_path / "a")
    changed = run(start, pairs, tmp_path / "a", temperature=0.2)
    fresh = run(start, pairs, tmp_path / "b", temperature=0.2)
    assert changed.losses == fresh.losses


def test_without_epochs_the_encoder_is_unchanged(start, pairs, letters, tmp_path):
    made = run(start, pairs, tmp_path / "out", epochs=0, others=[letters])
    assert made.share == 0
    assert made.after_fingerprint == made.before_fingerprint
    assert (made.target.ratio.value, made.other_domains["letters"].ratio.value) == (1.0, 1.0)


def test_training_stops_early_without_improvement(start, pairs, tmp_path):
    made = run(start, pairs, tmp_path / "out", epochs=20, patience=1, learning_rate=1.0)
    assert len(made.losses) == made.best_epoch + 1


def test_the_anchor_loss_reduces_forgetting(start, pairs, letters, tmp_path):
    def kept(name, **changed):
        unlabelled = OtherDomain("letters", letters.texts)
        made = run(start, pairs, tmp_path / name, others=[unlabelled], epochs=6, patience=6,
                   learning_rate=1e-2, **changed)  # fmt: skip
        assert made.other_domains["letters"].measure == "neighbours"
        return made.shares[1].kept["letters"]

    assert kept("with", anchor_weight=10.0, anchor_texts=32) > kept("without", anchor_weight=0.0)


def test_the_chosen_share_forgets_no_more_than_allowed(start, pairs, letters, tmp_path):
    made = run(start, pairs, tmp_path / "out", others=[OtherDomain("letters", letters.texts)],
               epochs=10, learning_rate=3e-2, anchor_weight=0.0, max_forgetting=0.0)  # fmt: skip
    (taken,) = (one for one in made.shares if one.share == made.share)
    assert taken.kept["letters"] >= 1
    assert made.share < 1


def test_a_fine_tuned_encoder_can_be_fine_tuned_again(start, pairs, tmp_path):
    first = run(start, pairs, tmp_path / "a", learning_rate=1e-2)
    second = run(
        first.after, [(f"{a} b", f"c {b}") for a, b in pairs], tmp_path / "b", learning_rate=1e-2
    )
    assert second.before_fingerprint == first.after_fingerprint
    assert not (tmp_path / "b" / "distillation.json").exists()
    with pytest.raises(
        InvalidInput, match=r"b holds 'transformers/.*', which would be overwritten"
    ):
        run(second.after, pairs, tmp_path / "b")
    assert json.loads((tmp_path / "b" / "finetuning.json").read_text())["before"] == first.after


def test_local_text_becomes_a_folder_of_transformers(pairs, tmp_path):
    made = finetune("local/text", pairs, tmp_path / "out",
                    settings=replace(QUICK, epochs=0))  # fmt: skip
    assert made.after == f"transformers/{tmp_path / 'out'}"
    tuned = load_encoder(made.after, device="cpu")
    local = load_encoder("local/text?backend=torch", device="cpu")
    texts = ["a red shoe", "shoe " * 400, "", *(text for pair in pairs[:20] for text in pair)]
    np.testing.assert_allclose(tuned.encode(texts), local.encode(texts), atol=1e-5)


def test_pairs_from_files_with_some_bad_rows(start, pairs, tmp_path):
    good = [{"first": a, "second": b} for a, b in pairs]
    bad = [{"first": None, "second": "x"}, {"first": "x", "second": " "},
           {"first": "same", "second": "same"}]  # fmt: skip
    pq.write_table(pa.Table.from_pylist([*good, *bad]), tmp_path / "pairs.parquet")
    (tmp_path / "more.txt").write_text("\n".join(f"letter {n}" for n in range(60)))
    made = finetune(start, tmp_path / "pairs.parquet", tmp_path / "out", text="first",
                    other="{second}", others=[[tmp_path / "more.txt"]],
                    settings=QUICK)  # fmt: skip
    count = len(good)
    assert made.problems == (
        (count, "is null"), (count + 1, "is null"), (count + 2, "is twice the same"))  # fmt: skip
    assert (made.rows_read, made.pairs) == (count + 3, count)
    assert list(made.other_domains) == ["other 1"]


def test_unreadable_images_are_reported(tmp_path):
    spec = f"transformers/{models.clip_folder(tmp_path / 'clip')}"
    rows = [{"text": f"a {n}", "image": picture("red", 4 + n)} for n in range(40)]
    rows += [{"text": "torn", "image": picture("red")[:40]}, {"text": "none", "image": None}]
    made = finetune(spec, rows, tmp_path / "out", image="image",
                    settings=replace(QUICK, epochs=1, batch_size=4))  # fmt: skip
    assert [row for row, _ in made.problems] == [40, 41]
    assert made.target.measure == "pairs"


def test_unusable_inputs_are_refused(start, pairs, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(InvalidInput, match=r"1 distinct pairs of 2 rows.*row 1: is null"):
        finetune(start, [("a", "b"), (None, "b")], out)
    with pytest.raises(InvalidMapping, match=r"no column 'other', only text; .*--other"):
        finetune(start, [{"text": "a"}], out)
    with pytest.raises(InvalidInput, match="'local/image' cannot be trained further"):
        finetune("local/image", pairs, out)
    with pytest.raises(InvalidInput, match=r"pairs, .* would be learned from"):
        run(start, pairs, out, held_out=0.001)
    with pytest.raises(InvalidInput, match="give one of the two"):
        finetune(start, pairs, out, other="a", image="b")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(InvalidInput, match="something else than a fine-tuned encoder"):
        finetune(start, pairs, tmp_path / "full")
    image = f"timm/test_vit:{models.timm_checkpoint(tmp_path / 'timm')}"
    with pytest.raises(UnsupportedModality, match="not text"):
        finetune(image, pairs, out)


@pytest.mark.parametrize(
    "setting",
    [{"method": "dora"}, {"rank": 0}, {"layers": 0}, {"epochs": -1}, {"patience": 0},
     {"batch_size": 1}, {"learning_rate": 0}, {"temperature": 0}, {"anchor_weight": -1},
     {"anchor_texts": 1}, {"max_forgetting": 2}, {"validation": 0}, {"held_out": 0.95}],
)  # fmt: skip
def test_settings_out_of_range_are_refused(setting):
    (name,) = setting
    with pytest.raises(InvalidInput, match=f"{name} is .*; give "):
        FinetuneSettings(**setting)


def test_without_peft_the_command_that_installs_it_is_named(start, pairs, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingDependency, match=r"pip install 'isthmus\[finetune\]'.*--method"):
        run(start, pairs, tmp_path / "out")
    assert run(start, pairs, tmp_path / "full", method="full", epochs=1).losses


def test_the_distinct_texts_of_a_domain_are_split_by_digests():
    texts = [f"text {n % 3_000}" for n in range(4_000)]
    pairs = np.array([[n, n + 1] for n in range(0, 2_000, 2)] + [[5, 3_005]])
    split = split_domain(OtherDomain("d", texts, pairs=pairs), 0)
    assert len(split.domain.texts) == 3_000
    assert len(split.domain.pairs) == 1_000
    assert len(split.anchors) == MAX_ANCHORS
    measured = {split.domain.texts[row] for row in split.rows(2)}
    assert not measured & set(split.anchors)
    first, second = split.domain.pairs.T
    assert (split.splits[first] == split.splits[second]).all()
