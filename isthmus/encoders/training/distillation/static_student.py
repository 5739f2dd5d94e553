"""The static student: a vector for each token, its vocabulary, and its initial vectors."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from isthmus.encoders.encoder import Encoder
from isthmus.encoders.models.static import Ids, TokenBags
from isthmus.encoders.training.distillation.students import Student
from isthmus.errors import MissingDependency
from isthmus.numerics.arrays import FloatArray

if TYPE_CHECKING:
    import torch
    from scipy.sparse import csr_array
    from tokenizers import Tokenizer

VOCABULARY_SIZE: Final = 30_000  # of a vocabulary that is learned from the texts
MIN_WORD_COUNT: Final = 3
SPECIAL_TOKENS: Final = ("[PAD]", "[UNK]")
SMOOTHING: Final = 1e-3
RIDGE: Final = 0.01


class StaticStudent(Student):
    """A table of token vectors in the teacher's space; a text is the sum of its tokens.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
        The vocabulary.
    vectors : numpy.ndarray
        float32, shape (n_tokens, dim): initial token vectors.
    texts : sequence of numpy.ndarray
        Token ids of each training text.
    storage : {"int8", "float16", "float32"}
        Type in which the vectors are saved.
    """

    batch = 512
    rate = 1e-3

    def __init__(
        self, tokenizer: Tokenizer, vectors: FloatArray, texts: Sequence[Ids], storage: str
    ) -> None:
        import torch

        self._tokenizer, self._texts, self._storage = tokenizer, texts, storage
        self._table = torch.nn.Parameter(torch.from_numpy(vectors))

    def optimizer(self, rate: float) -> torch.optim.Optimizer:
        """Return an Adam that updates the tokens of a batch only."""
        import torch

        return torch.optim.SparseAdam([self._table], lr=rate)

    def vectors(self, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return normalised sums of tokens, (n, dim), twice: both are in the teacher's space."""
        import torch
        from torch.nn.functional import embedding_bag, normalize

        ids, starts = (
            torch.from_numpy(values) for values in TokenBags.join([self._texts[r] for r in rows])
        )
        sums = embedding_bag(ids, self._table, starts, mode="sum", sparse=True)  # (n, dim)
        vectors = normalize(sums, dim=-1)
        return vectors, vectors

    def state_dict(self) -> dict[str, Any]:
        """Return the token vectors."""
        return {"table": self._table.detach()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Set the token vectors."""
        self._table.data.copy_(state_dict["table"])

    def save(self, folder: Path) -> str:
        """Write the encoder in the format of model2vec, which can open it too."""
        static_model = _model2vec()
        embeddings, weights = _quantize(self._table.detach().numpy(), self._storage)
        model = static_model(
            embeddings, self._tokenizer, weights=weights, normalize=True, max_length=None
        )
        model.save_pretrained(folder)
        return f"static/{folder}"


def require_model2vec() -> None:
    """Raise `MissingDependency` if model2vec, which saves static students, is absent."""
    _model2vec()


def _model2vec() -> Any:
    try:
        from model2vec import StaticModel
    except ImportError as error:
        raise MissingDependency(
            "model2vec is not installed; install it with: pip install 'isthmus[distill]'"
        ) from error
    return StaticModel


def _quantize(vectors: FloatArray, storage: str) -> tuple[np.ndarray, FloatArray | None]:
    """Return rows as they are stored, and the factor of each.

    In 8 bits every row has a scale of its own: with one scale for the table the small vectors of
    frequent tokens would round to zero.
    """
    from model2vec.quantization import DType, quantize_embeddings

    if storage != "int8":
        return quantize_embeddings(vectors, DType(storage)), None
    peaks = np.maximum(np.abs(vectors).max(1), 1e-12).astype(np.float32)
    rows = quantize_embeddings(vectors / peaks[:, None], DType.Int8)
    return rows, np.asarray(peaks / 127, np.float32)


def initial_vectors(tokens: FloatArray, bags: TokenBags, targets: FloatArray) -> FloatArray:
    """Return initial token vectors of a static student.

    Model2Vec (Tulkens and van Dongen, 2024) takes the teacher's vectors of single tokens, weights
    them by smooth inverse frequency (Arora et al., "A simple but tough-to-beat baseline for
    sentence embeddings", ICLR 2017) and removes common components by a PCA. Here frequencies are
    counted instead of estimated from ranks, and a ridge regression from the sums of tokens to the
    teacher's vectors of texts replaces the PCA: it is the best linear map for the task, and it
    applies to tokens that no text contains.

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
    counts = _token_counts(bags, len(tokens))
    weighted = tokens * inverse_frequency(bags.ids, len(tokens))[:, None]
    sums = counts @ weighted  # (n_texts, dim)
    units = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    dim = tokens.shape[1]
    penalty = RIDGE * len(units) / dim * np.eye(dim)
    coefficients = np.linalg.solve(units.T @ units + penalty, units.T @ targets)  # (dim, dim)
    mapped = weighted @ coefficients
    return np.asarray(mapped / np.linalg.norm(counts @ mapped, axis=1).mean(), np.float32)


def inverse_frequency(ids: np.ndarray, size: int) -> FloatArray:
    """Return the weight a / (a + p) of each token, where p is its share of all tokens.

    Examples
    --------
    >>> rare, frequent = inverse_frequency(np.array([1] * 9 + [0]), 2)
    >>> bool(rare > frequent)
    True
    """
    counts = np.bincount(ids, minlength=size) + 0.5
    return np.asarray(SMOOTHING / (SMOOTHING + counts / counts.sum()), np.float32)


def _token_counts(bags: TokenBags, size: int) -> csr_array:
    """Return how often each token occurs in each text, shape (n_texts, size)."""
    from scipy.sparse import csr_array

    ends = np.append(bags.starts, len(bags.ids))
    ones = np.ones(len(bags.ids), np.float32)
    return csr_array((ones, bags.ids, ends), shape=(len(bags.starts), size))


def build_tokenizer(
    teacher: Encoder, texts: Sequence[str], max_words: int, *, only_seen: bool = False
) -> Tokenizer:
    """Return a word-piece tokenizer for a static student.

    It is the teacher's tokenizer where that is one of word pieces, so that words outside of the
    texts have tokens too; else one trained on the texts. Words that it would split, and that
    occur three times or more in the texts, are added as tokens, the most frequent first.

    Parameters
    ----------
    teacher : Encoder
        Source of the tokenizer.
    texts : sequence of str
        Training texts.
    max_words : int
        Maximum number of words that are added.
    only_seen : bool, default False
        Whether pieces that no text contains are left out, apart from single characters.
    """
    from tokenizers import Tokenizer

    settings = json.loads(_word_pieces(teacher, texts).to_str())
    settings |= {"truncation": None, "padding": None, "post_processor": None}
    plain = Tokenizer.from_str(json.dumps(settings))
    vocabulary = settings["model"]["vocab"]
    for word in _frequent_words(plain, texts, frozenset(vocabulary))[:max_words]:
        vocabulary[word] = len(vocabulary)
    if only_seen:
        _drop_unseen(settings, texts)
    return Tokenizer.from_str(json.dumps(settings))


def token_texts(tokenizer: Tokenizer) -> list[str]:
    """Return the text of each token by id: ``##ing`` becomes ``ing``, special tokens are empty."""
    added = tokenizer.get_added_tokens_decoder().values()
    special = {*SPECIAL_TOKENS, *(str(token.content) for token in added)}
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    texts = [""] * (max(vocabulary.values()) + 1)
    for token, number in vocabulary.items():
        texts[number] = "" if token in special else _without_prefix(token)
    return texts


def _word_pieces(teacher: Encoder, texts: Iterable[str]) -> Any:
    tokenizer = getattr(teacher, "tokenizer", None)
    if tokenizer is not None and json.loads(tokenizer.to_str())["model"]["type"] == "WordPiece":
        return tokenizer
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    trained = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    trained.normalizer = normalizers.BertNormalizer()
    trained.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=VOCABULARY_SIZE, special_tokens=list(SPECIAL_TOKENS), show_progress=False
    )
    trained.train_from_iterator(texts, trainer)
    return trained


def _drop_unseen(settings: dict[str, Any], texts: Sequence[str]) -> None:
    """Remove pieces that no text contains from a tokenizer's settings, and renumber the rest."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(json.dumps(settings))
    seen = {number for text in tokenizer.encode_batch_fast(list(texts)) for number in text.ids}
    added = {token["content"] for token in settings["added_tokens"]}
    required = {*added, *SPECIAL_TOKENS}
    tokens = [
        token
        for token, number in settings["model"]["vocab"].items()
        if number in seen or token in required or len(_without_prefix(token)) == 1
    ]
    numbers = {token: number for number, token in enumerate(tokens)}
    settings["model"]["vocab"] = dict(numbers)
    for token in settings["added_tokens"]:
        token["id"] = numbers.setdefault(token["content"], len(numbers))


def _without_prefix(token: str) -> str:
    return token.removeprefix("##")


def _frequent_words(tokenizer: Any, texts: Iterable[str], vocabulary: frozenset[str]) -> list[str]:
    """Return frequent words that the vocabulary lacks, the most frequent first."""
    chunks = Counter(chunk for text in texts for chunk in text.split())
    words: Counter[str] = Counter()
    for chunk, times in chunks.items():
        plain = tokenizer.normalizer.normalize_str(chunk) if tokenizer.normalizer else chunk
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(plain):
            words[word] += times
    frequent = [w for w, times in words.items() if times >= MIN_WORD_COUNT and w not in vocabulary]
    return sorted(frequent, key=lambda word: (-words[word], word))
