"""List the attributes of items; give them another type or name, or drop them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.convert import Misfit, Misfits, convert, plain, shown, to_objects
from isthmus.data.item_mapping import why_no_attribute
from isthmus.data.lossy import approximate
from isthmus.data.types import CAST_TYPES, parse_type, type_name
from isthmus.errors import InvalidInput, command_in
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
    counts = _CastCounts()
    with write_lock(space.path, "catalog", space.wait_s):
        snapshot = space.catalog.snapshot()
        field = snapshot.attributes.field(request.domain, request.name)
        if field.type != type_:
            for ids, values in _of_domain(snapshot, request.domain, field.name):
                counts.add(ids, values, _cast(values, type_, request.time_unit))
            counts.require_fit(space, request, type_)
            change = space.catalog.change_attributes()
            change.convert(
                request.domain,
                request.name,
                type_,
                lambda _, values: _cast(values, type_, request.time_unit).array,
            )
            change.apply()
    return {
        "domain": request.domain,
        "attribute": request.name,
        "from": type_name(field.type),
        "to": type_name(type_),
        "values": counts.values,
        "lossy": counts.lossy,
        "examples": counts.examples,
    }


class _Cast(NamedTuple):
    """Values of another type, null where none fits; what does not fit; what loses something."""

    array: pa.Array
    misfits: Misfits
    losses: Misfits


class _CastCounts:
    """Counts the values of a cast, and those that do not fit or lose something."""

    def __init__(self) -> None:
        self.values = 0
        self.lossy = 0
        self.examples: list[str] = []
        self._misfits: list[str] = []

    def add(self, ids: Any, values: Any, cast: _Cast) -> None:
        """Count some rows."""
        self.values += len(values) - values.null_count
        self.lossy += len(cast.losses)
        names = [(ids[row].as_py(), why) for row, why in cast.misfits]
        self._misfits += [f"item {name!r} {why}" for name, why in names]
        room = MAX_MISFITS - len(self.examples)
        lost = [(ids[row].as_py(), why) for row, why in cast.losses[: max(room, 0)]]
        self.examples += [f"item {name!r}: {why}" for name, why in lost]

    def require_fit(
        self, space: OpenSpace, request: CastAttributeRequest, type_: pa.DataType
    ) -> None:
        """Raise where a value does not fit, or loses something that it must not."""
        if self._misfits:
            listed = "; ".join(self._misfits[:MAX_MISFITS])
            unlisted = len(self._misfits) - MAX_MISFITS
            more = f"; and {unlisted} more" if unlisted > 0 else ""
            raise InvalidInput(
                f"{len(self._misfits)} value(s) of {request.name!r} of {request.domain} are no "
                f"{type_name(type_)}: {listed}{more}. Nothing was changed; correct these items "
                "first"
            )
        if self.lossy and not request.allow_lossy:
            more = (
                f"; and {self.lossy - len(self.examples)} more" if self.lossy > MAX_MISFITS else ""
            )
            unit = f" --time-unit {request.time_unit}" if request.time_unit else ""
            cast = command_in(
                space.path,
                f"attributes cast --allow-lossy{unit}",
                request.domain,
                request.name,
                request.type,
            )
            raise InvalidInput(
                f"{self.lossy} of {self.values} value(s) of {request.name!r} of {request.domain} "
                f"are no {type_name(type_)} and would lose something: {'; '.join(self.examples)}"
                f"{more}. Nothing was changed; correct these items first, or lose it: "
                f"{cast}"
            )


def _of_domain(snapshot: Snapshot, domain: str, column: str) -> Iterator[tuple[Any, Any]]:
    for batch in snapshot.batches([ITEM_ID, DOMAIN, column]):
        rows = batch.filter(pc.equal(batch.column(DOMAIN), domain))
        yield rows.column(ITEM_ID), rows.column(column)


def _cast(values: Any, type_: pa.DataType, time_unit: str | None) -> _Cast:
    if type_ == pa.string():
        return _Cast(*_to_texts(values), [])
    array, misfits = convert(plain(values), type_, time_unit=time_unit)
    if not misfits:
        return _Cast(array, [], [])
    objects, converted = to_objects(plain(values)), to_objects(array)
    refused, losses = [], []
    for row, why in misfits:
        try:
            converted[row] = approximate(objects[row], type_)
            losses.append((row, f"{shown(objects[row])} becomes {shown(converted[row])}"))
        except Misfit:
            refused.append((row, why))
    return _Cast(pa.array(converted, type_), refused, losses)


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
            drop = command_in(space.path, "attributes drop", request.domain, request.new_name)
            raise InvalidInput(
                f"the domain {request.domain!r} has an attribute {request.new_name!r} already; "
                f"drop it first: {drop}"
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
