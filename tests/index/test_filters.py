"""A filter selects the rows that SQL selects, or is refused."""

from __future__ import annotations

import datetime as dt
import operator
import random
import re
import subprocess
import sys
import tempfile
import textwrap
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from isthmus import Space
from isthmus.errors import InvalidFilter, InvalidMapping
from isthmus.index.catalog.filters.compiler import ResolvedColumn, compile_filter, compile_tree
from isthmus.index.catalog.filters.functions import CAST_TYPES, FUNCTIONS
from isthmus.index.catalog.filters.syntax import parse
from tests.toy import item, two_encoders

BRANDS = ["a", "b", "B's", "ü%", "50%_off", "back\\slash", "", "日本", "a b", None]
TAGS = [["x", "y"], ["y"], [], ["it's", "x"], None]
DAYS = [dt.date(2025, 12, 31), dt.date(2026, 1, 1), dt.date(2026, 1, 2), dt.date(2030, 5, 5), None]
TIMES = [
    dt.datetime(2026, 1, 1),
    dt.datetime(2026, 1, 1, 12, 30),
    dt.datetime(2026, 1, 2),
    dt.datetime(1969, 7, 20, 20, 17),
    None,
]
NUMBERS = [-3, 0, 1, 2, 7, None]
PRICES = [-1.5, 0.0, 0.1, 1.0, 99.99, 100.0, 250.0, None]


def _rows() -> list[dict]:
    pick = random.Random(7).choice
    rows = [
        item(
            f"i{n}",
            f"sea word{n}",
            price=pick(PRICES),
            brand=pick(BRANDS),
            n=pick(NUMBERS),
            ok=pick([True, False, None]),
            published_at=pick(DAYS),
            at=pick(TIMES),
            tags=pick(TAGS),
            Mixed=n,
            size={"width": pick(NUMBERS)},
        )
        for n in range(60)
    ]
    for row in rows:
        row["zoned"] = row["at"] and row["at"].replace(tzinfo=dt.UTC)
    return rows


ROWS = _rows()


@cache
def filled() -> Space:
    """A space with a release, a delta, a deleted item and an unsearchable one."""
    space = Space.create(Path(tempfile.mkdtemp()) / "s", two_encoders())
    space.upsert([*ROWS[:30], {**ROWS[31], "item_id": "gone"}])
    space.publish()
    space.delete(["gone"])
    space.upsert(ROWS[30:])
    space.upsert([{**ROWS[0], "item_id": "broken", "text": None, "image": "/nowhere.png"}])
    return space


def snapshot():
    return filled().opened.view().snapshot


# Random predicates, as SQL and as a function of a row that gives True, False or None


def quote(value) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, dt.datetime):
        return f"timestamp '{value:%Y-%m-%d %H:%M:%S}'"
    if isinstance(value, dt.date):
        return f"date '{value.isoformat()}'"
    return repr(value)


def comparable(value):
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=None)
    return dt.datetime(*value.timetuple()[:3]) if isinstance(value, dt.date) else value


