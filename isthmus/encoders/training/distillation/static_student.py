"""The static student: a vector for each token, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.encoders.models.static import Ids, TokenBags
from isthmus.encoders.training.distillation.students import Student
from isthmus.errors import MissingDependency
from isthmus.numerics.arrays import FloatArray

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
import json
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import scipy.sparse as sp

from isthmus.encoders.encoder import Encoder

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PIECES: Final = 30_000
LEAST_OFTEN: Final = 3
SPECIAL: Final = ("[PAD]", "[UNK]")

SMOOTHING: Final = 1e-3
RIDGE: Final = 0.01


class StaticStudent(Student):
    """Vectors of tokens, trained; it lives in the teacher's own space.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
        The vocabulary.
    vectors : numpy.ndarray
        float32, shape (n_tokens, dim): where it starts.
    texts : sequence of numpy.ndarray
        Token ids of each text.
    storage : {"int8", "float16", "float32"}
        How the vectors are saved.
    """

    batch = 512
    rate = 1e-3

    def __init__(
        self, tokenizer: Tokenizer, vectors: FloatArray, texts: Sequence[Ids], storage: str
    ) -> None:
        import torch

        self._tokenizer = tokenizer
        self._table = torch.nn.Parameter(torch.from_numpy(vectors))
        self._texts = texts
        self._storage = storage

    def optimizer(self, rate: float) -> torch.optim.Optimizer:
        """Make an Adam that touches the tokens of a batch alone."""
        import torch

        return torch.optim.SparseAdam([self._table], lr=rate)

    def vectors(self, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Give unit sums of tokens, twice: they are in the teacher's space."""
        import torch
        from torch.nn.functional import embedding_bag, normalize

        bags = TokenBags.join([self._texts[row] for row in rows])
        ids, starts = (torch.from_numpy(values) for values in bags)
        vectors = normalize(
            embedding_bag(ids, self._table, starts, mode="sum", sparse=True), dim=-1
        )
        return vectors, vectors

    def state_dict(self) -> dict[str, Any]:
        """Return the token vectors."""
        return {"table": self._table.detach()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Set the token vectors."""
        self._table.data.copy_(state_dict["table"])

    def save(self, folder: Path) -> str:
        """Write the folder as model2vec does, so that it opens there too."""
        static_model = _model2vec()
        vectors = self._table.detach().numpy()
        embeddings, weights = _stored(vectors, self._storage)
        model = static_model(
            embeddings, self._tokenizer, weights=weights, normalize=True, max_length=None
        )
        model.save_pretrained(folder)
        return f"static/{folder}"


def require_model2vec() -> None:
    """Raise `MissingDependency` unless a static student could be saved in the end."""
    _model2vec()


def _model2vec() -> Any:
    try:
        from model2vec import StaticModel
    except ImportError as error:
        raise MissingDependency(
            "model2vec is not installed; install it with: pip install 'isthmus[distill]'"
        ) from error
    return StaticModel


def _stored(vectors: FloatArray, storage: str) -> tuple[np.ndarray, FloatArray | None]:
    """Give rows as they are stored, and what each is multiplied by.

    In 8 bits every row has a scale of its own; one for the whole table would round the small
    vectors of frequent tokens away.
    """
    from model2vec.quantization import DType, quantize_embeddings

    if storage != "int8":
        return quantize_embeddings(vectors, DType(storage)), None
    peaks = np.maximum(np.abs(vectors).max(1), 1e-12).astype(np.float32)
    rows = quantize_embeddings(vectors / peaks[:, None], DType.Int8)
    return rows, np.asarray(peaks / 127, np.float32)


def starting_vectors(tokens: FloatArray, bags: TokenBags, targets: FloatArray) -> FloatArray:
    """Give the vectors of tokens that a student starts from.

    Parameters
    ----------
    tokens : numpy.ndarray
        float32, shape (n_tokens, dim): the teacher's vector of each token as a text.
    bags : TokenBags
        The tokens of each text.
    targets : numpy.ndarray
        float32, shape (n_texts, dim): the teacher's vector of each text.

    Returns
    -------
    numpy.ndarray
        float32, shape (n_tokens, dim).
    """
    texts = _counts(bags, len(tokens))
    weighted = tokens * inverse_frequency(bags.ids, len(tokens))[:, None]
    sums = texts @ weighted
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    units = sums / np.maximum(lengths, 1e-12)
    dim = tokens.shape[1]
    penalty = RIDGE * len(units) / dim * np.eye(dim)
    turn = np.linalg.solve(units.T @ units + penalty, units.T @ targets)
    moved = weighted @ turn
    return np.asarray(moved / np.linalg.norm(texts @ moved, axis=1).mean(), np.float32)


def inverse_frequency(ids: np.ndarray, size: int) -> FloatArray:
    """Give the weight of each token, a / (a + p), where p is its share of all tokens.

    Examples
    --------
    >>> rare, frequent = inverse_frequency(np.array([1] * 9 + [0]), 2)
    >>> bool(rare > frequent)
    True
    """
    counts = np.bincount(ids, minlength=size) + 0.5
    return np.asarray(SMOOTHING / (SMOOTHING + counts / counts.sum()), np.float32)


def _counts(bags: TokenBags, size: int) -> sp.csr_array:
    ends = np.append(bags.starts, len(bags.ids))
    ones = np.ones(len(bags.ids), np.float32)
    return sp.csr_array((ones, bags.ids, ends), shape=(len(bags.starts), size))


def student_tokenizer(
    teacher: Encoder, texts: Sequence[str], most_words: int, *, only_seen: bool = False
) -> Tokenizer:
    """Give a word-piece tokenizer for a static student.

    It is the teacher's own where that is one of word pieces, so that words which the texts lack
    have tokens too; else one learned from the texts. Words of the texts that it would cut, and
    that occur three times or more, are added whole, the most frequent first.

    Parameters
    ----------
    teacher : Encoder
        Whose tokenizer is taken.
    texts : sequence of str
        What the student learns from.
    most_words : int
        How many words are added at most.
    only_seen : bool, default False
        Whether pieces that no text has are left out, apart from single characters.
    """
    from tokenizers import Tokenizer

    settings = json.loads(_pieces(teacher, texts).to_str())
    settings |= {"truncation": None, "padding": None, "post_processor": None}
    plain = Tokenizer.from_str(json.dumps(settings))
    vocabulary = settings["model"]["vocab"]
    for word in _whole_words(plain, texts, frozenset(vocabulary))[:most_words]:
        vocabulary[word] = len(vocabulary)
    if only_seen:
        _leave_out_unseen(settings, texts)
    return Tokenizer.from_str(json.dumps(settings))


def tokens_of(tokenizer: Tokenizer) -> list[str]:
    """Give what each token stands for as a text, by id: ``##ing`` becomes ``ing``.

    Special tokens stand for nothing, and an empty text.
    """
    added = tokenizer.get_added_tokens_decoder().values()
    special = {*SPECIAL, *(str(token.content) for token in added)}
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    tokens = [""] * (max(vocabulary.values()) + 1)
    for token, number in vocabulary.items():
        tokens[number] = "" if token in special else _bare(token)
    return tokens


def _pieces(teacher: Encoder, texts: Iterable[str]) -> Any:
    own = getattr(teacher, "tokenizer", None)
    if own is not None and json.loads(own.to_str())["model"]["type"] == "WordPiece":
        return own
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    pieces = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    pieces.normalizer = normalizers.BertNormalizer()
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=PIECES, special_tokens=list(SPECIAL), show_progress=False
    )
    pieces.train_from_iterator(texts, trainer)
    return pieces


def _leave_out_unseen(settings: dict[str, Any], texts: Sequence[str]) -> None:
    """Leave pieces out of a tokenizer's settings that no text has, and number the others anew."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(json.dumps(settings))
    found = {number for cut in tokenizer.encode_batch_fast(list(texts)) for number in cut.ids}
    added = {token["content"] for token in settings["added_tokens"]}
    kept = [
        token
        for token, number in settings["model"]["vocab"].items()
        if number in found or token in added or token in SPECIAL or len(_bare(token)) == 1
    ]
    numbers = {token: number for number, token in enumerate(kept)}
    settings["model"]["vocab"] = dict(numbers)
    for token in settings["added_tokens"]:
        token["id"] = numbers.setdefault(token["content"], len(numbers))


def _bare(token: str) -> str:
    return token.removeprefix("##")


def _whole_words(tokenizer: Any, texts: Iterable[str], known: frozenset[str]) -> list[str]:
    """Give words that the vocabulary lacks, the most frequent first."""
    chunks = Counter(chunk for text in texts for chunk in text.split())
    words: Counter[str] = Counter()
    for chunk, times in chunks.items():
        plain = tokenizer.normalizer.normalize_str(chunk) if tokenizer.normalizer else chunk
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(plain):
            words[word] += times
    often = [w for w, times in words.items() if times >= LEAST_OFTEN and w not in known]
    return sorted(often, key=lambda word: (-words[word], word))
