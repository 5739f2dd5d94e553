"""Filters: SQL predicates of users, checked before the table engine evaluates them.

The engine (Lance on DataFusion) parses, types and evaluates predicates. It evaluates some of them
in another way than SQL defines, and some end the process. These are rejected here, by their tokens
or by the plan of the engine:

* Text after the end of a predicate, which the engine drops: ``price < 100, n > 1`` and
  ``a < 1) or (b``.
* ``"name"``, which is a column in SQL and a text to the engine.
* Internal columns and the row numbers of the engine; all begin with an underscore.
* Text columns that the engine would cast to numbers or dates implicitly.
* Functions whose result can exceed the memory, or differs between calls.
* Columns and null in IN lists, and several lists of one column, which the engine merges wrongly.
* ``IS DISTINCT FROM`` before an AND or OR, which the engine parses as part of its right side.
* Nesting that overflows the stack of the engine, or doubles its plan with each level.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from isthmus.errors import InvalidFilter, listed
from isthmus.schema import INTERNAL_PREFIX

MAX_SHOWN = 300
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

MAX_CHARACTERS = 500_000
MAX_WORDS = 256
MAX_DEPTH = 12
MAX_DOUBLING_DEPTH = 4  # of functions that double the plan with each level

FUNCTIONS = {
    "text": "ascii bit_length btrim char_length character_length chr concat concat_ws contains "
    "contains_tokens ends_with find_in_set initcap instr left length lower ltrim octet_length "
    "regexp_count regexp_instr regexp_like regexp_match reverse right rtrim split_part "
    "starts_with strpos translate upper",
    "lists": "array_any_value array_contains array_distinct array_element array_empty "
    "array_extract array_has array_has_all array_has_any array_join array_length array_max "
    "array_min array_position array_slice array_to_string arrays_overlap cardinality empty "
    "flatten list_any_value list_contains list_distinct list_element list_empty list_extract "
    "list_has list_has_all list_has_any list_join list_length list_max list_position list_slice "
    "list_to_string make_array make_list",
    "numbers": "abs acos asin atan atan2 cbrt cos degrees exp gcd greatest isnan iszero lcm least "
    "ln log log10 log2 nanvl pi pow power radians round signum sin sqrt tan trunc",
    "nulls": "coalesce ifnull nullif nvl nvl2",
    "dates": "current_date current_time current_timestamp date_format date_part date_trunc "
    "datepart datetrunc from_unixtime make_date now to_char to_date to_timestamp "
    "to_timestamp_micros to_timestamp_millis to_timestamp_seconds to_unixtime today",
    "other": "arrow_cast arrow_typeof get_field named_struct row struct",
}
_FUNCTIONS = frozenset(" ".join(FUNCTIONS.values()).split())
_KEYWORDS = """
    all and any array between case cast char decimal distinct else escape exists from ilike in is
    like not numeric or some then timestamp try_cast varchar when
"""
_BEFORE_BRACKET = frozenset(_KEYWORDS.split()) | _FUNCTIONS
_DOUBLING = frozenset(FUNCTIONS["nulls"].split())
_NEGATED = frozenset({"in", "between", "like", "ilike", "null", "true", "false", "distinct"})
_COMPARING = frozenset("=<>!")
_VALUES = frozenset({"", "true", "false", "date", "timestamp", "x"})
_CASTS = frozenset({"cast", "try_cast", "arrow_cast"})
_CLOCKS = frozenset(name for name in _FUNCTIONS if "current" in name) | {"now", "today"}

_TOKEN = re.compile(
    r"""(?P<text>'(?:[^']|'')*')
      | `(?P<name>[^`]*)`
      | (?P<number>\d[\w.]*|\.\d\w*)
      | (?P<word>\w+)
      | (?P<sign>--|/\*|::|[^\w\s])""",
    re.VERBOSE,
)
_REFUSED_SIGNS = {
    '"': "text stands in 'single quotes', a column's name bare or in `backquotes`; "
    "double quotes are refused, since they might mean either.",
    "'": "a single quote is not closed; write one inside a text twice.",
    "`": "a backquote is not closed.",
    "--": "comments are refused.",
    "/*": "comments are refused.",
    ";": "a filter is one predicate, without a semicolon.",
    **dict.fromkeys("$?:", "parameters are refused; write the value itself."),
}
_END = f"{INTERNAL_PREFIX}isthmus_end"
_SCAN = {"columns": [], "with_row_id": True}

_IMPLICIT_CAST = re.compile(r"CAST\(([^()\s]+) AS ([^)]*)")
_PLAN_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')


