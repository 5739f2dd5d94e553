"""Each fault that a CSV can have is named with its line, and no other row is lost."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.data.inputs import open_sources
from isthmus.data.item_reader import ItemReader
from isthmus.data.request import CsvOptions, TableOptions
from isthmus.errors import InvalidInput, InvalidItems
from tests.data.placing import by_name

HEAD = "item_id,domain,title\n"


def write(folder, content, name="t.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path, **options):
    """Return the rows, the problems by place, and the notes."""
    reader = ItemReader(path, options=TableOptions(**options))
    reader.check()
    rows = [row for table in reader.batches(100, by_name(reader)) for row in table.to_pylist()]
    return rows, reader.listed_problems(), [note.removeprefix(f"{path}: ") for note in reader.notes]


def titles(rows):
    return [row["title"] for row in rows]


@pytest.mark.parametrize(
    ("encoding", "note"),
    [
        ("utf-8", []),
        ("utf-8-sig", ["the encoding is UTF-8, by a byte order mark"]),
        ("utf-16", ["the encoding is UTF-16, by a byte order mark"]),
        ("utf-16-le", ["the encoding is UTF-16-LE"]),
        ("utf-16-be", ["the encoding is UTF-16-BE"]),
        ("utf-32", ["the encoding is UTF-32, by a byte order mark"]),
        (
            "cp1252",
            ["line 3 is not UTF-8; the encoding is taken for cp1252 (--encoding NAME if not)"],
        ),
    ],
)
def test_the_encoding_is_found_out_and_said(tmp_path, encoding, note):
    content = (HEAD + "1,f,plain\n2,f,Caf\u00e9 \u2013 Zo\u00eb\n").encode(encoding)
    rows, problems, notes = read(write(tmp_path, content))
    assert (titles(rows), problems, notes) == (["plain", "Caf\u00e9 \u2013 Zo\u00eb"], [], note)


def test_the_encoding_can_be_given(tmp_path):
    path = write(tmp_path, (HEAD + "1,f,Привет\n").encode("koi8-r"))
    assert titles(read(path, encoding="koi8-r")[0]) == ["Привет"]
    with pytest.raises(InvalidInput, match=r"t\.csv is not ascii: .*; give its encoding"):
        read(path, encoding="ascii")
    with pytest.raises(InvalidInput, match="there is no encoding 'utf-99'"):
        read(path, encoding="utf-99")


@pytest.mark.parametrize(
    ("delimiter", "name", "said"),
    [(";", "a semicolon", 1), ("\t", "a tab", 1), ("|", "a bar", 1), (",", "", 0)],
)
def test_the_separator_is_found_out_and_said(tmp_path, delimiter, name, said):
    text = HEAD.replace(",", delimiter) + delimiter.join(["1", "f", "a, b; c"]) + "\n"
    if delimiter in ",;":
        text = text.replace("a, b; c", '"a, b; c"')
    rows, problems, notes = read(write(tmp_path, text))
    assert (titles(rows), problems) == (["a, b; c"], [])
    assert notes == [f"values are separated by {name}"] * said


def test_the_separator_can_be_given(tmp_path):
    path = write(tmp_path, "item_id~domain~title\n1~f~a,b\n")
    assert titles(read(path, delimiter="~")[0]) == ["a,b"]
    tabs = write(tmp_path, "item_id\tdomain\ttitle\n1\tf\ta\n", "t.txt.csv")
    assert titles(read(tabs, delimiter="tab")[0]) == ["a"]
    with pytest.raises(InvalidInput, match="delimiter is ',,'; give one character"):
        read(path, delimiter=",,")


def test_quoted_values_hold_anything(tmp_path):
    text = HEAD + '1,f,"a,b"\n2,f,"say ""x"""\n3,f,"two\nlines\r\nand more"\n4,f,5" nail\n'
    rows, problems, _ = read(write(tmp_path, text))
    assert titles(rows) == ["a,b", 'say "x"', "two\nlines\r\nand more", '5" nail']
    assert problems == []


def test_a_quote_that_is_not_closed_is_named_and_swallows_nothing(tmp_path):
    lines = [f"{n},f,title {n}" for n in range(5_000)]
    lines[10] = '10,f,"open'
    path = write(tmp_path, HEAD + "\n".join(lines) + "\n")
    rows, problems, _ = read(path)
    assert len(rows) == 4_999
    (problem,) = problems
    assert problem.startswith(
        'line 12: a quote (") is opened in this line and not closed; close it'
    )
    reader = ItemReader(path)
    reader.check()
    with pytest.raises(InvalidItems, match=r"t\.csv: line 12: a quote"):
        reader.raise_if_invalid()
    rows, problems, _ = read(path, quote="none")
    assert (len(rows), rows[10]["title"], problems) == (5_000, '"open', [])


