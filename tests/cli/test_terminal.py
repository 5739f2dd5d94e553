"""What is printed: text from data is shown and not obeyed, JSON is JSON, any output is enough."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus import Space
from isthmus.errors import InvalidFilter, InvalidMapping
from isthmus.terminal import DataTable, as_json, print_table, printable, say, say_json
from tests.cli.conftest import COMMAND
from tests.toy import ToyEncoder

HOSTILE = "[red]Quiet[/] [/] :cat: \x1b[2J\x1b]0;owned\x07 \u202egnp.\u2066 a\rb\x9b31m"


def controls(shown: str) -> set[str]:
    """Return the characters that a terminal obeys, other than the ends of lines."""
    return {c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs") and c != "\n"}


@given(st.text(st.characters(), max_size=40))
def test_nothing_that_is_printed_is_obeyed(text):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        say(text)
        table = DataTable("head", text, title=text)
        table.add_row("cell", text)
        print_table(table)
    assert controls(out.getvalue()) <= set("\u200c\u200d\u00ad")
    assert printable(text).splitlines() in ([], [printable(text)])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
    )
)
def test_any_value_is_one_json_document(value):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        say_json(value)
    (line,) = out.getvalue().split("\n")[:-1]
    assert strict(line) == as_json(value)


def strict(text: str) -> object:
    """Parse JSON, without the numbers that JSON does not have."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def hostile(plugin, tmp_path, monkeypatch):
    """A space whose texts, ids, domains and attributes are hostile, and its path."""
    monkeypatch.syspath_prepend(plugin)
    space = Space.create(tmp_path / "hostile", encoder="toy/words")
    rows = [{"item_id": f"a{i}", "domain": "[b]films", "title": HOSTILE} for i in range(3)]
    space.upsert(rows)
    space.add_interactions(
        pa.table({"user_id": ["[/] u"], "item_id": ["a0"], "event": ["[bold]click"]})
    )
    return space.path


COMMANDS = [
    ("get", "a0"),
    ("search", "quiet"),
    ("search", "quiet", "--hybrid"),
    ("similar", "a0"),
    ("recommend", "--history", "a0"),
    ("recommend", "--user", "[/] u"),
    ("recommend", "--user", "nobody"),
    ("duplicates",),
    ("interactions", "show", "[/] u"),
    ("interactions", "count"),
    ("status",),
    ("quarantine",),
    ("count",),
    ("count", "--where", "item_id like 'a%'"),
    ("ids",),
    ("get", "a0", "a1"),
    ("attributes",),
    ("verify",),
    ("releases",),
    ("weights",),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_commands_show_hostile_text_and_print_strict_json(hostile, run, command):
    shown = run(*command, "--space", hostile)
    assert shown.returncode == 0, shown.stderr
    assert not controls(shown.stdout + shown.stderr)
    if command[0] in ("get", "search", "similar"):
        assert "[red]Quiet[/] [/] :cat:" in shown.stdout
    document = run(*command, "--space", hostile, "--json")
    assert document.returncode == 0, document.stderr
    strict(document.stdout)


WRITING = [
    ("update", "[b]prices.csv"),
    ("attributes", "cast", "[b]films", "[red]price", "double", "--allow-lossy"),
    ("attributes", "rename", "[b]films", "[red]price", "[i]price"),
    ("attributes", "drop", "[b]films", "[i]price"),
    ("upsert", "[b]prices.csv", "--domain", "[b]films", "--dry-run", "--skip-invalid"),
    ("interactions", "add", "[b]events.csv"),
    ("delete", "a2"),
    ("retry-quarantine",),
    ("publish",),
    ("set-weights", "text=2"),
    ("compact",),
    ("interactions", "forget-user", "[/] u"),
]


@pytest.mark.parametrize("as_json", [False, True])
def test_commands_that_write_show_hostile_text_and_print_strict_json(
    hostile, run, tmp_path, monkeypatch, as_json
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "[b]prices.csv").write_text(f"item_id,[red]price\na0,1\n{HOSTILE!r},2\n")
    (tmp_path / "[b]events.csv").write_text("user_id,item_id,event\n[/] u,a1,[bold]x\n")
    for command in WRITING:
        done = run(*command, "--space", hostile, *(["--json"] if as_json else []))
        assert done.returncode == 0, (command, done.stderr)
        assert not controls(done.stdout + done.stderr), command
        if as_json:
            strict(done.stdout)


def test_output_survives_another_encoding_and_a_closed_pipe(tmp_path, environment):
    space = Space.create(tmp_path / "s", encoder=ToyEncoder("text"))
    space.upsert([{"item_id": "a", "domain": "f", "title": "Amélie 🚢 東京"}])
    latin = {**environment, "PYTHONIOENCODING": "latin-1"}
    command = [COMMAND, "get", "a", "--space", space.path]
    for more, form in (([], None), (["--json"], json.loads)):
        done = subprocess.run([*command, *more], capture_output=True, env=latin, check=True)
        text = done.stdout.decode("latin-1")
        shown = str(form(text)["text"]) if form else text
        assert ("Amélie 🚢 東京" if form else "Amélie \\U0001f6a2 \\u6771\\u4eac") in shown
    read, write = os.pipe()
    os.close(read)
    closed = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, env=environment)
    os.close(write)
    assert (closed.returncode, closed.stderr) == (1, b"")


def test_an_error_about_a_wide_table_is_short(hostile):
    space = Space.open(hostile)
    wide = pa.table({f"feature_number_{i}": ["x"] for i in range(60)} | {"titel": ["x"]})
    with pytest.raises(InvalidMapping, match="titel, feature_number_0") as found:
        space.upsert(wide, id="feature_number_0", domain="films", text="title")
    assert len(str(found.value)) < 400
    space.upsert(
        pa.table({"item_id": ["w"], "domain": ["w"], "title": ["w"]} | dict(wide.to_pydict()))
    )
    with pytest.raises(InvalidFilter) as refused:
        space.search("x", where="colour = 'red'")
    assert len(str(refused.value)) < 400
