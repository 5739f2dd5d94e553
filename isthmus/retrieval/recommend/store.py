"""A recommender on disk: safetensors for arrays, JSON for the rest, Arrow for item ids."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from isthmus.errors import CorruptRelease, IsthmusError
from isthmus.index.files import write_atomically
from isthmus.numerics.arrays import ArrayState
from isthmus.numerics.sparse import sparse_from_arrays, sparse_to_arrays
from isthmus.retrieval.candidates.generators import CandidateGenerators
from isthmus.retrieval.ranker.settings import ExampleSettings, TrainingSettings
from isthmus.retrieval.ratings.store import ABOUT, TENSORS
from isthmus.retrieval.ratings.store import load as load_rating
from isthmus.retrieval.ratings.store import save as save_rating
from isthmus.retrieval.recommend.recommender import Recommender
from isthmus.retrieval.recommend.report import HeadReport
from isthmus.retrieval.recommend.settings import RecommenderSettings
from isthmus.schema import DOMAIN, FORMAT, ITEM_ID, RECOMMENDER_FOLDER, TRAINING_FOLDER

if TYPE_CHECKING:
    from isthmus.retrieval.recommend.train import Trained
import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING

from isthmus.errors import InvalidInput
from isthmus.index.releases.release import Release, Releases
from isthmus.index.settings import SpaceSettings

if TYPE_CHECKING:
    from isthmus.retrieval.ranker.ranker import RankingHead


DESCRIPTION = "recommender.json"
ITEMS = "items.arrow"
LEARNED = "sources.safetensors"
FACTS = "facts.safetensors"
ALIKE = "alike"
IGNORED = "ignored_domains"


class Description(BaseModel):
    """What stands beside the arrays of a recommender.

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
    sources : list of dict
        The name, the class and the hyperparameters of each candidate generator.
    heads : dict of str to dict
        What each head looks at, its sizes, and the domains whose histories it ignores.
    reports : dict of str to HeadReport
        What the training of each head came to.
    interactions : int
        How many interactions it learned from.
    positive_from : float or None
        Least value that counted as liked.
    rates : bool
        Whether it predicts values.
    vector_names : list of str
        The named vectors of the item vectors that it learned from.
    rated_events : list of str or None
        The kinds of event whose values are ratings; None, as it was before, where all are.
    seconds : float
        How long the training took.
    """

    model_config = ConfigDict(extra="forbid")
    format: int
    created: str
    domains: list[str]
    settings: dict[str, Any]
    sources: list[dict[str, Any]]
    heads: dict[str, dict[str, Any]]
    reports: dict[str, HeadReport]
    interactions: int
    positive_from: float | None
    rates: bool
    vector_names: list[str]
    rated_events: list[str] | None = None
    seconds: float

    def losses(self) -> list[str]:
        """Say where a head loses to one of its own sources."""
        return [loss for report in self.reports.values() for loss in report.losses()]


def save_recommender(
    folder: Path, trained: Trained, settings: RecommenderSettings, interactions: int
) -> Description:
    """Write a recommender into a folder, the description last.

    Parameters
    ----------
    folder : Path
        Where; it is made if need be.
    trained : Trained
        What.
    settings : RecommenderSettings
        How it was trained.
    interactions : int
        How many interactions it learned from.
    """
    recommender = trained.recommender
    folder.mkdir(parents=True, exist_ok=True)
    names = pa.array(recommender.domain_names).take(pa.array(recommender.domains))
    table = pa.table({ITEM_ID: pa.array(recommender.item_ids, pa.string()), DOMAIN: names})
    with pa.ipc.new_file(str(folder / ITEMS), table.schema) as file:
        file.write_table(table)
    _write(folder / LEARNED, recommender.sources.state())
    alike = sparse_to_arrays(ALIKE, recommender.alike)
    _write(folder / FACTS, {**recommender.facts.state(), **alike})
    for domain, head in recommender.heads.items():
        _write(folder / head_file(recommender.domain_names.index(domain)), head.state())
    if recommender.rating is not None:
        save_rating(recommender.rating, folder)
    description = Description(
        format=FORMAT,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        domains=list(recommender.domain_names),
        settings=asdict(settings),
        sources=recommender.sources.description(),
        heads={
            domain: {**head.description(), IGNORED: list(recommender.ignored.get(domain, ()))}
            for domain, head in recommender.heads.items()
        },
        reports=trained.reports,
        interactions=interactions,
        positive_from=recommender.positive_from,
        rates=recommender.rating is not None,
        vector_names=list(recommender.vector_names),
        rated_events=None if (kinds := recommender.rated_events) is None else list(kinds),
        seconds=trained.seconds,
    )
    write_atomically(folder / DESCRIPTION, description.model_dump_json(indent=1).encode())
    return description


def read_description(folder: Path) -> Description:
    """Read what stands beside the arrays.

    Raises
    ------
    CorruptRelease
        If it is missing, damaged, or of another version.
    """
    try:
        found = Description.model_validate_json((folder / DESCRIPTION).read_bytes())
    except (OSError, ValidationError) as error:
        raise CorruptRelease(
            f"{folder / DESCRIPTION} is missing or damaged; train anew with: isthmus train"
        ) from error
    if found.format != FORMAT:
        raise CorruptRelease(
            f"{folder / DESCRIPTION} is of format {found.format}, this version reads {FORMAT}; "
            "train anew with: isthmus train"
        )
    return found


def load_recommender(folder: Path) -> Recommender:
    """Read a recommender.

    Raises
    ------
    CorruptRelease
        If a file is missing, damaged, or of another version.
    """
    from isthmus.retrieval.ranker.ranker import RankingHead

    description = read_description(folder)
    codes = {name: code for code, name in enumerate(description.domains)}
    try:
        settings = settings_of(description)
        with pa.memory_map(str(folder / ITEMS)) as file:
            table = pa.ipc.open_file(file).read_all()
        domains = [codes[name] for name in table.column(DOMAIN).to_pylist()]
        sources = CandidateGenerators.from_description(description.sources)
        sources.restore(_read(folder / LEARNED))
        told = _read(folder / FACTS)
        facts, alike = settings.make_facts().restore(told), sparse_from_arrays(ALIKE, told)
        heads = {
            domain: RankingHead.restored(
                own, _read(folder / head_file(description.domains.index(domain)))
            )
            for domain, own in description.heads.items()
        }
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, IsthmusError) as error:
        raise CorruptRelease(
            f"the recommender in {folder} is damaged ({error}); train anew with: isthmus train"
        ) from error
    return Recommender(
        item_ids=np.array(table.column(ITEM_ID).to_pylist(), object),
        domain_names=tuple(description.domains),
        domains=np.array(domains, np.int64),
        sources=sources,
        facts=facts,
        heads=heads,
        alike=alike,
        positive_from=description.positive_from,
        rating=load_rating(folder) if description.rates else None,
        vector_names=tuple(description.vector_names),
        rated_events=None if description.rated_events is None else tuple(description.rated_events),
        ignored={domain: own.get(IGNORED, ()) for domain, own in description.heads.items()},
    )


def settings_of(description: Description) -> RecommenderSettings:
    """Give the settings that a recommender was trained with."""
    told = dict(description.settings)
    return replace(
        RecommenderSettings(
            examples=ExampleSettings(**told.pop("examples")),
            training=TrainingSettings(**told.pop("training")),
        ),
        **{**told, "leave_out": tuple(told["leave_out"])},
    )


def files_of(description: Description) -> list[str]:
    """Name the files of a recommender."""
    heads = [head_file(description.domains.index(domain)) for domain in description.heads]
    rating = [ABOUT, TENSORS] if description.rates else []
    return [DESCRIPTION, ITEMS, LEARNED, FACTS, *heads, *rating]


def head_file(code: int) -> str:
    """Name the file of a domain's head."""
    return f"head-{code}.safetensors"


