"""The pair reader: files or rows of texts and pictures that belong together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from isthmus.data.media import DATA_URI, STORED, MediaStore, from_data_uri
from isthmus.data.source import Source, count_together
from isthmus.data.sources import open_sources
from isthmus.data.template import TextTemplate
from isthmus.errors import InvalidMapping
from isthmus.schema import DOMAIN, IMAGE, TEXT


class Pair(NamedTuple):
    """One text and one picture.

    Attributes
    ----------
    label : str
        What messages call it: the input and the row.
    group : str
        The set it belongs to: its domain, or the name of its file, with the path where several
        files have one name.
    text : str or None
        The text.
    image : str, bytes or None
        A reference to the picture, or its bytes.
    """

    label: str
    group: str
    text: str | None
    image: str | bytes | None


@dataclass
class PairReader:
    """Pairs of one input.

    Parameters
    ----------
    pairs : object
        Anything `isthmus.data.sources.open_sources` takes, with a text and an image column.
    text : str, optional
        Column or template of the text, ``text`` by default.
    image : str, optional
        Column of the picture, ``image`` by default: a path relative to the file, or bytes.

    Raises
    ------
    InvalidMapping
        If a column is absent; the message names the file.
    """

    pairs: Any
    text: str | None = None
    image: str | None = None

    def __post_init__(self) -> None:
        self._template = TextTemplate(self.text or TEXT)
        self._image = self.image or IMAGE
        self._sources = open_sources(self.pairs, [self._image])
        for source in self._sources:
            absent = {*self._template.fields, self._image} - set(source.schema.names)
            if absent:
                raise InvalidMapping(
                    f"{source.name} has no column {', '.join(sorted(absent))}; it has "
                    f"{', '.join(source.schema.names)}: name the columns with --text and --image"
                )
        stems = [Path(source.name).stem for source in self._sources]
        self._sets = [
            stem if stems.count(stem) == 1 else source.name
            for stem, source in zip(stems, self._sources, strict=True)
        ]

    @property
    def rows(self) -> int | None:
        """Number of pairs, where it is known without reading."""
        return count_together(self._sources)

    def __iter__(self) -> Iterator[Pair]:
        for name, source in zip(self._sets, self._sources, strict=True):
            row = 0
            for batch in source.batches():
                for values in batch.to_pylist():
                    yield self._pair(source, name, row, values)
                    row += 1

    def _pair(self, source: Source, name: str, row: int, values: dict[str, Any]) -> Pair:
        image = values[self._image]
        group = values.get(DOMAIN) or name
        if isinstance(image, str) and _is_relative(image):
            image = str((source.folder or Path()) / image.removeprefix("file://"))
        return Pair(f"{source.name} row {row}", str(group), self._template.render(values), image)


def put_in_reach(image: str | bytes, media: MediaStore) -> str:
    """Give a reference to a picture, keeping bytes that came without a file."""
    if isinstance(image, bytes):
        return media.put(image)
    return media.put(from_data_uri(image)) if image.startswith(DATA_URI) else image


def _is_relative(image: str) -> bool:
    return not image.startswith((DATA_URI, STORED, "http://", "https://"))
