"""Contents that are encoded on a Ray cluster make the space that one process makes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from isthmus import Space
from isthmus.encoders.encoder import Encoder
from isthmus.errors import InvalidInput, MissingDependency, ServiceError
from isthmus.operations import ray_encoding
from tests.toy import COLOURS, TONES, ToyEncoder, picture, tone

WORDS = ["red", "boots", "ship", "storm", "hat", "sea", "garden"]
ROOT = Path(__file__).parents[2]


def rows(folder: Path, n: int) -> list[dict]:
    """Return items with texts, pictures and sounds, some of them twice, and some damaged."""
    folder.mkdir(exist_ok=True)
    colours, tones = list(COLOURS), list(TONES)
    for at in range(12):
        (folder / f"{at}.png").write_bytes(picture(colours[at % len(colours)], 8 + at))
        (folder / f"{at}.wav").write_bytes(tone(tones[at % len(tones)], 8_000 + 100 * at))
    (folder / "broken.png").write_bytes(b"no picture")
    items = []
    for at in range(n):
        item = {"item_id": f"i{at}", "domain": "films", "year": 1990 + at % 30}
        item["text"] = f"{WORDS[at // 2 % 7]} {WORDS[at // 2 * 3 % 5]} {at // 2}"
        if at % 3 == 0:
            item["image"] = str(folder / f"{at % 12}.png")
        if at % 5 == 0:
            item["audio"] = str(folder / f"{at % 12}.wav")
        items.append(item)
    items[1]["image"] = str(folder / "broken.png")
    return items


class SlowEncoder(ToyEncoder):
    """A toy encoder of texts that takes its time, and says in a folder which process runs it."""

    def __init__(self, folder: Path, seconds: float) -> None:
        super().__init__("text", salt="slow", spec="toy/slow")
        self.folder, self.seconds = folder, seconds

    def embed(self, prepared, modality):
        time.sleep(self.seconds)
        vectors = super().embed(prepared, modality)
        with (self.folder / str(os.getpid())).open("a") as log:
            log.write(f"{len(prepared)}\n")
        return vectors


def encoded_in(folder: Path) -> dict[int, int]:
    """Return how many texts each process has encoded."""
    return {int(f.name): sum(map(int, f.read_text().split())) for f in folder.iterdir()}


def wait_until(condition) -> None:
    while not condition():
        time.sleep(0.05)


def space_of(folder: Path, encoder: Encoder) -> Space:
    return Space.create(folder, encoder)


def contents_of(space: Space) -> tuple[list, list, dict[str, list]]:
    """Return items, quarantine and vectors of a space, in the order of ids."""
    table = space.vectors().read_all().sort_by("item_id")
    names = [name for name in table.column_names if name not in ("item_id", "domain")]
    vectors = {name: table.column(name).to_pylist() for name in names}
    failed = [{k: v for k, v in row.items() if k != "last_tried"} for row in space.quarantine()]
    return list(space.scroll(k=10_000)), failed, vectors


def require_equal(one: Space, other: Space) -> None:
    (items, failed, vectors), (items_, failed_, vectors_) = map(contents_of, (one, other))
    assert items == items_
    assert failed == failed_
    assert vectors.keys() == vectors_.keys()
    for name, expected in vectors_.items():
        assert [v is None for v in vectors[name]] == [v is None for v in expected]
        for vector, wanted in zip(vectors[name], expected, strict=True):
            if wanted is not None:
                np.testing.assert_allclose(np.array(vector), np.array(wanted), atol=1e-6)


def test_options_of_an_engine_that_is_not_used_are_refused(tmp_path):
    space = space_of(tmp_path / "s", ToyEncoder("text"))
    with pytest.raises(InvalidInput, match=r"workers is for engine='ray' \(--engine ray\)"):
        space.upsert([], workers=2)
    for concurrency in ("4:2", "0", "a", "1:2:3"):
        with pytest.raises(InvalidInput, match="give a number, or the least and the most"):
            space.upsert([], engine="ray", concurrency=concurrency)


def test_without_ray_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    space = space_of(tmp_path / "s", ToyEncoder("text"))
    with pytest.raises(MissingDependency, match=r"pip install 'isthmus\[ray\]'"):
        space.upsert([{"item_id": "a", "domain": "x", "text": "red"}], engine="ray")


DRIVER = """
import sys
from pathlib import Path
from isthmus import Space
from isthmus.encoders import embedding_cache
from isthmus.operations import ray_encoding
from tests.integrations.test_ray import SlowEncoder, rows

