"""``space.toml``: the settings of a space, typed and validated."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import tomli_w
from pydantic import BaseModel, ByteSize, ConfigDict, Field, ValidationError

from isthmus.durable import write_atomically
from isthmus.encoders.alignment import Alignment
from isthmus.encoders.encoder import digest_components
from isthmus.encoders.fusion import ModalityWeights, validated_weights
from isthmus.encoders.stack import (
    ALIGNMENT,
    GIVEN_PREFIX,
    EncoderStack,
    NamedVector,
    aligned_vector,
    given_components,
    given_vector,
)
from isthmus.errors import InvalidInput, SpaceNotFound, UnsupportedFormat, command_in
from isthmus.files import CHECKSUM, checksum_of_values
from isthmus.schema import FORMAT, SPACE_FILE, SPACE_FILE_COPY, Modality

EDITABLE: Final = (
    "index",
    "monitoring",
    "log",
    "retention",
    "privacy",
    "encoders",
)  # may be edited by hand: not in the checksum

MAX_KEEP_DAYS: Final = 36_500  # a century
RECALL_MARGIN = 0.02  # below the target, within what a few hundred queries cannot tell from it


class NamedVectorSettings(BaseModel):
    """A named vector in ``space.toml``: enough to search without loading an encoder.

    The fields are those of `isthmus.encoders.stack.NamedVector`.
    """

    model_config = ConfigDict(extra="forbid")
    name: str
    dim: int = Field(gt=0)
    modalities: list[Modality]
    alignment: str = ""
    variant: str = ""
    given: bool = False


Preference = Literal["speed", "memory", "build"]


class Targets(BaseModel):
    """Targets that a release must reach, and what is preferred of the indexes that reach them.

    Attributes
    ----------
    recall : float
        Smallest recall@10 against exact search, for every named vector, kind of query and domain.
    latency_ms : float or None
        Largest 99th percentile of a single query to the index, in milliseconds.
    memory : int or None
        Largest size of the index of one named vector, in bytes.
    prefer : str
        ``"speed"``, or the smallest index (``"memory"``) or the one that is built soonest
        (``"build"``) of those that take at most four times as long as the fastest.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    recall: float = Field(default=0.95, gt=0, le=1)
    latency_ms: float | None = Field(default=None, gt=0)
    memory: ByteSize | None = Field(default=None, gt=0)
    prefer: Preference = "speed"

    def __str__(self) -> str:
        latency = "" if self.latency_ms is None else f", p99 {self.latency_ms:g} ms"
        memory = "" if self.memory is None else f", {self.memory.human_readable()}"
        return f"recall@10 {self.recall:g}{latency}{memory}"

    def replace(self, **targets: Any) -> Targets:
        """Return the targets with some replaced; None leaves a target as it is.

        Raises
        ------
        InvalidInput
            If a target is out of its range.
        """
        changed = {name: value for name, value in targets.items() if value is not None}
        try:
            return Targets.model_validate({**self.model_dump(), **changed})
        except ValidationError as error:
            raise InvalidInput(f"a target makes no sense: {_first_problem(error)}") from error


class IndexSettings(Targets):
    """Targets and thresholds of `publish`, and how long old versions are kept.

    Attributes
    ----------
    exact_bytes : int
        Size up to which the vectors of a name are searched exactly, without planning an index.
        A query reads all of them, in half precision from 8 MiB on: 32 MiB take about 1 ms.
    exact_rows : int
        Number up to which they are, whatever their size: a plan takes longer than it saves.
    sample_rows : int
        Number of vectors that index recipes are measured on.
    retrain_growth : float
        Growth of the number of vectors after which an index is planned and trained again.
    keep_releases : int
        Number of releases kept besides the current one.
    keep_versions_days : float
        Age in days after which `compact` drops versions of the tables.
    """

    exact_bytes: int = Field(default=32 * 2**20, ge=0)
    exact_rows: int = Field(default=20_000, ge=0)
    sample_rows: int = Field(default=50_000, ge=1_000)
    retrain_growth: float = Field(default=2.0, gt=1)
    keep_releases: int = Field(default=5, ge=1)
    keep_versions_days: float = Field(default=14.0, ge=0, le=MAX_KEEP_DAYS)

    @property
    def targets(self) -> Targets:
        """The targets alone."""
        return Targets(**{name: getattr(self, name) for name in Targets.model_fields})

    def with_targets(self, targets: Targets) -> IndexSettings:
        """Return the settings with other targets."""
        return self.model_copy(update=dict(targets))


