"""Where tests put the attributes of an item reader: each domain in columns of its own."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from isthmus.data.item_reader import ItemReader, Placement


def by_name(reader: ItemReader) -> Placement:
    """A column of each attribute's name, for domains that agree on the types."""
    return {
        domain: {name: pa.field(name, type_) for name, type_ in by_name.items()}
        for domain, by_name in reader.types.items()
    }


def by_domain(reader: ItemReader) -> Placement:
    """A column of each attribute and domain."""
    return {
        domain: {name: pa.field(f"{domain}/{name}", type_) for name, type_ in by_name.items()}
        for domain, by_name in reader.types.items()
    }


def of_domain(item: dict[str, Any]) -> dict[str, Any]:
    """An item that was placed by domain, with the names of its attributes."""
    return {name.rpartition("/")[2]: value for name, value in item.items() if _is_of(name, item)}


def _is_of(name: str, item: dict[str, Any]) -> bool:
    return "/" not in name or name.startswith(f"{item['domain']}/")
