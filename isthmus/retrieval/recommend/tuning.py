"""Hyperparameter search for a ranker with optuna; the examples are made once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus.errors import MissingDependency
from isthmus.numerics.training import EpochResult
from isthmus.progress import progress_bar
from isthmus.retrieval.ranker.batches import ExampleBatches  # noqa: TID253
from isthmus.retrieval.ranker.ranker import Ranker  # noqa: TID253
from isthmus.retrieval.ranker.settings import LOSSES, TrainingSettings
from isthmus.retrieval.ranker.training import train_ranker  # noqa: TID253
from isthmus.retrieval.recommend.report import Trial, TuningReport

if TYPE_CHECKING:
    import optuna

JOURNAL = "tuning.journal"
UNPRUNED_TRIALS = 5
UNPRUNED_EPOCHS = 2
SEARCHED = ("loss", "learning_rate", "weight_decay", "dropout", "hidden", "members")

MakeRanker = Callable[[TrainingSettings], Ranker]


def tune_ranker(
    make_ranker: MakeRanker,
    batches: ExampleBatches,
    settings: TrainingSettings,
    trials: int,
    *,
    folder: Path | None = None,
    show: bool = False,
) -> tuple[TrainingSettings, TuningReport]:
    """Search for the hyperparameters with which a ranker scores the validation users best.

    The first trial has the given settings, so the result is never worse than these. The others
    are drawn by a tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011), each with a
    seed of its own, so that an interrupted search ends like one that was not. A trial below the
    median of the others after an epoch is pruned.

    Parameters
    ----------
    make_ranker : callable
        Returns an untrained ranker for some settings.
    batches : ExampleBatches
        The examples, of one domain.
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
    objective = _Objective(make_ranker, batches, settings)
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
        self, make_ranker: MakeRanker, batches: ExampleBatches, settings: TrainingSettings
    ) -> None:
        self.make_ranker, self.batches, self.settings = make_ranker, batches, settings

    def __call__(self, trial: optuna.Trial) -> float:
        """Train a ranker, and return its best score."""
        from optuna import TrialPruned

        scores: list[float] = []

        def on_epoch(number: int, epoch: EpochResult) -> None:
            scores.append(epoch.score)
            trial.report(epoch.score, number)
            if trial.should_prune():
                raise TrialPruned

        settings = replace(self.settings, **_suggest(trial))
        train_ranker(self.make_ranker(settings).network, self.batches, settings, on_epoch=on_epoch)
        return max(scores)


def _suggest(trial: optuna.Trial) -> dict[str, Any]:
    """Draw the hyperparameters `SEARCHED`."""
    return {
        "loss": trial.suggest_categorical("loss", LOSSES),
        "learning_rate": trial.suggest_float("learning_rate", 2e-4, 1e-2, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-5, 1e-1, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "hidden": trial.suggest_categorical("hidden", (16, 32, 64, 128)),
        "members": trial.suggest_int("members", 1, 5),
    }


def _study(folder: Path | None, settings: TrainingSettings) -> optuna.Study:
    """Load the search of a folder, or start one."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name="ranker",
        storage=_storage(folder),
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(UNPRUNED_TRIALS, UNPRUNED_EPOCHS),
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
            score=max(trial.intermediate_values.values()),
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
