"""A tower: the half of a model that takes one modality."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from isthmus.encoders.image import to_rgb
from isthmus.encoders.runtime import Limits

if TYPE_CHECKING:
    import torch
    from PIL import Image

Rows = npt.NDArray[np.int64]
Tensors = dict[str, "torch.Tensor"]
Forward = Callable[..., "torch.Tensor"]


class Tower(ABC):
    """Prepares content of one modality, batches it, and runs it through a model.

    Attributes
    ----------
    forward : callable
        The model: named tensors of a batch in, vectors of shape (n, dim) out.
    components : mapping of str to str
        What changes a vector, besides the weights.
    chunk : int
        How much content is prepared at once, ahead of the model.
    """

    forward: Forward
    components: Mapping[str, str]
    chunk: int

    @abstractmethod
    def prepare(self, content: Sequence[Any]) -> list[Any]:
        """Do the work that needs no model; called from several threads at once."""

    @abstractmethod
    def batches(self, prepared: Sequence[Any], limits: Limits) -> Iterator[Rows]:
        """Divide prepared values into batches: positions, each of them once."""

    @abstractmethod
    def collate(self, batch: Sequence[Any]) -> Tensors:
        """Make one set of tensors of a batch."""


@dataclass
class TextTower(Tower):
    """Texts, batched by length: a batch is as wide as its longest text and no wider.

    Attributes
    ----------
    tokenize : callable
        Texts to token ids, truncated but not padded; safe to call from several threads.
    forward : callable
        ``forward(input_ids, attention_mask)``, both of shape (n, length).
    components : mapping of str to str
        Tokenizer, maximal length, pooling.
    pad_id : int
        Token that fills a row.
    width : int, optional
        Length every row is padded to, for models that were trained so.
    pad_left : bool
        Whether padding stands in front.
    chunk : int
        How many texts are tokenised at once.
    tokenizer : tokenizers.Tokenizer, optional
        What is behind `tokenize`, where it is one of that library.
    """

    tokenize: Callable[[Sequence[str]], list[list[int]]]
    forward: Forward
    components: Mapping[str, str]
    pad_id: int = 0
    width: int | None = None
    pad_left: bool = False
    chunk: int = 2_048
    tokenizer: Any = None

    def prepare(self, content: Sequence[str]) -> list[list[int]]:
        """Tokenise texts; one without tokens becomes padding, since a model reads something."""
        return [ids or [self.pad_id] for ids in self.tokenize(list(content))]

    def batches(self, prepared: Sequence[list[int]], limits: Limits) -> Iterator[Rows]:
        """Divide texts by length, the longest first."""
        lengths = np.array([self.width or len(ids) for ids in prepared], np.int64)
        return batches_by_length(lengths, limits.tokens, limits.texts)

    def collate(self, batch: Sequence[list[int]]) -> Tensors:
        """Pad the rows of a batch to one length."""
        import torch

        lengths = np.array([len(ids) for ids in batch])
        width = self.width or max(1, int(lengths.max()))
        mask = np.arange(width) < lengths[:, None]
        mask = mask[:, ::-1] if self.pad_left else mask
        ids = np.full(mask.shape, self.pad_id, np.int64)
        ids[mask] = np.concatenate([np.asarray(row, np.int64) for row in batch])
        return {
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy(mask.astype(np.int64)),
        }


@dataclass
class ImageTower(Tower):
    """Images, in batches of one size.

    Attributes
    ----------
    transform : callable
        An RGB image to named arrays of the model's input shape.
    forward : callable
        Called with the arrays' names.
    components : mapping of str to str
        Size, crop, interpolation, normalisation.
    chunk : int
        How many images are resized at once.
    """

    transform: Callable[[Image.Image], Mapping[str, npt.NDArray[Any]]]
    forward: Forward
    components: Mapping[str, str]
    chunk: int = 64

    def prepare(self, content: Sequence[Image.Image]) -> list[Mapping[str, npt.NDArray[Any]]]:
        """Bring images of any mode to the model's input shape."""
        return [self.transform(to_rgb(image)) for image in content]

    def batches(self, prepared: Sequence[Any], limits: Limits) -> Iterator[Rows]:
        """Divide images in order."""
        for start in range(0, len(prepared), limits.images):
            yield np.arange(start, min(start + limits.images, len(prepared)))

    def collate(self, batch: Sequence[Mapping[str, npt.NDArray[Any]]]) -> Tensors:
        """Stack the arrays of a batch."""
        import torch

        return {
            name: torch.from_numpy(np.stack([image[name] for image in batch])) for name in batch[0]
        }


def batches_by_length(
    lengths: npt.NDArray[np.int64], max_tokens: int, max_rows: int
) -> Iterator[Rows]:
    """Divide rows by length so that batches hold few tokens of padding.

    Parameters
    ----------
    lengths : numpy.ndarray
        int64, shape (n,): tokens of each row.
    max_tokens : int
        Most tokens in a batch, padding included; a longer row makes a batch of its own.
    max_rows : int
        Most rows in a batch.

    Yields
    ------
    numpy.ndarray
        Positions of a batch's rows, the longest first.

    Examples
    --------
    >>> [rows.tolist() for rows in batches_by_length(np.array([2, 9, 2, 3]), 6, 8)]
    [[1], [3, 0], [2]]
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        size = max(1, min(max_rows, max_tokens // longest))
        yield order[start : start + size]
        start += size
