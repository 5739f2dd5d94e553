"""Second stages compared: search alone, hybrid, a cross-encoder, late interaction, sparse vectors.

``OMP_NUM_THREADS=1 python benchmarks/second_stage.py --train`` (data: ISTHMUS_DATA; models and
spaces are kept in ``--work``)

Three tasks. *Captions*: a caption of a photo finds the other four of the photo. *Fashion* and
*crafts*: the attributes of products, as words, find the titles of all products with just these
attributes. Models are trained on two thirds of the photos and of the attribute strings (the
negatives are what the encoder ranks high), measured on the others; the catalogue has no item that
was trained on. Seconds are of the processor, for a query that is not answered from a cache.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from common.tables import print_heading, print_table, write_json

from isthmus import Space, load_encoder
from isthmus.digests import digest
from isthmus.numerics.statistics import estimate

DATA = Path(os.environ.get("ISTHMUS_DATA", "../shared/data"))
K = 10
TRAINED = 2 / 3
HARD = 60  # places of the encoder's ranking that negatives are drawn from: what is reranked
FEWEST = 8  # negatives of an example
POSITIVES = 4  # most relevant texts of a query that are trained on
ITEMS = 2_000
QUERIES = 50
EXAMPLES = 600  # queries
STEPS = {"cross-encoder": 250, "late-interaction": 200, "sparse": 80}


@dataclass(frozen=True)
class Task:
    """Texts to search, and queries with the positions of their relevant texts."""

    name: str
    texts: list[str]
    queries: dict[str, set[int]]


def tasks(data: Path) -> dict[str, tuple[Task, Task]]:
    """Return for each data set what is trained on and what is measured on."""
    captions = pq.read_table(data / "flickr8k_1000/captions.parquet").to_pylist()
    photos: dict[str, list[str]] = {}
    for row in captions:
        photos.setdefault(row["image"], []).append(row["caption"])
    groups = {texts[0]: texts[1:] for texts in photos.values()}
    found = {"captions": _divided("captions", groups)}
    for name, folder, domain in (
        ("fashion", "fashion_products", "fashion"),
        ("crafts", "amazon_arts_office", "arts_crafts"),
    ):
        groups = {}
        for row in pq.read_table(data / folder / "items.parquet").to_pylist():
            if row["domain"] == domain and row["title"] and row["attributes"]:
                words = dict.fromkeys(row["attributes"].lower().replace(" - ", " ").split())
                titles = groups.setdefault(" ".join(words), [])
                if row["title"] not in titles:
                    titles.append(row["title"])
        found[name] = _divided(name, groups)
    return found


def _divided(name: str, groups: Mapping[str, Sequence[str]]) -> tuple[Task, Task]:
    train, test = {}, {}
    for query, texts in groups.items():
        part = train if digest(query)[0] / 256 < TRAINED else test
        part[query] = list(texts)
    return _task(name, train), _task(name, test)


def _task(name: str, groups: Mapping[str, Sequence[str]]) -> Task:
    """Return the task of groups, as many as `ITEMS` texts hold."""
    rng = np.random.default_rng(0)
    names = list(groups)
    texts: list[str] = []
    queries: dict[str, set[int]] = {}
    for at in rng.permutation(len(names)).tolist():
        if len(texts) + len(groups[names[at]]) > ITEMS:
            continue
        queries[names[at]] = set(range(len(texts), len(texts) + len(groups[names[at]])))
        texts += groups[names[at]]
    return Task(name, texts, queries)


def examples_of(task: Task, rng: np.random.Generator, n_queries: int) -> Iterable[Any]:
    """Yield examples to train on, with irrelevant texts that the encoder ranks high."""
    from common.second_stage_models import Example

    encoder = load_encoder("local/text", device="cpu")
    vectors = encoder.encode(task.texts)
    names = list(task.queries)
    queries = [names[at] for at in rng.permutation(len(names))[:n_queries].tolist()]
    nearest = np.argsort(-(encoder.encode(queries, role="query") @ vectors.T), axis=1)[:, :HARD]
    for query, places in zip(queries, nearest.tolist(), strict=True):
        relevant = task.queries[query]
        wrong = tuple(task.texts[at] for at in places if at not in relevant)
        if len(wrong) < FEWEST:
            continue
        for at in rng.permutation(sorted(relevant))[:POSITIVES].tolist():
            yield Example(query, task.texts[at], wrong)


def train_models(found: Mapping[str, tuple[Task, Task]], work: Path) -> None:
    """Train the three models on all data sets together, those that are not there."""
    from common.second_stage_models import (
        TokenVectors,
        train_cross_encoder,
        train_late_interaction,
        train_sparse,
    )

    rng = np.random.default_rng(0)
    n_queries = EXAMPLES // len(found)
    examples = [one for task, _ in found.values() for one in examples_of(task, rng, n_queries)]
    print(f"{len(examples)} examples", flush=True)
    texts = [text for e in examples for text in (e.query, e.text, *e.negatives)]
    vectors = TokenVectors(texts)
    nearest = [replace(one, negatives=one.negatives[:FEWEST]) for one in examples]
    for name, train in (
        ("late-interaction", lambda f, n: train_late_interaction(examples, vectors, f, n)),
        ("sparse", lambda f, n: train_sparse(nearest, vectors, f, n)),
        ("cross-encoder", lambda f, n: train_cross_encoder(examples, f, n)),
    ):
        folder = work / name
        if not (folder / "model").exists():
            started = time.process_time()
            train(folder, STEPS[name])
            print(f"{name}: trained in {time.process_time() - started:.0f} s", flush=True)


def space_of(task: Task, work: Path) -> Space:
    """Return a space of the texts of a task."""
    folder = work / f"{task.name}.space"
    if folder.exists():
        shutil.rmtree(folder)
    space = Space.create(folder, text_encoder="local/text", device="cpu")
    items = [
        {"item_id": str(at), "domain": task.name, "text": text}
        for at, text in enumerate(task.texts)
    ]
    space.upsert(items)
    space.index_text()
    return space


def measure(task: Task, search: Callable[[str], Sequence[Any]], n_queries: int) -> dict[str, Any]:
    """Return quality and cost of a way to search."""
    rng = np.random.default_rng(1)
    queries = [list(task.queries)[at] for at in rng.permutation(len(task.queries))[:n_queries]]
    search(queries[0])  # loads
    gains = 1 / np.log2(np.arange(2, K + 2))
    ndcg, first, recall, seconds = [], [], [], []
    for query in queries:
        started = time.process_time()
        hits = search(query)
        seconds.append(time.process_time() - started)
        relevant = task.queries[query]
        hit = np.array([int(h.item_id) in relevant for h in hits], float)
        ndcg.append(hit @ gains[: len(hit)] / gains[: min(K, len(relevant))].sum())
        first.append(hit[0] if len(hit) else 0.0)
        recall.append(hit.sum() / len(relevant))
    bounds = estimate(np.array(ndcg))
    return {
        "ndcg@10": bounds.value,
        "low": bounds.low,
        "high": bounds.high,
        "first is relevant": float(np.mean(first)),
        "recall@10": float(np.mean(recall)),
        "ms": 1_000 * float(np.median(seconds)),
        "queries": len(queries),
    }


def ways(work: Path, depths: Sequence[int]) -> dict[str, dict[str, Any]]:
    """Return the arguments of each way to search, of the models that were trained."""
    trained = {kind for kind in STEPS if (work / kind / "model").exists()}
    rerank = {
        "late-interaction": "late-interaction",
        "cross-encoder": f"cross-encoder/{work}/cross-encoder/model",
    }
    found: dict[str, dict[str, Any]] = {"vectors alone": {}, "hybrid BM25": {"hybrid": True}}
    if "sparse" in trained:
        found["hybrid sparse"] = {"hybrid": True, "words": "sparse"}
    for kind in sorted(trained & set(rerank)):
        for depth in depths:
            found[f"{kind} of {depth}"] = {"rerank": rerank[kind], "rerank_depth": depth}
        found[f"hybrid BM25, {kind} of 50"] = {"hybrid": True, "rerank": rerank[kind]}
    return found


def main() -> None:
    """Train, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("second_stage"))
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--queries", type=int, default=QUERIES)
    parser.add_argument("--depths", type=int, nargs="+", default=[20, 50])
    parser.add_argument("--tasks", nargs="+", default=["captions", "fashion", "crafts"])
    parser.add_argument("--out", type=Path, default=Path("second_stage.json"))
    options = parser.parse_args()
    work = options.work.absolute()
    found = tasks(DATA)
    for name, (train, test) in found.items():
        print(f"{name}: trained on {len(train.queries)} queries, {len(train.texts)} texts; "
              f"measured on {len(test.queries)}, {len(test.texts)}", flush=True)  # fmt: skip
    if options.train:
        train_models(found, work)
    results: dict[str, dict[str, Any]] = {}
    for name in options.tasks:
        test = found[name][1]
        space = space_of(test, work)
        kept = {
            kind: space.precompute(f"{kind}/{work}/{kind}/model").as_dict()
            for kind in ("late-interaction", "sparse")
            if (work / kind / "model").exists()
        }
        print(kept, flush=True)
        results[name] = {"precomputed": kept}
        print_heading(name)
        rows = []
        for way, arguments in ways(work, options.depths).items():
            one = measure(test, partial(space.search, k=K, **arguments), options.queries)
            results[name][way] = one
            rows.append([way, f"{one['ndcg@10']:.4f} [{one['low']:.3f}, {one['high']:.3f}]",
                         f"{one['first is relevant']:.3f}", f"{one['recall@10']:.3f}",
                         f"{one['ms']:.1f}"])  # fmt: skip
            print(rows[-1], flush=True)
        print_table(["way", "NDCG@10", "first is relevant", "recall@10", "ms a query"], rows)
    write_json(options.out, results)


if __name__ == "__main__":
    main()