def check_filter(dataset: Any, where: Any, columns: pa.Schema) -> None:
    """Raise if the engine would not evaluate a predicate as SQL defines it.

    Parameters
    ----------
    dataset : lance.LanceDataset
        The table to filter.
    where : str
        The predicate.
    columns : pyarrow.Schema
        The columns that a predicate can use.

    Raises
    ------
    Exception
        Of any kind, including the engine's own; call it within `raising_invalid_filter`.
    """
    if not isinstance(where, str):
        raise InvalidFilter(f"a filter is an SQL predicate in a str, not a {type(where).__name__}.")
    if not where.strip():
        raise InvalidFilter("it is empty; leave it out, or write None, to have no filter.")
    if len(where) > MAX_CHARACTERS:
        raise InvalidFilter(
            f"it has {len(where):,} characters; at most {MAX_CHARACTERS:,} are read."
        )
    tokens = list(_TOKEN.finditer(where))
    _check_signs(tokens)
    _check_names(tokens)
    _check_nesting(tokens)
    _check_lists(tokens)
    plan = dataset.scanner(filter=where, **_SCAN).explain_plan(verbose=True)
    _check_end(dataset, where)
    _check_casts(plan, tokens, columns)


def depends_on_time(where: str) -> bool:
    """Return whether a predicate depends on the current time (``now()`` and similar functions).

    Examples
    --------
    >>> depends_on_time("published_at < now()"), depends_on_time("title = 'now'")
    (True, False)
    """
    return any(_word(token) in _CLOCKS for token in _TOKEN.finditer(where))


def columns_in_filter(where: str, columns: pa.Schema) -> list[str]:
    """Return the columns whose name occurs in a predicate: those it reads, and perhaps more.

    Examples
    --------
    >>> columns_in_filter("Price < 100", pa.schema([("price", pa.int64()), ("year", pa.int64())]))
    ['price']
    """
    lowered = where.lower()
    return [name for name in columns.names if name.lower() in lowered or "`" in name]


def _check_signs(tokens: list[re.Match[str]]) -> None:
    for before, token in zip([None, *tokens], tokens, strict=False):
        sign = token["sign"]
        if sign in _REFUSED_SIGNS:
            raise InvalidFilter(_REFUSED_SIGNS[sign])
        prefix = _word(before) if before and before.end() == token.start() else ""
        if token["text"] and len(prefix) == 1 and prefix != "x":
            raise InvalidFilter(f"texts like {before[0] if before else ''}'…' are refused.")


def _check_names(tokens: list[re.Match[str]]) -> None:
    for i, token in enumerate(tokens):
        name = token["name"] or token["word"]
        if not name:
            continue
        field_of_struct = i and tokens[i - 1]["sign"] == "."
        if name.startswith(INTERNAL_PREFIX) and not field_of_struct:
            raise InvalidFilter(f"no column named {name}.")
        called = i + 1 < len(tokens) and tokens[i + 1]["sign"] == "("
        if called and name.lower() not in _BEFORE_BRACKET:
            raise InvalidFilter(f"no function {shorten(name)!r} for filters.")


def _check_nesting(tokens: list[re.Match[str]]) -> None:
    words, betweens, and_of_between = 0, 0, False
    open_brackets: list[bool] = []
    distinct = -1  # the depth of an open IS DISTINCT FROM
    for i, token in enumerate(tokens):
        word, sign = _word(token), token["sign"]
        if sign and sign in "([":
            open_brackets.append(i > 0 and _word(tokens[i - 1]) in _DOUBLING)
        elif sign and sign in ")]" and open_brackets:
            open_brackets.pop()
            distinct = distinct if distinct <= len(open_brackets) else -1
        if len(open_brackets) > MAX_DEPTH or sum(open_brackets) > MAX_DOUBLING_DEPTH:
            raise InvalidFilter(f"brackets stand more than {MAX_DEPTH} deep.")
        if word == "distinct":
            distinct = len(open_brackets)
        elif word in ("and", "or") and distinct == len(open_brackets):
            raise InvalidFilter("IS DISTINCT FROM takes all that follows; put it in brackets.")
        if word == "between":
            betweens, and_of_between = betweens + 1, True
        elif word == "or" or (word == "and" and not and_of_between):
            betweens = 0
        elif word == "and":
            and_of_between = False
        if betweens > MAX_DOUBLING_DEPTH:
            raise InvalidFilter("one BETWEEN compares the result of another.")
        if word not in ("and", "or") and (token["name"] or word or (sign and sign not in "(),")):
            words += 1
    if words > MAX_WORDS:
        raise InvalidFilter(
            f"it has {words:,} names, words and operators, and at most {MAX_WORDS} are read; "
            "write column in ('a', 'b', ...) for many values."
        )


