"""Facets of a search: which values and ranges may be chosen, and the filter of those that are."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from isthmus.errors import InvalidInput
from isthmus.index.catalog.filters.syntax import parse
from isthmus.retrieval.search.titles import LINK_ATTRIBUTES, TITLE_ATTRIBUTES
from isthmus.schema import DOMAIN
from isthmus.service.page.cards import shown
from isthmus.service.page.visit import Visit

IS: Final = "is."  # before the name of an attribute: values that are chosen
FROM: Final = "from."
TO: Final = "to."
VALUES: Final = 8  # of a facet
MAX_FACETS: Final = 8
MAX_LABEL: Final = 60  # characters of a value
NUMBERS: Final = re.compile(r"u?int\d+|float|double|halffloat|decimal\(.*\)")
TEXTS: Final = frozenset({"string", "large_string"})
LISTS: Final = re.compile(r"list<(string|large_string)>")
UNCOUNTED: Final = frozenset({*TITLE_ATTRIBUTES, *LINK_ATTRIBUTES, "description", "text", "image"})


@dataclass(frozen=True)
class Value:
    """A value that can be chosen.

    Attributes
    ----------
    text, label : str
        As it is sent, and as it is shown.
    count : int or None
        How many items have it beside what else is chosen.
    chosen : bool
        Whether it is.
    """

    text: str
    label: str
    count: int | None
    chosen: bool


@dataclass(frozen=True)
class Facet:
    """An attribute by which a search is narrowed.

    Attributes
    ----------
    name : str
        The attribute.
    kind : str
        ``text``, ``list``, ``bool``, ``number`` or ``date``.
    values : list of Value
        The values that can be chosen; none where there is a range.
    low, high : str
        The range that is chosen.
    """

    name: str
    kind: str
    values: list[Value] = field(default_factory=list)
    low: str = ""
    high: str = ""

    @property
    def is_range(self) -> bool:
        """Whether it has a range rather than values."""
        return self.kind in ("number", "date")

    @property
    def is_used(self) -> bool:
        """Whether something of it is chosen."""
        return bool(self.low or self.high or any(value.chosen for value in self.values))


@dataclass(frozen=True)
class Chosen:
    """What is chosen of one attribute."""

    name: str
    kind: str
    values: Sequence[str] = ()
    low: str = ""
    high: str = ""

    @property
    def where(self) -> str | None:
        """The predicate of it; None where nothing is chosen.

        Raises
        ------
        InvalidInput
            If a value does not fit the attribute.
        """
        parts = []
        if self.values:
            parts.append(self._of_values())
        if self.low:
            parts.append(f"{_column(self.name)} >= {_literal(self.kind, self.name, self.low)}")
        if self.high:
            parts.append(f"{_column(self.name)} <= {_literal(self.kind, self.name, self.high)}")
        return " AND ".join(parts) or None

    def _of_values(self) -> str:
        column = _column(self.name)
        if self.kind == "bool":
            tests = (column if value == "true" else f"NOT {column}" for value in self.values)
            return f"({' OR '.join(tests)})"
        values = ", ".join(_quoted(value) for value in self.values)
        if self.kind == "list":
            return f"array_has_any({column}, [{values}])"
        return f"{column} IN ({values})"


def chosen_of(visit: Visit, kinds: Mapping[str, str]) -> list[Chosen]:
    """Return what a visit chooses of each attribute."""
    return [
        Chosen(
            name,
            kind,
            visit.texts(f"{IS}{name}"),
            visit.text(f"{FROM}{name}"),
            visit.text(f"{TO}{name}"),
        )
        for name, kind in kinds.items()
    ]


def joined(parts: Iterable[str | None]) -> str | None:
    """Return the predicate that all of some must hold; None for none.

    Raises
    ------
    InvalidFilter
        If one is none by itself: no bracket of it ends that which is put around it.

    Examples
    --------
    >>> joined(["a = 1", None, "b = 2 OR c"]), joined([])
    ('(a = 1) AND (b = 2 OR c)', None)
    """
    given = [part for part in parts if part]
    for part in given:
        parse(part)
    return " AND ".join(f"({part})" for part in given) or None


def uncounted_facets(chosen: Sequence[Chosen], domains: Sequence[str]) -> list[Facet]:
    """Return the facets of which something is chosen, where nothing can be counted."""
    facets = [_counted(one, []) for one in [Chosen(DOMAIN, "text", domains), *chosen]]
    return [facet for facet in facets if facet.is_used]


def kinds_of(attributes: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the kind of each attribute that can be a facet: of one type wherever it is.

    Examples
    --------
    >>> kinds_of([{"attribute": "year", "type": "int64"}, {"attribute": "title", "type": "string"}])
    {'year': 'number'}
    """
    types: dict[str, set[str]] = {}
    for row in attributes:
        types.setdefault(row["attribute"], set()).add(_kind(row["type"]))
    return {
        name: kind
        for name, (kind, *others) in ((n, sorted(k)) for n, k in types.items())
        if kind and not others and "`" not in name and name.casefold() not in UNCOUNTED
    }


