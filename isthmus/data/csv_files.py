"""CSV and TSV files: encoding, separator and quoting are found out or given, and every row is read.

Each value is kept as the text it is; what it stands for is decided later. A quote that is opened
and not closed would swallow the rows behind it. So a row whose quoting breaks off, or whose quoted
value holds whole rows, is invalid, and reading goes on with its next line.
"""

from __future__ import annotations

import csv
import sys
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from isthmus.data.convert import Values
from isthmus.data.csv_plain import count_plain_rows, plain_chunks
from isthmus.data.request import DEFAULTS, NO_QUOTE, CsvOptions
from isthmus.data.sources import BATCH_ROWS, Chunk, Chunks, Source, check_names
from isthmus.errors import InvalidInput

DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
SAMPLE_RECORDS = 100
SAMPLE_BYTES = 262_144
MAX_RECORD_LINES = 2_000  # of one quoted value; more means that the quote is not closed
SUSPICIOUS_LINES = 2  # lines in a quoted value that each look like a row
_MARKS = (  # longest first: the mark of UTF-32 begins with that of UTF-16
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


@dataclass(frozen=True)
class _Dialect:
    encoding: str
    delimiter: str
    quote: str | None

    def records(self, lines: Iterable[str]) -> Iterator[list[str]]:
        """Parse lines strictly: what is no well-formed quoting raises `csv.Error`."""
        if self.quote is None:
            return csv.reader(lines, delimiter=self.delimiter, quoting=csv.QUOTE_NONE, strict=True)
        return csv.reader(lines, delimiter=self.delimiter, quotechar=self.quote, strict=True)


def open_csv(path: Path, options: CsvOptions = DEFAULTS, verbatim: Sequence[str] = ()) -> Source:
    """Return a CSV or TSV as a source; every line is read once, to find the rows that are broken.

    Parameters
    ----------
    path : Path
        The file.
    options : CsvOptions
        How it is written, where that is known.
    verbatim : sequence of str
        Columns of ids, in which only an empty text is missing.

    Raises
    ------
    InvalidInput
        If it is empty, or its encoding is not known.
    """
    if sys.maxsize > csv.field_size_limit():
        csv.field_size_limit(sys.maxsize)
    notes: list[str] = []
    encoding = options.encoding or _find_encoding(path, notes)
    dialect = _find_dialect(path, encoding, options, notes)
    header, scan = _count_plain(path, dialect) or _scan(
        path, dialect, check_values=options.quote is None
    )
    if scan.broken_quotes and options.quote is None and dialect.delimiter == "\t":
        unquoted = replace(dialect, quote=None)
        other_header, other = _scan(path, unquoted, check_values=False)
        if not other.faults:
            dialect, header, scan = unquoted, other_header, other
            notes.append("quotes are plain characters (--quote '\"' if they are not)")
    names, places = _name_columns(path, header, notes)
    nulls = [frozenset(("", *(() if n in verbatim else options.null_values))) for n in names]
    columns = list(zip(names, places, nulls, strict=True))
    check_values = options.quote is None and dialect.quote is not None

    def chunks() -> Chunks:
        if scan.is_plain:
            return plain_chunks(path, dialect.delimiter, len(header), columns)
        records = _Records(_lines(path, dialect.encoding), dialect, check_values=check_values)
        return _chunks(records, scan.faults, columns)

    return Source(
        str(path),
        names,
        chunks,
        spelled=frozenset(names),
        folder=path.parent,
        rows=scan.rows,
        faults=scan.faults,
        place=scan.place,
        notes=tuple(notes),
    )


def _find_encoding(path: Path, notes: list[str]) -> str:
    """Return the encoding: by its mark, UTF-8 where all bytes are, else the likeliest."""
    with path.open("rb") as file:
        start = file.read(4)
        for mark, encoding in _MARKS:
            if start.startswith(mark):
                name = encoding.upper().removesuffix("-SIG")
                notes.append(f"the encoding is {name}, by a byte order mark")
                return encoding
        file.seek(0)
        sample = file.read(SAMPLE_BYTES)
    if b"\0" in sample:
        for encoding, empty in (("utf-16-le", sample[1::2]), ("utf-16-be", sample[0::2])):
            if empty.count(0) > 0.7 * len(empty):
                notes.append(f"the encoding is {encoding.upper()}")
                return encoding
    line = _first_line_not_utf8(path)
    if line is None:
        return "utf-8"
    guess = _guess_encoding(line[1])
    notes.append(
        f"line {line[0]} is not UTF-8; the encoding is taken for {guess} (--encoding NAME if not)"
    )
    return guess


def _first_line_not_utf8(path: Path) -> tuple[int, bytes] | None:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number, line + b"".join(file.readlines(SAMPLE_BYTES))
    return None


def _guess_encoding(sample: bytes) -> str:
    """Return the likeliest encoding of bytes that are not UTF-8; cp1252 where none is likelier."""
    from charset_normalizer import from_bytes

    found = from_bytes(sample[:SAMPLE_BYTES])
    names = [match.encoding for match in found]
    best = found.best()
    western = {"cp1252", "latin_1", "iso8859_15", "cp1250", "mac_roman"}
    if best is None or western & {*names[:4], best.encoding} or len(sample) < 500:
        try:
            sample.decode("cp1252")
        except UnicodeDecodeError:
            return best.encoding if best is not None else "latin-1"
        return "cp1252"
    return best.encoding


def _lines(path: Path, encoding: str) -> Iterator[str]:
    try:
        with path.open(encoding=encoding, newline="") as file:
            yield from file
    except UnicodeError as error:
        raise InvalidInput(
            f"{path} is not {encoding}: {error}; give its encoding with --encoding"
        ) from error


def _find_dialect(path: Path, encoding: str, options: CsvOptions, notes: list[str]) -> _Dialect:
    quote = None if options.quote == NO_QUOTE else options.quote or '"'
    if options.delimiter is not None:
        return _Dialect(encoding, options.delimiter, quote)
    if path.suffix.lower() == ".tsv":
        return _Dialect(encoding, "\t", quote)
    lines = [
        line for _, line in zip(range(10 * SAMPLE_RECORDS), _lines(path, encoding), strict=False)
    ]
    best, best_share = ",", 0.0
    for delimiter in DELIMITERS:
        widths = _widths(_Dialect(encoding, delimiter, quote), lines)
        if not widths or widths[0] < 2:
            continue
        share = widths.count(widths[0]) / len(widths)
        if share > best_share + 0.1:  # a comma, where both may be
            best, best_share = delimiter, share
    if best != ",":
        notes.append(f"values are separated by {DELIMITERS[best]}")
    return _Dialect(encoding, best, quote)


def _widths(dialect: _Dialect, lines: Sequence[str]) -> list[int]:
    """Return how many values the first records have, as far as they can be parsed."""
    widths: list[int] = []
    try:
        for record in dialect.records(lines):
            if record:
                widths.append(len(record))
            if len(widths) == SAMPLE_RECORDS:
                break
    except csv.Error:
        pass
    return widths


@dataclass
class _Scan:
    """What the first pass over a file found.

    Attributes
    ----------
    rows : int
        Number of rows.
    faults : dict of int to str
        Invalid rows, and why.
    broken_quotes : int
        How many of them have broken quotes.
    is_plain : bool
        Whether Arrow can read the file.
    """

    rows: int = 0
    faults: dict[int, str] = field(default_factory=dict)
    broken_quotes: int = 0
    is_plain: bool = False
    _starts: list[tuple[int, int]] = field(default_factory=list)  # row, its line less the row

    def note_line(self, row: int, line: int) -> None:
        """Remember where a row starts; only changes of the distance to its number are kept."""
        if not self._starts or self._starts[-1][1] != line - row:
            self._starts.append((row, line - row))

    def place(self, row: int) -> str:
        """Return the line of a row."""
        at = bisect_right(self._starts, row, key=lambda start: start[0]) - 1
        return f"line {row + self._starts[max(at, 0)][1]}" if self._starts else f"row {row}"


class _Records:
    """Records of a file, resumed behind the first line of a record whose quotes are broken."""

    def __init__(self, lines: Iterator[str], dialect: _Dialect, *, check_values: bool) -> None:
        self._lines, self._dialect, self._check_values = lines, dialect, check_values
        self._pending: deque[str] = deque()  # lines to read again
        self._record: list[str] = []  # lines of the present record
        self._line = 0  # lines read before the present record
        self._width = 0

    def __iter__(self) -> Iterator[tuple[int, list[str] | str]]:
        """Yield the line of each record, and its values, or why it is invalid."""
        reader = self._dialect.records(self._feed())
        while True:
            start = self._line + 1
            problem = None
            try:
                record = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                problem = self._describe(error)
            else:
                self._width = self._width or len(record)
                if len(self._record) > 1 and self._check_values and self._swallows(record):
                    problem = (
                        "a quote is opened in this line, and the value up to the next quote holds "
                        f"{len(self._record) - 1} lines that look like rows; double the quote, or "
                        f"give --quote {NO_QUOTE} where quotes are plain characters"
                    )
            if problem is not None:
                self._pending.extendleft(reversed(self._record[1:]))
                self._line += 1
                self._record = []
                reader = self._dialect.records(self._feed())
                yield start, problem
                continue
            self._line += len(self._record)
            self._record = []
            yield start, record

    def _feed(self) -> Iterator[str]:
        while True:
            if len(self._record) >= MAX_RECORD_LINES:
                return  # the parser reports the quote that is open
            line = self._pending.popleft() if self._pending else next(self._lines, None)
            if line is None:
                return
            self._record.append(line)
            yield line

    def _describe(self, error: csv.Error) -> str:
        quote = self._dialect.quote
        if "unexpected end" in str(error) or len(self._record) > 1:
            return (
                f"a quote ({quote}) is opened in this line and not closed; close it, or give "
                f"--quote {NO_QUOTE} where quotes are plain characters"
            )
        return (
            f"a quoted value goes on behind its closing quote ({quote}); double quotes within a "
            f"value, or give --quote {NO_QUOTE} where quotes are plain characters"
        )

    def _swallows(self, record: Sequence[str]) -> bool:
        """Return whether the inner lines of a quoted value each look like a row of the file."""
        if self._width < 3 or len(record) == 0:
            return False
        inner = self._record[1:-1]
        looks = [line.count(self._dialect.delimiter) == self._width - 1 for line in inner]
        return len(inner) >= SUSPICIOUS_LINES and all(looks)


def _count_plain(path: Path, dialect: _Dialect) -> tuple[list[str], _Scan] | None:
    """Return the header and the rows of a file that Arrow can read; None for other files."""
    first = next(iter(_Records(_lines(path, dialect.encoding), dialect, check_values=False)), None)
    if first is None or first[0] != 1 or not first[1] or isinstance(first[1], str):
        return None
    header = first[1]
    rows = count_plain_rows(
        path, dialect.encoding, dialect.delimiter, dialect.quote, width=len(header)
    )
    if rows is None:
        return None
    scan = _Scan(rows, is_plain=True)
    scan.note_line(0, 2)
    return header, scan


def _scan(path: Path, dialect: _Dialect, *, check_values: bool) -> tuple[list[str], _Scan]:
    """Read all records once; return the header and what was found."""
    scan, header = _Scan(), None
    for line, record in _Records(
        _lines(path, dialect.encoding), dialect, check_values=check_values
    ):
        if header is None:
            if isinstance(record, str):
                raise InvalidInput(f"{path} line {line}: {record}")
            header = record or None
            continue
        if record == []:
            continue
        scan.note_line(scan.rows, line)
        if isinstance(record, str):
            scan.faults[scan.rows] = record
            scan.broken_quotes += 1
        elif len(record) != len(header):
            scan.faults[scan.rows] = f"has {len(record)} values, and the header names {len(header)}"
        scan.rows += 1
    if header is None:
        raise InvalidInput(f"cannot read {path}: it is empty; a CSV begins with its column names")
    return header, scan


def _name_columns(
    path: Path, header: Sequence[str], notes: list[str]
) -> tuple[tuple[str, ...], list[int]]:
    """Return the names of the columns, and their places in a record; unnamed ones are left out."""
    places = [at for at, name in enumerate(header) if name.strip()]
    unnamed = [at + 1 for at, name in enumerate(header) if not name.strip()]
    if unnamed:
        listed = ", ".join(map(str, unnamed))
        notes.append(f"column {listed} has no name, and is left out")
    return check_names(str(path), [header[at] for at in places]), places


def _chunks(
    records: _Records, faults: Mapping[int, str], columns: Sequence[tuple[str, int, frozenset[str]]]
) -> Chunks:
    """Yield the rows of a file; those of the faults are null."""
    missing = [""] * (1 + max((place for _, place, _ in columns), default=-1))
    rows: list[Sequence[str]] = []
    number, is_header = 0, True
    for _, record in records:
        if is_header or record == []:
            is_header = is_header and not record
            continue
        rows.append(missing if number in faults or isinstance(record, str) else record)
        number += 1
        if len(rows) == BATCH_ROWS:
            yield _to_chunk(rows, columns)
            rows = []
    if rows:
        yield _to_chunk(rows, columns)


def _to_chunk(
    rows: Sequence[Sequence[str]], columns: Sequence[tuple[str, int, frozenset[str]]]
) -> Chunk:
    made: dict[str, Values] = {
        name: pa.array([None if (v := row[place]) in nulls else v for row in rows], pa.string())
        for name, place, nulls in columns
    }
    return Chunk(made, len(rows))