class MonitoringSettings(BaseModel):
    """Thresholds of `monitor`, and what it does beyond saying that one was crossed.

    Attributes
    ----------
    recall : float or None
        Smallest recall@10 of what is served; by default 0.02 less than the target of releases. It
        is crossed only if the whole interval of a measurement is below.
    drift_p : float
        Smallest p-value, corrected for the number of comparisons, of new items being like those
        of the release.
    delta_share : float
        Largest share of the searchable items that is newer than the release.
    quarantined_share : float
        Largest share of the items that is in quarantine.
    release_age_days, recommender_age_days : float or None
        Largest ages; None for no limit.
    on_alarm : str
        ``"report"``, or ``"rollback"``: make the previous release current if recall is too small.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    recall: float | None = Field(default=None, gt=0, le=1)
    drift_p: float = Field(default=0.01, ge=0, le=1)
    delta_share: float = Field(default=0.5, gt=0, le=1)
    quarantined_share: float = Field(default=0.05, gt=0, le=1)
    release_age_days: float | None = Field(default=None, gt=0)
    recommender_age_days: float | None = Field(default=None, gt=0)
    on_alarm: Literal["report", "rollback"] = "report"

    def smallest_recall(self, target: float) -> float:
        """Return the smallest recall that is no alarm, for a recall target of releases."""
        return max(target - RECALL_MARGIN, 0.0) if self.recall is None else self.recall


class LogSettings(BaseModel):
    """How recommendations are logged.

    Attributes
    ----------
    keep_days : float
        Days after which a logged recommendation is deleted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    keep_days: float = Field(default=90.0, gt=0)


class RetentionSettings(BaseModel):
    """How long interactions are kept; `compact` deletes older ones.

    Attributes
    ----------
    days : float or None
        Days that an interaction is kept; None for ever.
    events : dict of str to float
        Days for kinds of event, in the place of `days`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    days: float | None = Field(default=None, gt=0)
    events: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)


class PrivacySettings(BaseModel):
    """What the space may reveal of its users.

    Attributes
    ----------
    total_epsilon : float or None
        Largest epsilon of all private trainings together, at the delta of the last; one that would
        exceed it is refused. None for no limit.
    min_users : int
        Users that reasons and rows of popular items must rest on to be shown; 1 shows all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    total_epsilon: float | None = Field(default=None, gt=0)
    min_users: int = Field(default=1, ge=1)


