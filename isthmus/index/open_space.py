"""An open space: its settings, encoders, catalog, interactions and live view."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from isthmus.data.addresses import MediaLimits
from isthmus.data.interactions.feedback import Feedback
from isthmus.data.interactions.store import InteractionStore
from isthmus.data.leases import VersionGone
from isthmus.data.media import MediaStore
from isthmus.data.paths import local_path
from isthmus.data.users.store import UserStore
from isthmus.encoders.alignment import Alignment
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.fusion import ModalityWeights
from isthmus.encoders.registry import EncoderLike, resolve_encoders
from isthmus.encoders.stack import LazyEncoders
from isthmus.errors import FingerprintMismatch, InvalidInput, command_in
from isthmus.forking import survive_forks
from isthmus.index.catalog.alignments import load_alignment
from isthmus.index.catalog.catalog import Catalog
from isthmus.index.catalog.lock import DEFAULT_WAIT_S
from isthmus.index.catalog.quarantine import Quarantine
from isthmus.index.releases.live import LiveView
from isthmus.index.releases.reweighted import Reweighting
from isthmus.index.releases.view import View
from isthmus.index.settings import SpaceSettings
from isthmus.schema import MEDIA_FOLDER, Modality


class WeightedView(NamedTuple):
    """What a query is answered with, under some fusion weights.

    Attributes
    ----------
    view : View
        The items, with their vectors fused under these weights.
    settings : SpaceSettings
        The settings, with these weights.
    vector_weights : dict of str to float
        Weight of each named_vector.
    """

    view: View
    settings: SpaceSettings
    vector_weights: dict[str, float]


class OpenSpace:
    """The state of an opened space, which every operation takes as its first argument.

    Parameters
    ----------
    path : str or Path
        Folder of the space.
    encoder : str, Encoder or mapping, optional
        Encoder to use; by default the recorded ones, loaded when first needed.
    device : str, default "auto"
        Where the encoders run and what holds the indexes.
    wait_s : float, default 30
        How long a write waits for another writer, in seconds.

    Attributes
    ----------
    settings : SpaceSettings
        What ``space.toml`` held when the space was opened or last switched.
    catalog, quarantine, interactions, users
        The tables of the space.
    live : LiveView
        The searchable items, as they are on disk now.
    encoder_of : callable
        Returns the encoder of a modality.
    local_files : bool
        Whether items that are added may name files of this machine.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        encoder: EncoderLike | None = None,
        device: str = "auto",
        wait_s: float = DEFAULT_WAIT_S,
    ) -> None:
        survive_forks()
        self.path = local_path(path)  # absolute: the working folder may change
        self.wait_s = wait_s
        self.device = device
        self._load(SpaceSettings.read(self.path))
        self.interactions = InteractionStore(self.path)
        self.users = UserStore(self.path)
        given = None if encoder is None else resolve_encoders(encoder, device=self.model_device)
        self.encoder_of: Callable[[Modality], Encoder] = self.recorded_encoders(
            self.settings, given
        )
        self.local_files = True

    def _load(self, settings: SpaceSettings) -> None:
        """Take the settings, and open what depends on them."""
        self.settings = settings.with_pending(None)
        self.named_vectors = settings.layout
        self.vector_weights = vector_weights(settings)
        self.catalog = Catalog(self.path)
        self.quarantine = Quarantine(lambda: self.catalog.snapshot().quarantined())
        self.live = LiveView(self.path, self.catalog, settings, self.device)
        self._alignment: Alignment | None = None
        self._reweighting: Reweighting | None = None

    def switch(self, settings: SpaceSettings, encoder_of: LazyEncoders | None = None) -> None:
        """Open what the settings, written to disk before, name; keep the encoders if none given."""
        self._load(settings)
        if encoder_of is not None:
            self.encoder_of = encoder_of

    def recorded_encoders(
        self, settings: SpaceSettings, given: Mapping[Modality, Encoder] | None = None
    ) -> LazyEncoders:
        """Return the encoders that settings record, those given in the place of loaded ones."""
        return LazyEncoders(settings.encoders, settings.components, given, device=self.model_device)

    @property
    def model_device(self) -> str:
        """Where the encoders run: one GPU, even where the indexes take all."""
        return "cuda" if self.device == "all" else self.device

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the encoder stack that made the space."""
        return self.settings.fingerprint

    @property
    def alignment(self) -> Alignment | None:
        """The alignment of the space, read when first needed."""
        if self._alignment is None:
            self._alignment = load_alignment(self.path, self.settings)
        return self._alignment

    def media(self, *, http: bool = False) -> MediaStore:
        """Return the reader of the files that items refer to."""
        return MediaStore(self.path / MEDIA_FOLDER, MediaLimits(http=http))

    def view(self) -> View:
        """Return the searchable items of this moment, kept until the end of the lease scope."""
        view = self.live.now()
        try:
            view.keep()
        except VersionGone:
            return self.live.reopened()
        return view

    def weighted_view(self, weights: ModalityWeights | None, *, keep: bool = True) -> WeightedView:
        """Return the view of this moment under some fusion weights, by default the space's.

        Parameters
        ----------
        weights : mapping of str to float, optional
            Weight of each modality.
        keep : bool, default True
            Whether it is kept until the end of the lease scope.
        """
        view = self.view() if keep else self.live.now()
        if weights is None:
            return WeightedView(view, self.settings, self.vector_weights)
        settings = self.settings.with_query_weights(weights)
        if settings.weights != self.settings.weights:
            if self._reweighting is None:
                self._reweighting = Reweighting(self.path, self.settings, self.alignment)
            view = self._reweighting.view(view, settings.weights)
        return WeightedView(view, settings, vector_weights(settings))

    def require_fingerprint(self, fingerprint: str | None) -> None:
        """Refuse vectors of another encoder stack.

        Raises
        ------
        FingerprintMismatch
            If the fingerprint is not that of the space.
        """
        if fingerprint is not None and fingerprint != self.fingerprint:
            raise FingerprintMismatch(
                f"the vector was made with encoder stack {fingerprint}, this space with "
                f"{self.fingerprint} ({', '.join(self.settings.encoders.values())})"
            )

    def training_interactions(
        self,
        positive_from: float | None = None,
        event_weights: Mapping[str, float] | None = None,
        half_life_days: float | None = None,
    ) -> tuple[pa.Table, Feedback]:
        """Return the stored interactions, and how they count.

        Raises
        ------
        InvalidInput
            If there are no interactions.
        """
        interactions = self.interactions.table()
        if not len(interactions):
            raise InvalidInput(
                f"{self.path} holds no interactions to learn from; add some with: "
                f"{command_in(self.path, 'interactions add FILES')}"
            )
        return interactions, Feedback.of(interactions, event_weights, positive_from, half_life_days)


def vector_weights(settings: SpaceSettings) -> dict[str, float]:
    """Return the weight of each named vector: the sum of the fusion weights of its modalities."""
    # The aligned named vector counts once: were it to weigh as its modalities do, the weight of
    # pictures would move items that have none.
    # A vector that no modality makes counts once too.
    return {
        b.name: 1.0
        if b.alignment or not b.modalities
        else sum(settings.weights.get(m, 1.0) for m in b.modalities)
        for b in settings.layout
    }
