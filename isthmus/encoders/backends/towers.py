"""Towers: the part of a model that takes one modality, with its preparation and batching."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from isthmus.encoders.audio import Samples, Waveform, Windows, resample, validated_waveform
from isthmus.encoders.backends.runtime import BatchLimits
from isthmus.encoders.encoder import Role
from isthmus.encoders.image import to_rgb
from isthmus.encoders.prompts import NO_PROMPTS, Prompts, without_prompts
from isthmus.encoders.text import cut_in_groups

if TYPE_CHECKING:
    import torch
    from PIL import Image

Rows = npt.NDArray[np.int64]
Arrays = Mapping[str, npt.NDArray[Any]]
Forward = Callable[..., "torch.Tensor"]
Behind = Callable[[str, Role], Mapping[str, Any]]

MIN_SECONDS = 0.1  # convolutions over time need some samples; a shorter clip is padded


class ModalityTower(ABC):
    """Prepares content of one modality, batches it, and runs it through a model.

    Attributes
    ----------
    forward : callable
        The model in PyTorch: the named tensors of a batch to vectors, shape (n, dim). Where another
        backend runs the model, it is not called.
    components : mapping of str to str
        Everything that changes a vector, besides the weights.
    chunk : int
        Number of contents that are prepared at once, ahead of the model.
    """

    forward: Forward
    components: Mapping[str, str]
    chunk: int

    @property
    @abstractmethod
    def takes_prompts(self) -> bool:
        """Whether contents can be encoded behind a prompt."""

    @property
    @abstractmethod
    def takes_instructions(self) -> bool:
        """Whether the prompt of queries has a place for an instruction."""

    @abstractmethod
    def for_queries(self, instruction: str | None = None) -> Self:
        """Return the tower of queries, with their prompt, or that of an instruction."""

    @abstractmethod
    def with_prompts(self, prompts: Mapping[str, str]) -> Self:
        """Return the tower with some prompts replaced, by role."""

    @abstractmethod
    def prepare(self, content: Sequence[Any]) -> list[Any]:
        """Do the work that needs no model; called from several threads at once."""

    def are_truncated(self, prepared: Sequence[Any]) -> list[bool]:
        """Return which prepared contents fill the input of the model: their end is cut off."""
        return [False] * len(prepared)

    def inputs(self, prepared: Any) -> Sequence[Any]:
        """Return the model inputs of one prepared content; the mean of their vectors counts."""
        return (prepared,)

    @abstractmethod
    def batches(self, inputs: Sequence[Any], limits: BatchLimits) -> Iterator[Rows]:
        """Divide model inputs into batches: positions, each of them once."""

    @abstractmethod
    def collate(self, batch: Sequence[Any]) -> Arrays:
        """Return the arrays of a batch of model inputs, by argument name of `forward`."""


@dataclass
class PromptedTower(ModalityTower):
    """A tower whose contents may have a prompt, another one for queries.

    Attributes
    ----------
    prompts : Prompts
        What precedes the contents of each role; part of the components.
    role : {"document", "query"}
        Role of the contents that `prepare` takes.
    behind : callable, optional
        Prompt and role to the attributes of the tower that differ behind them: what prepares
        contents, for models that place prompts themselves, and `forward`, for models whose vectors
        leave the tokens of the prompt out.
    """

    prompts: Prompts = field(default=NO_PROMPTS, kw_only=True)
    role: Role = field(default="document", kw_only=True)
    behind: Behind | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        self.components = {**without_prompts(self.components), **self.prompts.components}

    @property
    def takes_prompts(self) -> bool:
        """Whether contents can be encoded behind a prompt."""
        return self.behind is not None

    @property
    def takes_instructions(self) -> bool:
        """Whether the prompt of queries has a place for an instruction."""
        return self.prompts.takes_instructions

    def for_documents(self) -> Self:
        """Return the tower of documents, behind their prompt."""
        return replace(self, role="document")._placed()

    def for_queries(self, instruction: str | None = None) -> Self:
        """Return the tower of queries, with their prompt, or that of an instruction."""
        tower = replace(self, role="query")
        if instruction is not None and self.takes_instructions:
            # The instruction of a query is no part of the fingerprint: `components` stay.
            tower.prompts = self.prompts.instructed(instruction)
        return tower._placed()

    def with_prompts(self, prompts: Mapping[str, str]) -> Self:
        """Return the tower with some prompts replaced, by role."""
        return replace(self, prompts=self.prompts.replaced(prompts))._placed()

    def _placed(self) -> Self:
        """Set the attributes that differ behind the prompt of the role."""
        if self.behind is not None:
            for name, value in self.behind(self._prompt, self.role).items():
                setattr(self, name, value)
        return self

    @property
    def _prompt(self) -> str:
        """The prompt of the role."""
        prompt: str = getattr(self.prompts, self.role)
        return prompt


@dataclass
class TextTower(PromptedTower):
    """Texts, batched by length: a batch is as wide as its longest text and no wider.

    Attributes
    ----------
    tokenize : callable
        Texts to token ids, truncated but not padded; thread-safe.
    forward : callable
        ``forward(input_ids, attention_mask)``, both of shape (n, length).
    components : mapping of str to str
        Tokenizer, maximal length, pooling.
    pad_id : int
        Token that fills a row.
    width : int, optional
        Length that every row is padded to, for models that were trained so.
    pad_left : bool
        Whether the padding precedes the tokens.
    chunk : int
        Number of texts that are tokenised at once.
    tokenizer : tokenizers.Tokenizer, optional
        The tokenizer behind `tokenize`, if it is one of that library.
    joins_prompt : bool
        Whether a prompt and its text are tokenised as one string; else `behind` gives a `tokenize`
        that places the prompt.
    query_tower : TextTower, optional
        Another network for queries, for models that have one.
    """

    tokenize: Callable[[Sequence[str]], list[list[int]]]
    forward: Forward
    components: Mapping[str, str]
    pad_id: int = 0
    width: int | None = None
    pad_left: bool = False
    chunk: int = 2_048
    tokenizer: Any = None
    joins_prompt: bool = True
    query_tower: TextTower | None = None

    @property
    def takes_prompts(self) -> bool:
        """Texts can be encoded behind a prompt."""
        return True

    def for_queries(self, instruction: str | None = None) -> TextTower:
        """Return the tower of queries, with their prompt, or that of an instruction."""
        if self.query_tower is None:
            return super().for_queries(instruction)
        network = replace(self.query_tower, prompts=self.prompts)
        network.components = self.components
        return network.for_queries(instruction)

    def prepare(self, content: Sequence[str]) -> list[list[int]]:
        """Tokenise texts behind their prompt; one without tokens becomes one padding token."""
        prompt = self._prompt if self.joins_prompt else ""
        groups = cut_in_groups([prompt + text for text in content] if prompt else content)
        return [ids or [self.pad_id] for texts in groups for ids in self.tokenize(texts)]

    def are_truncated(self, prepared: Sequence[list[int]]) -> list[bool]:
        """Return which texts have as many tokens as the model takes."""
        length = self.components.get("max_length", "")
        most = int(length) if length.isdecimal() else None
        return [most is not None and len(ids) >= most for ids in prepared]

    def batches(self, inputs: Sequence[list[int]], limits: BatchLimits) -> Iterator[Rows]:
        """Divide texts by length, the longest first."""
        lengths = np.array([self.width or len(ids) for ids in inputs], np.int64)
        return batches_by_length(lengths, limits.tokens, limits.texts)

    def collate(self, batch: Sequence[list[int]]) -> Arrays:
        """Pad the rows of a batch to one length: two int64 arrays of shape (n, length)."""
        lengths = np.array([len(ids) for ids in batch])  # (n,)
        width = self.width or max(1, int(lengths.max()))
        mask = np.arange(width) < lengths[:, None]  # (n, width)
        mask = mask[:, ::-1] if self.pad_left else mask
        ids = np.full(mask.shape, self.pad_id, np.int64)
        ids[mask] = np.concatenate([np.asarray(row, np.int64) for row in batch])
        return {"input_ids": ids, "attention_mask": mask.astype(np.int64)}


@dataclass
class ImageTower(PromptedTower):
    """Images, in batches of one shape.

    Attributes
    ----------
    transform : callable
        An RGB image to named arrays of the model's input shape.
    forward : callable
        The model; its arguments have the names of the arrays.
    components : mapping of str to str
        Size, crop, interpolation, normalisation.
    chunk : int
        Number of images that are resized at once.
    has_batch_axis : bool
        Whether the arrays of an image have the axis of a batch of one, of any length where they are
        its patches; those of several images are joined along it.
    """

    transform: Callable[[Image.Image], Arrays]
    forward: Forward
    components: Mapping[str, str]
    chunk: int = 64
    has_batch_axis: bool = False

    def prepare(self, content: Sequence[Image.Image]) -> list[Arrays]:
        """Bring images of any mode to the model's input shape."""
        return [self.transform(to_rgb(image)) for image in content]

    def batches(self, inputs: Sequence[Any], limits: BatchLimits) -> Iterator[Rows]:
        """Divide images by shape; where they are tokens of a text too, few tokens at a time."""
        return batches_by_shape(inputs, limits.images, limits.tokens)

    def collate(self, batch: Sequence[Arrays]) -> Arrays:
        """Join the arrays of a batch."""
        return concatenate_arrays(batch) if self.has_batch_axis else stack_arrays(batch)


