"""The full-text index: which items share a word with a text, by BM25."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from isthmus.data.lance_library import lance_library
from isthmus.data.lance_tables import TEXT_INDEX
from isthmus.data.table_checksums import require_index_intact
from isthmus.errors import CorruptTable
from isthmus.schema import ITEM_ID, TEXT

WORD_SCORE = "_score"
REMEDY = "publish"
# ICU segments scripts without spaces. Stop words of one language are names in another, and BM25
# gives common words little weight anyway.
OPTIONS = {
    "base_tokenizer": "icu",
    "with_position": False,
    "remove_stop_words": False,
}
ALL_PARTS = 1_000_000


def has_word_index(dataset: Any) -> bool:
    """Return whether a table of items has a full-text index, which may be out of date."""
    return any(index["name"] == TEXT_INDEX for index in dataset.list_indices())


def index_words(dataset: Any) -> None:
    """Build the full-text index of a table of items, or bring it up to date.

    All parts of the index are merged into one. As of Lance 14, appended parts still find a changed
    item by its former words, because its stable row id stays the same
    (https://github.com/lance-format/lance/issues/7795). A damaged index is built anew.
    """
    present = has_word_index(dataset)
    if present and not _is_intact(dataset):
        dataset.drop_index(TEXT_INDEX)
        present = False
    if present:
        dataset.optimize.optimize_indices(index_names=[TEXT_INDEX], num_indices_to_merge=ALL_PARTS)
    else:
        dataset.create_scalar_index(TEXT, "INVERTED", name=TEXT_INDEX, **OPTIONS)


def match_words(dataset: Any, text: str, limit: int) -> pa.Table:
    """Return the items that share a word with a text, best by BM25 first.

    Items newer than the index, or all items where there is none, are scanned. The text is plain
    words, without operators.

    Returns
    -------
    pyarrow.Table
        At most `limit` rows of item_id, text and ``_score``.
    """
    require_index_intact(Path(dataset.uri), int(dataset.version), TEXT_INDEX, REMEDY)
    # Arrow and Lance accept only valid Unicode; half of a surrogate pair is no word.
    words = text.encode("utf-8", "replace").decode()
    query = lance_library().query.MatchQuery(words, TEXT)
    scanner = dataset.scanner(
        columns=[ITEM_ID, TEXT, WORD_SCORE], full_text_query=query, limit=limit
    )
    return scanner.to_table()


def _is_intact(dataset: Any) -> bool:
    try:
        require_index_intact(Path(dataset.uri), int(dataset.version), TEXT_INDEX, REMEDY)
    except CorruptTable:
        return False
    return True
