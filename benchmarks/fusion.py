"""Text and pictures together, beside each alone: search, and recommendation of new items.

``OMP_NUM_THREADS=1 python benchmarks/fusion.py --protocols ../shared/protocols --train`` (data:
ISTHMUS_DATA; the spaces are kept in ``--work``)

*Search*: items like an item (``Space.similar``), with the weights of text and pictures that a query
brings; fashion products by their titles and pictures, judged by the attributes that they share
(parts of ``attributes``, of five), films with a poster by title and poster, judged by their genres
(Jaccard). Both stand in no text that is encoded. NDCG@10 with these degrees as gains, ideal lists
over the whole catalogue, each query's own item left out. The tuned weight is the best for half of
the queries, and fusion weights are learned from pairs of these queries with items most like them;
all figures are of the other half, with intervals over queries.

*Search by words*: the attributes of a product as a text find its items, in the named vectors of
text and of the alignment; equal weights, and weights learned from half of the attributes.

*New films*: nearest neighbours by content, and Isthmus trained, on the protocol of hidden films
(a third of the films have a poster), for spaces of text alone, pictures alone, and both.
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
    """Items to search, and how alike they are held to be."""

    name: str
    rows: list[dict[str, Any]]
    degrees: Degrees


def main() -> None:
    """Measure search on both catalogues, then new films."""
    asked = _arguments()
    print_heading("text and pictures, together and alone", ("numpy", "torch", "faiss-gpu"))
    found = {}
    if asked.only != "new":
        for own in (_fashion(asked.items), _films(asked.items)):
            found[own.name] = _search(own, asked)
        found["fashion by words"] = _by_words(_fashion(asked.items), asked)
    new = _new_films(asked) if asked.protocols and asked.only != "search" else {}
    if asked.out:
        write_json(asked.out, {"search": found, "new films": new})


def _search(catalogue: Catalogue, asked: argparse.Namespace) -> dict[str, Any]:
    space = _space(asked.work / f"{catalogue.name}.space", catalogue.rows)
    both = [n for n, row in enumerate(catalogue.rows) if row["image"]]
    queries = np.random.default_rng(0).permutation(both)[: asked.queries]
    tune, test = slice(0, len(queries) // 2), slice(len(queries) // 2, None)
    place = {row["item_id"]: n for n, row in enumerate(catalogue.rows)}

    def scores(**weights: float) -> np.ndarray:
        return np.array([_of(int(query), weights or None) for query in queries])

    def _of(query: int, weights: dict[str, float] | None) -> float:
        degrees = catalogue.degrees(query)
        degrees[query] = 0
        item_id = catalogue.rows[query]["item_id"]
        hits = space.similar(item_id, k=K, weights=weights)
        return _ndcg(hits, degrees, place)

    values = {"text": scores(image=0.0), "image": scores(text=0.0)}
    values |= {f"both, image {w:g}": scores(image=w) for w in IMAGE_WEIGHTS}
    best = max(list(values)[2:], key=lambda name: values[name][tune].mean())
    values[f"both, tuned ({best.removeprefix('both, ')})"] = values[best]
    report = space.learn_fusion(_pairs(catalogue, queries[tune]), progress=True)
    print(f"learned: chosen {report.chosen}, {report.factors}, {report.ndcg}")
    if "learned" in report.chosen.values():
        values["both, learned"] = scores()
    fixed = "both, image 1"
    alone = max(("text", "image"), key=lambda name: values[name][test].mean())
    print(f"\n{catalogue.name}: {len(queries) - len(queries) // 2} queries, {len(place):,} items")
    return _table(values, test, alone, fixed)


def _table(values: dict[str, np.ndarray], test: slice, alone: str, fixed: str) -> dict[str, Any]:
    """Print each way beside the better modality alone, and beside equal weights."""
    rows, report = [], {}
    for name, own in values.items():
        figure, lift = estimate(own[test]), estimate(own[test] - values[alone][test])
        beside = estimate(own[test] - values[fixed][test])
        ratio = own[test].mean() / values[alone][test].mean()
        rows.append([name, _shown(figure), f"{ratio:.2f}", _shown(lift), _shown(beside)])
        report[name] = {
            "ndcg@10": figure._asdict(),
            "ratio": ratio,
            "lift": lift._asdict(),
            "over equal weights": beside._asdict(),
        }
    print_table(("items by", "NDCG@10", f"x {alone}", f"over {alone}", f"over {fixed}"), rows)
    return report


def _ndcg(hits: Sequence[Hit], degrees: np.ndarray, place: dict[str, int]) -> float:
    gains = degrees[[place[hit.item_id] for hit in hits]]
    return graded_ndcg(gains, degrees, K)


def _pairs(catalogue: Catalogue, queries: np.ndarray) -> list[dict[str, str]]:
    """Pair each query with the ten items that are most like it, ties drawn."""
    rng, pairs = np.random.default_rng(1), []
    for query in queries.tolist():
        degrees = catalogue.degrees(query) + rng.random(len(catalogue.rows)) * 1e-6
        degrees[query] = 0
        near = [catalogue.rows[n]["item_id"] for n in np.argsort(-degrees)[:K].tolist()]
        pairs += [{"like": catalogue.rows[query]["item_id"], "item_id": one} for one in near]
    return pairs


def _by_words(catalogue: Catalogue, asked: argparse.Namespace) -> dict[str, Any]:
    space = _space(asked.work / f"{catalogue.name}.space", catalogue.rows)
    place = {row["item_id"]: n for n, row in enumerate(catalogue.rows)}
    texts = sorted({row["attributes"] for row in catalogue.rows})
    texts = np.random.default_rng(0).permutation(texts)[: asked.queries].tolist()
    said = np.array([row["attributes"] for row in catalogue.rows])
    half = len(texts) // 2
    pairs = [
        {"text": text, "item_id": catalogue.rows[n]["item_id"]}
        for text in texts[:half]
        for n in np.flatnonzero(said == text).tolist()
    ]

    def scores(weights: dict[str, float] | None) -> np.ndarray:
        return np.array(
            [
                _ndcg(space.search(text, k=K, weights=weights), (said == text).astype(float), place)
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


def _fashion(most: int) -> Catalogue:
    rows = _some(_read("fashion_products", "fashion"), most)
    parts = np.array([row["attributes"].split(" - ")[:5] for row in rows])
    return Catalogue("fashion", rows, lambda n: (parts == parts[n]).mean(axis=1))


def _films(most: int) -> Catalogue:
    rows = _some([row for row in _read("movielens_posters", "films") if row["image"]], most)
    names = sorted({genre for row in rows for genre in _genres(row)})
    has = np.array([[name in _genres(row) for name in names] for row in rows], np.float64)

    def jaccard(n: int) -> np.ndarray:
        shared = has @ has[n]
        return shared / np.maximum(has.sum(axis=1) + has[n].sum() - shared, 1)

    return Catalogue("films", rows, jaccard)


def _some(rows: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """Draw some of the items, in their order; all where there are no more."""
    drawn = np.random.default_rng(2).permutation(len(rows))[: most or len(rows)]
    return [rows[n] for n in np.sort(drawn).tolist()]


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
    known: Path | None = None,
) -> Space:
    """Open or make a space; what another has encoded is taken out of its embedding cache."""
    if path.exists():
        return Space.open(path)
    space = Space.create(path)
    if known is not None and known.exists():
        shutil.copytree(known / "embedding_cache", path / "embedding_cache", dirs_exist_ok=True)
    space.upsert(list(rows), text=text, image="image", progress=True)
    return space


def _new_films(asked: argparse.Namespace) -> dict[str, Any]:
    folder = asked.protocols / "movielens_posters" / "cold_item_movies"
    films = _read("movielens_posters", "movies")
    bare = [{**row, "image": None} for row in films]
    wordless = [{**row, "title": None, "genres": None} for row in films if row["image"]]
    posters, whole = asked.work / "films.space", asked.work / "new-both.space"
    both = _space(whole, films, "{title}. {genres}", posters)
    spaces = {
        "text": _space(asked.work / "new-text.space", bare, "{title}. {genres}", whole),
        "image": _space(asked.work / "new-image.space", wordless, None, whole),
        "both": both,
    }
    systems = ["isthmus"] if asked.train else []
    plan = EvaluationPlan(folders=[folder], baselines=["content"], systems=systems)
    rows, report = [], {}
    for name, space in spaces.items():
        card = space.evaluate(plan, out=asked.work / f"card-{name}", progress=True)
        task = next(task for task in card.tasks if task.split == "test")
        for system in task.systems:
            figure = system.metrics["ndcg@10"]
            shown = _shown(Estimate(figure.value, figure.low, figure.high))
            parts = [
                f"{b.name} {b.estimate.value:.3f} ({b.truth:,})"
                for b in system.buckets
                if b.by == "modalities of the truth" and b.metric == "found@10" and b.estimate
            ]
            rows.append([system.name, name, shown, ", ".join(parts)])
            report[f"{system.name}, {name}"] = system.model_dump()
    print("\nnew films")
    print_table(("system", "items by", "NDCG@10", "found@10 by modalities (hidden)"), rows)
    return report


def _shown(figure: Estimate) -> str:
    return f"{figure.value:.4f} [{figure.low:.4f}, {figure.high:.4f}]"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "fusion")
    parser.add_argument("--queries", type=int, default=2_000, help="a half of them to tune by")
    parser.add_argument("--items", type=int, default=0, help="of each catalogue; 0 for all")
    parser.add_argument("--only", choices=("search", "new"), help="leave the other out")
    parser.add_argument("--protocols", type=Path, help="for new films; left out without")
    parser.add_argument("--train", action="store_true", help="train Isthmus on new films too")
    parser.add_argument("--out", type=Path, help="JSON to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
