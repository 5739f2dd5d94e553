"""Encoding on a Ray cluster: contents through pools of actors, their vectors into the caches.

A pipeline of Ray Data reads and decodes media in one pool and encodes in another, each actor with
a model of its own. The driver appends what comes back to the embedding caches and then writes the
catalog as ever. What is in a cache is not encoded again, so a job that lost its driver goes on
where it stopped; Ray itself starts actors again, and tasks whose results were lost with a node.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from PIL import Image

from isthmus.data.addresses import MediaLimits
from isthmus.data.media import MediaStore
from isthmus.digests import DIGEST_BYTES, digest
from isthmus.encoders.audio import Waveform
from isthmus.encoders.decoding import decode
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.stack import LazyEncoders
from isthmus.encoders.text import cut_text, is_cut
from isthmus.errors import InvalidMedia, MissingDependency, PartlyEncoded, ServiceError
from isthmus.index.catalog.content_encoding import (
    FILES_PER_BATCH,
    TEXTS_PER_BATCH,
    ContentEncoder,
    MissingContents,
    batched,
)
from isthmus.index.open_space import OpenSpace
from isthmus.operations.request import EngineOptions
from isthmus.progress import progress_bar
from isthmus.schema import MEDIA, MEDIA_FOLDER, Modality

CONTENT: Final = "content_hash"
VALUE: Final = "value"  # a text, or the reference of a file
SHAPE: Final = "shape"  # of decoded media: rows and columns of an image, samples a second of audio
VECTOR: Final = "vector"
ERROR: Final = "error"
CONNECTION_TIMEOUT_S: Final = 10.0
CUT: Final = "cut"  # characters of a text that the encoder cuts, else 0

_DIGEST = pa.binary(DIGEST_BYTES)
_RESULT = pa.schema(
    {CONTENT: _DIGEST, VECTOR: pa.list_(pa.float32()), ERROR: pa.string(), CUT: pa.int64()}
)


@dataclass(frozen=True)
class Recipe:
    """What an actor needs to read and to encode the contents of a space.

    Attributes
    ----------
    specs, components : mapping of str to str
        Encoders of the space, as it records them.
    given : mapping of str to Encoder
        Encoders that the space was opened with; they are sent to the actors.
    device : str
        Where the encoders run.
    media : Path
        Folder of the media of the space, which all nodes see.
    limits : MediaLimits
        What may be read.
    """

    specs: Mapping[Modality, str]
    components: Mapping[str, str]
    given: Mapping[Modality, Encoder]
    device: str
    media: Path
    limits: MediaLimits

    @classmethod
    def of(cls, space: OpenSpace, *, http: bool) -> Recipe:
        """Return the recipe of a space."""
        settings = space.settings
        given = space.encoder_of.given if isinstance(space.encoder_of, LazyEncoders) else {}
        media = space.media(http=http)
        return cls(
            settings.encoders,
            settings.components,
            given,
            space.model_device,
            space.path / MEDIA_FOLDER,
            media.limits,
        )

    def encoder(self, modality: Modality) -> Encoder:
        """Load the encoder of a modality, which must be that of the space."""
        return LazyEncoders(self.specs, self.components, self.given, device=self.device)(modality)


class TextActor:
    """Encodes blocks of texts."""

    def __init__(self, recipe: Recipe) -> None:
        self._encoder = recipe.encoder("text")

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return digests, vectors, reasons of refusal, and the lengths of texts that are cut."""
        texts = block.column(VALUE).to_pylist()
        prepared = self._encoder.prepare(list(map(cut_text, texts)), "text")
        filled = self._encoder.are_truncated(prepared, "text")
        cut = [len(t) if full or is_cut(t) else 0 for t, full in zip(texts, filled, strict=True)]
        vectors: list[Any] = [None] * len(texts)
        errors: list[str | None] = [None] * len(texts)
        try:
            vectors[:] = self._encoder.embed(prepared, "text")
        except PartlyEncoded as error:
            if error.is_over:
                raise
            for at, vector in error.vectors.items():
                vectors[at] = vector
            for at, why in error.refused.items():
                errors[at] = why
        return _result(block.column(CONTENT), vectors, errors, cut)


