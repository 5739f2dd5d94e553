"""How well texts and pictures find each other: recall both ways, judged by content."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from isthmus.encoders.training.alignment.pairs import Groups
from isthmus.numerics.arrays import FloatArray

QUERIES_AT_ONCE = 1_024


@dataclass(frozen=True)
class Crossing:
    """Recall@k from texts to pictures and back.

    Attributes
    ----------
    text_to_image, image_to_text : float
        Share of queries with a right answer among the first k.
    chance_text_to_image, chance_image_to_text : float
        The same for a random order.
    texts, images : int
        How many different ones there were, as queries and as answers.
    k : int
        Length of the lists.
    """

    text_to_image: float
    image_to_text: float
    chance_text_to_image: float
    chance_image_to_text: float
    texts: int
    images: int
    k: int

    @property
    def mean(self) -> float:
        """Mean of the two directions."""
        return (self.text_to_image + self.image_to_text) / 2

    def as_dict(self) -> dict[str, float]:
        """Give the figures as plain values."""
        return asdict(self)


def measure_crossing(
    text: FloatArray, image: FloatArray, text_ids: Groups, image_ids: Groups, k: int = 10
) -> Crossing:
    """Measure recall@k both ways over pairs.

    Each different text asks once and each different picture once. A picture is a right answer to
    a text if some pair joins that picture with that very text: where a title stands on many
    products, any of their pictures is right.

    Parameters
    ----------
    text, image : numpy.ndarray
        float32, shape (n_pairs, dim): aligned vectors of unit norm.
    text_ids, image_ids : numpy.ndarray
        int64, shape (n_pairs,): equal where the content is the same.
    k : int, default 10
        Length of the lists.
    """
    texts, first_text, text_at = np.unique(text_ids, return_index=True, return_inverse=True)
    images, first_image, image_at = np.unique(image_ids, return_index=True, return_inverse=True)
    right = set(zip(text_at.tolist(), image_at.tolist(), strict=True))
    there = _recall(text[first_text], image[first_image], right, k)
    back = _recall(image[first_image], text[first_text], {(i, t) for t, i in right}, k)
    return Crossing(
        text_to_image=there,
        image_to_text=back,
        chance_text_to_image=_chance([t for t, _ in right], len(texts), len(images), k),
        chance_image_to_text=_chance([i for _, i in right], len(images), len(texts), k),
        texts=len(texts),
        images=len(images),
        k=k,
    )


def _recall(queries: FloatArray, answers: FloatArray, right: set[tuple[int, int]], k: int) -> float:
    k, found = min(k, len(answers)), 0
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        scores = queries[start : start + QUERIES_AT_ONCE] @ answers.T
        best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        for row, listed in enumerate(best.tolist(), start):
            found += any((row, answer) in right for answer in listed)
    return found / max(len(queries), 1)


def _chance(asking: list[int], queries: int, answers: int, k: int) -> float:
    """Give the mean probability that k random answers hold one of a query's right ones."""
    right = np.bincount(asking, minlength=queries).astype(float)
    missing = np.ones(queries)
    for drawn in range(min(k, answers)):
        missing *= np.clip((answers - right - drawn) / (answers - drawn), 0, 1)
    return float(1 - missing.mean()) if queries else 0.0
