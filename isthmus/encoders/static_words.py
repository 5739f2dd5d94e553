"""From texts to token ids, each distinct word being tokenised once.

Tokenising costs a static encoder more than all else it does, and texts repeat their words.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]

MOST_WORDS: Final = 500_000


class Bags(NamedTuple):
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
    def join(cls, rows: Sequence[Ids]) -> Bags:
        """Put the ids of texts one after another.

        Examples
        --------
        >>> Bags.join([np.array([5, 6]), np.array([7])]).starts.tolist()
        [0, 2]
        """
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        return cls(np.concatenate([np.empty(0, np.int64), *rows]), starts_of(lengths))

    def divide(self) -> list[Ids]:
        """Give the ids of each text."""
        ends = [*self.starts[1:].tolist(), len(self.ids)][: len(self.starts)]
        return [self.ids[a:b] for a, b in zip(self.starts.tolist(), ends, strict=True)]


class Words:
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

    def __call__(self, texts: Sequence[str]) -> Bags:
        """Give the ids of texts."""
        divided = [text.split() for text in texts]
        words = list(itertools.chain.from_iterable(divided))
        known = self._knowing(words)
        numbers = np.fromiter(map(known.numbers.__getitem__, words), np.int64, len(words))
        starts, lengths, ids = known.arrays
        counts = np.fromiter(map(len, divided), np.int64, len(divided))
        tokens = sums_of(lengths[numbers], counts)
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

    def _fill(self, ids: Ids, lengths: Ids) -> Bags:
        """Give texts without tokens the id that stands for nothing."""
        starts = starts_of(lengths)
        empty = np.flatnonzero(lengths == 0)
        if len(empty):
            ids = np.insert(ids, starts[empty], self._nothing)
            starts = starts_of(np.maximum(lengths, 1))
        return Bags(ids, starts)


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
            np.concatenate([starts, starts_of(new) + len(ids)]),
            np.concatenate([lengths, new]),
            np.concatenate([ids, more]),
        )
        first = len(starts)
        self.numbers.update({word: first + n for n, word in enumerate(words)})


def starts_of(lengths: Ids) -> Ids:
    """Give where parts begin that stand one after another.

    Examples
    --------
    >>> starts_of(np.array([2, 0, 3])).tolist()
    [0, 2, 2]
    """
    return np.cumsum(lengths) - lengths


def sums_of(values: Ids, counts: Ids) -> Ids:
    """Add up the first counts[0] values, then the next counts[1], and so on.

    Examples
    --------
    >>> sums_of(np.array([1, 2, 3]), np.array([2, 0, 1])).tolist()
    [3, 0, 3]
    """
    total = np.concatenate([[0], np.cumsum(values)])
    ends = np.cumsum(counts)
    return np.asarray(total[ends] - total[ends - counts], np.int64)


def _gather(ids: Ids, starts: Ids, lengths: Ids) -> Ids:
    """Put ids[start : start + length] of all parts one after another."""
    inside = np.arange(int(lengths.sum())) - np.repeat(starts_of(lengths), lengths)
    return np.asarray(ids[np.repeat(starts, lengths) + inside], np.int64)
