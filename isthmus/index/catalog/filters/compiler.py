"""From the tree of a filter to SQL for the table engine: names resolved, types checked.

SQL would convert a text to a number where they meet; which values that fails for is seen only when
they are read. So operands must be of one kind here, unless a cast says otherwise.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import singledispatchmethod
from typing import Any

import pyarrow as pa

from isthmus.errors import InvalidFilter
from isthmus.index.catalog.filters.checks import check_tree
from isthmus.index.catalog.filters.functions import (
    ARROW_TYPES,
    CAST_TYPES,
    CLOCKS,
    CONVERTING,
    FUNCTIONS,
)
from isthmus.index.catalog.filters.kinds import (
    ANY,
    BY_NAME,
    NULL,
    NUMBER,
    TEXT,
    TIME,
    TRUTH,
    Kind,
    kind_of,
    with_article,
)
from isthmus.index.catalog.filters.syntax import parse
from isthmus.index.catalog.filters.tokens import shorten
from isthmus.index.catalog.filters.tree import (
    Arithmetic,
    Array,
    Between,
    Call,
    Cast,
    Column,
    Comparison,
    Distinct,
    Element,
    Field,
    In,
    Is,
    Junction,
    Like,
    Negative,
    Node,
    Not,
    Value,
    nodes,
)
from isthmus.schema import INTERNAL_PREFIX

_OF_LITERAL = {
    "text": TEXT,
    "number": NUMBER,
    "boolean": TRUTH,
    "null": NULL,
    "date": TIME,
    "timestamp": TIME,
}
_HINTS = {
    ("text", "time"): "; write a date as date '2026-01-31', a time as timestamp "
    "'2026-01-31 12:00:00'",
    ("text", "number"): "; text stands in single quotes, a number in none",
    ("text", "truth"): "; truth values are true and false, without quotes",
}


@dataclass(frozen=True)
class ResolvedColumn:
    """What a name in a filter stands for.

    Attributes
    ----------
    sql : str
        An expression of the engine, such as a backquoted name.
    type : pyarrow.DataType
        Its type.
    reads : tuple of str
        The stored columns that it reads.
    """

    sql: str
    type: pa.DataType
    reads: tuple[str, ...]


Resolver = Callable[[str], ResolvedColumn]


@dataclass(frozen=True)
class CompiledFilter:
    """A filter as the table engine gets it.

    Attributes
    ----------
    sql : str
        The predicate.
    reads : tuple of str
        The stored columns that it reads.
    can_fail : bool
        Whether it may fail for a value; see `engine.raise_failures`.
    """

    sql: str
    reads: tuple[str, ...]
    can_fail: bool = False


def compile_filter(where: Any, columns: pa.Schema) -> CompiledFilter:
    """Return a predicate of a user over stored columns as the engine gets it.

    Parameters
    ----------
    where : str
        The predicate.
    columns : pyarrow.Schema
        The columns that a predicate can use.

    Raises
    ------
    InvalidFilter
        If it is no predicate, exceeds a limit, or its names or types do not fit.

    Examples
    --------
    >>> columns = pa.schema([("price", pa.float64()), ("tags", pa.list_(pa.string()))])
    >>> compile_filter("Price < 100 and array_has(tags, 'x')", columns).sql
    "(`price` < 100) AND array_has(`tags`, 'x')"
    """
    return compile_tree(parse(where), stored_columns(columns))


def compile_tree(tree: Node, resolve: Resolver) -> CompiledFilter:
    """Return a parsed predicate as the engine gets it, with names resolved by a function.

    Parameters
    ----------
    tree : Node
        What `syntax.parse` returned.
    resolve : callable
        Takes a name and returns a `ResolvedColumn`, or raises `InvalidFilter`.

    Raises
    ------
    InvalidFilter
        If names or types do not fit.
    """
    check_tree(tree)
    compiler = _Compiler(resolve)
    sql, kind = compiler.compile(tree)
    if kind.name not in ("truth", "null") or (isinstance(tree, Value) and tree.kind == "null"):
        raise InvalidFilter(
            f"{shorten(sql)} is {with_article(kind.type)} and does not return a boolean."
        )
    reads = tuple(dict.fromkeys(compiler.reads))
    return CompiledFilter(_without_brackets(sql, tree), reads, can_fail(tree))


def can_fail(tree: Node) -> bool:
    """Return whether a predicate may fail for a value, as a cast of a text does.

    Examples
    --------
    >>> can_fail(parse("cast(brand as int) = 1")), can_fail(parse("lower(brand) = 'a'"))
    (True, False)
    """
    return any(
        (isinstance(node, Cast) and not node.attempted)
        or (isinstance(node, Call) and node.name in CONVERTING)
        for node in nodes(tree)
    )


def stored_columns(columns: pa.Schema) -> Resolver:
    """Return a resolver of the names of columns: as they are stored, or else in any case."""
    lowered: dict[str, list[str]] = {}
    for name in columns.names:
        lowered.setdefault(name.lower(), []).append(name)

    def resolve(name: str) -> ResolvedColumn:
        if name.startswith(INTERNAL_PREFIX):
            raise InvalidFilter(f"no column named {shorten(name)}.")
        candidates = [name] if name in columns.names else lowered.get(name.lower(), [])
        if len(candidates) > 1:
            raise InvalidFilter(
                f"{shorten(name)} may be {' or '.join(candidates)}; write it in the same case."
            )
        if not candidates or "`" in candidates[0]:
            raise InvalidFilter(f"No field named {shorten(name)}.")
        return ResolvedColumn(
            quoted(candidates[0]), columns.field(candidates[0]).type, (candidates[0],)
        )

    return resolve


def quoted(column: str) -> str:
    """Return the name of a column as the engine reads it verbatim."""
    return f"`{column}`"


def depends_on_time(where: str) -> bool:
    """Return whether a predicate depends on the current time (``now()`` and similar functions).

    Examples
    --------
    >>> depends_on_time("published_at < now()"), depends_on_time("title = 'now'")
    (True, False)
    """
    try:
        tree = parse(where)
    except InvalidFilter:
        return False  # it has no result
    return any(isinstance(node, Call) and node.name in CLOCKS for node in nodes(tree))


def _in_utc(sql: str, kind: Kind) -> tuple[str, Kind]:
    """Return times of another zone as those of UTC.

    The engine takes a literal, whatever its own zone is, for a time of the column's zone.
    """
    if "tz=" in kind.type and kind.name == "time" and "tz=UTC" not in kind.type:
        return f"arrow_cast({sql}, 'Timestamp(Microsecond, Some(\"UTC\"))')", kind
    return sql, kind


class _Compiler:
    """Writes the SQL of nodes, every operand in brackets, and finds their kinds."""

    def __init__(self, resolve: Resolver) -> None:
        self.reads: list[str] = []
        self._resolve = resolve

    @singledispatchmethod
    def compile(self, node: Any) -> tuple[str, Kind]:
        """Return SQL and kind of a node."""
        raise TypeError(f"no node of a filter: {node!r}")

    @compile.register
    def _(self, node: Value) -> tuple[str, Kind]:
        text = node.text.replace("'", "''")
        sql = {
            "text": f"'{text}'",
            "date": f"date '{text}'",
            "timestamp": f"timestamp '{text}'",
        }.get(node.kind, node.text)
        return sql, _OF_LITERAL[node.kind]

    @compile.register
    def _(self, node: Column) -> tuple[str, Kind]:
        column = self._resolve(node.name)
        self.reads += column.reads
        return _in_utc(column.sql, kind_of(column.type))

    @compile.register
    def _(self, node: Field) -> tuple[str, Kind]:
        sql, kind = self.compile(node.operand)
        return self._field(sql, kind, node.name)

    def _field(self, sql: str, kind: Kind, name: str) -> tuple[str, Kind]:
        self._require(sql, kind, "struct")
        names = [field for field, _ in kind.fields]
        found = [name] if name in names else [f for f in names if f.lower() == name.lower()]
        if len(found) != 1 or "`" in found[0]:
            raise InvalidFilter(
                f"No field named {shorten(name)} in {sql}; there are {', '.join(names)}."
            )
        return _in_utc(f"get_field({sql}, {_text(found[0])})", dict(kind.fields)[found[0]])

    @compile.register
    def _(self, node: Element) -> tuple[str, Kind]:
        sql, kind = self.compile(node.operand)
        self._require(sql, kind, "list")
        position, position_kind = self.compile(node.position)
        self._require(position, position_kind, "number")
        return f"array_element({sql}, {position})", kind.element or ANY

    @compile.register
    def _(self, node: Negative) -> tuple[str, Kind]:
        sql, kind = self.compile(node.operand)
        self._require(sql, kind, "number")
        return f"(- {sql})", NUMBER

    @compile.register
    def _(self, node: Arithmetic) -> tuple[str, Kind]:
        kind = TEXT if node.operator == "||" else NUMBER
        left, right = self._operand(node.left, kind), self._operand(node.right, kind)
        if isinstance(node.left, Arithmetic) and _as_tight(node.left.operator, node.operator):
            left = left[1:-1]  # a chain needs no brackets, which the engine reads only so deep
        return f"({left} {node.operator} {right})", kind

    @compile.register
    def _(self, node: Comparison) -> tuple[str, Kind]:
        left, right = self._pair(node.left, node.right)
        return f"({left} {node.operator} {right})", TRUTH

    @compile.register
    def _(self, node: Distinct) -> tuple[str, Kind]:
        left, right = self._pair(node.left, node.right)
        return f"({left} IS {'NOT ' * node.negated}DISTINCT FROM {right})", TRUTH

    @compile.register
    def _(self, node: Is) -> tuple[str, Kind]:
        sql, kind = self.compile(node.operand)
        if node.what != "NULL":
            self._require(sql, kind, "truth")
        return f"({sql} IS {'NOT ' * node.negated}{node.what})", TRUTH

    @compile.register
    def _(self, node: Between) -> tuple[str, Kind]:
        operand, low = self._pair(node.operand, node.low)
        _, high = self._pair(node.operand, node.high)
        return f"({operand} {'NOT ' * node.negated}BETWEEN {low} AND {high})", TRUTH

    @compile.register
    def _(self, node: In) -> tuple[str, Kind]:
        operand, kind = self.compile(node.operand)
        values = [self.compile(value) for value in node.values]
        for value, value_kind in values:
            _check_meeting(operand, kind, value, value_kind)
        listed = ", ".join(value for value, _ in values)
        return f"({operand} {'NOT ' * node.negated}IN ({listed}))", TRUTH

    @compile.register
    def _(self, node: Like) -> tuple[str, Kind]:
        operand, pattern = self._operand(node.operand, TEXT), self._operand(node.pattern, TEXT)
        return f"({operand} {'NOT ' * node.negated}{node.operator} {pattern})", TRUTH

    @compile.register
    def _(self, node: Not) -> tuple[str, Kind]:
        return f"(NOT {self._operand(node.operand, TRUTH)})", TRUTH

    @compile.register
    def _(self, node: Junction) -> tuple[str, Kind]:
        operands = [self._operand(operand, TRUTH) for operand in node.operands]
        return f"({f' {node.operator} '.join(operands)})", TRUTH

    @compile.register
    def _(self, node: Cast) -> tuple[str, Kind]:
        sql, _ = self.compile(node.operand)
        type_, kind = CAST_TYPES.get(node.type, (node.type, "number"))
        return f"{'TRY_' * node.attempted}CAST({sql} AS {type_})", BY_NAME[kind]

    @compile.register
    def _(self, node: Array) -> tuple[str, Kind]:
        values = [self.compile(value) for value in node.values]
        kind = _common(values)
        listed = ", ".join(value for value, _ in values)
        if all(isinstance(value, Value) for value in node.values):
            return f"[{listed}]", Kind("list", f"list of {kind.type}", kind)
        return f"make_array({listed})", Kind("list", f"list of {kind.type}", kind)

    @compile.register
    def _(self, node: Call) -> tuple[str, Kind]:
        return _call(self, node)

    def _operand(self, node: Node, expected: Kind) -> str:
        sql, kind = self.compile(node)
        self._require(sql, kind, expected.name)
        return sql

    def _pair(self, left: Node, right: Node) -> tuple[str, str]:
        (left_sql, left_kind), (right_sql, right_kind) = self.compile(left), self.compile(right)
        _check_meeting(left_sql, left_kind, right_sql, right_kind)
        return left_sql, right_sql

    @staticmethod
    def _require(sql: str, kind: Kind, expected: str) -> None:
        if kind.name not in (expected, "null"):
            raise InvalidFilter(
                f"{shorten(sql)} is {with_article(kind.type)}, and {with_article(expected)} is "
                f"needed{_HINTS.get((kind.name, expected), '')}."
            )


def _call(compiler: _Compiler, node: Call) -> tuple[str, Kind]:
    """Return SQL and kind of a call, whose arguments are checked against the signature."""
    signature, _, result = FUNCTIONS[node.name].partition("->")
    expected = list(_expected(node, signature.split()))
    arguments = [compiler.compile(argument) for argument in node.arguments]
    lists = [kind for _, kind in arguments if kind.name == "list"]
    same = [argument for argument, want in zip(arguments, expected, strict=True) if want == "same"]
    common = _common(same)
    for at, ((sql, kind), want) in enumerate(zip(arguments, expected, strict=True)):
        if want == "element" and lists and lists[0].element:
            _check_meeting(f"an element of {arguments[0][0]}", lists[0].element, sql, kind)
        elif want == "'…'":
            _check_written(node, node.arguments[at])
        elif want not in ("any", "same", "element"):
            compiler._require(sql, kind, want)
    for one, other in itertools.pairwise(lists):
        _check_meeting(arguments[0][0], one, arguments[1][0], other)
    sql = f"{node.name}({', '.join(sql for sql, _ in arguments)})"
    if node.name == "get_field":
        return compiler._field(*arguments[0], _written(node.arguments[1]))
    if node.name == "arrow_cast":
        return sql, BY_NAME[_arrow_type(_written(node.arguments[1]))]
    return sql, _result(node.name, result.strip(), common, lists)


def _expected(node: Call, parameters: list[str]) -> Iterator[str]:
    """Yield what each argument of a call must be."""
    required = [parameter for parameter in parameters if parameter[-1] not in "?*"]
    given = len(node.arguments)
    repeats = bool(parameters) and parameters[-1].endswith("*")
    if given < len(required) or (given > len(parameters) and not repeats):
        form = ", ".join(parameters)
        raise InvalidFilter(f"{node.name} takes ({form}), and {given} arguments are given.")
    for at in range(given):
        yield parameters[min(at, len(parameters) - 1)].rstrip("?*")


def _result(name: str, result: str, common: Kind, lists: list[Kind]) -> Kind:
    if result == "same":
        return common
    if result == "element":
        return (lists[0].element if lists else None) or ANY
    if result == "list":
        if lists:
            return lists[0]
        element = TEXT if name.startswith("regexp") else common
        return Kind("list", f"list of {element.type}", element)
    return BY_NAME[result]


def _written(node: Node) -> str:
    return node.text if isinstance(node, Value) else ""


def _check_written(call: Call, argument: Node) -> None:
    if not isinstance(argument, Value) or argument.kind != "text":
        raise InvalidFilter(
            f"{call.name} takes a text in single quotes there, the same for all items."
        )


def _arrow_type(name: str) -> str:
    if name not in ARROW_TYPES:
        raise InvalidFilter(
            f"arrow_cast to {shorten(name)!r} is refused; there are {', '.join(ARROW_TYPES)}."
        )
    return ARROW_TYPES[name]


def _common(values: list[tuple[str, Kind]]) -> Kind:
    """Return the kind that values share, which must be one."""
    known = [(sql, kind) for sql, kind in values if kind.name != "null"]
    for sql, kind in known[1:]:
        _check_meeting(*known[0], sql, kind)
    return known[0][1] if known else NULL


def _check_meeting(left: str, left_kind: Kind, right: str, right_kind: Kind) -> None:
    if not left_kind.fits(right_kind):
        names = left_kind.name, right_kind.name
        hint = _HINTS.get(names) or _HINTS.get(names[::-1]) or "; write a cast where that is meant"
        raise InvalidFilter(
            f"{shorten(left)} is {with_article(left_kind.type)} and meets {shorten(right)}, "
            f"{with_article(right_kind.type)}{hint}."
        )


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _as_tight(inner: str, outer: str) -> bool:
    """Return whether a chain ``(a inner b) outer c`` reads the same without brackets."""
    return any({inner, outer} <= level for level in ({"||"}, {"+", "-"}, {"*", "/", "%"}))


def _without_brackets(sql: str, tree: Node) -> str:
    """Return a predicate without the brackets around all of it."""
    bare = Value, Column, Field, Element, Cast, Array, Call
    return sql if isinstance(tree, bare) else sql[1:-1]
