"""Attributes of items: which a domain has, and the column of the catalog that holds each.

The type of an attribute belongs to a domain: ``year`` may be a number in films and text in wine.
Attributes of one name and one type share a column, which has the name of the attribute where that
is free. The assignment stands in the config of the table, a key a domain, so it is read with the
rows of the same version. A change writes new columns first, then the assignment, which switches to
them at once, and drops the former columns last: killed in between, it leaves columns that nothing
refers to, and the next change drops them.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.convert import convert, plain
from isthmus.data.lance_library import lance_library
from isthmus.data.types import type_name
from isthmus.errors import InvalidInput, listed
from isthmus.schema import (
    ATTRIBUTE_PREFIX,
    ATTRIBUTES_KEY,
    AUDIO,
    CONTENT_HASH,
    DOMAIN,
    INTERNAL_PREFIX,
    ITEM_COLUMNS,
    ITEM_ID,
)

Columns = Mapping[str, Mapping[str, str]]  # by domain and attribute
Change = Callable[[str, Any], pa.Array]  # of a domain's values: the values of a new column


@dataclass(frozen=True)
class Attributes:
    """The attributes of a catalog at one version; immutable.

    Attributes
    ----------
    columns : mapping of str to mapping
        By domain and attribute, the column that holds it.
    schema : pyarrow.Schema
        The columns of the table that hold attributes, and their types.
    """

    columns: Columns
    schema: pa.Schema

    @classmethod
    def of(cls, dataset: Any) -> Attributes:
        """Read the attributes of a table."""
        config = dataset.config()
        columns = {
            key.removeprefix(ATTRIBUTES_KEY): json.loads(value)
            for key, value in sorted(config.items())  # the table has them in any order
            if key.startswith(ATTRIBUTES_KEY)
        }
        return cls(columns, attribute_columns(dataset.schema))

    @property
    def domains(self) -> list[str]:
        """Domains that have attributes."""
        return list(self.columns)

    @cached_property
    def key(self) -> str:
        """A text that differs where the assignment differs."""
        return json.dumps(self.columns)

    @cached_property
    def names(self) -> list[str]:
        """The names of all attributes, in the order of their columns."""
        order = {column: at for at, column in enumerate(self.schema.names)}
        first: dict[str, int] = {}
        for by_name in self.columns.values():
            for name, column in by_name.items():
                first[name] = min(first.get(name, len(order)), order[column])
        return sorted(first, key=lambda name: (first[name], name))

    def types(self) -> dict[str, dict[str, pa.DataType]]:
        """Return the type of each attribute, by domain and name."""
        return {
            domain: {name: self.schema.field(column).type for name, column in by_name.items()}
            for domain, by_name in self.columns.items()
        }

    def field(self, domain: str, name: str) -> pa.Field:
        """Return the column of an attribute.

        Raises
        ------
        InvalidInput
            If the domain has no such attribute; the message lists those there are.
        """
        by_name = self.columns.get(domain, {})
        if name not in by_name:
            there = f"there are {listed(list(by_name), name)}" if by_name else "it has none"
            domains = "" if domain in self.columns else f"; domains are {listed(self.domains)}"
            raise InvalidInput(f"no attribute {name!r} in the domain {domain!r}; {there}{domains}")
        return self.schema.field(by_name[name])

    def name_of(self, column: str) -> str | None:
        """Return the attribute that a column holds; None where it holds none."""
        held = ((c, name) for by_name in self.columns.values() for name, c in by_name.items())
        return next((name for c, name in held if c == column), None)

    def columns_of(self, name: str) -> list[str]:
        """Return the columns that hold an attribute in some domain."""
        found = (by_name.get(name) for by_name in self.columns.values())
        return list(dict.fromkeys(column for column in found if column is not None))

    def of_row(self, row: dict[str, Any], domain: str) -> dict[str, Any]:
        """Take the attributes out of a row of the table, under their names, in stored order."""
        by_name = self.columns.get(domain, {})
        values = {column: row.pop(column, None) for column in self.schema.names}
        return {name: values[by_name[name]] for name in self.names if name in by_name}


def attribute_columns(schema: pa.Schema) -> pa.Schema:
    """Return the columns of a table that hold attributes."""
    taken = {*ITEM_COLUMNS, *([AUDIO] if CONTENT_HASH["audio"] in schema.names else [])}
    return pa.schema(
        [
            field
            for field in schema
            if field.name.startswith(ATTRIBUTE_PREFIX)
            or (field.name not in taken and not field.name.startswith(INTERNAL_PREFIX))
        ]
    )


class AttributeChange:
    """A change of the attributes of a catalog, made at once; the caller holds the catalog's lock.

    Parameters
    ----------
    dataset : lance.LanceDataset
        The catalog, at its latest version.
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self.before = Attributes.of(dataset)
        self.columns = {domain: dict(names) for domain, names in self.before.columns.items()}
        self._used = {c for by_name in self.columns.values() for c in by_name.values()}
        self._added: dict[str, pa.Field] = {}
        # For a column that is computed: of which domains' values, and how.
        self._computed: dict[str, dict[str, tuple[str, Change]]] = {}

    def declare(self, domain: str, name: str, type_: pa.DataType) -> pa.Field:
        """Cast an attribute to a type, if it has another; its values are converted."""
        column = self.columns.get(domain, {}).get(name)
        if column is not None:
            if self._field(column).type != type_:
                what = f"attribute {name!r} of {domain}"
                self.convert(domain, name, type_, lambda _, values: _exactly(values, type_, what))
            return self._field(self.columns[domain][name])
        shared = (self.columns[other].get(name) for other in self.columns if other != domain)
        # Looked at only where no other domain has it: the catalog may have thousands of columns.
        free = (c for c in self.before.schema.names if c not in self._used and _names(c, name))
        for candidate in itertools.chain(shared, free):
            is_stored = candidate is not None and candidate not in self._computed
            is_taken = candidate in self.columns.get(domain, {}).values()  # by another name
            if is_stored and not is_taken and self._field(candidate).type == type_:
                return self._assign(domain, name, candidate)
        return self._assign(domain, name, self._new_column(name, type_))

    def convert(self, domain: str, name: str, type_: pa.DataType, change: Change) -> None:
        """Move an attribute to a new column, of values that are computed from the present ones."""
        source = self.columns[domain][name]
        column = self._new_column(name, type_)
        self._computed[column] = {domain: (source, change)}
        sharing = [d for d in self.columns if d != domain and source in self.columns[d].values()]
        if sharing:  # they move too, so that the former column goes and no row keeps old values
            other = self._new_column(name, self._field(source).type)
            self._computed[other] = dict.fromkeys(sharing, (source, lambda _, values: values))
            for shared in sharing:
                by_name = self.columns[shared]
                self.columns[shared] = {n: other if c == source else c for n, c in by_name.items()}
        self._assign(domain, name, column)

    def rename(self, domain: str, name: str, new_name: str) -> None:
        """Rename an attribute."""
        by_name = self.columns[domain]
        self.columns[domain] = {new_name if n == name else n: c for n, c in by_name.items()}

    def drop(self, domain: str, name: str) -> None:
        """Forget an attribute; other domains that share its column move to a new one."""
        column = self.columns[domain][name]
        if any(column in self.columns[d].values() for d in self.columns if d != domain):
            self.convert(domain, name, self._field(column).type, lambda _, values: values)
        del self.columns[domain][name]
        self._computed.pop(column, None)

    def apply(self) -> Attributes:
        """Write the change; nothing happens where there is none."""
        used = {c for by_name in self.columns.values() for c in by_name.values()}
        plain_fields = [f for n, f in self._added.items() if n not in self._computed and n in used]
        computed = [self._added[n] for n in self._computed if n in used]
        if plain_fields:
            self._dataset.add_columns(pa.schema(plain_fields))
        if computed:
            self._compute(computed)
        changed = {d: n for d, n in self.columns.items() if n != self.before.columns.get(d)}
        if changed:
            values = {f"{ATTRIBUTES_KEY}{d}": json.dumps(n) for d, n in changed.items()}
            self._dataset.update_config(values)
            unused = [c for c in self.before.schema.names if c not in used]
            if unused:
                self._dataset.drop_columns(unused)
        return Attributes.of(self._dataset)

    def _compute(self, fields: Sequence[pa.Field]) -> None:
        schema = pa.schema(list(fields))
        refused: list[InvalidInput] = []
        sources = {s for f in fields for s, _ in self._computed[f.name].values()}

        @lance_library().batch_udf(output_schema=schema)  # type: ignore[untyped-decorator]
        def computed(batch: pa.RecordBatch) -> pa.RecordBatch:
            try:
                columns = [self._values(batch, field) for field in fields]
            except InvalidInput as error:  # which the engine would put into words of its own
                refused.append(error)
                raise
            return pa.record_batch(columns, schema=schema)

        try:
            self._dataset.add_columns(computed, read_columns=[DOMAIN, *sorted(sources)])
        except (OSError, ValueError, RuntimeError) as error:
            raise (refused[0] if refused else error) from error

    def _values(self, batch: pa.RecordBatch, field: pa.Field) -> pa.Array:
        """Return a computed column for some rows: null for those of other domains."""
        made = pa.nulls(len(batch), field.type)
        for domain, (source, change) in self._computed[field.name].items():
            mask = pc.equal(batch.column(DOMAIN), domain)
            if pc.any(mask).as_py():
                rows = pc.indices_nonzero(mask)
                values = change(domain, batch.column(source).take(rows))
                made = (
                    pc.replace_with_mask(made, mask, values)
                    if _is_flat(field.type)
                    else (_scatter(made, rows, values))
                )
        return made

    def _assign(self, domain: str, name: str, column: str) -> pa.Field:
        self.columns.setdefault(domain, {})[name] = column
        self._used.add(column)
        return self._field(column)

    def _field(self, column: str) -> pa.Field:
        return self._added.get(column) or self.before.schema.field(column)

    def _new_column(self, name: str, type_: pa.DataType) -> str:
        taken = {*self._dataset.schema.names, *self._added}
        column, number = name, 1
        while column in taken or column in self._reserved:
            number += 1
            column = f"{ATTRIBUTE_PREFIX}{name}_{number}"
        self._added[column] = pa.field(column, type_)
        return column

    @cached_property
    def _reserved(self) -> frozenset[str]:
        return frozenset((ITEM_ID, *ITEM_COLUMNS))


