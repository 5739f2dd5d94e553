"""From pairs to heads: closed forms, contrastive learning from the best of them, a report."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from isthmus.encoders.training.alignment.closed_form import Correlations, Heads
from isthmus.encoders.training.alignment.cross_modal_recall import Crossing, measure_crossing
from isthmus.encoders.training.alignment.ensemble import fold
from isthmus.encoders.training.alignment.experts import combine
from isthmus.encoders.training.alignment.pairs import Pairs
from isthmus.encoders.training.alignment.settings import FEWEST_PAIRS, AlignmentSettings
from isthmus.errors import InvalidInput
from isthmus.progress import progress_bar

RIDGES_TEXT = (0.03, 0.3, 3.0, 10.0)
RIDGES_IMAGE = (0.1, 1.0, 10.0, 30.0)
POWERS = (0.0, 0.5, 1.0)
LISTED = 10
FEWEST = 10  # pairs of a set, learned from and held out, for an expert
SHARES_OF_COMMON = (0.1, 0.25, 0.5, 1.0)
SHARES = (1.0, 0.5, 0.25)  # of the axes, the strongest


@dataclass(frozen=True, eq=False)
class Fitted:
    """Heads, and what is to be told of them.

    Attributes
    ----------
    heads : tuple of Head
        Of text and image.
    report : dict of str to Any
        Settings, pairs, and for each set and method recall@10 both ways on the pairs held out.
    """

    heads: Heads
    report: dict[str, Any]


def fit_alignment(
    pairs: Pairs, settings: AlignmentSettings | None = None, *, progress: bool = False
) -> Fitted:
    """Learn heads from pairs of one or several sets.

    The start is regularised CCA, its ridges and the weight of its axes chosen on the pairs held
    out; contrastive learning goes on from there and stops when they gain no more.

    Parameters
    ----------
    pairs : Pairs
        Texts and pictures that belong together.
    settings : AlignmentSettings, optional
        How to learn.
    progress : bool, default False
        Whether to show bars.

    Raises
    ------
    InvalidInput
        If there are fewer than 20 pairs, or none is left to learn from.
    """
    settings = settings or AlignmentSettings()
    learn, held = pairs.split(settings.held_out, settings.seed)
    if len(learn) < FEWEST_PAIRS:
        raise InvalidInput(
            f"{len(pairs)} pairs of text and picture, {len(learn)} of them to learn from; give "
            f"{FEWEST_PAIRS} or more"
        )
    judged = held if len(held) else learn
    start = time.perf_counter()
    closed, chosen = closed_form(learn, judged, settings.dim, progress=progress)
    closed_s = time.perf_counter() - start
    start = time.perf_counter()
    heads, told = learn_sets(closed, learn, judged, settings, progress=progress)
    report = {
        "settings": asdict(settings),
        "pairs": {name: int((pairs.sets == n).sum()) for n, name in enumerate(pairs.names)},
        "held_out": len(held),
        "closed_form": chosen,
        **told,
        "seconds": {
            "closed_form": round(closed_s, 1),
            "learning": round(time.perf_counter() - start, 1),
        },
        "recall@10": {
            "aligned": measure_sets(heads, judged),
            "cca": measure_sets(closed, judged),
        },
    }
    return Fitted(heads, report)


def closed_form(
    learn: Pairs, judged: Pairs, dim: int, *, progress: bool = False
) -> tuple[Heads, dict[str, float]]:
    """Give the regularised CCA that is best on some pairs, and its settings."""
    known = Correlations(learn.text, learn.image)
    grid = list(itertools.product(RIDGES_TEXT, RIDGES_IMAGE, SHARES, POWERS))
    best: tuple[float, Heads | None, dict[str, float]] = (-1.0, None, {})
    with progress_bar("closed form", len(grid), show=progress) as advance:
        for ridge_text, ridge_image, share, power in grid:
            axes = max(int(share * dim), 1)
            heads = known.cca(dim, ridge_text, ridge_image, power, axes)
            reached = quality(heads, judged)
            if reached > best[0]:
                how = {"ridge_text": ridge_text, "ridge_image": ridge_image, "power": power}
                how["axes"] = axes
                best = reached, heads, how
            advance(1)
    if best[1] is None:
        raise InvalidInput("no pair to choose a closed form by")
    return best[1], best[2]


def quality(heads: Heads, pairs: Pairs) -> float:
    """Give the mean recall over both ways and all sets: what learning aims at.

    Recall@10, or of a shorter list where so few pairs are held out that ten would hold nearly all.
    """
    found = crossings(heads, pairs, telling=True).values()
    return float(np.mean([crossing.mean for crossing in found]))


def crossings(heads: Heads, pairs: Pairs, *, telling: bool = False) -> dict[str, Crossing]:
    """Measure recall@10 of each set by itself; sets without a pair are left out.

    Parameters
    ----------
    heads : tuple of Head
        Of text and image.
    pairs : Pairs
        Pairs that were not learned from.
    telling : bool, default False
        Whether lists are shorter than ten where ten would be more than a third of the answers.
    """
    text, image = heads[0](pairs.text), heads[1](pairs.image)
    found = {}
    for number, name in enumerate(pairs.names):
        rows = np.flatnonzero(pairs.sets == number)
        if len(rows):
            ids = pairs.text_ids[rows], pairs.image_ids[rows]
            fewest = min(len(np.unique(side)) for side in ids)
            k = min(LISTED, max(fewest // 3, 1)) if telling else LISTED
            found[name] = measure_crossing(text[rows], image[rows], *ids, k)
    return found


def measure_sets(heads: Heads, pairs: Pairs) -> dict[str, Mapping[str, float]]:
    """Give the figures of each set as plain values."""
    measured = crossings(heads, pairs)
    return {
        name: {key: round(value, 4) for key, value in crossing.as_dict().items()}
        for name, crossing in measured.items()
    }


def learn_sets(
    closed: Heads,
    learn: Pairs,
    judged: Pairs,
    settings: AlignmentSettings,
    *,
    progress: bool = False,
) -> tuple[Heads, dict[str, Any]]:
    """Learn heads from one or several sets; where it is better, each set has experts as well.

    Parameters
    ----------
    closed : tuple of Head
        The closed form over all sets.
    learn, judged : Pairs
        Pairs to learn from, and those held out.
    settings : AlignmentSettings
        How.
    progress : bool, default False
        Whether to show bars.

    Returns
    -------
    tuple
        The heads, and what is to be told of them.
    """
    numbers = range(len(learn.names))
    enough = all(min((s.sets == n).sum() for s in (learn, judged)) >= FEWEST for n in numbers)
    if len(numbers) == 1 or settings.hidden or not settings.experts or not enough:
        return learn_from(closed, learn, judged, settings, progress=progress)
    each = max(settings.dim // (len(numbers) + 1), 1)
    own = replace(settings, dim=settings.dim - each * len(numbers))
    narrow = closed_form(learn, judged, own.dim, progress=progress)[0]
    common, told = learn_from(narrow, learn, judged, own, progress=progress)
    experts = []
    for number in numbers:
        part, rest = learn.of_set(number), judged.of_set(number)
        start = closed_form(part, rest, each, progress=progress)[0]
        how = replace(settings, dim=each)
        experts.append(learn_from(start, part, rest, how, progress=progress)[0])
    found = [combine(common, experts, learn, share) for share in SHARES_OF_COMMON]
    reached = [quality(heads, judged) for heads in found]
    best = int(np.argmax(reached))
    return found[best], {**told, "share_of_common": SHARES_OF_COMMON[best]}


def learn_from(
    start: Heads,
    learn: Pairs,
    judged: Pairs,
    settings: AlignmentSettings,
    *,
    progress: bool = False,
) -> tuple[Heads, dict[str, Any]]:
    """Learn heads from a start; several are folded into one if that is better than the best.

    Returns
    -------
    tuple
        The heads, and the pass and the temperature of the best.
    """
    from isthmus.encoders.training.alignment.contrastive import learn_heads

    rng = np.random.default_rng(settings.seed)
    steps = settings.members * settings.epochs
    members = []
    with progress_bar("learning", steps, show=progress) as advance:
        for member in range(settings.members):
            own = learn
            if settings.members > 1:
                own = learn.take(np.unique(rng.integers(len(learn), size=2 * len(learn))))
            how = replace(settings, seed=settings.seed + member)
            found = learn_heads(start, own, how, lambda h: quality(h, judged), advance)
            advance(max(settings.epochs - found.epochs - settings.patience, 0))
            members.append(found)
    best = max(members, key=lambda found: found.quality)
    heads, told = best.heads, {"epochs": best.epochs, "temperature": round(best.temperature, 4)}
    if len(members) > 1:
        folded = fold([found.heads for found in members], learn, settings.dim)
        if quality(folded, judged) >= best.quality:
            heads = folded
    return heads, told
