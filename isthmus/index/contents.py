"""Contents to vectors: whatever a ledger lacks goes through a model, once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

from isthmus.columns import Modality
from isthmus.digests import digest
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.image import open_image
from isthmus.encoders.ledger import Ledger
from isthmus.errors import InvalidImage
from isthmus.items.media import MediaStore
from isthmus.progress import Advance

TEXTS_A_BATCH = 1_024
IMAGES_A_BATCH = 64
DECODERS = 2

T = TypeVar("T")


class ContentEncoder:
    """Encodes contents into ledgers.

    Parameters
    ----------
    ledgers : mapping of str to Ledger
        A ledger for each modality.
    media : MediaStore
        Reads images.
    encoder_of : callable
        Gives the encoder of a modality; called only if something must be encoded.

    Attributes
    ----------
    encoded : dict of str to int
        Contents that went through a model, by modality.
    """

    def __init__(
        self,
        ledgers: Mapping[Modality, Ledger],
        media: MediaStore,
        encoder_of: Callable[[Modality], Encoder],
    ) -> None:
        self._ledgers, self._media, self._encoder_of = ledgers, media, encoder_of
        self.encoded: dict[str, int] = {str(modality): 0 for modality in ledgers}

    def unknown(self, modality: Modality, hashes: Iterable[bytes]) -> list[bytes]:
        """Give the contents that the ledger lacks."""
        wanted = list(hashes)
        if not wanted:
            return []
        known = self._ledgers[modality].knows(wanted)
        return [h for h, there in zip(wanted, known.tolist(), strict=True) if not there]

    def prepare_texts(self, texts: Mapping[bytes, str]) -> dict[bytes, Any]:
        """Tokenise texts: all that needs no model to run."""
        if not texts:
            return {}
        prepared = self._encoder_of("text").prepare(list(texts.values()), "text")
        return dict(zip(texts, prepared, strict=True))

    def encode_texts(
        self, hashes: Sequence[bytes], prepared: Mapping[bytes, Any], advance: Advance
    ) -> None:
        """Encode texts, in pieces that reach the ledger one by one."""
        for piece in batched(hashes, TEXTS_A_BATCH):
            vectors = self._encoder_of("text").embed([prepared[h] for h in piece], "text")
            self._ledgers["text"].record(piece, vectors)
            self.encoded["text"] += len(piece)
            advance(len(piece))

    def encode_images(
        self, hashes: Sequence[bytes], references: Mapping[bytes, str], advance: Advance
    ) -> dict[bytes, InvalidImage]:
        """Encode images, decoded in threads beside the model; give those that failed."""
        bad: dict[bytes, InvalidImage] = {}
        if not hashes:
            return bad
        encoder, ledger = self._encoder_of("image"), self._ledgers["image"]

        def decode(content: bytes) -> Any:
            try:
                data = self._media.read(references[content])
                if digest(data) != content:
                    return InvalidImage(f"{references[content]} changed while it was read")
                return encoder.prepare([open_image(data)], "image")[0]
            except InvalidImage as error:
                return error

        with ThreadPoolExecutor(DECODERS) as decoders:
            decoded = _map_ahead(decoders, decode, hashes, waiting_most=2 * IMAGES_A_BATCH)
            for batch in batched(zip(hashes, decoded, strict=True), IMAGES_A_BATCH):
                good = [(h, value) for h, value in batch if not isinstance(value, InvalidImage)]
                bad |= {h: value for h, value in batch if isinstance(value, InvalidImage)}
                if good:
                    vectors = encoder.embed([value for _, value in good], "image")
                    ledger.record([h for h, _ in good], vectors)
                    self.encoded["image"] += len(good)
                advance(len(batch))
        return bad


def batched(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Give values in lists of at most so many."""
    rest = iter(values)
    while batch := list(islice(rest, size)):
        yield batch


def _map_ahead(
    pool: Executor, work: Any, values: Sequence[bytes], waiting_most: int
) -> Iterator[Any]:
    """Map in threads, in order, with a bounded number of results waiting."""
    rest = iter(values)
    waiting = [pool.submit(work, value) for value in islice(rest, waiting_most)]
    while waiting:
        done = waiting.pop(0).result()
        waiting += [pool.submit(work, value) for value in islice(rest, 1)]
        yield done