class DecodingActor:
    """Reads and decodes blocks of media."""

    def __init__(self, recipe: Recipe, modality: Modality) -> None:
        self._media = MediaStore(recipe.media, recipe.limits)
        self._modality = modality

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return digests, decoded contents with their shapes, and why others cannot be decoded."""
        hashes = block.column(CONTENT).to_pylist()
        rows = [
            self._decode(*one) for one in zip(hashes, block.column(VALUE).to_pylist(), strict=True)
        ]
        values, shapes, errors = zip(*rows, strict=True)
        columns = {
            CONTENT: pa.array(hashes, _DIGEST),
            VALUE: pa.array(values, pa.large_binary()),
            SHAPE: pa.array(shapes, pa.list_(pa.int64())),
            ERROR: pa.array(errors, pa.string()),
        }
        return pa.table(columns)

    def _decode(
        self, content: bytes, reference: str
    ) -> tuple[bytes | None, list[int] | None, str | None]:
        try:
            data = self._media.read(reference)
            if digest(data) != content:
                return None, None, f"{reference} changed while it was read"
            return (*_packed(decode(self._modality, data)), None)
        except InvalidMedia as error:
            return None, None, str(error)


class MediaActor:
    """Encodes blocks of decoded media."""

    def __init__(self, recipe: Recipe, modality: Modality) -> None:
        self._encoder, self._modality = recipe.encoder(modality), modality

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return digests, vectors, and why others have none."""
        errors: list[str | None] = block.column(ERROR).to_pylist()
        vectors: list[Any] = [None] * len(errors)
        prepared: dict[int, Any] = {}
        for at, row in enumerate(block.select([VALUE, SHAPE]).to_pylist()):
            if errors[at] is None:
                decoded = _unpacked(self._modality, row[VALUE], row[SHAPE])
                try:
                    prepared[at] = self._encoder.prepare([decoded], self._modality)[0]
                except InvalidMedia as error:
                    errors[at] = str(error)
        if prepared:
            made = self._encoder.embed(list(prepared.values()), self._modality)
            for at, vector in zip(prepared, made, strict=True):
                vectors[at] = vector
        return _result(block.column(CONTENT), vectors, errors, [0] * len(errors))


def _packed(decoded: Any) -> tuple[bytes, list[int]]:
    """Return decoded media as bytes and a shape."""
    if isinstance(decoded, Waveform):
        return decoded.samples.tobytes(), [decoded.rate]
    return decoded.tobytes(), [decoded.height, decoded.width]


def _unpacked(modality: Modality, data: bytes, shape: Sequence[int]) -> Any:
    if modality == "audio":
        return Waveform(np.frombuffer(data, np.float32), shape[0])
    return Image.frombytes("RGB", (shape[1], shape[0]), data)


def _result(
    hashes: pa.ChunkedArray, vectors: Sequence[Any], errors: Sequence[str | None], cut: list[int]
) -> pa.Table:
    return pa.table(
        [
            hashes.cast(_DIGEST),
            pa.array(vectors, pa.list_(pa.float32())),
            pa.array(errors, pa.string()),
            pa.array(cut, pa.int64()),
        ],
        schema=_RESULT,
    )


def encoding_on_ray(
    space: OpenSpace, options: EngineOptions, *, http: bool
) -> Callable[[ContentEncoder, MissingContents, bool], None]:
    """Return the function that encodes what the caches of a space lack on a Ray cluster.

    Raises
    ------
    MissingDependency
        If Ray is not installed.
    """
    _import_ray()
    recipe = Recipe.of(space, http=http)

    def encode(encoder: ContentEncoder, missing: MissingContents, progress: bool) -> None:
        with _cluster(options.address):
            blocks = _Blocks()
            for modality, contents in missing:
                blocks.add(modality, contents)
            with progress_bar("encoding on Ray", blocks.rows, show=progress) as advance:
                done = 0
                for modality in blocks.modalities:
                    for result in _run(recipe, options, modality, blocks, done):
                        _store(encoder, modality, result)
                        advance(len(result))
                        done += len(result)
        encoder.flush()

    return encode


class _Blocks:
    """Blocks of contents in the object store of the cluster, by modality."""

    def __init__(self) -> None:
        self._waiting: dict[Modality, dict[bytes, str]] = {}
        self._stored: dict[Modality, list[Any]] = {}
        self.rows = 0

    @property
    def modalities(self) -> list[Modality]:
        """The modalities that there are contents of."""
        return list(self._waiting)

    def add(self, modality: Modality, contents: Mapping[bytes, str]) -> None:
        """Add contents: digest to text or reference."""
        self.rows += len(contents)
        waiting = self._waiting.setdefault(modality, {})
        waiting |= contents
        if len(waiting) >= _block_rows(modality):
            self._store(modality)

    def of(self, modality: Modality) -> list[Any]:
        """Return references of all blocks of a modality."""
        self._store(modality)
        return self._stored.get(modality, [])

    def _store(self, modality: Modality) -> None:
        ray = _import_ray()
        for part in batched(self._waiting[modality].items(), _block_rows(modality)):
            hashes, values = zip(*part, strict=True)
            table = pa.table({CONTENT: pa.array(hashes, _DIGEST), VALUE: pa.array(values)})
            self._stored.setdefault(modality, []).append(ray.put(table))
        self._waiting[modality] = {}


