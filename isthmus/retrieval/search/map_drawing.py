"""A map on paper: points coloured by domain, shaped by modality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from isthmus.errors import MissingDependency
from isthmus.evaluation.figures import COLOURS
from isthmus.numerics.arrays import FloatArray

SHAPES = {"text": "o", "image": "^", "audio": "s"}
INCHES = 7.0
DOTS_AN_INCH = 110
LARGEST, SMALLEST = 30.0, 3.0  # areas of a point, in square points
INK = 8_000.0  # area of all points together, about


def draw_map(
    points: FloatArray,
    domains: Sequence[str],
    modalities: Sequence[str],
    title: str,
    out: BinaryIO,
    kind: str,
) -> None:
    """Draw a map.

    Parameters
    ----------
    points : numpy.ndarray
        float32, shape (n, 2).
    domains, modalities : sequence of str
        Of each point; beyond eight domains, colours are used again.
    title : str
        What stands above.
    out : file
        Where to write.
    kind : {"png", "svg", "pdf"}
        What to write.

    Raises
    ------
    MissingDependency
        If matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependency(
            "matplotlib, which draws maps, is not installed; install it with: "
            "pip install 'isthmus[map]'"
        ) from error
    with matplotlib.rc_context({"svg.hashsalt": "isthmus", "text.parse_math": False}):
        drawing = Figure(figsize=(INCHES, INCHES), layout="constrained")
        axes = drawing.add_subplot()
        area = float(np.clip(INK / max(len(points), 1), SMALLEST, LARGEST))
        of_domain, of_modality = np.array(domains), np.array(modalities)
        shown = list(dict.fromkeys(modalities))
        for place, domain in enumerate(sorted(set(domains))):
            colour = COLOURS[place % len(COLOURS)]
            for modality in shown:
                those = points[(of_domain == domain) & (of_modality == modality)]
                if len(those):
                    axes.scatter(
                        those[:, 0],
                        those[:, 1],
                        s=area,
                        c=colour,
                        marker=SHAPES[modality],
                        linewidths=0,
                        alpha=0.75,
                        label=f"{domain}, {modality}" if len(shown) > 1 else domain,
                    )
        axes.set(title=title, xticks=[], yticks=[])
        axes.set_aspect("equal", adjustable="datalim")
        drawing.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9)
        drawing.savefig(out, format=kind, dpi=DOTS_AN_INCH, metadata=_METADATA[kind])


# Nothing of when it was drawn: the same map is the same file.
_METADATA: dict[str, dict[str, None]] = {
    "png": {},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}
