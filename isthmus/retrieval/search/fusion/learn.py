"""Learning of gates: the listwise loss over the candidates of queries whose answers are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from isthmus.index.ann.exact import Mask
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray
from isthmus.progress import progress_bar
from isthmus.retrieval.search.fusion.evidence import Evidence, Samples, evidence_of, stack
from isthmus.retrieval.search.fusion.gate import FURTHEST, MOST, Doubles, Gate, spread
from isthmus.retrieval.search.fusion.relevance import Asked
from isthmus.retrieval.search.query import search_blocks, similarities

DEPTH: Final = 50
STRANGERS: Final = 50
ANSWERS: Final = 50
STEPS: Final = 60
SHARPNESS: Final = 10.0
SMALL: Final = 0.05  # weight of the penalty that keeps offsets and slopes near 0


@dataclass(frozen=True, eq=False)
class Example:
    """The candidates of a query.

    Attributes
    ----------
    evidence : dict of str to numpy.ndarray
        Of each block of the query.
    parts : numpy.ndarray
        float32, shape (n_candidates, n_blocks): similarities, 0 where item or query lacks it.
    asked : numpy.ndarray
        bool, shape (n_blocks,): the blocks of the query.
    wanted : numpy.ndarray
        bool, shape (n_candidates,).
    corrections : numpy.ndarray
        float32, shape (n_candidates,): log-probability that a candidate was drawn.
    """

    evidence: Evidence
    parts: FloatArray
    asked: Mask
    wanted: Mask
    corrections: FloatArray


def make_examples(
    view: View, asked: Sequence[Asked], samples: Samples, *, show: bool = False
) -> list[Example]:
    """Gather candidates: the nearest in each block, what belongs to the query, and strangers."""
    rng = np.random.default_rng(0)
    living = np.flatnonzero(view.living.rows)
    chance = _chance(STRANGERS, len(living))
    names = [block.name for block in view.blocks]
    made = []
    with progress_bar("looking at pairs", len(asked), show=show) as advance:
        for one in asked:
            near = search_blocks(view, [one.query], DEPTH, None)[0]
            sure = np.concatenate([np.empty(0, np.int64), *(rows for rows, _ in near)])
            answers = rng.choice(one.wanted, min(ANSWERS, len(one.wanted)), replace=False)
            drawn = rng.choice(living, min(STRANGERS, len(living)), replace=False)
            rows = np.unique(np.concatenate([sure, answers, drawn]))
            rows = rows[(rows >= 0) & ~np.isin(rows, one.query.exclude)]
            found, wanted = similarities(view, one.query, rows), np.isin(rows, one.wanted)
            parts = np.stack([found.get(n, np.zeros(len(rows))) for n in names], axis=1)
            seldom = np.where(wanted, _chance(ANSWERS, len(one.wanted)), chance)
            made.append(
                Example(
                    evidence_of(view, one.query, samples),
                    parts.astype(np.float32),
                    np.array([name in one.query.vectors for name in names]),
                    wanted,
                    np.where(np.isin(rows, sure), 0.0, seldom).astype(np.float32),
                )
            )
            advance(1)
    return made


def _chance(drawn: int, of: int) -> float:
    """Give the logarithm of the probability to be drawn."""
    return float(np.log(min(1.0, drawn / max(1, of))))


def learn_gate(
    blocks: Sequence[str],
    examples: Sequence[Example],
    weights: Mapping[str, float],
    *,
    gated: bool = True,
) -> Gate:
    """Learn a gate: minus the mean log-probability of what belongs to a query is made small.

    The probability is the softmax of the scores of all items (ListNet; Cao et al., ICML 2007), as
    far as candidates tell: one that was drawn with probability q stands for 1/q of them. How sharp
    it is is learned, too. Offsets and slopes that gain little are kept near 0.

    Parameters
    ----------
    blocks : sequence of str
        The blocks, in the order of the examples' parts.
    examples : sequence of Example
        What to learn from.
    weights : mapping of str to float
        Weight of each block where there is no gate.
    gated : bool, default True
        Whether the evidence counts; without, the same weights are learned for all queries.
    """
    evidence = stack([example.evidence for example in examples], blocks)
    means, scales = spread(evidence)
    known = np.nan_to_num(np.clip((evidence - means) / scales, -FURTHEST, FURTHEST))
    problem = _Problem.of(examples, known, np.array([weights[name] for name in blocks]))
    offsets = torch.zeros(len(blocks), dtype=torch.float64, requires_grad=True)
    slopes = torch.zeros(known.shape[1:], dtype=torch.float64, requires_grad=True)
    sharpness = torch.tensor(np.log(SHARPNESS), dtype=torch.float64, requires_grad=True)
    learned = [offsets, sharpness, *([slopes] if gated else [])]
    optimizer = torch.optim.LBFGS(learned, max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        total = problem.loss(offsets, slopes, sharpness)
        total = (
            total + SMALL * ((offsets - offsets.mean()) ** 2).mean() + SMALL * (slopes**2).mean()
        )
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        centred = (offsets - offsets.mean()).numpy().copy()
        return Gate(tuple(blocks), means, scales, centred, slopes.numpy().copy())


@dataclass(frozen=True, eq=False)
class _Problem:
    parts: Tensor  # (n, n_candidates, n_blocks)
    there: Tensor  # (n, n_candidates)
    wanted: Tensor  # (n, n_candidates)
    asked: Tensor  # (n, n_blocks)
    evidence: Tensor  # (n, n_blocks, n_numbers)
    weights: Tensor  # (n_blocks,)
    corrections: Tensor  # (n, n_candidates)

    @classmethod
    def of(cls, examples: Sequence[Example], evidence: Doubles, weights: Doubles) -> _Problem:
        most = max(len(example.wanted) for example in examples)
        parts = np.zeros((len(examples), most, len(weights)))
        there = np.zeros((len(examples), most), bool)
        wanted = np.zeros((len(examples), most), bool)
        corrections = np.zeros((len(examples), most))
        for at, example in enumerate(examples):
            own = len(example.wanted)
            parts[at, :own], there[at, :own] = example.parts, True
            wanted[at, :own], corrections[at, :own] = example.wanted, example.corrections
        asked = np.array([example.asked for example in examples])
        arrays = (parts, there, wanted, asked, evidence, weights, corrections)
        return cls(*map(torch.from_numpy, arrays))

    def loss(self, offsets: Tensor, slopes: Tensor, sharpness: Tensor) -> Tensor:
        """Give the mean over queries."""
        power = (offsets + (self.evidence * slopes).sum(dim=2)).clamp(-MOST, MOST)
        weights = torch.exp(power) * self.weights * self.asked
        shares = weights / weights.sum(dim=1, keepdim=True)
        scores = (self.parts * shares[:, None]).sum(dim=2) * torch.exp(sharpness)
        scores = scores - self.corrections
        logs = torch.log_softmax(scores.masked_fill(~self.there, -torch.inf), dim=1)
        stands_for = torch.exp(-self.corrections) * self.wanted
        own = (logs.masked_fill(~self.wanted, 0) * stands_for).sum(dim=1)
        return -(own / stands_for.sum(dim=1).clamp(min=1)).mean()
