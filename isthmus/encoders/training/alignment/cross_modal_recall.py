"""Cross-modal recall: how well texts find their images, and images their texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from isthmus.encoders.training.alignment.closed_form import Heads
from isthmus.encoders.training.alignment.pairs import Groups, Pairs
from isthmus.numerics.arrays import FloatArray

QUERIES_AT_ONCE = 1_024
K = 10


@dataclass(frozen=True)
class CrossModalRecall:
    """Recall@k from text to image and back.

    Attributes
    ----------
    text_to_image, image_to_text : float
        Share of queries with a relevant answer among the first k.
    chance_text_to_image, chance_image_to_text : float
        Expected values for a random order.
    texts, images : int
        Number of distinct texts and images: queries one way, answers the other.
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
        """Return the figures by name."""
        return asdict(self)


def cross_modal_recall(
    text: FloatArray, image: FloatArray, text_ids: Groups, image_ids: Groups, k: int = K
) -> CrossModalRecall:
    """Return recall@k both ways over pairs.

    Each distinct text and each distinct image is a query once. An image is relevant to a text if
    any pair joins it with that text: where a title stands on many products, the image of each of
    them is relevant.

    Parameters
    ----------
    text, image : numpy.ndarray
        float32, shape (n_pairs, dim): aligned vectors of unit norm.
    text_ids, image_ids : numpy.ndarray
        int64, shape (n_pairs,): equal where the content is the same.
    k : int, default 10
        Length of the lists.
    """
    texts, first_text, text_numbers = np.unique(text_ids, return_index=True, return_inverse=True)
    images, first_image, image_numbers = np.unique(
        image_ids, return_index=True, return_inverse=True
    )
    relevant = set(zip(text_numbers.tolist(), image_numbers.tolist(), strict=True))
    inverse = {(i, t) for t, i in relevant}
    text, image = text[first_text], image[first_image]
    return CrossModalRecall(
        text_to_image=_recall(text, image, relevant, k),
        image_to_text=_recall(image, text, inverse, k),
        chance_text_to_image=_chance([t for t, _ in relevant], len(texts), len(images), k),
        chance_image_to_text=_chance([i for _, i in relevant], len(images), len(texts), k),
        texts=len(texts),
        images=len(images),
        k=k,
    )


def recall_by_set(
    heads: Heads, pairs: Pairs, *, shorten: bool = False
) -> dict[str, CrossModalRecall]:
    """Return recall@10 of each set of pairs; sets without a pair are left out.

    Parameters
    ----------
    heads : tuple of ProjectionHead
        Of text and image.
    pairs : Pairs
        Pairs that were not trained on.
    shorten : bool, default False
        Whether lists are shortened to a third of the answers where those are few: ten of twelve
        answers would tell good heads from bad ones badly.
    """
    text, image = heads[0](pairs.text), heads[1](pairs.image)
    recalls = {}
    for number, name in enumerate(pairs.names):
        rows = np.flatnonzero(pairs.sets == number)
        if len(rows):
            ids = pairs.text_ids[rows], pairs.image_ids[rows]
            answers = min(len(np.unique(side)) for side in ids)
            k = min(K, max(answers // 3, 1)) if shorten else K
            recalls[name] = cross_modal_recall(text[rows], image[rows], *ids, k)
    return recalls


def mean_recall(heads: Heads, pairs: Pairs) -> float:
    """Return the mean recall over both directions and all sets, the criterion of training.

    It is recall@10, or of a shorter list where few pairs are held out.
    """
    recalls = recall_by_set(heads, pairs, shorten=True).values()
    return float(np.mean([recall.mean for recall in recalls]))


def rounded_recall_by_set(heads: Heads, pairs: Pairs) -> dict[str, Mapping[str, float]]:
    """Return the figures of `recall_by_set` as plain values, for a report."""
    return {
        name: {key: round(value, 4) for key, value in recall.as_dict().items()}
        for name, recall in recall_by_set(heads, pairs).items()
    }


def _recall(
    queries: FloatArray, answers: FloatArray, relevant: set[tuple[int, int]], k: int
) -> float:
    k, hits = min(k, len(answers)), 0
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        scores = queries[start : start + QUERIES_AT_ONCE] @ answers.T
        top = np.argpartition(-scores, k - 1, axis=1)[:, :k]  # (n_queries, k), in no order
        for query, listed in enumerate(top.tolist(), start):
            hits += any((query, answer) in relevant for answer in listed)
    return hits / max(len(queries), 1)


def _chance(relevant_queries: list[int], queries: int, answers: int, k: int) -> float:
    """Return the mean probability that k random answers hold a relevant one.

    Parameters
    ----------
    relevant_queries : list of int
        The query of each relevant answer.
    queries, answers, k : int
        Number of queries, of answers, and of answers in a list.
    """
    relevant = np.bincount(relevant_queries, minlength=queries).astype(float)
    missing = np.ones(queries)  # probability that the first answers hold no relevant one
    for place in range(min(k, answers)):
        missing *= np.clip((answers - relevant - place) / (answers - place), 0, 1)
    return float(1 - missing.mean()) if queries else 0.0
