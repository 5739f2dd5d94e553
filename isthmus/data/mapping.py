"""The field mapping: which columns of an input are an item's id, domain, text and files."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.column_types import as_text
from isthmus.data.template import TextTemplate
from isthmus.errors import InvalidMapping
from isthmus.schema import (
    AUDIO,
    DOMAIN,
    INTERNAL_PREFIX,
    ITEM_ID,
    RESERVED,
    TEXT,
    Modality,
    media_columns,
)

DEFAULT_TEXT_COLUMNS = ("title", "name", "attributes", "genres", "category", "description")


@dataclass(frozen=True)
class FieldMapping:
    """Which columns are what; every other column is kept as a typed attribute.

    Parameters
    ----------
    id : str, default "item_id"
        Column of the item id, or a template such as ``"film-{movie_id}"``.
    domain : str, optional
        One domain for the whole input. Takes the place of `domain_column`.
    domain_column : str, optional
        Column of the domain; default ``domain``.
    text : str, optional
        Template or column of the text. Default: the column ``text`` if there is one, else the
        columns title, name, attributes, genres, category and description, as present.
    image : str, optional
        Column of the image: a path (relative to the file that names it), bytes, a data URI or,
        where switched on, an http(s) address. Default: the column ``image`` if there is one.
    audio : str, optional
        Column of the audio, likewise; in a space that encodes audio.
    """

    id: str = ITEM_ID
    domain: str | None = None
    domain_column: str | None = None
    text: str | None = None
    image: str | None = None
    audio: str | None = None

    def resolve(
        self, names: Sequence[str], source: str, modalities: Collection[str]
    ) -> ResolvedMapping:
        """Check the mapping against an input's columns and fill in the defaults.

        Raises
        ------
        InvalidMapping
            If a named column is absent, or a name is reserved; the message lists the columns. Or if
            audio is named and is none of the modalities.
        """
        columns = media_columns(modalities)
        resolved = ResolvedMapping(
            id=TextTemplate(self.id),
            domain=self.domain,
            domain_column=None if self.domain else self.domain_column or DOMAIN,
            text=self._text(names),
            media=self._media(names, columns),
        )
        listed = ", ".join(names)
        for column in resolved.reads:
            if column not in names:
                hint = "; give --domain NAME or --domain-column" if column == DOMAIN else ""
                raise InvalidMapping(
                    f"{source} has no column {column!r}{hint}; its columns are: {listed}"
                )
        for column in resolved.attributes(names):
            if column in {*RESERVED, *columns} or column.startswith(INTERNAL_PREFIX):
                raise _unfit(source, column, "which Isthmus uses itself")
            if "." in column or not column:
                raise _unfit(source, column, "since a dot means a field of a struct")
        return resolved

    def _media(self, names: Sequence[str], columns: Sequence[Modality]) -> dict[Modality, str]:
        if self.audio and AUDIO not in columns:
            raise InvalidMapping(
                f"this space has no encoder of audio for the column {self.audio!r}; choose one "
                "when the space is created, such as --encoder clap/NAME"
            )
        given: dict[Modality, str | None] = {"image": self.image, "audio": self.audio}
        found = {m: given[m] or (m if m in names else None) for m in columns}
        return {m: column for m, column in found.items() if column}

    def _text(self, names: Sequence[str]) -> TextTemplate | None:
        if self.text:
            return TextTemplate(self.text)
        if TEXT in names:
            return TextTemplate(TEXT)
        present = [name for name in DEFAULT_TEXT_COLUMNS if name in names]
        return TextTemplate(". ".join(f"{{{name}}}" for name in present)) if present else None


def _unfit(source: str, column: str, why: str) -> InvalidMapping:
    return InvalidMapping(
        f"{source}: an attribute cannot be called {column!r}, {why}; rename the column"
    )


@dataclass(frozen=True)
class ResolvedMapping:
    """A mapping that fits one input."""

    id: TextTemplate
    domain: str | None
    domain_column: str | None
    text: TextTemplate | None
    media: Mapping[Modality, str]

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns that the mapping reads."""
        named = [*self.id.fields, self.domain_column, *self.media.values()]
        return tuple(
            dict.fromkeys([n for n in named if n] + list(self.text.fields if self.text else ()))
        )

    @property
    def verbatim(self) -> tuple[str, ...]:
        """Columns whose spelling matters, so that a CSV's ``007`` stays ``007``."""
        named = (*self.id.fields, self.domain_column, *self.media.values())
        return tuple(name for name in named if name)

    def domains(self, table: pa.Table) -> Any:
        """Give the domain of each row of a table."""
        if self.domain_column is None:
            return pa.array([self.domain] * len(table), pa.string())
        return pc.utf8_trim_whitespace(as_text(table.column(self.domain_column)))

    def attributes(self, names: Sequence[str]) -> list[str]:
        """Columns kept as attributes: all but the id, domain and files, and a plain text column."""
        taken = {*self.media.values(), self.domain_column}
        if self.id.template in names:
            taken.add(self.id.template)
        if self.text and self.text.template == TEXT:
            taken.add(TEXT)
        # A constant domain replaces a column of that name.
        if self.domain:
            taken.add(DOMAIN)
        return [name for name in names if name not in taken]
