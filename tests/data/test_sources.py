"""Every kind of input gives the same items."""

from __future__ import annotations

import json
import os
import threading
from datetime import date

import lance
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from isthmus.data.id_file import read_ids
from isthmus.data.inputs import open_sources
from isthmus.data.item_mapping import FieldMapping
from isthmus.data.item_reader import ItemReader
from isthmus.errors import InvalidInput, InvalidItems, InvalidMapping
from tests.data.placing import by_name

ROWS = [
    {"item_id": "007", "domain": "films", "title": "Gold", "price": 1.5, "year": 1964},
    {"item_id": "x", "domain": "books", "title": "Sea, wide", "price": None, "year": 1999},
]
TABLE = pa.Table.from_pylist(ROWS)


def write_json_lines(path):
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))


WRITERS = {
    "items.parquet": lambda path: pq.write_table(TABLE, path),
    "items.csv": lambda path: pacsv.write_csv(TABLE, path),
    "items.tsv": lambda path: pacsv.write_csv(TABLE, path, pacsv.WriteOptions(delimiter="\t")),
    "items.jsonl": write_json_lines,
    "items.json": lambda path: path.write_text(json.dumps(ROWS)),
    "items.arrow": lambda path: feather.write_feather(TABLE, path, compression="uncompressed"),
    "items.lance": lambda path: lance.write_dataset(TABLE, str(path)),
}
FRAMES = {
    "table": TABLE,
    "reader": pa.RecordBatchReader.from_batches(TABLE.schema, TABLE.to_batches()),
    "pandas": pd.DataFrame(ROWS),
    "polars": pl.DataFrame(ROWS),
    "dicts": ROWS,
    "generator": (row for row in ROWS),
}


def read(items, **mapping):
    reader = ItemReader(items, FieldMapping(**mapping))
    rows = reader.check()
    reader.raise_if_invalid()
    table = pa.concat_tables(reader.batches(1000, by_name(reader)), promote_options="default")
    assert len(table) == rows
    return table.to_pylist()


def plain(rows):
    return [
        {k: v for k, v in row.items() if not k.startswith("_") and k != "image"} for row in rows
    ]


EXPECTED = [
    {
        "item_id": "007",
        "domain": "films",
        "text": "Gold",
        "title": "Gold",
        "price": 1.5,
        "year": 1964,
    },
    {
        "item_id": "x",
        "domain": "books",
        "text": "Sea, wide",
        "title": "Sea, wide",
        "price": None,
        "year": 1999,
    },
]


@pytest.mark.parametrize("name", WRITERS)
def test_files_of_every_kind_give_the_same_items(name, tmp_path):
    WRITERS[name](tmp_path / name)
    assert plain(read(str(tmp_path / name))) == EXPECTED


@pytest.mark.parametrize("name", FRAMES)
def test_frames_of_every_kind_give_the_same_items(name):
    assert plain(read(FRAMES[name])) == EXPECTED


def test_a_glob_a_folder_and_a_list_join_files(tmp_path):
    for name, row in zip(("a.parquet", "b.parquet"), ROWS, strict=True):
        pq.write_table(pa.Table.from_pylist([row]), tmp_path / name)
    for items in (
        str(tmp_path / "*.parquet"),
        tmp_path,
        [tmp_path / "a.parquet", tmp_path / "b.parquet"],
    ):
        assert [row["item_id"] for row in read(items)] == ["007", "x"]


def test_files_with_other_columns_fill_up_with_nulls(tmp_path):
    pq.write_table(
        pa.table({"item_id": ["a"], "domain": ["d"], "text": ["t"], "year": [1]}),
        tmp_path / "a.parquet",
    )
    pq.write_table(
        pa.table({"item_id": ["b"], "domain": ["d"], "text": ["t"], "price": [2.0]}),
        tmp_path / "b.parquet",
    )
    rows = read(tmp_path)
    assert [(row["year"], row["price"]) for row in rows] == [(1, None), (None, 2.0)]


