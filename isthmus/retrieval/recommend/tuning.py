"""Settings of a head, searched for with optuna: the examples are made once, and heads are cheap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus.errors import MissingDependency
from isthmus.numerics.training import EpochResult
from isthmus.progress import progress_bar
from isthmus.retrieval.ranker.batches import ExampleBatches
from isthmus.retrieval.ranker.ranker import RankingHead
from isthmus.retrieval.ranker.settings import LOSSES, TrainingSettings
from isthmus.retrieval.ranker.training import train_head
from isthmus.retrieval.recommend.report import Trial, TuningReport

if TYPE_CHECKING:
    import optuna

JOURNAL = "tuning.journal"
CURIOUS_TRIALS = 5
CURIOUS_PASSES = 2

MakeHead = Callable[[TrainingSettings], RankingHead]


def tune_head(
    make_head: MakeHead,
    batches: ExampleBatches,
    settings: TrainingSettings,
    trials: int,
    *,
    folder: Path | None = None,
    show: bool = False,
) -> tuple[TrainingSettings, TuningReport]:
    """Search for the settings with which a head ranks the tested users best.

    The first trial has the settings given, so that nothing worse is chosen. The others are drawn
    by a tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011), each with a seed of its
    own, so that a search that was interrupted ends as one that was not; a trial that is below the
    median of the others after a pass is given up.

    Parameters
    ----------
    make_head : callable
        Gives an untrained head of some settings.
    batches : ExampleBatches
        The examples, of one domain.
    settings : TrainingSettings
        Where to start; what is not searched for stays.
    trials : int
        How many, 1 or more.
    folder : Path, optional
        Where trials are kept; a search that was cut off goes on from there.
    show : bool
        Whether to show a bar.

    Returns
    -------
    settings : TrainingSettings
        The best.
    report : TuningReport
        What was tried.

    Raises
    ------
    MissingDependency
        If optuna is not installed.
    """
    require_optuna()
    from optuna.samplers import TPESampler

    study = _study(folder, settings)
    objective = _Objective(make_head, batches, settings)
    with progress_bar("tuning the head", trials, show=show) as advance:
        advance(len(_finished(study)))
        while (done := len(_finished(study))) < trials:
            study.sampler = TPESampler(seed=settings.seed + done)
            study.optimize(objective, n_trials=1)
            advance(1)
    report = _report(study)
    return replace(settings, **report.best), report


class _Objective:
    def __init__(
        self, make_head: MakeHead, batches: ExampleBatches, settings: TrainingSettings
    ) -> None:
        self.make_head, self.batches, self.settings = make_head, batches, settings

    def __call__(self, trial: optuna.Trial) -> float:
        """Train a head, and give its best score."""
        from optuna import TrialPruned

        scores: list[float] = []

        def report(number: int, result: EpochResult) -> None:
            scores.append(result.score)
            trial.report(result.score, number)
            if trial.should_prune():
                raise TrialPruned

        own = replace(self.settings, **_draw(trial))
        train_head(self.make_head(own).network, self.batches, own, on_epoch=report)
        return max(scores)


def _draw(trial: optuna.Trial) -> dict[str, Any]:
    """Draw what is searched for."""
    return {
        "loss": trial.suggest_categorical("loss", LOSSES),
        "rate": trial.suggest_float("rate", 2e-4, 1e-2, log=True),
        "decay": trial.suggest_float("decay", 1e-5, 1e-1, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "hidden": trial.suggest_categorical("hidden", (16, 32, 64, 128)),
        "members": trial.suggest_int("members", 1, 5),
    }


def _study(folder: Path | None, settings: TrainingSettings) -> optuna.Study:
    """Take up the search of a folder, or begin one."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name="head",
        storage=_journal(folder),
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(CURIOUS_TRIALS, CURIOUS_PASSES),
        load_if_exists=True,
    )
    states = optuna.trial.TrialState
    for cut_off in study.get_trials(states=(states.RUNNING,)):
        study.tell(cut_off.number, state=states.FAIL)
    if not _finished(study) and not study.get_trials(states=(states.WAITING,)):
        names = ("loss", "rate", "decay", "dropout", "hidden", "members")
        study.enqueue_trial({name: asdict(settings)[name] for name in names})
    return study


def _journal(folder: Path | None) -> optuna.storages.BaseStorage:
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
    """Refuse where optuna is not installed.

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
