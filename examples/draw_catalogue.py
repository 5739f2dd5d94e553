"""Draw the demo catalogue's pictures: ``python examples/draw_catalogue.py``.

Reads the items in ``examples/catalogue/*.jsonl`` and their themes in ``themes.csv``, and writes
one small PNG for every item that names a picture. Each picture is seeded by its item's id, so
the same items give the same pictures.
"""

import argparse
import csv
import io
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from drawing import frames
from drawing.motifs import MOTIFS
from drawing.paint import Scene
from PIL import Image

CATALOGUE = Path(__file__).parent / "catalogue"
SUPERSAMPLE = 3
MAX_BYTES = 6700

FRAMES = {
    "films": (frames.poster, (160, 224)),
    "books": (frames.cover, (160, 224)),
    "products": (frames.product, (192, 192)),
    "music": (frames.sleeve, (192, 192)),
}


def read_items(folder: Path) -> Iterator[dict[str, Any]]:
    """Read every item of a catalogue folder.

    Parameters
    ----------
    folder : pathlib.Path
        Holds one JSONL file for each domain.

    Yields
    ------
    dict
        One item.
    """
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)


def read_themes(path: Path) -> dict[str, str]:
    """Read the theme of every item.

    Parameters
    ----------
    path : pathlib.Path
        A CSV file with the columns item_id and theme.

    Returns
    -------
    dict
        Theme by item id.
    """
    with path.open(encoding="utf-8", newline="") as handle:
        return {row["item_id"]: row["theme"] for row in csv.DictReader(handle)}


def draw(item: dict[str, Any], theme: str) -> Image.Image:
    """Draw one item's picture.

    Parameters
    ----------
    item : dict
        The item; its id seeds the drawing and its words choose details.
    theme : str
        Which motif to draw.

    Returns
    -------
    PIL.Image.Image
        The picture in RGB.
    """
    frame, (width, height) = FRAMES[item["domain"]]
    words = f"{item['title']}\n{item['description']}"
    rng = random.Random(item["item_id"])
    scene = Scene(width * SUPERSAMPLE, height * SUPERSAMPLE, rng, words)
    frame(scene, MOTIFS[theme])
    return frames.finish(scene, width, height)


def pack(image: Image.Image, max_bytes: int = MAX_BYTES) -> bytes:
    """Encode a picture as a palette PNG, with as many colours as its size limit allows.

    Parameters
    ----------
    image : PIL.Image.Image
        The RGB picture.
    max_bytes : int, optional
        Size limit in bytes; exceeded only if 16 colours exceed it.

    Returns
    -------
    bytes
        The PNG file.
    """
    data = b""
    for colours in (128, 96, 64, 48, 40, 32, 24, 16):
        small = image.quantize(
            colours, Image.Quantize.MEDIANCUT, kmeans=2, dither=Image.Dither.NONE
        )
        buffer = io.BytesIO()
        small.save(buffer, "PNG", optimize=True)
        data = buffer.getvalue()
        if len(data) <= max_bytes:
            break
    return data


def main() -> None:
    """Draw every picture that the catalogue names."""
    parser = argparse.ArgumentParser(description="Draw the demo catalogue's pictures.")
    parser.add_argument("--catalogue", type=Path, default=CATALOGUE, help="folder of the items")
    parser.add_argument("--out", type=Path, help="write under this folder instead")
    arguments = parser.parse_args()
    out = arguments.out or arguments.catalogue
    themes = read_themes(arguments.catalogue / "themes.csv")
    sizes = []
    for item in read_items(arguments.catalogue):
        if item["image"] is None:
            continue
        path = out / item["image"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pack(draw(item, themes[item["item_id"]])))
        sizes.append(path.stat().st_size)
    print(f"{len(sizes)} pictures, {sum(sizes):,} bytes, the largest {max(sizes):,}")


if __name__ == "__main__":
    main()
