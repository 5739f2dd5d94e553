"""``space.toml``: the settings of a space, typed and validated."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ByteSize, ConfigDict, Field, ValidationError

from isthmus.encoders.alignment import Alignment
from isthmus.encoders.encoder import digest_components
from isthmus.encoders.fusion import ModalityWeights, validated_weights
from isthmus.encoders.stack import ALIGNMENT, EncoderStack, NamedVector, aligned_vector
from isthmus.errors import InvalidInput, SpaceNotFound, UnsupportedFormat
from isthmus.schema import Modality

FILE = "space.toml"
FIRST_FORMAT = 1  # has no alignment and no audio
ALIGNED_FORMAT = 2  # has an alignment, and no audio
AUDIO_FORMAT = 3  # has audio: columns of the catalog that earlier versions would not fill
FORMAT = 4  # its weights or encoders were changed: its vectors stand in other columns


class NamedVectorSettings(BaseModel):
    """A named vector as written down: enough to search without loading an encoder."""

    model_config = ConfigDict(extra="forbid")
    name: str
    dim: int = Field(gt=0)
    modalities: list[Modality]
    alignment: str = ""
    fused: str = ""


class Targets(BaseModel):
    """What a release has to reach.

    Attributes
    ----------
    recall : float
        Smallest recall@10 against exact search, for every named vector, kind of query and domain.
    latency_ms : float or None
        Largest 99th percentile of a single query to the index, in milliseconds.
    memory : int or None
        Largest size of the index of one named vector, in bytes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    recall: float = Field(default=0.95, gt=0, le=1)
    latency_ms: float | None = Field(default=None, gt=0)
    memory: ByteSize | None = Field(default=None, gt=0)

    def __str__(self) -> str:
        latency = "" if self.latency_ms is None else f", p99 {self.latency_ms:g} ms"
        memory = "" if self.memory is None else f", {self.memory.human_readable()}"
        return f"recall@10 {self.recall:g}{latency}{memory}"

    def given(self, **targets: Any) -> Targets:
        """Give the same targets with others in the place of some.

        Raises
        ------
        InvalidInput
            If one makes no sense.
        """
        changed = {name: value for name, value in targets.items() if value is not None}
        try:
            return Targets.model_validate({**self.model_dump(), **changed})
        except ValidationError as error:
            raise InvalidInput(f"a target makes no sense: {_first_problem(error)}") from error


class IndexSettings(Targets):
    """What `publish` aims at, and what is kept.

    Attributes
    ----------
    exact_rows : int
        Up to this many vectors a named vector is searched exactly, and nothing is planned.
    sample_rows : int
        Recipes are measured on so many vectors.
    retrain_growth : float
        A plan and a training serve until the vectors are this many times as many.
    keep_releases : int
        Releases kept besides the current one.
    keep_versions_days : float
        Older versions of the tables are dropped by `compact`.
    """

    exact_rows: int = Field(default=10_000, ge=0)
    sample_rows: int = Field(default=50_000, ge=1_000)
    retrain_growth: float = Field(default=2.0, gt=1)
    keep_releases: int = Field(default=5, ge=1)
    keep_versions_days: float = Field(default=14.0, ge=0)

    @property
    def targets(self) -> Targets:
        """The targets alone."""
        return Targets(recall=self.recall, latency_ms=self.latency_ms, memory=self.memory)

    def aiming(self, targets: Targets) -> IndexSettings:
        """Give the same settings with other targets."""
        return self.model_copy(update=dict(targets))


