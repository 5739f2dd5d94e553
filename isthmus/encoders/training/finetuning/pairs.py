"""Pairs to fine-tune by: contents that belong together, and those that cannot be used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isthmus.data.media import MediaStore
from isthmus.data.pairs import PairReader
from isthmus.data.sources import Source
from isthmus.data.table_reader import open_sources
from isthmus.data.template import TextTemplate
from isthmus.digests import digest
from isthmus.encoders.decoding import decode
from isthmus.encoders.training.distillation.inputs import check_text
from isthmus.errors import InvalidInput, InvalidMapping, InvalidMedia
from isthmus.schema import IMAGE, TEXT, Modality

if TYPE_CHECKING:
    from isthmus.encoders.backends.torch_encoder import TorchEncoder


Rows = npt.NDArray[np.int64]
Pairs = npt.NDArray[np.int64]  # shape (n_pairs, 2): rows of contents
LEARNING: Final = 0
CHOOSING: Final = 1
MEASURING: Final = 2
LARGE_GROUP: Final = 0.05  # of all contents: so many that hang together are told apart one by one

OTHER: Final = "other"
LEAST: Final = 10


@dataclass(frozen=True)
class ContentPairs:
    """Distinct contents, and which of them belong together.

    Attributes
    ----------
    modalities : list of str
        Of each content.
    values : list of str
        Texts, or references of pictures.
    digests : list of bytes
        Of each content.
    pairs : numpy.ndarray
        int64, shape (n_pairs, 2): rows of contents; none twice.
    ordered : bool
        Whether the two sides of a pair differ in kind, as text and picture do.
    rows_read : int
        How many were given.
    problems : tuple of (int, str)
        Row number and what is wrong with it, for those that cannot be used.
    media : MediaStore, optional
        Reads pictures.
    """

    modalities: list[Modality]
    values: list[str]
    digests: list[bytes]
    pairs: Pairs
    ordered: bool
    rows_read: int
    problems: tuple[tuple[int, str], ...] = ()
    media: MediaStore | None = None

    def __len__(self) -> int:
        return len(self.values)

    def load(self, rows: Iterable[int]) -> list[Any]:
        """Give contents as an encoder takes them: texts, or decoded pictures."""
        return [self._load(row) for row in rows]

    def _load(self, row: int) -> Any:
        if self.modalities[row] == TEXT or self.media is None:
            return self.values[row]
        return decode(self.modalities[row], self.media.read(self.values[row]))


def gather_pairs(
    given: Any,
    folder: Path,
    *,
    text: str | None = None,
    other: str | None = None,
    image: str | None = None,
) -> ContentPairs:
    """Gather pairs of files, frames or lists.

    Parameters
    ----------
    given : list of (str, str); or path, list of those, table, frame, or list of dicts
        Two texts that belong together; or rows with a text and another text, or a picture.
    folder : Path
        Where pictures go that come as bytes.
    text : str, optional
        Column or template of the text, ``text`` by default.
    other : str, optional
        Column or template of the text that belongs to it, ``other`` by default.
    image : str, optional
        Column of the picture that belongs to it, in the place of `other`.

    Raises
    ------
    InvalidInput
        If too few can be used; what is wrong with single rows is kept in
        `ContentPairs.problems`.
    InvalidMapping
        If a column is absent.
    """
    if other and image:
        raise InvalidInput("a text belongs to another text or to a picture: give one of the two")
    media = MediaStore(folder)
    found = _Found(media)
    if image:
        for pair in PairReader(given, text, image):
            found.add((TEXT, pair.text), (IMAGE, pair.image))
    else:
        for first, second in _texts(given, text, other):
            found.add((TEXT, first), (TEXT, second))
    return found.finish(ordered=bool(image))


class _Found:
    """Pairs as they come, each content and each pair of them once."""

    def __init__(self, media: MediaStore) -> None:
        self._media = media
        self._rows: dict[bytes, int] = {}
        self._contents: list[tuple[Modality, str, bytes]] = []
        self._pairs: dict[tuple[int, int], None] = {}
        self._problems: list[tuple[int, str]] = []
        self._count = 0

    def add(self, first: tuple[Modality, Any], second: tuple[Modality, Any]) -> None:
        try:
            checked = self._check(*first), self._check(*second)
        except (InvalidInput, InvalidMedia) as error:
            self._problems.append((self._count, str(error)))
        else:
            a, b = (self._row(content) for content in checked)
            if a == b:
                self._problems.append((self._count, "is twice the same"))
            elif (b, a) not in self._pairs:
                self._pairs[a, b] = None
        self._count += 1

    def finish(self, *, ordered: bool) -> ContentPairs:
        if len(self._pairs) < LEAST:
            shown = "; ".join(f"row {row}: {what}" for row, what in self._problems[:3])
            raise InvalidInput(
                f"{len(self._pairs)} distinct pairs of {self._count} rows can be used to "
                f"fine-tune, and at least {LEAST} are needed{f' ({shown})' if shown else ''}"
            )
        return ContentPairs(
            [modality for modality, _, _ in self._contents],
            [value for _, value, _ in self._contents],
            [key for _, _, key in self._contents],
            np.array(list(self._pairs), np.int64),
            ordered,
            self._count,
            tuple(self._problems),
            self._media,
        )

    def _row(self, content: tuple[Modality, str, bytes]) -> int:
        row = self._rows.setdefault(content[2], len(self._rows))
        if row == len(self._contents):
            self._contents.append(content)
        return row

    def _check(self, modality: Modality, content: Any) -> tuple[Modality, str, bytes]:
        if modality == TEXT:
            return (modality, *check_text(content))
        if not content:
            raise InvalidInput("there is no picture")
        reference = self._media.put_inline(content)
        data = self._media.read(reference)
        decode(modality, data)
        return modality, reference, digest(data)


def _texts(given: Any, text: str | None, other: str | None) -> Iterator[Sequence[Any]]:
    if isinstance(given, (list, tuple)) and all(
        isinstance(one, (tuple, list)) and len(one) == 2 for one in given
    ):
        yield from given
        return
    templates = TextTemplate(text or TEXT), TextTemplate(other or OTHER)
    for source in open_sources(given):
        yield from _columns(source, *templates)


def _columns(
    source: Source, first: TextTemplate, second: TextTemplate
) -> Iterator[tuple[str | None, str | None]]:
    wanted = list(dict.fromkeys([*first.fields, *second.fields]))
    for name in wanted:
        if name not in source.schema.names:
            raise InvalidMapping(
                f"{source.name} has no column {name!r}, only {', '.join(source.schema.names)}; "
                "name the two that belong together with text (--text) and other (--other), or "
                "image (--image)"
            )
    for batch in source.batches():
        columns = pa.Table.from_batches([batch]).select(wanted).to_pydict()
        yield from zip(first.render_columns(columns), second.render_columns(columns), strict=True)


def draw_parts(keys: Sequence[bytes], choosing: float, held_out: float, seed: int) -> Rows:
    """Give the part of each key, by its digest: the same whatever else is given.

    Parameters
    ----------
    keys : sequence of bytes
        What decides; equal keys fall into one part.
    choosing, held_out : float
        Shares of the parts `CHOOSING` and `MEASURING`; the rest is for `LEARNING`.
    seed : int
        Of the draw.

    Examples
    --------
    >>> draw_parts([b"a", b"b", b"a"], 0.4, 0.4, 0).tolist()
    [2, 1, 2]
    """
    salt = seed.to_bytes(8, "little", signed=True)
    draws = np.array([int.from_bytes(digest(salt + key)[:8], "little") for key in keys]) / 2.0**64
    parts = np.full(len(keys), LEARNING, np.int64)
    parts[draws < choosing + held_out] = CHOOSING
    parts[draws < held_out] = MEASURING
    return parts


def keys_by_pairs(digests: Sequence[bytes], pairs: Pairs) -> list[bytes]:
    """Give a key for each content, so that what hangs together by pairs is kept together.

    Where most hangs together with most, as items that users share do, every content has a key of
    its own, and pairs across two parts are of no use.

    Parameters
    ----------
    digests : sequence of bytes
        Of each content.
    pairs : numpy.ndarray
        int64, shape (n_pairs, 2).
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(digests)
    links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    groups = connected_components(links, directed=False)[1]
    if np.bincount(groups, minlength=1).max() > max(LARGE_GROUP * count, 2):
        return list(digests)
    least: dict[int, bytes] = {}
    for group, own in zip(groups.tolist(), digests, strict=True):
        least[group] = min(own, least.get(group, own))
    return [least[group] for group in groups.tolist()]


