"""The queries of a space: search, many at once, similar items, near-duplicates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from isthmus.columns import QUERY_ID
from isthmus.encoders.encoder import FloatArray
from isthmus.encoders.fusion import Weights
from isthmus.errors import FingerprintMismatch, InvalidInput, ItemNotFound, UnsupportedModality
from isthmus.index.exact import Positions
from isthmus.index.selection import Selection
from isthmus.index.settings import SpaceSettings
from isthmus.index.view import View
from isthmus.retrieval.duplicates import find_duplicates
from isthmus.retrieval.examples import query_with_examples
from isthmus.retrieval.gating.gates import Fusion
from isthmus.retrieval.lexical import (
    answer_hybrid,
    index_text_if_free,
    require_hybrid,
    require_plain,
)
from isthmus.retrieval.open_space import Domains, OpenSpace, domain_names
from isthmus.retrieval.query import Query, answer
from isthmus.retrieval.query_encoder import ListedQuery, QueryEncoder
from isthmus.retrieval.query_file import QueryFileReport, search_file
from isthmus.retrieval.query_vectors import BlockQuery, contents_of, given_vector, given_vectors
from isthmus.retrieval.quotas import Quotas
from isthmus.retrieval.ranking import Group, Ranking, group_domains, rank
from isthmus.retrieval.results import Found, Hit, make_found, make_hits, make_lists

Items = str | Sequence[str]


class SpaceQueries(OpenSpace):
    """The searching part of `isthmus.Space`."""

    def search(
        self,
        text: str | None = None,
        *,
        image: Any = None,
        audio: Any = None,
        vector: FloatArray | Sequence[float] | None = None,
        like: Items = (),
        unlike: Items = (),
        k: int | None = 10,
        domain: Domains = None,
        domains: Domains = None,
        where: str | None = None,
        min_score: float | None = None,
        diversity: float = 0.0,
        candidates: int | None = None,
        quotas: Quotas | None = None,
        calibrate: bool = False,
        hubness: float = 0.0,
        attributes: bool = False,
        fingerprint: str | None = None,
        hybrid: bool = False,
        lexical_weight: float = 1.0,
        weights: Weights | None = None,
        fusion: Fusion | None = None,
        center: bool = False,
    ) -> list[Hit]:
        """Find the items nearest to contents (text, image, audio), a vector, or examples.

        Parameters
        ----------
        text : str, optional
            What to look for, in words.
        image : path, bytes or PIL.Image.Image, optional
            What to look for, as a picture.
        audio : path, bytes or Waveform, optional
            What to look for, as audio (see docs/audio.md).
        vector : array of float, optional
            What to look for, as a vector of one block, shape (dim,).
        like, unlike : str or list of str, optional
            Ids of items to be like and to be unlike, alone or beside the others; they are left
            out of the result. In each block the query is ``p + (p - n)`` at unit norm, where
            ``p`` is the mean of everything looked for and ``n`` that of the items to be unlike
            (see `isthmus.retrieval.examples`). With `unlike` alone the least similar come first.
        k : int or None, default 10
            How many items; fewer only where fewer exist. None for all that score `min_score`.
        domain, domains : str or list of str, optional
            Domains to search; two spellings of one option.
        where : str, optional
            SQL predicate over item_id, domain, text, image, audio and the attributes.
        min_score : float, optional
            Least score of an item.
        diversity : float, default 0
            How much items should differ from each other, from 0, relevance alone, to 1
            (see `isthmus.retrieval.diversity`). Hits are in the order they were chosen and keep
            the scores of their relevance, which then need not fall.
        candidates : int, optional
            How many of the most relevant items a diverse list is chosen from; by default 5 k,
            and at least 100.
        quotas : mapping of str to int or float, optional
            For each domain its number of places, from 1, or its share of k, up to 1.0. Places
            left over are for the other domains; places that cannot be filled go to the best
            items of the other quotas, and of other domains only when those have no more.
        calibrate : bool, default False
            Whether to rank by how far an item stands out in its own domain, so that no domain
            wins by its style alone. The score is then in standard deviations above what the
            query scores on average in the domain (see `isthmus.retrieval.calibration`).
        hubness : float, default 0
            How much is taken off items that are near to queries of every sort, from 0 to 1, the
            correction of CSLS (see `isthmus.retrieval.hubness`). It helps most across modalities.
        attributes : bool, default False
            Whether hits carry text, image, audio and attributes.
        fingerprint : str, optional
            Fingerprint of the stack that made `vector`; refused if it is not this space's.
        hybrid : bool, default False
            Whether items are also ranked by the words they share with the text (BM25).
        lexical_weight : float, default 1.0
            Weight of that ranking in hybrid search; the ranking by vectors has 1.
        weights : mapping of str to float, optional
            Weights of modalities, such as ``{"image": 2}``, in place of those of the space: the
            list is that of a space with these weights, and nothing is encoded. An item that lacks
            a modality does not depend on its weight. Where several modalities meet in one block
            the items are compared one by one, exactly, and the first query with some weights
            reads the ledgers; see docs/fusion.md.
        fusion : {"fixed", "gated", "learned"}, optional
            How the blocks of a query weigh against each other: as the weights say; the more, the
            more its best items stand out in a block; or as `learn_fusion` learned it, which is
            the default where something was learned.
        center : bool, default False
            Whether what the query scores on average in the item's domain is taken off, so that
            no domain wins by its style; `calibrate` takes account of the spread, too.

        Returns
        -------
        list of Hit
            Best first. The score is the cosine similarity; for a query in several blocks (text
            and image, or examples, of separate encoders), the mean of its chance-corrected
            similarities. In hybrid search it is the sum of weight / (60 + rank) over the two
            rankings (reciprocal rank fusion), and `Hit.similarity` has the score by vectors.

        Raises
        ------
        InvalidInput
            If nothing is looked for, the examples cancel out, or an option is no good.
        InvalidFilter
            If `where` is refused.
        ItemNotFound
            If there is no such item to be like or unlike.
        UnsupportedModality
            If the space has no encoder for it, or all the items asked about are of other
            modalities, whose encoder was not aligned with that of the query.
        FingerprintMismatch
            If the encoder, or the vector's fingerprint, is not this space's.
        """
        words = require_hybrid(text, lexical_weight) if hybrid else None
        if words is not None and not self._live.now().snapshot.has_text_index:
            index_text_if_free(self.path, self._catalog)
        view, settings, block_weights = self._weighed(self._live.now(), weights)
        ranking = Ranking(
            k, min_score, diversity, candidates, quotas or {}, calibrate, hubness, center
        )
        groups = group_domains(view, ranking, domain_names(domain, domains), where)
        self._require_fingerprint(fingerprint)
        kind = _kind(text=text, image=image, audio=audio)
        examples = self._example_rows(view, like, unlike)
        if words is not None:
            require_plain(ranking, any(map(len, examples)))
            allowed = groups[0].allowed
            query = Query(self._query(settings, text, image, audio, vector))
            query = self._gates.apply(view, query, kind, fusion, allowed)
            best = answer_hybrid(view, query, words, k or 0, allowed, block_weights, lexical_weight)
            if not len(best[0]):
                self._require_comparable(view, query.vectors, groups)
            return make_hits(view, *best, attributes=attributes)
        nothing_else = all(given is None for given in (text, image, audio, vector))
        only_examples = any(map(len, examples)) and nothing_else
        asked = {} if only_examples else self._query(settings, text, image, audio, vector)
        query = query_with_examples(view, asked, *examples)
        query = self._gates.apply(view, query, kind, fusion, _allowed_of(groups))
        penalty = self._penalty(view, query, ranking, block_weights, kind)
        rows, scores = rank(view, query, ranking, groups, block_weights, penalty)
        if not len(rows):
            self._require_comparable(view, query.vectors, groups)
        return make_hits(view, rows, scores.tolist(), attributes=attributes)

    def search_batch(
        self,
        vectors: FloatArray,
        *,
        k: int = 10,
        domain: Domains = None,
        domains: Domains = None,
        where: str | None = None,
        fingerprint: str | None = None,
        weights: Weights | None = None,
    ) -> Found:
        """Find the items nearest to each of many vectors, with the least work around the search.

        Parameters
        ----------
        vectors : numpy.ndarray
            float32, shape (n, dim) for the dim of one block; brought to unit norm.
        k, domain, domains, where, fingerprint, weights
            As in `search`.

        Returns
        -------
        Found
            Item ids and scores, each of shape (n, k).

        Raises
        ------
        InvalidInput
            If k, a domain or a vector is no good; the message names the vector.
        InvalidFilter
            If `where` is refused.
        FingerprintMismatch
            If the vectors' fingerprint is not this space's.
        """
        view = self._weighed(self._live.now(), weights).view
        allowed = self._allowed(view, k, domain_names(domain, domains), where)
        self._require_fingerprint(fingerprint)
        block, queries = given_vectors(self._blocks, vectors)
        scores, rows = view.search(block, queries, k, allowed)
        return make_found(view, rows, scores)

    def search_file(
        self,
        queries: Any,
        out: str | Path,
        *,
        k: int = 10,
        domain: Domains = None,
        domains: Domains = None,
        where: str | None = None,
        weights: Weights | None = None,
        fusion: Fusion | None = None,
        progress: bool = False,
    ) -> QueryFileReport:
        """Answer a file of queries into a Parquet file, all from one view of the space.

        Parameters
        ----------
        queries : path, glob, table, frame, or list of dicts
            As `upsert` takes items, with columns query_id and text, image, audio (path, bytes or
            data URI) or vector (list of numbers). A row has one or several of text, image and
            audio, or a vector. Paths are relative to the file.
        out : str or Path
            Parquet to write: query_id, item_id, rank and score. It appears whole or not at all.
        k, domain, domains, where, weights, fusion
            As in `search`.
        progress : bool, default False
            Whether to show a bar.

        Returns
        -------
        QueryFileReport
            What was read, answered and written. A query that cannot be answered (no such file,
            NaN in a vector, nothing in the row, a text where there are only pictures and no
            alignment) stands in its problems with the reason.

        Raises
        ------
        InvalidInput
            If k or a domain is no good, the input cannot be read, a query_id is missing or
            stands there twice (the message names the row), or `out` cannot be written.
        InvalidFilter
            If `where` is refused.
        """
        view, settings, block_weights = self._weighed(self._live.now(), weights)
        allowed = self._allowed(view, k, domain_names(domain, domains), where)
        encoder = QueryEncoder(settings, self._encoder_of, self.media, self._alignment)
        held = _held(view, [allowed])

        def answer_all(ids: Sequence[str], listed: Sequence[ListedQuery]) -> pa.Table:
            asked = [
                self._gates.apply(view, Query(one.vectors), _kind(**one.contents), fusion, allowed)
                for one in listed
            ]
            lists = answer(view, asked, k, allowed, block_weights)
            return make_lists(view, ids, lists, QUERY_ID)

        def refuse(vectors: BlockQuery) -> str:
            return self._incomparable(vectors, held)

        return search_file(queries, Path(out), encoder, refuse, answer_all, show=progress)

    def similar(
        self,
        item_id: str,
        *,
        like: Items = (),
        unlike: Items = (),
        k: int | None = 10,
        domain: Domains = None,
        domains: Domains = None,
        where: str | None = None,
        min_score: float | None = None,
        diversity: float = 0.0,
        candidates: int | None = None,
        quotas: Quotas | None = None,
        calibrate: bool = False,
        hubness: float = 0.0,
        attributes: bool = False,
        weights: Weights | None = None,
        fusion: Fusion | None = None,
        center: bool = False,
    ) -> list[Hit]:
        """Find the items most like an item, in its own or in other domains.

        Parameters are those of `search`; the item is the first of those to be like. The score is
        the cosine where the item has one block, else the mean of its chance-corrected
        similarities (see `isthmus.retrieval.query.answer`).

        Raises
        ------
        ItemNotFound
            If there is no such item, or it has no vector.
        InvalidInput
            If the examples cancel out, or an option is no good.
        """
        view, _, block_weights = self._weighed(self._live.now(), weights)
        ranking = Ranking(
            k, min_score, diversity, candidates, quotas or {}, calibrate, hubness, center
        )
        groups = group_domains(view, ranking, domain_names(domain, domains), where)
        examples = self._example_rows(view, [item_id, *_ids(like)], unlike)
        query = query_with_examples(view, {}, *examples)
        query = self._gates.apply(view, query, _kind(), fusion, _allowed_of(groups))
        penalty = self._penalty(view, query, ranking, block_weights, _kind())
        rows, scores = rank(view, query, ranking, groups, block_weights, penalty)
        return make_hits(view, rows, scores.tolist(), attributes=attributes)

    def duplicates(
        self,
        threshold: float = 0.95,
        *,
        domain: Domains = None,
        domains: Domains = None,
        where: str | None = None,
        block: str | None = None,
        progress: bool = False,
    ) -> pa.Table:
        """Find the groups of items that are nearly the same, within and across domains.

        A group holds the items that are linked by pairs of at least the threshold, so every
        member is that near to at least one other, but perhaps not to all. Neighbours come from
        the index: exact where it is, else with its recall.

        Parameters
        ----------
        threshold : float, default 0.95
            Cosine similarity, to within 1e-6, from which two items are duplicates; in (0, 1].
        domain, domains, where
            Which items to compare with each other, as in `search`.
        block : str, optional
            Block to compare in, such as ``image``; by default the one that most of these items
            have. Items without a vector in it are left out.
        progress : bool, default False
            Whether to show a bar.

        Returns
        -------
        pyarrow.Table
            One row a member: group (from 1, the largest first), item_id, domain, score (cosine
            with the representative), closest (with the nearest member) and representative (item
            id of the member nearest to the group's mean; its own row comes first).

        Raises
        ------
        InvalidInput
            If the threshold, a domain or the block is no good.
        InvalidFilter
            If `where` is refused.
        """
        view = self._live.now()
        allowed = view.select(domain_names(domain, domains), where)
        return find_duplicates(view, threshold, allowed, block, show=progress)

    def _require_comparable(
        self, view: View, vectors: Mapping[str, FloatArray], groups: Sequence[Group]
    ) -> None:
        """Refuse a query that found nothing since it has no block in common with any item."""
        reason = self._incomparable(vectors, _held(view, [group.allowed for group in groups]))
        if reason:
            raise UnsupportedModality(reason)

    def _incomparable(self, vectors: Mapping[str, FloatArray], held: set[str]) -> str:
        """Say why a query cannot find items that have vectors in some blocks; empty if it can."""
        if not vectors or not held or held & vectors.keys():
            return ""
        alignable = "audio" not in {*vectors, *held}
        return (
            f"{' and '.join(sorted(vectors))} cannot find these items, which have only "
            f"{' and '.join(sorted(held))}: the vectors of encoders that were not aligned "
            "say nothing of each other. "
            + (
                f"Align them with: isthmus align --pairs FILES --space {self.path}"
                if alignable
                else "Text finds audio in a space whose encoder takes both, such as clap/NAME"
            )
        )

    def _allowed(
        self, view: View, k: int, domains: list[str] | None, where: str | None
    ) -> Selection | None:
        if k < 1:
            raise InvalidInput(f"k is {k}; ask for at least one item")
        return view.select(domains, where)

    def _require_row(self, view: View, item_id: str) -> int:
        try:
            return view.require(item_id)
        except ItemNotFound:
            self.get(item_id)
            raise

    def _example_rows(self, view: View, like: Items, unlike: Items) -> tuple[Positions, Positions]:
        """Find the rows of examples."""
        liked, unliked = _ids(like), _ids(unlike)
        if not liked and not unliked:  # finding nothing would still look through all ids
            return np.empty(0, np.int64), np.empty(0, np.int64)
        if both := set(liked) & set(unliked):
            raise InvalidInput(f"item {min(both)!r} is to be like and to be unlike; choose one")
        rows = view.find([*liked, *unliked])
        for name, row in zip([*liked, *unliked], rows.tolist(), strict=True):
            if row < 0:
                self._require_row(view, name)
        return rows[: len(liked)], rows[len(liked) :]

    def _query(
        self, settings: SpaceSettings, text: str | None, image: Any, audio: Any, vector: Any
    ) -> BlockQuery:
        if vector is None:
            return self._encode(contents_of(text, image, audio), settings)
        if not (text is None and image is None and audio is None):
            raise InvalidInput("search by a vector, or by text, image and audio, not by all")
        return given_vector(self._blocks, vector)

    def _penalty(
        self,
        view: View,
        query: Query,
        ranking: Ranking,
        weights: Mapping[str, float],
        kind: str,
    ) -> FloatArray | None:
        """Give what each row loses for being near to all queries; None if that is not asked."""
        if not ranking.hubness:
            return None
        own = query.weighing(weights)
        penalty = self._hubs.penalty(view, list(query.vectors), kind, own)
        return np.asarray(ranking.hubness * penalty, np.float32)

    def _require_fingerprint(self, given: str | None) -> None:
        if given is not None and given != self.fingerprint:
            raise FingerprintMismatch(
                f"the vector was made with encoder stack {given}, this space with "
                f"{self.fingerprint} ({', '.join(self.settings.encoders.values())})"
            )


def _allowed_of(groups: Sequence[Group]) -> Selection | None:
    """Give the rows of a single group; None, all that live, where there are several."""
    return groups[0].allowed if len(groups) == 1 else None


def _kind(**contents: Any) -> str:
    """Name the kind of a query that holds some contents, or items alone."""
    given = [modality for modality, content in contents.items() if content is not None]
    return f"{given[0]} to item" if len(given) == 1 else "item to item"


def _ids(given: Items) -> list[str]:
    """Take item ids however they are given, each once."""
    return list(dict.fromkeys([given] if isinstance(given, str) else given))


def _held(view: View, selections: Sequence[Selection | None]) -> set[str]:
    """Name the blocks in which some of the allowed items has a vector."""
    return {
        block.name
        for block in view.blocks
        if any(view.holds(block.name, allowed) for allowed in selections)
    }
