"""Recommendations for a user, or for a history put together by clicking: a list, or rows."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.responses import Response

from isthmus.errors import Busy, InvalidInput, ItemNotFound
from isthmus.retrieval.recommend.rows import Rows
from isthmus.retrieval.recommend.users import User
from isthmus.retrieval.search.results import Hits
from isthmus.service.page.bars import Reasons, largest_gain, reasons_of
from isthmus.service.page.cards import Card, card_of_item, cards_of
from isthmus.service.page.visit import Visit

LENGTH: Final = 12
ROW_LENGTH: Final = 6
FOUND: Final = 6
MAX_HISTORY: Final = 50
CLICK: Final = "click"
ROWS: Final = "rows"


@dataclass(frozen=True)
class Recommended:
    """An item of the list.

    Attributes
    ----------
    card : Card
        The item.
    reasons : Reasons or None
        Why it is there.
    moved : int or None
        How many places it went up since the list before; None where it was not in it.
    is_new : bool
        Whether there was a list before, without it.
    """

    card: Card
    reasons: Reasons | None
    moved: int | None
    is_new: bool


@dataclass(frozen=True)
class Person:
    """Whom a list is for, as the form says it."""

    user_id: str
    text: str
    history: list[str]
    clicks: list[str]

    @property
    def is_nobody(self) -> bool:
        """Whether nothing is known."""
        return not (self.user_id or self.text or self.history or self.clicks)

    @property
    def user(self) -> User:
        """The user of a request."""
        return User(self.history, self.text or None, id=self.user_id or None, clicks=self.clicks)


async def show(visit: Visit) -> Response:
    """Show a list, and the form that says whom it is for."""
    person, domain = _person(visit), visit.text("domain")
    domains = await visit.domains()
    as_rows = visit.text("as") == ROWS and visit.may("recommend_rows")
    hits, rows = Hits(), Rows()
    found: list[Card] = []
    problem = ""
    try:
        if as_rows:
            rows = await _rows(visit, person, domain)
        else:
            hits = await _list(visit, person, domain)
        found = await _found(visit)
    except Busy:
        if not visit.is_partial or not visit.text("why"):
            raise
        return Response(status_code=204)  # the list is there already, and stays
    except InvalidInput as error:
        problem = str(error)
    chosen = await _known(visit, [*person.history, *person.clicks])
    return visit.show(
        "recommend.html",
        person=person,
        chosen=chosen,
        domain=domain,
        domains=list(domains),
        find=visit.text("find"),
        found=[card for card in found if card.item_id not in chosen],
        recommended=_compared(hits, visit.texts("was")),
        rows=[(row.title, cards_of(row.hits)) for row in rows],
        as_rows=as_rows,
        notes=rows.notes if as_rows else hits.notes,
        problem=problem,
        stores=bool(person.user_id) and bool(visit.text("store")) and visit.may("record_events"),
        reasons=_why(visit, person, domain, hits),
        may_store=bool(person.user_id) and visit.may("record_events"),
    )


async def click(visit: Visit) -> Response:
    """Store a click of a user, and lead to the next list."""
    person, item_id = _person(visit), visit.text("item")
    if not person.user_id or not item_id:
        raise InvalidInput("a click is stored of a user and an item; give both")
    event = {"event_id": f"page-{secrets.token_hex(12)}", "user_id": person.user_id}
    await visit.ask("record_events", events=[{**event, "item_id": item_id, "event": CLICK}])
    return visit.go(
        "recommend",
        user=person.user_id,
        text=person.text,
        history=person.history,
        clicks=person.clicks,
        domain=visit.text("domain"),
        store="1",
        was=visit.texts("was"),
    )


async def _list(visit: Visit, person: Person, domain: str) -> Hits:
    """Return the list, with its reasons where they are asked for.

    Every reason is a list anew without a piece of evidence, so a page shows the list first, and
    asks for the reasons then.
    """
    hits: Hits = await visit.ask(
        "recommend",
        user=person.user,
        domain=[domain] if domain else None,
        k=LENGTH,
        attributes=True,
        explain=bool(visit.text("why")) or None,
    )
    return hits


async def _rows(visit: Visit, person: Person, domain: str) -> Rows:
    """Return the rows of a page for this person."""
    rows: Rows = await visit.ask(
        "recommend_rows",
        user=person.user,
        domain=[domain] if domain else None,
        k=ROW_LENGTH,
        attributes=True,
    )
    return rows


def _why(visit: Visit, person: Person, domain: str, hits: Hits) -> str | None:
    """Return the address of the same list with its reasons; None where it has been asked for."""
    if visit.text("why") or not hits or person.is_nobody:
        return None
    return visit.address(
        "recommend",
        user=person.user_id,
        text=person.text,
        history=person.history,
        clicks=person.clicks,
        domain=domain,
        store=visit.text("store"),
        was=visit.texts("was"),
        why="1",
    )


def _person(visit: Visit) -> Person:
    removed = visit.text("remove")
    return Person(
        visit.text("user"),
        visit.text("text"),
        [one for one in visit.texts("history") if one != removed][-MAX_HISTORY:],
        [one for one in visit.texts("clicks") if one != removed][-MAX_HISTORY:],
    )


async def _found(visit: Visit) -> list[Card]:
    """Return items to put into the history: those that words find."""
    words = visit.text("find")
    if not words or not visit.may("search"):
        return []
    return cards_of(await visit.ask("search", text=words, k=FOUND, attributes=True))


async def _known(visit: Visit, item_ids: Sequence[str]) -> dict[str, Card]:
    """Return the cards of items; one that is not there has its id for a title."""

    async def card(item_id: str) -> Card:
        try:
            item: dict[str, Any] = await visit.ask("get", item_id=item_id)
        except (ItemNotFound, InvalidInput):
            return Card(item_id, "not in this space", item_id)
        return card_of_item(item)

    cards = await asyncio.gather(*map(card, item_ids))
    return dict(zip(item_ids, cards, strict=True))


def _compared(hits: Hits, before: Sequence[str]) -> list[Recommended]:
    """Return the items of a list with their reasons, and how they moved."""
    largest = largest_gain(hit.explanation for hit in hits if hit.explanation is not None)
    places = {item_id: place for place, item_id in enumerate(before, 1)}
    return [
        Recommended(
            card,
            None if card.explanation is None else reasons_of(card.explanation, largest),
            places[card.item_id] - (card.rank or 0) if card.item_id in places else None,
            bool(places) and card.item_id not in places,
        )
        for card in cards_of(hits)
    ]
