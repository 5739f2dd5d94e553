"""Query vectors: what a user looks for, in the blocks of a space."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.data.media import MediaStore
from isthmus.encoders.alignment import Alignment
from isthmus.encoders.decoding import check_decoded, decode
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.fusion import BlockVectors, fuse
from isthmus.encoders.stack import Block
from isthmus.errors import InvalidInput
from isthmus.index.settings import SpaceSettings
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import MEDIA, Modality

BlockQuery = dict[str, FloatArray]


def contents_of(text: str | None, image: Any, audio: Any = None) -> dict[Modality, Any]:
    """Check what is looked for, and decode its files.

    Raises
    ------
    InvalidInput
        If there is nothing, or no such file.
    InvalidMedia
        If the image or the audio cannot be decoded.
    """
    contents: dict[Modality, Any] = {}
    if text is not None and text.strip():
        contents["text"] = text
    for modality, given in zip(MEDIA, (image, audio), strict=True):
        if given is not None:
            contents[modality] = _open(modality, given)
    if not contents:
        raise InvalidInput(
            "nothing to search for; give a text, an image, audio, a vector or items to be like"
        )
    return contents


def kind_of(contents: Mapping[str, Any]) -> str:
    """Name the kind of a query that holds some contents, or items alone.

    Examples
    --------
    >>> kind_of({"text": "red boots", "image": None}), kind_of({})
    ('text to item', 'item to item')
    """
    given = [modality for modality, content in contents.items() if content is not None]
    return f"{given[0]} to item" if len(given) == 1 else "item to item"


def encode_query(
    settings: SpaceSettings,
    encoder_of: Callable[[Modality], Encoder],
    contents: Mapping[Modality, Any],
    alignment: Alignment | None = None,
) -> BlockQuery:
    """Encode contents into a unit vector for each block they speak to, shape (dim,)."""
    one = np.ones(1, bool)
    parts = {
        modality: BlockVectors(encoder_of(modality).encode([content], modality), one)
        for modality, content in contents.items()
    }
    fused = fuse(settings.layout, settings.fusion, parts, alignment)
    return {name: part.vectors[0] for name, part in fused.items() if part.present[0]}


def given_vector(blocks: tuple[Block, ...], vector: Any) -> BlockQuery:
    """Take a vector as it is given, at unit norm, for the block whose length it has.

    Raises
    ------
    InvalidInput
        If it fits no block, or is not finite, or zero.
    """
    values = np.asarray(vector, np.float32)
    fitting = [block for block in blocks if values.shape == (block.dim,)]
    norm = float(np.linalg.norm(values))
    if len(fitting) != 1 or not np.isfinite(norm) or norm == 0:
        wanted = " or ".join(f"({b.dim},) for {b.name}" for b in blocks)
        raise InvalidInput(
            f"vector of shape {values.shape} and norm {norm:g}; give a finite one of {wanted}"
        )
    return {fitting[0].name: values / np.float32(norm)}


def given_vectors(blocks: tuple[Block, ...], vectors: Any) -> tuple[str, FloatArray]:
    """Take vectors of shape (n, dim) as given, at unit norm, and name the block they fit.

    Raises
    ------
    InvalidInput
        If they fit no block, or one of them is not finite, or zero; the message names it.
    """
    values = np.asarray(vectors, np.float32)
    fitting = [block for block in blocks if values.ndim == 2 and values.shape[1] == block.dim]
    if len(fitting) != 1:
        wanted = " or ".join(f"(n, {b.dim}) for {b.name}" for b in blocks)
        raise InvalidInput(f"vectors of shape {values.shape}; give {wanted}")
    norms = np.sqrt(np.einsum("nd,nd->n", values, values))[:, None]
    bad = np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))
    if len(bad):
        raise InvalidInput(
            f"vector {bad[0]} has norm {norms[bad[0], 0]:g}; give finite vectors that are not zero"
        )
    return fitting[0].name, values / norms


def _open(modality: Modality, given: Any) -> Any:
    if isinstance(given, (str, Path)):
        if not Path(given).is_file():
            raise InvalidInput(f"no {modality} file {given}")
        return decode(modality, MediaStore(Path()).read(str(given)))
    if isinstance(given, bytes):
        return decode(modality, given)
    return check_decoded(modality, given)
