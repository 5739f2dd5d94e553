"""The pair reader: files or rows of texts and images that belong together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from isthmus.data.convert import to_objects
from isthmus.data.item_files import resolve_file
from isthmus.data.sources import Source
from isthmus.data.table_reader import TableReader
from isthmus.data.template import TextTemplate
from isthmus.errors import InvalidMapping, listed
from isthmus.schema import DOMAIN, IMAGE, TEXT


class Pair(NamedTuple):
    """One text and one image.

    Attributes
    ----------
    label : str
        Its name in error messages: the input and the row.
    group : str
        The set it belongs to: its domain, or the name of its file, with the path where several
        files have one name.
    text : str or None
        The text.
    image : str, bytes or None
        A reference to the image, or its bytes.
    """

    label: str
    group: str
    text: str | None
    image: str | bytes | None


class PairReader(TableReader[None]):
    """Pairs of one input.

    Parameters
    ----------
    pairs : object
        Anything that `isthmus.data.inputs.open_sources` takes, with a text and an image
        column.
    text : str, optional
        Column or template of the text, ``text`` by default.
    image : str, optional
        Column of the image, ``image`` by default: a path relative to the file, or bytes.

    Raises
    ------
    InvalidMapping
        If a column is absent; the message names the file.
    """

    def __init__(self, pairs: Any, text: str | None = None, image: str | None = None) -> None:
        self._template = TextTemplate(text or TEXT)
        self._image = image or IMAGE
        super().__init__(pairs, self._check_columns)
        stems = [Path(source.name).stem for source, _ in self._sources]
        self._groups = [
            stem if stems.count(stem) == 1 else _from_here(source.name)
            for stem, (source, _) in zip(stems, self._sources, strict=True)
        ]

    def __iter__(self) -> Iterator[Pair]:
        for group, (source, _) in zip(self._groups, self._sources, strict=True):
            row = 0
            for chunk in source.read():
                columns = [to_objects(values) for values in chunk.columns.values()]
                for values in zip(*columns, strict=True):
                    named = dict(zip(source.columns, values, strict=True))
                    yield self._pair(source, group, row, named)
                    row += 1

    def _check_columns(self, source: Source) -> None:
        absent = {*self._template.fields, self._image} - set(source.columns)
        if absent:
            raise InvalidMapping(
                f"{source.name} has no column {', '.join(sorted(absent))}; it has "
                f"{listed(source.columns)}: name the columns with --text and --image"
            )

    def _pair(self, source: Source, group: str, row: int, values: dict[str, Any]) -> Pair:
        image = values[self._image]
        group = values.get(DOMAIN) or group
        if isinstance(image, str):
            image = resolve_file(image, source.folder)
        return Pair(
            f"{source.name} {source.place(row)}", str(group), self._template.render(values), image
        )


def _from_here(name: str) -> str:
    """Return a path relative to the working folder where it lies below it."""
    path = Path(name)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else name