def test_two_open_quotes_do_not_swallow_the_rows_between_them(tmp_path):
    lines = [f"{n},f,title {n}" for n in range(100)]
    lines[10], lines[90] = '10,f,"Mona', '90,f,Lisa"'
    rows, problems, _ = read(write(tmp_path, HEAD + "\n".join(lines) + "\n"))
    assert len(rows) == 99
    assert [problem.partition(":")[0] for problem in problems] == ["line 12"]
    assert "lines that look like rows" in problems[0]


def test_a_value_that_goes_on_behind_its_quote_is_named(tmp_path):
    rows, problems, _ = read(write(tmp_path, HEAD + '1,f,"A" b\n2,f,B\n'))
    assert titles(rows) == ["B"]
    assert problems[0].startswith("line 2: a quoted value goes on behind its closing quote")


def test_bare_quotes_in_a_tsv_are_characters(tmp_path):
    text = 'item_id\tdomain\ttitle\n1\tf\tA\n2\tf\t"Swing it\n3\tf\tRock "n" roll\n4\tf\tE\n'
    rows, problems, notes = read(write(tmp_path, text, "t.tsv"))
    assert titles(rows) == ["A", '"Swing it', 'Rock "n" roll', "E"]
    assert (problems, len(notes)) == ([], 1)
    assert notes[0].startswith("quotes are plain characters")


def test_a_row_of_another_width_is_named(tmp_path):
    text = HEAD + "1,f,A\n2,f\n\n3,f,C,more\n4,f,D\n"
    rows, problems, _ = read(write(tmp_path, text))
    assert titles(rows) == ["A", "D"]
    assert problems == [
        "line 3: has 2 values, and the header names 3",
        "line 5: has 4 values, and the header names 3",
    ]


def test_a_problem_behind_lines_in_values_has_the_right_line(tmp_path):
    text = HEAD + '1,f,"a\nb\nc"\n\n,f,no id\n3,f,"d\ne"\n,f,none\n'
    assert read(write(tmp_path, text))[1] == [
        "line 6: no item id in 'item_id'",
        "line 9: no item id in 'item_id'",
    ]


def test_a_problem_in_one_of_several_files_names_the_file(tmp_path):
    paths = [
        write(tmp_path, HEAD + f"{n},f,T\n" + ",f,T\n" * (n == 2), f"p{n}.csv") for n in range(4)
    ]
    assert read(paths)[1] == [f"{paths[2]} line 3: no item id in 'item_id'"]


def test_an_item_that_stands_twice_names_both_places(tmp_path):
    paths = [write(tmp_path, HEAD + "1,f,T\n", f"p{n}.csv") for n in range(2)]
    assert read(paths)[1] == [f"{paths[1]} line 2: item id '1' stands in {paths[0]} line 2 already"]


def test_ids_and_texts_are_verbatim_and_attributes_have_the_type_of_all(tmp_path):
    text = "item_id,domain,title,code,n,x,flag,day,when\n"
    text += "0123,f,1984,007,1,1,true,2020-01-31,2020-01-31T10:00:00+02:00\n"
    text += "1e5,f,NA,12e4,-2,1.5e-05,FALSE,2021-01-31,2020-01-31 10:00Z\n"
    rows, problems, _ = read(write(tmp_path, text))
    assert problems == []
    assert [row["item_id"] for row in rows] == ["0123", "1e5"]
    assert [row["text"] for row in rows] == titles(rows) == ["1984", "NA"]
    first = {
        name: type(rows[0][name]).__name__ for name in ("code", "n", "x", "flag", "day", "when")
    }
    assert list(first.values()) == ["str", "int", "float", "bool", "date", "datetime"]
    assert (rows[1]["code"], rows[1]["x"], rows[1]["flag"]) == ("12e4", 1.5e-05, False)


def test_missing_values_are_stated(tmp_path):
    text = "item_id,domain,title,n\nNA,f,A,1\n2,f,B,NA\n3,f,NA,3\n"
    rows, _, notes = read(write(tmp_path, text))
    assert [row["n"] for row in rows] == ["1", "NA", "3"]
    (note,) = notes
    assert note.startswith(
        "column 'n' of f is text, since 1 of its 3 values are spelled as such, for"
    )
    assert note.endswith(
        "example 'NA'; if they stand for missing values, name them with --null-values"
    )
    rows, problems, _ = read(write(tmp_path, text), null_values=("NA",))
    assert [(row["item_id"], row["n"]) for row in rows] == [("NA", 1), ("2", None)]
    assert problems == ["line 4: has no text and no image"]


