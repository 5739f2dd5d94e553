"""A file of queries in, a file of results out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.types as pat

from isthmus.data.files import writing_parquet
from isthmus.data.inputs import TypedSource, open_typed
from isthmus.data.types import storage_type
from isthmus.errors import InvalidInput, first_line, listed
from isthmus.ids import to_id
from isthmus.progress import progress_bar
from isthmus.retrieval.search.query_encoding import FileQuery, QueryEncoder
from isthmus.retrieval.search.results import list_schema
from isthmus.schema import MEDIA, QUERY_ID, TEXT, VECTOR

BATCH_SIZE = 1_024

SearchBatch = Callable[[Sequence[str], Sequence[FileQuery]], pa.Table]
WhyRefused = Callable[[FileQuery], str]


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
        Why it cannot be answered.
    """

    row: int
    query_id: str
    reason: str

    def __str__(self) -> str:
        return f"row {self.row}, query {self.query_id!r}: {self.reason}"


@dataclass
class QueryFileReport:
    """The outcome of a file of queries.

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
        """Return the report as plain values."""
        return asdict(self)


def search_file(
    queries: Any,
    out: Path,
    encoder: QueryEncoder,
    why_refused: WhyRefused,
    search_batch: SearchBatch,
    *,
    show: bool,
) -> QueryFileReport:
    """Answer every query of a file; see `isthmus.Space.search_file`.

    Parameters
    ----------
    queries : object
        Anything `isthmus.data.inputs.open_sources` takes.
    out : Path
        Parquet to write.
    encoder : QueryEncoder
        Turns contents into vectors.
    why_refused : callable
        Returns why an encoded query cannot be searched for; empty where it can.
    search_batch : callable
        Takes query ids and encoded queries; returns a table of query_id, item_id, rank and score.
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
                query.reason = query.reason or why_refused(query)
            good = [at for at, query in enumerate(batch) if not query.reason]
            if good:
                table = search_batch([ids[at] for at in good], [batch[at] for at in good])
                writer.write_table(table)
                report.rows += len(table)
            report.problems += [
                QueryProblem(report.queries + at, ids[at], query.reason)
                for at, query in enumerate(batch)
                if query.reason
            ]
            report.queries += len(batch)
            report.answered += len(good)
            advance(len(batch))
    return report


def _open(queries: Any) -> list[TypedSource]:
    """Open the queries, and refuse columns of the wrong type."""
    try:
        sources = open_typed(queries, text_columns=(QUERY_ID, *_FITS))
    except pa.ArrowException as error:
        raise InvalidInput(f"cannot read the queries: {first_line(error)}") from error
    for source in sources:
        names = source.schema.names
        if QUERY_ID not in names:
            raise InvalidInput(f"{source.name} has no column {QUERY_ID!r}; it has: {listed(names)}")
        if not set(names) & _FITS.keys():
            raise InvalidInput(
                f"{source.name} has no column {', '.join(_FITS)}; give one; it has: {listed(names)}"
            )
        for name, (fits, expected) in {QUERY_ID: _ID, **_FITS}.items():
            if name in names and not fits(source.schema.field(name).type):
                type_ = source.schema.field(name).type
                raise InvalidInput(f"{source.name}: column {name!r} is {type_}; give {expected}")
    return sources


def _check_ids(sources: Iterable[TypedSource]) -> int:
    """Count the queries; refuse a missing id and a duplicate."""
    row_of: dict[str, int] = {}
    for source in sources:
        for batch in source.batches():
            for query_id in batch.column(QUERY_ID).to_pylist():
                row = len(row_of)
                name = to_id(query_id, f"{source.name} row {row}: {QUERY_ID}")
                if name in row_of:
                    raise InvalidInput(
                        f"{source.name} row {row}: {QUERY_ID} {name!r} stands in row "
                        f"{row_of[name]} already"
                    )
                row_of[name] = row
    return len(row_of)


def _batches(sources: Iterable[TypedSource]) -> Iterator[tuple[list[str], list[FileQuery]]]:
    """Yield ids and queries, in batches of one source."""
    for source in sources:
        for record_batch in source.batches():
            columns = [name for name in (QUERY_ID, *_FITS) if name in record_batch.schema.names]
            for start in range(0, len(record_batch), BATCH_SIZE):
                rows = record_batch.select(columns).slice(start, BATCH_SIZE).to_pylist()
                yield (
                    [str(row[QUERY_ID]) for row in rows],
                    [FileQuery(_contents(row), source.folder) for row in rows],
                )


def _contents(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the contents and the vector of a row, without what is missing or blank."""
    contents: dict[str, Any] = {}
    text, vector = values.get(TEXT), values.get(VECTOR)
    if text is not None and str(text).strip():
        contents[TEXT] = str(text)
    for modality in MEDIA:
        file = values.get(modality)
        if isinstance(file, dict):
            file = file.get("bytes") or file.get("path")
        if file is not None and file.strip():
            contents[modality] = file.strip() if isinstance(file, str) else file
    if vector is not None and vector != "":
        contents[VECTOR] = vector
    return contents


def _is_id(type_: pa.DataType) -> bool:
    return bool(pat.is_integer(type_) or storage_type(type_) == pa.string() or pat.is_null(type_))


def _is_text(type_: pa.DataType) -> bool:
    return bool(not pat.is_nested(type_) and storage_type(type_) != pa.binary())


def _is_file(type_: pa.DataType) -> bool:
    plain = storage_type(type_)
    is_media_struct = pat.is_struct(type_) and {"bytes", "path"} & {field.name for field in type_}
    return bool(is_media_struct or plain in (pa.string(), pa.binary()) or pat.is_null(type_))


def _is_vector(type_: pa.DataType) -> bool:
    if pat.is_fixed_size_list(type_) or pat.is_list(type_) or pat.is_large_list(type_):
        value = type_.value_type
        return bool(pat.is_floating(value) or pat.is_integer(value) or pat.is_null(value))
    return bool(storage_type(type_) == pa.string() or pat.is_null(type_))


_ID = (_is_id, "text or integers")
_FITS: dict[str, tuple[Callable[[pa.DataType], bool], str]] = {
    TEXT: (_is_text, "text"),
    **dict.fromkeys(MEDIA, (_is_file, "paths, bytes or data URIs")),
    VECTOR: (_is_vector, "lists of numbers"),
}
