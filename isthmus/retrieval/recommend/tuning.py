"""Hyperparameter search for a ranker with optuna; the examples are made once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus.errors import MissingDependency
from isthmus.progress import progress_bar
from isthmus.retrieval.ranker.cross_validation import CrossValidation
from isthmus.retrieval.ranker.examples import ExamplesBySituation
from isthmus.retrieval.ranker.selection import SituationTraining
from isthmus.retrieval.ranker.settings import TrainingSettings
from isthmus.retrieval.recommend.report import Trial, TuningReport

if TYPE_CHECKING:
    import optuna

JOURNAL = "tuning.journal"
UNPRUNED_TRIALS = 5
SEARCHED = ("l2", "learning_rate", "weight_decay", "dropout", "hidden", "epochs")


def tune_ranker(
    examples: ExamplesBySituation,
    generators: Sequence[str],
    settings: TrainingSettings,
    trials: int,
    *,
    folder: Path | None = None,
    show: bool = False,
) -> tuple[TrainingSettings, TuningReport]:
    """Search for the hyperparameters with which the models of a ranker are best.

    What is compared is NDCG@10 of users that a model was not trained on, of the best model of each
    situation, as a mean over the situations.

    The first trial has the given settings, so the result is never worse than these. The others
    are drawn by a tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011), each with a
    seed of its own, so that an interrupted search ends like one that was not. A trial below the
    median of the others after a situation is pruned.

    Parameters
    ----------
    examples : dict of str to Examples
        By situation, of one domain.
    generators : sequence of str
        Names of the candidate generators.
    settings : TrainingSettings
        Where the search starts; hyperparameters that are not searched keep these values.
    trials : int
        Number of trials, 1 or more.
    folder : Path, optional
        Where trials are stored; an interrupted search resumes from it.
    show : bool
        Whether to show a progress bar.

    Returns
    -------
    settings : TrainingSettings
        The best settings.
    report : TuningReport
        The trials.

    Raises
    ------
    MissingDependency
        If optuna is not installed.
    """
    require_optuna()
    from optuna.samplers import TPESampler

    study = _study(folder, settings)
    objective = _Objective(examples, generators, settings)
    with progress_bar("tuning the ranker", trials, show=show) as advance:
        advance(len(_finished(study)))
        while (done := len(_finished(study))) < trials:
            study.sampler = TPESampler(seed=settings.seed + done)
            study.optimize(objective, n_trials=1)
            advance(1)
    report = _report(study)
    return replace(settings, **report.best), report


class _Objective:
    def __init__(
        self, examples: ExamplesBySituation, generators: Sequence[str], settings: TrainingSettings
    ) -> None:
        self.examples, self.generators, self.settings = examples, generators, settings

    def __call__(self, trial: optuna.Trial) -> float:
        """Train the models of all situations, and return the mean of the best."""
        from optuna import TrialPruned

        settings = replace(self.settings, **_suggest(trial))
        scores: list[float] = []
        validation = CrossValidation(self.examples, settings)
        for number, situation in enumerate(self.examples):
            training = SituationTraining(situation, validation, self.generators)
            models = training.cross_validated_models()
            scores.append(max(float(scored.ndcg.mean()) for scored in models.values()))
            trial.report(sum(scores) / len(scores), number)
            if trial.should_prune():
                raise TrialPruned
        return sum(scores) / len(scores)


def _suggest(trial: optuna.Trial) -> dict[str, Any]:
    """Draw the hyperparameters `SEARCHED`."""
    return {
        "l2": trial.suggest_float("l2", 1e-4, 1e-1, log=True),
        "learning_rate": trial.suggest_float("learning_rate", 5e-4, 1e-2, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-5, 1e-1, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "hidden": trial.suggest_categorical("hidden", (8, 16, 32, 64)),
        "epochs": trial.suggest_int("epochs", 3, 30, log=True),
    }


def _study(folder: Path | None, settings: TrainingSettings) -> optuna.Study:
    """Load the search of a folder, or start one."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name="ranker",
        storage=_storage(folder),
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(UNPRUNED_TRIALS),
        load_if_exists=True,
    )
    states = optuna.trial.TrialState
    for interrupted in study.get_trials(states=(states.RUNNING,)):
        study.tell(interrupted.number, state=states.FAIL)
    if not _finished(study) and not study.get_trials(states=(states.WAITING,)):
        study.enqueue_trial({name: asdict(settings)[name] for name in SEARCHED})
    return study


def _storage(folder: Path | None) -> optuna.storages.BaseStorage:
    from optuna.storages import InMemoryStorage, JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    if folder is None:
        return InMemoryStorage()
    folder.mkdir(parents=True, exist_ok=True)
    file = str(folder / JOURNAL)
    return JournalStorage(JournalFileBackend(file, JournalFileOpenLock(file)))


def _finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    from optuna.trial import TrialState

    return study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))


def _report(study: optuna.Study) -> TuningReport:
    from optuna.trial import TrialState

    trials = [
        Trial(
            settings=trial.params,
            score=trial.intermediate_values[max(trial.intermediate_values)],
            pruned=trial.state == TrialState.PRUNED,
        )
        for trial in _finished(study)
    ]
    return TuningReport(trials=trials, best=study.best_params)


def require_optuna() -> None:
    """Check that optuna is installed.

    Raises
    ------
    MissingDependency
        If it is not.
    """
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise MissingDependency(
            "optuna, which tuning needs, is not installed; install it with: "
            "pip install 'isthmus[tune]'"
        ) from error
