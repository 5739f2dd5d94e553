"""The queries of a space, one at a time: what is near to contents, and to an item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from isthmus.encoders.fusion import ModalityWeights
from isthmus.errors import InvalidInput
from isthmus.index.settings import SpaceSettings
from isthmus.numerics.arrays import FloatArray
from isthmus.retrieval.search.examples import (
    Items,
    example_rows,
    query_with_examples,
    unique_item_ids,
)
from isthmus.retrieval.search.hybrid import (
    index_text_if_free,
    require_hybrid,
    require_plain,
    search_hybrid,
)
from isthmus.retrieval.search.query import Query, ScoredRows, require_comparable
from isthmus.retrieval.search.query_encoding import (
    QueryVectors,
    query_contents,
    query_kind,
    vector_query,
)
from isthmus.retrieval.search.ranking import (
    DomainGroup,
    Quotas,
    RankingOptions,
    group_domains,
    rank,
)
from isthmus.retrieval.search.results import Hit, make_hits
from isthmus.verbs.open_space import Domains, OpenSpace, Weighed, domain_names


class SpaceQueries(OpenSpace):
    """The part of `isthmus.Space` that searches."""

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
        weights: ModalityWeights | None = None,
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
            What to look for, as a vector of one named vector, shape (dim,).
        like, unlike : str or list of str, optional
            Ids of items to be like and to be unlike, alone or beside the others; they are left
            out of the result. In each named vector the query is ``p + (p - n)`` at unit norm, where
            ``p`` is the mean of everything looked for and ``n`` that of the items to be unlike
            (see `retrieval.search.examples`). With `unlike` alone the least similar come first.
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
            (see `retrieval.search.diversity`). Hits are in the order they were chosen and keep
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
            query scores on average in the domain (see `retrieval.search.score_normalisation`).
        hubness : float, default 0
            How much is taken off items that are near to queries of every sort, from 0 to 1, the
            correction of CSLS (see `retrieval.search.hubness`). It helps most across modalities.
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
            list is that of a space with these weights, and nothing is encoded. An item that lacks a
            modality does not depend on its weight. Where several modalities meet in one named
            vector the items are compared one by one, exactly, and the first query with some weights
            reads the embedding caches. Without, named vectors weigh as `learn_fusion` learned for
            this kind of query, if anything; see docs/fusion.md.
        center : bool, default False
            Whether what the query scores on average in the item's domain is taken off, so that
            no domain wins by its style; `calibrate` takes account of the spread, too.

        Returns
        -------
        list of Hit
            Best first. The score is the cosine similarity; for a query in several named vectors
            (text and image, or examples, of separate encoders), the mean of its chance-corrected
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
        kind = query_kind({"text": text, "image": image, "audio": audio})
        weighed = self._weighed(self._live.now(), weights, kind)
        view = weighed.view
        ranking = RankingOptions(
            k, min_score, diversity, candidates, quotas or {}, calibrate, hubness, center
        )
        groups = group_domains(view, ranking, domain_names(domain, domains), where)
        self._require_fingerprint(fingerprint)
        examples = example_rows(view, like, unlike)
        if words is not None:
            require_plain(ranking, any(map(len, examples)))
        nothing_else = all(given is None for given in (text, image, audio, vector))
        only_examples = any(map(len, examples)) and nothing_else
        asked = {} if only_examples else self._query(weighed.settings, text, image, audio, vector)
        query = query_with_examples(view, asked, *examples)
        similar: list[float | None] | None = None
        if words is None:
            rows, scores = self._rank(weighed, query, kind, ranking, groups)
        else:
            rows, scores, similar = search_hybrid(
                view,
                query,
                words,
                k or 0,
                groups[0].selection,
                weighed.vector_weights,
                lexical_weight,
            )
        if not len(rows):
            allowed = [group.selection for group in groups]
            require_comparable(view, query.vectors, allowed, self.path)
        return make_hits(view, rows, scores, similar, attributes=attributes)

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
        weights: ModalityWeights | None = None,
        center: bool = False,
    ) -> list[Hit]:
        """Find the items most like an item, in its own or in other domains.

        Parameters are those of `search`; the item is the first of those to be like. The score is
        the cosine where the item has one named vector, else the mean of its chance-corrected
        similarities (see `retrieval.search.query.answer`).

        Raises
        ------
        ItemNotFound
            If there is no such item, or it has no vector.
        InvalidInput
            If the examples cancel out, or an option is no good.
        """
        kind = query_kind({})
        weighed = self._weighed(self._live.now(), weights, kind)
        view = weighed.view
        ranking = RankingOptions(
            k, min_score, diversity, candidates, quotas or {}, calibrate, hubness, center
        )
        groups = group_domains(view, ranking, domain_names(domain, domains), where)
        examples = example_rows(view, [item_id, *unique_item_ids(like)], unlike)
        query = query_with_examples(view, {}, *examples)
        rows, scores = self._rank(weighed, query, kind, ranking, groups)
        return make_hits(view, rows, scores, attributes=attributes)

    def _query(
        self, settings: SpaceSettings, text: str | None, image: Any, audio: Any, vector: Any
    ) -> QueryVectors:
        if vector is None:
            return self._encode(query_contents(text, image, audio), settings)
        if not (text is None and image is None and audio is None):
            raise InvalidInput("search by a vector, or by text, image and audio, not by all")
        return vector_query(self._named_vectors, vector)

    def _rank(
        self,
        weighed: Weighed,
        query: Query,
        kind: str,
        ranking: RankingOptions,
        groups: Sequence[DomainGroup],
    ) -> ScoredRows:
        """Rank items as a caller asked, less what each loses for being near to all queries."""
        view, penalty = weighed.view, None
        if ranking.hubness_correction:
            vector_weights = query.vector_weights(weighed.vector_weights)
            hubs = self._hubs.penalty(view, list(query.vectors), kind, vector_weights)
            penalty = np.asarray(ranking.hubness_correction * hubs, np.float32)
        return rank(view, query, ranking, groups, weighed.vector_weights, penalty)
