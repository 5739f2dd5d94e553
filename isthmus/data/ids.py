"""Columns of ids: the rule of `isthmus.ids`, for every row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.convert import Misfits, Values, plain, to_objects, unwrap
from isthmus.data.template import parse_template
from isthmus.errors import InvalidMapping
from isthmus.ids import id_problem

# What an id must not hold: control characters. A surrogate is in no Arrow text.
_CONTROL = r"\p{Cc}"
MISSING = ("is missing", "is empty")


class IdTemplate:
    """Makes ids of one column, or of literal text around several: ``"film-{movie_id}"``.

    The values stand in the id as they are; a missing one makes the row invalid.

    Parameters
    ----------
    template : str
        A column, or literal text with ``{column}`` fields.
    what : str, default "item id"
        What it is the id of, for messages.

    Raises
    ------
    InvalidMapping
        If the template is malformed, or has no field.

    Examples
    --------
    >>> ids, problems = IdTemplate("film-{n}").ids({"n": pa.array([1, None])})
    >>> ids.to_pylist(), problems
    (['film-1', None], [(1, "no item id in 'n'")])
    """

    def __init__(self, template: str, what: str = "item id") -> None:
        self.template, self.what = template, what
        self._kind = "an id" if what.endswith("id") else f"a {what}"
        braces = "{" in template or "}" in template
        self._parts = parse_template(template) if braces else [("", template)]
        if not self.fields:
            raise InvalidMapping(f"template {template!r} has no {{column}} in it")

    @property
    def fields(self) -> tuple[str, ...]:
        """Columns that the template reads."""
        return tuple(dict.fromkeys(field for _, field in self._parts if field is not None))

    def ids(self, columns: dict[str, Values]) -> tuple[pa.StringArray, Misfits]:
        """Return the id of each row, null where a row has none, and why, shape (n,)."""
        made: dict[str, pa.Array] = {}
        problems: Misfits = []
        for name in self.fields:
            made[name], found = to_id_column(columns[name], self._kind)
            problems += [(row, self._problem(name, why)) for row, why in found]
        if len(self._parts) == 1 and self._parts[0][0] == "":
            return made[self.fields[0]], problems
        pieces: list[Any] = []
        for literal, field in self._parts:
            pieces += [literal] if literal else []
            pieces += [made[field]] if field is not None else []
        joined = pc.binary_join_element_wise(*pieces, "")
        return joined, problems

    def _problem(self, column: str, why: str) -> str:
        if why.startswith(MISSING):
            return f"no {self.what} in {column!r}"
        return f"column {column!r} {why}"


def to_id_column(values: Values, what: str = "an id") -> tuple[pa.StringArray, Misfits]:
    """Return ids as text, null where a value is no id, and why, shape (n,).

    `what` names what a value should be, for the messages.

    Examples
    --------
    >>> ids, problems = to_id_column(pa.array([5, None]))
    >>> ids.to_pylist(), problems
    (['5', None], [(1, 'is missing; an id is text or a whole number')])
    """
    fast = _fast(values)
    if fast is not None:
        return fast, []
    return _one_by_one([unwrap(value) for value in to_objects(values)], what)


def _fast(values: Values) -> pa.StringArray | None:
    """Return the ids in one call of Arrow, where all are good."""
    if isinstance(values, list):
        if {type(value) for value in values} != {str}:
            return None
        try:
            values = pa.array(values, pa.string())
        except UnicodeEncodeError:
            return None
    array = plain(values)
    if array.null_count:
        return None
    if pa.types.is_integer(array.type):
        return array.cast(pa.string())
    if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
        return None
    texts = array.cast(pa.string())
    blank = pc.equal(pc.utf8_trim_whitespace(texts), "")
    bad = pc.or_(blank, pc.match_substring_regex(texts, _CONTROL))
    return None if pc.any(bad).as_py() else texts


def _one_by_one(objects: Sequence[Any], what: str) -> tuple[pa.StringArray, Misfits]:
    ids: list[str | None] = []
    problems: Misfits = []
    for row, value in enumerate(objects):
        problem = id_problem(value, what)
        if problem is not None:
            problems.append((row, problem))
        ids.append(None if problem else value if isinstance(value, str) else str(int(value)))
    return pa.array(ids, pa.string()), problems
