"""Hyperparameters of candidate generators, chosen on simulated users of the training data.

A sample of the users of every target is hidden in that target, and met without an item of it,
with three, and with four fifths of their items (see `Simulation`). Each generator is fitted to what
is left, in every configuration of its grid; configurations share what they have in common (see
`CandidateGenerator.fit_grid`). All are measured on a part of the users, the best two on all of them
(successive halving; Jamieson and Talwalkar, AISTATS 2016).
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from isthmus.progress import progress_bar
from isthmus.retrieval.candidates.generator import CandidateGenerator
from isthmus.retrieval.candidates.simulated_users import Simulation
from isthmus.retrieval.candidates.training_data import TrainingData

FIRST_RUNG = 0.25  # share of the users that all configurations are measured on
FINALISTS = 2


@dataclass(frozen=True)
class Trial:
    """Hyperparameters, and their score.

    Attributes
    ----------
    settings : dict of str to Any
        The hyperparameters.
    score : float
        NDCG@100, the geometric mean over the situations.
    users : int
        Simulated users that it was measured on, each once for every situation.
    """

    settings: dict[str, Any]
    score: float
    users: int


@dataclass(frozen=True)
class GeneratorTuning:
    """How the hyperparameters of a generator were chosen.

    Attributes
    ----------
    name : str
        The generator.
    best : dict of str to Any
        The chosen hyperparameters.
    trials : list of Trial
        What was measured.
    seconds : float
        Duration.
    failure : str or None
        Why the generator is left out, if it is.
    """

    name: str
    best: dict[str, Any]
    trials: list[Trial]
    seconds: float
    failure: str | None = None


def tune_generators(
    generators: Sequence[CandidateGenerator],
    data: TrainingData,
    *,
    seed: int = 0,
    show: bool = False,
) -> tuple[list[CandidateGenerator], list[GeneratorTuning]]:
    """Choose the hyperparameters of generators by a search over their grids.

    Parameters
    ----------
    generators : sequence of CandidateGenerator
        Not fitted.
    data : TrainingData
        Items and interactions; the targets are those of the data.
    seed : int
        Seed of the choice of users.
    show : bool
        Whether to show a progress bar.

    Returns
    -------
    generators : list of CandidateGenerator
        Not fitted, with the chosen hyperparameters. A generator that cannot be fitted, or whose
        scores are not finite, is left out.
    reports : list of GeneratorTuning
        One for each generator given.
    """
    simulation = Simulation.of(data, seed)
    chosen, reports = [], []
    with progress_bar("tuning candidate generators", len(generators), show=show) as advance:
        for generator in generators:
            tuned, report = _tune(generator, simulation)
            reports.append(report)
            chosen += [tuned] if report.failure is None else []
            advance(1)
    return chosen, reports


def _tune(
    generator: CandidateGenerator, simulation: Simulation
) -> tuple[CandidateGenerator, GeneratorTuning]:
    start = time.process_time()
    trials: list[Trial] = []
    failure = None
    best = generator
    try:
        finalists = _first_rung(generator, simulation, trials)
        best = finalists[0]
        if len(finalists) > 1:
            scores = [simulation.score(finalist) for finalist in finalists]
            for finalist, score in zip(finalists, scores, strict=True):
                trials.append(Trial(finalist.settings(), score, simulation.count()))
            best = finalists[int(np.argmax(scores))]
    except Exception as error:  # whatever one generator raises, the others are tuned
        failure = f"{type(error).__name__}: {error}"
    seconds = time.process_time() - start
    report = GeneratorTuning(generator.name, best.settings(), trials, seconds, failure)
    return replace(best), report


def _first_rung(
    generator: CandidateGenerator, simulation: Simulation, trials: list[Trial]
) -> list[CandidateGenerator]:
    """Measure every configuration on a part of the users; return the best two, fitted."""
    kept: list[tuple[float, int, CandidateGenerator]] = []  # a heap, the worst first
    for number, configuration in enumerate(generator.fit_grid(simulation.data)):
        score = simulation.score(configuration, FIRST_RUNG)
        users = simulation.count(FIRST_RUNG)
        trials.append(Trial(configuration.settings(), score, users))
        heapq.heappush(kept, (score, -number, configuration))
        if len(kept) > FINALISTS:
            heapq.heappop(kept)
    return [configuration for *_, configuration in sorted(kept, reverse=True)]
