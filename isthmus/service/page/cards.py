"""Items as the page shows them: hits, rows of the catalog, neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final

from isthmus.retrieval.search.results import Explanation, Hit
from isthmus.retrieval.search.titles import TITLE_ATTRIBUTES, link_of, title_of
from isthmus.service.page.rendering import moment

MAX_FACTS: Final = 4  # attributes of a card
MAX_FACT: Final = 60  # characters of a value
MAX_SUMMARY: Final = 140


@dataclass(frozen=True)
class Card:
    """An item of a list.

    Attributes
    ----------
    item_id, domain, title : str
        The item.
    summary : str
        The beginning of its text.
    has_image : bool
        Whether it has a picture.
    facts : list of (str, str)
        Names and values of its first attributes.
    score : float or None
        Of the list.
    rank : int or None
        Place in the list, from 1.
    rule : str or None
        The business rule that put it there.
    explanation : Explanation or None
        Why it is there.
    """

    item_id: str
    domain: str
    title: str
    summary: str = ""
    has_image: bool = False
    facts: list[tuple[str, str]] = field(default_factory=list)
    score: float | None = None
    rank: int | None = None
    rule: str | None = None
    explanation: Explanation | None = None


def card_of_hit(hit: Hit) -> Card:
    """Return the card of a hit that carries its attributes."""
    return Card(
        hit.item_id,
        hit.domain,
        hit.title,
        _summary(hit.text, hit.title),
        hit.image is not None,
        facts_of(hit.attributes, MAX_FACTS),
        score=hit.score,
        rank=hit.rank,
        rule=hit.rule,
        explanation=hit.explanation,
    )


def card_of_item(item: Mapping[str, Any]) -> Card:
    """Return the card of an item, as `Space.get` returns it."""
    attributes, text = item.get("attributes") or {}, item.get("text")
    title = title_of(item["item_id"], text, attributes)
    return Card(
        item["item_id"],
        item["domain"],
        title,
        _summary(text, title),
        item.get("image") is not None,
        facts_of(attributes, MAX_FACTS),
    )


def cards_of(hits: Iterable[Hit]) -> list[Card]:
    """Return the cards of hits."""
    return [card_of_hit(hit) for hit in hits]


def facts_of(attributes: Mapping[str, Any], most: int | None = None) -> list[tuple[str, str]]:
    """Return names and values of attributes that say more than the title.

    Examples
    --------
    >>> facts_of({"title": "Dune", "year": 2021, "genres": ["drama", "war"], "seen": None})
    [('year', '2021'), ('genres', 'drama, war')]
    """
    facts = [
        (name, shown(value))
        for name, value in attributes.items()
        if value not in (None, "", []) and name.casefold() not in TITLE_ATTRIBUTES
    ]
    if most is None:
        return facts
    return [(name, value) for name, value in facts if len(value) <= MAX_FACT][:most]


def link_of_item(item: Mapping[str, Any]) -> str | None:
    """Return the address of an item's own page, where an attribute has one."""
    return link_of(item.get("attributes") or {})


def shown(value: Any) -> str:
    """Return the value of an attribute as text.

    Examples
    --------
    >>> shown(0.30000000000000004), shown(True), shown([1, 2]), shown({"w": 3})
    ('0.3', 'yes', '1, 2', 'w: 3')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime | date):
        return moment(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {shown(part)}" for name, part in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(shown, value))
    return str(value)


def _summary(text: str | None, title: str) -> str:
    """Return the beginning of a text, without the title that it begins with."""
    words = " ".join((text or "").split())
    if title and words.startswith(title.removesuffix("...")):
        words = words[len(title.removesuffix("...")) :].lstrip(" .:,-")
    return words if len(words) <= MAX_SUMMARY else f"{words[: MAX_SUMMARY - 1].rstrip()}…"
