"""What a student learns from: distinct texts or images, and those that cannot be used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isthmus.data.sources import Source
from isthmus.data.table_reader import open_sources
from isthmus.data.template import TextTemplate
from isthmus.digests import digest
from isthmus.encoders.image import open_image
from isthmus.errors import InvalidImage, InvalidInput, InvalidMapping
from isthmus.schema import IMAGE, ITEM_ID, TEXT, Modality

Rows = npt.NDArray[np.int64]

IMAGE_FILES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
LEAST: Final = 20
FEW_ALIKE: Final = 20  # contents a label, up to which a label is held out with all its contents


@dataclass(frozen=True)
class Contents:
    """Distinct contents of one modality.

    Attributes
    ----------
    modality : {"text", "image"}
        What they are.
    values : list of str
        Texts, or paths of images.
    digests : list of bytes
        Of each text, or of the bytes of each image.
    labels : list of str or None
        The label of each, empty where it has none; contents of one label belong together.
    rows_read : int
        How many were given.
    problems : tuple of (int, str)
        Row number and what is wrong with it, for those that cannot be used.
    places : dict of str to int
        For each item id the content that it has, where ids were asked for.
    """

    modality: Modality
    values: list[str]
    digests: list[bytes]
    labels: list[str] | None
    rows_read: int
    problems: tuple[tuple[int, str], ...]
    places: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)

    def load(self, rows: Iterable[int]) -> list[Any]:
        """Give contents as an encoder takes them: texts, or decoded images."""
        if self.modality == "text":
            return [self.values[row] for row in rows]
        return [open_image(Path(self.values[row]).read_bytes()) for row in rows]

    def divide(self, share: float, seed: int) -> tuple[Rows, Rows]:
        """Part the rows into those to learn from and those to measure on.

        The digest decides, so the same content falls on the same side whatever else is given.
        Where labels have few contents each, they are held out whole: else a measurement would
        seldom find two that belong together.

        Returns
        -------
        tuple of numpy.ndarray
            int64 rows to learn from, and held out.
        """
        by_label = self.labels is not None and len(self) <= FEW_ALIKE * len(set(self.labels))
        labels = self.labels if by_label and self.labels is not None else [""] * len(self)
        keys = [label.encode() or own for label, own in zip(labels, self.digests, strict=True)]
        salt = seed.to_bytes(8, "little", signed=True)
        draws = np.array([int.from_bytes(digest(salt + key)[:8], "little") for key in keys])
        out = draws < share * 2.0**64
        if out.sum() < 2 or (~out).sum() < 2:
            raise InvalidInput(
                f"of {len(self)} distinct contents, {int(out.sum())} would be held out; "
                "give more contents, or another share with held_out (--held-out)"
            )
        return np.flatnonzero(~out), np.flatnonzero(out)


def gather_contents(
    given: Any,
    modality: Modality,
    text: str | None = None,
    label: str | None = None,
    *,
    identified: bool = False,
) -> Contents:
    """Gather the distinct contents of files, frames or lists.

    Parameters
    ----------
    given : str, Path or list of Path; or anything that holds items; or list of str or None
        Files of rows, ``.txt`` files with a text a line, image files and folders of them; a
        table or rows; or the texts themselves, in a list.
    modality : {"text", "image"}
        What the student takes.
    text : str, optional
        Template or column of the text; by default the column ``text``.
    label : str, optional
        Column of the label.
    identified : bool, default False
        Whether the rows have an item_id that is wanted.

    Raises
    ------
    InvalidInput
        If nothing, or too little, can be used; what is wrong with single contents is kept in
        `Contents.problems`.
    """
    take = _texts if modality == "text" else _images
    found = _Found(modality)
    for content, own, item_id in take(given, text, _Beside(label, identified)):
        found.add(content, own, item_id)
    return found.finish(label is not None)


class _Beside(NamedTuple):
    """What is wanted beside the contents: the column of a label, and item ids."""

    label: str | None
    identified: bool

    @property
    def columns(self) -> list[str]:
        """The columns."""
        return [*([self.label] if self.label else []), *([ITEM_ID] if self.identified else [])]


Row = tuple[Any, Any, Any]
"""A content, its label and its item id."""


class _Found:
    """Contents as they come, each of them once."""

    def __init__(self, modality: Modality) -> None:
        self._modality: Modality = modality
        self._seen: dict[bytes, tuple[str, str]] = {}
        self._problems: list[tuple[int, str]] = []
        self._owners: dict[str, bytes] = {}
        self._count = 0

    def add(self, content: Any, label: Any, item_id: Any = None) -> None:
        try:
            value, key = (check_text if self._modality == "text" else _check_image)(content)
        except (InvalidInput, InvalidImage, OSError) as error:
            self._problems.append((self._count, str(error)))
        else:
            self._seen.setdefault(key, (value, "" if label is None else str(label)))
            if item_id is not None:
                self._owners[str(item_id)] = key
        self._count += 1

    def finish(self, labelled: bool) -> Contents:
        if len(self._seen) < LEAST:
            shown = "; ".join(f"row {row}: {what}" for row, what in self._problems[:3])
            raise InvalidInput(
                f"{len(self._seen)} distinct contents of {self._count} rows can be used to "
                f"distill, and at least {LEAST} are needed{f' ({shown})' if shown else ''}"
            )
        at = {key: place for place, key in enumerate(self._seen)}
        return Contents(
            self._modality,
            [value for value, _ in self._seen.values()],
            list(self._seen),
            [label for _, label in self._seen.values()] if labelled else None,
            self._count,
            tuple(self._problems),
            {item_id: at[key] for item_id, key in self._owners.items()},
        )


def check_text(content: Any) -> tuple[str, bytes]:
    """Give a text without white space around, and its digest, or raise `InvalidInput`."""
    if content is None:
        raise InvalidInput("is null")
    if not isinstance(content, str):
        raise InvalidInput(f"is a {type(content).__name__}, not a text")
    text = content.strip()
    if not text:
        raise InvalidInput("is empty")
    try:
        return text, digest(text)
    except UnicodeEncodeError as error:
        raise InvalidInput("is no valid Unicode") from error


def _check_image(content: Any) -> tuple[str, bytes]:
    if content is None or not str(content).strip():
        raise InvalidInput("is null" if content is None else "is empty")
    data = Path(content).read_bytes()
    open_image(data)
    return str(content), digest(data)


def _texts(given: Any, text: str | None, beside: _Beside) -> Iterator[Row]:
    if _are_texts(given):
        for name in beside.columns:
            raise InvalidInput(f"a list of texts has no column {name!r}; give rows, or files")
        yield from ((one, None, None) for one in given)
        return
    for one in _each(given):
        if isinstance(one, (str, Path)) and Path(one).suffix.lower() == ".txt":
            for name in beside.columns:
                raise InvalidInput(f"{one} has no column {name!r}; it is plain text")
            lines = Path(one).read_text("utf-8", errors="surrogateescape").splitlines()
            yield from ((line, None, None) for line in lines)
        else:
            for source in open_sources(one):
                yield from _columns(source, TextTemplate(text or TEXT), beside)


def _images(given: Any, text: str | None, beside: _Beside) -> Iterator[Row]:
    for one in _each(given):
        path = Path(one) if isinstance(one, (str, Path)) else None
        if path is not None and not beside.columns and path.is_dir():
            files = sorted(f for f in path.iterdir() if f.suffix.lower() in IMAGE_FILES)
            yield from ((file, None, None) for file in files)
        elif one is None or (path is not None and path.suffix.lower() in IMAGE_FILES):
            yield path, None, None
        else:
            for source in open_sources(one):
                folder = source.folder or Path()
                for name, own, item_id in _columns(source, TextTemplate(text or IMAGE), beside):
                    yield (folder / name if name else name), own, item_id


def _columns(source: Source, template: TextTemplate, beside: _Beside) -> Iterator[Row]:
    wanted = [*template.fields, *beside.columns]
    for name in wanted:
        if name not in source.schema.names:
            raise InvalidMapping(
                f"{source.name} has no column {name!r}, only "
                f"{', '.join(source.schema.names)}; name the text with text (--text) "
                "and the label with label (--label)"
            )
    for batch in source.batches():
        columns = pa.Table.from_batches([batch]).select(list(dict.fromkeys(wanted))).to_pydict()
        nothing = [None] * len(batch)
        labels = columns[beside.label] if beside.label else nothing
        ids = columns[ITEM_ID] if beside.identified else nothing
        yield from zip(template.render_columns(columns), labels, ids, strict=True)


def _each(given: Any) -> Sequence[Any]:
    if isinstance(given, (list, tuple)) and all(
        one is None or isinstance(one, (str, Path)) for one in given
    ):
        return given
    return [given]


def _are_texts(given: Any) -> bool:
    """Tell a list of texts from one of files (`Path`) or of rows (dicts)."""
    return isinstance(given, (list, tuple)) and not any(
        isinstance(one, (Path, Mapping)) for one in given
    )
