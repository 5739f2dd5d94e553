"""The errors of the table engine (Lance on DataFusion), in the words of the user's filter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from isthmus.errors import InvalidFilter, IsthmusError, listed
from isthmus.index.catalog.filters.compiler import CompiledFilter
from isthmus.index.catalog.filters.tokens import shorten

_SOURCE_LINE = re.compile(r", /\S+\.rs:\d+:\d+")
_PREFIXES = re.compile(
    r"^(?:Invalid user input|Not supported|External error|Query Execution error|Execution error"
    r"|Schema error|Arrow error|LanceError\(Arrow\)|Error during planning|Cast error"
    r"|Error applying filter expression to batch|Error parsing function"
    r"|This feature is not implemented|Error (?:resolving filter expression|optimizing sql filter"
    r"|(?:parsing|tokenizing) statement)(?:: SELECT 1 FROM t WHERE)?(?::? ?…)?):?\s*"
)
_LITERAL = re.compile(
    r"Received literal (?P<given>\w+)\((?P<value>.*)\) and could not convert to literal of type '"
    r"(?P<type>.*)'"
)
_HINTS = {
    r"\w+ Date": "; write a date as date '2026-01-31'",
    r"\w+ Timestamp": "; write a time as timestamp '2026-01-31 12:00:00'",
    r"\w+ Utf8": "; text stands in single quotes",
    r"Float64 U?Int": "; where whole numbers meet fractions, write cast(column as double)",
}


# Where Lance reads files; its messages end with the place in its source.
_STORAGE_SOURCES = re.compile(r"/rust/lance-(io|file|encoding)/src/")


def raise_failures(dataset: Any, compiled: CompiledFilter) -> None:
    """Raise if a filter fails for a value of a table, as a cast of a text does.

    The message of such a failure quotes the value. The interface that rows are read through ends
    the process over a message with a null character; the one that counts them does not.

    Raises
    ------
    Exception
        Of any kind; call it within `raising_invalid_filter`.
    """
    if compiled.can_fail:
        dataset.count_rows(compiled.sql)


@contextmanager
def raising_invalid_filter(where: Any, columns: pa.Schema) -> Iterator[None]:
    """Raise any error of a filter as `InvalidFilter`, with the list of columns.

    What is no fault of the filter is raised as it is: there may be none, and a version that was
    removed or a file that cannot be read has its own error.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    except BaseException as error:  # a panic of the engine is no Exception
        if where is None or _is_of_storage(error):
            raise
        cause = str(error) if isinstance(error, InvalidFilter) else _cause(error, where)
        names = listed([f"{field.name} ({field.type})" for field in columns])
        shown = shorten(repr(where))
        raise InvalidFilter(
            f"cannot filter by {shown}: {cause} The columns are: {names}"
        ) from error


def _is_of_storage(error: BaseException) -> bool:
    """Return whether a file could not be read."""
    if isinstance(error, IsthmusError):
        return not isinstance(error, InvalidFilter)
    return _STORAGE_SOURCES.search(str(error)) is not None


def _cause(error: BaseException, where: Any) -> str:
    """Return a short form of the engine's message."""
    text = _SOURCE_LINE.sub("", str(error)).partition(" Valid fields")[0]
    if len(str(where)) > 3:
        text = text.replace(str(where), "…")
    if "AggregateFunction" in text or "WindowFunction" in text:
        return "aggregates are refused; a filter looks at one item at a time."
    if isinstance(error, RuntimeError) or not isinstance(error, Exception):
        return "the table engine cannot read it."
    cut = ""
    while cut != text:
        cut, text = text, _PREFIXES.sub("", text, count=1).removeprefix("…").strip(" ().")
    text = text.partition(" No function matches")[0]
    text = text.partition("sql parser error: ")[2] or text
    if found := _LITERAL.search(text):
        types = f"{found['given']} {found['type']}"
        hint = next((hint for pattern, hint in _HINTS.items() if re.match(pattern, types)), "")
        text = f"{found['value']} does not compare with a column of type {found['type']}{hint}"
    text = " ".join(text.split()) or type(error).__name__
    return shorten(text) + "."