def _block_rows(modality: Modality) -> int:
    return FILES_PER_BATCH[modality] if modality in MEDIA else TEXTS_PER_BATCH


def _run(
    recipe: Recipe, options: EngineOptions, modality: Modality, blocks: _Blocks, done: int
) -> Iterator[pa.Table]:
    """Yield the results of a modality, block by block, as they come.

    Raises
    ------
    ServiceError
        If Ray gives up.
    """
    import ray.data
    from ray.exceptions import RayError

    references = blocks.of(modality)
    if not references:
        return
    encoding: dict[str, Any] = {
        "compute": ray.data.ActorPoolStrategy(size=min(options.workers or 1, len(references))),
        "num_gpus": options.gpus_per_worker or None,
        "batch_size": None,
        "batch_format": "pyarrow",
    }
    dataset: ray.data.Dataset = ray.data.from_arrow_refs(references)
    if modality in MEDIA:
        least, most = (min(size, len(references)) for size in options.pool_of_decoders)
        dataset = dataset.map_batches(
            DecodingActor,
            fn_constructor_args=(recipe, modality),
            compute=ray.data.ActorPoolStrategy(min_size=least, max_size=most),
            batch_size=None,
            batch_format="pyarrow",
        )
        dataset = dataset.map_batches(
            MediaActor, fn_constructor_args=(recipe, modality), **encoding
        )
    else:
        dataset = dataset.map_batches(TextActor, fn_constructor_args=(recipe,), **encoding)
    try:
        for result in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
            done += len(result)
            yield result
    except RayError as error:
        raise ServiceError(
            f"Ray gave up after {done:,} of {blocks.rows:,} contents: {_last_line(error)}; what "
            "was encoded is kept, and the same command goes on from there"
        ) from error


def _last_line(error: Exception) -> str:
    return next(line for line in reversed(f"{type(error).__name__}: {error}".splitlines()) if line)


def _store(encoder: ContentEncoder, modality: Modality, result: pa.Table) -> None:
    """Add the vectors of a block to the cache, and note what has none."""
    hashes = result.column(CONTENT).to_pylist()
    errors = result.column(ERROR).to_pylist()
    encoder.count_truncated([n for n in result.column(CUT).to_pylist() if n])
    made = [at for at, error in enumerate(errors) if error is None]
    if made:
        flat = result.column(VECTOR).combine_chunks().flatten().to_numpy(zero_copy_only=False)
        vectors = np.asarray(flat, np.float32).reshape(len(made), -1)
        encoder.refuse(modality, encoder.add([hashes[at] for at in made], vectors, modality))
    failed = {h: InvalidMedia(e) for h, e in zip(hashes, errors, strict=True) if e is not None}
    encoder.refuse(modality, failed)


@contextmanager
def _cluster(address: str | None) -> Iterator[None]:
    """Connect to a cluster, or start one on this machine, unless this process has one already.

    Raises
    ------
    ServiceError
        If there is no cluster at the address.
    """
    ray = _import_ray()
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    bars, context.enable_progress_bars = context.enable_progress_bars, False
    is_ours = not ray.is_initialized()
    try:
        if is_ours:
            _connect(address)
        yield
    finally:
        context.enable_progress_bars = bars
        if is_ours:
            ray.shutdown()


def _connect(address: str | None) -> None:
    ray = _import_ray()
    given = address or os.environ.get("RAY_ADDRESS")
    options = {} if given else {"include_dashboard": False}
    try:
        if given:
            _require_listening(given)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (OSError, ValueError, RuntimeError) as error:
        raise ServiceError(
            f"no Ray cluster answers at {given or 'this machine'} ({_last_line(error)}); start "
            "one, as the documentation of Ray says, and give its --address, or leave it out"
        ) from error


def _require_listening(address: str) -> None:
    """Raise `OSError` if nothing listens at an address; Ray itself tries for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdecimal():  # and not a name, such as auto
        socket.create_connection((host, int(port)), timeout=CONNECTION_TIMEOUT_S).close()


def _import_ray() -> Any:
    try:
        import ray.data
    except ImportError as error:
        raise MissingDependency(
            "Ray is not installed; install it with: pip install 'isthmus[ray]'"
        ) from error
    return ray
