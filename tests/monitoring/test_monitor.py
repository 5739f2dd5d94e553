"""`monitor`: healthy spaces have no alarm, and what is wrong is named."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from isthmus import Space
from isthmus.errors import IsthmusWarning
from isthmus.files import with_checksum, without_checksum
from isthmus.index.ann.recipes import recipe_named
from isthmus.index.releases.manifest import Manifest
from isthmus.index.settings import MonitoringSettings
from isthmus.monitoring.history import Measurements
from isthmus.monitoring.recall import live_recall
from isthmus.retrieval.search.recall_queries import RecallQuerySampler
from isthmus.schema import MEASUREMENTS_FOLDER
from tests.toy import text_encoder

WORDS = [f"w{n}" for n in range(400)]


def items(numbers, words=WORDS, **attributes):
    """Items of two domains, whose texts are four words by chance."""
    rng = np.random.default_rng(len(words))
    return [
        {
            "item_id": f"i{n}",
            "domain": "ab"[n % 2],
            "text": " ".join(rng.choice(words, 4)),
            "price": float(rng.normal()),
            "colour": str(rng.choice(["red", "blue"])),
            **attributes,
        }
        for n in numbers
    ]


def thresholds(space, **values):
    """Set thresholds of a space."""
    path = space.path / "space.toml"
    lines = "".join(f"{name} = {value!r}\n" for name, value in values.items())
    head, section, rest = path.read_text().partition("[monitoring]\n")
    kept = [line for line in rest.splitlines(keepends=True) if line.split(" ")[0] not in values]
    path.write_text(head + section + lines.replace("'", '"') + "".join(kept))
    return Space.open(space.path, encoder=text_encoder())


@pytest.fixture
def space(tmp_path):
    space = Space.create(tmp_path / "shop.space", encoder=text_encoder())
    space.upsert(items(range(600)))
    return space


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """A space of two releases, whose index is an inverted file."""
    space = Space.create(tmp_path_factory.mktemp("planned") / "shop.space", encoder=text_encoder())
    space.upsert(items(range(4_000)))
    path = space.path / "space.toml"
    path.write_text(
        path.read_text()
        .replace("exact_bytes = 33554432", "exact_bytes = 0")
        .replace("exact_rows = 20000", "exact_rows = 0")
    )
    space = Space.open(space.path, encoder=text_encoder())
    with pytest.MonkeyPatch.context() as patch:
        suitable = "isthmus.index.releases.build.suitable"
        patch.setattr(suitable, lambda dim, on_gpu: [recipe_named("IVF SQ8")])
        space.publish(recall=0.95)
        space.publish()
    return space


def test_measurements_are_kept_in_their_order_and_the_oldest_removed(space, monkeypatch):
    space.publish()
    history = Measurements(space.path)
    assert history.last(5) == []
    made = [space.monitor(seed=seed) for seed in range(3)]
    assert [report for _, report in history.last(5)] == made
    assert [report for _, report in history.last(2)] == made[1:]
    moments = [moment for moment, _ in history.last(5)]
    assert moments == sorted(moments)
    assert datetime.now(UTC) - moments[0] < timedelta(hours=1)
    folder = space.path / MEASUREMENTS_FOLDER
    (newest := max(folder.iterdir())).write_text("{")
    assert [report for _, report in history.last(5)] == made[:2]  # not what cannot be read
    monkeypatch.setattr("isthmus.monitoring.history.KEPT", 2)
    made.append(space.monitor(seed=3))
    assert [report for _, report in history.last(5)] == made[3:]
    assert sorted(folder.iterdir())[0] == newest


def test_a_measurement_counts_where_it_cannot_be_stored(space):
    space.publish()
    (space.path / MEASUREMENTS_FOLDER).write_text("")
    with pytest.warns(IsthmusWarning, match="the measurement is not drawn over time"):
        report = space.monitor(seed=0)
    assert report.recall


def test_a_healthy_space_has_no_alarm(space):
    assert space.monitor(seed=0).recall == []  # before the first release
    space.publish()
    report = space.monitor(seed=0)
    assert (report.alarms, report.drift, report.rolled_back_to) == ([], [], None)
    assert {(one.kind, one.domain) for one in report.recall} >= {
        (kind, domain) for kind in ("item to item", "text to item") for domain in "ab"
    }
    assert {one.recall for one in report.recall} == {1.0}
    assert (report.state.release, report.state.items, report.state.delta) == (1, 600, 0)


def test_new_items_of_the_same_kind_are_no_drift_and_of_another_are(space):
    space.publish()
    space.upsert(items(range(1_000, 1_200), WORDS[:-1]))
    same = space.monitor(seed=0)
    assert {(one.domain, one.what, one.name) for one in same.drift} == {
        (domain, *what)
        for domain in "ab"
        for what in [("vectors", "text"), ("attribute", "price"), ("attribute", "colour")]
    }
    assert {(one.reference, one.sample) for one in same.drift} == {(300, 100)}
    assert same.alarms == []
    space.upsert(items(range(2_000, 2_200), ["ship", "sea", "storm", "sail"], price=None))
    other = space.monitor(seed=0)
    assert {alarm.name for alarm in other.alarms} == {"drift_p"}
    named = {(one.domain, one.name) for one in other.drift if one.adjusted_p < 0.01}
    assert named == {(domain, name) for domain in "ab" for name in ("text", "price")}


def test_shares_and_ages_have_thresholds(space):
    space.publish()
    space.upsert(items(range(600, 1_400)))
    space = thresholds(space, release_age_days=1e-9, drift_p=0.0)
    (grown, old) = space.monitor().alarms
    assert grown.name == "delta_share"
    assert grown.message == "800 of 1,400 items are newer than the release; 50% are allowed"
    assert (old.name, old.message.endswith("1e-09 are allowed")) == ("release_age_days", True)


def test_thresholds_survive_what_the_space_does_and_wrong_ones_are_refused(space):
    space = thresholds(space, delta_share=0.25, on_alarm="rollback")
    space.publish()
    space.upsert(items(range(600, 610)))
    expected = MonitoringSettings(delta_share=0.25, on_alarm="rollback")
    assert Space.open(space.path, encoder=text_encoder()).settings.monitoring == expected
    with pytest.raises(Exception, match=r"monitoring\.delta_share: Input should be less than or"):
        thresholds(space, delta_share=2.0)


@pytest.mark.parametrize("measurements", [10, pytest.param(100, marks=pytest.mark.heavy)])
def test_a_healthy_release_has_no_alarm_however_often_it_is_measured(planned, measurements):
    view, sampler = planned.opened.view(), RecallQuerySampler(planned.path, planned.settings)
    smallest = planned.settings.monitoring.smallest_recall(planned.settings.index.recall)
    assert smallest == pytest.approx(0.93)
    measured = [
        one for seed in range(measurements) for one in live_recall(view, sampler, seed=seed)
    ]
    assert min(one.recall for one in measured) < 1
    assert [one for one in measured if one.high < smallest] == []


def test_an_index_that_finds_too_little_is_rolled_back(planned):
    path = planned.path / "releases/000002/manifest.json"
    manifest = Manifest.model_validate(without_checksum(path.read_bytes()))
    vectors = manifest.named_vectors["text"]
    lame = vectors.model_copy(
        update={"parameters": vectors.parameters.model_copy(update={"nprobe": 1})}
    )
    manifest = manifest.model_copy(update={"named_vectors": {"text": lame}})
    path.write_bytes(with_checksum(manifest.model_dump_json()))
    space = Space.open(planned.path, encoder=text_encoder())
    reported = space.monitor(seed=0)
    assert {alarm.name for alarm in reported.alarms} == {"recall"}
    assert (reported.rolled_back_to, space.current_release) == (None, 2)
    acted = space.monitor(on_alarm="rollback", seed=0)
    assert {alarm.name for alarm in acted.alarms} == {"recall"}
    assert (acted.rolled_back_to, space.current_release) == (1, 1)
    after = space.monitor(on_alarm="rollback", seed=0)
    assert (after.alarms, after.rolled_back_to, space.current_release) == ([], None, 1)
