"""A map of a space: each content of its items as a point on a plane, coloured by domain."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from isthmus.encoders.stack import NamedVector
from isthmus.errors import InvalidInput
from isthmus.index.releases.content_vectors import ContentVectors
from isthmus.index.releases.view import Selection, View
from isthmus.numerics.arrays import FloatArray, Positions
from isthmus.plotting import PALETTE, require_matplotlib
from isthmus.retrieval.search.map_layout import LAYOUTS
from isthmus.retrieval.search.request import MapRequest
from isthmus.schema import DOMAIN, ITEM_ID, VECTOR

SHAPES = {"text": "o", "image": "^", "audio": "s", VECTOR: "D"}
SIZE_INCHES = 7.0
DPI = 110
MAX_AREA, MIN_AREA = 30.0, 3.0  # of a point, in square typographic points
TOTAL_AREA = 8_000.0  # of all points, about
# Without a date, the same map is the same file.
_METADATA: dict[str, dict[str, None]] = {
    "png": {},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}

MODALITY = "modality"
SUFFIXES = (".png", ".svg", ".pdf")


@dataclass(frozen=True, eq=False)
class SpaceMap:
    """A map: points on a plane, each a content of an item.

    Attributes
    ----------
    vector_name : str
        The named vector whose vectors were laid out.
    item_ids, domains, modalities : tuple of str
        Item, domain and modality of each point.
    points : numpy.ndarray
        float32, shape (n_points, 2).
    """

    vector_name: str
    item_ids: tuple[str, ...]
    domains: tuple[str, ...]
    modalities: tuple[str, ...]
    points: FloatArray

    def __len__(self) -> int:
        return len(self.item_ids)

    def table(self) -> pa.Table:
        """Return the points with columns item_id, domain, modality, x and y."""
        return pa.table(
            {
                ITEM_ID: pa.array(self.item_ids, pa.string()),
                DOMAIN: pa.array(self.domains, pa.string()),
                MODALITY: pa.array(self.modalities, pa.string()),
                "x": pa.array(self.points[:, 0], pa.float32()),
                "y": pa.array(self.points[:, 1], pa.float32()),
            }
        )

    def save(self, path: str | Path) -> None:
        """Draw the map into a file: a colour for each domain, a shape for each modality.

        Raises
        ------
        InvalidInput
            If the file is to be neither PNG nor SVG nor PDF.
        MissingDependency
            If matplotlib is not installed.
        """
        path = Path(path)
        if path.suffix.lower() not in SUFFIXES:
            raise InvalidInput(f"cannot draw into {path}; give a name in {', '.join(SUFFIXES)}")
        path.write_bytes(self._draw(path.suffix.lower()[1:]))

    def _repr_png_(self) -> bytes:
        return self._draw("png")

    def _draw(self, file_format: str) -> bytes:
        out = io.BytesIO()
        title = f"{len(set(self.item_ids)):,} items, named vector {self.vector_name}"
        draw_map(self.points, self.domains, self.modalities, title, out, file_format)
        return out.getvalue()


def map_space(
    view: View,
    contents: ContentVectors,
    selection: Selection | None,
    request: MapRequest,
) -> SpaceMap:
    """Lay out the contents of items; see `isthmus.Space.map`."""
    limit, seed = request.limit, request.seed
    if limit < 1:
        raise InvalidInput(f"limit is {limit}; give one item or more")
    named_vector = _choose_vector(view.named_vectors, request.vector_name)
    rows = np.flatnonzero((selection or view.living).rows)
    if len(rows) > limit:
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:limit])
    points, vectors, modalities = _contents(view, contents, named_vector, rows)
    if not len(points):
        raise InvalidInput(f"no item to draw has a vector in the named vector {named_vector.name}")
    return SpaceMap(
        vector_name=named_vector.name,
        item_ids=tuple(map(str, view.item_ids(points))),
        domains=tuple(map(str, view.item_domains(points))),
        modalities=modalities,
        points=LAYOUTS[request.layout](vectors, modalities, seed),
    )


def _choose_vector(named_vectors: Sequence[NamedVector], name: str | None) -> NamedVector:
    """Return the named vector of a name, or the one with most modalities."""
    if name is None:
        return max(named_vectors, key=lambda named_vector: len(named_vector.modalities))
    for named_vector in named_vectors:
        if named_vector.name == name:
            return named_vector
    names = ", ".join(named_vector.name for named_vector in named_vectors)
    raise InvalidInput(f"no named vector {name!r} in this space; give one of: {names}")


def _contents(
    view: View, contents: ContentVectors, named_vector: NamedVector, rows: Positions
) -> tuple[Positions, FloatArray, tuple[str, ...]]:
    """Return row, vector and modality of each content that has a vector."""
    if named_vector.given:
        parts = [(VECTOR, view.vectors(named_vector.name, rows))]
    else:
        parts = [(m, contents.of(view, named_vector, m, rows)) for m in named_vector.modalities]
    return (
        np.concatenate([rows[part.present] for _, part in parts]),
        np.concatenate([part.vectors[part.present] for _, part in parts]),
        tuple(name for name, part in parts for _ in range(int(part.present.sum()))),
    )


def draw_map(
    points: FloatArray,
    domains: Sequence[str],
    modalities: Sequence[str],
    title: str,
    out: BinaryIO,
    file_format: str,
) -> None:
    """Draw a map.

    Parameters
    ----------
    points : numpy.ndarray
        float32, shape (n, 2).
    domains, modalities : sequence of str
        Of each point; beyond eight domains, colours are used again.
    title : str
        Title of the figure.
    out : file
        Where to write.
    file_format : {"png", "svg", "pdf"}
        What to write.

    Raises
    ------
    MissingDependency
        If matplotlib is not installed.
    """
    matplotlib = require_matplotlib("maps", "map")
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "isthmus", "text.parse_math": False}):
        figure = Figure(figsize=(SIZE_INCHES, SIZE_INCHES), layout="constrained")
        axes = figure.add_subplot()
        area = float(np.clip(TOTAL_AREA / max(len(points), 1), MIN_AREA, MAX_AREA))
        of_domain, of_modality = np.array(domains), np.array(modalities)
        shapes = list(dict.fromkeys(modalities))
        for place, domain in enumerate(sorted(set(domains))):
            colour = PALETTE[place % len(PALETTE)]
            for modality in shapes:
                group = points[(of_domain == domain) & (of_modality == modality)]
                if len(group):
                    axes.scatter(
                        group[:, 0],
                        group[:, 1],
                        s=area,
                        c=colour,
                        marker=SHAPES[modality],
                        linewidths=0,
                        alpha=0.75,
                        label=f"{domain}, {modality}" if len(shapes) > 1 else domain,
                    )
        axes.set(title=title, xticks=[], yticks=[])
        axes.set_aspect("equal", adjustable="datalim")
        figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9)
        figure.savefig(out, format=file_format, dpi=DPI, metadata=_METADATA[file_format])
