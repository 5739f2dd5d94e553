"""What a caller says of an input: how a CSV is written, and which columns are what.

Each argument is stated here, once; the requests of the verbs inherit them.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field, field_validator

from isthmus.data.times import TimeUnit
from isthmus.ids import id_problem
from isthmus.requests import ListedNames, Request

NO_QUOTE: Final = "none"
DecimalMark = Literal[".", ","]


class CsvOptions(Request):
    """How a CSV is written; what is None is found out."""

    delimiter: str | None = Field(
        default=None, description="Character between the values of a CSV; tab for a tab."
    )
    encoding: str | None = Field(
        default=None, description="Encoding of a CSV, such as utf-8 or cp1252."
    )
    quote: str | None = Field(
        default=None,
        description="Character around values of a CSV, or none where quotes mean nothing.",
    )
    decimal: DecimalMark = Field(
        default=".",
        description="Mark before the fraction of a number in a CSV: a point, or a comma as in 1,5 "
        "and 1.234,5.",
    )
    null_values: ListedNames = Field(
        default=(),
        description="Texts of a CSV that stand for a missing value (NA,-), beside the empty one; "
        "not in columns of ids.",
    )

    @field_validator("delimiter")
    @classmethod
    def _require_one_character(cls, value: str | None) -> str | None:
        if value is None:
            return None
        delimiter = {"\\t": "\t", "tab": "\t"}.get(value, value)
        if len(delimiter) != 1 or delimiter in '"\r\n':
            raise ValueError(f"delimiter is {value!r}; give one character, or tab for a tab")
        return delimiter

    @field_validator("quote")
    @classmethod
    def _require_quote(cls, value: str | None) -> str | None:
        if value is not None and value != NO_QUOTE and len(value) != 1:
            raise ValueError(f"quote is {value!r}; give one character, or {NO_QUOTE}")
        return value

    @field_validator("encoding")
    @classmethod
    def _require_encoding(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                "".encode(value)
            except LookupError as error:
                raise ValueError(
                    f"there is no encoding {value!r}; give one such as utf-8 or cp1252"
                ) from error
        return value


DEFAULTS: Final = CsvOptions()


class TableOptions(CsvOptions):
    """How a table is written, where that is not plain."""

    time_unit: TimeUnit | None = Field(
        default=None,
        description="Unit of numeric times: s, ms, us or ns since 1970, or yyyymmdd.",
    )


class IdColumn(Request):
    """Which column is the id of an item."""

    id: str | None = Field(
        default=None,
        description="Column or template of the item id; by default that of the domain, else "
        "item_id.",
    )


class ItemColumns(IdColumn):
    """Which columns are an item's id, domain, text and media, and which become attributes.

    Every column without a role becomes a typed attribute. A text without a template is made of
    the column text, or else of title, name, attributes, genres, category and description, those
    that exist.
    """

    domain: str | None = Field(default=None, description="Domain of every item.")
    domain_column: str | None = Field(default=None, description="Column of the domain.")
    text: str | None = Field(
        default=None,
        description='Column or template of the text, such as "{title}. {genres}"; by default that '
        "of the domain.",
    )
    image: str | None = Field(
        default=None, description="Column of the image; by default that of the domain."
    )
    audio: str | None = Field(
        default=None, description="Column of the audio; by default that of the domain."
    )
    columns: ListedNames | None = Field(
        default=None, description="Columns to store as attributes (a,b,c); by default all."
    )
    exclude: ListedNames = Field(
        default=(), description="Columns not to store as attributes (a,b,c)."
    )

    @field_validator("domain")
    @classmethod
    def _require_domain(cls, value: str | None) -> str | None:
        """Return the domain of all items by the rule that those of a column follow."""
        problem = None if value is None else id_problem(value, "a domain")
        if problem is not None:
            raise ValueError(f"domain {problem}")
        return None if value is None else value.strip()


class UserColumns(Request):
    """Which column is the id of a user; every other column becomes a typed attribute."""

    user: str = Field(default="user_id", description="Column or template of the user id.")
    columns: ListedNames | None = Field(
        default=None, description="Columns to store as attributes (a,b,c); by default all."
    )
    exclude: ListedNames = Field(
        default=(), description="Columns not to store as attributes (a,b,c)."
    )


class InteractionColumns(Request):
    """Which columns are what in a log of interactions; every other column is ignored."""

    user: str = Field(default="user_id", description="Column or template of the user id.")
    item: str = Field(default="item_id", description="Column or template of the item id.")
    value: str | None = Field(
        default=None, description="Column of the value; by default value or rating, else 1."
    )
    time: str | None = Field(
        default=None, description="Column of the time; by default time or timestamp."
    )
    weight: str | None = Field(
        default=None, description="Column of the weight; by default weight, else 1."
    )
    event: str | None = Field(
        default=None, description="Kind of every event, such as view or purchase."
    )
    event_column: str | None = Field(
        default=None, description="Column of the kind of event; by default event."
    )
