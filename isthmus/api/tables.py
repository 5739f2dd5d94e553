"""Tables in bodies: which operations take them, and under which media types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from isthmus.data.request import CsvOptions

NDJSON: Final = "application/x-ndjson"
ARROW: Final = "application/vnd.apache.arrow.stream"
PARQUET: Final = "application/vnd.apache.parquet"
CSV: Final = "text/csv"
TSV: Final = "text/tab-separated-values"
SEPARATED: Final = (CSV, TSV)
OF_CSV: Final = tuple(CsvOptions.model_fields)  # arguments that only these have

# The argument that a table is, by operation.
TABLES: Final[Mapping[str, str]] = {
    "upsert": "items",
    "update": "items",
    "add_users": "source",
    "add_interactions": "source",
}
SUFFIXES: Final[Mapping[str, str]] = {
    NDJSON: ".jsonl",
    ARROW: ".arrows",
    PARQUET: ".parquet",
    CSV: ".csv",
    TSV: ".tsv",
}
"""Suffixes of files that hold a body."""

MEDIA_TYPES: Final[Mapping[str, str]] = {
    ".csv": CSV,
    ".tsv": TSV,
    ".parquet": PARQUET,
    ".pq": PARQUET,
    ".jsonl": NDJSON,
    ".ndjson": NDJSON,
    ".json": NDJSON,
    ".arrow": ARROW,
    ".feather": ARROW,
}
"""Media types that files are sent as, by suffix."""
