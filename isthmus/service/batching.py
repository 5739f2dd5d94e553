"""The texts of queries that come at one time are encoded together, see `MicroBatcher`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from isthmus.encoders.encoder import Encoder
from isthmus.numerics.arrays import FloatArray
from isthmus.numerics.micro_batches import MicroBatcher
from isthmus.schema import TEXT, Modality

Observe = Callable[[int, float], None]


class QueryBatcher:
    """Encodes single texts, those of one moment together; safe for threads.

    Parameters
    ----------
    encode : callable
        Returns the vectors of texts, shape (n, dim).
    size : int
        Most texts of a batch.
    observe : callable, optional
        Is told how many texts were encoded together, and in how many seconds.

    Attributes
    ----------
    batches, texts : int
        How many were encoded so far.
    """

    def __init__(
        self,
        encode: Callable[[Sequence[str]], FloatArray],
        size: int,
        observe: Observe | None = None,
    ) -> None:
        self._encode, self._observe = encode, observe
        self._batcher: MicroBatcher[str, FloatArray] = MicroBatcher(self._encoded, size)
        self.batches = self.texts = 0

    @property
    def waiting(self) -> int:
        """How many texts wait for the next batches."""
        return self._batcher.waiting

    def encode(self, text: str) -> FloatArray:
        """Return the vector of a text, shape (1, dim)."""
        return self._batcher.ask(text)

    def _encoded(self, texts: Sequence[str]) -> list[FloatArray]:
        self.batches, self.texts = self.batches + 1, self.texts + len(texts)
        started = time.perf_counter()
        vectors = self._encode(texts)
        if self._observe is not None:
            self._observe(len(texts), time.perf_counter() - started)
        return [np.asarray(vectors[at : at + 1]) for at in range(len(texts))]


class BatchedEncoder:
    """An encoder whose single query texts go through a `QueryBatcher`.

    Parameters
    ----------
    encoder : Encoder
        The encoder.
    size : int
        Most texts of a batch.
    observe : callable, optional
        As of `QueryBatcher`.
    """

    def __init__(self, encoder: Encoder, size: int, observe: Observe | None = None) -> None:
        self.encoder = encoder
        self.batcher = QueryBatcher(
            lambda texts: encoder.encode(texts, TEXT, "query"), size, observe
        )

    def __getattr__(self, name: str) -> Any:
        """Return what the encoder has of a name."""
        return getattr(self.encoder, name)

    def encode(
        self,
        contents: Sequence[Any],
        modality: Modality,
        role: str = "document",
        instruction: str | None = None,
    ) -> FloatArray:
        """Encode contents, as `Encoder.encode` does."""
        if modality != TEXT or role != "query" or len(contents) != 1 or instruction is not None:
            return self.encoder.encode(contents, modality, role, instruction)  # type: ignore[arg-type]
        return self.batcher.encode(contents[0])


class BatchedQueries:
    """The encoders of a space, that of text with micro-batches.

    Parameters
    ----------
    encoder_of : callable
        Returns the encoder of a modality.
    size : int
        Most texts of a batch.
    observe : callable, optional
        As of `QueryBatcher`.
    """

    def __init__(
        self,
        encoder_of: Callable[[Modality], Encoder],
        size: int,
        observe: Observe | None = None,
    ) -> None:
        self._encoder_of, self._size, self._observe = encoder_of, size, observe
        self._batched: BatchedEncoder | None = None
        self._lock = threading.Lock()

    def __call__(self, modality: Modality) -> Encoder:
        """Return the encoder of a modality."""
        encoder = self._encoder_of(modality)
        if modality != TEXT:
            return encoder
        with self._lock:
            if self._batched is None or self._batched.encoder is not encoder:
                self._batched = BatchedEncoder(encoder, self._size, self._observe)
            return cast("Encoder", self._batched)
