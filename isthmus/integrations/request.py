"""What the integrations take: one request a command."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from isthmus.requests import ListedNames, Request


class ImportRequest(Request):
    """A collection to import, and what its items become."""

    source: str = Field(
        description="File (.parquet, .lance, .npy, .faiss), folder of Qdrant or Chroma, or the "
        "address of its server."
    )
    format: str | None = Field(
        default=None,
        description="parquet, lance, npy, faiss, qdrant or chroma; by default recognised from "
        "the source.",
    )
    ids: Path | None = Field(
        default=None,
        description="Ids of a .npy file or a FAISS index: .txt (one a line), .npy, or a table "
        "with a column item_id.",
    )
    collection: str | None = Field(
        default=None, description="Collection of a database; by default its only one."
    )
    domain: str | None = Field(
        default=None, description="Domain of every item; by default the name of the collection."
    )
    domain_column: str | None = Field(default=None, description="Column or key of the domain.")
    id: str | None = Field(
        default=None,
        description="Column, key or template of the item id; by default item_id, or "
        "the id of the point.",
    )
    text: str | None = Field(default=None, description="Column, key or template of the text.")
    vector: str | None = Field(
        default=None,
        description="Column of vectors of a table; by default every column of lists of numbers.",
    )
    vector_name: str | None = Field(
        default=None,
        description="Named vector that the vectors of a collection with one become; by default "
        "text where a text encoder is given, else vector.",
    )
    encoder: str = Field(
        default="none", description="Encoder of queries for a new space, such as open_clip/NAME."
    )
    text_encoder: str | None = Field(
        default=None, description="Encoder of text queries for a new space: the one that made them."
    )
    exclude: ListedNames = Field(
        default=(), description="Columns or keys not to store as attributes (a,b,c)."
    )
    skip_invalid: bool = Field(
        default=False, description="Leave invalid rows out rather than refuse them all."
    )


class EnrichRequest(Request):
    """What a chat model writes about which items."""

    model: str = Field(
        description="Chat model, such as openai/NAME?base_url=http://host:8000/v1; its key comes "
        "from the environment (OPENAI_API_KEY, or key_env)."
    )
    prompt_file: Path = Field(description="Text that says what to write about an item.")
    domain: str = Field(description="Domain of the items.")
    where: str | None = Field(default=None, description="SQL predicate: only these items.")
    fields: Mapping[str, str] | None = Field(
        default=None,
        description="Attributes to fill beside the description, and their types (mood=text): text, "
        "int, float, bool or list<text>; stored as ai_mood and so on.",
    )
    text: bool = Field(
        default=False,
        description="Add the description to the text of the items, which are encoded anew.",
    )
    budget: int = Field(default=100_000, ge=1, description="Most tokens to use.")
    concurrency: int = Field(default=4, ge=1, description="Questions at a time.")
    dry_run: bool = Field(
        default=False, description="Only say how many items and tokens it would be."
    )
