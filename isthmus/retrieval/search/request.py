"""What the searching verbs take: one request a verb, and the options of every ranked list."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SkipValidation

from isthmus.errors import InvalidInput
from isthmus.ids import Id, Ids
from isthmus.requests import ListedNames, Names, Request
from isthmus.retrieval.search.quota_request import Quotas, check_quotas
from isthmus.retrieval.search.rule_request import (
    Boosts,
    Caps,
    check_boosts,
    check_caps,
    check_pins,
)

OVERSAMPLING = 5
MIN_CANDIDATES = 100
SHIFTS = ("center_scores", "hubness_correction", "normalize_scores")
RERANK_DEPTH = 50


class FilterOptions(Request):
    """Which items take part."""

    domain: Names = Field(default=None, description="Only items of this domain, or of several.")
    # Not validated here: the index names the columns in its error.
    where: SkipValidation[str | None] = Field(
        default=None,
        description="SQL predicate over item_id, domain, text, image, audio and attributes.",
    )

    @property
    def domains(self) -> list[str] | None:
        """The domains as a list; None for all of them."""
        return None if self.domain is None else list(self.domain)


class RuleOptions(FilterOptions):
    """Business rules of a list: what moves, comes first, stays out, or comes at most so often."""

    boost: SkipValidation[Boosts | None] = Field(
        default=None,
        description="Predicates whose items move: a factor that their place is divided by (2), or "
        "places to move up ('+5') or down ('-5').",
    )
    pin: Ids = Field(default=(), description="Items of the first places, in this order.")
    ban: Ids = Field(default=(), description="Items that are left out.")
    caps: SkipValidation[Caps | None] = Field(
        default=None,
        description="Most items with one value of an attribute in the whole list (brand=2).",
    )

    def check(self) -> None:
        """Raise `InvalidInput` if a rule is not valid."""
        super().check()
        if self.boost is not None:
            check_boosts(self.boost)
        if self.caps is not None:
            check_caps(self.caps)
        if self.pin:
            check_pins(self.pin, self.ban)

    @property
    def ruled(self) -> bool:
        """Whether there are rules."""
        return bool(self.boost or self.pin or self.ban or self.caps)


class ShapeOptions(RuleOptions):
    """How diverse a ranked list is, and what share of it each domain has."""

    diversity: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Diversity (MMR), from 0, relevance alone, to 1, items unlike each other.",
    )
    num_candidates: int | None = Field(
        default=None,
        ge=1,
        description="How many of the most relevant items a diverse list is chosen from; by "
        "default 5 k, and at least 100.",
    )
    quotas: SkipValidation[Quotas | None] = Field(
        default=None,
        description="Places of each domain: a number on each page of k (films=3) or a share "
        "(films=0.5).",
    )


class ListOptions(ShapeOptions):
    """How long a ranked list is, and which scenario it belongs to."""

    k: int | None = Field(
        default=10, ge=1, description="How many items; None for all that reach min_score."
    )
    scenario: str | None = Field(
        default=None,
        description="Named set of rules of the space; an argument that is given beside it takes "
        "the place of the scenario's, except where and ban, of which both hold.",
    )

    def check(self) -> None:
        """Raise `InvalidInput` if the length does not go with candidates or quotas."""
        super().check()
        if self.k is None:
            self._check_unlimited()
        elif self.num_candidates is not None and self.num_candidates < self.k:
            raise InvalidInput(
                f"num_candidates is {self.num_candidates}, but k is {self.k}; a diverse list is "
                "chosen from at least as many as it holds"
            )
        if self.quotas and self.k is not None:
            check_quotas(self.quotas, self.k)

    def _check_unlimited(self) -> None:
        raise InvalidInput("k is None; give a k")

    @property
    def plain(self) -> bool:
        """Whether the list is the best k items and nothing else."""
        return not (self.diversity or self.quotas or self.ruled)

    @property
    def by_domain(self) -> bool:
        """Whether scores are made relative to what the query scores in each domain."""
        return False

    def depth(self, n: int) -> int:
        """Return how many candidates each group of domains contributes to a list of n."""
        if not self.diversity:
            return n
        return self.num_candidates or max(OVERSAMPLING * n, MIN_CANDIDATES)


class PageOptions(ListOptions):
    """Which part of a ranked list is returned."""

    offset: int = Field(default=0, ge=0, description="How many of the best items to pass over.")
    cursor: str | None = Field(
        default=None,
        description="The cursor of the page before, in the place of an offset: no item comes "
        "twice or is passed over while one release is current.",
    )

    def check(self) -> None:
        """Raise `InvalidInput` if it is not clear where the page begins."""
        super().check()
        if self.cursor is not None and self.offset:
            raise InvalidInput("a cursor says where the page begins; give it without an offset")
        if self.cursor is not None and self.k is None:
            raise InvalidInput("k is None; give the k of each page beside a cursor")


class RankingOptions(PageOptions):
    """How the items of a list are scored and cut, beside how it is composed."""

    min_score: float | None = Field(default=None, description="Least score of a hit.")
    normalize_scores: bool = Field(
        default=False,
        description="Rank by standard scores: standard deviations above the mean score of the "
        "query in the item's domain.",
    )
    hubness_correction: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Hubness correction (CSLS), from 0 to 1: lowers items that are near to most "
        "queries.",
    )
    center_scores: bool = Field(
        default=False, description="Subtract the mean score of the query in the item's domain."
    )

    def check(self) -> None:
        """Raise `InvalidInput` if scores would be shifted twice, or have no finite minimum."""
        super().check()
        given = [name for name in SHIFTS if getattr(self, name)]
        if len(given) > 1:
            raise InvalidInput(f"{' and '.join(given)} shift the scores; give one of them")
        if self.min_score is not None and not math.isfinite(self.min_score):
            raise InvalidInput(f"min_score is {self.min_score}; give a finite number")

    def _check_unlimited(self) -> None:
        if self.min_score is None:
            raise InvalidInput("k is None; give a k, or a min_score to find all that reach it")
        if self.diversity or self.quotas:
            raise InvalidInput("diversity and quotas are ways to fill k places; give a k")

    @property
    def plain(self) -> bool:
        """Whether the list is the best k items and nothing else."""
        return super().plain and self.plainly_scored

    @property
    def plainly_scored(self) -> bool:
        """Whether the scores are those of the query, and none is too low."""
        return self.min_score is None and not (self.by_domain or self.hubness_correction)

    @property
    def by_domain(self) -> bool:
        """Whether scores are made relative to what the query scores in each domain."""
        return self.normalize_scores or self.center_scores


class FusionOptions(Request):
    """How the modalities, and so the named vectors, of a query are weighed."""

    weights: SkipValidation[Mapping[str, float] | None] = Field(
        default=None,
        description="Weight of modalities (image=2), in place of those of the space; nothing is "
        "encoded.",
    )


class WordOptions(Request):
    """How the words of a query count beside its vector."""

    hybrid: bool = Field(
        default=False, description="Rank by shared words too (BM25), and fuse both rankings."
    )
    bm25_weight: float = Field(
        default=1.0,
        description="Weight of the ranking by words in hybrid search; vectors have 1.",
    )
    words: Literal["bm25", "sparse"] = Field(
        default="bm25",
        description="How hybrid search ranks by words: bm25, or sparse, the terms that a "
        "precomputed sparse model gives.",
    )
    rerank: str | None = Field(
        default=None,
        description="Model that orders the first candidates anew by their text: "
        "cross-encoder/NAME_OR_FOLDER, late-interaction (the model that was precomputed), or a "
        "chat model, openai/NAME?base_url=http://host:8000/v1.",
    )
    rerank_depth: int = Field(
        default=RERANK_DEPTH,
        ge=1,
        description="How many candidates are ordered anew; the list ends with them.",
    )

    @property
    def by_words(self) -> bool:
        """Whether the words of a query count."""
        return self.hybrid or self.rerank is not None

    def check(self) -> None:
        """Raise `InvalidInput` if a way to rank by words is given and none is asked for."""
        super().check()
        if self.words != "bm25" and not self.hybrid:
            raise InvalidInput(f"words={self.words!r} is for hybrid search; give hybrid=True too")

    def check_depth(self, end: int) -> None:
        """Raise `InvalidInput` if a list goes on beyond what is ordered anew."""
        if self.rerank is not None and end > self.rerank_depth:
            raise InvalidInput(
                f"rerank orders the first {self.rerank_depth} candidates and the list ends with "
                f"them, so there are no places up to {end}; give a rerank_depth of at least as "
                "many, or a smaller k"
            )


class SimilarRequest(RankingOptions, FusionOptions):
    """Items most similar to an item."""

    item_id: Id = Field(description="Item to compare with.")
    like: Ids = Field(default=(), description="Further items to be like.")
    unlike: Ids = Field(default=(), description="Items to be unlike.")
    attributes: bool = Field(
        default=False, description="Whether hits carry text, image, audio and attributes."
    )


class SearchRequest(RankingOptions, FusionOptions, WordOptions):
    """Items nearest to a text, an image, audio, a vector, or examples."""

    text: str | None = Field(default=None, description="What to look for, in words.")
    image: SkipValidation[Any] = Field(
        default=None, description="Image to look for: a path; in Python also bytes or a PIL image."
    )
    audio: SkipValidation[Any] = Field(
        default=None, description="Audio to look for: a path; in Python also bytes or a waveform."
    )
    vector: SkipValidation[Any] = Field(
        default=None, description="Vector to look for, of the length of one named vector."
    )
    like: Ids = Field(default=(), description="Items to be like.")
    unlike: Ids = Field(default=(), description="Items to be unlike.")
    attributes: bool = Field(
        default=False, description="Whether hits carry text, image, audio and attributes."
    )
    fingerprint: str | None = Field(
        default=None,
        description="Fingerprint of the encoder stack that made the vector; refused if it is not "
        "the space's.",
    )
    instruction: str | None = Field(
        default=None,
        description="Task of the query, in a sentence, for encoders that take instructions.",
    )

    def check(self) -> None:
        """Raise `InvalidInput` if there is nothing to rerank by, or the page goes beyond it."""
        super().check()
        if self.rerank is not None and (self.text is None or not self.text.strip()):
            raise InvalidInput("rerank compares a text with those of items; give a text")
        if self.k is not None:
            self.check_depth(self.offset + self.k)


class SearchBatchRequest(FilterOptions):
    """Items nearest to each of many vectors."""

    vectors: SkipValidation[Any] = Field(description="float32, shape (n, dim) of one named vector.")
    k: int = Field(default=10, ge=1, description="How many items.")
    fingerprint: str | None = Field(
        default=None, description="Fingerprint of the encoder stack that made the vectors."
    )
    weights: SkipValidation[Mapping[str, float] | None] = Field(
        default=None, description="Weight of modalities, in place of those of the space."
    )


class SearchGroupsRequest(SearchRequest):
    """The best items of each value of an attribute."""

    by: str = Field(description="Attribute to group by, or domain; items without it are left out.")
    group_size: int = Field(default=3, ge=1, description="Most items of a group.")
    k: int | None = Field(default=10, ge=1, description="How many groups.")

    def check(self) -> None:
        """Raise `InvalidInput` if groups could not be counted or continued."""
        super().check()
        if self.cursor is not None:
            raise InvalidInput("groups have no cursor; give an offset, in groups")
        if self.k is None:
            raise InvalidInput("k is None; give the number of groups")


class FacetsRequest(FilterOptions):
    """How many items have each value of attributes."""

    attributes: ListedNames = Field(description="Attributes to count, or domain.")
    k: int | None = Field(
        default=10, ge=1, description="How many values, the most frequent first; None for all."
    )


class ScrollRequest(FilterOptions):
    """All items that a filter selects, page by page, in the order of their ids."""

    k: int = Field(default=100, ge=1, description="How many items.")
    cursor: str | None = Field(default=None, description="The cursor of the page before.")
    attributes: bool = Field(
        default=True, description="Whether items carry text, image, audio and attributes."
    )


class SearchFileRequest(FilterOptions, FusionOptions, WordOptions):
    """Answers to a file of queries."""

    queries: SkipValidation[Any] = Field(
        description="File of queries: query_id and text, image, audio or vector."
    )
    out: Path = Field(description="Parquet to write: query_id, item_id, rank and score.")
    k: int = Field(default=10, ge=1, description="How many items.")
    instruction: str | None = Field(
        default=None,
        description="Task of the query, in a sentence, for encoders that take instructions.",
    )

    def check(self) -> None:
        """Raise `InvalidInput` if a list goes on beyond what is ordered anew."""
        super().check()
        self.check_depth(self.k)


class DuplicatesRequest(FilterOptions):
    """Groups of near-duplicate items."""

    threshold: float = Field(
        default=0.95, description="Cosine similarity from which items are duplicates."
    )
    vector_name: str | None = Field(
        default=None,
        description="Named vector to compare in, such as image; by default the one that most "
        "items have.",
    )


class MapRequest(FilterOptions):
    """A two-dimensional map of the contents of items."""

    vector_name: str | None = Field(
        default=None,
        description="Named vector to draw, such as text; by default the one with most modalities.",
    )
    limit: int = Field(default=5_000, description="Most items to draw; more are sampled.")
    layout: Literal["umap", "components"] = Field(
        default="umap",
        description="umap, which keeps neighbours together, or components, the two principal "
        "components, at once and without another package.",
    )
    seed: int = Field(default=0, description="Seed of the random numbers.")