class SpaceSettings(BaseModel):
    """The settings of a space.

    Attributes
    ----------
    format : int
        Version of the on-disk format.
    encoders : dict of str to str
        Spec of the encoder of each modality.
    named_vectors : list of NamedVectorSettings
        The named vectors of an item.
    components : dict of str to str
        Everything that changes the vectors, by name; its digest is `fingerprint`.
    weights : dict of str to float
        Fusion weight of each modality.
    former_weights : list of dict
        Fusion weights of earlier releases, to roll back to.
    index : IndexSettings
        Settings of the index.
    monitoring : MonitoringSettings
        Thresholds of `monitor`.
    log : LogSettings
        How recommendations are logged.
    retention : RetentionSettings
        How long interactions are kept.
    privacy : PrivacySettings
        What the space may reveal of its users.
    pending_release : int or None
        The current release, where CURRENT does not name it yet: it became current together with
        these settings.
    """

    model_config = ConfigDict(extra="forbid")
    format: int = FORMAT
    encoders: dict[Modality, str]
    named_vectors: list[NamedVectorSettings]
    components: dict[str, str]
    weights: dict[Modality, float] = Field(default_factory=dict)
    former_weights: list[dict[Modality, float]] = Field(default_factory=list)
    index: IndexSettings = Field(default_factory=IndexSettings)
    monitoring: MonitoringSettings = Field(default_factory=MonitoringSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)
    privacy: PrivacySettings = Field(default_factory=PrivacySettings)
    pending_release: int | None = None

    @classmethod
    def from_stack(cls, stack: EncoderStack, index: IndexSettings | None = None) -> SpaceSettings:
        """Return the settings of a space with these encoders."""
        return cls(
            encoders={m: encoder.spec for m, encoder in stack.encoders.items()},
            named_vectors=[_vector_settings(vector) for vector in stack.named_vectors],
            components=stack.components,
            weights={m: stack.weights[m] for m in stack.encoders},
            index=index or IndexSettings(),
        )

    @property
    def layout(self) -> tuple[NamedVector, ...]:
        """The named vectors of an item."""
        return tuple(
            NamedVector(v.name, v.dim, tuple(v.modalities), v.alignment, v.variant, v.given)
            for v in self.named_vectors
        )

    @property
    def given(self) -> dict[str, NamedVector]:
        """The named vectors whose vectors are given with the items, by name."""
        return {vector.name: vector for vector in self.layout if vector.given}

    @property
    def given_dims(self) -> dict[str, int]:
        """Length of the vectors that are given with the items, by name."""
        return {name: vector.dim for name, vector in self.given.items()}

    @property
    def encoded_modalities(self) -> tuple[Modality, ...]:
        """The modalities whose contents are encoded: those that make the vectors of items."""
        given = {modality for vector in self.given.values() for modality in vector.modalities}
        return tuple(modality for modality in self.encoders if modality not in given)

    def with_given(self, dims: Mapping[str, int]) -> SpaceSettings:
        """Return the settings with further named vectors whose vectors are given.

        Raises
        ------
        InvalidInput
            If a name or a length is not valid.
        """
        added = [_vector_settings(given_vector(name, dim)) for name, dim in dims.items()]
        components = {key: v for n, d in dims.items() for key, v in given_components(n, d).items()}
        return self.model_copy(
            update={
                "named_vectors": [*self.named_vectors, *added],
                "components": {**self.components, **components},
            }
        )

    @property
    def alignment(self) -> str:
        """Fingerprint of the alignment; empty where there is none."""
        return self.components.get(ALIGNMENT, "")

    def with_alignment(self, alignment: Alignment | None) -> SpaceSettings:
        """Return the settings of the same encoders with another alignment, or none."""
        vectors = [vector for vector in self.named_vectors if not vector.alignment]
        encoders = (GIVEN_PREFIX, *(f"{modality}." for modality in self.encoders))
        components = {n: v for n, v in self.components.items() if n.startswith(encoders)}
        components |= self._weight_components(_fused_modalities(vectors))
        if alignment is not None:
            aligned = _vector_settings(aligned_vector(alignment))
            if self.former_weights:
                aligned.variant = self._weights_digest(aligned.modalities)
            vectors.append(aligned)
            components |= self._weight_components(aligned.modalities)
            components[ALIGNMENT] = alignment.fingerprint
        return self.model_copy(update={"named_vectors": vectors, "components": components})

    def with_pending(self, release: int | None) -> SpaceSettings:
        """Return the settings with a release that becomes current together with them."""
        return self.model_copy(update={"pending_release": release})

    def with_query_weights(self, weights: ModalityWeights) -> SpaceSettings:
        """Return the settings with other fusion weights, and the vectors that are stored.

        Parameters
        ----------
        weights : mapping of str to float
            As `validated_weights` takes them.
        """
        return self.model_copy(
            update={"weights": {**self.weights, **validated_weights(weights, self.encoders)}}
        )

    def with_weights(self, weights: ModalityWeights) -> SpaceSettings:
        """Return the settings with other fusion weights, and vectors fused by them.

        A named vector that fuses several modalities gets a new column, because its vectors change.
        """
        changed = self.with_query_weights(weights)
        fused = _fused_modalities(self.named_vectors)
        if changed.weights == self.weights or not fused:
            return changed
        vectors = [
            vector.model_copy(update={"variant": changed._weights_digest(vector.modalities)})
            if len(vector.modalities) > 1 and not vector.given
            else vector
            for vector in self.named_vectors
        ]
        former = [w for w in self.former_weights if w not in (self.weights, changed.weights)]
        return changed.model_copy(
            update={
                "named_vectors": vectors,
                "components": {**self.components, **changed._weight_components(fused)},
                "former_weights": [*former, self.weights],
            }
        )

    def with_columns_beside(self, current: SpaceSettings) -> SpaceSettings:
        """Return these settings with columns that can coexist with those of the current settings.

        A named vector with the same vectors shares its column; any other gets a new one.
        """
        stored = {vector.name: vector for vector in current.named_vectors}
        vectors = []
        for vector in self.named_vectors:
            components = self._vector_components(vector)
            same = stored.get(vector.name)
            if same is not None and components == current._vector_components(same):
                variant = same.variant
            else:
                variant = digest_components(components)
            vectors.append(vector.model_copy(update={"variant": variant}))
        kept = {name: getattr(current, name) for name in EDITABLE if name != "encoders"}
        return self.model_copy(update={"named_vectors": vectors, **kept})

    def _vector_components(self, vector: NamedVectorSettings) -> dict[str, str]:
        """Return everything that changes the vectors of a named vector, by name."""
        if vector.given:  # whatever encodes the queries
            return given_components(vector.name, vector.dim)
        fused = vector.modalities if len(vector.modalities) > 1 else []
        return {
            ALIGNMENT: vector.alignment,
            **{m: self.encoder_fingerprint(m) for m in vector.modalities},
            **self._weight_components(fused),
        }

    def _weight_components(self, modalities: Collection[Modality]) -> dict[str, str]:
        return {f"fusion.{m}": str(float(self.weights.get(m, 1.0))) for m in sorted(modalities)}

    def _weights_digest(self, modalities: Collection[Modality]) -> str:
        return digest_components({m: str(float(self.weights.get(m, 1.0))) for m in modalities})

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the encoder stack."""
        return digest_components(self.components)

    def encoder_fingerprint(self, modality: Modality) -> str:
        """Return the fingerprint of the encoder of one modality."""
        return digest_components(self.encoder_components(modality))

    def encoder_components(self, modality: Modality) -> dict[str, str]:
        """Return everything that changes a vector of one modality's encoder, by name."""
        prefix = f"{modality}."
        return {
            n.removeprefix(prefix): v for n, v in self.components.items() if n.startswith(prefix)
        }

    def write(self, folder: Path) -> None:
        """Write ``space.toml`` atomically, with a checksum, and a copy of it."""
        values = self.model_dump(exclude_none=True)
        if not self.former_weights:
            del values["former_weights"]
        if self.retention == RetentionSettings():
            del values["retention"]
        if self.privacy == PrivacySettings():
            del values["privacy"]
        for vector in values["named_vectors"]:
            for name in ("alignment", "variant"):
                if not vector[name]:
                    del vector[name]
            if not vector["given"]:
                del vector["given"]
        content = tomli_w.dumps({CHECKSUM: _checksum(values), **values}).encode()
        write_atomically(folder / SPACE_FILE, content)
        write_atomically(folder / SPACE_FILE_COPY, content)

    @classmethod
    def read(cls, folder: Path) -> SpaceSettings:
        """Return the settings in ``space.toml``.

        Raises
        ------
        SpaceNotFound
            If the folder is no space.
        UnsupportedFormat
            If the space has another on-disk format.
        InvalidInput
            If the file is broken.
        """
        return cls.read_file(folder / SPACE_FILE)

    @classmethod
    def read_file(cls, path: Path) -> SpaceSettings:
        """Return the settings in a file; see `read`."""
        folder = path.parent
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError) as error:
            if (folder / SPACE_FILE_COPY).exists():
                raise InvalidInput(f"{path} is missing; {_copy_remedy(folder)}") from error
            raise SpaceNotFound(
                f"{folder} is no space (it has no {SPACE_FILE}); "
                f"make one with: {command_in(folder, 'create')}"
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InvalidInput(
                f"{path} is not valid TOML: {error}; {_copy_remedy(folder)}"
            ) from error
        if values.get("format") != FORMAT:
            raise UnsupportedFormat(
                f"{folder} has on-disk format {values.get('format')!r}, and this version of "
                f"Isthmus reads format {FORMAT} only. Build the space again from its items with: "
                f"{command_in(Path('NEW'), 'create')}, "
                f"then {command_in(Path('NEW'), 'upsert FILES')}"
            )
        expected = values.pop(CHECKSUM, None)
        if expected is not None and expected != _checksum(values):
            raise InvalidInput(
                f"{path} was changed, in other parts than {', '.join(EDITABLE)}, or is damaged; "
                f"{_copy_remedy(folder)}"
            )
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise InvalidInput(
                f"{path} is invalid: {_first_problem(error)}; correct it or {_copy_remedy(folder)}"
            ) from error


def _copy_remedy(folder: Path) -> str:
    return f"go back to its copy with: {command_in(folder, 'verify --repair')}"


def _checksum(values: Mapping[str, Any]) -> str:
    """Return the checksum of what only Isthmus writes."""
    return checksum_of_values({key: v for key, v in values.items() if key not in EDITABLE})


def _vector_settings(vector: NamedVector) -> NamedVectorSettings:
    return NamedVectorSettings(
        name=vector.name,
        dim=vector.dim,
        modalities=list(vector.modalities),
        alignment=vector.alignment,
        given=vector.given,
    )


def _fused_modalities(vectors: Collection[NamedVectorSettings]) -> set[Modality]:
    """Return the modalities that share a named vector with others."""
    fused = [vector for vector in vectors if len(vector.modalities) > 1 and not vector.given]
    return {modality for vector in fused for modality in vector.modalities}


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
