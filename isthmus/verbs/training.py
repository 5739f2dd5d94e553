"""The training verb of a space."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from isthmus.data.interactions.ratings import (
    RatingData,
    rated_events,
    select_events,
    with_unit_weights,
)
from isthmus.digests import digest
from isthmus.errors import FingerprintMismatch
from isthmus.index.catalog.lock import writing
from isthmus.index.releases.view import View
from isthmus.index.settings import SpaceSettings
from isthmus.retrieval.recommend.settings import RecommenderSettings
from isthmus.retrieval.recommend.store import (
    TRAINING,
    Description,
    published_rankers,
    save_recommender,
    trained_folder,
)
from isthmus.verbs.open_space import OpenSpace


class SpaceTraining(OpenSpace):
    """The part of `isthmus.Space` that trains a recommender."""

    def train(
        self,
        targets: Sequence[str] | str | None = None,
        *,
        pretrain: Sequence[str] | None = None,
        start_from: str | Path | None = None,
        settings: RecommenderSettings | None = None,
        guard: bool | None = None,
        positive_from: float | None = None,
        progress: bool = False,
    ) -> Description:
        """Train candidate generators and rankers on the stored interactions.

        What was trained becomes part of the next release: run `publish` after it. A training
        that was interrupted goes on with its last complete pass when it is started again on the
        same items and interactions with the same settings.

        Parameters
        ----------
        targets : str or sequence of str, optional
            Domains to recommend in; by default every one with 20 users or more.
        pretrain : sequence of str, optional
            Domains that rankers are trained on before they are fine-tuned on their target.
        start_from : str or Path, optional
            Another space, whose published rankers are fine-tuned.
        settings : RecommenderSettings, optional
            How to train; the defaults are meant for any data.
        guard : bool, optional
            In the place of the settings' guard, which is on by default: whether to measure, for
            each target, what the histories of the other domains are worth (see `sources`), and to
            ignore there those that hurt, in training and in use.
        positive_from : float, optional
            Least value that counts as liked; by default four fifths of the largest value, or
            whatever is above zero where all values are equal.
        progress : bool, default False
            Whether to show bars.

        Returns
        -------
        Description
            What was trained, and the report of each ranker.

        Raises
        ------
        InvalidInput
            If there are too few interactions, or a domain is unknown.
        SpaceLocked
            If another process is training.
        """
        from isthmus.retrieval.recommend.space_data import space_corpus
        from isthmus.retrieval.recommend.train import train_recommender

        settings = settings or RecommenderSettings()
        if guard is not None:
            settings = replace(settings, guard=guard)
        names = [targets] if isinstance(targets, str) else targets
        interactions, least = self._learnable(positive_from)
        view = self._live.now()
        with writing(self.path, "training", self._wait_s):
            work = self._work_folder(settings, names, pretrain, start_from, least)
            corpus = space_corpus(view, self._weights, interactions, positive_from=least)
            trained = train_recommender(
                corpus,
                settings,
                names,
                positive_from=least,
                rated=self._rated(view, interactions),
                pretrained=None if start_from is None else published_rankers(Path(start_from)),
                pretrain_on=_pretraining(names or view.domains, pretrain),
                folder=work,
                show=progress,
            )
            self._require_same_encoders()
            made = save_recommender(work / "made", trained, settings, len(corpus.interactions))
            shutil.rmtree(trained_folder(self.path), ignore_errors=True)
            (work / "made").rename(trained_folder(self.path))
            shutil.rmtree(work)
        return made

    @staticmethod
    def _rated(view: View, interactions: pa.Table) -> RatingData:
        from isthmus.retrieval.recommend.space_data import space_matrix

        events = rated_events(interactions)
        return RatingData(
            events, space_matrix(view, with_unit_weights(select_events(interactions, events)))
        )

    def _require_same_encoders(self) -> None:
        """Refuse to store what was learned from vectors that the space does not have any more."""
        found = SpaceSettings.read(self.path)
        for modality in self.settings.encoders:
            if found.encoder_fingerprint(modality) != self.settings.encoder_fingerprint(modality):
                raise FingerprintMismatch(
                    f"{self.path} got another {modality} encoder while it was trained on the "
                    "vectors of the former; train anew with: isthmus train"
                )

    def _work_folder(self, *asked: object) -> Path:
        """Give the folder of a training's checkpoints, and remove those of other trainings."""
        state = (self._catalog.snapshot().version, self._interactions.version, asked)
        work = self.path / TRAINING / digest(repr(state)).hex()
        for other in (self.path / TRAINING).glob("*"):
            if other not in (work, trained_folder(self.path)):
                shutil.rmtree(other, ignore_errors=True)
        shutil.rmtree(work / "made", ignore_errors=True)
        work.mkdir(parents=True, exist_ok=True)
        return work


def _pretraining(
    targets: Sequence[str] | Mapping[str, int], pretrain: Sequence[str] | None
) -> dict[str, Sequence[str]] | None:
    if pretrain is None:
        return None
    return {target: [name for name in pretrain if name != target] for target in targets}