@dataclass
class AudioTower(PromptedTower):
    """Audio: resampled, cut into windows, and batched with windows of the same shape.

    A batch is never padded, because padding changes the vectors of some models (those with a norm
    over time).

    Attributes
    ----------
    extract : callable
        Samples of one window to named arrays; thread-safe.
    rate : int
        Samples a second that the model was trained with.
    windows : Windows
        How a clip is cut.
    forward : callable
        The model; its arguments have the names of the arrays.
    components : mapping of str to str
        Feature extraction, windows, resampling, pooling.
    chunk : int
        Number of clips that are prepared at once.
    """

    extract: Callable[[Samples], Arrays]
    rate: int
    windows: Windows
    forward: Forward
    components: Mapping[str, str]
    chunk: int = 8

    def prepare(self, content: Sequence[Waveform]) -> list[list[Arrays]]:
        """Return the arrays of each window of each clip."""
        return [self._prepare(validated_waveform(waveform)) for waveform in content]

    def inputs(self, prepared: list[Arrays]) -> Sequence[Arrays]:
        """Return the windows of a clip."""
        return prepared

    def batches(self, inputs: Sequence[Arrays], limits: BatchLimits) -> Iterator[Rows]:
        """Divide windows by shape; where they are tokens of a text too, few tokens at a time."""
        return batches_by_shape(inputs, limits.windows, limits.tokens)

    def collate(self, batch: Sequence[Arrays]) -> Arrays:
        """Stack the arrays of a batch."""
        return stack_arrays(batch)

    def _prepare(self, waveform: Waveform) -> list[Arrays]:
        samples = resample(waveform, self.rate)
        n_missing = round(MIN_SECONDS * self.rate) - len(samples)
        if n_missing > 0:
            samples = np.pad(samples, (0, n_missing))
        return [self.extract(window) for window in self.windows.cut(samples)]


