"""Ten text, ten image and ten cross-domain "similar" queries on the real data, as contact sheets.

``python benchmarks/by_eye.py --space /tmp/real.space --out /tmp/sheets``

The pictures of the data sets may not be republished: ``--mosaic`` reduces each to 8 by 8 colours.
"""

from __future__ import annotations

import argparse
import io
import os
from pathlib import Path

from PIL import Image

from isthmus import Hit, Space
from isthmus.data.media import MediaStore
from isthmus.encoders.image import open_image
from isthmus.retrieval.search.contact_sheet import SheetRow, draw_contact_sheet

DATA = Path(os.environ.get("ISTHMUS_DATA", "../shared/data"))
N_RESULTS = 8
TEXTS = (
    ("watercolor brushes for beginners", None),
    ("black leather handbag for women", None),
    ("astronauts stranded in space", None),
    ("animated film about toys", None),
    ("red running shoes", "fashion"),
    ("ergonomic office chair", "office"),
    ("yarn for knitting a baby blanket", None),
    ("vampire horror", "movies"),
    ("silver wrist watch", None),
    ("ink for my printer", None),
)
IMAGES = ("f38682", "f21179", "m1", "m260", "m2571", "m480", "m356", "m589", "f10004", "f10006")
SIMILAR = (
    ("m1", "fashion"),
    ("m2", "office"),
    ("a0", "office"),
    ("a1", "office"),
    ("f38682", "arts_crafts"),
    ("f21179", "movies"),
    ("m260", "arts_crafts"),
    ("m589", "office"),
    ("f10004", "office"),
    ("m480", "fashion"),
)


class Mosaic(MediaStore):
    """Media store that reduces pictures to 8 by 8 colours."""

    def read(self, reference: str) -> bytes:
        """Return a picture, reduced to 8 by 8 colours, as PNG."""
        image = open_image(super().read(reference))
        small = image.resize((8, 8), Image.Resampling.BOX)
        buffer = io.BytesIO()
        small.resize((96, 96), Image.Resampling.NEAREST).save(buffer, "PNG")
        return buffer.getvalue()


def text_rows(space: Space) -> list[SheetRow]:
    """Return the results of the text queries."""
    return [
        SheetRow(
            text if domain is None else f"{text} ({domain})",
            None,
            tuple(space.search(text, k=N_RESULTS, domain=domain, attributes=True)),
        )
        for text, domain in TEXTS
    ]


def image_rows(space: Space) -> list[SheetRow]:
    """Return the results of searches by the picture of an item, without the item itself."""
    rows = []
    for item_id in IMAGES:
        item = space.get(item_id)
        hits = space.search(image=item["image"], k=N_RESULTS + 1, attributes=True)
        other_hits = tuple(hit for hit in hits if hit.item_id != item_id)[:N_RESULTS]
        rows.append(SheetRow(item["text"], item["image"], other_hits))
    return rows


def similar_rows(space: Space) -> list[SheetRow]:
    """Return the items of another domain that are similar to an item."""
    rows = []
    for item_id, domain in SIMILAR:
        item = space.get(item_id)
        hits = space.similar(item_id, domain=domain, k=N_RESULTS, attributes=True)
        rows.append(SheetRow(f"{item['text']} -> {domain}", item["image"], tuple(hits)))
    return rows


def as_markdown(rows: list[SheetRow]) -> str:
    """Return the first three hits of each query as a Markdown list."""

    def describe(hit: Hit) -> str:
        return f"{(hit.text or hit.item_id)[:60]} ({hit.domain}, {hit.score:.2f})"

    return "\n".join(
        f"* **{row.query[:80]}**: {'; '.join(describe(hit) for hit in row.hits[:3])}"
        for row in rows
    )


def main() -> None:
    """Draw the three contact sheets, and print their first hits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--mosaic", action="store_true")
    arguments = parser.parse_args()
    space = Space.open(arguments.space)
    media = Mosaic(space.path / "media") if arguments.mosaic else space.media
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, rows_of in (("text", text_rows), ("image", image_rows), ("similar", similar_rows)):
        rows = rows_of(space)
        sheet = draw_contact_sheet(rows, media).quantize(64)
        sheet.save(arguments.out / f"real_{name}.png", optimize=True)
        print(f"\n### {name}\n\n{as_markdown(rows)}")


if __name__ == "__main__":
    main()
