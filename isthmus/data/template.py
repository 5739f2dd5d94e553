"""Text templates: ``"{title}. {genres}"`` and a row become the item's text."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from isthmus.errors import InvalidMapping


class TextTemplate:
    """Renders columns of a row into one text; an empty field takes its separator with it.

    Parameters
    ----------
    template : str
        Literal text with ``{column}`` fields; ``{{`` and ``}}`` are literal braces. A plain
        column name (no braces) means that column alone.

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
        self._parts, self._tail = _gather(parts)
        if not self._parts:
            raise InvalidMapping(f"template {template!r} has no {{column}} in it")

    @property
    def fields(self) -> tuple[str, ...]:
        """Columns that the template reads."""
        return tuple(dict.fromkeys(field for _, field in self._parts))

    def render(self, row: Mapping[str, Any]) -> str | None:
        """Render a row; None where every field is empty."""
        return self._join([row[field] for _, field in self._parts])

    def render_columns(self, columns: Mapping[str, Sequence[Any]]) -> list[str | None]:
        """Render many rows at once, given column by column."""
        values = zip(*(columns[field] for _, field in self._parts), strict=True)
        return [self._join(row) for row in values]

    def render_table(self, table: pa.Table) -> pa.StringArray:
        """Render the rows of a table."""
        columns = {name: table.column(name).to_pylist() for name in self.fields}
        return pa.array(self.render_columns(columns), pa.string())

    def _join(self, values: Sequence[Any]) -> str | None:
        text = ""
        for (literal, _), value in zip(self._parts, values, strict=True):
            shown = _show(value)
            if shown:
                text += (literal if text else literal.lstrip(" .,;:-|/")) + shown
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


def _gather(parts: list[tuple[str, str | None]]) -> tuple[list[tuple[str, str]], str]:
    """Give each field with all the literal text before it, and the text after the last."""
    gathered, literal = [], ""
    for text, field in parts:
        literal += text
        if field is not None:
            gathered.append((literal, field))
            literal = ""
    return gathered, literal


def _show(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return ", ".join(shown for shown in map(_show, value) if shown)
    return str(value).strip()
