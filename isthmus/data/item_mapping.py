"""The field mapping: which columns of an input are an item's id, domain, text and media."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.convert import Misfits
from isthmus.data.ids import MISSING, IdTemplate, to_id_column
from isthmus.data.sources import Chunk
from isthmus.data.template import TextTemplate
from isthmus.errors import InvalidMapping, listed
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
    """The roles of columns; every other column becomes a typed attribute.

    Parameters
    ----------
    id : str, default "item_id"
        Column of the item id, or a template such as ``"film-{movie_id}"``.
    domain : str, optional
        One domain for the whole input, instead of `domain_column`.
    domain_column : str, optional
        Column of the domain; default ``domain``.
    text : str, optional
        Template or column of the text. Default: the column ``text`` if there is one, else the
        columns title, name, attributes, genres, category and description, those that exist.
    image : str, optional
        Column of the image: a path (relative to the file that names it), bytes, a data URI or,
        where allowed, an http(s) address. Default: the column ``image`` if there is one.
    audio : str, optional
        Column of the audio, likewise; only in a space that encodes audio.
    columns : sequence of str, optional
        Columns to store as attributes, of those without a role; all by default.
    exclude : sequence of str, default ()
        Columns not to store as attributes; a template may read them all the same.
    """

    id: str = ITEM_ID
    domain: str | None = None
    domain_column: str | None = None
    text: str | None = None
    image: str | None = None
    audio: str | None = None
    columns: Sequence[str] | None = None
    exclude: Sequence[str] = ()

    @property
    def id_columns(self) -> tuple[str, ...]:
        """Columns of ids, in which every text but the empty one is a value."""
        return IdTemplate(self.id).fields

    def resolve(
        self, names: Sequence[str], source: str, modalities: Collection[str]
    ) -> ResolvedMapping:
        """Return the mapping for an input with these columns, with the defaults filled in.

        Parameters
        ----------
        names : sequence of str
            The columns of the input.
        source : str
            Name of the input, for error messages.
        modalities : collection of str
            Modalities that the space encodes.

        Raises
        ------
        InvalidMapping
            If a named column is absent, if the name of an attribute is reserved, or if audio is
            named and is none of the modalities. The message lists the columns.
        """
        columns = media_columns(modalities)
        resolved = ResolvedMapping(
            id=IdTemplate(self.id),
            domain=self.domain,
            domain_column=None if self.domain else self.domain_column or DOMAIN,
            text=self._text(names),
            media=self._media(names, columns),
            columns=None if self.columns is None else tuple(self.columns),
            exclude=tuple(self.exclude),
        )
        for column in resolved.columns_read:
            if column not in names:
                hint = "; give --domain NAME or --domain-column" if column == DOMAIN else ""
                raise InvalidMapping(
                    f"{source} has no column {column!r}{hint}; its columns are: "
                    f"{listed(names, column)}"
                )
        for column in resolved.attributes(names):
            why = why_no_attribute(column, columns)
            if why is not None:
                raise _bad_attribute(source, column, why)
        return resolved

    def _media(self, names: Sequence[str], columns: Sequence[Modality]) -> dict[Modality, str]:
        if self.audio and AUDIO not in columns:
            raise InvalidMapping(
                f"this space has no encoder of audio for the column {self.audio!r}; choose one "
                "when the space is created, such as --encoder clap/NAME"
            )
        named: dict[Modality, str | None] = {"image": self.image, "audio": self.audio}
        by_modality = {m: named[m] or (m if m in names else None) for m in columns}
        return {m: column for m, column in by_modality.items() if column}

    def _text(self, names: Sequence[str]) -> TextTemplate | None:
        if self.text:
            return TextTemplate(self.text)
        if TEXT in names:
            return TextTemplate(TEXT)
        present = [name for name in DEFAULT_TEXT_COLUMNS if name in names]
        return TextTemplate(". ".join(f"{{{name}}}" for name in present)) if present else None


def why_no_attribute(name: str, media: Collection[str] = ()) -> str | None:
    """Return why an attribute cannot have a name, in words that follow it; None where it can.

    Examples
    --------
    >>> why_no_attribute("score"), why_no_attribute("a.b")
    (None, 'since a dot means a field of a struct')
    """
    if name in {*RESERVED, *media} or name.startswith(INTERNAL_PREFIX):
        return "which Isthmus uses itself"
    if "." in name:
        return "since a dot means a field of a struct"
    if "`" in name:
        return "since a backquote ends a name in a filter"
    return None if name.strip() and name.isprintable() else "which cannot be written in a filter"


def _bad_attribute(source: str, column: str, why: str) -> InvalidMapping:
    return InvalidMapping(
        f"{source}: an attribute cannot be called {column!r}, {why}; rename the column, or leave "
        f"it out: --exclude {shlex.quote(column)}"
    )


@dataclass(frozen=True)
class ResolvedMapping:
    """A mapping with the defaults filled in for one input."""

    id: IdTemplate
    domain: str | None
    domain_column: str | None
    text: TextTemplate | None
    media: Mapping[Modality, str]
    columns: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()

    @property
    def columns_read(self) -> tuple[str, ...]:
        """Columns that the mapping reads."""
        named = [*self.id.fields, self.domain_column, *self.media.values()]
        return tuple(
            dict.fromkeys([n for n in named if n] + list(self.text.fields if self.text else ()))
        )

    @property
    def text_columns(self) -> frozenset[str]:
        """Columns that are text as they stand: those of the id and of the text."""
        return frozenset((*self.id.fields, *(self.text.fields if self.text else ())))

    @property
    def contents(self) -> frozenset[str]:
        """Modalities that the input has a column for."""
        return frozenset({*self.media, *([TEXT] if self.text else [])})

    def domains(self, chunk: Chunk) -> tuple[pa.Array, Misfits]:
        """Return the domain of each row of a chunk, null where it has none, and why."""
        if self.domain_column is None:
            return pa.repeat(pa.scalar(self.domain, pa.string()), len(chunk)), []
        names, problems = to_id_column(chunk.columns[self.domain_column])
        column = f"column {self.domain_column!r}"
        return pc.utf8_trim_whitespace(names), [
            (
                row,
                f"no domain in {self.domain_column!r}"
                if why.startswith(MISSING)
                else f"{column} {why.replace('an id', 'a domain')}",
            )
            for row, why in problems
        ]

    def attributes(self, names: Sequence[str]) -> list[str]:
        """Return the columns that become attributes: all without a role.

        Columns that a template reads stay attributes; a column that is the id or ``text`` as it
        stands does not.
        """
        taken = {*self.media.values(), self.domain_column}
        if self.id.template in names:
            taken.add(self.id.template)
        if self.text and self.text.template == TEXT:
            taken.add(TEXT)
        # A constant domain replaces a column of that name.
        if self.domain:
            taken.add(DOMAIN)
        taken.update(self.exclude)
        stored = [name for name in names if name not in taken]
        return stored if self.columns is None else [name for name in stored if name in self.columns]
