"""The live canary, and what else is measured while the service runs."""

from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from isthmus import Space
from isthmus.files import with_checksum, without_checksum
from isthmus.index.ann.recipes import recipe_named
from isthmus.index.releases.manifest import Manifest
from isthmus.service.canary import LiveCanary, Sampled
from isthmus.service.metrics import Metrics
from isthmus.service.settings import Canary
from tests.service.serving import app_of, plain_app, send

DIM, ROWS, QUERIES = 24, 3_000, 60
WAIT_S = 120  # a limit for a broken canary


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A space of two releases, whose index is an inverted file."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("planned") / "things.space"
    space = Space.create(path, "none", vectors={"embedding": DIM})
    rows = [{"item_id": f"i{n}", "domain": "ab"[n % 2]} for n in range(ROWS)]
    space.upsert(rows, vector=rng.standard_normal((ROWS, DIM)).astype(np.float32))
    file = path / "space.toml"
    text = (
        file.read_text()
        .replace("exact_bytes = 33554432", "exact_bytes = 0")
        .replace("exact_rows = 20000", "exact_rows = 0")
    )
    file.write_text(text.replace('on_alarm = "report"', 'on_alarm = "rollback"'))
    space = Space.open(path)
    with pytest.MonkeyPatch.context() as patch:
        suitable = "isthmus.index.releases.build.suitable"
        patch.setattr(suitable, lambda dim, on_gpu: [recipe_named("IVF SQ8")])
        space.publish(recall=0.95)
        space.publish()
    return path


def damage(path: Path) -> None:
    """Make the index of the second release look at one cell only."""
    file = path / "releases/000002/manifest.json"
    manifest = Manifest.model_validate(without_checksum(file.read_bytes()))
    vectors = manifest.named_vectors["embedding"]
    parameters = vectors.parameters.model_copy(update={"nprobe": 1})
    vectors = vectors.model_copy(update={"parameters": parameters})
    manifest = manifest.model_copy(update={"named_vectors": {"embedding": vectors}})
    file.write_bytes(with_checksum(manifest.model_dump_json()))


def bodies() -> list[dict[str, Any]]:
    queries = np.random.default_rng(1).standard_normal((QUERIES, DIM))
    return [{"vector": query.tolist(), "k": 10} for query in queries]


def measured(app: Any) -> dict[tuple[str, ...], float]:
    """The metrics of an application, by name and the values of labels."""
    text = send(app, "GET", "/metrics").text
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def wait_for(app: Any, key: tuple[str, ...], value: float) -> dict[tuple[str, ...], float]:
    limit = time.monotonic() + WAIT_S
    while True:
        found = measured(app)
        if found.get(key, 0.0) >= value:
            return found
        assert time.monotonic() < limit, found
        time.sleep(0.05)


def of_kind(name: str, release: int) -> tuple[str, ...]:
    return (f"isthmus_canary_{name}", "*", "vector to item", str(release), "things")


def test_a_damaged_index_is_rolled_back_and_a_healthy_one_is_not(planned):
    app = plain_app(spaces={"things": planned}, canary=Canary(share=1.0, budget=1.0))
    for body in bodies():
        assert send(app, "POST", "/v1/search", body).status_code == 200
    found = wait_for(app, of_kind("queries_total", 2), QUERIES)
    assert found[of_kind("expected_total", 2)] == 10 * QUERIES
    recall = found[of_kind("recall", 2)]
    assert 0.9 < recall <= 1
    assert found[of_kind("recall_low", 2)] < recall <= found[of_kind("recall_high", 2)]
    assert Space.open(planned).current_release == 2
    damage(planned)
    broken = plain_app(spaces={"things": planned}, canary=Canary(share=1.0, budget=1.0))
    for body in bodies():
        send(broken, "POST", "/v1/search", body)
    wait_for(broken, ("isthmus_canary_rollbacks_total", "things"), 1)
    assert Space.open(planned).current_release == 1
    found = measured(broken)
    assert found[of_kind("recall", 2)] < 0.8
    for body in bodies():
        assert send(broken, "POST", "/v1/search", body).json()["release"] == 1
    for one in (app, broken):
        one.state.canary.close()