def _check_lists(tokens: list[re.Match[str]]) -> None:
    """Raise if the engine would merge IN lists wrongly.

    The engine merges two lists of one column as sets of expressions, and returns true or false
    even where the column is null. So a list must hold only values, neither columns nor null. A
    column can have several lists only where null and false select the same rows: not below a NOT,
    not in a comparison, and not where a NOT IN stands beside an OR.
    """
    words, signs = [_word(token) for token in tokens], [token["sign"] for token in tokens]
    lists, negated_lists = Counter[str](), Counter[str]()
    for i, word in enumerate(words):
        if word == "in" and i and signs[i + 1 : i + 2] == ["("]:
            negated = words[i - 1] == "not"
            operand = tokens[i - 1 - negated]
            (negated_lists if negated else lists)[(operand["name"] or operand[0]).lower()] += 1
            _check_values(tokens[i + 2 :])
    everything = lists + negated_lists
    several = [name for name, n in everything.items() if n > 1]
    if everything.total() < 2 or not (several or everything[")"] or everything["]"]):
        return
    around = zip(words, signs, [*words[1:], ""], [*signs[1:], None], strict=True)
    if (negated_lists.total() > 1 and "or" in words) or any(
        (word == "not" and after not in _NEGATED)
        or (sign == ")" and (after == "is" or sign_after in _COMPARING))
        or (sign in _COMPARING and sign_after == "(")
        or (sign_after == "(" and word in _FUNCTIONS)
        or word == "distinct"
        for word, sign, after, sign_after in around
    ):
        raise InvalidFilter(
            f"several IN lists of one column ({', '.join(several) or 'an expression'}) stand below "
            "a NOT, in a comparison or beside an OR, where the table engine mixes them up; "
            "write one list, or = and <>."
        )


def _check_values(tokens: list[re.Match[str]]) -> None:
    for token in tokens:
        if token["sign"] == ")":
            return
        if token["name"] or token["sign"] not in (None, ",", "-") or _word(token) not in _VALUES:
            raise InvalidFilter(
                f"IN lists hold values, and {shorten(token[0])!r} is none; write = for a column "
                "and IS NULL for null."
            )


def _check_end(dataset: Any, where: str) -> None:
    """Raise if the engine parses only the beginning of a predicate.

    An unknown column is appended to the predicate. If the engine does not complain about it, the
    engine stopped parsing before the end.
    """
    try:
        dataset.scanner(filter=f"{where}\nAND {_END}", **_SCAN).explain_plan()
    except ValueError as error:
        if f"No field named {_END}" in str(error):
            return
    raise InvalidFilter("the table engine reads only its beginning as a predicate.")


def _check_casts(plan: str, tokens: list[re.Match[str]], columns: pa.Schema) -> None:
    """Raise if the plan casts a column to another kind of type that the predicate does not name."""
    if any(_word(token) in _CASTS or token["sign"] == "::" for token in tokens):
        return
    for name, target in _IMPLICIT_CAST.findall(_PLAN_TEXT.sub("", plan)):
        if name in columns.names:
            kind, target_kind = _kind(columns.field(name).type), _kind_named(target)
            if target_kind not in (kind, "text", "other"):
                raise InvalidFilter(
                    f"column {name} is {columns.field(name).type} and meets a {target_kind}; "
                    f"write cast({name} as ...) where that is meant."
                )


def _kind(type_: pa.DataType) -> str:
    if pa.types.is_list(type_) or pa.types.is_fixed_size_list(type_):
        return _kind(type_.value_type)
    if pa.types.is_string(type_):
        return "text"
    if pa.types.is_temporal(type_):
        return "time"
    if pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_):
        return "number"
    return "truth value" if pa.types.is_boolean(type_) else "other"


def _kind_named(type_name: str) -> str:
    for kind, pattern in {
        "text": "Utf8|Binary",
        "time": "Date|Time|Duration|Interval",
        "number": "Int|Float|Decimal",
        "truth value": "Boolean",
    }.items():
        if re.search(pattern, type_name):
            return kind
    return "other"


def _word(token: re.Match[str]) -> str:
    return (token["word"] or "").lower()


@contextmanager
def raising_invalid_filter(where: Any, columns: pa.Schema) -> Iterator[None]:
    """Raise any error of a filter as `InvalidFilter`, with the list of columns."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    except BaseException as error:  # a panic of the engine is no Exception
        cause = str(error) if isinstance(error, InvalidFilter) else _cause(error, where)
        names = listed([f"{field.name} ({field.type})" for field in columns])
        shown = shorten(repr(where))
        raise InvalidFilter(
            f"cannot filter by {shown}: {cause} The columns are: {names}"
        ) from error


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


def shorten(text: str) -> str:
    """Return a text cut to a length that fits in a message."""
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"
