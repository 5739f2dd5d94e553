"""List the attributes of items; give them another type or name, or drop them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.convert import Misfits, convert, plain, shown, to_objects
from isthmus.data.item_mapping import why_no_attribute
from isthmus.data.types import CAST_TYPES, parse_type, type_name
from isthmus.errors import InvalidInput
from isthmus.index.catalog.lock import write_lock
from isthmus.index.catalog.snapshot import Snapshot, require_domain
from isthmus.index.open_space import OpenSpace
from isthmus.operations.request import (
    AttributesRequest,
    CastAttributeRequest,
    DropAttributeRequest,
    RenameAttributeRequest,
)
from isthmus.schema import DOMAIN, ITEM_ID

MAX_EXAMPLES = 3
MAX_MISFITS = 10


def list_attributes(space: OpenSpace, request: AttributesRequest) -> list[dict[str, Any]]:
    """Return domain, name, type, share of items with a value, and examples of each attribute."""
    snapshot = space.view().snapshot
    attributes = snapshot.attributes
    items = _items_of_domains(snapshot)
    for domain in request.domain or ():
        require_domain(domain, list(items))
    names = {
        (domain, name): column
        for domain, by_name in attributes.columns.items()
        for name, column in by_name.items()
        if request.domain is None or domain in request.domain
    }
    filled, examples = _values(snapshot, names)
    types = attributes.types()
    return [
        {
            "domain": domain,
            "attribute": name,
            "type": type_name(types[domain][name]),
            "filled": filled[domain, name] / max(items.get(domain, 0), 1),
            "examples": examples[domain, name],
        }
        for domain, name in sorted(names)
    ]


def _items_of_domains(snapshot: Snapshot) -> dict[str, int]:
    counts = pc.value_counts(snapshot.column(DOMAIN)).to_pylist()
    return {count["values"]: count["counts"] for count in counts}


def _values(
    snapshot: Snapshot, names: dict[tuple[str, str], str]
) -> tuple[dict[tuple[str, str], int], dict[tuple[str, str], list[Any]]]:
    """Return how many items have a value, and the first values that differ."""
    filled = dict.fromkeys(names, 0)
    examples: dict[tuple[str, str], list[Any]] = {key: [] for key in names}
    columns = list(dict.fromkeys(names.values()))
    for batch in snapshot.batches([DOMAIN, *columns]) if columns else ():
        for domain in pc.unique(batch.column(DOMAIN)).to_pylist():
            rows = batch.filter(pc.equal(batch.column(DOMAIN), domain))
            for (of, name), column in names.items():
                if of == domain:
                    present = rows.column(column).drop_null()
                    filled[of, name] += len(present)
                    _add_examples(examples[of, name], present)
    return filled, examples


def _add_examples(examples: list[Any], present: pa.Array) -> None:
    for start in range(0, len(present), 64):
        if len(examples) >= MAX_EXAMPLES:
            return
        for value in to_objects(present.slice(start, 64)):
            if value not in examples and len(examples) < MAX_EXAMPLES:
                examples.append(value)


def cast_attribute(space: OpenSpace, request: CastAttributeRequest) -> dict[str, Any]:
    """Cast an attribute of a domain to another type; nothing happens where a value does not fit."""
    type_ = parse_type(request.type)
    if type_ is None:
        raise InvalidInput(f"there is no type {request.type!r}; there are {CAST_TYPES}")
    with write_lock(space.path, "catalog", space.wait_s):
        snapshot = space.catalog.snapshot()
        field = snapshot.attributes.field(request.domain, request.name)
        if field.type != type_:
            n_values = _check_cast(snapshot, request, field.name, type_)
            change = space.catalog.change_attributes()
            change.convert(
                request.domain,
                request.name,
                type_,
                lambda _, values: _cast(values, type_, request.time_unit)[0],
            )
            change.apply()
        else:
            n_values = 0
    return {
        "domain": request.domain,
        "attribute": request.name,
        "from": type_name(field.type),
        "to": type_name(type_),
        "values": n_values,
    }


def _check_cast(
    snapshot: Snapshot, request: CastAttributeRequest, column: str, type_: pa.DataType
) -> int:
    """Return the number of values; raise where one does not fit."""
    count, misfits = 0, []
    for ids, values in _of_domain(snapshot, request.domain, column):
        count += len(values) - values.null_count
        found = _cast(values, type_, request.time_unit)[1]
        misfits += [f"item {ids[row].as_py()!r} {why}" for row, why in found]
    if misfits:
        listed = "; ".join(misfits[:MAX_MISFITS])
        more = f"; and {len(misfits) - MAX_MISFITS} more" if len(misfits) > MAX_MISFITS else ""
        raise InvalidInput(
            f"{len(misfits)} value(s) of {request.name!r} of {request.domain} are no "
            f"{type_name(type_)}: {listed}{more}. Nothing was changed; correct these items first"
        )
    return count


def _of_domain(snapshot: Snapshot, domain: str, column: str) -> Iterator[tuple[Any, Any]]:
    for batch in snapshot.batches([ITEM_ID, DOMAIN, column]):
        rows = batch.filter(pc.equal(batch.column(DOMAIN), domain))
        yield rows.column(ITEM_ID), rows.column(column)


def _cast(values: Any, type_: pa.DataType, time_unit: str | None) -> tuple[pa.Array, Misfits]:
    if type_ == pa.string():
        return _to_texts(values)
    return convert(plain(values), type_, time_unit=time_unit)


def _to_texts(values: Any) -> tuple[pa.Array, Misfits]:
    texts: list[str | None] = []
    misfits: Misfits = []
    for row, value in enumerate(to_objects(plain(values))):
        text = _to_text(value)
        if text is None and value is not None:
            misfits.append((row, f"holds {shown(value)}, which has no one spelling as text"))
        texts.append(text)
    return pa.array(texts, pa.string()), misfits


def _to_text(value: Any) -> str | None:
    """Return the spelling of a value that a CSV of it would have."""
    if isinstance(value, str | None):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value) if isinstance(value, int | float | Decimal | timedelta) else None


def rename_attribute(space: OpenSpace, request: RenameAttributeRequest) -> dict[str, Any]:
    """Rename an attribute of a domain."""
    why = why_no_attribute(request.new_name)
    if why is not None:
        raise InvalidInput(f"an attribute cannot be called {request.new_name!r}, {why}")
    with write_lock(space.path, "catalog", space.wait_s):
        change = space.catalog.change_attributes()
        change.before.field(request.domain, request.name)
        if request.new_name in change.columns[request.domain]:
            raise InvalidInput(
                f"the domain {request.domain!r} has an attribute {request.new_name!r} already; "
                f"drop it first: isthmus attributes drop {request.domain} {request.new_name}"
            )
        change.rename(request.domain, request.name, request.new_name)
        change.apply()
    return {"domain": request.domain, "attribute": request.name, "renamed": request.new_name}


def drop_attribute(space: OpenSpace, request: DropAttributeRequest) -> dict[str, Any]:
    """Drop an attribute of a domain, with all its values."""
    with write_lock(space.path, "catalog", space.wait_s):
        snapshot = space.catalog.snapshot()
        column = snapshot.attributes.field(request.domain, request.name).name
        parts = _of_domain(snapshot, request.domain, column)
        n_values = sum(len(values) - values.null_count for _, values in parts)
        change = space.catalog.change_attributes()
        change.drop(request.domain, request.name)
        change.apply()
    return {"domain": request.domain, "attribute": request.name, "dropped": n_values}
