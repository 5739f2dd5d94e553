"""The tree of a filter: its nodes, and how to walk them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar


@dataclass(frozen=True)
class Value:
    """A literal. ``kind`` is text, number, boolean, null, date or timestamp."""

    kind: Literal["text", "number", "boolean", "null", "date", "timestamp"]
    text: str


@dataclass(frozen=True)
class Column:
    """A column, by the name that the filter gives."""

    name: str


@dataclass(frozen=True)
class Field:
    """A field of a struct."""

    operand: Node
    name: str


@dataclass(frozen=True)
class Element:
    """An element of a list, by its number from 1."""

    operand: Node
    position: Node


@dataclass(frozen=True)
class Negative:
    """A number with the other sign."""

    operand: Node


@dataclass(frozen=True)
class Arithmetic:
    """``+ - * / %`` and ``||`` of two operands."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True)
class Comparison:
    """``= <> < <= > >=`` of two operands."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True)
class Distinct:
    """``left IS [NOT] DISTINCT FROM right``."""

    left: Node
    right: Node
    negated: bool


@dataclass(frozen=True)
class Is:
    """``operand IS [NOT] NULL``, TRUE or FALSE."""

    operand: Node
    what: str
    negated: bool


@dataclass(frozen=True)
class Between:
    """``operand [NOT] BETWEEN low AND high``."""

    operand: Node
    low: Node
    high: Node
    negated: bool


@dataclass(frozen=True)
class In:
    """``operand [NOT] IN (values)``."""

    operand: Node
    values: tuple[Value, ...]
    negated: bool


@dataclass(frozen=True)
class Like:
    """``operand [NOT] LIKE pattern`` or ILIKE."""

    operator: str
    operand: Node
    pattern: Node
    negated: bool


@dataclass(frozen=True)
class Not:
    """The negation of a predicate."""

    operand: Node


@dataclass(frozen=True)
class Junction:
    """Two or more predicates joined by AND or by OR."""

    operator: Literal["AND", "OR"]
    operands: tuple[Node, ...]


@dataclass(frozen=True)
class Cast:
    """A conversion; ``type`` is a key of `functions.CAST_TYPES` or ``decimal(p, s)``."""

    operand: Node
    type: str
    attempted: bool


@dataclass(frozen=True)
class Array:
    """A list of values."""

    values: tuple[Node, ...]


@dataclass(frozen=True)
class Call:
    """A call of a function of `functions.FUNCTIONS`."""

    name: str
    arguments: tuple[Node, ...]


Node = (
    Value
    | Column
    | Field
    | Element
    | Negative
    | Arithmetic
    | Comparison
    | Distinct
    | Is
    | Between
    | In
    | Like
    | Not
    | Junction
    | Cast
    | Array
    | Call
)


AnyNode = TypeVar("AnyNode", bound=Node)


def children(node: Node) -> Iterator[Node]:
    """Yield the nodes right below a node."""
    for field in fields(node):
        value: Any = getattr(node, field.name)
        if isinstance(value, tuple):
            yield from value
        elif not isinstance(value, str | bool):
            yield value


def nodes(node: Node) -> Iterator[Node]:
    """Yield a node and all below it."""
    yield node
    for child in children(node):
        yield from nodes(child)
