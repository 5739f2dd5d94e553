"""Every column name, named once.

Names without an underscore in front are what users see and filter by; names with one belong
to Isthmus and cannot be attributes.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

import pyarrow as pa

Modality = Literal["text", "image", "audio"]
MODALITIES: Final[tuple[Modality, ...]] = get_args(Modality)

ITEM_ID: Final = "item_id"
DOMAIN: Final = "domain"
TEXT: Final = "text"
IMAGE: Final = "image"
USER_ID: Final = "user_id"
HISTORY: Final = "history"
TRUTH: Final = "truth"
EXCLUDE: Final = "exclude"
VALUE: Final = "value"
TIME: Final = "time"
EVENT: Final = "event"
WEIGHT: Final = "weight"
QUERY_ID: Final = "query_id"
VECTOR: Final = "vector"
SCORE: Final = "score"
RANK: Final = "rank"

CONTENT_HASH: Final[dict[Modality, str]] = {"text": "_text_hash", "image": "_image_hash"}
ROW_HASH: Final = "_row_hash"
MODALITY_MASK: Final = "_modalities"
ROW_ID: Final = "_rowid"
UPDATED_AT: Final = "_row_last_updated_at_version"
INTERNAL_PREFIX: Final = "_"

ITEM_COLUMNS: Final = (ITEM_ID, DOMAIN, TEXT, IMAGE)
RESERVED: Final = frozenset({*ITEM_COLUMNS, SCORE, RANK})

INTERACTION_KEY: Final = (USER_ID, ITEM_ID, EVENT)
INTERACTIONS: Final = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in INTERACTION_KEY),
        pa.field(VALUE, pa.float32(), nullable=False),
        pa.field(WEIGHT, pa.float32(), nullable=False),
        pa.field(TIME, pa.timestamp("us", "UTC")),
    ]
)


def vector_column(block: str) -> str:
    """Name the catalog column that holds the vectors of a block.

    Examples
    --------
    >>> vector_column("text")
    '_vector_text'
    """
    return f"_vector_{block}"


def modality_bit(modality: str) -> int:
    """Give the bit of a modality in the modality mask.

    Examples
    --------
    >>> modality_bit("text"), modality_bit("image")
    (1, 2)
    """
    return 1 << MODALITIES.index(modality)


def modalities_in(mask: int) -> list[Modality]:
    """Give the modalities of a modality mask.

    Examples
    --------
    >>> modalities_in(3)
    ['text', 'image']
    """
    return [modality for modality in MODALITIES if mask & modality_bit(modality)]
