"""Every column name, named once.

Names without an underscore in front are what users see and filter by; names with one belong
to Isthmus and cannot be attributes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, get_args

import pyarrow as pa

Modality = Literal["text", "image", "audio"]
MODALITIES: Final[tuple[Modality, ...]] = get_args(Modality)
MEDIA: Final[tuple[Modality, ...]] = ("image", "audio")

ITEM_ID: Final = "item_id"
DOMAIN: Final = "domain"
TEXT: Final = "text"
IMAGE: Final = "image"
AUDIO: Final = "audio"
USER_ID: Final = "user_id"
HISTORY: Final = "history"
CLICKS: Final = "clicks"
RATINGS: Final = "ratings"
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

CONTENT_HASH: Final[dict[Modality, str]] = {m: f"_{m}_hash" for m in MODALITIES}
ROW_HASH: Final = "_row_hash"
MODALITY_MASK: Final = "_modalities"
ROW_ID: Final = "_rowid"
UPDATED_AT: Final = "_row_last_updated_at_version"
INTERNAL_PREFIX: Final = "_"

ITEM_COLUMNS: Final = (ITEM_ID, DOMAIN, TEXT, IMAGE)  # of every catalog; see `media_columns`
RESERVED: Final = frozenset({*ITEM_COLUMNS, SCORE, RANK})

INTERACTIONS_TABLE: Final = "interactions.lance"
INTERACTION_KEY: Final = (USER_ID, ITEM_ID, EVENT)
INTERACTIONS: Final = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in INTERACTION_KEY),
        pa.field(VALUE, pa.float32(), nullable=False),
        pa.field(WEIGHT, pa.float32(), nullable=False),
        pa.field(TIME, pa.timestamp("us", "UTC")),
    ]
)


def media_columns(modalities: Iterable[str]) -> tuple[Modality, ...]:
    """Name the columns of files that items have, in a space of these modalities.

    Pictures have one in every space. Audio has one where it is encoded; elsewhere a column of
    that name is an attribute, as it was before Isthmus took audio.

    Examples
    --------
    >>> media_columns({"text"}), media_columns({"text", "audio"})
    (('image',), ('image', 'audio'))
    """
    return ("image", "audio") if AUDIO in modalities else ("image",)


def inline_column(modality: str) -> str:
    """Name the column of an item table that holds files given as bytes.

    Examples
    --------
    >>> inline_column("image")
    '_image_bytes'
    """
    return f"_{modality}_bytes"


def vector_column(vector_name: str) -> str:
    """Name the catalog column that holds the vectors of a named vector.

    Examples
    --------
    >>> vector_column("text")
    '_vector_text'
    """
    return f"_vector_{vector_name}"


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