def pairs_within(pairs: Pairs, parts: Rows, part: int) -> Pairs:
    """Give the pairs both of whose contents are in a part."""
    within: Pairs = pairs[(parts[pairs] == part).all(axis=1)]
    return within


class Examples:
    """The contents of the pairs, then the texts to hold on to.

    Parameters
    ----------
    contents : ContentPairs
        The pairs.
    anchors : sequence of str
        Texts of other domains.

    Attributes
    ----------
    modalities : list of str
        Of each content.
    """

    def __init__(self, contents: ContentPairs, anchors: Sequence[str]) -> None:
        self._contents, self._anchors = contents, list(anchors)
        texts: list[Modality] = ["text"] * len(self._anchors)
        self.modalities: list[Modality] = [*contents.modalities, *texts]

    def __len__(self) -> int:
        return len(self.modalities)

    @property
    def anchor_rows(self) -> range:
        """The rows of the texts to hold on to."""
        return range(len(self._contents), len(self))

    def load(self, rows: Iterable[int]) -> list[Any]:
        """Give contents as an encoder takes them."""
        own = len(self._contents)
        return [
            self._anchors[row - own] if row >= own else self._contents.load([row])[0]
            for row in rows
        ]

    def prepare(self, encoder: TorchEncoder) -> list[Any]:
        """Tokenise all texts at once; pictures are too large for that, and stay None."""
        rows = [row for row, modality in enumerate(self.modalities) if modality == "text"]
        prepared: list[Any] = [None] * len(self)
        tokens = encoder.prepare(self.load(rows), "text") if rows else []
        for row, own in zip(rows, tokens, strict=True):
            prepared[row] = own
        return prepared