def _write(path: Path, state: ArrayState) -> None:
    from safetensors.numpy import save_file

    save_file({key: np.ascontiguousarray(value) for key, value in state.items()}, path)


def _read(path: Path) -> ArrayState:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise ValueError(f"{path.name}: {error}") from error


class RecommenderAttachment:
    """Puts into a release what was trained since any was published, or what the current one has.

    So after a rollback the next release keeps the heads that were rolled back to.

    Parameters
    ----------
    space : Path
        Folder of the space.
    current : Release, optional
        The current release.
    keep : bool, default False
        Whether to pass over what was trained since.

    Raises
    ------
    CorruptRelease
        If a file of the recommender is missing or damaged.
    """

    def __init__(self, space: Path, current: Release | None, *, keep: bool = False) -> None:
        self._folder, self._description = _newest(space, current, keep=keep)

    def write(self, folder: Path) -> list[str]:
        """Copy the files of the recommender into a release."""
        if self._folder is None or self._description is None:
            return []
        (folder / RECOMMENDER_FOLDER).mkdir()
        for name in files_of(self._description):
            shutil.copyfile(self._folder / name, folder / RECOMMENDER_FOLDER / name)
        return [f"{RECOMMENDER_FOLDER}/{name}" for name in files_of(self._description)]

    def shortfalls(self) -> list[str]:
        """Say where a head loses to one of its own sources."""
        return [] if self._description is None else self._description.losses()


