"""A file of queries in, a file of results out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.types as pat

from isthmus.data.columns import plain_type
from isthmus.data.files import writing_parquet
from isthmus.data.sources import Source
from isthmus.data.table_reader import open_sources
from isthmus.errors import InvalidInput, first_line
from isthmus.progress import progress_bar
from isthmus.retrieval.search.query_encoding import FileQuery, QueryEncoder, QueryVectors
from isthmus.retrieval.search.results import list_schema
from isthmus.schema import MEDIA, QUERY_ID, TEXT, VECTOR

QUERIES_A_BATCH = 1_024

Answer = Callable[[Sequence[str], Sequence[FileQuery]], pa.Table]
Refuse = Callable[[QueryVectors], str]


@dataclass(frozen=True)
class QueryProblem:
    """A query that was left out.

    Attributes
    ----------
    row : int
        Its row, from 0, over the whole input.
    query_id : str
        Its id.
    reason : str
        What is wrong with it.
    """

    row: int
    query_id: str
    reason: str

    def __str__(self) -> str:
        return f"row {self.row}, query {self.query_id!r}: {self.reason}"


@dataclass
class QueryFileReport:
    """What a file of queries came to.

    Attributes
    ----------
    queries : int
        Queries read.
    answered : int
        Queries that were searched for.
    rows : int
        Rows written.
    problems : list of QueryProblem
        Queries that were left out, and why.
    """

    queries: int = 0
    answered: int = 0
    rows: int = 0
    problems: list[QueryProblem] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Give the report as plain values."""
        return asdict(self)


def search_file(
    queries: Any,
    out: Path,
    encoder: QueryEncoder,
    refuse: Refuse,
    search_top_k: Answer,
    *,
    show: bool,
) -> QueryFileReport:
    """Answer every query of a file; see `isthmus.Space.search_file`.

    Parameters
    ----------
    queries : object
        Anything `isthmus.data.table_reader.open_sources` takes.
    out : Path
        Parquet to write.
    encoder : QueryEncoder
        Turns contents into vectors.
    refuse : callable
        Says why vectors cannot be searched for; empty where they can.
    answer : callable
        Takes query ids and the queries, encoded; gives a table of query_id, item_id,
        rank and score.
    show : bool
        Whether to show a bar.
    """
    sources = _open(queries)
    total = _check_ids(sources)
    report = QueryFileReport()
    with (
        writing_parquet(out, list_schema(QUERY_ID)) as writer,
        progress_bar("searching", total, show=show) as advance,
    ):
        for ids, batch in _batches(sources):
            encoder.encode(batch)
            for query in batch:
                query.reason = query.reason or refuse(query.vectors)
            named = list(zip(ids, batch, strict=True))
            good = [(query_id, query) for query_id, query in named if not query.reason]
            if good:
                table = search_top_k(
                    [query_id for query_id, _ in good], [asked for _, asked in good]
                )
                writer.write_table(table)
                report.rows += len(table)
            report.problems += [
                QueryProblem(row, query_id, query.reason)
                for row, (query_id, query) in enumerate(named, report.queries)
                if query.reason
            ]
            report.queries += len(batch)
            report.answered += len(good)
            advance(len(batch))
    return report


def _open(queries: Any) -> list[Source]:
    """Open the queries, and refuse columns that cannot be what they are called."""
    try:
        sources = open_sources(queries, text_columns=(QUERY_ID, *_FITS))
    except pa.ArrowException as error:
        raise InvalidInput(f"cannot read the queries: {first_line(error)}") from error
    for source in sources:
        names = source.schema.names
        listed = ", ".join(names)
        if QUERY_ID not in names:
            raise InvalidInput(f"{source.name} has no column {QUERY_ID!r}; it has: {listed}")
        if not set(names) & _FITS.keys():
            raise InvalidInput(
                f"{source.name} has no column {', '.join(_FITS)}; give one; it has: {listed}"
            )
        for name, (fits, wanted) in {QUERY_ID: _ID, **_FITS}.items():
            if name in names and not fits(source.schema.field(name).type):
                type_ = source.schema.field(name).type
                raise InvalidInput(f"{source.name}: column {name!r} is {type_}; give {wanted}")
    return sources


def _check_ids(sources: Iterable[Source]) -> int:
    """Count the queries; refuse the first whose id is missing or stands there already."""
    first: dict[str, int] = {}
    for source in sources:
        for batch in _read(source):
            for query_id in batch.column(QUERY_ID).to_pylist():
                row = len(first)
                name = "" if query_id is None else str(query_id)
                if not name.strip():
                    raise InvalidInput(f"{source.name} row {row}: no {QUERY_ID}")
                if name in first:
                    raise InvalidInput(
                        f"{source.name} row {row}: {QUERY_ID} {name!r} stands in row "
                        f"{first[name]} already"
                    )
                first[name] = row
    return len(first)


def _batches(sources: Iterable[Source]) -> Iterator[tuple[list[str], list[FileQuery]]]:
    """Read the queries, with their ids beside them, in batches of one source."""
    for source in sources:
        for whole in _read(source):
            columns = [name for name in (QUERY_ID, *_FITS) if name in whole.schema.names]
            for start in range(0, len(whole), QUERIES_A_BATCH):
                rows = whole.select(columns).slice(start, QUERIES_A_BATCH).to_pylist()
                yield (
                    [str(row[QUERY_ID]) for row in rows],
                    [FileQuery(_contents(row), source.folder) for row in rows],
                )


def _read(source: Source) -> Iterator[pa.RecordBatch]:
    try:
        yield from source.read()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read {source.name}: {first_line(error)}") from error


def _contents(values: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a row holds of contents and vector, without what is missing or blank."""
    held: dict[str, Any] = {}
    text, vector = values.get(TEXT), values.get(VECTOR)
    if text is not None and str(text).strip():
        held[TEXT] = str(text)
    for modality in MEDIA:
        file = values.get(modality)
        if isinstance(file, dict):
            file = file.get("bytes") or file.get("path")
        if file is not None and file.strip():
            held[modality] = file.strip() if isinstance(file, str) else file
    if vector is not None and vector != "":
        held[VECTOR] = vector
    return held


def _is_word(type_: pa.DataType) -> bool:
    return bool(pat.is_integer(type_) or plain_type(type_) == pa.string() or pat.is_null(type_))


def _is_text(type_: pa.DataType) -> bool:
    return bool(not pat.is_nested(type_) and plain_type(type_) != pa.binary())


def _is_file(type_: pa.DataType) -> bool:
    plain = plain_type(type_)
    named = pat.is_struct(type_) and {"bytes", "path"} & {field.name for field in type_}
    return bool(named or plain in (pa.string(), pa.binary()) or pat.is_null(type_))


def _is_vector(type_: pa.DataType) -> bool:
    if pat.is_fixed_size_list(type_) or pat.is_list(type_) or pat.is_large_list(type_):
        of = type_.value_type
        return bool(pat.is_floating(of) or pat.is_integer(of) or pat.is_null(of))
    return bool(plain_type(type_) == pa.string() or pat.is_null(type_))


_ID = (_is_word, "text or integers")
_FITS: dict[str, tuple[Callable[[pa.DataType], bool], str]] = {
    TEXT: (_is_text, "text"),
    **dict.fromkeys(MEDIA, (_is_file, "paths, bytes or data URIs")),
    VECTOR: (_is_vector, "lists of numbers"),
}