def stack_arrays(batch: Sequence[Arrays]) -> Arrays:
    """Stack arrays of one shape under their names: shape (...) each to (n, ...)."""
    return {name: np.stack([one[name] for one in batch]) for name in batch[0]}


def concatenate_arrays(batch: Sequence[Arrays]) -> Arrays:
    """Join arrays of batches of one, shape (m, ...) each, to shape (n * m, ...)."""
    return {name: np.concatenate([one[name] for one in batch]) for name in batch[0]}


def to_tensors(arrays: Arrays) -> dict[str, torch.Tensor]:
    """Return the arrays of a batch as tensors that share their memory."""
    import torch

    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def batches_by_shape(inputs: Sequence[Arrays], max_rows: int, max_tokens: int) -> Iterator[Rows]:
    """Divide inputs by the shapes of their arrays, in order.

    Parameters
    ----------
    inputs : sequence of mapping of str to numpy.ndarray
        Arrays of each row.
    max_rows : int
        Most rows in a batch.
    max_tokens : int
        Most tokens (``input_ids``) in a batch, where there are such.

    Yields
    ------
    numpy.ndarray
        Positions of a batch's rows.

    Examples
    --------
    >>> wide, long = {"pixels": np.zeros((2, 3))}, {"pixels": np.zeros((3, 2))}
    >>> [rows.tolist() for rows in batches_by_shape([wide, long, wide, wide], 2, 9)]
    [[0, 2], [3], [1]]
    """
    by_shape: dict[tuple[tuple[int, ...], ...], list[int]] = {}
    for row, arrays in enumerate(inputs):
        by_shape.setdefault(tuple(array.shape for array in arrays.values()), []).append(row)
    for rows in by_shape.values():
        tokens = inputs[rows[0]].get("input_ids")
        fitting = max_rows if tokens is None else max(1, max_tokens // max(1, tokens.size))
        size = min(max_rows, fitting)
        for start in range(0, len(rows), size):
            yield np.array(rows[start : start + size], np.int64)


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
