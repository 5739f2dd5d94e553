"""A recommender on disk (safetensors, JSON and Arrow), and as part of a release."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from isthmus.data.interactions.feedback import Feedback
from isthmus.data.interactions.store import Extent
from isthmus.data.table_checksums import space_of
from isthmus.digests import digest
from isthmus.durable import make_folder, remove_folder, sync_tree, write_atomically
from isthmus.encoders.stack import GIVEN_PREFIX
from isthmus.errors import CorruptRelease, InvalidInput, IsthmusError, command_in
from isthmus.files import checksum, with_checksum, without_checksum
from isthmus.index.open_space import vector_weights
from isthmus.index.releases.release import Release, Releases
from isthmus.index.releases.view import View
from isthmus.index.settings import SpaceSettings
from isthmus.numerics.arrays import ArrayState
from isthmus.numerics.mapped_arrays import map_arrays
from isthmus.numerics.sparse import sparse_from_arrays, sparse_to_arrays
from isthmus.privacy.guarantee import Guarantee
from isthmus.requests import fields_of
from isthmus.retrieval.candidates.generators import CandidateGenerators
from isthmus.retrieval.candidates.tuning import GeneratorTuning
from isthmus.retrieval.ranker.item_statistics import ItemStatistics
from isthmus.retrieval.ranker.ranker import Ranker
from isthmus.retrieval.ratings.store import DESCRIPTION as RATING_DESCRIPTION
from isthmus.retrieval.ratings.store import TENSORS as RATING_TENSORS
from isthmus.retrieval.ratings.store import load as load_rating
from isthmus.retrieval.ratings.store import save as save_rating
from isthmus.retrieval.recommend.model_card import MODEL_CARD, model_card
from isthmus.retrieval.recommend.recommender import Recommender
from isthmus.retrieval.recommend.release_contents import ReleaseContents
from isthmus.retrieval.recommend.report import RankerReport
from isthmus.retrieval.recommend.settings import RecommenderSettings
from isthmus.schema import (
    DOMAIN,
    FORMAT,
    ITEM_ID,
    RECOMMENDER_FOLDER,
    RELEASES_FOLDER,
    TRAINING_FOLDER,
)

if TYPE_CHECKING:
    from isthmus.retrieval.recommend.train import Trained

DESCRIPTION = "recommender.json"
CHECKSUMS = "checksums.json"
ITEMS = "items.arrow"
GENERATORS = "generators.safetensors"
STATISTICS = "item_statistics.safetensors"
CONTENTS = "contents.safetensors"
CONTENT_GRAPH = "content_graph"
IGNORED = "ignored_domains"

NOTHING_STORED = Extent()


class Description(BaseModel):
    """The description of a stored recommender.

    Attributes
    ----------
    format : int
        Version of the files.
    created : str
        When it was trained.
    domains : list of str
        The domains, by code.
    settings : dict
        How it was trained.
    generators : list of dict
        Name, class and hyperparameters of each candidate generator.
    rankers : dict of str to dict
        By target domain: the candidate generators and features that the ranker needs, by name,
        the model of each situation, and the domains whose histories it ignores.
    reports : dict of str to RankerReport
        Report of the training of each ranker.
    interactions : int
        Number of interactions that it learned from.
    feedback : Feedback or None
        How events counted.
    last_added : int
        When the last event that it learned from was added, in microseconds since 1970.
    stored_events : int
        How many events were stored then; those of unknown items are among them.
    rates : bool
        Whether it predicts values.
    vector_names : list of str
        The named vectors of the items that it learned from.
    encoders : dict of str to str
        Fingerprint of the encoder of each modality that these are of.
    rated_events : list of str or None
        The kinds of event whose values are ratings; None where all are.
    seconds : float
        Duration of the training.
    stages : dict of str to float
        Seconds of processor time of each stage of the training.
    generator_tuning : list of GeneratorTuning
        How the hyperparameters of each candidate generator were chosen.
    privacy : Guarantee or None
        The promise of a private training; None where users have none.
    """

    model_config = ConfigDict(extra="forbid")
    format: int
    created: str
    domains: list[str]
    settings: dict[str, Any]
    generators: list[dict[str, Any]]
    rankers: dict[str, dict[str, Any]]
    reports: dict[str, RankerReport]
    interactions: int
    feedback: Feedback | None = None
    last_added: int = 0
    stored_events: int = 0
    rates: bool
    vector_names: list[str]
    encoders: dict[str, str]
    rated_events: list[str] | None = None
    seconds: float
    stages: dict[str, float] = {}
    generator_tuning: list[GeneratorTuning] = []
    privacy: Guarantee | None = None

    @property
    def extent(self) -> Extent:
        """What events were stored when it was trained."""
        return Extent(self.stored_events, self.last_added)

    def fits(self, settings: SpaceSettings) -> bool:
        """Return whether it learned from vectors of the encoders that a space has."""
        return self.encoders == encoders_of(settings)

    def shortfalls(self) -> list[str]:
        """Return a message for each ranker that is worse than one of its generators."""
        return [message for report in self.reports.values() for message in report.shortfalls()]

    def model_card(self) -> str:
        """Return the model card, see `isthmus.retrieval.recommend.model_card`."""
        reports = self.reports.values()
        return model_card(
            self.created,
            list(self.rankers),
            self.interactions,
            [str(generator["name"]) for generator in self.generators],
            {name: reason for report in reports for name, reason in report.left_out.items()},
            self.privacy,
        )


def encoders_of(settings: SpaceSettings) -> dict[str, str]:
    """Return the fingerprint of the encoder of each modality of a space, and of given vectors."""
    encoders = {str(m): settings.encoder_fingerprint(m) for m in settings.encoders}
    given = {f"{GIVEN_PREFIX}{name}": str(dim) for name, dim in settings.given_dims.items()}
    return encoders | given


def save_recommender(
    folder: Path,
    trained: Trained,
    settings: RecommenderSettings,
    interactions: int,
    encoders: Mapping[str, str],
    extent: Extent = NOTHING_STORED,
) -> Description:
    """Replace the recommender in a folder, at once and durably.

    The files lie in a subfolder that is named by the digest of the description. So the former
    recommender is whole until the description is replaced, and the new one is from then on.

    Parameters
    ----------
    folder : Path
        The folder; made if it does not exist.
    trained : Trained
        The recommender, and its reports.
    settings : RecommenderSettings
        How it was trained.
    interactions : int
        Number of interactions that it learned from.
    encoders : mapping of str to str
        Fingerprint of the encoder of each modality.
    extent : Extent
        What events were stored.
    """
    description = _describe(trained, settings, interactions, encoders, extent)
    content = description.model_dump_json(indent=1).encode()
    parts = folder / parts_name(content)
    remove_folder(parts)
    _write_parts(make_folder(parts), trained.recommender)
    write_checksums(parts, description, content)
    sync_tree(parts)
    write_atomically(folder / DESCRIPTION, content)
    for other in folder.iterdir():
        if other.is_dir() and other != parts:
            shutil.rmtree(other, ignore_errors=True)
    return description


def _write_parts(folder: Path, recommender: Recommender) -> None:
    names = pa.array(recommender.domain_names).take(pa.array(recommender.domains))
    table = pa.table({ITEM_ID: pa.array(recommender.item_ids, pa.string()), DOMAIN: names})
    with pa.ipc.new_file(str(folder / ITEMS), table.schema) as file:
        file.write_table(table)
    _write(folder / GENERATORS, recommender.generators.state())
    graph = sparse_to_arrays(CONTENT_GRAPH, recommender.content_graph)
    _write(folder / STATISTICS, {**recommender.statistics.state(), **graph})
    for domain, ranker in recommender.rankers.items():
        _write(folder / ranker_file(recommender.domain_names.index(domain)), ranker.state())
    if recommender.rating is not None:
        save_rating(recommender.rating, folder)


def write_checksums(parts: Path, description: Description, content: bytes) -> None:
    """Write the checksums of the files of a recommender, and of its description, beside them."""
    names = [name for name in files_of(description) if name not in (DESCRIPTION, CHECKSUMS)]
    checksums = {name: checksum(parts / name) for name in names}
    checksums[DESCRIPTION] = digest(content).hex()
    write_atomically(parts / CHECKSUMS, with_checksum(json.dumps(checksums)))


def _require_intact(folder: Path) -> None:
    """Compare the files of a recommender with their checksums.

    Raises
    ------
    CorruptRelease
        If one is missing, cut off or changed; the message names it.
    """
    parts = parts_folder(folder)
    if parts == folder and not (parts / CHECKSUMS).exists():
        return  # of a release, whose manifest lists its files
    try:
        checksums = without_checksum((parts / CHECKSUMS).read_bytes())
    except (OSError, ValueError) as error:
        raise CorruptRelease(
            f"{parts / CHECKSUMS} is missing or damaged; {_remedy(folder)}"
        ) from error
    for name, expected in checksums.items():
        path = (folder if name == DESCRIPTION else parts) / name
        if not path.is_file() or checksum(path) != expected:
            raise CorruptRelease(f"{path} is missing or damaged; {_remedy(folder)}")


def _describe(
    trained: Trained,
    settings: RecommenderSettings,
    interactions: int,
    encoders: Mapping[str, str],
    extent: Extent,
) -> Description:
    recommender = trained.recommender
    events = recommender.rated_events
    return Description(
        format=FORMAT,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        domains=list(recommender.domain_names),
        settings=asdict(settings),
        generators=recommender.generators.description(),
        rankers={
            domain: {**ranker.description(), IGNORED: list(recommender.ignored.get(domain, ()))}
            for domain, ranker in recommender.rankers.items()
        },
        reports=trained.reports,
        interactions=interactions,
        feedback=recommender.feedback,
        last_added=extent.last_added,
        stored_events=extent.events,
        rates=recommender.rating is not None,
        vector_names=list(recommender.vector_names),
        encoders=dict(encoders),
        rated_events=None if events is None else list(events),
        seconds=trained.seconds,
        stages={name: round(seconds, 2) for name, seconds in trained.stages.items()},
        generator_tuning=trained.generator_tuning,
        privacy=trained.privacy,
    )


def parts_name(description: bytes) -> str:
    """Return the name of the folder of the files that a description is of."""
    return digest(description).hex()[:16]


def parts_folder(folder: Path) -> Path:
    """Return the folder of the files of a stored recommender; those of a release lie flat."""
    parts = folder / parts_name((folder / DESCRIPTION).read_bytes())
    return parts if parts.is_dir() else folder


def _remedy(folder: Path) -> str:
    space = space_of(folder)
    train = f"train again with: {command_in(space, 'train')}"
    if folder.parent.parent.name != RELEASES_FOLDER:
        return train
    return f"{train}, then: {command_in(space, 'publish')}"


def read_description(folder: Path) -> Description:
    """Read the description of a stored recommender.

    Raises
    ------
    CorruptRelease
        If it is missing, damaged, or of another format.
    """
    path = folder / DESCRIPTION
    try:
        description = Description.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise CorruptRelease(f"{path} is missing or damaged; {_remedy(folder)}") from error
    if description.format != FORMAT:
        raise CorruptRelease(
            f"{path} is of format {description.format}, this version reads {FORMAT}; "
            f"{_remedy(folder)}"
        )
    return description


def load_recommender(folder: Path) -> Recommender:
    """Read a recommender.

    Raises
    ------
    CorruptRelease
        If a file is missing, damaged, or of another format, or a ranker needs a feature or a
        candidate generator that is not there; the message names what is missing.
    """
    description = read_description(folder)
    _require_intact(folder)
    codes = {name: code for code, name in enumerate(description.domains)}
    folder = parts_folder(folder)
    try:
        _require_settings(description)
        with pa.memory_map(str(folder / ITEMS)) as file:
            table = pa.ipc.open_file(file).read_all()
        domains = [codes[name] for name in table.column(DOMAIN).to_pylist()]
        generators = CandidateGenerators.from_description(description.generators)
        generators.restore(map_arrays(folder / GENERATORS))
        state = map_arrays(folder / STATISTICS)
        statistics = ItemStatistics().restore(state)
        graph = sparse_from_arrays(CONTENT_GRAPH, state)
        rankers = _load_rankers(folder, description, generators.names)
        rating = load_rating(folder) if description.rates else None
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, IsthmusError) as error:
        raise CorruptRelease(
            f"the recommender in {folder} is damaged ({error}); {_remedy(folder)}"
        ) from error
    events = description.rated_events
    return Recommender(
        item_ids=np.array(table.column(ITEM_ID).to_pylist(), object),
        domain_names=tuple(description.domains),
        domains=np.array(domains, np.int64),
        generators=generators,
        statistics=statistics,
        rankers=rankers,
        content_graph=graph,
        feedback=description.feedback,
        rating=rating,
        vector_names=tuple(description.vector_names),
        rated_events=None if events is None else tuple(events),
        ignored={domain: entry.get(IGNORED, ()) for domain, entry in description.rankers.items()},
    )


def _load_rankers(
    folder: Path, description: Description, generators: tuple[str, ...]
) -> dict[str, Ranker]:
    rankers = {}
    for domain, stored in description.rankers.items():
        state = map_arrays(folder / ranker_file(description.domains.index(domain)))
        rankers[domain] = Ranker.restored(stored, state)
        rankers[domain].require_generators(generators)
    return rankers


def _require_settings(description: Description) -> None:
    """Refuse a recommender whose settings this version cannot read."""
    absent = fields_of(RecommenderSettings).keys() - description.settings.keys()
    if absent:  # defaults of this version would be other settings
        raise InvalidInput(f"its settings have no {', '.join(sorted(absent))}")
    RecommenderSettings(**description.settings)


def files_of(description: Description) -> list[str]:
    """Return the names of the files of a recommender."""
    rankers = [ranker_file(description.domains.index(domain)) for domain in description.rankers]
    rating = [RATING_DESCRIPTION, RATING_TENSORS] if description.rates else []
    return [DESCRIPTION, CHECKSUMS, ITEMS, GENERATORS, STATISTICS, *rankers, *rating]


def ranker_file(code: int) -> str:
    """Return the name of the file of the ranker of a domain."""
    return f"ranker-{code}.safetensors"


class RecommenderAttachment:
    """Puts a recommender into a release that is being published.

    It is the one trained since the last release, if there is one, or else that of the current
    release. So after a rollback the next release keeps the rankers that were rolled back to.

    Parameters
    ----------
    space : Path
        Folder of the space.
    settings : SpaceSettings
        Its settings; a recommender that learned from vectors of other encoders is left out.
    current : Path, optional
        Folder of the current release.
    keep : bool, default False
        Whether to keep the recommender of the current release in any case.

    Raises
    ------
    CorruptRelease
        If a file of the recommender is missing or damaged.
    """

    def __init__(
        self,
        space: Path,
        settings: SpaceSettings,
        current: Path | None,
        *,
        keep: bool = False,
    ) -> None:
        self._weights = vector_weights(settings)
        published = None if current is None else current / RECOMMENDER_FOLDER
        self._folder, self._description = _newest(space, settings, published, keep=keep)

    def write(self, folder: Path, view: View) -> list[str]:
        """Copy the files of the recommender into a release, and return their paths there.

        The projected contents of the items of the release are written beside them, so that its
        readers share these.
        """
        if self._folder is None or self._description is None:
            return []
        (folder / RECOMMENDER_FOLDER).mkdir()
        parts = parts_folder(self._folder)
        for name in files_of(self._description):
            source = self._folder if name == DESCRIPTION else parts
            shutil.copyfile(source / name, folder / RECOMMENDER_FOLDER / name)
        recommender = load_recommender(folder / RECOMMENDER_FOLDER)  # it was read again
        contents = ReleaseContents.of(recommender, view, self._weights)
        _write(folder / RECOMMENDER_FOLDER / CONTENTS, contents.state())
        (folder / RECOMMENDER_FOLDER / MODEL_CARD).write_text(
            self._description.model_card(), encoding="utf-8"
        )
        names = [*files_of(self._description), CONTENTS, MODEL_CARD]
        return [f"{RECOMMENDER_FOLDER}/{name}" for name in names]

    def shortfalls(self) -> list[str]:
        """Return a message for each ranker that is worse than one of its generators."""
        return [] if self._description is None else self._description.shortfalls()

    def guarantee(self) -> Guarantee | None:
        """Return the privacy that users have in the recommender."""
        return None if self._description is None else self._description.privacy


def trained_folder(space: Path) -> Path:
    """Return the folder of the recommender that was trained and may not be published yet."""
    return space / TRAINING_FOLDER / RECOMMENDER_FOLDER


def has_recommender(space: Path) -> bool:
    """Return whether a space has a recommender, published or trained."""
    current = Releases(space).current()
    published = current is not None and (current.folder / RECOMMENDER_FOLDER / DESCRIPTION).exists()
    return published or (trained_folder(space) / DESCRIPTION).exists()


def published_recommender(release: Release | None) -> Recommender | None:
    """Read the recommender of a release; None if it has none.

    Raises
    ------
    CorruptRelease
        If a file of it is missing or damaged.
    """
    folder = _published_folder(release)
    return None if folder is None else load_recommender(folder)


def published_contents(release: Release | None) -> ReleaseContents | None:
    """Read the projected contents of the items of a release whose recommender was read.

    A release that was made before they were stored has none.
    """
    if release is None or f"{RECOMMENDER_FOLDER}/{CONTENTS}" not in release.manifest.files:
        return None
    path = release.folder / RECOMMENDER_FOLDER / CONTENTS
    try:
        return ReleaseContents.from_state(map_arrays(path))
    except (OSError, KeyError, ValueError) as error:
        raise CorruptRelease(
            f"{path} is damaged ({error}); {_remedy(release.folder / RECOMMENDER_FOLDER)}"
        ) from error


def published_description(release: Release | None) -> tuple[Description, pa.Array] | None:
    """Read what describes the recommender of a release, and the ids of the items it learned from.

    Returns
    -------
    Description, pyarrow.Array, or None
        None if the release has no recommender.

    Raises
    ------
    CorruptRelease
        If a file of it is missing or damaged.
    """
    folder = _published_folder(release)
    if folder is None:
        return None
    with pa.memory_map(str(folder / ITEMS)) as file:
        ids = pa.ipc.open_file(file).read_all().column(ITEM_ID).combine_chunks()
    return read_description(folder), ids


def _published_folder(release: Release | None) -> Path | None:
    """Return the folder of the recommender of a release, its files checked; None if it has none."""
    within = f"{RECOMMENDER_FOLDER}/"
    if release is None or not any(name.startswith(within) for name in release.manifest.files):
        return None
    release.keep()
    folder = release.folder / RECOMMENDER_FOLDER
    for name in release.damaged_files(within=within):
        raise CorruptRelease(f"{release.folder / name} is missing or damaged; {_remedy(folder)}")
    return folder


def published_rankers(space: Path) -> Mapping[str, Ranker]:
    """Read the rankers that a space has published.

    Raises
    ------
    InvalidInput
        If it has none.
    SpaceNotFound
        If there is no space.
    """
    SpaceSettings.read(space)
    recommender = published_recommender(Releases(space).current())
    if recommender is None:
        raise InvalidInput(
            f"{space} has published no ranker; train one there with: "
            f"{command_in(space, 'train')}, {command_in(space, 'publish')}"
        )
    return recommender.rankers


def drop_stale_recommender(space: Path, settings: SpaceSettings) -> None:
    """Remove the trained recommender if it learned from vectors of other encoders."""
    folder = trained_folder(space)
    if (folder / DESCRIPTION).exists() and not read_description(folder).fits(settings):
        remove_folder(folder)


def _newest(
    space: Path, settings: SpaceSettings, published: Path | None, *, keep: bool
) -> tuple[Path | None, Description | None]:
    """Choose between the recommender trained since the current release, and that release's."""
    trained = trained_folder(space)
    new = not keep and _has_fitting(trained, settings)
    if new and (published is None or not _was_published(space, published, trained)):
        return _verified(trained)
    if (
        published is None
        or not published.is_dir()
        or not read_description(published).fits(settings)
    ):
        return None, None
    try:
        return _verified(published)
    except CorruptRelease:
        if not _is_description_of(trained, published):
            raise
    return _verified(trained)  # the same recommender, where it was trained


def _has_fitting(folder: Path, settings: SpaceSettings) -> bool:
    return (folder / DESCRIPTION).exists() and read_description(folder).fits(settings)


def _was_published(space: Path, published: Path, trained: Path) -> bool:
    """Return whether a trained recommender is part of a release already."""
    accepted = [release for release in Releases(space).all() if release.manifest.accepted]
    folders = [published, *(release.folder / RECOMMENDER_FOLDER for release in accepted)]
    return any(_is_description_of(trained, folder) for folder in folders)


def _is_description_of(folder: Path, other: Path) -> bool:
    """Return whether two folders hold the same recommender, by its description."""
    try:
        return (folder / DESCRIPTION).read_bytes() == (other / DESCRIPTION).read_bytes()
    except OSError:
        return False


def _verified(folder: Path) -> tuple[Path, Description]:
    """Return the folder and the description of a recommender, after reading all of it."""
    load_recommender(folder)
    return folder, read_description(folder)


def _write(path: Path, state: ArrayState) -> None:
    from safetensors.numpy import save_file

    save_file({key: np.ascontiguousarray(value) for key, value in state.items()}, path)
