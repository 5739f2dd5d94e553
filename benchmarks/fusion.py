"""Text and pictures together, beside each alone: search, and recommendation of new items.

``OMP_NUM_THREADS=1 python benchmarks/fusion.py --protocols ../shared/protocols --train`` (data:
ISTHMUS_DATA; the spaces are kept in ``--work``)

*Search*: items like an item (``Space.similar``), with the weights of text and pictures that a query
brings; fashion products by their titles and pictures, judged by the attributes that they share
(parts of ``attributes``, of five), films with a poster by title and poster, judged by their genres
(Jaccard). Both stand in no text that is encoded. NDCG@10 with these degrees as gains, ideal lists
over the whole catalogue, each query's own item left out. The tuned weight is the best for half of
the queries; all figures are of the other half, with intervals over queries.

*New films*: nearest neighbours by content, and Isthmus trained, on the protocol of hidden films
(a third of the films have a poster), for spaces of text alone, pictures alone, and both.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from common.tables import print_heading, print_table, write_json

from isthmus import EvaluationPlan, Space
from isthmus.retrieval.evaluation.statistics import Estimate, estimate

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
    found = {own.name: _search(own, asked) for own in (_fashion(), _films())}
    new = _new_films(asked) if asked.protocols else {}
    if asked.out:
        write_json(asked.out, {"search": found, "new films": new})


def _search(catalogue: Catalogue, asked: argparse.Namespace) -> dict[str, Any]:
    space = _space(asked.work / f"{catalogue.name}.space", catalogue.rows)
    both = [n for n, row in enumerate(catalogue.rows) if row["image"]]
    queries = np.random.default_rng(0).permutation(both)[: asked.queries]
    place = {row["item_id"]: n for n, row in enumerate(catalogue.rows)}

    def scores(weights: dict[str, float]) -> np.ndarray:
        return np.array([_ndcg(space, catalogue, place, int(query), weights) for query in queries])

    ways = {"text": {"image": 0.0}, "image": {"text": 0.0}}
    ways |= {f"both, image {w:g}": {"image": w} for w in IMAGE_WEIGHTS}
    values = {name: scores(weights) for name, weights in ways.items()}
    tune, test = slice(0, len(queries) // 2), slice(len(queries) // 2, None)
    best = max(list(values)[2:], key=lambda name: values[name][tune].mean())
    alone = max(("text", "image"), key=lambda name: values[name][test].mean())
    values[f"both, tuned ({best.removeprefix('both, ')})"] = values[best]
    rows, report = [], {}
    for name, own in values.items():
        figure, lift = estimate(own[test]), estimate(own[test] - values[alone][test])
        ratio = own[test].mean() / values[alone][test].mean()
        rows.append([name, _shown(figure), f"{ratio:.2f}", _shown(lift)])
        report[name] = {"ndcg@10": figure._asdict(), "ratio": ratio, "lift": lift._asdict()}
    print(f"\n{catalogue.name}: {len(queries) - len(queries) // 2} queries, {len(place):,} items")
    print_table(("items by", "NDCG@10", f"x {alone}", f"over {alone}"), rows)
    return report


def _ndcg(
    space: Space, catalogue: Catalogue, place: dict[str, int], query: int, weights: dict[str, float]
) -> float:
    degrees = catalogue.degrees(query)
    degrees[query] = 0
    hits = space.similar(catalogue.rows[query]["item_id"], k=K, weights=weights)
    gains = degrees[[place[hit.item_id] for hit in hits]]
    discounts = 1 / np.log2(np.arange(2, K + 2))
    ideal = np.sort(degrees)[::-1][:K] @ discounts
    return float(gains @ discounts[: len(gains)] / ideal) if ideal > 0 else 0.0


def _fashion() -> Catalogue:
    rows = _read("fashion_products", "fashion")
    parts = np.array([row["attributes"].split(" - ")[:5] for row in rows])
    return Catalogue("fashion", rows, lambda n: (parts == parts[n]).mean(axis=1))


def _films() -> Catalogue:
    rows = [row for row in _read("movielens_posters", "films") if row["image"]]
    names = sorted({genre for row in rows for genre in _genres(row)})
    has = np.array([[name in _genres(row) for name in names] for row in rows], np.float64)

    def jaccard(n: int) -> np.ndarray:
        shared = has @ has[n]
        return shared / np.maximum(has.sum(axis=1) + has[n].sum() - shared, 1)

    return Catalogue("films", rows, jaccard)


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


def _space(path: Path, rows: Sequence[dict[str, Any]], text: str | None = "{title}") -> Space:
    if path.exists():
        return Space.open(path)
    space = Space.create(path)
    space.upsert(list(rows), text=text, image="image", progress=True)
    return space


def _new_films(asked: argparse.Namespace) -> dict[str, Any]:
    folder = asked.protocols / "movielens_posters" / "cold_item_movies"
    films = _read("movielens_posters", "movies")
    bare = [{**row, "image": None} for row in films]
    wordless = [{**row, "title": None, "genres": None} for row in films if row["image"]]
    spaces = {
        "text": _space(asked.work / "new-text.space", bare, "{title}. {genres}"),
        "image": _space(asked.work / "new-image.space", wordless, None),
        "both": _space(asked.work / "new-both.space", films, "{title}. {genres}"),
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
                f"{b.name} {b.figure.value:.3f} ({b.truth:,})"
                for b in system.buckets
                if b.by == "modalities of the truth" and b.metric == "found@10" and b.figure
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
    parser.add_argument("--protocols", type=Path, help="for new films; left out without")
    parser.add_argument("--train", action="store_true", help="train Isthmus on new films too")
    parser.add_argument("--out", type=Path, help="JSON to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
