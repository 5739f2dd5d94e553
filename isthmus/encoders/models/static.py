"""Static encoders: a text's vector is the sum of its tokens' vectors. No network runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from isthmus.encoders.backends.runtime import Runtime, choose_runtime
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.hub import (
    explain_load_errors,
    hash_settings,
    hash_weights,
    local_path,
    read_weights,
)
from isthmus.errors import UnknownEncoder
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import Modality

if TYPE_CHECKING:
    import torch
import itertools
import threading

import numpy.typing as npt

Ids = npt.NDArray[np.int64]
MOST_WORDS: Final = 500_000

WEIGHTS: Final = "model.safetensors"
TOKENIZER: Final = "tokenizer.json"
PADDING_TOKENS: Final = ("[PAD]", "<pad>")
CHUNK: Final = 8_192


class Table(NamedTuple):
    """The vectors of tokens as they are stored.

    Attributes
    ----------
    embeddings : torch.Tensor
        Shape (n_rows, dim), of any type of number.
    weights : torch.Tensor or None
        What each token's row is multiplied by, shape (n_tokens,).
    mapping : torch.Tensor or None
        The row of each token, shape (n_tokens,), where tokens share rows.
    """

    embeddings: torch.Tensor
    weights: torch.Tensor | None
    mapping: torch.Tensor | None

    def vectors(self) -> torch.Tensor:
        """Give the vector that each token adds, float32, shape (n_tokens, dim)."""
        rows = self.embeddings.float()
        if self.mapping is not None:
            rows = rows[self.mapping.long()]
        return rows if self.weights is None else rows * self.weights.float()[:, None]


class StaticEncoder(Encoder):
    """Sums the vectors of a text's tokens and brings the sum to unit norm.

    Parameters
    ----------
    table : Table
        Vectors of tokens.
    tokenizer : tokenizers.Tokenizer
        Divides words into tokens.
    runtime : Runtime
        Where the vectors lie, and in which precision.
    """

    def __init__(self, table: Table, tokenizer: Any, runtime: Runtime) -> None:
        self.spec = "static/"
        self.modalities = frozenset({"text"})
        vectors = table.vectors()
        self.dim = int(vectors.shape[1])
        nothing = padding_id_of(tokenizer)
        if not vectors[nothing].any():
            vectors[nothing] = vectors.mean(0)
        self._vectors = vectors.to(runtime.device, runtime.dtype)
        self._words = WordTokenizer(tokenizer, nothing)
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
        """Tokenise texts; safe to call from several threads at once."""
        self.require(modality)
        return self._words(batch).divide()

    def embed(self, prepared: Sequence[Any], modality: Modality) -> FloatArray:
        """Add up the vectors of tokens.

        Returns
        -------
        numpy.ndarray
            float32, shape (len(prepared), dim), rows of unit norm.
        """
        self.require(modality)
        return self._sum(TokenBags.join(prepared))

    def encode(self, batch: Sequence[Any], modality: Modality = "text") -> FloatArray:
        """Turn texts into vectors, without a list of ids for each."""
        self.require(modality)
        out = np.empty((len(batch), self.dim), np.float32)
        for start in range(0, len(batch), CHUNK):
            part = batch[start : start + CHUNK]
            out[start : start + CHUNK] = self._sum(self._words(part))
        return out

    def _sum(self, bags: TokenBags) -> FloatArray:
        import torch
        from torch.nn.functional import embedding_bag, normalize

        with torch.inference_mode():
            ids, starts = (torch.from_numpy(values).to(self._vectors.device) for values in bags)
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
        As for `load_encoder`; there is nothing to compile.

    Raises
    ------
    UnknownEncoder
        If the folder is none.
    """
    from tokenizers import Tokenizer

    runtime = choose_runtime(device, precision, compile)
    spec = f"static/{name}"
    folder = local_path(name, spec)
    if folder is None:
        raise UnknownEncoder(
            f"cannot load {spec!r}: nothing is at {name}; give the folder that "
            "isthmus distill made, or that of a model of model2vec"
        )
    with explain_load_errors(spec):
        table = read_table(folder)
        return StaticEncoder(table, Tokenizer.from_file(str(folder / TOKENIZER)), runtime)


def read_table(folder: Path) -> Table:
    """Read the vectors of tokens, in the layout of model2vec."""
    state = read_weights(folder / WEIGHTS)
    return Table(state["embeddings"], state.get("weights"), state.get("mapping"))


def padding_id_of(tokenizer: Any) -> int:
    """Give the id of the token that stands for nothing: padding."""
    for token in PADDING_TOKENS:
        found: int | None = tokenizer.token_to_id(token)
        if found is not None:
            return found
    return 0


def _settings(tokenizer: Any) -> dict[str, Any]:
    return {**json.loads(tokenizer.to_str()), "truncation": None, "padding": None}