def trained_folder(space: Path) -> Path:
    """Name the folder of what was trained and not published yet."""
    return space / TRAINING_FOLDER / RECOMMENDER_FOLDER


def has_recommender(space: Path) -> bool:
    """Tell whether a space has a recommender: published, or trained and not published yet."""
    current = Releases(space).current()
    published = current is not None and (current.folder / RECOMMENDER_FOLDER / DESCRIPTION).exists()
    return published or (trained_folder(space) / DESCRIPTION).exists()


def published_recommender(release: Release | None) -> Recommender | None:
    """Read the recommender of a release; None where it has none."""
    if release is None or not (release.folder / RECOMMENDER_FOLDER / DESCRIPTION).exists():
        return None
    return load_recommender(release.folder / RECOMMENDER_FOLDER)


def heads_of(space: Path) -> Mapping[str, RankingHead]:
    """Read the heads that a space has published.

    Raises
    ------
    InvalidInput
        If it has none.
    SpaceNotFound
        If there is no space.
    """
    SpaceSettings.read(space)
    found = published_recommender(Releases(space).current())
    if found is None:
        raise InvalidInput(
            f"{space} has published no head; train one there with: isthmus train, isthmus publish"
        )
    return found.heads


def _was_published(space: Path, current: Release, trained: Path) -> bool:
    """Tell whether what was trained is part of a release already: it is not newer than these."""
    own = (trained / DESCRIPTION).read_bytes()
    for release in [current, *Releases(space).all()]:
        published = release.folder / RECOMMENDER_FOLDER / DESCRIPTION
        if release.manifest.accepted and published.exists() and published.read_bytes() == own:
            return True
    return False


def _newest(
    space: Path, current: Release | None, *, keep: bool
) -> tuple[Path | None, Description | None]:
    """Choose between what was trained since the current release, and what that has."""
    trained = trained_folder(space)
    new = (trained / DESCRIPTION).exists() and not keep
    if new and (current is None or not _was_published(space, current, trained)):
        return _sound(trained)
    published = None if current is None else current.folder / RECOMMENDER_FOLDER
    if published is not None and (published / DESCRIPTION).exists():
        return _sound(published)
    return None, None


def _sound(folder: Path) -> tuple[Path, Description]:
    """Give a recommender's folder and description, if all of it can be read."""
    load_recommender(folder)
    return folder, read_description(folder)
