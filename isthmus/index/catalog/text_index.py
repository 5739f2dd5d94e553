"""The index of words: which items share a word with a text."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from isthmus.schema import ITEM_ID, TEXT

WORD_SCORE = "_score"
NAME = "text_idx"
# ICU finds the words of scripts without spaces; the stop words of one language are names in
# another, and BM25 gives common words little weight anyway.
OPTIONS = {
    "base_tokenizer": "icu",
    "with_position": False,
    "remove_stop_words": False,
}
EVERY_PART = 1_000_000


def has_word_index(dataset: Any) -> bool:
    """Tell whether a table of items has an index of words, if perhaps an older one."""
    return any(index["name"] == NAME for index in dataset.list_indices())


def index_words(dataset: Any) -> None:
    """Make the index of words of a table of items, or bring it up to date.

    It is always merged into one part: as of Lance 14, parts that are only appended still find a
    changed item by its former words, since stable row ids stay
    (https://github.com/lance-format/lance/issues/7795).
    """
    if has_word_index(dataset):
        dataset.optimize.optimize_indices(index_names=[NAME], num_indices_to_merge=EVERY_PART)
    else:
        dataset.create_scalar_index(TEXT, "INVERTED", name=NAME, **OPTIONS)


def match_words(dataset: Any, text: str, limit: int) -> pa.Table:
    """Give the items whose text holds some word of another text, best by BM25 first.

    Items newer than the index of words, or all of them where there is none, are read one by
    one. The text is taken as plain words: it has no operators.

    Returns
    -------
    pyarrow.Table
        At most `limit` rows of item_id and ``_score``.
    """
    from lance.query import MatchQuery

    # Arrow and Lance hold valid Unicode only; a half of a surrogate pair is no word.
    words = text.encode("utf-8", "replace").decode()
    scanner = dataset.scanner(
        columns=[ITEM_ID, WORD_SCORE], full_text_query=MatchQuery(words, TEXT), limit=limit
    )
    return scanner.to_table()
