"""An alignment: a projection head per modality, its training report, and its files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.digests import digest
from isthmus.durable import put_folder, remove_folder
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.projection_head import ProjectionHead
from isthmus.encoders.registry import LOCAL_PAIR
from isthmus.errors import CorruptAlignment, FingerprintMismatch, command_in
from isthmus.files import with_checksum, without_checksum
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import Modality

HEADS = "heads.safetensors"
DESCRIPTION = "alignment.json"
FILES = (HEADS, DESCRIPTION)
FORMAT = 1

AUTO = "auto"
PACKAGED = Path(__file__).parent / "local_alignment"

# Components that change vectors so little that the heads stay valid.
RUNTIME_COMPONENTS = ("precision", "text.backend", "image.backend")


@dataclass(frozen=True, eq=False)
class Alignment:
    """Projection heads that bring the vectors of several encoders into one space.

    Attributes
    ----------
    heads : mapping of str to ProjectionHead
        The head of each modality.
    specs : mapping of str to str
        Spec of the encoder that each head was trained for.
    components : mapping of str to mapping of str to str
        Components of that encoder.
    report : mapping of str to Any
        Training data, method and quality.
    """

    heads: Mapping[Modality, ProjectionHead]
    specs: Mapping[Modality, str]
    components: Mapping[Modality, Mapping[str, str]]
    report: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dim(self) -> int:
        """Length of an aligned vector."""
        return next(iter(self.heads.values())).dim

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities that share the aligned space."""
        return tuple(self.heads)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the heads: alignments with the same fingerprint return the same vectors."""
        parts = [
            f"{modality}.{name} {array.shape}".encode() + array.astype("<f4").tobytes()
            for modality, head in sorted(self.heads.items())
            for name, array in sorted(head.tensors().items())
        ]
        return digest(b"".join(digest(part) for part in parts)).hex()[:16]

    def align(self, modality: Modality, vectors: FloatArray) -> FloatArray:
        """Project vectors of one modality, shape (n, n_in), into the space, shape (n, dim)."""
        return self.heads[modality](np.asarray(vectors, np.float32))

    def fits(self, modality: Modality, components: Mapping[str, str]) -> bool:
        """Return whether the head of a modality was trained on vectors of this encoder."""
        trained_for = self.components.get(modality, {})
        return _without_runtime(trained_for) == _without_runtime(components)

    def require(self, encoders: Mapping[Modality, Encoder]) -> None:
        """Raise `FingerprintMismatch` unless it was trained on vectors of these encoders."""
        for modality in self.modalities:
            components = dict(encoders[modality].components) if modality in encoders else {}
            if not self.fits(modality, components):
                raise FingerprintMismatch(
                    f"the alignment was learned for the {modality} encoder "
                    f"{self.specs[modality]!r} ({_model_and_weights(self.components[modality])}), "
                    f"not for this one ({_model_and_weights(components)}); "
                    f"learn another with: {command_in(None, 'align')}"
                )

    def save(self, folder: Path) -> None:
        """Write the files into a folder beside it, then rename that into place."""
        from safetensors.numpy import save

        building = folder.with_name(f".{folder.name}.building")
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        tensors = {
            f"{modality}.{name}": array
            for modality, head in self.heads.items()
            for name, array in head.tensors().items()
        }
        data = save(tensors)
        (building / HEADS).write_bytes(data)
        description = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "heads": digest(data).hex(),
            "dim": self.dim,
            "specs": dict(self.specs),
            "components": {m: dict(c) for m, c in self.components.items()},
            "report": dict(self.report),
        }
        (building / DESCRIPTION).write_bytes(with_checksum(json.dumps(description)) + b"\n")
        remove_folder(folder)
        put_folder(building, folder)

    @classmethod
    def load(cls, folder: Path) -> Alignment:
        """Read an alignment from a folder.

        Raises
        ------
        CorruptAlignment
            If a file is missing, damaged, or of a later version.
        """
        try:
            description = without_checksum((folder / DESCRIPTION).read_bytes())
            data = (folder / HEADS).read_bytes()
        except (OSError, ValueError) as error:
            raise CorruptAlignment(f"no alignment can be read from {folder}: {error}") from error
        if description.get("format") != FORMAT:
            raise CorruptAlignment(
                f"{folder / DESCRIPTION} has format {description.get('format')!r}; this version of "
                f"Isthmus reads {FORMAT}: install the one that wrote it"
            )
        if digest(data).hex() != description.get("heads"):
            raise CorruptAlignment(f"{folder / HEADS} is damaged")
        return cls._from_files(description, data)

    @classmethod
    def _from_files(cls, description: Mapping[str, Any], data: bytes) -> Alignment:
        from safetensors.numpy import load

        tensors = load(data)
        heads = {
            modality: ProjectionHead.from_tensors(
                {
                    name.removeprefix(f"{modality}."): array
                    for name, array in tensors.items()
                    if name.startswith(f"{modality}.")
                }
            )
            for modality in description["specs"]
        }
        return cls(heads, description["specs"], description["components"], description["report"])


AlignmentLike = Alignment | str | Path | None


def resolve_alignment(
    alignment: AlignmentLike, encoders: Mapping[Modality, Encoder]
) -> Alignment | None:
    """Return the alignment for some encoders, or None.

    Parameters
    ----------
    alignment : Alignment, path, ``"auto"`` or None
        An alignment or its folder. ``auto`` means the one that comes with Isthmus if the encoders
        are the local pair, and none otherwise.
    encoders : mapping of str to Encoder
        The encoder of each modality.
    """
    if alignment is None or isinstance(alignment, Alignment):
        return alignment
    if alignment != AUTO:
        return Alignment.load(Path(alignment))
    specs = {modality: encoder.spec.partition("?")[0] for modality, encoder in encoders.items()}
    if specs != LOCAL_PAIR:
        return None
    packaged = Alignment.load(PACKAGED)
    fits = all(packaged.fits(m, encoders[m].components) for m in packaged.modalities)
    return packaged if fits else None


def _without_runtime(components: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in components.items() if name not in RUNTIME_COMPONENTS}


def _model_and_weights(components: Mapping[str, str]) -> str:
    values = [f"{name} {components[name]}" for name in ("model", "weights") if name in components]
    return ", ".join(values) or "none"