def test_a_csv_keeps_ids_as_text_and_infers_types(tmp_path):
    path = tmp_path / "items.csv"
    path.write_text(
        "item_id,domain,title,zip,made,ok\n01,d,5,01234,2026-01-02,true\n2,d,x,5,2026-03-04,false\n"
    )
    rows = read(path)
    assert [row["item_id"] for row in rows] == ["01", "2"]
    assert rows[0]["zip"] == "01234"
    assert rows[0]["made"] == date(2026, 1, 2)
    assert rows[1]["ok"] is False


def test_a_csv_column_that_turns_to_text_late_is_text(tmp_path):
    path = tmp_path / "items.csv"
    lines = [f"i{n},d,title {n},{n if n < 150_000 else 'soon'}" for n in range(150_001)]
    path.write_text("item_id,domain,title,stock\n" + "\n".join(lines))
    reader = ItemReader(path)
    reader.check()
    assert reader.types["d"]["stock"] == pa.string()


def test_json_lines_can_omit_fields_and_widen_numbers(tmp_path):
    path = tmp_path / "items.jsonl"
    path.write_text(
        '{"item_id": "a", "domain": "d", "title": "t", "price": 1}\n\n'
        '{"item_id": "b", "domain": "d", "title": "t", "price": 1.5, "tags": ["x"]}\n'
    )
    assert [(row["price"], row["tags"]) for row in read(path)] == [(1.0, None), (1.5, ["x"])]


def test_paths_are_relative_to_the_file_that_names_them(tmp_path):
    pq.write_table(
        pa.table({"item_id": ["a"], "domain": ["d"], "image": ["pictures/a.png"]}),
        tmp_path / "i.parquet",
    )
    assert read(tmp_path / "i.parquet")[0]["image"] == str(tmp_path / "pictures/a.png")


def test_ids_may_be_numbers_or_templates():
    rows = [{"movie": 7, "domain": "d", "title": "t"}]
    assert read(rows, id="movie")[0]["item_id"] == "7"
    assert read(rows, id="film-{movie}")[0]["item_id"] == "film-7"


def test_one_domain_may_be_given_for_all():
    assert (
        read([{"item_id": "a", "domain": "x", "text": "t"}], domain="films")[0]["domain"] == "films"
    )


BAD = {
    "missing id": (
        [{"item_id": "a", "text": "t"}, {"item_id": None, "text": "t"}],
        "row 1: no item id",
    ),
    "double id": (
        [{"item_id": "a", "text": "t"}, {"item_id": "a", "text": "u"}],
        "row 1: item id 'a' stands in row 0",
    ),
    "nan": (
        [{"item_id": "a", "text": "t", "p": float("nan")}],
        "row 0: column 'p' is NaN or infinite",
    ),
    "infinite": (
        [{"item_id": "a", "text": "t", "p": float("inf")}],
        "row 0: column 'p' is NaN or infinite",
    ),
    "no content": (
        [{"item_id": "a", "text": " ", "image": None}],
        "row 0: has no text and no image",
    ),
    "wrong type": (
        [{"item_id": "a", "text": "t", "p": 1}, {"item_id": "b", "text": "t", "p": "x"}],
        "row 1: column 'p'",
    ),
    "no unicode": (
        [{"item_id": "a", "text": "t"}, {"item_id": "b", "text": "\ud800"}],
        "row 1: column 'text' holds .* no valid Unicode",
    ),
    "no dict": ([{"item_id": "a", "text": "t"}, "b"], "row 1: is a str"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_are_refused_by_number(name):
    rows, message = BAD[name]
    with pytest.raises(InvalidItems, match=message):
        read(rows, domain="d")


def test_a_missing_domain_is_refused_by_number():
    with pytest.raises(InvalidItems, match="row 0: no domain"):
        read([{"item_id": "a", "text": "t", "domain": ""}])


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"text": "{titel}"}, "has no column 'titel'; its columns are: item_id, domain, title"),
        ({"image": "photo"}, "has no column 'photo'"),
        ({"domain_column": "shop"}, "has no column 'shop'"),
        ({"id": "sku"}, "has no column 'sku'"),
        ({"id": "year"}, "an attribute cannot be called 'item_id'"),
        ({"image": "year"}, "an image is a path, bytes or a data URI"),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused(mapping, message):
    with pytest.raises(InvalidMapping, match=message):
        read(TABLE, **mapping)


