"""Training of a ranker: the models of all situations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from isthmus.progress import progress_bar
from isthmus.retrieval.ranker.cross_validation import CrossValidation
from isthmus.retrieval.ranker.distillation import compare, distil
from isthmus.retrieval.ranker.distillation_report import RankerDistillation
from isthmus.retrieval.ranker.examples import Examples, ExamplesBySituation
from isthmus.retrieval.ranker.models.blend import Blend
from isthmus.retrieval.ranker.models.model import RankerModel
from isthmus.retrieval.ranker.ranker import Ranker
from isthmus.retrieval.ranker.selection import Scored, SituationModel, SituationTraining
from isthmus.retrieval.ranker.settings import TrainingSettings
from isthmus.retrieval.ranker.situation_report import SituationReport


class TrainedRanker(NamedTuple):
    """A trained ranker, and what was found of it.

    Attributes
    ----------
    ranker : Ranker
        The ranker.
    situations : dict of str to SituationReport
        By situation.
    distillation : RankerDistillation or None
        What the distillation came to, if there was one.
    """

    ranker: Ranker
    situations: dict[str, SituationReport]
    distillation: RankerDistillation | None


def train_ranker(
    examples: ExamplesBySituation,
    generators: Sequence[str],
    settings: TrainingSettings,
    *,
    start: Ranker | None = None,
    show: bool = False,
) -> TrainedRanker:
    """Train a ranker.

    Parameters
    ----------
    examples : dict of str to Examples
        By situation, of one domain; one situation or more.
    generators : sequence of str
        Names of the candidate generators.
    settings : TrainingSettings
        How to train.
    start : Ranker, optional
        A trained ranker to go on from, with the same features.
    show : bool
        Whether to show a progress bar.
    """
    models: dict[str, SituationModel] = {}
    reports: dict[str, SituationReport] = {}
    distilled: list[tuple[Scored, Scored, Examples]] = []
    before = (
        {}
        if start is None
        else {situation: models_by_name(start.model_of(situation).model) for situation in examples}
    )
    validation = CrossValidation(examples, settings, before)
    with progress_bar("training the ranker", len(examples), show=show) as advance:
        for situation, some in examples.items():
            training = SituationTraining(situation, validation, generators)
            taken, reports[situation] = training.run()
            if settings.distilled_units:
                student = distil(training, taken)
                distilled.append((taken, student, some))
                taken = student
            models[situation] = training.calibrated(taken)
            advance(1)
    ranker = Ranker(validation.columns, tuple(generators), models)
    comparison = compare(*zip(*distilled, strict=True)) if distilled else None
    return TrainedRanker(ranker, reports, comparison)


def models_by_name(model: RankerModel) -> dict[str, RankerModel]:
    """Return the trained models that a model consists of; one of each name."""
    if not isinstance(model, Blend):
        return {model.name: model}
    return {name: found for part in model.models for name, found in models_by_name(part).items()}