@pytest.mark.heavy
def test_none_of_a_hundred_healthy_releases_is_rolled_back(planned, tmp_path, monkeypatch):
    monkeypatch.setattr("isthmus.service.canary.BETWEEN_JUDGEMENTS_S", 0.0)
    path = shutil.copytree(planned, tmp_path / "things.space")
    app = plain_app(spaces={"things": path})
    served, metrics = app.state.pipeline.spaces.named("things"), Metrics()
    canary, rng = LiveCanary(Canary(), metrics), np.random.default_rng(3)
    space = Space.open(path)
    for n in range(100):
        space.upsert([{"item_id": f"n{n}", "domain": "a"}], vector=rng.standard_normal((1, DIM)))
        number = space.publish().number
        for vector in rng.standard_normal((QUERIES, DIM)):
            canary.measure(Sampled(served, {"vector": vector.tolist()}))
        assert space.current_release == number
    assert "isthmus_canary_rollbacks_total{" not in metrics.text().decode()


def test_only_plain_queries_are_drawn_and_no_more_than_wanted(planned):
    none = plain_app(spaces={"things": planned}, canary=Canary(share=0.0))
    ruled = plain_app(spaces={"things": planned}, canary=Canary(share=1.0, budget=1.0))
    for body in bodies()[:3]:
        send(none, "POST", "/v1/search", body)
        send(ruled, "POST", "/v1/search", {**body, "ban": ["i1"]})
        send(ruled, "POST", "/v1/search", {**body, "domain": "none"})
    for app in (none, ruled):
        assert not [key for key in measured(app) if key[0] == "isthmus_canary_queries_total"]


@pytest.mark.parametrize(("shift", "drifts"), [(0.0, False), (1.0, True)])
def test_queries_that_come_later_are_compared_with_the_first(planned, shift, drifts, monkeypatch):
    monkeypatch.setattr("isthmus.service.canary.DRIFT_SAMPLE", 40)
    app = plain_app(spaces={"things": planned})
    served = app.state.pipeline.spaces.named("things")
    metrics = Metrics()
    canary = LiveCanary(Canary(), metrics)
    rng = np.random.default_rng(2)
    for n in range(80):
        vector = rng.standard_normal(DIM) + shift * (n >= 40)
        canary.measure(Sampled(served, {"vector": vector.tolist(), "domain": ["a"]}))
    text = metrics.text().decode()
    assert 'isthmus_canary_queries_total{domain="a",kind="vector to item"' in text
    (line,) = [one for one in text.splitlines() if one.startswith("isthmus_query_drift_p{")]
    assert (float(line.split()[-1]) < 0.01) is drifts


def test_clicks_count_by_place_and_scenario(own_shop):
    app = app_of(spaces={"shop": own_shop}, log=True)
    space = app.state.pipeline.spaces.named("shop").space
    space.set_scenario("home", ban=["films-1-1"])
    for n, scenario in enumerate([None, None, "home"]):
        body = {"user": {"id": f"u{n}"}, "k": 12, "scenario": scenario}
        found = send(app, "POST", "/v1/recommend", body).json()
        place = 0 if scenario is None else 11
        event = {
            "event_id": f"e{n}",
            "user_id": f"u{n}",
            "item_id": found["hits"][place]["item_id"],
            "event": "click",
            "time": datetime.now(UTC).isoformat(),
            "recommendation_id": found["recommendation_id"],
        }
        assert send(app, "POST", "/v1/events", {"events": [event]}).json()["added"] == 1
    nobody = {"user": {"id": "nobody", "history": ["films-2-2"]}, "k": 3, "scenario": "home"}
    send(app, "POST", "/v1/recommend", nobody)
    space.recommendation_log.flush()
    found = measured(app)
    lists = [found[(f"isthmus_{name}_lists", "shop")] for name in ("logged", "cold_start")]
    assert lists == [4, 1]  # the clicks came after the lists, and other events before
    shown, clicked = "isthmus_shown_items", "isthmus_clicked_items"
    assert found[(shown, "1", "-", "shop")] == found[(clicked, "1", "-", "shop")] == 2
    assert (found[(shown, "2", "-", "shop")], found[(clicked, "2", "-", "shop")]) == (2, 0)
    assert found[(shown, "11+", "home", "shop")] == 2
    assert found[(clicked, "11+", "home", "shop")] == 1
    rates = [found[("isthmus_observed_rate", str(n), "shop")] for n in range(1, 11)]
    scores = [found[("isthmus_predicted_score", str(n), "shop")] for n in range(1, 11)]
    assert scores == sorted(scores)
    assert rates[-1] > 0
    assert found[("isthmus_recommended_items", "shop")] >= 12


def test_waiting_and_encoding_are_measured(shop):
    app = app_of(spaces={"shop": shop})
    send(app, "POST", "/v1/search", {"text": "filmsword1"})
    found = measured(app)
    assert found[("isthmus_encoded_texts_total", "shop")] == 1
    assert found[("isthmus_encode_seconds_count", "shop")] == 1
    assert found[("isthmus_queue_seconds_count", "search", "shop")] == 1
