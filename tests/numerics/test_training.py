"""The training loop on a linear regression: resume, early stopping, best state, schedules."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from isthmus.numerics import checkpoint as checkpoint_module
from isthmus.numerics.checkpoint import Checkpoint
from isthmus.numerics.training import (
    Clipping,
    EpochResult,
    TrainingLoop,
    Validation,
    linear_decay,
)

EPOCHS, STEPS, SIZE = 4, 5, 8


class Interrupt(Exception):
    """Stands for Ctrl-C or a kill."""


class Regression:
    """A regression with dropout, which draws from PyTorch's global random state."""

    def __init__(self, checkpoint=None, *, fail_at=None, scores=None, **validation):
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(torch.nn.Dropout(0.2), torch.nn.Linear(6, 1))
        rng = np.random.default_rng(0)
        self.inputs = torch.from_numpy(rng.standard_normal((STEPS * SIZE, 6), np.float32))
        self.targets = self.inputs @ torch.arange(6.0)[:, None]
        self.steps, self.fail_at = 0, fail_at
        self.states, self.scores = [], iter(scores or ())
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.1)
        self.loop = TrainingLoop(
            self.loss,
            self.batches,
            optimizer,
            EPOCHS,
            schedule=linear_decay(optimizer, EPOCHS * STEPS),
            clipping=Clipping(list(self.model.parameters())),
            model=self.model,
            validation=Validation(self.measure, **validation) if scores else None,
            checkpoint=checkpoint,
        )

    def batches(self, epoch):
        order = np.random.default_rng([3, epoch]).permutation(STEPS * SIZE)
        return (order[start : start + SIZE] for start in range(0, len(order), SIZE))

    def loss(self, rows):
        if self.steps == self.fail_at:
            raise Interrupt
        self.steps += 1
        return ((self.model(self.inputs[rows]) - self.targets[rows]) ** 2).mean()

    def measure(self):
        self.states.append(self.parameters())
        return {"score": next(self.scores)}

    def parameters(self):
        return {name: value.clone() for name, value in self.model.state_dict().items()}


def assert_same(one, other):
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


@pytest.fixture(scope="module")
def uninterrupted():
    run = Regression()
    return run.loop.run(), run.parameters()


def test_the_loss_falls(uninterrupted):
    history, _ = uninterrupted
    assert history.epochs == EPOCHS
    assert history.losses[-1] < history.losses[0]
    assert np.isnan(history.results[0].loss)


@pytest.mark.parametrize("fail_at", [0, 1, STEPS - 1, STEPS, 2 * STEPS + 3, EPOCHS * STEPS - 1])
def test_a_kill_between_steps_loses_nothing(uninterrupted, tmp_path, monkeypatch, fail_at):
    monkeypatch.setattr(checkpoint_module, "SECONDS_BETWEEN", -1.0)  # written after every step
    with pytest.raises(Interrupt):
        Regression(Checkpoint(tmp_path, "key"), fail_at=fail_at).loop.run()
    torch.manual_seed(99)  # another process
    resumed = Regression(Checkpoint(tmp_path, "key"))
    history = resumed.loop.run()
    assert resumed.steps == EPOCHS * STEPS - fail_at
    assert history.losses == uninterrupted[0].losses
    assert_same(resumed.parameters(), uninterrupted[1])


def test_after_a_kill_within_an_epoch_it_resumes_from_the_epoch_before(uninterrupted, tmp_path):
    with pytest.raises(Interrupt):
        Regression(Checkpoint(tmp_path, "key"), fail_at=STEPS + 2).loop.run()
    resumed = Regression(Checkpoint(tmp_path, "key"))
    assert resumed.loop.run().losses == uninterrupted[0].losses
    assert resumed.steps == (EPOCHS - 1) * STEPS
    assert_same(resumed.parameters(), uninterrupted[1])


def test_a_finished_run_is_not_trained_further(uninterrupted, tmp_path):
    Regression(Checkpoint(tmp_path, "key")).loop.run()
    again = Regression(Checkpoint(tmp_path, "key"))
    assert again.loop.run().losses == uninterrupted[0].losses
    assert again.steps == 0
    assert_same(again.parameters(), uninterrupted[1])


def test_a_checkpoint_of_another_key_is_ignored(tmp_path):
    Regression(Checkpoint(tmp_path, "one")).loop.run()
    other = Regression(Checkpoint(tmp_path, "other"))
    other.loop.run()
    assert other.steps == EPOCHS * STEPS


