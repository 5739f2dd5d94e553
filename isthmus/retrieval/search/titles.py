"""Titles and links of items, as a person knows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from isthmus.index.releases.view import View
from isthmus.schema import TEXT

TITLE_ATTRIBUTES: Final = ("title", "name", "headline", "subject", "label")
LINK_ATTRIBUTES: Final = ("url", "link", "href", "permalink", "page_url")
MAX_TITLE: Final = 60


def title_of(item_id: str, text: str | None, attributes: Mapping[str, Any]) -> str:
    """Return an attribute that is a title, or else the beginning of the text, or the id.

    Examples
    --------
    >>> title_of("f1", "Dune. A desert planet.", {"Title": "Dune", "year": 2021})
    'Dune'
    >>> title_of("p7", "", {})
    'p7'
    """
    named = _first_text(attributes, TITLE_ATTRIBUTES) or (text or "").strip()
    title = " ".join(named.split()) or item_id
    return title if len(title) <= MAX_TITLE else f"{title[: MAX_TITLE - 3].rstrip()}..."


def link_of(attributes: Mapping[str, Any]) -> str | None:
    """Return an attribute that is the address of the item's page; None where there is none.

    Examples
    --------
    >>> link_of({"url": "https://example.org/dune"}), link_of({"link": "a chain"})
    ('https://example.org/dune', None)
    """
    link = _first_text(attributes, LINK_ATTRIBUTES)
    return link if link is not None and link.startswith(("http://", "https://")) else None


def titles_of_items(view: View, item_ids: Sequence[str]) -> dict[str, str]:
    """Return the title of each item that the space holds."""
    rows = view.find(item_ids)
    present = np.flatnonzero(rows >= 0)
    attributes = view.snapshot.attributes
    columns = [TEXT, *attributes.schema.names]
    found = view.snapshot.fetch(view.row_ids(rows[present]), columns).to_pylist()
    domains = view.item_domains(rows[present])
    titles = {}
    for at, domain, row in zip(present.tolist(), domains, found, strict=True):
        text = row.pop(TEXT, None)
        titles[item_ids[at]] = title_of(item_ids[at], text, attributes.of_row(row, domain))
    return titles


def _first_text(attributes: Mapping[str, Any], names: Sequence[str]) -> str | None:
    by_name = {name.casefold(): value for name, value in attributes.items()}
    values = (by_name.get(name) for name in names)
    return next((value for value in values if isinstance(value, str) and value.strip()), None)
