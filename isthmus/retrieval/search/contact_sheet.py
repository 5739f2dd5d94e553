"""Contact sheets: results as one picture, a row for each query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from isthmus.data.media import MediaStore
from isthmus.encoders.decoding import decode
from isthmus.errors import InvalidImage
from isthmus.retrieval.search.results import Hit

CELL, PICTURE, LINE, GAP = 168, 128, 14, 8  # pixels
HEIGHT = PICTURE + 4 * LINE + 2 * GAP
INK, FAINT, PAPER, TINT = "#1c2430", "#6b7687", "#ffffff", "#eef2f8"
DOMAIN_INKS = ("#2f6fde", "#c2410c", "#15803d", "#9333ea", "#b45309", "#0e7490")


@dataclass(frozen=True)
class SheetRow:
    """A query and its hits.

    Attributes
    ----------
    query : str
        The query in words.
    picture : str or None
        Reference of the query's picture.
    hits : tuple of Hit
        Its results, with text and image.
    """

    query: str
    picture: str | None
    hits: tuple[Hit, ...]


def draw_contact_sheet(rows: Sequence[SheetRow], media: MediaStore) -> Image.Image:
    """Draw queries (left) and their hits, each with picture, text, domain and score.

    Returns
    -------
    PIL.Image.Image
        RGB, 168 pixels a column and 200 a row.
    """
    columns = 1 + max((len(row.hits) for row in rows), default=0)
    sheet = Image.new("RGB", (CELL * columns, HEIGHT * len(rows)), PAPER)
    draw = ImageDraw.Draw(sheet)
    domains = sorted({hit.domain for row in rows for hit in row.hits})
    inks = {name: DOMAIN_INKS[i % len(DOMAIN_INKS)] for i, name in enumerate(domains)}
    for y, row in enumerate(rows):
        draw.rectangle((0, y * HEIGHT, CELL - 1, (y + 1) * HEIGHT - 1), fill=TINT)
        _draw_cell(sheet, draw, (0, y), row.picture, row.query, "query", FAINT, media)
        for x, hit in enumerate(row.hits, 1):
            note = f"{hit.domain}  {hit.score:.3f}"
            text = hit.text or hit.item_id
            _draw_cell(sheet, draw, (x, y), hit.image, text, note, inks[hit.domain], media)
    return sheet


def _draw_cell(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    cell: tuple[int, int],
    picture: str | None,
    text: str,
    note: str,
    ink: str,
    media: MediaStore,
) -> None:
    font = ImageFont.load_default(11)
    left, top = cell[0] * CELL + GAP, cell[1] * HEIGHT + GAP
    thumbnail = _thumbnail(picture, media)
    if thumbnail:
        sheet.paste(thumbnail, (left + (PICTURE - thumbnail.width) // 2, top))
    lines = _wrap(draw, text, CELL - 2 * GAP, 3 if thumbnail else 9)
    start = top + PICTURE + 4 if thumbnail else top
    for n, line in enumerate(lines):
        draw.text((left, start + n * LINE), line, fill=INK, font=font)
    draw.text((left, top + PICTURE + 4 + 3 * LINE), note, fill=ink, font=font)


def _thumbnail(picture: str | None, media: MediaStore) -> Image.Image | None:
    if not picture:
        return None
    try:
        image: Image.Image = decode("image", media.read(picture))
    except InvalidImage:
        return None
    scale = PICTURE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size)


def _wrap(draw: ImageDraw.ImageDraw, text: str, width: int, max_lines: int) -> list[str]:
    font = ImageFont.load_default(11)
    lines: list[str] = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if draw.textlength(longer, font=font) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > max_lines:
        lines = [*lines[: max_lines - 1], lines[max_lines - 1][:18] + "…"]
    return lines
