"""How near two domains are: the users they share, and what their items are about."""

from __future__ import annotations

import time

import numpy as np
from pydantic import BaseModel, ConfigDict

from isthmus.errors import InvalidInput
from isthmus.numerics.arrays import FloatArray
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.source_domains.lift import Lift, measure_lifts

ORDER = ("helps", "undecided", "unmeasured", "hurts")

LAST_PART = 0.2

SAMPLE = 1_000


class Relatedness(BaseModel):
    """What a source domain has in common with a target domain.

    Attributes
    ----------
    shared_users : int
        Users who liked something of both.
    jaccard : float
        Shared users over the users of either.
    of_target : float
        Shared users over the users of the target.
    content_distance : float or None
        Between the contents of their items, from 0 (alike) to 1, see `content_distance`; None
        where a domain has fewer than two items with contents.
    """

    model_config = ConfigDict(extra="forbid")
    shared_users: int
    jaccard: float
    of_target: float
    content_distance: float | None


def relatedness_of(corpus: TrainingData, source: int, target: int, *, seed: int = 0) -> Relatedness:
    """Compare two domains, given by their codes."""
    theirs, own = corpus.domain_users(source), corpus.domain_users(target)
    shared = int((theirs & own).sum())
    sampled = [_sample(corpus, code, seed) for code in (source, target)]
    return Relatedness(
        shared_users=shared,
        jaccard=shared / max(int((theirs | own).sum()), 1),
        of_target=shared / max(int(own.sum()), 1),
        content_distance=content_distance(*sampled),
    )


def content_distance(one: FloatArray, other: FloatArray) -> float | None:
    """Give the energy coefficient of inhomogeneity of two samples of contents.

    ``(2 E|X - Y| - E|X - X'| - E|Y - Y'|) / 2 E|X - Y|``, with means over the pairs of different
    items: 0 if both have the same distribution, 1 if each is a point of its own (Székely and
    Rizzo, "Energy statistics", Journal of Statistical Planning and Inference 143, 2013). It asks
    for no user, and for no assumption about the distributions.

    Parameters
    ----------
    one, other : numpy.ndarray
        float32, shapes (n, dim) and (m, dim).

    Returns
    -------
    float or None
        None if there are fewer than two of one.

    Examples
    --------
    >>> content_distance(np.zeros((3, 2), np.float32), np.ones((2, 2), np.float32))
    1.0
    """
    if min(len(one), len(other)) < 2:
        return None
    between = float(_distances(one, other).mean())
    within = _within(one) + _within(other)
    return float(np.clip(1 - within / (2 * between), 0, 1)) if between > 0 else 0.0


def _within(vectors: FloatArray) -> float:
    n = len(vectors)
    return float(_distances(vectors, vectors).sum() / (n * (n - 1)))


def _distances(one: FloatArray, other: FloatArray) -> FloatArray:
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    return np.asarray(np.sqrt(np.maximum(squares, 0)), np.float32)


def _sample(corpus: TrainingData, code: int, seed: int) -> FloatArray:
    """Give the contents of some items of a domain, of those that have any."""
    own = np.random.default_rng(seed).permutation(np.flatnonzero(corpus.in_domain(code)))
    vectors = corpus.features.take(np.sort(own[:SAMPLE]))
    return vectors[vectors.any(axis=1)]


class Quality(BaseModel):
    """The size, density and age of a domain.

    Attributes
    ----------
    items : int
        How many it has.
    users : int
        Who liked one or more of them.
    interactions : int
        Pairs of a user and an item that the user liked.
    density : float
        Interactions over items times users.
    recent : float or None
        Share of its interactions in the last fifth of the time in which anything happened in any
        domain; None where fewer than all have a time.
    """

    model_config = ConfigDict(extra="forbid")
    items: int
    users: int
    interactions: int
    density: float
    recent: float | None


def quality_of(corpus: TrainingData, code: int) -> Quality:
    """Count what there is in a domain."""
    inside = corpus.in_domain(code)
    liked = inside[corpus.interactions.columns] & corpus.interactions.likes
    items, users = int(inside.sum()), int(corpus.domain_users(code).sum())
    interactions = int(liked.sum())
    return Quality(
        items=items,
        users=users,
        interactions=interactions,
        density=interactions / max(items * users, 1),
        recent=_recent(corpus.interactions.moments, liked),
    )


