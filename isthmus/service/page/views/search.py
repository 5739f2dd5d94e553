"""Search by words or a picture, with filters and facets; without a query, the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.responses import Response

from isthmus.errors import InvalidFilter, InvalidInput, InvalidMedia
from isthmus.service.page.cards import Card, card_of_item, cards_of
from isthmus.service.page.facets import chosen_of, count_facets, joined, kinds_of, uncounted_facets
from isthmus.service.page.visit import Visit, uploaded

A_PAGE: Final = 24
QUERY_ERRORS: Final = (InvalidFilter, InvalidInput, InvalidMedia)


@dataclass(frozen=True)
class Results:
    """What a search found.

    Attributes
    ----------
    cards : list of Card
        The items.
    notes : sequence of str
        What is to be said of them.
    cursor : str or None
        Where the next page begins.
    """

    cards: list[Card]
    notes: Sequence[str] = ()
    cursor: str | None = None

    @property
    def pictured(self) -> bool:
        """Whether any item has a picture."""
        return any(card.has_image for card in self.cards)


async def show(visit: Visit) -> Response:
    """Show a search."""
    words, image = visit.text("q"), await uploaded(visit.fields.get("image"))
    domains, typed = visit.texts("domain"), visit.text("where")
    kinds = kinds_of(await visit.ask("attributes", domain=domains or None))
    chosen = chosen_of(visit, kinds)
    results, facets, problem, total = Results([]), [], "", None
    try:
        where = joined([typed, *(one.where for one in chosen)])
        facets = await count_facets(visit, chosen, domains, typed or None)
        results = await _found(visit, words, image, domains, where)
        total = await visit.ask("count", domain=domains or None, where=where)
    except QUERY_ERRORS as error:
        problem, facets = str(error), facets or uncounted_facets(chosen, domains)
    return visit.show(
        "search.html",
        words=words,
        pictured_query=image is not None,
        typed=typed,
        domains=domains,
        facets=facets,
        results=results,
        total=total,
        problem=problem,
        hybrid=bool(visit.text("hybrid")),
        takes_pictures="image" in visit.space.space.settings.encoders,
        next_page=_next_page(visit, results),
    )


async def _found(
    visit: Visit, words: str, image: bytes | None, domains: list[str], where: str | None
) -> Results:
    options: dict[str, Any] = {"domain": domains or None, "where": where, "k": A_PAGE}
    options["cursor"] = visit.text("cursor") or None
    if not words and image is None:
        page = await visit.ask("scroll", **options)
        return Results([card_of_item(item) for item in page], cursor=page.cursor)
    hybrid = bool(visit.text("hybrid")) and bool(words)
    hits = await visit.ask(
        "search",
        text=words or None,
        image=image,
        hybrid=hybrid or None,
        attributes=True,
        **options,
    )
    return Results(cards_of(hits), hits.notes, hits.cursor)


def _next_page(visit: Visit, results: Results) -> str | None:
    """Return the address of the next page; None after the last, and for a picture, a post."""
    if results.cursor is None or visit.request.method == "POST":
        return None
    fields = {name: visit.fields.getlist(name) for name in visit.fields}
    return visit.address("search", **{**fields, "cursor": results.cursor})