def test_a_kill_while_a_checkpoint_is_written_leaves_the_former(tmp_path, monkeypatch):
    checkpoint = Checkpoint(tmp_path, "key")
    checkpoint.write({"step": 1})

    def torn(state, path):
        path.write_bytes(b"half")
        raise Interrupt

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", torn)
        with pytest.raises(Interrupt):
            checkpoint.write({"step": 2})
    state = Checkpoint(tmp_path, "key").read()
    assert state is not None
    assert state["step"] == 1


def test_early_stopping_keeps_the_best_state(tmp_path):
    run = Regression(Checkpoint(tmp_path, "key"), scores=[0.1, 0.5, 0.5, 0.3], patience=2)
    history = run.loop.run()
    assert history.scores == [0.1, 0.5, 0.5, 0.3]  # an equal score is no improvement
    assert history.best_epoch == 1
    assert_same(run.parameters(), run.states[1])
    again = Regression(Checkpoint(tmp_path, "key"), scores=[9.0], patience=2)
    assert again.loop.run().scores == history.scores
    assert_same(again.parameters(), run.states[1])


def test_the_best_state_survives_an_interruption(tmp_path):
    scores = [0.1, 0.5, 0.4, 0.3, 0.2]
    with pytest.raises(Interrupt):
        Regression(Checkpoint(tmp_path, "key"), scores=scores, fail_at=3 * STEPS).loop.run()
    whole = Regression(scores=scores)
    whole.loop.run()
    resumed = Regression(Checkpoint(tmp_path, "key"), scores=scores[4:])
    history = resumed.loop.run()
    assert (history.scores, history.best_epoch) == (scores, 1)
    assert_same(resumed.parameters(), whole.parameters())


def test_the_untrained_model_may_be_the_best():
    run = Regression(scores=[0.9, 0.1, 0.1], patience=2)
    assert run.loop.run().best_epoch == 0
    assert_same(run.parameters(), run.states[0])


def test_without_the_untrained_model_the_first_epoch_is_the_first_best():
    run = Regression(scores=[-5.0, -6.0, -6.0], patience=2, untrained=False)
    assert run.loop.run().best_epoch == 1
    assert_same(run.parameters(), run.states[0])


def test_a_small_gain_is_no_improvement():
    run = Regression(scores=[0.5, 0.55, 0.7, 0.75, 0.75], min_improvement=0.1)
    assert run.loop.run().best_epoch == 2


def test_what_is_raised_after_an_epoch_ends_the_run_and_the_epoch_is_kept(uninterrupted, tmp_path):
    seen = []

    def stop(epoch, result):
        seen.append((epoch, result.loss))
        raise Interrupt

    with pytest.raises(Interrupt):
        Regression(Checkpoint(tmp_path, "key")).loop.run(on_epoch=stop)
    resumed = Regression(Checkpoint(tmp_path, "key"))
    history = resumed.loop.run(on_epoch=lambda epoch, result: seen.append((epoch, result.loss)))
    assert seen == list(enumerate(history.losses, 1))
    assert_same(resumed.parameters(), uninterrupted[1])


@pytest.mark.parametrize("steps_per_epoch", [None, STEPS])
def test_the_progress_bar_is_filled_also_after_early_stopping(monkeypatch, steps_per_epoch):
    from contextlib import contextmanager

    done, totals = [], []

    @contextmanager
    def bar(label, total, *, show):
        totals.append(total)
        yield done.append

    monkeypatch.setattr("isthmus.numerics.training.progress_bar", bar)
    run = Regression(scores=[0.9, 0.1, 0.1], patience=2)
    run.loop.run(steps_per_epoch=steps_per_epoch)
    assert [sum(done)] == totals == [EPOCHS * (steps_per_epoch or 1)]


def test_validation_needs_the_model():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    with pytest.raises(ValueError, match="need the model"):
        TrainingLoop(lambda batch: batch, lambda epoch: (), optimizer, 1,
                     validation=Validation(dict))  # fmt: skip


def test_an_epoch_without_batches_has_no_loss():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    history = TrainingLoop(lambda batch: batch, lambda epoch: (), optimizer, 2).run()
    assert np.isnan(history.losses).all()


def test_a_score_is_the_mean_of_several():
    assert EpochResult(0.0, {"a": 1.0, "b": 0.0}).score == 0.5
    assert EpochResult(0.0).score == 0.0


def rates(make, steps):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    schedule, found = make(optimizer), []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_the_learning_rate_falls_linearly():
    assert rates(lambda o: linear_decay(o, 4), 4) == [2.0, 1.5, 1.0, 0.5]