folder, address = Path(sys.argv[1]), sys.argv[2]
ray_encoding.TEXTS_PER_BATCH = embedding_cache.FLUSH_ROWS = 16
items = [{**one, "image": None, "audio": None} for one in rows(folder / "f", 600)]
space = Space(folder / "spread", encoder=SlowEncoder(folder / "log", 0.3))
space.upsert(items, engine="ray", address=address)
"""


@pytest.fixture(scope="module")
def cluster():
    """A cluster of two nodes; the driver is on the first."""
    ray = pytest.importorskip("ray", reason="needs isthmus[ray]")
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 2, "include_dashboard": False, "object_store_memory": 10**8},
    )
    cluster.add_node(num_cpus=2, object_store_memory=10**8)
    cluster.wait_for_nodes()
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.heavy
class TestOnACluster:
    def test_the_same_catalog_comes_out(self, cluster, tmp_path):
        items = rows(tmp_path / "files", 300)
        alone, spread = (
            space_of(tmp_path / name, ToyEncoder("text", "image", "audio"))
            for name in ("alone", "spread")
        )
        expected = alone.upsert(items)
        found = spread.upsert(items, engine="ray", address=cluster.address, workers=2)
        assert found.encoded == expected.encoded
        assert (found.added, found.quarantined) == (300, 1)
        assert expected.quarantined == 1
        require_equal(spread, alone)

        again = spread.upsert(items, engine="ray", address=cluster.address)
        assert again.unchanged == 300
        assert sum(again.encoded.values()) == 0

    @pytest.fixture
    def slow(self, tmp_path, monkeypatch):
        """Items in many small blocks, the space that one process makes of them, and an encoder."""
        monkeypatch.setattr(ray_encoding, "TEXTS_PER_BATCH", 16)
        items = [{**one, "image": None, "audio": None} for one in rows(tmp_path / "f", 600)]
        (log := tmp_path / "log").mkdir()
        alone = space_of(tmp_path / "alone", SlowEncoder(tmp_path, 0))
        alone.upsert(items)
        return items, alone, SlowEncoder(log, 0.3)

    def test_a_worker_is_killed(self, cluster, slow, tmp_path):
        items, alone, encoder = slow
        spread = space_of(tmp_path / "spread", encoder)

        def kill() -> None:
            wait_until(lambda: encoded_in(encoder.folder))
            os.kill(min(encoded_in(encoder.folder)), signal.SIGKILL)

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        report = spread.upsert(items, engine="ray", address=cluster.address, workers=2)
        killer.join()
        assert report.encoded["text"] == 300
        assert len(encoded_in(encoder.folder)) == 3
        require_equal(spread, alone)

    def test_a_node_is_killed(self, cluster, slow, tmp_path):
        items, alone, encoder = slow
        spread = space_of(tmp_path / "spread", encoder)
        node = cluster.add_node(num_cpus=2, object_store_memory=10**8)
        cluster.wait_for_nodes()

        def kill() -> None:
            wait_until(lambda: len(encoded_in(encoder.folder)) == 4)
            cluster.remove_node(node, allow_graceful=False)

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        report = spread.upsert(items, engine="ray", address=cluster.address, workers=4)
        killer.join()
        assert report.encoded["text"] == 300
        require_equal(spread, alone)

    def test_the_driver_is_killed(self, cluster, slow, tmp_path):
        items, alone, encoder = slow
        spread = space_of(tmp_path / "spread", encoder)
        job = [sys.executable, "-c", DRIVER, str(tmp_path), cluster.address]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        driver = subprocess.Popen(job, cwd=ROOT, env=env)
        wait_until(lambda: sum(encoded_in(encoder.folder).values()) >= 96)
        driver.kill()
        driver.wait()
        report = spread.upsert(items, engine="ray", address=cluster.address, workers=2)
        assert report.added + report.unchanged == 600
        assert 0 < report.encoded["text"] < 300
        require_equal(spread, alone)

    def test_an_address_without_a_cluster_is_named(self, cluster, tmp_path):
        import ray

        if ray.is_initialized():
            ray.shutdown()
        space = space_of(tmp_path / "s", ToyEncoder("text"))
        item = {"item_id": "a", "domain": "x", "text": "red"}
        with pytest.raises(
            ServiceError, match=r"no Ray cluster answers at 127.0.0.1:1 .*start one"
        ):
            space.upsert([item], engine="ray", address="127.0.0.1:1")
        assert space.count() == 0
