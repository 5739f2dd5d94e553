"""Text templates: ``"{title}. {genres}"`` and the columns of a row give the item's text."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from isthmus.errors import InvalidMapping


class TextTemplate:
    """Renders columns of a row as one text; an empty field is dropped with its separator.

    Parameters
    ----------
    template : str
        Literal text with ``{column}`` fields; ``{{`` and ``}}`` are literal braces. A name without
        braces means that column alone.

    Raises
    ------
    InvalidMapping
        If the template is malformed, or has no field.

    Examples
    --------
    >>> template = TextTemplate("{title}. {genres}")
    >>> template.render({"title": "Nightfall", "genres": ["noir", "crime"]})
    'Nightfall. noir, crime'
    >>> template.render({"title": "Nightfall", "genres": None})
    'Nightfall'
    """

    def __init__(self, template: str) -> None:
        self.template = template
        braces = "{" in template or "}" in template
        parts: list[tuple[str, str | None]] = _parse(template) if braces else [("", template)]
        self._parts, self._tail = _pair_literals(parts)
        if not self._parts:
            raise InvalidMapping(f"template {template!r} has no {{column}} in it")

    @property
    def fields(self) -> tuple[str, ...]:
        """Columns that the template reads."""
        return tuple(dict.fromkeys(field for _, field in self._parts))

    def render(self, row: Mapping[str, Any]) -> str | None:
        """Return the text of a row; None where every field is empty."""
        return self._join([row[field] for _, field in self._parts])

    def render_columns(self, columns: Mapping[str, Sequence[Any]]) -> list[str | None]:
        """Return the texts of many rows, given column by column."""
        values = zip(*(columns[field] for _, field in self._parts), strict=True)
        return [self._join(row) for row in values]

    def render_table(self, table: pa.Table) -> pa.StringArray:
        """Return the texts of the rows of a table, shape (n_rows,)."""
        columns = {name: table.column(name).to_pylist() for name in self.fields}
        return pa.array(self.render_columns(columns), pa.string())

    def _join(self, values: Sequence[Any]) -> str | None:
        text = ""
        for (literal, _), value in zip(self._parts, values, strict=True):
            spelled = _spell(value)
            if spelled:
                text += (literal if text else literal.lstrip(" .,;:-|/")) + spelled
        return text + self._tail.rstrip() if text else None


def _parse(template: str) -> list[tuple[str, str | None]]:
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise InvalidMapping(f"template {template!r} is malformed: {error}") from error
    for _, field, spec, conversion in parsed:
        if field == "" or spec or conversion:
            raise InvalidMapping(f"template {template!r}: write fields as {{column}}, nothing else")
    return [(literal, field) for literal, field, _, _ in parsed]


def _pair_literals(parts: list[tuple[str, str | None]]) -> tuple[list[tuple[str, str]], str]:
    """Return each field with the literal text before it, and the text after the last field."""
    pairs, literal = [], ""
    for text, field in parts:
        literal += text
        if field is not None:
            pairs.append((literal, field))
            literal = ""
    return pairs, literal


def _spell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return ", ".join(spelled for spelled in map(_spell, value) if spelled)
    return str(value).strip()
