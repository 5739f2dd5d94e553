"""Small training data of two domains, and generators that are fitted to it in a moment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.retrieval.candidates.als import ALS
from isthmus.retrieval.candidates.factor_regression import FactorRegression
from isthmus.retrieval.candidates.generator import CandidateGenerator
from isthmus.retrieval.candidates.generators import default_generators
from isthmus.retrieval.candidates.item_features import InMemoryItemFeatures
from isthmus.retrieval.candidates.profile_regression import ProfileRegression
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories

TASTES = 4
DOMAINS = ("books", "films", "songs")
BOOKS, FILMS, SONGS = range(3)
DIM = 12


def make_training_data(
    *, users: int = 40, items: int = 24, new: int = 0, seed: int = 0
) -> TrainingData:
    """Users who like items of one taste in books and films, and little else; songs are none.

    Parameters
    ----------
    users : int
        How many.
    items : int
        Items of each of the two domains.
    new : int
        Items that are added at the end, which nobody used.
    seed : int
        Of the users; items are the same for every seed.
    """
    rng = np.random.default_rng(seed)
    domains = np.concatenate(
        [np.repeat([BOOKS, FILMS], items), np.resize([BOOKS, FILMS], new)]
    ).astype(np.int64)
    entries = [_liked(rng, user % TASTES, items) for user in range(users)]
    columns = np.concatenate([np.empty(0, np.int64), *entries])
    return TrainingData(
        item_ids=np.array([f"i{n}" for n in range(len(domains))], object),
        domain_names=DOMAINS,
        domains=domains,
        features=InMemoryItemFeatures(
            make_vectors(len(domains)), item_texts=make_texts(len(domains))
        ),
        interactions=InteractionMatrix(
            users=np.array([f"u{n:04}" for n in range(users)], object),
            items=len(domains),
            starts=np.concatenate([[0], np.cumsum([len(items) for items in entries])]).astype(
                np.int64
            ),
            columns=columns,
            strengths=rng.choice([1.0, 3.0, 4.0, 5.0], len(columns)).astype(np.float32),
            moments=rng.permutation(len(columns)).astype(np.float64),
            likes=rng.random(len(columns)) < 0.8,
        ),
    )


def make_vectors(n: int) -> np.ndarray:
    """Unit vectors around the centre of each item's taste, which is its number modulo four."""
    rng = np.random.default_rng(99)
    centres = rng.standard_normal((TASTES, DIM))
    vectors = centres[np.arange(n) % TASTES] + 0.7 * rng.standard_normal((n, DIM))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def make_texts(n: int) -> list[str]:
    """A word of each item's taste, one that most share, and one of its own."""
    return [f"The taste{number % TASTES} thing, No{number}" for number in range(n)]


def _liked(rng: np.random.Generator, taste: int, items: int) -> np.ndarray:
    of_taste = np.flatnonzero(np.arange(2 * items) % TASTES == taste)
    chosen = rng.choice(of_taste, 6, replace=False) if len(of_taste) >= 6 else of_taste
    return np.unique(np.concatenate([chosen, rng.choice(2 * items, 2)]))


def histories_of(*lists: Sequence[int]) -> UserHistories:
    """Return histories of users who liked these items, all with the same weight."""
    return UserHistories.from_lists([np.array(items, np.int64) for items in lists])


def quick_generators(seed: int = 0) -> list[CandidateGenerator]:
    """Return every generator, with hyperparameters that are fitted in a moment."""
    generators = default_generators(seed)
    for generator in generators:
        if isinstance(generator, ALS):
            generator.factors, generator.iterations, generator.regularization = 8, 3, 1.0
        if isinstance(generator, ProfileRegression):
            generator.factors, generator.iterations, generator.regularization = 8, 3, 1.0
        if isinstance(generator, FactorRegression):
            generator.factors, generator.iterations, generator.min_shared = 8, 3, 10
    return generators