class SpaceSettings(BaseModel):
    """The settings of a space."""

    model_config = ConfigDict(extra="forbid")
    format: int
    encoders: dict[Modality, str]
    named_vectors: list[NamedVectorSettings]
    components: dict[str, str]
    fusion: dict[Modality, float] = Field(default_factory=dict)
    former_fusion: list[dict[Modality, float]] = Field(default_factory=list)
    index: IndexSettings = Field(default_factory=IndexSettings)

    @classmethod
    def of_stack(cls, stack: EncoderStack, index: IndexSettings | None = None) -> SpaceSettings:
        """Describe an encoder stack."""
        return cls(
            format=_format(stack.encoders, stack.alignment),
            encoders={m: encoder.spec for m, encoder in stack.encoders.items()},
            named_vectors=[
                NamedVectorSettings(
                    name=b.name, dim=b.dim, modalities=list(b.modalities), alignment=b.alignment
                )
                for b in stack.named_vectors
            ],
            components=stack.components,
            fusion={m: stack.weights[m] for m in stack.encoders},
            index=index or IndexSettings(),
        )

    @property
    def layout(self) -> tuple[NamedVector, ...]:
        """The named vectors of an item vector."""
        return tuple(
            NamedVector(b.name, b.dim, tuple(b.modalities), b.alignment, b.fused)
            for b in self.named_vectors
        )

    @property
    def alignment(self) -> str:
        """Fingerprint of the alignment; empty where there is none."""
        return self.components.get(ALIGNMENT, "")

    def aligned(self, alignment: Alignment | None) -> SpaceSettings:
        """Give the settings of the same encoders with another alignment, or none."""
        named_vectors = [b for b in self.named_vectors if not b.alignment]
        encoders = tuple(f"{modality}." for modality in self.encoders)
        components = {n: v for n, v in self.components.items() if n.startswith(encoders)}
        meeting = {m for b in named_vectors if len(b.modalities) > 1 for m in b.modalities}
        components |= {f"fusion.{m}": str(float(self.fusion.get(m, 1.0))) for m in meeting}
        if alignment is not None:
            own = aligned_vector(alignment)
            named_vectors.append(
                NamedVectorSettings(
                    name=own.name,
                    dim=own.dim,
                    modalities=list(own.modalities),
                    alignment=own.alignment,
                    fused=self._fused(own.modalities) if self.former_fusion else "",
                )
            )
            weights = {m: self.fusion.get(m, 1.0) for m in own.modalities}
            components |= {f"fusion.{m}": str(float(w)) for m, w in weights.items()}
            components[ALIGNMENT] = alignment.fingerprint
        changed_before = self.former_fusion or any(b.fused for b in named_vectors)
        number = FORMAT if changed_before else _format(self.encoders, alignment)
        changed = {"named_vectors": named_vectors, "components": components, "format": number}
        return self.model_copy(update=changed)

    def weighing(self, weights: ModalityWeights) -> SpaceSettings:
        """Give the same settings with other fusion weights, as `validated_weights` takes them."""
        fusion = {**self.fusion, **validated_weights(weights, self.encoders)}
        return self.model_copy(update={"fusion": fusion})

    def reweighed(self, weights: ModalityWeights) -> SpaceSettings:
        """Give the settings of the same encoders and alignment with other fusion weights.

        Where modalities meet in a named vector, its vectors are others then, in a column of their
        own.
        """
        changed = self.weighing(weights)
        if changed.fusion == self.fusion or not any(
            len(b.modalities) > 1 for b in self.named_vectors
        ):
            return changed
        named_vectors = [
            b.model_copy(update={"fused": changed._fused(b.modalities)})
            if len(b.modalities) > 1
            else b
            for b in self.named_vectors
        ]
        meeting = {m for b in named_vectors if b.fused for m in b.modalities}
        weighed = {f"fusion.{m}": str(changed.fusion.get(m, 1.0)) for m in sorted(meeting)}
        former = [own for own in self.former_fusion if own not in (self.fusion, changed.fusion)]
        return changed.model_copy(
            update={
                "named_vectors": named_vectors,
                "components": {**self.components, **weighed},
                "former_fusion": [*former, self.fusion],
                "format": FORMAT,
            }
        )

    def in_place_of(self, present: SpaceSettings) -> SpaceSettings:
        """Give these settings with columns that can stand beside those of the present ones.

        A named vector whose vectors are the same has its column; any other has one of its own.
        """
        there = {b.name: b for b in present.named_vectors}
        named_vectors = [
            b.model_copy(update={"fused": there[b.name].fused})
            if b.name in there and self._makers(b) == present._makers(there[b.name])
            else b.model_copy(update={"fused": digest_components(self._makers(b))})
            for b in self.named_vectors
        ]
        changed = self.former_fusion or any(b.fused for b in named_vectors)
        number = FORMAT if changed else self.format
        return self.model_copy(
            update={"named_vectors": named_vectors, "format": number, "index": present.index}
        )

    def _makers(self, named_vector: NamedVectorSettings) -> dict[str, str]:
        """Name everything that decides what the vectors of a named vector are."""
        weights = named_vector.modalities if len(named_vector.modalities) > 1 else ()
        return {
            ALIGNMENT: named_vector.alignment,
            **{m: self.encoder_fingerprint(m) for m in named_vector.modalities},
            **{f"fusion.{m}": str(float(self.fusion.get(m, 1.0))) for m in weights},
        }

    def _fused(self, modalities: Collection[Modality]) -> str:
        """Digest the weights of modalities that meet in a named vector."""
        return digest_components({m: str(float(self.fusion.get(m, 1.0))) for m in modalities})

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the encoder stack."""
        return digest_components(self.components)

    def encoder_fingerprint(self, modality: Modality) -> str:
        """Fingerprint of the encoder of one modality."""
        return digest_components(self.encoder_components(modality))

    def encoder_components(self, modality: Modality) -> dict[str, str]:
        """Everything that changes a vector of one modality's encoder, by name."""
        prefix = f"{modality}."
        return {
            n.removeprefix(prefix): v for n, v in self.components.items() if n.startswith(prefix)
        }

    def write(self, folder: Path) -> None:
        """Write ``space.toml``, whole or not at all."""
        import tomli_w

        from isthmus.index.files import write_atomically

        values = self.model_dump(exclude_none=True)
        if not self.former_fusion:
            del values["former_fusion"]
        for vector_name in values["named_vectors"]:
            for name in ("alignment", "fused"):
                if not vector_name[name]:
                    del vector_name[name]
        write_atomically(folder / FILE, tomli_w.dumps(values).encode())

    @classmethod
    def read(cls, folder: Path) -> SpaceSettings:
        """Read ``space.toml``.

        Raises
        ------
        SpaceNotFound
            If the folder is no space.
        UnsupportedFormat
            If the space was written by a later version.
        InvalidInput
            If the file is broken.
        """
        try:
            values = tomllib.loads((folder / FILE).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise SpaceNotFound(
                f"{folder} is no space (it has no {FILE}); make one with: isthmus create {folder}"
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InvalidInput(f"{folder / FILE} is not valid TOML: {error}") from error
        _require_format(values, folder)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise InvalidInput(f"{folder / FILE} is invalid: {_first_problem(error)}") from error


def _require_format(values: dict[str, Any], folder: Path) -> None:
    found = values.get("format")
    if found not in range(FIRST_FORMAT, FORMAT + 1):
        raise UnsupportedFormat(
            f"{folder} has on-disk format {found!r}; this version of Isthmus reads formats "
            f"{FIRST_FORMAT} to {FORMAT}: install the version of Isthmus that wrote it"
        )


def _format(encoders: Collection[str], alignment: Alignment | None) -> int:
    """Give the lowest format that can hold it, so that earlier versions open what they can."""
    if "audio" in encoders:
        return AUDIO_FORMAT
    return FIRST_FORMAT if alignment is None else ALIGNED_FORMAT


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
