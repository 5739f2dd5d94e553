"""What the operations take: one request a verb."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SkipValidation, model_validator

from isthmus.data.request import (
    IdColumn,
    InteractionColumns,
    ItemColumns,
    TableOptions,
    UserColumns,
)
from isthmus.data.times import TimeUnit
from isthmus.errors import InvalidInput
from isthmus.ids import Id, Ids
from isthmus.index.settings import Preference
from isthmus.requests import Names, Request
from isthmus.retrieval.search.request import FilterOptions

POSITIVE_FROM = (
    "Least value that counts as positive; by default 0.8 of the largest where values differ."
)
SKIP_INVALID = "Leave invalid rows out rather than refuse them all."
HTTP = "Whether http(s) addresses of images and audio may be fetched."


class EncoderOptions(Request):
    """Which encoder serves which modality."""

    text_encoder: SkipValidation[Any] = Field(default=None, description="Encoder of text alone.")
    image_encoder: SkipValidation[Any] = Field(default=None, description="Encoder of images alone.")
    audio_encoder: SkipValidation[Any] = Field(default=None, description="Encoder of audio alone.")
    alignment: SkipValidation[Any] = Field(
        default="auto",
        description="Alignment of text and images of different encoders: a folder, auto (one "
        "that fits), or none.",
    )
    precision: str = Field(default="auto", description="auto, fp32, bf16 or fp16.")
    query_prompt: str | None = Field(
        default=None, description="Text put before each query for its encoder."
    )
    document_prompt: str | None = Field(
        default=None, description="Text put before the text of each item for its encoder."
    )

    @property
    def prompts(self) -> dict[str, str]:
        """The prompts that are given, by role."""
        given = {"query": self.query_prompt, "document": self.document_prompt}
        return {role: prompt for role, prompt in given.items() if prompt is not None}


class CreateRequest(EncoderOptions):
    """A new, empty space."""

    path: Path = Field(description="Folder to create.")
    encoder: SkipValidation[Any] = Field(
        default="local",
        description="Encoder of every modality; none for a space of vectors that are given.",
    )
    vectors: SkipValidation[Mapping[str, int] | None] = Field(
        default=None,
        description="Named vectors that come with the items, and their length (embedding=384); "
        "nothing is encoded for them. One called text, image or joint replaces that "
        "of the encoder, which then encodes queries alone.",
    )
    weights: SkipValidation[Any] = Field(
        default=None, description="Weight of each modality (image=2); 1 where not given."
    )
    recall: float = Field(
        default=0.95, description="Recall@10 against exact search that a release must reach."
    )
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:N or all (GPUs).")


class ReembedRequest(EncoderOptions):
    """Other encoders for a space."""

    encoder: SkipValidation[Any] = Field(
        default=None, description="Encoder of every modality that it takes."
    )
    drop_recommender: bool = Field(
        default=False,
        description="Drop a recommender that was trained on the former vectors.",
    )
    http: bool = Field(default=False, description=HTTP)


class EngineOptions(Request):
    """What encodes the contents of items: this process, or a Ray cluster."""

    engine: Literal["local", "ray"] = Field(
        default="local", description="What encodes contents: this process, or a Ray cluster."
    )
    address: str | None = Field(
        default=None,
        description="Address of the Ray cluster; by default that of RAY_ADDRESS, else one that is "
        "started on this machine.",
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        description="Actors of Ray that encode, each with a model of its own; by default 1.",
    )
    gpus_per_worker: float | None = Field(
        default=None, ge=0, description="GPUs of each actor of Ray that encodes; by default none."
    )
    concurrency: str | int | None = Field(
        default=None,
        description="Actors of Ray that read and decode media: a number, or the least and the most "
        "(4:32); by default 1.",
    )

    @model_validator(mode="after")
    def _check_engine(self) -> Self:
        of_ray = ("address", "workers", "gpus_per_worker", "concurrency")
        given = [name for name in of_ray if getattr(self, name) is not None]
        if given and self.engine != "ray":
            raise InvalidInput(f"{given[0]} is for engine='ray' (--engine ray); give that too")
        _ = self.pool_of_decoders
        return self

    @property
    def pool_of_decoders(self) -> tuple[int, int]:
        """The least and the most actors that read and decode media."""
        least, _, most = str(1 if self.concurrency is None else self.concurrency).partition(":")
        sizes = [least, most or least]
        if not all(size.isdecimal() and int(size) for size in sizes) or int(sizes[0]) > int(
            sizes[1]
        ):
            raise InvalidInput(
                f"concurrency is {self.concurrency!r}; give a number, or the least and the most, "
                "such as 4:32"
            )
        return int(sizes[0]), int(sizes[1])


class UpsertRequest(TableOptions, ItemColumns, EngineOptions):
    """Items to add or replace, and which columns are what."""

    items: SkipValidation[Any] = Field(
        description="Files, globs or folders; tables, frames or dicts."
    )
    vector: SkipValidation[Any] = Field(
        default=None,
        description="Column of vectors, for a space with one named vector that comes with the "
        "items; in Python also an array of shape (n_items, dim).",
    )
    vectors: SkipValidation[Mapping[str, Any] | None] = Field(
        default=None,
        description="Columns of vectors by named vector (text=text_emb); in Python also arrays of "
        "shape (n_items, dim). By default those of the domain.",
    )
    replace: bool = Field(
        default=False,
        description="Replace whole items: remove what the input has no column for, rather than "
        "keep it.",
    )
    remap: bool = Field(
        default=False,
        description="Change which columns make the id, the text and the media of a domain that "
        "has items.",
    )
    sync: bool = Field(
        default=False,
        description="Delete the items of the domain that the input does not have; needs domain.",
    )
    max_delete: str | int | float = Field(
        default="5%",
        description="Most items of the domain that sync may delete: a share (5%) or a number.",
    )
    dry_run: bool = Field(
        default=False, description="Only report what would be done; nothing is encoded or written."
    )
    skip_invalid: bool = Field(default=False, description=SKIP_INVALID)
    http: bool = Field(default=False, description=HTTP)


class UpdateRequest(TableOptions, IdColumn):
    """Changes of items that are there."""

    items: SkipValidation[Any] = Field(
        description="Files, globs or folders; tables, frames or dicts: an id, and the columns "
        "that change."
    )
    domain: str | None = Field(
        default=None, description="Domain of every item; by default that which each item has."
    )
    vector: SkipValidation[Any] = Field(
        default=None,
        description="Column of vectors, or an array; by default that of the domain.",
    )
    vectors: SkipValidation[Mapping[str, Any] | None] = Field(
        default=None,
        description="Columns of vectors by named vector (text=text_emb), or arrays; by default "
        "those of the domain.",
    )
    skip_invalid: bool = Field(default=False, description=SKIP_INVALID)
    http: bool = Field(default=False, description=HTTP)


class DeleteRequest(Request):
    """Items to delete: by id, by a file of ids, or by a filter."""

    item_ids: Ids | None = Field(default=None, description="Items to delete.")
    domain: Names = Field(default=None, description="Only items of this domain, or of several.")
    # Not validated here: the index names the columns in its error.
    where: SkipValidation[str | None] = Field(
        default=None,
        description="SQL predicate over item_id, domain, text, image, audio and attributes.",
    )
    file: SkipValidation[Any] = Field(
        default=None, description="File or table with a column item_id, or text with an id a line."
    )

    @property
    def names(self) -> bool:
        """Whether items are named."""
        return self.item_ids is not None or self.file is not None

    @property
    def selects(self) -> bool:
        """Whether a filter is given."""
        return self.domain is not None or self.where is not None

    @model_validator(mode="after")
    def _require_items(self) -> Self:
        if not (self.names or self.selects):
            raise ValueError("nothing is named to delete; give ids, a file, a domain or where")
        return self


class VectorsRequest(FilterOptions):
    """Which vectors of which items to read."""

    names: Names = Field(default=None, description="Named vectors, such as text; by default all.")
    attributes: bool = Field(
        default=False, description="Also text, image, audio and attributes of each item."
    )


class AttributesRequest(Request):
    """Which attributes to list."""

    domain: Names = Field(default=None, description="Only of this domain, or of several.")


class AttributeRequest(Request):
    """An attribute of the items of a domain."""

    domain: str = Field(description="Domain that has the attribute.")
    name: str = Field(description="Name of the attribute.")


class CastAttributeRequest(AttributeRequest):
    """Another type for an attribute."""

    type: str = Field(
        description="The type: text, int64, double, bool, date, timestamp, timestamp[UTC], "
        "decimal(10, 2) or list<text>."
    )
    time_unit: TimeUnit | None = Field(
        default=None,
        description="Unit of numbers that become times: s, ms, us, ns or yyyymmdd.",
    )
    allow_lossy: bool = Field(
        default=False,
        description="Allow casts that lose information: 9.99 becomes 10, a time its date.",
    )


class RenameAttributeRequest(AttributeRequest):
    """Another name for an attribute."""

    new_name: str = Field(description="The new name.")


class DropAttributeRequest(AttributeRequest):
    """An attribute to drop, with all its values."""


class InteractionsRequest(TableOptions, InteractionColumns):
    """Interactions to add, and which columns are what."""

    source: SkipValidation[Any] = Field(
        description="Files, globs or folders; tables, frames or dicts."
    )
    skip_invalid: bool = Field(default=False, description=SKIP_INVALID)


class UsersRequest(TableOptions, UserColumns):
    """Users to add or change, and which columns are what."""

    source: SkipValidation[Any] = Field(
        description="Files, globs or folders; tables, frames or dicts."
    )
    skip_invalid: bool = Field(default=False, description=SKIP_INVALID)


class MergeUsersRequest(Request):
    """Two users that are one."""

    user_id: Id = Field(description="The user that is no more, such as an anonymous one.")
    into: Id = Field(description="The user that has everything afterwards.")

    def check(self) -> None:
        """Raise `InvalidInput` if they are the same."""
        super().check()
        if self.user_id == self.into:
            raise InvalidInput(f"user_id and into are both {self.into!r}; give two users")


class TargetOptions(Request):
    """What a release must reach, in place of the targets of the space."""

    recall: float | None = Field(default=None, description="Recall@10 to reach.")
    latency_ms: float | None = Field(
        default=None, description="Largest 99th percentile of a single query, in milliseconds."
    )
    memory: int | str | None = Field(
        default=None,
        description="Largest size of a named vector's index, in bytes or such as 4GiB.",
    )
    prefer: Preference | None = Field(
        default=None,
        description="Of the indexes that reach the targets: speed, or memory or build, which take "
        "the smallest, or the one built soonest, of those at most four times as slow.",
    )


class PublishRequest(TargetOptions):
    """A new release."""

    retrain: bool = Field(default=False, description="Plan and train the index anew.")
    rebuild: bool = Field(
        default=False,
        description="Plan and train anew from the catalog alone; repairs a damaged release.",
    )
    keep_recommender: bool = Field(
        default=False,
        description="Keep the recommender of the current release, whatever was trained since.",
    )


class PlanRequest(TargetOptions):
    """Index recipes, measured on a sample."""

    rows: int | None = Field(
        default=None,
        description="Plan for this many vectors per named vector; by default those there are.",
    )
    dims: tuple[int, ...] = Field(
        default=(),
        description="Lengths of shortened vectors (their first values) to measure, in the place "
        "of recipes.",
    )


class VerifyRequest(Request):
    """What is done about damaged files."""

    repair: bool = Field(
        default=False,
        description="Mend what follows from something else: indexes, releases, embeddings, "
        "checksums, copies.",
    )
    drop_damaged: bool = Field(
        default=False,
        description="Also drop the rows of damaged files, and name them, so that the other rows "
        "can be read.",
    )


class MonitorRequest(Request):
    """How a space is watched; thresholds are those of ``[monitoring]`` in ``space.toml``."""

    on_alarm: Literal["report", "rollback"] | None = Field(
        default=None,
        description="What follows if recall is too small: report, or rollback to the previous "
        "release; by default what space.toml says.",
    )
    seed: int | None = Field(
        default=None, description="Of the samples; by default another one each time."
    )


class BackupRequest(Request):
    """Where a space is backed up."""

    to: str | Path = Field(
        description="Folder, or address of object storage, of the backups of this space."
    )
    keep: int | None = Field(
        default=None, ge=1, description="Keep the last so many backups, and remove older ones."
    )


class AlignRequest(Request):
    """What an alignment is learned from; how, say the settings."""

    pairs: SkipValidation[Any] = Field(
        default=None,
        description="Files of texts and images that belong together; by default the items of the "
        "space that have both.",
    )
    text: str | None = Field(
        default=None, description='Column or template of the text, such as "{title}. {genres}".'
    )
    image: str | None = Field(default=None, description="Column of the image.")
    http: bool = Field(default=False, description=HTTP)


class PrecomputeRequest(Request):
    """What a model of the second stage makes of the contents of items."""

    model: str = Field(
        description="Model: late-interaction/NAME_OR_FOLDER or sparse/NAME_OR_FOLDER."
    )


class LearnFusionRequest(Request):
    """What fusion weights are learned from."""

    pairs: SkipValidation[Any] = Field(
        default=None,
        description="item_id beside like (an item) or text; by default items that the same users "
        "liked.",
    )
    label: str | None = Field(
        default=None, description="Attribute: items of one value belong together."
    )


class FinetuneRequest(Request):
    """What a text encoder is fine-tuned on in a space; how, say the settings."""

    target: str = Field(description="Domain to learn from.")
    out: Path = Field(description="Folder for the encoder.")
    encoder: str | None = Field(
        default=None, description="Spec to start from; by default the text encoder of the space."
    )
    label: str | None = Field(
        default=None,
        description="Attribute by which items of the other domains belong together, where their "
        "interactions are too few.",
    )
    min_common_users: int = Field(
        default=2, ge=1, description="Users in common that make two items a pair."
    )
    max_pairs_per_item: int = Field(
        default=10, ge=1, description="Pairs an item keeps, the best by cosine of their users."
    )
    positive_from: float | None = Field(default=None, description=POSITIVE_FROM)
    device: str = Field(default="auto", description="auto, cpu, cuda or cuda:N.")
