"""Checks of a filter's tree against what the table engine evaluates slowly or wrongly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from isthmus.errors import InvalidFilter
from isthmus.index.catalog.filters.functions import GROWING, NULL_FUNCTIONS
from isthmus.index.catalog.filters.tree import (
    Arithmetic,
    Array,
    Between,
    Call,
    Column,
    Comparison,
    Distinct,
    In,
    Junction,
    Node,
    Value,
    children,
    nodes,
)

MAX_NULL_FUNCTIONS = 4  # within one another
MAX_GROWING = 32  # operands that one predicate joins to longer values
MAX_TEXT = 1_000  # characters of a text anywhere but in a comparison


def check_tree(tree: Node) -> None:
    """Check a tree before it becomes SQL.

    Raises
    ------
    InvalidFilter
        If it could make very long values, nests null functions too deep, or has lists that the
        engine would merge wrongly.
    """
    _check_growth(tree)
    _check_null_functions(tree, 0)
    _check_lists(tree)


def _check_growth(tree: Node) -> None:
    """Raise if a predicate could make values that are much longer than those of its columns."""
    joined = 0
    compared = {id(child) for node in nodes(tree) for child in _compared(node)}
    for node in nodes(tree):
        if isinstance(node, Arithmetic) and node.operator == "||":
            joined += 1
        elif isinstance(node, Call) and node.name in GROWING:
            joined += sum(not isinstance(argument, Value) for argument in node.arguments)
        elif isinstance(node, Array):
            joined += sum(not isinstance(value, Value) for value in node.values)
        elif isinstance(node, Value) and len(node.text) > MAX_TEXT and id(node) not in compared:
            raise InvalidFilter(
                f"a text of more than {MAX_TEXT:,} characters stands only beside a comparison or "
                "in an IN list."
            )
    if joined > MAX_GROWING:
        raise InvalidFilter(f"it joins more than {MAX_GROWING} values to longer ones.")


def _compared(node: Node) -> Iterator[Node]:
    if isinstance(node, Comparison | Distinct | Between | In):
        yield from children(node)


def _check_null_functions(node: Node, depth: int) -> None:
    depth += isinstance(node, Call) and node.name in NULL_FUNCTIONS
    if depth > MAX_NULL_FUNCTIONS:
        raise InvalidFilter(
            f"coalesce, nullif and similar functions stand more than {MAX_NULL_FUNCTIONS} deep."
        )
    for child in children(node):
        _check_null_functions(child, depth)


def _check_lists(tree: Node) -> None:
    """Raise if the engine would merge IN lists wrongly.

    The engine merges two lists of one operand as sets of expressions, and returns true or false
    even where the operand is null. So an operand can have several lists only where null and false
    select the same rows: joined by AND and OR alone, and not where a NOT IN stands beside an OR.
    An equality beside a list is merged like a list of one value.
    """
    listed = {_key(node.operand) for node in nodes(tree) if isinstance(node, In)}
    lists = [node for node in nodes(tree) if not listed.isdisjoint(_list_operands(node))]
    operands = Counter(operand for node in lists for operand in _list_operands(node))
    several = [operand for operand in listed if operands[operand] > 1]
    if not several:
        return
    joined = list(_joined(tree))
    has_or = any(isinstance(node, Junction) and node.operator == "OR" for node in nodes(tree))
    if sum(node in lists for node in joined) < len(lists) or (
        has_or and sum(map(_is_negated, lists)) > 1
    ):
        raise InvalidFilter(
            "several IN lists of one column, or a list and = or <>, stand below a NOT, in a "
            "comparison or beside an OR, where the table engine mixes them up; write one list, or "
            "= and <> alone."
        )


def _key(operand: Node) -> Any:
    return operand.name.lower() if isinstance(operand, Column) else operand


def _list_operands(node: Node) -> list[Any]:
    """Return the operands of an IN list, or of an equality, which the engine takes for a list."""
    if isinstance(node, In):
        return [_key(node.operand)]
    if isinstance(node, Comparison) and node.operator in ("=", "<>"):
        return [_key(node.left), _key(node.right)]
    return []


def _is_negated(node: Node) -> bool:
    return node.negated if isinstance(node, In) else getattr(node, "operator", "") == "<>"


def _joined(node: Node) -> Iterator[Node]:
    """Yield the predicates that AND and OR alone join to a tree."""
    if isinstance(node, Junction):
        for operand in node.operands:
            yield from _joined(operand)
    else:
        yield node
