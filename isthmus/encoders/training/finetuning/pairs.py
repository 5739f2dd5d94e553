"""Training data of fine-tuning: contents that belong together, their splits, and anchor texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isthmus.data.inputs import TypedSource, open_typed
from isthmus.data.media import MediaStore
from isthmus.data.pairs import PairReader
from isthmus.data.template import TextTemplate
from isthmus.digests import digest
from isthmus.encoders.decoding import decode
from isthmus.encoders.training.distillation.inputs import check_text
from isthmus.encoders.training.retrieval_quality import Rows
from isthmus.errors import InvalidInput, InvalidMapping, InvalidMedia, listed
from isthmus.schema import IMAGE, TEXT, Modality

if TYPE_CHECKING:
    from isthmus.encoders.backends.torch_encoder import TorchEncoder

Pairs = npt.NDArray[np.int64]  # shape (n_pairs, 2): rows of contents

TRAINING: Final = 0
VALIDATION: Final = 1
TEST: Final = 2

OTHER: Final = "other"
MIN_PAIRS: Final = 10
LARGE_COMPONENT: Final = 0.05  # share of all contents from which a component is split


@dataclass(frozen=True)
class ContentPairs:
    """Distinct contents, and which of them belong together.

    Attributes
    ----------
    modalities : list of str
        Modality of each content.
    values : list of str
        Texts, or references of images.
    digests : list of bytes
        Digest of each content.
    pairs : numpy.ndarray
        int64, shape (n_pairs, 2): distinct pairs of rows of contents.
    ordered : bool
        Whether the two sides of a pair differ in kind, as text and image do.
    rows_read : int
        Number of rows given.
    problems : tuple of (int, str)
        Number and error of each row that cannot be used.
    media : MediaStore, optional
        Reads images.
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
        """Return contents as an encoder takes them: texts, or decoded images."""
        return [self._load(row) for row in rows]

    def _load(self, row: int) -> Any:
        if self.modalities[row] == TEXT or self.media is None:
            return self.values[row]
        return decode(self.modalities[row], self.media.read(self.values[row]))


class TrainingContents:
    """The contents of the pairs, followed by the anchor texts.

    Parameters
    ----------
    contents : ContentPairs
        The pairs.
    anchors : sequence of str
        Texts of other domains.

    Attributes
    ----------
    modalities : list of str
        Modality of each content.
    """

    def __init__(self, contents: ContentPairs, anchors: Sequence[str]) -> None:
        self._contents, self._anchors = contents, list(anchors)
        texts: list[Modality] = ["text"] * len(self._anchors)
        self.modalities: list[Modality] = [*contents.modalities, *texts]

    def __len__(self) -> int:
        return len(self.modalities)

    @property
    def anchor_rows(self) -> range:
        """Rows of the anchor texts."""
        return range(len(self._contents), len(self))

    def load(self, rows: Iterable[int]) -> list[Any]:
        """Return contents as an encoder takes them."""
        first = self.anchor_rows.start
        return [
            self._anchors[row - first] if row >= first else self._contents.load([row])[0]
            for row in rows
        ]

    def tokenize(self, encoder: TorchEncoder) -> list[Any]:
        """Return the tokens of all texts by row; images, too large to keep prepared, are None."""
        rows = [row for row, modality in enumerate(self.modalities) if modality == "text"]
        prepared: list[Any] = [None] * len(self)
        tokens = encoder.prepare(self.load(rows), "text") if rows else []
        for row, ids in zip(rows, tokens, strict=True):
            prepared[row] = ids
        return prepared


