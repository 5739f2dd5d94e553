"""Static encoders: the vector of a text is the sum of its tokens' vectors. No network runs.

The format is that of model2vec. Tokenising is the largest cost of such an encoder, and texts
repeat their words, so every distinct word is tokenised once.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from isthmus.encoders.backends.runtime import Runtime, choose_runtime
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.hub import (
    explain_load_errors,
    hash_settings,
    local_path,
    read_weights,
)
from isthmus.encoders.text import cut_text
from isthmus.encoders.weights import hash_weights
from isthmus.errors import UnknownEncoder
from isthmus.forking import renew_lock
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import Modality

if TYPE_CHECKING:
    import torch

Ids = npt.NDArray[np.int64]

WEIGHTS: Final = "model.safetensors"
TOKENIZER: Final = "tokenizer.json"
PADDING_TOKENS: Final = ("[PAD]", "<pad>")
CHUNK: Final = 8_192
MAX_CACHED_WORDS: Final = 500_000


class TokenTable(NamedTuple):
    """Vectors of tokens as they are stored.

    Attributes
    ----------
    embeddings : torch.Tensor
        Shape (n_rows, dim), of any numeric type.
    weights : torch.Tensor or None
        Factor of each token's row, shape (n_tokens,).
    mapping : torch.Tensor or None
        Row of each token, shape (n_tokens,), where tokens share rows.
    """

    embeddings: torch.Tensor
    weights: torch.Tensor | None
    mapping: torch.Tensor | None

    def vectors(self) -> torch.Tensor:
        """Return the vector of each token, float32, shape (n_tokens, dim)."""
        rows = self.embeddings.float()
        if self.mapping is not None:
            rows = rows[self.mapping.long()]
        return rows if self.weights is None else rows * self.weights.float()[:, None]


class StaticEncoder(Encoder):
    """Sums the vectors of a text's tokens and scales the sum to unit norm.

    Parameters
    ----------
    table : TokenTable
        Vectors of tokens.
    tokenizer : tokenizers.Tokenizer
        Splits words into tokens.
    runtime : Runtime
        Device and precision of the vectors.

    Attributes
    ----------
    bytes : int
        Size of the stored vectors.
    """

    def __init__(self, table: TokenTable, tokenizer: Any, runtime: Runtime) -> None:
        self.spec = "static/"
        self.modalities = frozenset({"text"})
        vectors = table.vectors()
        self.dim = int(vectors.shape[1])
        pad_id = padding_id_of(tokenizer)
        if not vectors[pad_id].any():  # texts without tokens need a vector other than zero
            vectors[pad_id] = vectors.mean(0)
        self._vectors = vectors.to(runtime.device, runtime.dtype)
        self._tokenize = WordTokenizer(tokenizer, pad_id)
        self.bytes = sum(t.nbytes for t in table if t is not None)
        self._components = {
            "kind": "static",
            "weights": hash_weights({n: t for n, t in table._asdict().items() if t is not None}),
            "tokenizer": hash_settings(_settings(tokenizer)),
            "dim": str(self.dim),
            "precision": runtime.precision,
        }

    @property
    def components(self) -> Mapping[str, str]:
        """Everything that changes a vector, by name."""
        return self._components

    def prepare(self, batch: Sequence[Any], modality: Modality) -> list[Ids]:
        """Tokenise texts; thread-safe."""
        self.require(modality)
        return self._tokenize(batch).split()

    def embed(self, prepared: Sequence[Any], modality: Modality) -> FloatArray:
        """Sum the vectors of tokens.

        Returns
        -------
        numpy.ndarray
            float32, shape (len(prepared), dim), rows of unit norm.
        """
        self.require(modality)
        return self._sum(TokenBags.join(prepared))

    def _encode(self, batch: Sequence[Any], modality: Modality) -> FloatArray:
        """Turn texts into vectors, without a list of ids per text in between."""
        del modality
        vectors = np.empty((len(batch), self.dim), np.float32)
        for start in range(0, len(batch), CHUNK):
            chunk = batch[start : start + CHUNK]
            vectors[start : start + CHUNK] = self._sum(self._tokenize(chunk))
        return vectors

    def _sum(self, bags: TokenBags) -> FloatArray:
        import torch
        from torch.nn.functional import embedding_bag, normalize

        with torch.inference_mode():
            ids, starts = (torch.from_numpy(values).to(self._vectors.device) for values in bags)
            # (n_tokens,) and (n_texts,) to (n_texts, dim)
            sums = embedding_bag(ids, self._vectors, starts, mode="sum").float()
            vectors: FloatArray = normalize(sums, dim=-1).cpu().numpy()
        return vectors


def load_static(
    name: str, *, device: str = "auto", precision: str = "auto", compile: bool = False
) -> Encoder:
    """Load a static text encoder from a folder: a distilled student, or a model of model2vec.

    Parameters
    ----------
    name : str
        The folder, with ``model.safetensors`` and ``tokenizer.json``.
    device, precision, compile
        As for `load_encoder`; `compile` has no effect.

    Raises
    ------
    UnknownEncoder
        If the folder holds no such model.
    """
    from tokenizers import Tokenizer

    runtime = choose_runtime(device, precision, compile)
    spec = f"static/{name}"
    folder = local_path(name, spec)
    if folder is None:
        raise UnknownEncoder(
            f"cannot load {spec!r}: nothing is at {name}; give the folder of a model that was "
            "distilled with isthmus.distill, or of one of model2vec"
        )
    with explain_load_errors(spec):
        table = read_table(folder)
        return StaticEncoder(table, Tokenizer.from_file(str(folder / TOKENIZER)), runtime)


def read_table(folder: Path) -> TokenTable:
    """Read the vectors of tokens, in the layout of model2vec."""
    state = read_weights(folder / WEIGHTS)
    return TokenTable(state["embeddings"], state.get("weights"), state.get("mapping"))


def padding_id_of(tokenizer: Any) -> int:
    """Return the id of the padding token, which stands for a text without tokens."""
    for token in PADDING_TOKENS:
        token_id: int | None = tokenizer.token_to_id(token)
        if token_id is not None:
            return token_id
    return 0


def _settings(tokenizer: Any) -> dict[str, Any]:
    return {**json.loads(tokenizer.to_str()), "truncation": None, "padding": None}


class TokenBags(NamedTuple):
    """Token ids of many texts, one after another: the layout of ``embedding_bag``.

    Attributes
    ----------
    ids : numpy.ndarray
        int64, shape (n_tokens,).
    starts : numpy.ndarray
        int64, shape (n_texts,): position of each text's first token in `ids`.
    """

    ids: Ids
    starts: Ids

    @classmethod
    def join(cls, rows: Sequence[Ids]) -> TokenBags:
        """Concatenate the ids of texts.

        Examples
        --------
        >>> TokenBags.join([np.array([5, 6]), np.array([7])]).starts.tolist()
        [0, 2]
        """
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        return cls(np.concatenate([np.empty(0, np.int64), *rows]), segment_starts(lengths))

    def split(self) -> list[Ids]:
        """Return the ids of each text."""
        ends = [*self.starts[1:].tolist(), len(self.ids)][: len(self.starts)]
        return [self.ids[a:b] for a, b in zip(self.starts.tolist(), ends, strict=True)]


class WordTokenizer:
    """Tokenises texts word by word with a cache; thread-safe.

    A text is split at white space. Its ids are those of its words, without ids of the unknown
    token. A text without ids gets the padding id.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
        Tokenises a word.
    pad_id : int
        Id of a text without tokens.
    """

    def __init__(self, tokenizer: Any, pad_id: int) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer
        self._unknown_id = tokenizer.token_to_id(getattr(tokenizer.model, "unk_token", None) or "")
        self._pad_id = pad_id
        self._cache = _WordCache()
        self._lock = threading.Lock()
        renew_lock(self)

    def __call__(self, texts: Sequence[str]) -> TokenBags:
        """Return the token ids of texts."""
        words_of = [cut_text(text).split() for text in texts]
        words = list(itertools.chain.from_iterable(words_of))
        cache = self._cache_with(words)
        rows = np.fromiter(map(cache.row_of.__getitem__, words), np.int64, len(words))  # (n_words,)
        starts, lengths, ids = cache.arrays
        word_counts = np.fromiter(map(len, words_of), np.int64, len(words_of))  # (n_texts,)
        token_counts = segment_sums(lengths[rows], word_counts)  # (n_texts,)
        return self._fill_empty(_gather(ids, starts[rows], lengths[rows]), token_counts)

    def _cache_with(self, words: Sequence[str]) -> _WordCache:
        """Return a cache that holds all the words."""
        cache = self._cache
        if set(words).difference(cache.row_of):
            with self._lock:
                if len(self._cache.row_of) > MAX_CACHED_WORDS:
                    self._cache = _WordCache()
                cache = self._cache
                cache.add(self._tokenize(sorted(set(words).difference(cache.row_of))))
        return cache

    def _tokenize(self, words: list[str]) -> dict[str, list[int]]:
        encodings = self._tokenizer.encode_batch_fast(words, add_special_tokens=False)
        return {
            word: [token for token in encoding.ids if token != self._unknown_id]
            for word, encoding in zip(words, encodings, strict=True)
        }

    def _fill_empty(self, ids: Ids, lengths: Ids) -> TokenBags:
        """Assign the padding id to texts without tokens."""
        starts = segment_starts(lengths)
        empty = np.flatnonzero(lengths == 0)
        if len(empty):
            ids = np.insert(ids, starts[empty], self._pad_id)
            starts = segment_starts(np.maximum(lengths, 1))
        return TokenBags(ids, starts)


class _WordCache:
    """Token ids of words, one word after another; it only grows.

    A reader looks up the row of a word first and reads the arrays afterwards, and a writer
    replaces the arrays before it publishes new rows. A reader therefore never sees a row that the
    arrays lack.
    """

    def __init__(self) -> None:
        self.row_of: dict[str, int] = {}
        # Start and length of each row in the ids, shape (n_words,); and the ids, (n_tokens,).
        self.arrays = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64))

    def add(self, words: dict[str, list[int]]) -> None:
        starts, lengths, ids = self.arrays
        new_lengths = np.fromiter(map(len, words.values()), np.int64, len(words))
        flat = itertools.chain.from_iterable(words.values())
        new_ids = np.fromiter(flat, np.int64, new_lengths.sum())
        self.arrays = (
            np.concatenate([starts, segment_starts(new_lengths) + len(ids)]),
            np.concatenate([lengths, new_lengths]),
            np.concatenate([ids, new_ids]),
        )
        first = len(starts)
        self.row_of.update({word: first + n for n, word in enumerate(words)})


def segment_starts(lengths: Ids) -> Ids:
    """Return where consecutive segments of these lengths begin.

    Examples
    --------
    >>> segment_starts(np.array([2, 0, 3])).tolist()
    [0, 2, 2]
    """
    return np.cumsum(lengths) - lengths


def segment_sums(values: Ids, counts: Ids) -> Ids:
    """Return the sum of the first counts[0] values, of the next counts[1], and so on.

    Examples
    --------
    >>> segment_sums(np.array([1, 2, 3]), np.array([2, 0, 1])).tolist()
    [3, 0, 3]
    """
    total = np.concatenate([[0], np.cumsum(values)])
    ends = np.cumsum(counts)
    return np.asarray(total[ends] - total[ends - counts], np.int64)


def _gather(ids: Ids, starts: Ids, lengths: Ids) -> Ids:
    """Concatenate ids[start : start + length] of all segments, without a loop."""
    offsets = np.arange(int(lengths.sum())) - np.repeat(segment_starts(lengths), lengths)
    return np.asarray(ids[np.repeat(starts, lengths) + offsets], np.int64)
