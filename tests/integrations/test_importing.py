"""Collections of other programs become spaces by one command."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import faiss
import lance
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isthmus import Space
from isthmus.errors import InvalidInput, InvalidItems, InvalidMapping
from isthmus.integrations.importing import import_collection
from isthmus.integrations.request import ImportRequest

IDS = [f"i{n}" for n in range(40)]
VECTORS = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
UNIT = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)


def imported(space: Path, source: object, **options: object):
    return import_collection(space, ImportRequest(source=str(source), **options))


def vectors_of(space: Path, name: str = "vector") -> dict[str, list[float]]:
    rows = Space.open(space).vectors().read_all()
    return dict(zip(rows["item_id"].to_pylist(), rows[name].to_pylist(), strict=True))


def assert_imported(space: Path, name: str = "vector", ids: list[str] = IDS) -> None:
    stored = vectors_of(space, name)
    assert sorted(stored) == sorted(ids)
    np.testing.assert_allclose([stored[i] for i in ids], UNIT, atol=1e-6)
    assert not list(space.parent.glob(".isthmus-import-*"))


@pytest.fixture
def ids_file(tmp_path: Path) -> Path:
    path = tmp_path / "ids.txt"
    path.write_text("\n".join(IDS) + "\n")
    return path


class TestFiles:
    def test_numpy_with_ids(self, tmp_path, ids_file):
        np.save(tmp_path / "films.npy", VECTORS.astype(np.float64))
        report = imported(tmp_path / "s", tmp_path / "films.npy", ids=ids_file)
        assert (report.created, report.domain, report.vectors) == (True, "films", {"vector": 6})
        assert report.items.added == 40
        assert_imported(tmp_path / "s")
        again = imported(tmp_path / "s", tmp_path / "films.npy", ids=ids_file)
        assert (again.created, again.items.unchanged) == (False, 40)

    def test_numpy_without_ids_or_with_too_few(self, tmp_path, ids_file):
        np.save(tmp_path / "v.npy", VECTORS)
        with pytest.raises(InvalidInput, match=r"--ids FILE"):
            imported(tmp_path / "s", tmp_path / "v.npy")
        ids_file.write_text("a\nb\n")
        with pytest.raises(InvalidInput, match=r"holds 2 ids, and .* 40 vectors"):
            imported(tmp_path / "s", tmp_path / "v.npy", ids=ids_file)
        np.save(tmp_path / "v.npy", VECTORS.ravel())
        with pytest.raises(InvalidInput, match="holds no numbers of shape"):
            imported(tmp_path / "s", tmp_path / "v.npy", ids=ids_file)
        assert not (tmp_path / "s").exists()

    def test_a_bad_row_leaves_no_space_behind_and_can_be_skipped(self, tmp_path, ids_file):
        vectors = VECTORS.copy()
        vectors[3, 2] = np.nan
        np.save(tmp_path / "v.npy", vectors)
        with pytest.raises(InvalidItems, match=r"row 3: .* holds NaN at position 2"):
            imported(tmp_path / "s", tmp_path / "v.npy", ids=ids_file)
        assert not (tmp_path / "s").exists()
        report = imported(tmp_path / "s", tmp_path / "v.npy", ids=ids_file, skip_invalid=True)
        assert (report.items.added, report.items.invalid) == (39, 1)

    @pytest.mark.parametrize("kind", ["Flat", "HNSW8", "IVF2,Flat", "PCA6,Flat"])
    def test_faiss_with_ids(self, tmp_path, ids_file, kind):
        index = faiss.index_factory(6, kind, faiss.METRIC_INNER_PRODUCT)
        index.train(VECTORS)
        index.add(VECTORS)
        faiss.write_index(index, str(tmp_path / "films.faiss"))
        imported(tmp_path / "s", tmp_path / "films.faiss", ids=ids_file, domain="films")
        assert_imported(tmp_path / "s")

    def test_faiss_with_its_own_ids_and_another_distance(self, tmp_path):
        index = faiss.IndexIDMap2(faiss.IndexFlatL2(6))
        index.add_with_ids(VECTORS, np.arange(100, 140))
        faiss.write_index(index, str(tmp_path / "films.index"))
        report = imported(tmp_path / "s", tmp_path / "films.index")
        assert "searched by Euclidean distance" in report.items.notes[0]
        assert_imported(tmp_path / "s", ids=[str(n) for n in range(100, 140)])

    def test_a_file_that_is_no_index(self, tmp_path, ids_file):
        (tmp_path / "films.faiss").write_bytes(b"no index")
        with pytest.raises(InvalidInput, match="gives no vectors back"):
            imported(tmp_path / "s", tmp_path / "films.faiss", ids=ids_file)

    @pytest.mark.parametrize("suffix", ["parquet", "lance"])
    def test_tables(self, tmp_path, suffix):
        rows = pa.table({"item_id": IDS, "emb": list(VECTORS), "year": range(40)})
        path = tmp_path / f"films.{suffix}"
        if suffix == "lance":
            lance.write_dataset(rows, str(path))
        else:
            pq.write_table(rows, path)
        report = imported(tmp_path / "s", path)
        assert report.vectors == {"vector": 6}
        assert_imported(tmp_path / "s")
        assert Space.open(tmp_path / "s").get("i7")["attributes"] == {"year": 7}

    def test_a_table_with_several_vectors_and_one_without(self, tmp_path):
        rows = pa.table({"id": IDS, "plot": list(VECTORS), "cover": list(VECTORS[:, :2])})
        pq.write_table(rows, tmp_path / "t.parquet")
        report = imported(tmp_path / "s", tmp_path / "t.parquet", id="id", domain="films")
        assert report.vectors == {"plot": 6, "cover": 2}
        assert_imported(tmp_path / "s", "plot")
        pq.write_table(rows.select(["id"]), tmp_path / "t.parquet")
        with pytest.raises(InvalidMapping, match="has no column of vectors; its columns are: id"):
            imported(tmp_path / "s", tmp_path / "t.parquet")

    def test_what_is_unknown(self, tmp_path):
        with pytest.raises(InvalidInput, match="--format qdrant or chroma"):
            imported(tmp_path / "s", "http://localhost:1")
        with pytest.raises(InvalidInput, match=r"cannot tell what .*--format"):
            imported(tmp_path / "s", tmp_path / "t.csv")
        with pytest.raises(InvalidInput, match="format is 'milvus'; give one of"):
            imported(tmp_path / "s", tmp_path / "t", format="milvus")


@pytest.mark.heavy
class TestQdrant:
    @pytest.fixture(scope="class")
    def folder(self, tmp_path_factory) -> Path:
        from qdrant_client import QdrantClient, models

        folder = tmp_path_factory.mktemp("imported") / "qdrant"
        client = QdrantClient(path=str(folder))
        cosine = models.Distance.COSINE
        client.create_collection("films", models.VectorParams(size=6, distance=cosine))
        payloads = [
            {"title": f"film {n}", "year": 1990 + n, "tags": ["a", "b"], "_node": "x"}
            for n in range(40)
        ]
        points = [
            models.PointStruct(id=n, vector=VECTORS[n].tolist(), payload=payloads[n])
            for n in range(40)
        ]
        client.upsert("films", points)
        client.create_collection(
            "books",
            {
                "plot": models.VectorParams(size=6, distance=models.Distance.DOT),
                "cover": models.VectorParams(size=2, distance=cosine),
            },
        )
        point = {"plot": VECTORS[0].tolist(), "cover": [3.0, 4.0]}
        uuid = "5c56c793-69f3-4fbf-87e6-c4bf54c28c26"
        client.upsert("books", [models.PointStruct(id=uuid, vector=point, payload={"key": "b1"})])
        part = {"cover": [1.0, 0.0]}
        client.upsert("books", [models.PointStruct(id=7, vector=part, payload={"key": "b2"})])
        client.close()
        return folder

    def test_a_collection_with_payload(self, folder, tmp_path):
        with pytest.raises(InvalidInput, match=r"give --collection; there are: .*films"):
            imported(tmp_path / "s", folder)
        report = imported(tmp_path / "s", folder, collection="films")
        assert (report.domain, report.items.added) == ("films", 40)
        assert report.items.notes == ["left out, since no attribute can have the name: _node"]
        assert_imported(tmp_path / "s", ids=[str(n) for n in range(40)])
        item = Space.open(tmp_path / "s").get("7")
        assert item["attributes"] == {"title": "film 7", "year": 1997, "tags": ["a", "b"]}
        assert item["text"] == "film 7"

    def test_named_vectors_and_points_without_one(self, folder, tmp_path):
        report = imported(tmp_path / "s", folder, collection="books", id="key")
        assert report.vectors == {"plot": 6, "cover": 2}
        assert "plot is searched by Dot" in report.items.notes[0]
        stored = vectors_of(tmp_path / "s", "cover")
        np.testing.assert_allclose([stored["b1"], stored["b2"]], [[0.6, 0.8], [1, 0]], atol=1e-6)
        assert vectors_of(tmp_path / "s", "plot")["b2"] is None
        assert Space.open(tmp_path / "s").get("b2")["vectors"] == ["cover"]


def fill_chroma(client: object) -> None:
    films = client.create_collection("films", metadata={"hnsw:space": "cosine"})
    films.add(
        ids=IDS,
        embeddings=VECTORS,
        documents=[f"a film about {n}" for n in range(40)],
        metadatas=[{"year": n} if n % 2 else {"genre": "drama"} for n in range(40)],
    )


def assert_chroma_imported(space: Path) -> None:
    assert_imported(space)
    opened = Space.open(space)
    assert opened.get("i7")["text"] == "a film about 7"
    assert opened.get("i7")["attributes"] == {"year": 7, "genre": None}
    assert opened.count(where="genre = 'drama'") == 20


@pytest.mark.heavy
class TestChroma:
    def test_a_folder_of_the_persistent_client(self, tmp_path):
        import chromadb

        folder = tmp_path / "chroma"
        fill_chroma(chromadb.PersistentClient(str(folder)))
        report = imported(tmp_path / "s", folder)
        assert (report.domain, report.items.added) == ("films", 40)
        assert_chroma_imported(tmp_path / "s")

    def test_a_server(self, tmp_path):
        import chromadb

        with chroma_server(tmp_path / "data") as address:
            host, port = address.removeprefix("http://").split(":")
            fill_chroma(chromadb.HttpClient(host, int(port)))
            imported(tmp_path / "s", address, format="chroma")
            assert_chroma_imported(tmp_path / "s")

    def test_an_address_where_nobody_answers(self, tmp_path):
        with pytest.raises(InvalidInput, match=r"127\.0\.0\.1:9 as Chroma"):
            imported(tmp_path / "s", "http://127.0.0.1:9", format="chroma")


@contextmanager
def chroma_server(folder: Path):
    """Run Chroma's own server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("chroma")), "run", "--path", str(folder)]
    process = subprocess.Popen(
        [*command, "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "ANONYMIZED_TELEMETRY": "False"},
    )
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()