async def count_facets(
    visit: Visit,
    chosen: Sequence[Chosen],
    domains: Sequence[str],
    where: str | None,
) -> list[Facet]:
    """Return the facets with the counts of their values.

    A value is counted among the items that everything else that is chosen leaves, so that the
    numbers say what choosing it adds.
    """
    countable = [one for one in chosen if one.kind not in ("number", "date")]
    free = [one.name for one in countable if not one.values]
    everything = joined([where, *(one.where for one in chosen)])
    asked = [(free, domains, everything)] if free else []
    for one in countable:
        if one.values:
            others = joined([where, *(other.where for other in chosen if other is not one)])
            asked.append(([one.name], domains, others))
    asked.append(([DOMAIN], [], everything))
    answers = await asyncio.gather(
        *(
            visit.ask(
                "facets", attributes=names, domain=list(of) or None, where=narrowed, k=VALUES + 1
            )
            for names, of, narrowed in asked
        )
    )
    counts = {name: rows for answer in answers for name, rows in answer.items()}
    by_domain = Chosen(DOMAIN, "text", domains)
    facets = [_counted(one, counts.get(one.name, [])) for one in [by_domain, *chosen]]
    useful = [facet for facet in facets if facet.is_range or facet.is_used or facet.values]
    return useful[: MAX_FACETS + 1]


def _counted(chosen: Chosen, rows: Sequence[Mapping[str, Any]]) -> Facet:
    if chosen.kind in ("number", "date"):
        return Facet(chosen.name, chosen.kind, low=chosen.low, high=chosen.high)
    found = {_sent(row["value"]): row for row in rows}
    # Where no two items have the same value, or values are sentences, a choice is of no use.
    unique = len(rows) > VALUES and rows[0]["count"] <= 1
    wordy = any(len(text) > MAX_LABEL for text in found)
    if not chosen.values and (unique or wordy):
        return Facet(chosen.name, chosen.kind)
    values = [
        Value(text, shown(row["value"]), row["count"], text in chosen.values)
        for text, row in list(found.items())[:VALUES]
    ]
    known = {value.text for value in values}
    values += [
        Value(text, text, found[text]["count"] if text in found else 0, chosen=True)
        for text in chosen.values
        if text not in known
    ]
    return Facet(chosen.name, chosen.kind, values)


def _kind(type_: str) -> str:
    if type_ in TEXTS:
        return "text"
    if LISTS.fullmatch(type_):
        return "list"
    if NUMBERS.fullmatch(type_):
        return "number"
    return {"bool": "bool", "date": "date"}.get(type_, "")


def _sent(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _column(name: str) -> str:
    return f"`{name}`"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _literal(kind: str, name: str, text: str) -> str:
    try:
        if kind == "date":
            return f"date '{date.fromisoformat(text).isoformat()}'"
        number = float(text)
        if number - number != 0:  # not finite
            raise ValueError
    except ValueError as error:
        what = "a date such as 2026-01-31" if kind == "date" else "a number"
        raise InvalidInput(f"{name}: {text[:40]!r} is not {what}") from error
    return repr(int(number)) if number.is_integer() else repr(number)
