"""Assessment of the other domains as sources for a target: size, relatedness, lift."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from isthmus.errors import InvalidInput, listed
from isthmus.numerics.arrays import FloatArray
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.source_domains.lift import Lift, measure_lifts

MAX_SAMPLE = 1_000
RECENT_SHARE = 0.2
VERDICT_ORDER = ("helps", "undecided", "unmeasured", "hurts")


class Quality(BaseModel):
    """Size, density and age of a domain.

    Attributes
    ----------
    items : int
        Number of items.
    users : int
        Users who liked one or more of them.
    interactions : int
        Pairs of a user and an item that the user liked.
    density : float
        Interactions over items times users.
    recent : float or None
        Share of its interactions in the last fifth of the time span of all domains; None if some
        have no time.
    """

    model_config = ConfigDict(extra="forbid")
    items: int
    users: int
    interactions: int
    density: float
    recent: float | None


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
        Distance between the contents of their items, from 0 (equal) to 1, see `content_distance`;
        None if a domain has fewer than two items with contents.
    """

    model_config = ConfigDict(extra="forbid")
    shared_users: int
    jaccard: float
    of_target: float
    content_distance: float | None


class SourceDomain(BaseModel):
    """A domain as a source for a target domain.

    Attributes
    ----------
    domain : str
        Its name.
    quality : Quality
        How much can be learned from it.
    relatedness : Relatedness
        How close it is to the target.
    lift : Lift or None
        What its histories are worth to cold-start users of the target; None if not measured.
    """

    model_config = ConfigDict(extra="forbid")
    domain: str
    quality: Quality
    relatedness: Relatedness
    lift: Lift | None

    def sort_key(self) -> tuple[int, float, float]:
        """Return the key that sources are sorted by: verdict, then gain, then content distance."""
        verdict = "unmeasured" if self.lift is None else self.lift.verdict
        gain = 0.0 if self.lift is None or self.lift.ndcg is None else self.lift.ndcg.difference
        distance = self.relatedness.content_distance
        return VERDICT_ORDER.index(verdict), -gain, 1.0 if distance is None else distance


class SourceReport(BaseModel):
    """The sources for a target domain, best first.

    Attributes
    ----------
    target : str
        The target domain.
    quality : Quality
        How much can be learned from the target itself.
    sources : list of SourceDomain
        Those that help, by their gain in NDCG@10; those that are undecided; those that could not
        be measured, the closest in content first; those that hurt.
    seconds : float
        Duration of the assessment.
    """

    model_config = ConfigDict(extra="forbid")
    target: str
    quality: Quality
    sources: list[SourceDomain]
    seconds: float


def assess_sources(
    data: TrainingData, target: str, *, measure: bool = True, seed: int = 0
) -> SourceReport:
    """Rank the other domains as sources for a target.

    Parameters
    ----------
    data : TrainingData
        Items and interactions.
    target : str
        The target domain.
    measure : bool
        Whether to measure the lift of each domain; without it only counts and contents are
        compared.
    seed : int
        Random seed.

    Raises
    ------
    InvalidInput
        If there is no such domain.
    """
    if target not in data.domain_names:
        raise InvalidInput(f"no domain {target!r}; there are {listed(data.domain_names, target)}")
    start = time.perf_counter()
    code = data.domain_code(target)
    lifts = measure_lifts(data, code, seed=seed) if measure else {}
    sources = [
        SourceDomain(
            domain=name,
            quality=quality_of(data, other),
            relatedness=relatedness_of(data, other, code, seed=seed),
            lift=lifts.get(name),
        )
        for other, name in enumerate(data.domain_names)
        if name != target
    ]
    return SourceReport(
        target=target,
        quality=quality_of(data, code),
        sources=sorted(sources, key=SourceDomain.sort_key),
        seconds=time.perf_counter() - start,
    )


def quality_of(data: TrainingData, code: int) -> Quality:
    """Return the size, density and age of a domain."""
    inside = data.in_domain(code)
    liked = inside[data.interactions.columns] & data.interactions.likes
    items, users = int(inside.sum()), int(data.domain_users(code).sum())
    interactions = int(liked.sum())
    return Quality(
        items=items,
        users=users,
        interactions=interactions,
        density=interactions / max(items * users, 1),
        recent=_recent_share(data.interactions.moments, liked),
    )


def _recent_share(moments: npt.NDArray[np.float64], liked: npt.NDArray[np.bool_]) -> float | None:
    times = moments[liked]
    if not len(times) or np.isnan(times).any():
        return None
    start, end = np.nanmin(moments), np.nanmax(moments)
    return float((times >= end - RECENT_SHARE * (end - start)).mean())


def relatedness_of(data: TrainingData, source: int, target: int, *, seed: int = 0) -> Relatedness:
    """Compare two domains, given by their codes."""
    of_source, of_target = data.domain_users(source), data.domain_users(target)
    shared = int((of_source & of_target).sum())
    samples = [_sample_contents(data, code, seed) for code in (source, target)]
    return Relatedness(
        shared_users=shared,
        jaccard=shared / max(int((of_source | of_target).sum()), 1),
        of_target=shared / max(int(of_target.sum()), 1),
        content_distance=content_distance(*samples),
    )


def content_distance(one: FloatArray, other: FloatArray) -> float | None:
    """Return the energy coefficient of inhomogeneity of two samples of contents.

    ``(2 E|X - Y| - E|X - X'| - E|Y - Y'|) / 2 E|X - Y|``, with means over the pairs of different
    items: 0 if both have the same distribution, 1 if each is a single point (Székely and Rizzo,
    "Energy statistics", Journal of Statistical Planning and Inference 143, 2013). It needs no
    users, and makes no assumption about the distributions.

    Parameters
    ----------
    one, other : numpy.ndarray
        float32, shapes (n, dim) and (m, dim).

    Returns
    -------
    float or None
        None if one has fewer than two rows.

    Examples
    --------
    >>> content_distance(np.zeros((3, 2), np.float32), np.ones((2, 2), np.float32))
    1.0
    """
    if min(len(one), len(other)) < 2:
        return None
    between = float(_distances(one, other).mean())
    within = _mean_distance_within(one) + _mean_distance_within(other)
    return float(np.clip(1 - within / (2 * between), 0, 1)) if between > 0 else 0.0


def _mean_distance_within(vectors: FloatArray) -> float:
    n = len(vectors)
    return float(_distances(vectors, vectors).sum() / (n * (n - 1)))


def _distances(one: FloatArray, other: FloatArray) -> FloatArray:
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    return np.asarray(np.sqrt(np.maximum(squares, 0)), np.float32)


def _sample_contents(data: TrainingData, code: int, seed: int) -> FloatArray:
    """Return the contents of a sample of items of a domain, without those that have none."""
    items = np.random.default_rng(seed).permutation(np.flatnonzero(data.in_domain(code)))
    vectors = data.features.take(np.sort(items[:MAX_SAMPLE]))
    return vectors[vectors.any(axis=1)]


def describe_lift(domain: str, lift: Lift) -> str:
    """Return a sentence with the measured lift of a source domain, and what follows from it.

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
    gain = lift.ndcg
    figures = (
        f"NDCG@10 of {lift.users:,} cold users is {gain.shown:.4f} with its history and "
        f"{gain.hidden:.4f} without, {gain.difference:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})"
    )
    sentences = {
        "helps": f"{domain} helps: {figures}",
        "hurts": f"{domain} hurts, so training switches it off: {figures}",
    }
    return sentences.get(lift.verdict, f"{domain} is undecided and kept: {figures}")