def gather_pairs(
    given: Any,
    folder: Path,
    *,
    text: str | None = None,
    other: str | None = None,
    image: str | None = None,
) -> ContentPairs:
    """Gather the distinct pairs of files, frames or lists.

    Parameters
    ----------
    given : list of (str, str); or path, list of those, table, frame, or list of dicts
        Two texts that belong together; or rows with a text and another text, or an image.
    folder : Path
        Folder for images that are given as bytes.
    text : str, optional
        Column or template of the text, ``text`` by default.
    other : str, optional
        Column or template of the text that belongs to it, ``other`` by default.
    image : str, optional
        Column of the image that belongs to it, instead of `other`.

    Raises
    ------
    InvalidInput
        If fewer than 10 pairs can be used. Single rows that cannot be used are listed in
        `ContentPairs.problems`.
    InvalidMapping
        If a column is absent.
    """
    if other and image:
        raise InvalidInput("a text belongs to another text or to a picture: give one of the two")
    collector = _PairCollector(MediaStore(folder))
    if image:
        for pair in PairReader(given, text, image):
            collector.add((TEXT, pair.text), (IMAGE, pair.image))
    else:
        for first, second in _read_texts(given, text, other):
            collector.add((TEXT, first), (TEXT, second))
    return collector.finish(ordered=bool(image))


class _PairCollector:
    """Collects distinct contents and distinct pairs, and the errors of rows."""

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
        if len(self._pairs) < MIN_PAIRS:
            shown = "; ".join(f"row {row}: {what}" for row, what in self._problems[:3])
            raise InvalidInput(
                f"{len(self._pairs)} distinct pairs of {self._count} rows can be used to "
                f"fine-tune, and at least {MIN_PAIRS} are needed{f' ({shown})' if shown else ''}"
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


def _read_texts(given: Any, text: str | None, other: str | None) -> Iterator[Sequence[Any]]:
    if isinstance(given, (list, tuple)) and all(
        isinstance(one, (tuple, list)) and len(one) == 2 for one in given
    ):
        yield from given
        return
    templates = TextTemplate(text or TEXT), TextTemplate(other or OTHER)
    for source in open_typed(given):
        yield from _read_columns(source, *templates)


def _read_columns(
    source: TypedSource, first: TextTemplate, second: TextTemplate
) -> Iterator[tuple[str | None, str | None]]:
    names = list(dict.fromkeys([*first.fields, *second.fields]))
    for name in names:
        if name not in source.schema.names:
            raise InvalidMapping(
                f"{source.name} has no column {name!r}, only {listed(source.schema.names)}; "
                "name the two that belong together with text (--text) and other (--other), or "
                "image (--image)"
            )
    for batch in source.batches():
        columns = pa.Table.from_batches([batch]).select(names).to_pydict()
        yield from zip(first.render_columns(columns), second.render_columns(columns), strict=True)


def assign_splits(keys: Sequence[bytes], validation: float, test: float, seed: int) -> Rows:
    """Return the split of each key; it depends on its digest and the seed alone.

    Parameters
    ----------
    keys : sequence of bytes
        Equal keys fall into one split.
    validation, test : float
        Shares of the splits `VALIDATION` and `TEST`; the rest is `TRAINING`.
    seed : int
        Random seed.

    Examples
    --------
    >>> assign_splits([b"a", b"b", b"a"], 0.4, 0.4, 0).tolist()
    [2, 1, 2]
    """
    salt = seed.to_bytes(8, "little", signed=True)
    hashes = np.array([int.from_bytes(digest(salt + key)[:8], "little") for key in keys]) / 2.0**64
    splits = np.full(len(keys), TRAINING, np.int64)
    splits[hashes < validation + test] = VALIDATION
    splits[hashes < test] = TEST
    return splits


def component_keys(digests: Sequence[bytes], pairs: Pairs) -> list[bytes]:
    """Return a key for each content, equal for contents that pairs connect.

    Where one component holds a large share of all contents, as with items that users share, every
    content has a key of its own, and pairs across two splits are not used.

    Parameters
    ----------
    digests : sequence of bytes
        Digest of each content.
    pairs : numpy.ndarray
        int64, shape (n_pairs, 2).
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(digests)
    edges = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    components = connected_components(edges, directed=False)[1]
    if np.bincount(components, minlength=1).max() > max(LARGE_COMPONENT * count, 2):
        return list(digests)
    keys: dict[int, bytes] = {}
    for component, content in zip(components.tolist(), digests, strict=True):
        keys[component] = min(content, keys.get(component, content))
    return [keys[component] for component in components.tolist()]


def pairs_of_split(pairs: Pairs, splits: Rows, split: int) -> Pairs:
    """Return the pairs whose contents are both in a split."""
    selected: Pairs = pairs[(splits[pairs] == split).all(axis=1)]
    return selected
