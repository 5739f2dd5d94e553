"""An item with its neighbours in every domain, whom to tell about it, and the pictures of items."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from starlette.responses import Response

from isthmus.errors import InvalidInput
from isthmus.retrieval.search.titles import title_of
from isthmus.service.page.cards import Card, cards_of, facts_of, link_of_item
from isthmus.service.page.rendering import STATIC
from isthmus.service.page.thumbnails import SIDES, WEBP
from isthmus.service.page.thumbnails import thumbnail as small
from isthmus.service.page.visit import Visit

NEIGHBOURS: Final = 6
MAX_DOMAINS: Final = 12
USERS: Final = 50
KEPT: Final = "private, max-age=3600"


async def show(visit: Visit) -> Response:
    """Show an item."""
    item_id = _id(visit)
    item = await visit.ask("get", item_id=item_id)
    names, own = list(await visit.domains())[:MAX_DOMAINS], item["domain"]
    names = [own, *(name for name in names if name != own)] if own in names else names
    lists: list[list[Card]] = []
    if item.get("modalities"):
        lists = await asyncio.gather(*(_neighbours(visit, item_id, name) for name in names))
    return visit.show(
        "item.html",
        item=item,
        title=title_of(item_id, item.get("text"), item.get("attributes") or {}),
        facts=facts_of(item.get("attributes") or {}),
        link=link_of_item(item),
        neighbours=list(zip(names, lists, strict=False)),
    )


async def _neighbours(visit: Visit, item_id: str, domain: str) -> list[Card]:
    hits = await visit.ask(
        "similar", item_id=item_id, domain=[domain], k=NEIGHBOURS, attributes=True
    )
    return cards_of(hits)


async def users(visit: Visit) -> Response:
    """Show the users to tell about an item."""
    item_id = _id(visit)
    item = await visit.ask("get", item_id=item_id)
    found: list[dict[str, Any]] = await visit.ask("recommend_users", item_id=item_id, k=USERS)
    return visit.show(
        "item_users.html",
        item_id=item_id,
        domain=item["domain"],
        title=title_of(item_id, item.get("text"), item.get("attributes") or {}),
        users=found,
    )


async def thumbnail(visit: Visit) -> Response:
    """Answer with the picture of an item, small."""
    item: dict[str, Any] = await visit.ask("get", item_id=_id(visit))
    return await picture(visit, item.get("image"))


async def picture(visit: Visit, reference: str | None) -> Response:
    """Answer with a small picture, or with one that says that there is none."""
    size = visit.text("size") or "small"
    if size not in SIDES:
        raise InvalidInput(f"no size {size[:20]!r}; give one of {', '.join(SIDES)}")
    data = None
    if reference:
        data = await asyncio.to_thread(small, visit.space.space.media, reference, size)
    if data is None:
        blank = (STATIC / "no-picture.svg").read_bytes()
        return Response(blank, media_type="image/svg+xml", headers={"cache-control": KEPT})
    return Response(data, media_type=WEBP, headers={"cache-control": KEPT})


def _id(visit: Visit) -> str:
    item_id = visit.fields.get("id", "")
    if not isinstance(item_id, str) or not item_id:
        raise InvalidInput("this address names no item; it ends with ?id=ID")
    return item_id