def test_an_attribute_with_a_dot_is_refused():
    with pytest.raises(InvalidMapping, match=r"cannot be called 'a\.b', since a dot"):
        read([{"item_id": "a", "domain": "d", "text": "t", "a.b": 1}])


def test_an_id_is_text_or_a_whole_number():
    rows = [{"price": 1.5, "domain": "d", "text": "t"}]
    with pytest.raises(InvalidMapping, match="an item id is text or an integer"):
        read(pa.Table.from_pylist(rows), id="price")
    with pytest.raises(
        InvalidItems, match=r"row 0: column 'price' is 1\.5 \(float\); an id is text"
    ):
        read(rows, id="price")


@pytest.mark.parametrize("name", ["item_id", "text", "image", "_row", "a.b"])
def test_a_reserved_attribute_name_is_refused_with_what_to_do(name):
    row = {"sku": "a", "domain": "d", "title": "t", name: "x"}
    mapping = {"id": "sku", "text": "{title}", "image": "title"}
    with pytest.raises(InvalidMapping, match=rf"called '{name}', .*: --exclude {name}"):
        read([row], **mapping)
    assert len(read([row], **mapping, exclude=[name])) == 1


@pytest.mark.parametrize("name", ["score", "rank", "id", "vector", "time", "audio"])
def test_an_attribute_may_have_the_name_of_a_result(name):
    row = {"item_id": "a", "domain": "d", "text": "t", name: 1}
    assert read([row])[0][name] == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.parquet", b"nonsense", "cannot read"),
        ("x.json", b"{", "is not JSON"),
        ("x.json", b"5", "must hold a list of objects"),
        ("x.docx", b"", "cannot tell what"),
        ("x.csv.gz", b"", r"unpack it first: gunzip .*/x\.csv\.gz$"),
        ("x.xlsx", b"", "save it as CSV first$"),
        ("x.csv", b"", "cannot read"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=message):
        read(tmp_path / name)


def test_a_missing_file_is_named():
    with pytest.raises(InvalidInput, match=r"no file matches 'nowhere\.parquet'"):
        read("nowhere.parquet")


def test_a_json_object_with_a_name_twice_is_a_bad_row(tmp_path):
    line = '{"item_id": "a", "domain": "d", "text": "t", "p": 1, "p": 2}'
    (tmp_path / "x.jsonl").write_text(line)
    with pytest.raises(InvalidItems, match="line 1: has 'p' twice"):
        read(tmp_path / "x.jsonl")
    (tmp_path / "x.json").write_text(f"[{line}]")
    with pytest.raises(InvalidInput, match="an object has 'p' twice"):
        read(tmp_path / "x.json")


def test_a_polars_column_of_objects_is_refused_by_name():
    frame = pl.DataFrame({"item_id": ["a"], "o": pl.Series([object()], dtype=pl.Object)})
    with pytest.raises(InvalidInput, match="column 'o' holds Python objects"):
        read(frame)


def test_batches_have_the_requested_size():
    reader = ItemReader([{"item_id": str(n), "domain": "d", "text": "t"} for n in range(25)])
    reader.check()
    sizes = [len(table) for table in reader.batches(10, by_name(reader))]
    assert sizes == [10, 10, 5]


def test_invalid_rows_are_left_out_of_batches():
    reader = ItemReader([{"item_id": n, "domain": "d", "text": "t"} for n in ("a", None, "c")])
    assert reader.check() == 3
    assert reader.problems == {1: "no item id in 'item_id'"}
    (table,) = reader.batches(10, by_name(reader))
    assert table.column("item_id").to_pylist() == ["a", "c"]