def test_a_column_without_a_name_is_left_out_and_said(tmp_path):
    rows, _, notes = read(write(tmp_path, ",item_id,domain,title\n0,1,f,A\n"))
    assert "" not in rows[0]
    assert notes == ["column 1 has no name, and is left out"]


CELLS = st.text(
    st.sampled_from(["a", "7", " ", "é", "😀", "'", "\t", "\u2028", "\x0b"]), max_size=4
)


@settings(max_examples=100)
@given(
    rows=st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=20),
    faults=st.dictionaries(st.integers(0, 19), st.sampled_from(["", "1,2", "1,2,3,4"]), max_size=2),
    end=st.sampled_from(["", "\n"]),
    null_values=st.sampled_from([(), ("7",), ("a", "7")]),
)
def test_files_without_quotes_are_read_as_those_with_some_are(rows, faults, end, null_values):
    """They are read by Arrow; a quoted value at the end sends the same rows the other way."""
    lines = [",".join(row) for row in rows]
    for at, line in faults.items():
        lines[at : at + 1] = [line]
    options = CsvOptions(delimiter=",", null_values=null_values)
    with tempfile.TemporaryDirectory() as folder:
        plain = write(Path(folder), "\n".join([HEAD.strip(), *lines]) + end)
        quoted = write(Path(folder), "\n".join([HEAD.strip(), *lines, '"x",y,z']), "q.csv")
        found, expected = (_raw(path, options) for path in (plain, quoted))
    assert found[0] == expected[0][:-1]
    assert found[1:] == expected[1:]


def _raw(path, options):
    (source,) = open_sources(path, options, ["item_id"])
    columns = {name: [] for name in source.columns}
    for chunk in source.read():
        for name, values in chunk.columns.items():
            columns[name] += values.to_pylist()
    rows = list(zip(*columns.values(), strict=True))
    assert len(rows) == source.rows
    places = {source.place(row): problem for row, problem in source.faults.items()}
    return rows, source.columns, places


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "it is empty; a CSV begins with its column names"),
        ("\n\n", "it is empty"),
        ("item_id,domain,p,p\n1,f,2,3\n", "has two columns called 'p'"),
        ('item_id,"domain\n1,f\n', "line 1: a quote"),
        ("item_id,domain,a\x07b\n1,f,x\n", "has a name with control characters"),
    ],
)
def test_a_header_that_names_no_columns_is_refused(tmp_path, content, message):
    with pytest.raises(InvalidInput, match=message):
        read(write(tmp_path, content))


def test_a_folder_of_partitions_has_their_columns(tmp_path):
    for folder, row in {
        "domain=films/year=1999": "1,A",
        "domain=wine%20%26/year=NV": "2,B",
    }.items():
        (tmp_path / folder).mkdir(parents=True)
        write(tmp_path / folder, f"item_id,title\n{row}\n", "part.csv")
    (tmp_path / "_SUCCESS").touch()
    reader = ItemReader(tmp_path)
    reader.check()
    assert {d: t["year"] for d, t in reader.types.items()}.keys() == {"films", "wine &"}
    assert str(reader.types["films"]["year"]) == "int64"
    assert str(reader.types["wine &"]["year"]) == "string"


def test_rows_that_are_not_stored_have_no_say_in_the_type(tmp_path):
    rows, problems, notes = read(
        write(
            tmp_path,
            "item_id,domain,text,year,price\n"
            "a,films,x,1999,5\n"
            ",films,x,unknown,5\n"  # no id
            "c,films,,n/a,5\n"  # no text
            "a,films,x,?,5\n"  # repeats an id
            "d,films,x,2001,6\n",
        )
    )
    assert [(row["year"], row["price"]) for row in rows] == [(1999, 5), (2001, 6)]
    assert (len(problems), notes) == (3, [])


def test_a_row_with_one_unfit_attribute_has_no_say_in_another(tmp_path):
    reader = ItemReader(
        write(tmp_path, "item_id,domain,text,year,score\ne,films,x,soon,high\nf,films,x,2002,7\n")
    )
    reader.check({"films": {"year": pa.int64()}})
    assert reader.types == {"films": {"year": pa.int64(), "score": pa.int64()}}
    (problem,) = reader.listed_problems()
    assert problem.startswith("line 2: column 'year' holds 'soon', which is no int64")


def test_rows_with_a_bad_id_do_not_make_others_invalid():
    bad = [{"item_id": None, "domain": "films", "text": "x", "n": "many"} for _ in range(3)]
    reader = ItemReader([*bad, {"item_id": "a", "domain": "films", "text": "x", "n": 7}])
    reader.check()
    assert reader.types == {"films": {"n": pa.int64()}}
    assert [problem.partition(":")[2] for problem in reader.listed_problems()] == [
        " no item id in 'item_id'"
    ] * 3
