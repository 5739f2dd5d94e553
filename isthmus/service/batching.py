"""Micro-batches: the texts of queries that come at one time are encoded together.

There is no waiting: a text that comes while none is encoded is encoded at once, and those that come
meanwhile make the next batch. So a quiet service answers as quickly as it can, and a busy one
encodes many texts for little more than the price of one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from isthmus.encoders.encoder import Encoder
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import TEXT, Modality

Observe = Callable[[int, float], None]


@dataclass(eq=False)
class _Waiting:
    """A text that waits for its vector."""

    text: str
    turn: threading.Event = field(default_factory=threading.Event)
    leads: bool = False
    vector: FloatArray | None = None
    error: BaseException | None = None


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
        self._encode, self._size, self._observe = encode, size, observe
        self._lock = threading.Lock()
        self._queue: list[_Waiting] = []
        self._busy = False
        self.batches = self.texts = 0

    def encode(self, text: str) -> FloatArray:
        """Return the vector of a text, shape (1, dim)."""
        one = _Waiting(text)
        with self._lock:
            self._queue.append(one)
            one.leads = not self._busy
            self._busy = True
        if not one.leads:
            one.turn.wait()
        if one.leads:
            self._lead()
        if one.error is not None:
            raise one.error
        assert one.vector is not None
        return one.vector

    def _lead(self) -> None:
        """Encode one batch, then let the first who waits encode the next."""
        with self._lock:
            batch, self._queue = self._queue[: self._size], self._queue[self._size :]
        try:
            self._fill(batch)
        finally:
            with self._lock:
                self._busy = bool(self._queue)
                if self._queue:
                    self._queue[0].leads = True
                    self._queue[0].turn.set()
            for one in batch:
                one.turn.set()

    def _fill(self, batch: Sequence[_Waiting]) -> None:
        self.batches, self.texts = self.batches + 1, self.texts + len(batch)
        started = time.perf_counter()
        try:
            vectors = self._encode([one.text for one in batch])
        except Exception as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            for one in batch:  # so that one text that is refused fails no other
                self._fill([one])
            return
        except BaseException as error:
            for one in batch:
                one.error = error
            raise
        if self._observe is not None:
            self._observe(len(batch), time.perf_counter() - started)
        for at, one in enumerate(batch):
            one.vector = np.asarray(vectors[at : at + 1])


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
