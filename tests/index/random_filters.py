"""Random filters of every allowed function and type, over extreme values; run as a program.

``python -m tests.index.random_filters SEED COUNT`` draws filters and selects by each. A filter may
be refused; the process must live.
"""

from __future__ import annotations

import random
import sys

from isthmus.errors import InvalidFilter
from isthmus.index.catalog.filters.functions import ARROW_TYPES, CAST_TYPES, FUNCTIONS
from tests.index.test_filters import snapshot

VALUES = {
    "number": [
        *("n", "price", "Mixed", "size.width", "0", "-1", "0.5", "1e308", "-1e308", "1e-308"),
        *("9223372036854775807", "-9223372036854775808", "18446744073709551615", "1e999"),
    ],
    "text": [
        *("brand", "text", "item_id", "''", "'a'", "'%'", "'日本'", "'\\\\'", "'2026-01-01'"),
        *(f"'{'x' * 900}'", f"'{'é' * 400}'"),
    ],
    "time": [
        *("at", "zoned", "published_at", "date '0001-01-01'", "date '9999-12-31'", "now()"),
        *("timestamp '0001-01-01 00:00:00'", "timestamp '9999-12-31 23:59:59.999999999'"),
    ],
    "list": ["tags", "['a', 'b']", "[1, 2]", "make_array(n, n)", "make_array(tags, tags)", "[]"],
    "truth": ["ok", "true", "n = 1", "null"],
    "struct": ["size"],
    "'…'": [
        *("'year'", "'week'", "'epoch'", "'nanosecond'", "'century'", "'%Y-%m-%d'", "'%'", "'%Q'"),
        *("'(a*)*b'", "'(a|b)*c{1,900}'", "'i'", "'\\\\p{L}+'", "'width'", "''"),
        *(f"'{name}'" for name in ARROW_TYPES),
    ],
}
PLAIN = ("number", "text", "time")


class FilterGenerator:
    """Draws filters.

    Parameters
    ----------
    seed : int
        Of the draws.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def predicate(self) -> str:
        """Return a filter."""
        depth, kind = self._random.choice([1, 2, 3, 4]), self._random.choice([*PLAIN, "list"])
        form = self._random.choice(["compare", "null", "like", "between", "truth"])
        value = self.value(kind, depth)
        if form == "compare":
            return f"{value} {self._random.choice(['=', '<', '>='])} {self.value(kind, depth)}"
        if form == "like":
            return f"{self.value('text', depth)} like {self.value('text', 0)}"
        if form == "between":
            return f"{value} between {self.value(kind, 1)} and {self.value(kind, 1)}"
        return f"{value} is not null" if form == "null" else self.value("truth", depth)

    def value(self, kind: str, depth: int) -> str:
        """Return an expression of a kind."""
        draw = self._random.random()
        if depth <= 0 or draw < 0.3 or kind in ("struct", "'…'"):
            return self._random.choice(VALUES[kind])
        if draw < 0.45 and kind in ("number", "text"):
            sign = "||" if kind == "text" else self._random.choice("+-*/%")
            return f"({self.value(kind, depth - 1)} {sign} {self.value(kind, depth - 1)})"
        if draw < 0.6 and kind in PLAIN:
            names = [name for name, (_, of) in CAST_TYPES.items() if of == kind]
            cast = self._random.choice(["cast", "try_cast"])
            inner = self.value(self._random.choice(PLAIN), depth - 1)
            return f"{cast}({inner} as {self._random.choice(names)})"
        fitting = (kind, "same", "element", "any")
        names = [n for n, s in FUNCTIONS.items() if s.partition("->")[2].strip() in fitting]
        return self._call(self._random.choice(names), kind, depth)

    def _call(self, name: str, kind: str, depth: int) -> str:
        arguments = []
        for parameter in FUNCTIONS[name].partition("->")[0].split():
            count = {"?": [0, 1], "*": [0, 1, 2, 3]}.get(parameter[-1], [1])
            parameter_kind = parameter.rstrip("?*")
            for _ in range(self._random.choice(count)):
                of = {"same": kind}.get(parameter_kind, parameter_kind)
                of = self._random.choice(PLAIN) if of in ("any", "element") else of
                arguments.append(self.value(of, depth - 1))
        return f"{name}({', '.join(arguments)})"


def main(seed: int, count: int) -> None:
    """Select by random filters, and say how many were answered."""
    filters, items, answered = FilterGenerator(seed), snapshot(), 0
    for _ in range(count):
        where = filters.predicate()
        print(where, file=sys.stderr, flush=True)
        try:
            items.select(where)
            answered += 1
        except InvalidFilter:
            pass
    print(f"alive, {answered} answered")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
