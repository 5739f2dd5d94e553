"""The grammar of filters: a parser with limits.

A predicate is a small part of SQL. Operators bind in the order of PostgreSQL: ``or``, ``and``,
``not``, ``is``, comparisons (``in``, ``between``, ``like`` among them, which do not chain), ``||``,
``+ -``, ``* / %``, the sign, and last ``::``, ``[ ]`` and ``.``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

from isthmus.errors import InvalidFilter
from isthmus.index.catalog.filters.functions import CAST_TYPES, FUNCTIONS, NOW_WITHOUT_BRACKETS
from isthmus.index.catalog.filters.tokens import (
    Token,
    checked_date,
    checked_number,
    checked_timestamp,
    shorten,
    tokens_of,
)
from isthmus.index.catalog.filters.tree import (
    AnyNode,
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
    children,
    nodes,
)

MAX_CHARACTERS = 500_000
MAX_NODES = 256  # names, operators and functions; values do not count
MAX_DEPTH = 12
MAX_VALUES = 1_000  # of an array

_RESERVED_WORDS = """
    all and any as between by case cast distinct else end escape exists from group having ilike in
    interval is like limit not null or order select similar some then true false try_cast union
    unknown when where
"""
_RESERVED = frozenset(_RESERVED_WORDS.split())
_UNKNOWN_FORMS = {
    "case": "CASE is unknown to filters",
    "exists": "subqueries are refused",
    "select": "subqueries are refused",
    "interval": "intervals are unknown to filters; write the date or time itself",
    "similar": "SIMILAR TO is unknown to filters; write regexp_like",
    "any": "ANY is unknown to filters; write array_has",
    "some": "SOME is unknown to filters; write array_has",
    "all": "ALL is unknown to filters; write array_has_all",
}
COMPARISONS = frozenset({"=", "==", "<>", "!=", "<", "<=", ">", ">="})


def parse(where: Any) -> Node:
    """Return the tree of a predicate.

    Raises
    ------
    InvalidFilter
        If it is no predicate of the grammar, or exceeds a limit.

    Examples
    --------
    >>> parse("price < 100 and not ok").operator
    'AND'
    >>> parse("price < 100; drop table x")
    Traceback (most recent call last):
    isthmus.errors.InvalidFilter: a filter is one predicate, without a semicolon.
    """
    if not isinstance(where, str):
        raise InvalidFilter(f"a filter is an SQL predicate in a str, not a {type(where).__name__}.")
    if not where.strip():
        raise InvalidFilter("it is empty; leave it out, or write None, to have no filter.")
    if len(where) > MAX_CHARACTERS:
        raise InvalidFilter(
            f"it has {len(where):,} characters; at most {MAX_CHARACTERS:,} are read."
        )
    if "\0" in where:
        raise InvalidFilter("it holds a null character, which no text of a filter can.")
    try:
        where.encode()
    except UnicodeEncodeError as error:
        raise InvalidFilter("it is no Unicode text: it holds half a surrogate pair.") from error
    return _parsed(where)


@lru_cache(maxsize=32)
def _parsed(where: str) -> Node:
    return _Parser(where).predicate()


class _Parser:
    """A recursive-descent parser; a method a level of binding."""

    def __init__(self, where: str) -> None:
        self._tokens = tokens_of(where)
        self._at = 0
        self._depth = 0
        self._nodes = 0

    def predicate(self) -> Node:
        tree = self._or()
        token = self._token
        if token.kind != "end":
            raise InvalidFilter(
                "a filter is one predicate, and only its beginning is one: "
                f"{shorten(repr(token.text))} stands behind it."
            )
        return tree

    # Tokens

    @property
    def _token(self) -> Token:
        return self._tokens[self._at]

    def _is(self, *words: str) -> bool:
        """Return whether the next tokens are these words or signs."""
        following = self._tokens[self._at : self._at + len(words)]
        return [token.lower for token in following] == list(words)

    def _take(self, *words: str) -> bool:
        """Skip these words or signs, if they come next."""
        if taken := self._is(*words):
            self._at += len(words)
        return taken

    def _expect(self, word: str) -> None:
        if not self._take(word):
            raise InvalidFilter(f"Expected {word.upper()!r}, found {self._found()}.")

    def _found(self) -> str:
        token = self._token
        return "the end" if token.kind == "end" else shorten(repr(token.text))

    def _next(self) -> Token:
        token = self._token
        self._at += 1
        return token

    def _count(self, node: AnyNode) -> AnyNode:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise InvalidFilter(
                f"it has more than {MAX_NODES} names, operators and functions; "
                "write column in ('a', 'b', ...) for many values."
            )
        return node

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise InvalidFilter(f"brackets and operators stand more than {MAX_DEPTH} deep.")

    # Predicates

    def _or(self) -> Node:
        return self._junction("OR", self._and)

    def _and(self) -> Node:
        return self._junction("AND", self._not)

    def _junction(self, operator: Literal["AND", "OR"], operand: Callable[[], Node]) -> Node:
        operands = [operand()]
        while self._take(operator.lower()):
            operands.append(operand())
        return operands[0] if len(operands) == 1 else Junction(operator, tuple(operands))

    def _not(self) -> Node:
        if not self._take("not"):
            return self._test()
        self._deeper()
        node = self._count(Not(self._not()))
        self._depth -= 1
        return node

    def _test(self) -> Node:
        node, tests = self._comparison(), 0
        while self._take("is"):
            tests += 1
            if tests > 2:
                raise InvalidFilter("IS follows IS; put the first in brackets.")
            negated = self._take("not")
            if self._take("distinct"):
                self._expect("from")
                node = self._count(Distinct(node, self._concatenation(), negated))
            elif self._is("null") or self._is("true") or self._is("false"):
                node = self._count(Is(node, self._next().lower.upper(), negated))
            else:
                raise InvalidFilter(
                    "after IS stands NULL, TRUE, FALSE or DISTINCT FROM, with or without NOT, "
                    f"and not {self._found()}."
                )
        return node

    def _comparison(self) -> Node:
        node = self._concatenation()
        if self._token.kind == "sign" and self._token.text in COMPARISONS:
            operator = self._next().text.replace("==", "=").replace("!=", "<>")
            node = self._count(Comparison(operator, node, self._concatenation()))
        else:
            negated = self._take("not")
            if self._take("between"):
                node = self._between(node, negated)
            elif self._take("in"):
                node = self._in(node, negated)
            elif self._is("like") or self._is("ilike"):
                node = self._like(node, negated)
            elif negated:
                raise InvalidFilter(f"Expected IN, BETWEEN or LIKE, found {self._found()}.")
        if self._token.kind == "sign" and self._token.text in COMPARISONS:
            raise InvalidFilter("comparisons do not chain; put one in brackets.")
        return node

    def _between(self, operand: Node, negated: bool) -> Node:
        low = self._concatenation()
        self._expect("and")
        node = self._count(Between(operand, low, self._concatenation(), negated))
        below = (part for child in children(node) for part in nodes(child))
        if any(isinstance(part, Between) for part in below):
            raise InvalidFilter("one BETWEEN compares the result of another.")
        return node

    def _in(self, operand: Node, negated: bool) -> Node:
        self._expect("(")
        if self._is("select"):
            raise InvalidFilter("subqueries are refused.")
        values = [self._list_value()]
        while self._take(","):
            values.append(self._list_value())
        self._expect(")")
        return self._count(In(operand, tuple(values), negated))

    def _list_value(self) -> Value:
        start = self._token
        node = self._concatenation()
        if not isinstance(node, Value) or node.kind == "null":
            raise InvalidFilter(
                f"IN lists hold values, and {shorten(repr(start.text))} is none; write = for a "
                "column and IS NULL for null."
            )
        return node

    def _like(self, operand: Node, negated: bool) -> Node:
        operator = self._next().lower.upper()
        pattern = self._concatenation()
        if self._is("escape"):
            raise InvalidFilter("ESCAPE is refused; the backslash escapes % and _ in a pattern.")
        return self._count(Like(operator, operand, pattern, negated))

    # Values

    def _concatenation(self) -> Node:
        return self._binary(("||",), self._sum)

    def _sum(self) -> Node:
        return self._binary(("+", "-"), self._product)

    def _product(self) -> Node:
        return self._binary(("*", "/", "%"), self._sign)

    def _binary(self, operators: tuple[str, ...], operand: Callable[[], Node]) -> Node:
        node = operand()
        while self._token.kind == "sign" and self._token.text in operators:
            operator = self._next().text
            node = self._count(Arithmetic(operator, node, operand()))
        return node

    def _sign(self) -> Node:
        if not self._take("-"):
            return self._postfix()
        self._deeper()
        operand = self._sign()
        self._depth -= 1
        if isinstance(operand, Value) and operand.kind == "number" and operand.text[0] != "-":
            return Value("number", f"-{operand.text}")
        return self._count(Negative(operand))

    def _postfix(self) -> Node:
        node, steps = self._primary(), 0
        while self._is("::") or self._is("[") or self._is("."):
            steps += 1
            if steps > MAX_DEPTH:
                raise InvalidFilter(f"more than {MAX_DEPTH} of :: [ ] and . follow one another.")
            if self._take("::"):
                node = self._count(Cast(node, self._type(), attempted=False))
            elif self._take("["):
                self._deeper()
                node = self._count(Element(node, self._concatenation()))
                self._expect("]")
                self._depth -= 1
            else:
                self._expect(".")
                node = self._count(Field(node, self._name("a field of a struct")))
        return node

    def _name(self, what: str) -> str:
        token = self._next()
        if token.kind not in ("word", "name") or not token.text:
            raise InvalidFilter(f"{what} is expected, not {shorten(repr(token.text))}.")
        return token.text

    def _primary(self) -> Node:
        token = self._next()
        if token.kind == "number":
            return Value("number", checked_number(token.text))
        if token.kind == "text":
            return Value("text", token.text[1:-1].replace("''", "'"))
        if token.kind == "name":
            return self._call(token.text) if self._is("(") else self._column(token.text)
        if token.kind == "word":
            return self._word(token)
        if token.lower == "(":
            self._deeper()
            node = self._or()
            if self._is(","):
                raise InvalidFilter("a list in brackets stands only behind IN.")
            self._expect(")")
            self._depth -= 1
            return node
        if token.lower == "[":
            return self._count(Array(self._arguments("]")))
        raise InvalidFilter(
            f"Expected a column or a value, found {shorten(repr(token.text)) or 'the end'}."
            if token.kind != "end"
            else "Expected a column or a value, found the end."
        )

    def _word(self, token: Token) -> Node:
        word = token.lower
        if self._token.kind == "text" and self._is_literal_prefix(word):
            return self._prefixed(word)
        if word in ("cast", "try_cast") and self._is("("):
            return self._cast(attempted=word == "try_cast")
        if word in ("true", "false"):
            return self._count(Value("boolean", word))
        if word == "null":
            return self._count(Value("null", word))
        if word in _UNKNOWN_FORMS:
            raise InvalidFilter(f"{_UNKNOWN_FORMS[word]}.")
        if self._is("("):
            return self._call(token.text)
        if word in NOW_WITHOUT_BRACKETS:
            return self._count(Call(word, ()))
        if word in _RESERVED:
            raise InvalidFilter(
                f"Expected a column or a value, found {token.text!r}; a column of that name stands "
                "in `backquotes`."
            )
        return self._column(token.text)

    def _column(self, name: str) -> Node:
        return self._count(Column(name))

    def _is_literal_prefix(self, word: str) -> bool:
        return word in ("date", "timestamp") or self._token.follows_directly

    def _prefixed(self, word: str) -> Value:
        text = self._next().text[1:-1]
        if word == "date":
            return Value("date", checked_date(text))
        if word == "timestamp":
            return Value("timestamp", checked_timestamp(text))
        raise InvalidFilter(f"texts like {shorten(word)}'…' are refused.")

    def _cast(self, *, attempted: bool) -> Node:
        self._expect("(")
        self._deeper()
        operand = self._or()
        self._expect("as")
        node = self._count(Cast(operand, self._type(), attempted))
        self._expect(")")
        self._depth -= 1
        return node

    def _type(self) -> str:
        name = self._name("a type").lower()
        if name == "double" and self._take("precision"):
            return "double"
        if name in ("decimal", "numeric"):
            return self._decimal()
        if name in ("varchar", "char") and self._take("("):
            self._small_number()
            self._expect(")")
        if name in ("tinyint", "smallint", "int", "integer", "bigint") and self._take("unsigned"):
            name += " unsigned"
        if name not in CAST_TYPES:
            raise InvalidFilter(
                f"no type {shorten(name)!r} for filters; there are {', '.join(sorted(CAST_TYPES))} "
                "and decimal(p, s)."
            )
        return name

    def _decimal(self) -> str:
        self._expect("(")
        precision, scale = self._small_number(), "0"
        if self._take(","):
            scale = self._small_number()
        self._expect(")")
        if not 1 <= int(precision) <= 38 or int(scale) > int(precision):
            raise InvalidFilter(
                f"decimal({precision}, {scale}) is no type: 1 <= p <= 38, 0 <= s <= p."
            )
        return f"decimal({precision}, {scale})"

    def _small_number(self) -> str:
        token = self._next()
        if token.kind != "number" or not re.fullmatch(r"\d{1,4}", token.text, re.ASCII):
            raise InvalidFilter(f"a whole number is expected, not {shorten(repr(token.text))}.")
        return str(int(token.text))

    def _call(self, name: str) -> Node:
        lower = name.lower()
        if lower not in FUNCTIONS:
            raise InvalidFilter(f"no function {shorten(name)!r} for filters.")
        self._expect("(")
        return self._count(Call(lower, self._arguments(")")))

    def _arguments(self, closing: str) -> tuple[Node, ...]:
        self._deeper()
        arguments: list[Node] = []
        while not self._take(closing):
            if arguments:
                self._expect(",")
            if self._is("*"):
                raise InvalidFilter("* stands only between two numbers.")
            arguments.append(self._or())
            if len(arguments) > MAX_VALUES:
                raise InvalidFilter(f"a list or function has more than {MAX_VALUES:,} values.")
        self._depth -= 1
        return tuple(arguments)
