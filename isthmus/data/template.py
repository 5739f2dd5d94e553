"""Text templates: ``"{title}. {genres}"`` and the columns of a row give the item's text."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from isthmus.data.convert import Values, to_objects
from isthmus.errors import InvalidMapping

_BRACKETS = {"(": ")", "[": "]", "{": "}", "<": ">", '"': '"', "'": "'"}
MAX_WHOLE = 1e16  # above it, a fraction does not hold every whole number


class _Part(NamedTuple):
    """A field of a template, and the literal text that belongs to it.

    Attributes
    ----------
    separator : str
        What stands between the field and the text before it.
    opening, closing : str
        Brackets around the field, which are dropped with it.
    field : str
        The column.
    """

    separator: str
    opening: str
    field: str
    closing: str


class TextTemplate:
    """Renders columns of a row as one text; an empty field is dropped with what belongs to it.

    That is the separator before it, and brackets or quotes around it.

    Parameters
    ----------
    template : str
        Literal text with ``{column}`` fields; ``{{`` and ``}}`` are literal braces. A name without
        braces means that column alone, as it stands.

    Raises
    ------
    InvalidMapping
        If the template is malformed, or has no field.

    Examples
    --------
    >>> template = TextTemplate("{title} ({year}). {genres}")
    >>> template.render({"title": "Nightfall", "year": 1999.0, "genres": ["noir", "crime"]})
    'Nightfall (1999). noir, crime'
    >>> template.render({"title": "Nightfall", "year": None, "genres": None})
    'Nightfall'
    """

    def __init__(self, template: str) -> None:
        self.template = template
        braces = "{" in template or "}" in template
        parsed: list[tuple[str, str | None]] = [("", template)]
        if braces:
            parsed = parse_template(template)
        self._parts, self._tail = _to_parts(parsed)
        if not self._parts:
            raise InvalidMapping(f"template {template!r} has no {{column}} in it")

    @property
    def fields(self) -> tuple[str, ...]:
        """Columns that the template reads."""
        return tuple(dict.fromkeys(part.field for part in self._parts))

    def render(self, row: Mapping[str, Any]) -> str | None:
        """Return the text of a row; None where every field is empty."""
        return self._join([row[part.field] for part in self._parts])

    def render_columns(self, columns: Mapping[str, Sequence[Any]]) -> list[str | None]:
        """Return the texts of many rows, given column by column."""
        values = zip(*(columns[part.field] for part in self._parts), strict=True)
        return [self._join(row) for row in values]

    def render_values(self, columns: Mapping[str, Values]) -> list[str | None]:
        """Return the texts of the rows of a chunk."""
        return self.render_columns({name: to_objects(columns[name]) for name in self.fields})

    def _join(self, values: Sequence[Any]) -> str | None:
        if len(values) == 1 and isinstance(values[0], str) and self._parts[0][:2] == ("", ""):
            text, part = values[0], self._parts[0]
            if not text.strip():
                return None
            return text if not (part.closing or self._tail) else text + part.closing + self._tail
        text = ""
        for part, value in zip(self._parts, values, strict=True):
            spelled = _spell(value)
            if spelled:
                separator = part.separator if text else part.separator.lstrip(" .,;:-|/")
                text += separator + part.opening + spelled + part.closing
        return text + self._tail.rstrip() if text else None


def parse_template(template: str) -> list[tuple[str, str | None]]:
    """Return the literals of a template, each with the field behind it, None behind the last.

    Raises
    ------
    InvalidMapping
        If the template is malformed.
    """
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise InvalidMapping(f"template {template!r} is malformed: {error}") from error
    for _, field, spec, conversion in parsed:
        if field == "" or spec or conversion:
            raise InvalidMapping(f"template {template!r}: write fields as {{column}}, nothing else")
    return [(literal, field) for literal, field, _, _ in parsed]


def _to_parts(parsed: list[tuple[str, str | None]]) -> tuple[list[_Part], str]:
    """Return the fields with the literal text that belongs to each, and the text behind them."""
    literals, fields, literal = [], [], ""
    for text, field in parsed:
        literal += text
        if field is not None:
            literals.append(literal)
            fields.append(field)
            literal = ""
    literals.append(literal)
    parts = []
    for at, field in enumerate(fields):
        before = literals[at]
        separator = before.rstrip("".join(_BRACKETS))
        opening = before[len(separator) :]
        closing = ""
        for bracket in reversed(opening):
            if literals[at + 1].startswith(_BRACKETS[bracket]):
                closing += _BRACKETS[bracket]
                literals[at + 1] = literals[at + 1][1:]
        if len(closing) < len(opening):  # not around this field alone
            literals[at + 1] = closing + literals[at + 1]
            separator, opening, closing = before, "", ""
        parts.append(_Part(separator, opening, field, closing))
    return parts, literals[-1]


def _spell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < MAX_WHOLE:
        return str(int(value))  # a missing value makes fractions of a frame's whole numbers
    if isinstance(value, (list, tuple)):
        return ", ".join(spelled for spelled in map(_spell, value) if spelled)
    return str(value).strip()
