"""An open space: its settings, its live view, and what it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from isthmus.data.interactions.ratings import default_positive_from
from isthmus.data.interactions.store import InteractionStore
from isthmus.data.media import MediaStore
from isthmus.encoders.alignment import Alignment
from isthmus.encoders.fusion import ModalityWeights
from isthmus.encoders.registry import EncoderLike, resolve_encoders
from isthmus.encoders.stack import LazyEncoders, named_vector_of
from isthmus.errors import FingerprintMismatch, InvalidInput, ItemNotFound
from isthmus.index.catalog.alignments import load_alignment
from isthmus.index.catalog.catalog import Catalog
from isthmus.index.catalog.lock import DEFAULT_WAIT_S
from isthmus.index.catalog.quarantine import Quarantine
from isthmus.index.releases.live import LiveView
from isthmus.index.releases.reweighted import Reweighting
from isthmus.index.releases.view import View
from isthmus.index.settings import SpaceSettings
from isthmus.retrieval.search.fusion_weights import FusionWeights
from isthmus.retrieval.search.hubness import HubnessCorrection
from isthmus.retrieval.search.query_encoding import QueryVectors, encode_query
from isthmus.retrieval.search.recall_queries import RecallQuerySampler
from isthmus.schema import MODALITY_MASK, Modality, modalities_in
from isthmus.verbs.stats import count_interactions, describe

Domains = str | Sequence[str] | None


class Weighed(NamedTuple):
    """What a query is answered with, under some weights of modalities.

    Attributes
    ----------
    view : View
        The items as they lie under these weights.
    settings : SpaceSettings
        The settings, with these weights.
    vector_weights : dict of str to float
        Weight of each named vector.
    """

    view: View
    settings: SpaceSettings
    vector_weights: dict[str, float]


class OpenSpace:
    """What every verb of `isthmus.Space` stands on: the folder, opened."""

    def __init__(
        self,
        path: str | Path,
        *,
        encoder: EncoderLike | None = None,
        device: str = "auto",
        wait_s: float = DEFAULT_WAIT_S,
    ) -> None:
        self.path = Path(path)
        self._wait_s = wait_s
        self._device = device
        self._open(SpaceSettings.read(self.path))
        self._quarantine = Quarantine(self.path)
        self._interactions = InteractionStore(self.path)
        model_device = "cuda" if device == "all" else device
        given = None if encoder is None else resolve_encoders(encoder, device=model_device)
        self._encoder_of = LazyEncoders(
            self.settings.encoders, self.settings.components, given, device=model_device
        )

    def _open(self, settings: SpaceSettings) -> None:
        """Take the settings, and open what depends on them."""
        self.settings = settings
        self._named_vectors = settings.layout
        self._weights = _vector_weights(settings)
        self._catalog = Catalog(self.path)
        self._live = LiveView(self.path, self._catalog, settings, self._device)
        self._loaded_alignment: Alignment | None = None
        self._reweighting: Reweighting | None = None
        self._hubs = HubnessCorrection(RecallQuerySampler(self.path, settings))
        self._fusion_weights = FusionWeights(self.path, settings.fingerprint)

    @property
    def _alignment(self) -> Alignment | None:
        """What makes the vectors of the aligned named vector, read when it is first needed."""
        if self._loaded_alignment is None:
            self._loaded_alignment = load_alignment(self.path, self.settings)
        return self._loaded_alignment

    def __repr__(self) -> str:
        return f"Space({str(self.path)!r})"

    def get(self, item_id: str) -> dict[str, Any]:
        """Give an item: id, domain, contents, modalities it is searchable by, attributes.

        Raises
        ------
        ItemNotFound
            If there is no such item.
        """
        snapshot = self._live.now().snapshot
        names = snapshot.attributes.names
        columns = [*snapshot.item_columns, MODALITY_MASK, *names]
        found = snapshot.find([item_id], columns).to_pylist()
        if not found:
            raise ItemNotFound(f"no item {item_id!r} in this space")
        row = found[0]
        mask = row.pop(MODALITY_MASK)
        attributes = {name: row.pop(name) for name in names}
        modalities = modalities_in(mask)
        return {**row, "modalities": modalities, "attributes": attributes}

    def count(
        self, domain: Domains = None, where: str | None = None, *, domains: Domains = None
    ) -> int:
        """Count the searchable items, of those that a filter lets through."""
        view = self._live.now()
        allowed = view.select(domain_names(domain, domains), where)
        return len(view) if allowed is None else allowed.count

    def stats(self) -> dict[str, Any]:
        """Describe the space: items, interactions, release, delta, quarantine, encoders."""
        view = self._live.now()
        return describe(view, self.settings, RecallQuerySampler(self.path, self.settings)) | {
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
        """Reads the files that items refer to."""
        return MediaStore(self.path / "media")

    def _require_fingerprint(self, given: str | None) -> None:
        if given is not None and given != self.fingerprint:
            raise FingerprintMismatch(
                f"the vector was made with encoder stack {given}, this space with "
                f"{self.fingerprint} ({', '.join(self.settings.encoders.values())})"
            )

    def _weighed(
        self, view: View, weights: ModalityWeights | None, kind: str | None = None
    ) -> Weighed:
        """Return a view, and all that depends on the weights of modalities, under some weights.

        Without weights, named vectors weigh as was learned for the kind of query.
        """
        if weights is None:
            return Weighed(view, self.settings, self._vector_weights(self.settings, None, kind))
        settings = self.settings.weighing(weights)
        if settings.fusion != self.settings.fusion:
            if self._reweighting is None:
                self._reweighting = Reweighting(self.path, self.settings, self._alignment)
            view = self._reweighting.view(view, settings.fusion)
        return Weighed(view, settings, _vector_weights(settings))

    def _vector_weights(
        self, settings: SpaceSettings, weights: ModalityWeights | None, kind: str | None
    ) -> dict[str, float]:
        """Return the weight of each named vector, learned for the query kind if none are given."""
        if weights is not None or kind is None:
            return _vector_weights(settings)
        return self._fusion_weights.of(kind, self._weights)

    def _learnable(self, positive_from: float | None) -> tuple[pa.Table, float | None]:
        """Give the stored interactions, and the least value that counts as liked."""
        interactions = self._interactions.table()
        if not len(interactions):
            raise InvalidInput(
                f"{self.path} holds no interactions to learn from; add some with: isthmus "
                "interactions add"
            )
        if positive_from is None:
            return interactions, default_positive_from(interactions)
        return interactions, positive_from

    def _encode(
        self, contents: Mapping[Modality, Any], settings: SpaceSettings | None = None
    ) -> QueryVectors:
        for modality in contents:
            named_vector_of(self._named_vectors, modality)
        return encode_query(settings or self.settings, self._encoder_of, contents, self._alignment)


def _vector_weights(settings: SpaceSettings) -> dict[str, float]:
    # The aligned named vector counts once: were it to weigh as its modalities do, the weight of
    # pictures would move items that have none.
    return {
        b.name: 1.0 if b.alignment else sum(settings.fusion.get(m, 1.0) for m in b.modalities)
        for b in settings.layout
    }


def domain_names(*given: Domains) -> list[str] | None:
    """Take domains however they are spelled; None where there are none."""
    several = [d for d in given if d]
    if len(several) > 1:
        raise InvalidInput("domain and domains are the same option; give one of them")
    named = several[0] if several else []
    return [named] if isinstance(named, str) else list(named) or None
