"""The pipeline on the bundled catalogue, offline: build a space, search it, recommend across it.

``make demo`` runs it; the space and the contact sheet are written to ``demo-output/``.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from isthmus import Hit, Space, User
from isthmus.retrieval.search.contact_sheet import SheetRow, draw_contact_sheet

CATALOGUE = Path(__file__).parent / "catalogue"
OUTPUT = Path("demo-output")
N_RESULTS = 6


def build(folder: Path) -> Space:
    """Return a published space of four catalogues."""
    shutil.rmtree(folder, ignore_errors=True)
    space = Space.create(folder, "local")
    for domain in ("films", "books", "products", "music"):
        report = space.upsert(
            CATALOGUE / f"{domain}.jsonl", text="{title}. {description}", progress=True
        )
        print(
            f"{domain}: {report.added} items, {report.encoded['text']} texts and "
            f"{report.encoded['image']} pictures encoded in {report.seconds:.1f} s"
        )
    manifest = space.publish()
    print(f"release {manifest.number}: {manifest.rows} items, recall {manifest.worst_recall:.3f}\n")
    return space


def show(title: str, hits: Sequence[Hit]) -> None:
    """Print the hits of a query."""
    print(title)
    for hit in hits:
        print(f"  {hit.rank}. {hit.score:6.3f}  {hit.domain:9} {hit.attributes['title']}")
    print()


def run_queries(space: Space) -> list[SheetRow]:
    """Run one query of each kind, and return the results as rows of a contact sheet."""
    poster = str(CATALOGUE / "pictures/film-011.png")
    film = next(
        h for h in space.search("a ship in a storm at sea", domain="films", attributes=True)
    )
    history = space.search(
        "jazz club, saxophone and piano trio", domain="music", k=2, attributes=True
    )
    history += space.search("climbing a mountain", domain="music", k=2, attributes=True)
    user = User(history=[hit.item_id for hit in history])
    history_titles = " + ".join(str(hit.attributes["title"]) for hit in history)
    results = [
        (
            "text: cosy winter evening in a cabin",
            None,
            space.search("cosy winter evening in a cabin", k=N_RESULTS, attributes=True),
        ),
        (
            "image: the poster at the left",
            poster,
            space.search(image=poster, k=N_RESULTS, attributes=True),
        ),
        (
            f"books like the film {film.attributes['title']}",
            film.image,
            space.similar(film.item_id, domain="books", k=N_RESULTS, attributes=True),
        ),
        (
            f"films for a user with a history of music only: {history_titles}",
            history[0].image,
            space.recommend(user, domain="films", k=N_RESULTS, attributes=True),
        ),
        (
            "text with a filter: gift for a gardener, price < 30",
            None,
            space.search(
                "gift for a gardener",
                domain="products",
                where="price < 30",
                k=N_RESULTS,
                attributes=True,
            ),
        ),
    ]
    for title, _, hits in results:
        show(title, hits)
    return [SheetRow(title, picture, tuple(hits)) for title, picture, hits in results]


def search_pictures(folder: Path) -> SheetRow:
    """Search pictures without texts by a text, in a space of product pictures."""
    shutil.rmtree(folder, ignore_errors=True)
    space = Space.create(folder, "local")
    rows = [json.loads(line) for line in (CATALOGUE / "products.jsonl").read_text().splitlines()]
    pictures = [
        {"item_id": row["item_id"], "title": row["title"], "image": str(CATALOGUE / row["image"])}
        for row in rows
        if row.get("image")
    ]
    space.upsert(pictures, domain="pictures")
    hits = space.search("a shirt", k=N_RESULTS, attributes=True)
    title = "text query for pictures without texts, by the alignment: a shirt"
    show(title, hits)
    return SheetRow(title, None, tuple(hits))


def main() -> None:
    """Build the space, run the queries, and draw the contact sheet."""
    OUTPUT.mkdir(exist_ok=True)
    space = build(OUTPUT / "demo.space")
    rows = [*run_queries(space), search_pictures(OUTPUT / "pictures.space")]
    sheet = OUTPUT / "results.png"
    draw_contact_sheet(rows, space.media).save(sheet, optimize=True)
    print(f"space: {space.path}\npicture: {sheet}")


if __name__ == "__main__":
    main()