OPERATORS = {
    "=": operator.eq,
    "<>": operator.ne,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
VALUES = {
    "price": PRICES[:-1],
    "brand": [*BRANDS[:-1], "zzz", "; drop table x", "' or '1'='1", "--", "/*", '"', "`"],
    "n": NUMBERS[:-1],
    "ok": [True, False],
    "published_at": DAYS[:-1],
    "at": [*TIMES[:-1], dt.date(2026, 1, 1)],
    "zoned": [*TIMES[:-1], dt.date(2026, 1, 1)],
    "Mixed": [0, 30, 99],
}
SPELLINGS = {"price": ["price", "PRICE", "`price`"], "Mixed": ["Mixed", "mixed", "`Mixed`"]}
PAIRS = [("n", "price"), ("published_at", "at"), ("at", "zoned"), ("published_at", "zoned")]
PATTERNS = ["%", "a%", "%'%", "%ü%", "_", "", "50\\%%", "%\\_off", "日%", "a_b", "B's"]


def both(function, *operands):
    return None if any(operand is None for operand in operands) else function(*operands)


def negated(value):
    return None if value is None else not value


def any_of(values):
    values = list(values)
    return True if True in values else None if None in values else False


def like(text, pattern):
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    wild = {"%": ".*", "_": "."}
    regex = "".join(wild.get(p, re.escape(p[-1])) for p in parts)
    return re.fullmatch(regex, text, re.DOTALL) is not None


@st.composite
def atoms(draw, columns=tuple(VALUES)):
    kind = draw(
        st.sampled_from(["compare", "pair", "in", "between", "null", "like", "bool", "has", "not="])
    )
    column = draw(st.sampled_from(columns))
    sql = draw(st.sampled_from(SPELLINGS.get(column, [column])))
    value = st.sampled_from(VALUES[column])
    inverse, no = draw(st.sampled_from([(lambda v: v, ""), (negated, "not ")]))
    if kind == "compare":
        op, constant = draw(st.sampled_from(list(OPERATORS))), draw(value)
        compare = OPERATORS[op]
        return f"{sql} {op} {quote(constant)}", lambda row: both(
            lambda v: compare(comparable(v), comparable(constant)), row[column]
        )
    if kind == "pair":
        left, right = draw(st.sampled_from(PAIRS))
        op = draw(st.sampled_from(list(OPERATORS)))
        return f"{left} {op} {right}", lambda row: both(
            lambda a, b: OPERATORS[op](comparable(a), comparable(b)), row[left], row[right]
        )
    if kind == "in":
        among = draw(st.lists(value, min_size=1, max_size=4))
        listed = ", ".join(map(quote, among))
        return f"{sql} {no}in ({listed})", lambda row: inverse(
            any_of(both(lambda a, b: comparable(a) == comparable(b), row[column], v) for v in among)
        )
    if kind == "between":
        low, high = draw(value), draw(value)
        return f"{sql} {no}between {quote(low)} and {quote(high)}", lambda row: inverse(
            both(
                lambda v: comparable(low) <= comparable(v) <= comparable(high),
                row[column],
            )
        )
    if kind == "null":
        if no:
            return f"{sql} is not null", lambda row: row[column] is not None
        return f"{sql} is null", lambda row: row[column] is None
    if kind == "like":
        pattern = draw(st.sampled_from(PATTERNS))
        return f"brand {no}like {quote(pattern)}", lambda row: inverse(
            both(lambda v: like(v, pattern), row["brand"])
        )
    if kind == "bool":
        return draw(
            st.sampled_from(
                [
                    ("ok", lambda row: row["ok"]),
                    ("ok is true", lambda row: row["ok"] is True),
                    ("ok is not false", lambda row: row["ok"] is not False),
                ]
            )
        )
    if kind == "has":
        tag = draw(st.sampled_from(["x", "y", "it's", "no"]))
        return f"array_has(tags, {quote(tag)})", lambda row: both(lambda t: tag in t, row["tags"])
    constant = draw(value)
    return (
        f"{sql} is distinct from {quote(constant)}",
        lambda row: row[column] is None or comparable(row[column]) != comparable(constant),
    )


def all_of(values):
    return negated(any_of([negated(value) for value in values]))


def bracketed(one):
    sql, f = one
    return f"({sql})", f


def disjunction(several):
    sqls, functions = zip(*several, strict=True)
    return " or ".join(sqls), lambda row: any_of([f(row) for f in functions])


def conjunction(several):
    sqls, functions = zip(*several, strict=True)
    return " and ".join(sqls), lambda row: all_of([f(row) for f in functions])


def negation(one):
    sql, f = one
    return f"not {sql}", lambda row: negated(f(row))


def larger(inner):
    """AND binds before OR, and NOT before both, without brackets."""
    single = atoms(["n", "price", "brand"]) | inner.map(bracketed)
    single = st.one_of(single, single.map(negation))
    joined = st.lists(single, min_size=1, max_size=3).map(conjunction)
    return st.lists(joined, min_size=1, max_size=3).map(disjunction)


predicates = st.recursive(atoms(), larger, max_leaves=4) | st.recursive(
    atoms(["n"]), larger, max_leaves=4
)


@settings(max_examples=150)
@given(
    predicates | st.recursive(atoms(["n"]), larger, max_leaves=4), st.randoms(use_true_random=False)
)
def test_a_filter_selects_the_rows_that_sql_selects(predicate, chance):
    where, evaluate = predicate
    expected = {row["item_id"] for row in ROWS if evaluate(row) is True}
    space = filled()
    try:
        count = space.count(where=where)
    except InvalidFilter as error:
        assert "several IN lists" in str(error)  # noqa: PT017
        assert " in (" in where
        event("refused")
        return
    assert count == len(expected)
    assert {hit.item_id for hit in space.search("sea", k=100, where=where)} == expected
    everything = snapshot().row_ids()
    some = np.array(chance.sample(everything.tolist(), chance.randint(0, len(everything))))
    some = some.astype(np.uint64)
    among = snapshot().select_from(where, some)
    assert among.dtype == np.uint64
    assert among.tolist() == some[np.isin(some, snapshot().select(where))].tolist()


# Filters that are no predicates, or might be taken for others

VALID = [
    "price < 100 and brand in ('a','b') and published_at > date '2026-01-01'",
    "n between 1 and 2 or ok is not true",
    "brand like '50\\%%' and not (price is null)",
    "array_has(tags, 'it''s') or lower(brand) = 'b''s'",
    "cast(n as double) / 2 > 0.5 and zoned >= timestamp '2026-01-01 00:00:00'",
]
HOSTILE = [
    "price < 1; drop table x",
    "price < 1) or (true",
    "price < 1 or 1=1 --",
    "1=1; delete from catalog",
    "x' or '1'='1",
    "price < 1 union select * from t",
    "price < (select max(price) from t)",
    "exists (select 1)",
    "n in (select n from t)",
    "price < $1",
    "price < ?",
    "price < :x",
    "brand = N'a'",
    "brand = $$a$$",
    "brand = E'a'",
    "\x00",
    "price < 1\x00",
    "brand = '\ud800'",
    "'",
    "`",
    '"',
    "((((",
    "date 'x'",
    "published_at > date '99999999-01-01'",
    "cast(brand as int) = 1",
    "n % 0 = 1",
    "n / (n - n) = 1",
    "at = timestamp '2026-01-01 00:00:00+99:00'",
    "repeat(brand, 9999999999) = 'a'",
    "array_repeat(n, 9999999999) = make_array(1)",
    "lpad(brand, 2000000000) = 'a'",
    "range(1, 99999999999) = make_array(1)",
]
REFUSED = {
    "an empty one": ("", "it is empty"),
    "a blank one": (" \n\t", "it is empty"),
    "no text": (5, "not a int"),
    "bytes": (b"price < 1", "not a bytes"),
    "a tuple": (("price < 1",), "not a tuple"),
    "a null in a list": ("price not in (1.0, null)", "'null' is none; write = for a column"),
    "a column in a list": ("n in (1, 2) and n not in (Mixed, 99)", "'Mixed' is none"),
    "one list or the other": ("n not in (1, 2) or n not in (3, 4)", "several IN lists"),
    "a list or an equality": ("not n = 0 or not n in (1)", "several IN lists"),
    "a list and an equality below a not": ("not (n = 0 and n in (1, 2))", "several IN lists"),
    "lists below a not": ("not (n in (1, 2) and n in (3, 4))", "several IN lists"),
    "a field that is not there": (
        "size.height > 1",
        "No field named height in `size`; there are width",
    ),
    "a field of no struct": ("n.width > 1", "`n` is an int64, and a struct is needed"),
    "a chain of comparisons": ("price < n < 5", "do not chain"),
    "a longer IS": ("ok is true is true is true", "put the first in brackets"),
    "case": ("case when ok then true else false end", "CASE is unknown"),
    "an escape character": ("brand like 'a!%' escape '!'", "ESCAPE is refused"),
    "a pattern of each item": ("regexp_like(brand, text)", "the same for all items"),
    "too few arguments": ("left(brand) = 'a'", r"left takes \(text, number\), and 1 arg"),
    "too many arguments": ("abs(n, n) = 1", r"abs takes \(number\), and 2 arguments"),
    "an unknown type": ("cast(n as json) = 1", "no type 'json' for filters"),
    "a decimal that is none": ("cast(n as decimal(99, 1)) = 1", "is no type"),
    "an Arrow type out of the list": (
        "arrow_cast(tags, 'FixedSizeList(2000000000, Utf8)') is null",
        "arrow_cast to 'FixedSizeList",
    ),
    "a function of another kind": ("lower(n) = 'a'", "`n` is an int64, and a text is needed"),
    "a cast beside another conversion": ("cast(n as double) < 1.5 and brand = 5", "meets 5"),
    "the result of a function": ("length(brand) = 'a'", r"length\(`brand`\) is a number and meets"),
    "a long text in a function": (f"lower('{'x' * 2000}') = brand", "1,000 characters"),
    "a number column": ("price", "does not return a boolean"),
    "a sum": ("price + 1", "does not return a boolean"),
    "a constant": ("1", "does not return a boolean"),
    "null": ("null", "does not return a boolean"),
    "an aggregate": ("count(*) > 1", "no function 'count'"),
    "a window": ("row_number() over () = 1", "no function 'row_number'"),
    "a subquery": ("n = (select 1)", "subqueries are refused"),
    "an unknown column": ("nope > 1", "No field named nope"),
    "an unknown function": ("foo(price) > 1", "no function 'foo'"),
    "chance": ("random() < 0.5", "no function 'random'"),
    "two statements": ("price < 1; drop table x", "without a semicolon"),
    "a comment": ("price < 1 -- and ok", "comments are refused"),
    "a comment within": ("price < 1 /* and ok */", "comments are refused"),
    "a second predicate": ("price < 100, n > 1", "only its beginning"),
    "words behind": ("price < 100 n > 1", "only its beginning"),
    "a limit": ("price < 100 limit 1", "only its beginning"),
    "an order": ("price < 100 order by n", "only its beginning"),
    "an alias": ("price < 100 as x", "only its beginning"),
    "a bracket too many": ("price < 100)", "only its beginning"),
    "a bracket escaped": ("price < 100) or (true", "only its beginning"),
    "a bracket too few": ("(price < 100", "Expected"),
    "a number that is none": ("n = 1_000", "'1_000' is no number"),
    "text for a number": ("price < 'abc'", "`price` is a double and meets 'abc', a text"),
    "text of digits": (
        "price < '100'",
        "meets '100', a text; text stands in single quotes",
    ),
    "a number for text": ("brand > 5", "text stands in single quotes"),
    "a number in a list": ("brand in ('a', 5)", "text stands in single quotes"),
    "text for a date": ("published_at > 'not a date'", "write a date as date '2026-01-31'"),
    "a date as text": ("published_at > '2026-01-01'", "write a date as date '2026-01-31'"),
    "a time as text": ("at > '2026-01-01'", "a time as timestamp '2026-01-31 12:00:00'"),
    "a broken date": ("published_at > date '2026-13-01'", "'2026-13-01' is no date"),
    "a broken time": ("at > timestamp '2026-01-01 25:00:00'", "is no time; write a time as"),
    "a number for a truth": ("ok = 1", "`ok` is a bool and meets 1, a number"),
    "a fraction": ("n < 1.5", r"cast\(column as double\)"),
    "columns of other kinds": ("brand = n", "`brand` is a string and meets `n`, an int64"),
    "a date and a number": (
        "published_at = n",
        "meets `n`, an int64; write a cast where",
    ),
    "a list of text": (
        "array_has(tags, 5)",
        "an element of `tags` is a string and meets 5",
    ),
    "double quotes": ("\"brand\" = 'a'", "double quotes are refused"),
    "double-quoted text": ('brand = "a"', "double quotes are refused"),
    "an open quote": ("brand = 'a", "not closed"),
    "the row id": ("_rowid >= 0", "no column named _rowid"),
    "the row id in capitals": ("_ROWID >= 0", "no column named _ROWID"),
    "the row id in quotes": ("`_rowid` >= 0", "no column named _rowid"),
    "a digest": ("_row_hash is not null", "no column named _row_hash"),
    "a vector": ("ok or _vector_text is not null", "no column named _vector_text"),
    "the modalities": ("_modalities > 0", "no column named _modalities"),
}


@pytest.mark.parametrize(("where", "cause"), REFUSED.values(), ids=REFUSED)
def test_a_filter_is_refused_with_the_cause_and_the_columns(where, cause):
    with pytest.raises(InvalidFilter, match=cause) as refused:
        filled().search("sea", where=where)
    message = str(refused.value)
    assert "The columns are: item_id (string), " in message
    assert "price (double)" in message
    assert "_row" not in message.partition("The columns are")[2]
    assert "/home/" not in message
    with pytest.raises(InvalidFilter):
        filled().count(where=where)
    with pytest.raises(InvalidFilter):
        snapshot().select_from(where, snapshot().row_ids())


WORDS = """
    price brand n ok tags ( ) , and or not in between is null like < = + - 1 'a' [ ] ' . case when
    then end select from where limit cast as int date :: true any distinct
"""
fuzz = st.one_of(
    st.text(max_size=40),
    st.text(alphabet="priceokn19<>=()'\"`%_,;-/*[].: \n", max_size=30),
    st.lists(
        st.sampled_from(WORDS.split()),
        max_size=14,
    ).map(" ".join),
    st.sampled_from(HOSTILE),
    st.builds(
        lambda valid, at, length, put: (
            valid[: at % len(valid)] + put + valid[at % len(valid) + length :]
        ),
        st.sampled_from(VALID),
        st.integers(0, 200),
        st.integers(0, 6),
        st.one_of(
            st.sampled_from(["", *HOSTILE, ")", "(", "'", ",", " and "]), st.text(max_size=3)
        ),
    ),
)


@settings(max_examples=150)
@given(fuzz)
def test_any_text_is_a_filter_or_refused(where):
    before = snapshot()
    try:
        selected = before.select(where)
    except InvalidFilter:
        selected = None
    if selected is not None:
        everything = before.row_ids()
        assert set(selected) <= set(everything)
        among = before.select_from(where, everything)
        assert sorted(among.tolist()) == sorted(selected.tolist())
        # What stands before a valid predicate and an AND can only select less.
        both = before.select(f"({where}\n) and Mixed >= 0")
        assert sorted(both.tolist()) == sorted(selected.tolist())
    assert before.stamp.is_newest()
    assert before.rows == len(ROWS) + 1


BOMBS = """
    import sys
    from pathlib import Path
    from isthmus.errors import InvalidFilter
    from isthmus.index.catalog.catalog import Catalog

    path = Path(sys.argv[1])
    snapshot = Catalog(path).snapshot()
    for bomb in [
        "n < 0" + " + n" * 5000,
        "ok" + " = ok" * 5000,
        "ok" + " is true" * 5000,
        "n" + "::int" * 5000 + " = 1",
        "brand = ''" + " || brand" * 5000,
        "ok" + " between false and true" * 60,
        "(" * 30 + "ok" + " between false and true)" * 30 + " is true",
        "not(" * 45 + "ok and n = 1" + ")" * 45,
        "(" * 100000 + "ok" + ")" * 100000,
        "not " * 5000 + "ok",
        "coalesce(" * 20 + "n" + ", n, n)" * 20 + " = 1",
        "tags" + "[1]" * 5000 + " = 'x'",
        "[" * 5000 + "1" + "]" * 5000 + " = tags",
        "brand = '" + "x" * 600000 + "'",
        "array_repeat(n, 9999999999) = make_array(1)",
        "range(1, 99999999999) = make_array(1)",
        "lpad(brand, 2000000000) = 'a'",
        "`repeat`(brand, 2000000000) = 'a'",
        "price < $1",
        "brand = N'a'",
        "arrow_cast(brand, '" + "List(" * 50_000 + "Utf8" + ")" * 50_000 + "') is null",
        "arrow_cast(tags, 'FixedSizeList(2000000000, Utf8)') is null",
        "arrow_cast(tags, 'List(List(Utf8))') is null",
        "- " * 5000 + "n = 1",
        "n" + "." * 5000 + "n = 1",
        "brand = " + "lower(" * 5000 + "brand" + ")" * 5000,
        "cast(" * 5000 + "n" + " as int)" * 5000 + " = 1",
        "true" + " or true" * 50_000,
        "n = 1 and (" * 5000 + "ok" + ")" * 5000,
        "n in (1" + ", " + "(" * 5000 + "1" + ")" * 5000 + ")",
        "concat(brand, '" + "x" * 400_000 + "') = brand",
        "array_join(tags, '" + "x" * 400_000 + "') = brand",
        "concat(" + ", ".join(["brand"] * 200) + ") = brand",
        "make_array(" + ", ".join(["1"] * 100_000) + ")[1] = 1",
        "regexp_like(brand, '" + "(" * 900 + "')",
        "regexp_like(brand, '((((a{1000}){1000}){1000}){1000}){1000}')",
        "brand like '" + "%" * 100_000 + "'",
        "1e999 = price",
    ]:
        try:
            snapshot.select(bomb)
        except InvalidFilter as error:
            assert len(str(error)) < 2000, len(str(error))
        else:
            if bomb[:10] not in ("brand like", "1e999 = pr"):
                raise SystemExit(bomb[:80])
    print("alive")
"""


def test_no_filter_ends_the_process():
    """Each of these overflows the engine's stack, or its memory, or takes it hours."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(BOMBS), str(filled().path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "alive\n", done.stderr[-2000:]


NULLS = """
    import sys
    from isthmus import Space
    from isthmus.errors import InvalidFilter
    from tests.toy import item, two_encoders

    space = Space.create(sys.argv[1], two_encoders())
    space.upsert([item("a", "sea", brand="1", n=0), item("b", "sea", brand="x\\0y", n=0)])
    snapshot = space.opened.view().snapshot
    for where in [
        "cast(brand as int) = 1",
        "brand::double > 0",
        "cast(chr(n) as int) = 1",
        "to_date(brand) is null",
        "to_timestamp(brand, '%Y') is null",
        "to_unixtime(brand) is null",
        "arrow_cast(brand, 'Date32') is null",
        "brand = '\\0'",
    ]:
        for select in [
            snapshot.select,
            lambda where: snapshot.select_from(where, snapshot.row_ids()),
            lambda where: list(snapshot.item_ids(where=where)),
        ]:
            try:
                select(where)
            except InvalidFilter as error:
                assert len(str(error)) < 2000
            else:
                raise SystemExit(where)
    assert space.count(where="try_cast(brand as int) = 1") == 1
    print("alive")
"""


def test_no_value_that_a_filter_fails_for_ends_the_process(tmp_path):
    """The message of the engine quotes the value, and a null character in it was fatal."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(NULLS), str(tmp_path / "s")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "alive\n", done.stderr[-2000:]


@pytest.mark.parametrize(
    ("seed", "count"), [(0, 300), pytest.param(1, 20_000, marks=pytest.mark.heavy)]
)
def test_no_random_filter_ends_the_process(seed, count):
    """Random calls of every allowed function and type, over extreme values."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.index.random_filters", str(seed), str(count)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    last = done.stderr.splitlines()[-1:]
    assert done.stdout.startswith("alive"), f"exit status {done.returncode} at {last}"
    assert int(done.stdout.split()[1]) > count / 10


@pytest.mark.parametrize(
    "where",
    [
        "n in (" + ", ".join(map(str, range(20_000))) + ")",
        " or ".join(f"price = {n}.5" for n in range(100)) + " or n >= 0",
        "brand = '" + "x" * 100_000 + "' or n >= 0",
    ],
    ids=["a long list", "many alternatives", "a long text"],
)
def test_a_long_filter_is_applied(where):
    assert filled().count(where=where) == sum(
        row["n"] is not None and row["n"] >= 0 for row in ROWS
    )


EXAMPLES = {
    "text": "brand",
    "number": "n",
    "time": "at",
    "truth": "ok",
    "list": "tags",
    "any": "n",
    "same": "n",
    "element": "'x'",
}
WRITTEN = {
    "arrow_cast": "'Int32'",
    "date_format": "'%Y'",
    "date_part": "'year'",
    "date_trunc": "'year'",
    "datepart": "'year'",
    "datetrunc": "'year'",
    "to_char": "'%Y'",
}
CALLS = {
    "chr": "chr(65 + Mixed)",
    "make_date": "make_date(2026, 1, 1 + Mixed % 28)",
    "split_part": "split_part(brand, brand, 1)",
    "flatten": "flatten(make_array(tags, tags))",
    "get_field": "get_field(size, 'width')",
    "to_date": "to_date(published_at)",
}


def example_call(name):
    """Return a call of a function by its signature."""
    if name in CALLS:
        return CALLS[name]
    parameters = FUNCTIONS[name].partition("->")[0].split()
    required = [parameter for parameter in parameters if parameter[-1] not in "?*"]
    arguments = [EXAMPLES.get(kind) or WRITTEN.get(name, "'x'") for kind in required]
    return f"{name}({', '.join(arguments)})"


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_the_engine_has_every_function_that_a_filter_can_name(name):
    call = example_call(name)
    both = filled().count(where=f"{call} is null"), filled().count(where=f"{call} is not null")
    assert sum(both) == len(ROWS)


@pytest.mark.parametrize("name", [*CAST_TYPES, "decimal(10, 2)", "double precision"])
def test_the_engine_has_every_type_that_a_cast_can_name(name):
    cast = f"try_cast(brand as {name})"
    counts = [filled().count(where=f"{cast} is {no}null") for no in ("", "not ")]
    assert sum(counts) == len(ROWS)


def test_the_sql_for_the_engine_is_written_anew():
    """Nothing of the user's text but names, numbers and quoted texts reaches the engine."""
    columns = pa.schema([("a b", pa.int64()), ("Ok", pa.bool_()), ("brand", pa.string())])
    compiled = compile_filter("`A B`+1>-2*3 AND ok is distinct from true or brand='it''s'", columns)
    assert compiled.sql == (
        "(((`a b` + 1) > (-2 * 3)) AND (`Ok` IS DISTINCT FROM true)) OR (`brand` = 'it''s')"
    )
    assert compiled.reads == ("a b", "Ok", "brand")


def test_a_field_of_a_struct_is_compared():
    expected = sum((row["size"]["width"] or 0) > 1 for row in ROWS)
    assert filled().count(where="size.width > 1") == expected
    assert filled().count(where="Size.`Width` > 1") == expected


def test_names_that_differ_in_case_must_be_written_exactly():
    columns = pa.schema([("Year", pa.int64()), ("year", pa.int64())])
    assert compile_filter("Year = 1", columns).reads == ("Year",)
    with pytest.raises(InvalidFilter, match="YEAR may be Year or year"):
        compile_filter("YEAR = 1", columns)


def test_a_resolver_says_what_a_name_stands_for():
    """A name can stand for an expression over several stored columns."""

    def resolve(name):
        return ResolvedColumn(f"coalesce(`{name}#1`, `{name}#2`)", pa.int64(), (name + "#1",))

    compiled = compile_tree(parse("year in (1, 2)"), resolve)
    assert compiled.sql == "coalesce(`year#1`, `year#2`) IN (1, 2)"
    assert compiled.reads == ("year#1",)


def test_an_interrupt_passes_through(monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("isthmus.index.catalog.snapshot.compile_for_domains", interrupt)
    with pytest.raises(KeyboardInterrupt):
        snapshot().select("price < 1")


class Panic(BaseException):
    """A BaseException, as a panic of the engine is."""


@pytest.mark.parametrize(
    "failure", [Panic("x"), OSError("x"), RuntimeError("x"), pa.ArrowException("x"), KeyError("x")]
)
def test_any_error_of_the_engine_is_an_invalid_filter(monkeypatch, failure):
    def fail(*_):
        raise failure

    monkeypatch.setattr("isthmus.index.catalog.snapshot.compile_for_domains", fail)
    with pytest.raises(InvalidFilter, match="The columns are") as refused:
        snapshot().select("price < 1")
    assert refused.value.__cause__ is failure


def test_unknown_and_unsearchable_row_ids_are_not_selected():
    given_ids = np.array([2**40, *snapshot().row_ids(), 2**50, 2**63], np.uint64)
    among = snapshot().select_from("true", given_ids)
    assert len(among) == len(ROWS)
    assert len(snapshot().select_from("true", given_ids[:0])) == 0
    assert snapshot().select_from("price < 1", given_ids[[3, 3]]).tolist() in (
        [],
        given_ids[[3, 3]].tolist(),
    )


def test_every_verb_applies_filters():
    space = filled()
    where = VALID[0]
    expected = {
        row["item_id"]
        for row in ROWS
        if row["price"] is not None
        and row["price"] < 100
        and row["brand"] in ("a", "b")
        and row["published_at"] is not None
        and row["published_at"] > dt.date(2026, 1, 1)
    }
    assert expected
    vector = two_encoders()["text"].encode(["sea"], "text")
    assert {hit.item_id for hit in space.search("sea", k=99, where=where)} == expected
    assert {hit.item_id for hit in space.similar("i0", k=99, where=where)} == expected - {"i0"}
    assert set(space.search_batch(vector, k=99, where=where).item_ids[0]) - {None} == expected
    assert space.count(where=where) == len(expected)


# Types of attributes

TYPED = {
    "flag": (pa.array([True, None, False]), "flag", "not flag", pa.bool_()),
    "small": (pa.array([1, None, 200], pa.uint8()), "small = 1", "small = 200", pa.uint8()),
    "whole": (pa.array([1, None, 2**40]), "whole = 1", "whole > 2000000000", pa.int64()),
    "real": (pa.array([0.5, None, 1e300]), "real < 1", "real > 1e100", pa.float64()),
    "word": (pa.array(["it's", None, "ü"]), "word = 'it''s'", "word like 'ü%'", pa.string()),
    "day": (
        pa.array([dt.date(2026, 1, 1), None, dt.date(1960, 2, 29)]),
        "day = date '2026-01-01'",
        "day < timestamp '1960-02-29 00:00:01'",
        pa.date32(),
    ),
    "moment": (
        pa.array([dt.datetime(2026, 1, 1, 1), None, dt.datetime(1960, 1, 1)], pa.timestamp("ns")),
        "moment > date '2026-01-01'",
        "moment = timestamp '1960-01-01 00:00:00'",
        pa.timestamp("us"),
    ),
    "zoned": (
        pa.array([1767229200000000, None, 0], pa.timestamp("us", "UTC")),
        "zoned = timestamp '2026-01-01 03:00:00+02:00'",
        "zoned < date '2000-01-01'",
        pa.timestamp("us", "UTC"),
    ),
}
LISTS = {
    "words": (
        pa.array([["a", "b"], None, []]),
        "array_has(words, 'b')",
        "empty(words)",
        pa.list_(pa.string()),
    ),
    "numbers": (
        pa.array([[1, 2], None, [3]], pa.large_list(pa.int64())),
        "array_has_any(numbers, [2, 9])",
        "numbers[1] = 3",
        pa.list_(pa.int64()),
    ),
    "days": (
        pa.array([[dt.date(2026, 1, 1)], None, []]),
        "array_has(days, date '2026-01-01')",
        "not array_has(days, date '2026-01-01')",
        pa.list_(pa.date32()),
    ),
}


def write(table, path, kind):
    if kind == "parquet":
        pq.write_table(table, path / "items.parquet")
        return path / "items.parquet"
    if kind == "csv":
        rows = table.to_pylist()
        lines = [",".join(table.column_names)]
        lines += [
            ",".join("" if v is None else str(v).replace("True", "true") for v in row.values())
            for row in rows
        ]
        (path / "items.csv").write_text("\n".join(lines) + "\n")
        return path / "items.csv"
    return table.to_pylist()


@pytest.mark.parametrize("kind", ["parquet", "csv", "dicts"])
def test_attributes_arrive_typed_and_come_back(space, tmp_path, kind):
    columns = TYPED if kind == "csv" else TYPED | LISTS
    names = {"item_id": ["first", "none", "last"], "domain": ["d"] * 3, "text": ["x"] * 3}
    table = pa.table(names | {name: column[0] for name, column in columns.items()})
    if kind == "dicts":
        table = table.set_column(3, "flag", table.column("flag"))
        at = table.schema.get_field_index("moment")
        table = table.set_column(at, "moment", table.column("moment").cast(pa.timestamp("us")))
    items = write(table, tmp_path, kind)
    space.upsert(items)
    assert space.upsert(items).unchanged == 3
    stored = space.opened.view().snapshot.attributes
    for name, (values, first, last, type_) in columns.items():
        expected = pa.int64() if name == "small" and kind != "parquet" else type_
        assert stored.field("d", name).type == expected
        for where, item_id in {first: "first", last: "last", f"{name} is null": "none"}.items():
            hits = space.search("x", where=where)
            assert [hit.item_id for hit in hits] == [item_id], where
        got = [space.get(i)["attributes"][name] for i in names["item_id"]]
        assert got == values.cast(type_).to_pylist()


def test_empty_lists_have_no_type_yet(space):
    space.upsert([item("a", "x", tags=[])])
    space.upsert([item("b", "y", tags=["t"])])
    assert space.count(where="array_has(tags, 't')") == 1


def test_times_are_truncated_to_microseconds(space):
    moment = pa.array([1_767_229_200_000_000_999], pa.timestamp("ns"))
    space.upsert(pa.table({"item_id": ["a"], "domain": ["d"], "text": ["x"], "at": moment}))
    assert space.count(where="at = timestamp '2026-01-01 01:00:00'") == 1


def test_types_that_no_attribute_can_have_are_refused_by_name(space):
    column = pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64()))
    table = pa.table({"item_id": ["a"], "domain": ["d"], "text": ["x"], "odd": column})
    with pytest.raises(InvalidMapping, match=r"column 'odd' is map<.*which no attribute can be"):
        space.upsert(table)
