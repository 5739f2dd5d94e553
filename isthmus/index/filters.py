"""Filters: what a ``where`` predicate may be, before and after the table engine reads it.

The engine (Lance, with DataFusion's SQL) parses and types predicates; nothing here pastes them
into other SQL. What is refused here is what the engine would pass over or not survive.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pyarrow as pa

from isthmus.errors import InvalidFilter

MOST_CHARACTERS = 200_000
MOST_OPERATORS = 200  # in one term; the engine overflows its stack at some 500 to 1,000

_STRINGS = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")
_INTERNAL = re.compile(r"(?<![\w.])_\w*")
_TERMS = re.compile(r"\b(?:and|or)\b", re.IGNORECASE)
_OPERATORS = re.compile(r"\|\||<=|>=|<>|!=|[=<>+*/%&|^~#]|[\w)\]'\"]\s*-|\b(?:is|not|like)\b", re.I)


def refuse_unsound(where: Any, schema: pa.Schema) -> None:
    """Refuse a predicate that the engine would misread, pass over in part, or crash on.

    Parameters
    ----------
    where : str
        SQL predicate.
    schema : pyarrow.Schema
        Columns of the catalog, for the message.

    Raises
    ------
    InvalidFilter
        If it is no text or blank, names an internal column, holds a second statement or a
        comment (what follows would be passed over), or is too long or too deep.
    """
    if not isinstance(where, str) or not where.strip():
        raise refusal(where, "it is no SQL predicate", schema)
    if len(where) > MOST_CHARACTERS:
        raise refusal(f"{where[:40]}...", f"it has over {MOST_CHARACTERS:,} characters", schema)
    code = _STRINGS.sub("''", where)
    if ";" in code or "--" in code or "/*" in code:
        raise refusal(where, "give one predicate, without ';' and without comments", schema)
    internal = _INTERNAL.search(code)
    if internal:
        raise refusal(where, f"there is no column {internal.group()!r}", schema)
    if any(len(_OPERATORS.findall(term)) > MOST_OPERATORS for term in _TERMS.split(code)):
        raise refusal(where, f"a term of it has over {MOST_OPERATORS} operators", schema)


def matching(dataset: Any, where: str, columns: list[str]) -> pa.Table:
    """Give the row ids and some columns of the rows that a predicate selects.

    Raises
    ------
    InvalidFilter
        If the engine refuses the predicate; the message lists the columns.
    """
    refuse_unsound(where, dataset.schema)
    scanner = {"columns": columns, "filter": where, "with_row_id": True}
    return _asked(lambda: dataset.scanner(**scanner).to_table(), where, dataset.schema)


def matching_rows(rows: pa.Table, where: str, column: str) -> pa.ChunkedArray:
    """Give one column of those of a few rows that a predicate selects, by the same engine."""
    import lance

    refuse_unsound(where, rows.schema)
    held = lance.write_dataset(rows, f"memory://{uuid4().hex}")
    scanner = {"columns": [column], "filter": where}
    return _asked(lambda: held.scanner(**scanner).to_table(), where, rows.schema).column(column)


def refusal(where: Any, cause: str, schema: pa.Schema) -> InvalidFilter:
    """Say why a predicate is refused, and what columns there are."""
    columns = ", ".join(f"{f.name} ({f.type})" for f in schema if not f.name.startswith("_"))
    return InvalidFilter(f"cannot filter by {where!r}: {cause}. The columns are: {columns}")


def _asked(ask: Callable[[], pa.Table], where: str, schema: pa.Schema) -> pa.Table:
    try:
        return ask()
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # the engine's panics derive from nothing narrower
        raise refusal(where, _cause(error), schema) from error


def _cause(error: BaseException) -> str:
    """Shorten the engine's message to what concerns the predicate."""
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    for noise in (r", /\S+\.rs:\d+.*", r" Valid fields are.*", r"^Invalid user input: "):
        said = re.sub(noise, "", said)
    for noise in (
        r"^Error resolving filter expression .*?: (?=Invalid|Received|Cast)",
        r"Invalid user input: ",
    ):
        said = re.sub(noise, "", said)
    said = re.sub(r"SELECT 1 FROM t WHERE .* \(sql parser error: (.*)\)", r"\1", said)
    return said.strip().rstrip(".:")[:300]
