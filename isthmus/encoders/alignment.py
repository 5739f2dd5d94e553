"""An alignment: a head for each modality, what it was learned from, and its files."""

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
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.projection_head import ProjectionHead
from isthmus.encoders.registry import LOCAL_PAIR
from isthmus.errors import CorruptAlignment, FingerprintMismatch
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import Modality

AUTO = "auto"
PACKAGED = Path(__file__).parent.parent / "local_alignment"

HEADS = "heads.safetensors"
DESCRIPTION = "alignment.json"
FILES = (HEADS, DESCRIPTION)
FORMAT = 1
RUNTIME_COMPONENTS = (
    "precision",
    "text.backend",
    "image.backend",
)  # computed so, a vector is nearly the same


@dataclass(frozen=True, eq=False)
class Alignment:
    """Heads that bring the vectors of several encoders into one space.

    Attributes
    ----------
    heads : mapping of str to Head
        The head of each modality.
    specs : mapping of str to str
        Spec of the encoder that each head is for.
    components : mapping of str to mapping of str to str
        The components of that encoder.
    report : mapping of str to Any
        What it was learned from, how, and what it is worth.
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
        """The modalities that it brings together."""
        return tuple(self.heads)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the heads: two alignments with one fingerprint give the same vectors."""
        parts = [
            f"{modality}.{name} {array.shape}".encode() + array.astype("<f4").tobytes()
            for modality, head in sorted(self.heads.items())
            for name, array in sorted(head.tensors().items())
        ]
        return digest(b"".join(digest(part) for part in parts)).hex()[:16]

    def align(self, modality: Modality, vectors: FloatArray) -> FloatArray:
        """Bring vectors of one modality, shape (n, n_in), into the space, shape (n, dim)."""
        return self.heads[modality](np.asarray(vectors, np.float32))

    def fits(self, modality: Modality, components: Mapping[str, str]) -> bool:
        """Tell whether vectors of an encoder are what the head of a modality was learned on."""
        return _lasting(self.components.get(modality, {})) == _lasting(components)

    def require(self, encoders: Mapping[Modality, Encoder]) -> None:
        """Raise `FingerprintMismatch` unless it was learned on the vectors of these encoders."""
        for modality in self.modalities:
            found = dict(encoders[modality].components) if modality in encoders else {}
            if not self.fits(modality, found):
                raise FingerprintMismatch(
                    f"the alignment was learned for the {modality} encoder "
                    f"{self.specs[modality]!r} ({_weights(self.components[modality])}), not for "
                    f"this one ({_weights(found)}); learn another with: isthmus align"
                )

    def save(self, folder: Path) -> None:
        """Write it into a folder, whole or not at all."""
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
        described = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "checksum": digest(data).hex(),
            "dim": self.dim,
            "specs": dict(self.specs),
            "components": {m: dict(c) for m, c in self.components.items()},
            "report": dict(self.report),
        }
        (building / DESCRIPTION).write_text(json.dumps(described, indent=1) + "\n", "utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        building.rename(folder)

    @classmethod
    def load(cls, folder: Path) -> Alignment:
        """Read it from a folder.

        Raises
        ------
        CorruptAlignment
            If a file is missing, damaged, or of a later version.
        """
        try:
            described = json.loads((folder / DESCRIPTION).read_text("utf-8"))
            data = (folder / HEADS).read_bytes()
        except (OSError, ValueError) as error:
            raise CorruptAlignment(f"no alignment can be read from {folder}: {error}") from error
        if described.get("format") != FORMAT:
            raise CorruptAlignment(
                f"{folder / DESCRIPTION} has format {described.get('format')!r}; this version of "
                f"Isthmus reads {FORMAT}: install the one that wrote it"
            )
        if digest(data).hex() != described["checksum"]:
            raise CorruptAlignment(
                f"{folder / HEADS} is damaged; learn the alignment anew with: isthmus align, or "
                "go back with: isthmus rollback"
            )
        return cls._of(described, data)

    @classmethod
    def _of(cls, described: Mapping[str, Any], data: bytes) -> Alignment:
        from safetensors.numpy import load

        tensors = load(data)
        heads = {
            modality: ProjectionHead.of(
                {
                    name.removeprefix(f"{modality}."): array
                    for name, array in tensors.items()
                    if name.startswith(f"{modality}.")
                }
            )
            for modality in described["specs"]
        }
        return cls(heads, described["specs"], described["components"], described["report"])


def _lasting(components: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in components.items() if name not in RUNTIME_COMPONENTS}


def _weights(components: Mapping[str, str]) -> str:
    named = [f"{n} {components[n]}" for n in ("model", "weights") if n in components]
    return ", ".join(named) or "none" if components else "none"


AlignmentLike = Alignment | str | Path | None


def resolve_alignment(
    alignment: AlignmentLike, encoders: Mapping[Modality, Encoder]
) -> Alignment | None:
    """Give the alignment of some encoders.

    Parameters
    ----------
    alignment : Alignment, path, ``"auto"`` or None
        The alignment or its folder; ``auto`` is the one in the package, where it fits.
    encoders : mapping of str to Encoder
        The encoder of each modality.
    """
    if alignment is None or isinstance(alignment, Alignment):
        return alignment
    if alignment != AUTO:
        return Alignment.load(Path(alignment))
    named = {modality: encoder.spec.partition("?")[0] for modality, encoder in encoders.items()}
    if named != LOCAL_PAIR:
        return None
    packaged = Alignment.load(PACKAGED)
    fits = all(packaged.fits(m, encoders[m].components) for m in packaged.modalities)
    return packaged if fits else None
