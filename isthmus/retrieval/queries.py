"""The queries of a space: search, similar items, recommendations, and what it holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from isthmus.columns import (
    ITEM_COLUMNS,
    MODALITIES,
    MODALITY_MASK,
    QUERY_ID,
    Modality,
    modality_bit,
)
from isthmus.encoders.choice import EncoderChoice, choose_encoders
from isthmus.encoders.encoder import FloatArray
from isthmus.encoders.recorded import RecordedEncoders
from isthmus.encoders.stack import block_of
from isthmus.errors import FingerprintMismatch, InvalidInput, ItemNotFound
from isthmus.index.catalog import Catalog
from isthmus.index.exact import Positions
from isthmus.index.live import LiveView
from isthmus.index.lock import DEFAULT_WAIT_S
from isthmus.index.quarantine import Quarantine
from isthmus.index.selection import Selection
from isthmus.index.settings import SpaceSettings
from isthmus.index.view import View
from isthmus.interactions.store import Interactions
from isthmus.items.media import MediaStore
from isthmus.progress import progress_bar
from isthmus.retrieval.duplicates import find_duplicates
from isthmus.retrieval.examples import query_with_examples
from isthmus.retrieval.gate import GateQueries
from isthmus.retrieval.lexical import (
    answer_hybrid,
    index_text_if_free,
    require_hybrid,
    require_plain,
)
from isthmus.retrieval.query import Query, Ranked, answer
from isthmus.retrieval.query_encoder import QueryEncoder
from isthmus.retrieval.query_file import QueryFileReport, search_file
from isthmus.retrieval.query_vectors import (
    BlockQuery,
    contents_of,
    encode_query,
    given_vector,
    given_vectors,
)
from isthmus.retrieval.quotas import Quotas
from isthmus.retrieval.ranking import Group, Ranking, compose, group_domains, rank
from isthmus.retrieval.recommend import recommend
from isthmus.retrieval.results import Found, Hit, make_found, make_hits, make_lists
from isthmus.retrieval.stats import count_interactions, describe
from isthmus.retrieval.users import User

USERS_A_BATCH = 256

Domains = str | Sequence[str] | None
Items = str | Sequence[str]


class SpaceQueries:
    """The reading half of `isthmus.Space`."""

    def __init__(
        self,
        path: str | Path,
        *,
        encoder: EncoderChoice | None = None,
        device: str = "auto",
        wait_s: float = DEFAULT_WAIT_S,
    ) -> None:
        self.path = Path(path)
        self.settings = SpaceSettings.read(self.path)
        self._wait_s = wait_s
        self._blocks = self.settings.layout
        self._catalog = Catalog(self.path, self._blocks)
        self._quarantine = Quarantine(self.path)
        self._interactions = Interactions(self.path)
        self._device = device
        self._live = LiveView(self.path, self._catalog, self._blocks, self.fingerprint, device)
        model_device = "cuda" if device == "all" else device
        given = None if encoder is None else choose_encoders(encoder, device=model_device)
        self._encoder_of = RecordedEncoders(
            self.settings.encoders, self.settings.components, given, device=model_device
        )

    def __repr__(self) -> str:
        return f"Space({str(self.path)!r})"

    def search(
        self,
        text: str | None = None,
        *,
        image: Any = None,
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
        attributes: bool = False,
        fingerprint: str | None = None,
        hybrid: bool = False,
        lexical_weight: float = 1.0,
    ) -> list[Hit]:
        """Find the items nearest to a text, an image, both, a vector, or examples.

        Parameters
        ----------
        text : str, optional
            What to look for, in words.
        image : path, bytes or PIL.Image.Image, optional
            What to look for, as a picture.
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
            SQL predicate over item_id, domain, text, image and the attributes.
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
        attributes : bool, default False
            Whether hits carry text, image and attributes.
        fingerprint : str, optional
            Fingerprint of the stack that made `vector`; refused if it is not this space's.
        hybrid : bool, default False
            Whether items are also ranked by the words they share with the text (BM25).
        lexical_weight : float, default 1.0
            Weight of that ranking in hybrid search; the ranking by vectors has 1.

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
            If the space has no encoder for it.
        FingerprintMismatch
            If the encoder, or the vector's fingerprint, is not this space's.
        """
        words = require_hybrid(text, lexical_weight) if hybrid else None
        if words is not None and not self._live.now().snapshot.has_text_index:
            index_text_if_free(self.path, self._catalog)
        view = self._live.now()
        ranking = Ranking(k, min_score, diversity, candidates, quotas or {}, calibrate)
        groups = group_domains(view, ranking, _names(domain, domains), where)
        self._require_fingerprint(fingerprint)
        examples = self._example_rows(view, like, unlike)
        if words is not None:
            require_plain(ranking, any(map(len, examples)))
            query = Query(self._query(text, image, vector))
            allowed, weights = groups[0].allowed, self._weights
            best = answer_hybrid(view, query, words, k or 0, allowed, weights, lexical_weight)
            return make_hits(view, *best, attributes=attributes)
        only_examples = (
            any(map(len, examples)) and text is None and image is None and vector is None
        )
        asked = {} if only_examples else self._query(text, image, vector)
        query = query_with_examples(view, asked, *examples)
        rows, scores = rank(view, query, ranking, groups, self._weights)
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
    ) -> Found:
        """Find the items nearest to each of many vectors, with the least work around the search.

        Parameters
        ----------
        vectors : numpy.ndarray
            float32, shape (n, dim) for the dim of one block; brought to unit norm.
        k, domain, domains, where, fingerprint
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
        view = self._live.now()
        allowed = self._allowed(view, k, _names(domain, domains), where)
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
        progress: bool = False,
    ) -> QueryFileReport:
        """Answer a file of queries into a Parquet file, all from one view of the space.

        Parameters
        ----------
        queries : path, glob, table, frame, or list of dicts
            As `upsert` takes items, with columns query_id and text, image (path, bytes or data
            URI) or vector (list of numbers). A row has text, image or both, or a vector. Image
            paths are relative to the file.
        out : str or Path
            Parquet to write: query_id, item_id, rank and score. It appears whole or not at all.
        k, domain, domains, where
            As in `search`.
        progress : bool, default False
            Whether to show a bar.

        Returns
        -------
        QueryFileReport
            What was read, answered and written. A query that cannot be answered (no such image,
            NaN in a vector, nothing in the row) stands in its problems with the reason.

        Raises
        ------
        InvalidInput
            If k or a domain is no good, the input cannot be read, a query_id is missing or
            stands there twice (the message names the row), or `out` cannot be written.
        InvalidFilter
            If `where` is refused.
        """
        view = self._live.now()
        allowed = self._allowed(view, k, _names(domain, domains), where)
        encoder = QueryEncoder(self.settings, self._encoder_of, self.media)

        def answer_all(ids: Sequence[str], vectors: Sequence[BlockQuery]) -> pa.Table:
            asked = [Query(parts) for parts in vectors]
            lists = answer(view, asked, k, allowed, self._weights)
            return make_lists(view, ids, lists, QUERY_ID)

        return search_file(queries, Path(out), encoder, answer_all, show=progress)

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
        attributes: bool = False,
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
        view = self._live.now()
        ranking = Ranking(k, min_score, diversity, candidates, quotas or {}, calibrate)
        groups = group_domains(view, ranking, _names(domain, domains), where)
        examples = self._example_rows(view, [item_id, *_ids(like)], unlike)
        query = query_with_examples(view, {}, *examples)
        rows, scores = rank(view, query, ranking, groups, self._weights)
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
        allowed = view.select(_names(domain, domains), where)
        return find_duplicates(view, threshold, allowed, block, show=progress)

    def recommend(
        self,
        user: User,
        *,
        k: int = 10,
        domain: Domains = None,
        domains: Domains = None,
        where: str | None = None,
        diversity: float = 0.0,
        candidates: int | None = None,
        quotas: Quotas | None = None,
        attributes: bool = False,
    ) -> list[Hit]:
        """Recommend items of a domain to a user known in any domain.

        Parameters are those of `search`. The score is the share of the user's attention that an
        interest has over the item's rank in it, the best over the interests; with quotas, its
        rank in the domain. Items of the history are left out. A user of whom nothing is known
        gets typical, diverse items.
        """
        view = self._live.now()
        ranking = Ranking(k, None, diversity, candidates, quotas or {})
        groups = group_domains(view, ranking, _names(domain, domains), where)
        texts = [self._user_text(user)]
        rows, scores = self._recommend(view, [user], texts, ranking, groups)[0]
        return make_hits(view, rows, scores.tolist(), attributes=attributes)

    def recommend_batch(
        self,
        users: Iterable[tuple[str, User]],
        *,
        k: int = 10,
        domain: Domains = None,
        domains: Domains = None,
        where: str | None = None,
        diversity: float = 0.0,
        candidates: int | None = None,
        quotas: Quotas | None = None,
        progress: bool = False,
    ) -> pa.Table:
        """Recommend to many users at once.

        Parameters
        ----------
        users : iterable of (str, User)
            User ids and users.
        k, domain, domains, where, diversity, candidates, quotas
            As in `recommend`.
        progress : bool, default False
            Whether to show a bar.

        Returns
        -------
        pyarrow.Table
            Columns user_id, item_id, rank and score.
        """
        view = self._live.now()
        ranking = Ranking(k, None, diversity, candidates, quotas or {})
        groups = group_domains(view, ranking, _names(domain, domains), where)
        named, tables = list(users), []
        with progress_bar("recommending", len(named), show=progress) as advance:
            for start in range(0, len(named), USERS_A_BATCH):
                ids, part = zip(*named[start : start + USERS_A_BATCH], strict=True)
                texts = [self._user_text(user) for user in part]
                lists = self._recommend(view, part, texts, ranking, groups)
                tables.append(make_lists(view, ids, lists))
                advance(len(part))
        return pa.concat_tables(tables) if tables else make_lists(view, [], [])

    def get(self, item_id: str) -> dict[str, Any]:
        """Give an item: id, domain, text, image, modalities it is searchable by, attributes.

        Raises
        ------
        ItemNotFound
            If there is no such item.
        """
        snapshot = self._live.now().snapshot
        names = snapshot.attributes.names
        found = snapshot.find([item_id], [*ITEM_COLUMNS, MODALITY_MASK, *names]).to_pylist()
        if not found:
            raise ItemNotFound(f"no item {item_id!r} in this space")
        row = found[0]
        mask = row.pop(MODALITY_MASK)
        attributes = {name: row.pop(name) for name in names}
        modalities = [m for m in MODALITIES if mask & modality_bit(m)]
        return {**row, "modalities": modalities, "attributes": attributes}

    def count(
        self, domain: Domains = None, where: str | None = None, *, domains: Domains = None
    ) -> int:
        """Count the searchable items, of those that a filter lets through."""
        view = self._live.now()
        allowed = view.select(_names(domain, domains), where)
        return len(view) if allowed is None else allowed.count

    def stats(self) -> dict[str, Any]:
        """Describe the space: items, interactions, release, delta, quarantine, encoders."""
        view = self._live.now()
        return describe(view, self.settings, GateQueries(self.path, self.settings)) | {
            "path": str(self.path),
            "fingerprint": self.fingerprint,
            "quarantined": len(self._quarantine),
            "interactions": count_interactions(self._interactions, view.snapshot),
        }

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the encoder stack that made the space."""
        return self.settings.fingerprint

    @property
    def media(self) -> MediaStore:
        """Reads the images that items refer to."""
        return MediaStore(self.path / "media")

    @property
    def _weights(self) -> dict[str, float]:
        fusion = self.settings.fusion
        return {b.name: sum(fusion.get(m, 1.0) for m in b.modalities) for b in self._blocks}

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

    def _recommend(
        self,
        view: View,
        users: Sequence[User],
        texts: Sequence[BlockQuery | None],
        ranking: Ranking,
        groups: Sequence[Group],
    ) -> list[Ranked]:
        """Recommend to users from each group of domains, and make a list for each of them."""
        found = [
            recommend(view, users, texts, ranking.depth or 1, group.allowed, self._weights)
            for group in groups
        ]
        return [
            compose(view, lists, ranking, groups, relative=True)
            for lists in zip(*found, strict=True)
        ]

    def _query(self, text: str | None, image: Any, vector: Any) -> BlockQuery:
        if vector is None:
            return self._encode(contents_of(text, image))
        if text is not None or image is not None:
            raise InvalidInput("search by a vector, or by text and image, not by all")
        return given_vector(self._blocks, vector)

    def _encode(self, contents: Mapping[Modality, Any]) -> BlockQuery:
        for modality in contents:
            block_of(self._blocks, modality)
        return encode_query(self.settings, self._encoder_of, contents)

    def _user_text(self, user: User) -> BlockQuery | None:
        return self._encode({"text": user.text}) if user.text else None

    def _require_fingerprint(self, given: str | None) -> None:
        if given is not None and given != self.fingerprint:
            raise FingerprintMismatch(
                f"the vector was made with encoder stack {given}, this space with "
                f"{self.fingerprint} ({', '.join(self.settings.encoders.values())})"
            )


def _ids(given: Items) -> list[str]:
    """Take item ids however they are given, each once."""
    return list(dict.fromkeys([given] if isinstance(given, str) else given))


def _names(*given: Domains) -> list[str] | None:
    """Take domains however they are spelled; None where there are none."""
    several = [d for d in given if d]
    if len(several) > 1:
        raise InvalidInput("domain and domains are the same option; give one of them")
    named = several[0] if several else []
    return [named] if isinstance(named, str) else list(named) or None
