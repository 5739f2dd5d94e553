"""The field mapping: which columns of an input are an item's id, domain, text and media."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, SkipValidation

from isthmus.data.convert import Misfits
from isthmus.data.domain_mapping import VECTOR_ROLE, DomainMapping, Mappings, agreed
from isthmus.data.given_vectors import GIVEN_COLUMN
from isthmus.data.ids import MISSING, IdTemplate, to_id_column
from isthmus.data.request import ItemColumns
from isthmus.data.sources import Chunk
from isthmus.data.template import TextTemplate
from isthmus.errors import InvalidMapping, command_in, listed
from isthmus.schema import (
    AUDIO,
    DOMAIN,
    INTERNAL_PREFIX,
    ITEM_ID,
    MODALITIES,
    RESERVED,
    TEXT,
    Modality,
    media_columns,
)

DEFAULT_TEXT_COLUMNS = ("title", "name", "attributes", "genres", "category", "description")


class FieldMapping(ItemColumns):
    """The roles of columns, with what is remembered of the domains that are there."""

    remembered: SkipValidation[Mappings] = Field(
        default_factory=dict, description="What made the items of each domain that is there."
    )
    vectors: Mapping[str, str] = Field(
        default_factory=dict,
        description="By name of a named vector, the column of its vectors. By default those of "
        "the domain, else for a named vector that is called as a column, but not as a modality, "
        "this column.",
    )
    update: bool = Field(
        default=False,
        description="The input has changes of known items: it needs no domain, and makes no new "
        "decisions.",
    )

    @property
    def id_columns(self) -> tuple[str, ...]:
        """Columns of ids, in which every text but the empty one is a value."""
        templates = [self.id] if self.id else [self._agreed("id"), ITEM_ID]
        return tuple(f for template in templates if template for f in IdTemplate(template).fields)

    def resolve(
        self,
        names: Sequence[str],
        source: str,
        modalities: Collection[str],
        vector_names: Collection[str] = (),
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
        vector_names : collection of str
            Named vectors whose vectors are given.

        Raises
        ------
        InvalidMapping
            If a named column is absent, if the name of an attribute is reserved, or if audio is
            named and is none of the modalities. The message lists the columns.
        """
        columns = media_columns(modalities)
        resolved = ResolvedMapping(
            id=IdTemplate(self._id(names)),
            domain=self.domain,
            domain_column=self._domain_column(names),
            text=self._text(names),
            texts=self._texts(names),
            names=tuple(names),
            has_stored_ids=self._has_stored_ids(names),
            media=self._media(names, columns),
            columns=self.columns,
            exclude=self.exclude,
            vectors=self._vectors(names, vector_names),
        )
        for column in resolved.columns_needed:
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
        by_modality = {m: named[m] or self._medium(m, names) for m in columns}
        return {m: column for m, column in by_modality.items() if column}

    def _vectors(self, names: Sequence[str], vector_names: Collection[str]) -> dict[str, str]:
        for name in self.vectors:
            if name not in vector_names:
                raise InvalidMapping(
                    f"the space takes no vectors for {name!r}, only for "
                    f"{listed(sorted(vector_names), name) or 'none'}; name them when the space is "
                    f"created: {command_in(None, f'create --vectors {name}=DIM')}"
                )
        found: dict[str, str] = {}
        for name in vector_names:
            default = None if name in MODALITIES else name
            stored = (self._agreed(f"{VECTOR_ROLE}{name}"), default)
            column = self.vectors.get(name) or next((c for c in stored if c in names), None)
            if column:
                found[name] = column
        return found

    def _medium(self, modality: Modality, names: Sequence[str]) -> str | None:
        remembered = self._agreed(modality)
        return next((name for name in (remembered, modality) if name in names), None)

    @property
    def _stored(self) -> Mappings:
        """What is remembered of the domains that the input may have."""
        if self.domain is None:
            return self.remembered
        return {d: mapping for d, mapping in self.remembered.items() if d == self.domain}

    def _agreed(self, role: str) -> str | None:
        return agreed(self._stored.values(), role)

    def _id(self, names: Sequence[str]) -> str:
        remembered = self._agreed("id")
        if self.id or not remembered:
            return self.id or ITEM_ID
        is_there = set(IdTemplate(remembered).fields) <= set(names)
        return remembered if is_there or ITEM_ID not in names else ITEM_ID

    def _has_stored_ids(self, names: Sequence[str]) -> bool:
        """Return whether the input names items by the ids of the space, and not as before."""
        stored = [mapping.id for mapping in self._stored.values() if mapping.id]
        return self.id is None and bool(stored) and self._id(names) != self._agreed("id")

    def _domain_column(self, names: Sequence[str]) -> str | None:
        if self.domain is not None:
            return None
        column = self.domain_column or DOMAIN
        return None if self.update and not self.domain_column and column not in names else column

    def _texts(self, names: Sequence[str]) -> dict[str, TextTemplate]:
        """Return the remembered templates of domains whose text the input can change."""
        if self.text:
            return {}
        templates = {d: TextTemplate(m.text) for d, m in self._stored.items() if m.text}
        return {d: t for d, t in templates.items() if set(t.fields) & set(names)}

    def _text(self, names: Sequence[str]) -> TextTemplate | None:
        """Return the template of domains without a remembered one."""
        if self.text:
            return TextTemplate(self.text)
        has_stored = (
            self.domain is not None
            and "text" in self._stored.get(self.domain, DomainMapping()).roles
        )
        if TEXT not in names and (self.update or has_stored):
            return None
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
    texts: Mapping[str, TextTemplate] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    has_stored_ids: bool = False  # where those of a domain are made of other columns
    columns: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    vectors: Mapping[str, str] = field(default_factory=dict)

    @property
    def columns_needed(self) -> tuple[str, ...]:
        """Columns that the input must have."""
        media = [*self.media.values(), *self.vectors.values()]
        named = [*self.id.fields, self.domain_column, *media]
        return tuple(
            dict.fromkeys([n for n in named if n] + list(self.text.fields if self.text else ()))
        )

    @property
    def text_columns(self) -> frozenset[str]:
        """Columns that are text as they stand: those of the id and of the text."""
        return frozenset((*self.id.fields, *(f for t in self._templates for f in t.fields)))

    @property
    def _templates(self) -> list[TextTemplate]:
        return [*([self.text] if self.text else []), *self.texts.values()]

    @property
    def gives_text(self) -> bool:
        """Whether rows of some domain get a text."""
        return bool(self._templates)

    def template_of(self, domain: str) -> TextTemplate | None:
        """Return the template of the text of a domain; None where the input gives none."""
        return self.texts.get(domain, self.text)

    def used(self, domain: str) -> DomainMapping:
        """Return what makes the items of a domain."""
        template = self.template_of(domain)
        return DomainMapping(
            id=None if self.has_stored_ids else self.id.template,
            text=template.template if template else None,
            image=self.media.get("image"),
            audio=self.media.get("audio"),
            vectors={n: c for n, c in self.vectors.items() if not c.startswith(GIVEN_COLUMN)},
        )

    def render_texts(self, chunk: Chunk, domains: pa.Array) -> tuple[list[str | None], list[bool]]:
        """Return the text of each row, and whether the input has every column that it reads.

        Columns that the input lacks count as empty.
        """
        texts: list[str | None] = [None] * len(chunk)
        whole = [False] * len(chunk)
        for domain, rows in rows_by_domain(domains):
            template = self.template_of(domain)
            if template is None:
                continue
            part = chunk if len(rows) == len(chunk) else chunk.take(rows)
            columns = {name: part.columns.get(name, [None] * len(rows)) for name in template.fields}
            is_whole = set(template.fields) <= set(self.names)
            for row, text in zip(rows, template.render_values(columns), strict=True):
                texts[row], whole[row] = text, is_whole
            for name in template.fields:
                for row in part.absent.get(name, ()):
                    whole[rows[row]] = False
        return texts, whole

    def domains(self, chunk: Chunk) -> tuple[pa.Array, Misfits]:
        """Return the domain of each row of a chunk, null where it has none, and why.

        Without a domain and without a column of domains, every domain is null.
        """
        if self.domain_column is None:
            return pa.repeat(pa.scalar(self.domain, pa.string()), len(chunk)), []
        names, problems = to_id_column(chunk.columns[self.domain_column], "a domain")
        column = f"column {self.domain_column!r}"
        return pc.utf8_trim_whitespace(names), [
            (
                row,
                f"no domain in {self.domain_column!r}"
                if why.startswith(MISSING)
                else f"{column} {why}",
            )
            for row, why in problems
        ]

    def attributes(self, names: Sequence[str]) -> list[str]:
        """Return the columns that become attributes: all without a role.

        Columns that a template reads stay attributes; a column that is the id or ``text`` as it
        stands does not.
        """
        taken = {*self.media.values(), *self.vectors.values(), self.domain_column}
        if self.id.template in names:
            taken.add(self.id.template)
        if TEXT in [template.template for template in self._templates]:
            taken.add(TEXT)
        # A constant domain replaces a column of that name.
        if self.domain:
            taken.add(DOMAIN)
        taken.update(self.exclude)
        stored = [name for name in names if name not in taken]
        return stored if self.columns is None else [name for name in stored if name in self.columns]


def rows_by_domain(domains: pa.Array) -> Iterator[tuple[str, list[int]]]:
    """Yield each domain and its rows; rows without one are left out.

    Examples
    --------
    >>> list(rows_by_domain(pa.array(["a", "b", None, "a"])))
    [('a', [0, 3]), ('b', [1])]
    """
    coded = domains.dictionary_encode()
    names = coded.dictionary.to_pylist()
    if len(names) == 1 and not coded.null_count:
        yield names[0], list(range(len(domains)))
        return
    rows: list[list[int]] = [[] for _ in names]
    for row, code in enumerate(coded.indices.to_pylist()):
        if code is not None:
            rows[code].append(row)
    yield from zip(names, rows, strict=True)
