"""Training contents: distinct texts or images, and the rows that cannot be used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from isthmus.data.inputs import TypedSource, open_typed
from isthmus.data.paths import require_file
from isthmus.data.template import TextTemplate
from isthmus.digests import digest
from isthmus.encoders.decoding import decode
from isthmus.encoders.training.retrieval_quality import Rows
from isthmus.errors import InvalidImage, InvalidInput, InvalidMapping, listed
from isthmus.schema import IMAGE, ITEM_ID, TEXT, Modality

IMAGE_FILES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
MIN_CONTENTS: Final = 20
MAX_LABEL_SIZE: Final = 20  # mean contents of a label up to which labels are held out whole


@dataclass(frozen=True)
class Contents:
    """Distinct contents of one modality.

    Attributes
    ----------
    modality : {"text", "image"}
        Modality of the contents.
    values : list of str
        Texts, or paths of images.
    digests : list of bytes
        Digest of each text, or of the bytes of each image.
    labels : list of str or None
        Label of each content, empty without one; contents of one label belong together.
    rows_read : int
        Number of rows given.
    problems : tuple of (int, str)
        Number and error of each row that cannot be used.
    item_rows : dict of str to int
        Row of the content of each item id, where ids were asked for.
    """

    modality: Modality
    values: list[str]
    digests: list[bytes]
    labels: list[str] | None
    rows_read: int
    problems: tuple[tuple[int, str], ...]
    item_rows: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)

    def load(self, rows: Iterable[int]) -> list[Any]:
        """Return contents as an encoder takes them: texts, or decoded images."""
        if self.modality == "text":
            return [self.values[row] for row in rows]
        return [decode("image", Path(self.values[row]).read_bytes()) for row in rows]

    def split(self, share: float, seed: int) -> tuple[Rows, Rows]:
        """Split the rows into training and held-out ones.

        The digest of a content decides, so that it falls on the same side whatever else is given.
        Labels of few contents are held out whole: otherwise few held-out contents would have
        another of their label.

        Parameters
        ----------
        share : float
            Share that is held out.
        seed : int
            Seed of the split.

        Returns
        -------
        tuple of numpy.ndarray
            int64: training rows and held-out rows.

        Raises
        ------
        InvalidInput
            If a side would have fewer than two contents.
        """
        by_label = self.labels is not None and len(self) <= MAX_LABEL_SIZE * len(set(self.labels))
        labels = self.labels if by_label and self.labels is not None else [""] * len(self)
        keys = [
            label.encode() or content for label, content in zip(labels, self.digests, strict=True)
        ]
        salt = seed.to_bytes(8, "little", signed=True)
        hashes = np.array([int.from_bytes(digest(salt + key)[:8], "little") for key in keys])
        out = hashes < share * 2.0**64
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
    with_ids: bool = False,
) -> Contents:
    """Gather the distinct contents of files, frames or lists.

    Parameters
    ----------
    given : str, Path or list of Path; or anything that holds items; or list of str or None
        Files of rows, ``.txt`` files with a text a line, image files and folders of them; a
        table or rows; or the texts themselves, in a list.
    modality : {"text", "image"}
        Modality of the contents.
    text : str, optional
        Template or column of the text; by default the column ``text``.
    label : str, optional
        Column of the label.
    with_ids : bool, default False
        Whether the column item_id is read.

    Raises
    ------
    InvalidInput
        If fewer than 20 distinct contents can be used. Single rows that cannot be used are listed
        in `Contents.problems`.
    """
    read = _read_texts if modality == "text" else _read_images
    collector = _Collector(modality)
    for content, label_value, item_id in read(given, text, _ExtraColumns(label, with_ids)):
        collector.add(content, label_value, item_id)
    return collector.finish(label is not None)


class _ExtraColumns(NamedTuple):
    """Columns that are read beside the contents: a label, and item ids."""

    label: str | None
    with_ids: bool

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return [*([self.label] if self.label else []), *([ITEM_ID] if self.with_ids else [])]


Row = tuple[Any, Any, Any]
"""A content, its label and its item id."""


class _Collector:
    """Collects distinct contents, and the errors of rows."""

    def __init__(self, modality: Modality) -> None:
        self._modality: Modality = modality
        self._contents: dict[bytes, tuple[str, str]] = {}
        self._problems: list[tuple[int, str]] = []
        self._digest_of_item: dict[str, bytes] = {}
        self._count = 0

    def add(self, content: Any, label: Any, item_id: Any = None) -> None:
        try:
            value, key = (check_text if self._modality == "text" else _check_image)(content)
        except (InvalidInput, InvalidImage, OSError) as error:
            self._problems.append((self._count, str(error)))
        else:
            self._contents.setdefault(key, (value, "" if label is None else str(label)))
            if item_id is not None:
                self._digest_of_item[str(item_id)] = key
        self._count += 1

    def finish(self, labelled: bool) -> Contents:
        if len(self._contents) < MIN_CONTENTS:
            shown = "; ".join(f"row {row}: {what}" for row, what in self._problems[:3])
            raise InvalidInput(
                f"{len(self._contents)} distinct contents of {self._count} rows can be used to "
                f"distill, and at least {MIN_CONTENTS} are needed{f' ({shown})' if shown else ''}"
            )
        rows = {key: row for row, key in enumerate(self._contents)}
        return Contents(
            self._modality,
            [value for value, _ in self._contents.values()],
            list(self._contents),
            [label for _, label in self._contents.values()] if labelled else None,
            self._count,
            tuple(self._problems),
            {item_id: rows[key] for item_id, key in self._digest_of_item.items()},
        )


def check_text(content: Any) -> tuple[str, bytes]:
    """Return a text without surrounding white space, and its digest; raise `InvalidInput`."""
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
    decode("image", data)
    return str(content), digest(data)


def _read_texts(given: Any, text: str | None, extra: _ExtraColumns) -> Iterator[Row]:
    if _are_texts(given):
        for name in extra.columns:
            raise InvalidInput(f"a list of texts has no column {name!r}; give rows, or files")
        yield from ((one, None, None) for one in given)
        return
    for one in _each(given):
        if isinstance(one, (str, Path)) and Path(one).suffix.lower() == ".txt":
            for name in extra.columns:
                raise InvalidInput(f"{one} has no column {name!r}; it is plain text")
            lines = (
                require_file(Path(one)).read_text("utf-8", errors="surrogateescape").splitlines()
            )
            yield from ((line, None, None) for line in lines)
        else:
            for source in open_typed(one):
                yield from _columns(source, TextTemplate(text or TEXT), extra)


def _read_images(given: Any, text: str | None, extra: _ExtraColumns) -> Iterator[Row]:
    for one in _each(given):
        path = Path(one) if isinstance(one, (str, Path)) else None
        if path is not None and not extra.columns and path.is_dir():
            files = sorted(f for f in path.iterdir() if f.suffix.lower() in IMAGE_FILES)
            yield from ((file, None, None) for file in files)
        elif one is None or (path is not None and path.suffix.lower() in IMAGE_FILES):
            yield path, None, None
        else:
            for source in open_typed(one):
                folder = source.folder or Path()
                for name, label, item_id in _columns(source, TextTemplate(text or IMAGE), extra):
                    yield (folder / name if name else name), label, item_id


def _columns(source: TypedSource, template: TextTemplate, extra: _ExtraColumns) -> Iterator[Row]:
    names = [*template.fields, *extra.columns]
    for name in names:
        if name not in source.schema.names:
            raise InvalidMapping(
                f"{source.name} has no column {name!r}, only "
                f"{listed(source.schema.names, name)}; name the text with text (--text) "
                "and the label with label (--label)"
            )
    for batch in source.batches():
        columns = pa.Table.from_batches([batch]).select(list(dict.fromkeys(names))).to_pydict()
        empty = [None] * len(batch)
        labels = columns[extra.label] if extra.label else empty
        ids = columns[ITEM_ID] if extra.with_ids else empty
        yield from zip(template.render_columns(columns), labels, ids, strict=True)


def _each(given: Any) -> Sequence[Any]:
    if isinstance(given, (list, tuple)) and all(
        one is None or isinstance(one, (str, Path)) for one in given
    ):
        return given
    return [given]


def _are_texts(given: Any) -> bool:
    """Return whether this is a list of texts, not one of files (`Path`) or of rows (dicts)."""
    return isinstance(given, (list, tuple)) and not any(
        isinstance(one, (Path, Mapping)) for one in given
    )