def _names(column: str, name: str) -> bool:
    """Return whether a column was made for an attribute of a name."""
    return column == name or column.startswith(f"{ATTRIBUTE_PREFIX}{name}_")


def _is_flat(type_: pa.DataType) -> bool:
    return not pa.types.is_nested(type_)


def _scatter(made: pa.Array, rows: pa.Array, values: pa.Array) -> pa.Array:
    """Return an array with values at some rows."""
    whole = pa.concat_arrays([made, values.cast(made.type)])
    at = list(range(len(made)))
    for position, row in enumerate(rows.to_pylist()):
        at[row] = len(made) + position
    return whole.take(pa.array(at, pa.int64()))


def _exactly(values: Any, type_: pa.DataType, what: str) -> pa.Array:
    """Return values of a wider type.

    Raises
    ------
    InvalidInput
        If a value does not fit after all, such as a whole number over 2**53 among fractions.
    """
    converted, misfits = convert(plain(values), type_)
    if misfits:
        raise InvalidInput(
            f"{what} cannot become {type_name(type_)}, as the input needs: it {misfits[0][1]}. "
            "Nothing was added."
        )
    return converted


def place_attributes(
    dataset: Any, types: Mapping[str, Mapping[str, pa.DataType]]
) -> dict[str, dict[str, pa.Field]]:
    """Set the types of attributes of domains, and return the columns that hold them.

    Parameters
    ----------
    dataset : lance.LanceDataset
        The catalog, at its latest version.
    types : mapping of str to mapping
        By domain and attribute, the type: the present one, or one that holds its values.
    """
    change = AttributeChange(dataset)
    placed: dict[str, dict[str, str]] = {}
    for domain, by_name in types.items():
        for name, type_ in by_name.items():
            change.declare(domain, name, type_)
    for domain, by_name in types.items():
        placed[domain] = {name: change.columns[domain][name] for name in by_name}
    attributes = change.apply()
    return {
        domain: {name: attributes.schema.field(column) for name, column in by_name.items()}
        for domain, by_name in placed.items()
    }