def valid(rows):
    """Return the items of the valid rows, and the problems."""
    reader = ItemReader([{"domain": "d", "text": "t", **row} for row in rows])
    reader.check()
    tables = reader.batches(10, by_name(reader))
    return plain(row for table in tables for row in table.to_pylist()), reader.problems


def test_a_row_that_fits_after_others_were_left_out_keeps_its_other_values():
    """Text has the majority until the row without an id is left out; then the number fits."""
    items, problems = valid(
        [
            {"item_id": "a", "p": 29, "sold": True},
            {"item_id": "b", "p": "nan"},
            {"item_id": None, "p": "x", "sold": True},
        ]
    )
    assert items == [{"item_id": "a", "domain": "d", "text": "t", "p": 29, "sold": True}]
    assert problems[2] == "no item id in 'item_id'"
    assert problems[1].startswith("column 'p' holds 'nan', which is no int64 as in other rows")


@pytest.mark.parametrize("rows_a_chunk", [1, 2, 10])
def test_invalid_rows_have_no_say_in_types_in_whatever_chunk_they_are(monkeypatch, rows_a_chunk):
    monkeypatch.setattr("isthmus.data.sources.BATCH_ROWS", rows_a_chunk)
    items, problems = valid(
        [{"item_id": "a", "p": 1}, *[{"item_id": None, "p": "x"}] * 3, {"item_id": "b", "p": 2}]
    )
    assert [item["p"] for item in items] == [1, 2]
    assert sorted(problems) == [1, 2, 3]


def test_types_and_rows_that_swap_for_ever_end():
    """Whichever of two rows is left out makes the other one fit: both are named."""
    items, problems = valid(
        [
            {"item_id": "a", "p": 1, "q": "x"},
            {"item_id": "b", "p": "x", "q": 1},
            {"item_id": "c", "p": 1, "q": 1},
            {"item_id": "d", "p": "x", "q": "x"},
        ]
    )
    assert sorted([item["item_id"] for item in items] + ["abcd"[row] for row in problems]) == [
        *"abcd"
    ]


def refusal(read, path):
    """What a reader says; it runs beside the test, which a pipe would stop for ever."""
    said = []

    def run():
        with pytest.raises(InvalidInput) as refused:
            read(path)
        said.append(str(refused.value))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(20)
    return said


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json", ".parquet", ".feather"])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path, suffix):
    pipe, folder, device = (tmp_path / f"{name}{suffix}" for name in ("pipe", "folder", "device"))
    os.mkfifo(pipe)
    device.symlink_to("/dev/null")
    (said,) = refusal(open_sources, pipe)
    assert said == f"{pipe} is no file but a pipe; write what comes from it to a file first"
    (said,) = refusal(open_sources, device)
    assert said.startswith(f"{device} is no file but a device")
    folder.mkdir()
    (folder / "a").mkdir()
    assert refusal(open_sources, folder)[0].startswith(f"folder {folder} holds no ")
    (tmp_path / "all").mkdir()
    os.mkfifo(tmp_path / "all" / f"pipe{suffix}")
    assert "is no file but a pipe" in refusal(open_sources, tmp_path / "all")[0]


def test_ids_are_not_read_from_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "ids.txt")
    assert "is no file but a pipe" in refusal(read_ids, tmp_path / "ids.txt")[0]


@pytest.mark.parametrize("leads_to", ["nowhere.csv", "link.csv"])
@pytest.mark.parametrize("named", ["link.csv", "*.csv"])
def test_a_link_to_nothing_is_refused_by_its_name(tmp_path, leads_to, named):
    (tmp_path / "link.csv").symlink_to(leads_to)
    with pytest.raises(InvalidInput, match=f"link.csv is a link to {leads_to}, where there is"):
        open_sources(tmp_path / named)
