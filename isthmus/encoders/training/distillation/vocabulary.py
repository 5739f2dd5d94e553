"""The vocabulary of a static student: the teacher's word pieces, and whole words of the texts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from isthmus.encoders.encoder import Encoder

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PIECES: Final = 30_000
LEAST_OFTEN: Final = 3
SPECIAL: Final = ("[PAD]", "[UNK]")


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
