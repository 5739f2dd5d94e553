"""Fusion of text and pictures compared with each alone: search, and recommendation of new items.

``OMP_NUM_THREADS=1 python benchmarks/fusion.py --protocols ../shared/protocols --train`` (data:
ISTHMUS_DATA; the spaces are cached in ``--work``)

*Search*: similar items (``Space.similar``) with different weights of text and pictures. Relevance
of fashion products is the share of equal ``attributes`` (five parts), of films with a poster the
Jaccard similarity of their genres; neither is part of the encoded texts. The metric is NDCG@10 with
these relevance grades as gains and ideal lists over the whole catalogue, without the query item.
The tuned weight is the best on half of the queries, and fusion weights are trained on pairs of
these queries with their most relevant items; figures are of the other half, with intervals over
queries.

*Search by words*: the attributes of a product are a text query for its items, in the named vectors
of text and of the alignment; equal weights, and weights trained on half of the attributes.

*New films*: content nearest neighbours, and trained Isthmus, on the protocol of hidden films (a
third of the films have a poster), for spaces of text alone, pictures alone, and both.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from common.tables import print_heading, print_table, write_json

from isthmus import EvaluationPlan, Space
from isthmus.numerics.metrics import graded_ndcg
from isthmus.numerics.statistics import Estimate, estimate
from isthmus.retrieval.search.results import Hit

DATA = Path(os.environ.get("ISTHMUS_DATA", "../shared/data"))
K = 10
IMAGE_WEIGHTS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
Degrees = Callable[[int], np.ndarray]


@dataclass(frozen=True)
class Catalogue:
    """Items to search, and their relevance grades for an item as query."""

    name: str
    rows: list[dict[str, Any]]
    degrees: Degrees


def main() -> None:
    """Measure search on both catalogues, then new films."""
    arguments = _arguments()
    print_heading("text and pictures, together and alone", ("numpy", "torch", "faiss-gpu"))
    search_results = {}
    if arguments.only != "new":
        for catalogue in (_fashion(arguments.items), _films(arguments.items)):
            search_results[catalogue.name] = _search(catalogue, arguments)
        search_results["fashion by words"] = _by_words(_fashion(arguments.items), arguments)
    new = _new_films(arguments) if arguments.protocols and arguments.only != "search" else {}
    if arguments.out:
        write_json(arguments.out, {"search": search_results, "new films": new})


def _search(catalogue: Catalogue, arguments: argparse.Namespace) -> dict[str, Any]:
    space = _space(arguments.work / f"{catalogue.name}.space", catalogue.rows)
    with_image = [n for n, row in enumerate(catalogue.rows) if row["image"]]
    queries = np.random.default_rng(0).permutation(with_image)[: arguments.queries]
    tune, test = slice(0, len(queries) // 2), slice(len(queries) // 2, None)
    row_of = {row["item_id"]: n for n, row in enumerate(catalogue.rows)}

    def scores(**weights: float) -> np.ndarray:
        return np.array([ndcg_of(int(query), weights or None) for query in queries])

    def ndcg_of(query: int, weights: dict[str, float] | None) -> float:
        degrees = catalogue.degrees(query)
        degrees[query] = 0
        item_id = catalogue.rows[query]["item_id"]
        hits = space.similar(item_id, k=K, weights=weights)
        return _ndcg(hits, degrees, row_of)

    values = {"text": scores(image=0.0), "image": scores(text=0.0)}
    values |= {f"both, image {w:g}": scores(image=w) for w in IMAGE_WEIGHTS}
    best = max(list(values)[2:], key=lambda name: values[name][tune].mean())
    values[f"both, tuned ({best.removeprefix('both, ')})"] = values[best]
    report = space.learn_fusion(_pairs(catalogue, queries[tune]), progress=True)
    print(f"learned: chosen {report.chosen}, {report.factors}, {report.ndcg}")
    if "learned" in report.chosen.values():
        values["both, learned"] = scores()
    equal_weights = "both, image 1"
    best_single = max(("text", "image"), key=lambda name: values[name][test].mean())
    print(f"\n{catalogue.name}: {len(queries) - len(queries) // 2} queries, {len(row_of):,} items")
    return _table(values, test, best_single, equal_weights)


def _table(
    values: dict[str, np.ndarray], test: slice, best_single: str, equal_weights: str
) -> dict[str, Any]:
    """Print each weighting compared with the better single modality and with equal weights."""
    rows, report = [], {}
    for name, scores in values.items():
        figure, lift = estimate(scores[test]), estimate(scores[test] - values[best_single][test])
        over_equal = estimate(scores[test] - values[equal_weights][test])
        ratio = scores[test].mean() / values[best_single][test].mean()
        rows.append(
            [
                name,
                _with_interval(figure),
                f"{ratio:.2f}",
                _with_interval(lift),
                _with_interval(over_equal),
            ]
        )
        report[name] = {
            "ndcg@10": figure._asdict(),
            "ratio": ratio,
            "lift": lift._asdict(),
            "over equal weights": over_equal._asdict(),
        }
    print_table(
        ("items by", "NDCG@10", f"x {best_single}", f"over {best_single}", f"over {equal_weights}"),
        rows,
    )
    return report


def _ndcg(hits: Sequence[Hit], degrees: np.ndarray, row_of: dict[str, int]) -> float:
    gains = degrees[[row_of[hit.item_id] for hit in hits]]
    return graded_ndcg(gains, degrees, K)


def _pairs(catalogue: Catalogue, queries: np.ndarray) -> list[dict[str, str]]:
    """Return pairs of each query with its ten most relevant items, ties broken at random."""
    rng, pairs = np.random.default_rng(1), []
    for query in queries.tolist():
        degrees = catalogue.degrees(query) + rng.random(len(catalogue.rows)) * 1e-6
        degrees[query] = 0
        nearest = [catalogue.rows[n]["item_id"] for n in np.argsort(-degrees)[:K].tolist()]
        pairs += [
            {"like": catalogue.rows[query]["item_id"], "item_id": item_id} for item_id in nearest
        ]
    return pairs


def _by_words(catalogue: Catalogue, arguments: argparse.Namespace) -> dict[str, Any]:
    space = _space(arguments.work / f"{catalogue.name}.space", catalogue.rows)
    row_of = {row["item_id"]: n for n, row in enumerate(catalogue.rows)}
    texts = sorted({row["attributes"] for row in catalogue.rows})
    texts = np.random.default_rng(0).permutation(texts)[: arguments.queries].tolist()
    attributes = np.array([row["attributes"] for row in catalogue.rows])
    half = len(texts) // 2
    pairs = [
        {"text": text, "item_id": catalogue.rows[n]["item_id"]}
        for text in texts[:half]
        for n in np.flatnonzero(attributes == text).tolist()
    ]

    def scores(weights: dict[str, float] | None) -> np.ndarray:
        return np.array(
            [
                _ndcg(
                    space.search(text, k=K, weights=weights),
                    (attributes == text).astype(float),
                    row_of,
                )
                for text in texts
            ]
        )

    values = {"fixed": scores(space.weights)}
    report = space.learn_fusion(pairs, progress=True)
    print(f"learned: chosen {report.chosen}, {report.factors}, {report.ndcg}")
    if report.chosen != {"text to item": "fixed"}:
        values["learned"] = scores(None)
    print(f"\nfashion by words: {len(texts) - half} texts")
    return _table(values, slice(half, None), "fixed", "fixed")


def _fashion(max_items: int) -> Catalogue:
    rows = _sample(_read("fashion_products", "fashion"), max_items)
    parts = np.array([row["attributes"].split(" - ")[:5] for row in rows])
    return Catalogue("fashion", rows, lambda n: (parts == parts[n]).mean(axis=1))


def _films(max_items: int) -> Catalogue:
    rows = _sample([row for row in _read("movielens_posters", "films") if row["image"]], max_items)
    names = sorted({genre for row in rows for genre in _genres(row)})
    has = np.array([[name in _genres(row) for name in names] for row in rows], np.float64)

    def jaccard(n: int) -> np.ndarray:
        shared = has @ has[n]
        return shared / np.maximum(has.sum(axis=1) + has[n].sum() - shared, 1)

    return Catalogue("films", rows, jaccard)


def _sample(rows: list[dict[str, Any]], max_items: int) -> list[dict[str, Any]]:
    """Return a random sample of the items, in their order; 0 means all."""
    sample = np.random.default_rng(2).permutation(len(rows))[: max_items or len(rows)]
    return [rows[n] for n in np.sort(sample).tolist()]


def _genres(row: dict[str, Any]) -> list[str]:
    return [genre for genre in (row["genres"] or "").split(", ") if genre]


def _read(folder: str, domain: str) -> list[dict[str, Any]]:
    rows = pq.read_table(DATA / folder / "items.parquet").to_pylist()
    return [
        {
            **row,
            "domain": domain,
            "image": str((DATA / folder / row["image"]).resolve()) if row["image"] else None,
        }
        for row in rows
    ]


def _space(
    path: Path,
    rows: Sequence[dict[str, Any]],
    text: str | None = "{title}",
    source: Path | None = None,
) -> Space:
    """Open or create a space; a new one may start with the embedding cache of another."""
    if path.exists():
        return Space.open(path)
    space = Space.create(path)
    if source is not None and source.exists():
        shutil.copytree(source / "embedding_cache", path / "embedding_cache", dirs_exist_ok=True)
    space.upsert(list(rows), text=text, image="image", progress=True)
    return space


def _new_films(arguments: argparse.Namespace) -> dict[str, Any]:
    folder = arguments.protocols / "movielens_posters" / "cold_item_movies"
    films = _read("movielens_posters", "movies")
    without_images = [{**row, "image": None} for row in films]
    images_only = [{**row, "title": None, "genres": None} for row in films if row["image"]]
    posters, both_path = arguments.work / "films.space", arguments.work / "new-both.space"
    both = _space(both_path, films, "{title}. {genres}", posters)
    spaces = {
        "text": _space(
            arguments.work / "new-text.space", without_images, "{title}. {genres}", both_path
        ),
        "image": _space(arguments.work / "new-image.space", images_only, None, both_path),
        "both": both,
    }
    systems = ["isthmus"] if arguments.train else []
    plan = EvaluationPlan(folders=[folder], baselines=["content"], systems=systems)
    rows, report = [], {}
    for name, space in spaces.items():
        card = space.evaluate(plan, out=arguments.work / f"card-{name}", progress=True)
        task = next(task for task in card.tasks if task.split == "test")
        for system in task.systems:
            figure = system.metrics["ndcg@10"]
            ndcg_text = _with_interval(Estimate(figure.value, figure.low, figure.high))
            parts = [
                f"{b.name} {b.estimate.value:.3f} ({b.truth:,})"
                for b in system.buckets
                if b.by == "modalities of the truth" and b.metric == "found@10" and b.estimate
            ]
            rows.append([system.name, name, ndcg_text, ", ".join(parts)])
            report[f"{system.name}, {name}"] = system.model_dump()
    print("\nnew films")
    print_table(("system", "items by", "NDCG@10", "found@10 by modalities (hidden)"), rows)
    return report


def _with_interval(figure: Estimate) -> str:
    return f"{figure.value:.4f} [{figure.low:.4f}, {figure.high:.4f}]"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "fusion")
    parser.add_argument("--queries", type=int, default=2_000, help="half of them for tuning")
    parser.add_argument("--items", type=int, default=0, help="items of each catalogue; 0 for all")
    parser.add_argument("--only", choices=("search", "new"), help="run only one part")
    parser.add_argument("--protocols", type=Path, help="protocol folders, for new films")
    parser.add_argument("--train", action="store_true", help="train Isthmus on new films too")
    parser.add_argument("--out", type=Path, help="JSON to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