class TokenBags(NamedTuple):
    """Token ids of many texts, one after another.

    Attributes
    ----------
    ids : numpy.ndarray
        int64, shape (n_tokens,).
    starts : numpy.ndarray
        int64, shape (n_texts,): where each text begins in `ids`.
    """

    ids: Ids
    starts: Ids

    @classmethod
    def join(cls, rows: Sequence[Ids]) -> TokenBags:
        """Put the ids of texts one after another.

        Examples
        --------
        >>> TokenBags.join([np.array([5, 6]), np.array([7])]).starts.tolist()
        [0, 2]
        """
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        return cls(np.concatenate([np.empty(0, np.int64), *rows]), segment_starts(lengths))

    def divide(self) -> list[Ids]:
        """Give the ids of each text."""
        ends = [*self.starts[1:].tolist(), len(self.ids)][: len(self.starts)]
        return [self.ids[a:b] for a, b in zip(self.starts.tolist(), ends, strict=True)]


class WordTokenizer:
    """The token ids of words, remembered; safe to use from several threads.

    A text is divided at white space. Its ids are those of its words, without those of words that
    the vocabulary lacks; a text that is left with none has the id that stands for nothing.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
        What divides a word.
    nothing : int
        Id of a text without tokens.
    """

    def __init__(self, tokenizer: Any, nothing: int) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer
        self._unknown = tokenizer.token_to_id(getattr(tokenizer.model, "unk_token", None) or "")
        self._nothing = nothing
        self._known = _Known()
        self._learning = threading.Lock()

    def __call__(self, texts: Sequence[str]) -> TokenBags:
        """Give the ids of texts."""
        divided = [text.split() for text in texts]
        words = list(itertools.chain.from_iterable(divided))
        known = self._knowing(words)
        numbers = np.fromiter(map(known.numbers.__getitem__, words), np.int64, len(words))
        starts, lengths, ids = known.arrays
        counts = np.fromiter(map(len, divided), np.int64, len(divided))
        tokens = segment_sums(lengths[numbers], counts)
        return self._fill(_gather(ids, starts[numbers], lengths[numbers]), tokens)

    def _knowing(self, words: Sequence[str]) -> _Known:
        """Give a table that has all the words."""
        known = self._known
        if set(words).difference(known.numbers):
            with self._learning:
                if len(self._known.numbers) > MOST_WORDS:
                    self._known = _Known()
                known = self._known
                known.learn(self._tokenise(sorted(set(words).difference(known.numbers))))
        return known

    def _tokenise(self, words: list[str]) -> dict[str, list[int]]:
        found = self._tokenizer.encode_batch_fast(words, add_special_tokens=False)
        return {
            word: [token for token in one.ids if token != self._unknown]
            for word, one in zip(words, found, strict=True)
        }

    def _fill(self, ids: Ids, lengths: Ids) -> TokenBags:
        """Give texts without tokens the id that stands for nothing."""
        starts = segment_starts(lengths)
        empty = np.flatnonzero(lengths == 0)
        if len(empty):
            ids = np.insert(ids, starts[empty], self._nothing)
            starts = segment_starts(np.maximum(lengths, 1))
        return TokenBags(ids, starts)


class _Known:
    """Words by number, and their ids one after another; it only grows.

    A reader looks a number up first and reads the arrays then, so it never sees a number that
    the arrays lack.
    """

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.arrays = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64))

    def learn(self, words: dict[str, list[int]]) -> None:
        starts, lengths, ids = self.arrays
        new = np.fromiter(map(len, words.values()), np.int64, len(words))
        more = np.fromiter(itertools.chain.from_iterable(words.values()), np.int64, new.sum())
        self.arrays = (
            np.concatenate([starts, segment_starts(new) + len(ids)]),
            np.concatenate([lengths, new]),
            np.concatenate([ids, more]),
        )
        first = len(starts)
        self.numbers.update({word: first + n for n, word in enumerate(words)})


def segment_starts(lengths: Ids) -> Ids:
    """Give where parts begin that stand one after another.

    Examples
    --------
    >>> segment_starts(np.array([2, 0, 3])).tolist()
    [0, 2, 2]
    """
    return np.cumsum(lengths) - lengths


def segment_sums(values: Ids, counts: Ids) -> Ids:
    """Add up the first counts[0] values, then the next counts[1], and so on.

    Examples
    --------
    >>> segment_sums(np.array([1, 2, 3]), np.array([2, 0, 1])).tolist()
    [3, 0, 3]
    """
    total = np.concatenate([[0], np.cumsum(values)])
    ends = np.cumsum(counts)
    return np.asarray(total[ends] - total[ends - counts], np.int64)


def _gather(ids: Ids, starts: Ids, lengths: Ids) -> Ids:
    """Put ids[start : start + length] of all parts one after another."""
    inside = np.arange(int(lengths.sum())) - np.repeat(segment_starts(lengths), lengths)
    return np.asarray(ids[np.repeat(starts, lengths) + inside], np.int64)
