"""Names of columns, tables, folders and files, and the version of the on-disk format.

Columns without a leading underscore are public: users see them and filter by them. Columns with
one are internal and cannot be attributes.
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
RECOMMENDATION_ID: Final = "recommendation_id"
VECTOR: Final = "vector"
SCORE: Final = "score"
RANK: Final = "rank"

# The on-disk format of a space, of its releases and of its recommenders. Raise it with every change
# that makes existing files unreadable: a space of another number is refused.
FORMAT: Final = 1

# Folders and files of a space.
SPACE_FILE: Final = "space.toml"
SPACE_FILE_COPY: Final = ".space.toml"
SCENARIOS_FILE: Final = "scenarios.toml"
CATALOG_TABLE: Final = "catalog.lance"
INTERACTIONS_TABLE: Final = "interactions.lance"
USERS_TABLE: Final = "users.lance"
RECOMMENDATIONS_TABLE: Final = "recommendations.lance"
MERGED_USERS_TABLE: Final = "merged_users.lance"
# What is known of users; they are written under the lock "interactions".
USER_TABLES: Final = (INTERACTIONS_TABLE, USERS_TABLE, RECOMMENDATIONS_TABLE, MERGED_USERS_TABLE)
EMBEDDING_CACHE_FOLDER: Final = "embedding_cache"
MEDIA_FOLDER: Final = "media"
ALIGNMENTS_FOLDER: Final = "alignments"
FORMER_SETTINGS_FOLDER: Final = "former_settings"
RELEASES_FOLDER: Final = "releases"
CURRENT_FILE: Final = "CURRENT"
CURRENT_COPY: Final = ".current"  # in the folder of the releases: says that one was current
TRAINING_FOLDER: Final = "training"
FUSION_WEIGHTS_FILE: Final = "fusion_weights.json"
MEASUREMENTS_FOLDER: Final = "measurements"
SECOND_STAGE_FILE: Final = "second_stage.json"
PRIVACY_BUDGET_FILE: Final = "privacy_budget.json"
VECTORS_FILE: Final = ".vectors.f32"  # while a column of vectors is computed

# Folders and files of a release.
MANIFEST_FILE: Final = "manifest.json"
RELEASE_ALIGNMENT_FOLDER: Final = "alignment"
RECOMMENDER_FOLDER: Final = "recommender"

# In the mask of modalities: the item has a vector that was given with it.
GIVEN_BIT: Final = 128
CONTENT_HASH: Final[dict[Modality, str]] = {m: f"_{m}_hash" for m in MODALITIES}
CONTENT_VERSION: Final = "_content_version"  # at which the vectors of the item last changed
MODALITY_MASK: Final = "_modalities"
QUARANTINE: Final = "_quarantine"
ROW_ID: Final = "_rowid"  # this and the next two are the names that Lance uses
CREATED_AT: Final = "_row_created_at_version"
UPDATED_AT: Final = "_row_last_updated_at_version"
INTERNAL_PREFIX: Final = "_"
ATTRIBUTE_PREFIX: Final = "_attribute_"  # of the column of an attribute whose name is taken
ATTRIBUTES_KEY: Final = "isthmus.attributes."  # in the catalog's config, followed by a domain
KEPT: Final = "_kept"  # of items that are read, and not stored
WHOLE_TEXT: Final = "_whole_text"  # likewise
MAPPING_KEY: Final = "isthmus.mapping."  # likewise

ITEM_COLUMNS: Final = (ITEM_ID, DOMAIN, TEXT, IMAGE)  # of every catalog; see `media_columns`
RESERVED: Final = frozenset(ITEM_COLUMNS)

INTERACTION_KEY: Final = (USER_ID, ITEM_ID, EVENT)
INTERACTIONS: Final = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in INTERACTION_KEY),
        pa.field(VALUE, pa.float32()),
        pa.field(WEIGHT, pa.float32(), nullable=False),
        pa.field(TIME, pa.timestamp("us", "UTC")),
    ]
)
# Beside these: a digest of the whole event, and when and in which order it was added.
EVENT_KEY: Final = f"{INTERNAL_PREFIX}key"
EVENT_ADDED: Final = f"{INTERNAL_PREFIX}added"
# The list that the item of an event was shown in; a table has it since the first such event.
EVENT_RECOMMENDATION: Final = f"{INTERNAL_PREFIX}recommendation"
STORED_INTERACTIONS: Final = pa.schema(
    [
        *INTERACTIONS,
        pa.field(EVENT_KEY, pa.int64(), nullable=False),
        pa.field(EVENT_ADDED, pa.int64(), nullable=False),
    ]
)


def media_columns(modalities: Iterable[str]) -> tuple[Modality, ...]:
    """Return the columns that hold media, in a space of these modalities.

    Every space has a column of images. A space that encodes audio has one of audio; in any other
    space a column of that name is an attribute.

    Examples
    --------
    >>> media_columns({"text"}), media_columns({"text", "audio"})
    (('image',), ('image', 'audio'))
    """
    return ("image", "audio") if AUDIO in modalities else ("image",)


def inline_column(modality: str) -> str:
    """Return the column of an item table that holds media given as bytes.

    Examples
    --------
    >>> inline_column("image")
    '_image_bytes'
    """
    return f"_{modality}_bytes"


def vector_column(vector_name: str) -> str:
    """Return the column of the catalog that holds a named vector.

    Examples
    --------
    >>> vector_column("text")
    '_vector_text'
    """
    return f"_vector_{vector_name}"


def modality_bit(modality: str) -> int:
    """Return the bit of a modality in the modality mask.

    Examples
    --------
    >>> modality_bit("text"), modality_bit("image")
    (1, 2)
    """
    return 1 << MODALITIES.index(modality)


def modalities_in(mask: int) -> list[Modality]:
    """Return the modalities of a modality mask.

    Examples
    --------
    >>> modalities_in(3)
    ['text', 'image']
    """
    return [modality for modality in MODALITIES if mask & modality_bit(modality)]


def contents_in(mask: int) -> list[str]:
    """Return what an item is found by: modalities, and ``vector`` where one was given with it.

    Examples
    --------
    >>> contents_in(1 | GIVEN_BIT), contents_in(0)
    (['text', 'vector'], [])
    """
    return [*modalities_in(mask), *([VECTOR] if mask & GIVEN_BIT else [])]
