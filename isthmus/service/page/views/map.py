"""The map of a space: its contents on a plane, as a drawing that keys move in, and as a table."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import Any, Final

from starlette.responses import Response

from isthmus.errors import InvalidInput
from isthmus.retrieval.search.space_map import SpaceMap
from isthmus.service.page.cards import card_of_item
from isthmus.service.page.visit import Visit

POINTS: Final = 2_000
A_PAGE: Final = 50
DIGITS: Final = 3
LAYOUTS: Final = {"components": "principal components", "umap": "UMAP (takes a while)"}


async def show(visit: Visit) -> Response:
    """Show the map."""
    domains, layout = visit.texts("domain"), visit.text("layout") or "components"
    if layout not in LAYOUTS:
        raise InvalidInput(f"no layout {layout[:20]!r}; give one of {', '.join(LAYOUTS)}")
    counts = await visit.domains()
    total = sum(counts.values())
    drawing: SpaceMap | None = None
    problem = ""
    try:
        if total:
            drawing = await visit.ask("map", domain=domains or None, limit=POINTS, layout=layout)
    except InvalidInput as error:
        problem = str(error)
    first = visit.whole("from")
    rows = [] if drawing is None else _rows(drawing)
    layouts = {name: text for name, text in LAYOUTS.items() if name != "umap" or find_spec("umap")}
    return visit.show(
        "map.html",
        names=list(counts),
        chosen=domains,
        layout=layout,
        layouts=layouts,
        drawing=drawing,
        document="" if drawing is None else _document(drawing),
        legend=[] if drawing is None else sorted(set(drawing.domains)),
        modalities=[] if drawing is None else list(dict.fromkeys(drawing.modalities)),
        items=0 if drawing is None else len(set(drawing.item_ids)),
        total=total,
        rows=rows[first:][:A_PAGE],
        first=first,
        after=first + A_PAGE if first + A_PAGE < len(rows) else None,
        n_rows=len(rows),
        problem=problem,
    )


async def card(visit: Visit) -> Response:
    """Show the item of a point."""
    item: dict[str, Any] = await visit.ask("get", item_id=visit.fields.get("id", ""))
    return visit.show("map_card.html", card=card_of_item(item))


def _document(drawing: SpaceMap) -> str:
    """Return the points for the script that draws them."""
    domains = sorted(set(drawing.domains))
    modalities = list(dict.fromkeys(drawing.modalities))
    of_domain = {name: place for place, name in enumerate(domains)}
    of_modality = {name: place for place, name in enumerate(modalities)}
    points = [
        [round(float(x), DIGITS), round(float(y), DIGITS), of_domain[domain], of_modality[modality]]
        for (x, y), domain, modality in zip(
            drawing.points, drawing.domains, drawing.modalities, strict=True
        )
    ]
    return json.dumps(
        {
            "ids": list(drawing.item_ids),
            "points": points,
            "domains": domains,
            "modalities": modalities,
        }
    )


def _rows(drawing: SpaceMap) -> list[dict[str, Any]]:
    """Return the points as rows, those that lie together one after the other."""
    low, high = drawing.points.min(axis=0), drawing.points.max(axis=0)
    shares = (drawing.points - low) / (high - low).clip(min=1e-9)
    rows = [
        {
            "item_id": item_id,
            "domain": domain,
            "modality": modality,
            "right": float(x),
            "up": float(y),
        }
        for item_id, domain, modality, (x, y) in zip(
            drawing.item_ids, drawing.domains, drawing.modalities, shares, strict=True
        )
    ]
    return sorted(rows, key=lambda row: (-int(row["up"] * 4.999), row["right"], row["item_id"]))