def _recent(
    moments: np.typing.NDArray[np.float64], liked: np.typing.NDArray[np.bool_]
) -> float | None:
    own = moments[liked]
    if not len(own) or np.isnan(own).any():
        return None
    start, end = np.nanmin(moments), np.nanmax(moments)
    return float((own >= end - LAST_PART * (end - start)).mean())


class SourceDomain(BaseModel):
    """A domain as a source for a target domain.

    Attributes
    ----------
    domain : str
        Its name.
    quality : Quality
        How much there is to learn from it.
    relatedness : Relatedness
        How near it is to the target.
    lift : Lift or None
        What its histories are worth to cold users of the target; None where that was not asked.
    """

    model_config = ConfigDict(extra="forbid")
    domain: str
    quality: Quality
    relatedness: Relatedness
    lift: Lift | None

    def rank(self) -> tuple[int, float, float]:
        """Give what sources are sorted by: verdict, then gain, then nearness of contents."""
        verdict = "unmeasured" if self.lift is None else self.lift.verdict
        gain = 0.0 if self.lift is None or self.lift.ndcg is None else self.lift.ndcg.difference
        far = self.relatedness.content_distance
        return ORDER.index(verdict), -gain, 1.0 if far is None else far


class SourceReport(BaseModel):
    """The sources of a target domain, best first.

    Attributes
    ----------
    target : str
        The domain to recommend in.
    quality : Quality
        How much there is to learn from the target itself.
    sources : list of SourceDomain
        Those that help, by their gain in NDCG@10; those of which that is not certain; those that
        could not be measured, the nearest in content first; those that hurt.
    seconds : float
        How long it took.
    """

    model_config = ConfigDict(extra="forbid")
    target: str
    quality: Quality
    sources: list[SourceDomain]
    seconds: float


def describe_lift(domain: str, lift: Lift) -> str:
    """Say in words what was measured of a source domain, and what follows.

    Examples
    --------
    >>> describe_lift("music", Lift(users=3, verdict="unmeasured"))
    'music cannot be measured (3 simulated cold users know it, 20 are needed); it is kept'
    """
    if lift.ndcg is None:
        return (
            f"{domain} cannot be measured ({lift.users:,} simulated cold users know it, 20 are "
            "needed); it is kept"
        )
    own = lift.ndcg
    figures = (
        f"NDCG@10 of {lift.users:,} cold users is {own.shown:.4f} with its history and "
        f"{own.hidden:.4f} without, {own.difference:+.4f} ({own.low:+.4f} to {own.high:+.4f})"
    )
    follows = {
        "helps": f"{domain} helps: {figures}",
        "hurts": f"{domain} hurts, so training switches it off: {figures}",
    }
    return follows.get(lift.verdict, f"{domain} is undecided and kept: {figures}")


def assess_sources(
    corpus: TrainingData, target: str, *, measure: bool = True, seed: int = 0
) -> SourceReport:
    """Rank the other domains as sources for a target.

    Parameters
    ----------
    corpus : Corpus
        What there is.
    target : str
        The domain to recommend in.
    measure : bool
        Whether to measure what each is worth to cold users; without, only counts and contents
        are compared.
    seed : int
        Of all that is left to chance.

    Raises
    ------
    InvalidInput
        If there is no such domain.
    """
    if target not in corpus.domain_names:
        raise InvalidInput(f"no domain {target!r}; there are {', '.join(corpus.domain_names)}")
    start = time.perf_counter()
    code = corpus.domain_code(target)
    lifts = measure_lifts(corpus, code, seed=seed) if measure else {}
    sources = [
        SourceDomain(
            domain=name,
            quality=quality_of(corpus, other),
            relatedness=relatedness_of(corpus, other, code, seed=seed),
            lift=lifts.get(name),
        )
        for other, name in enumerate(corpus.domain_names)
        if name != target
    ]
    return SourceReport(
        target=target,
        quality=quality_of(corpus, code),
        sources=sorted(sources, key=SourceDomain.rank),
        seconds=time.perf_counter() - start,
    )
