"""Experts: heads of single sets and of all sets together, put into one by a gate."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from isthmus.encoders.projection_head import ProjectionHead
from isthmus.encoders.training.alignment.closed_form import Heads
from isthmus.encoders.training.alignment.pairs import Groups, Pairs
from isthmus.numerics.arrays import FloatArray

DECAY = 1e-3
STEPS = 60


def combine(common: Heads, experts: Sequence[Heads], pairs: Pairs, share: float) -> Heads:
    """Put heads side by side, each expert weighed by how much an input looks like its set.

    The inner product of a text and a picture is then ``share`` times that of the common heads,
    plus that of each expert times the weights of both inputs: a mixture of experts (Jacobs et
    al., "Adaptive mixtures of local experts", Neural Computation, 1991) that is still one vector.
    An input like none of the sets has the common heads to go by.

    Parameters
    ----------
    common : tuple of Head
        Linear heads learned from all sets.
    experts : sequence of tuple of Head
        Linear heads learned from each set, in the order of `pairs.names`.
    pairs : Pairs
        What the gate is learned from.
    share : float
        Weight of the common heads, from 0 to 1.
    """
    text = _stack(
        [common[0], *(heads[0] for heads in experts)], share, _learn_gate(pairs.text, pairs.sets)
    )
    image = _stack(
        [common[1], *(heads[1] for heads in experts)], share, _learn_gate(pairs.image, pairs.sets)
    )
    return text, image


def _stack(
    heads: Sequence[ProjectionHead], share: float, gate: tuple[FloatArray, FloatArray]
) -> ProjectionHead:
    first = heads[0]
    columns = np.cumsum([0, *(head.dim for head in heads)])
    spread = np.zeros((len(heads), columns[-1]), np.float32)
    spread[-1, : first.dim] = np.sqrt(share)
    for at, (start, end) in enumerate(itertools.pairwise(columns[1:])):
        spread[at, start:end] = np.sqrt(1 - share)
    return ProjectionHead(
        first.mean,
        np.concatenate([head.linear for head in heads], axis=1),
        np.concatenate(
            [head.bias + (first.mean - head.mean) @ head.linear for head in heads]
        ).astype(np.float32),
        gate=gate[0],
        gate_bias=gate[1],
        share=spread,
    )


def _learn_gate(vectors: FloatArray, sets: Groups) -> tuple[FloatArray, FloatArray]:
    """Learn to tell sets apart by logistic regression in which each set counts the same."""
    import torch
    from torch.nn.functional import cross_entropy

    inputs, wanted = torch.from_numpy(vectors), torch.from_numpy(sets)
    sizes = torch.bincount(wanted).float()
    weights = len(sets) / (len(sizes) * sizes.clamp(min=1))
    gate = torch.zeros(vectors.shape[1], len(sizes), requires_grad=True)
    bias = torch.zeros(len(sizes), requires_grad=True)
    optimiser = torch.optim.LBFGS([gate, bias], max_iter=STEPS)

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        found = cross_entropy(inputs @ gate + bias, wanted, weight=weights)
        found = found + DECAY * gate.pow(2).sum()
        found.backward()  # type: ignore[no-untyped-call]
        return found

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return gate.detach().numpy(), bias.detach().numpy()
