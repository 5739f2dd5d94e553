"""Facets: how many searchable items have each value of an attribute, counted exactly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.errors import InvalidInput, listed
from isthmus.index.catalog.attributes import Attributes
from isthmus.index.releases.view import View
from isthmus.retrieval.search.request import FacetsRequest
from isthmus.schema import DOMAIN, MODALITY_MASK

Facets = dict[str, list[dict[str, Any]]]
_Columns = dict[str, list[str] | None]  # of a facet: the domains whose attribute it is; None: all


def count_facets(view: View, request: FacetsRequest) -> Facets:
    """Count the values of attributes among the searchable items that a filter selects.

    An item that has a list counts once for each different element; a missing value is not counted.
    Equal numbers and texts are different values where an attribute has several types.

    Returns
    -------
    dict of str to list of dict
        For each attribute ``{"value": …, "count": …}``, the most frequent first, equals by value.
    """
    snapshot = view.snapshot
    view.select(request.domains)  # refuses unknown domains
    columns = {name: _columns_of(snapshot.attributes, name) for name in request.attributes}
    read = dict.fromkeys([DOMAIN, MODALITY_MASK, *(c for of in columns.values() for c in of)])
    counts: dict[str, Counter[tuple[str, Any]]] = {name: Counter() for name in columns}
    for batch in snapshot.scan(list(read), request.domains, request.where):
        table = pa.table(batch).filter(pc.greater(batch.column(MODALITY_MASK), 0))
        for name, by_column in columns.items():
            for column, domains in by_column.items():
                counts[name].update(_counted(table, column, domains))
    return {name: _most_common(of_name, request.k) for name, of_name in counts.items()}


def _columns_of(attributes: Attributes, name: str) -> _Columns:
    """Return the columns that hold an attribute, each with the domains in which it does."""
    if name == DOMAIN:
        return {DOMAIN: None}
    require_attribute(attributes, name)
    columns: _Columns = {}
    for column in attributes.columns_of(name):
        held = [d for d, names in attributes.columns.items() if names.get(name) == column]
        shared = any(column in n.values() for d, n in attributes.columns.items() if d not in held)
        columns[column] = held if shared else None
    return columns


def require_attribute(attributes: Attributes, name: str) -> None:
    """Raise `InvalidInput` if no domain has an attribute, and it is not the domain itself."""
    if name != DOMAIN and not attributes.columns_of(name):
        known = listed([DOMAIN, *attributes.names], name)
        raise InvalidInput(f"no attribute {name!r} in this space; there are: {known}")


def _counted(
    table: pa.Table, column: str, domains: Sequence[str] | None
) -> dict[tuple[str, Any], int]:
    if domains is not None:
        table = table.filter(pc.is_in(table.column(DOMAIN), pa.array(domains, pa.string())))
    values = table.column(column)
    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        rows, values = pc.list_parent_indices(values), pc.list_flatten(values)
        distinct = pa.table({"row": rows, "value": values}).group_by(["row", "value"]).aggregate([])
        values = distinct.column("value")
    if pa.types.is_nested(values.type):
        raise InvalidInput(f"attribute {column!r} holds values of parts, which cannot be counted")
    pairs = pc.value_counts(values.drop_null().combine_chunks())
    return {
        (type(value).__name__, value): count
        for value, count in zip(
            pairs.field("values").to_pylist(), pairs.field("counts").to_pylist(), strict=True
        )
    }


def _most_common(counts: Counter[tuple[str, Any]], k: int | None) -> list[dict[str, Any]]:
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], str(pair[0][1]), pair[0][0]))
    return [{"value": value, "count": count} for (_, value), count in ordered[:k]]
