"""The driver of studies: asks Optuna for trials, submits their runs, reads their progress, prunes, tells."""

import contextlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean, median

import optuna
from optuna.exceptions import OptunaError, TrialPruned, UpdateFinishedTrialError
from optuna.trial import FixedTrial, TrialState
from rich.console import Console

from structpred.config import digest
from structpred.display import Overview, duration
from structpred.engine import Engine, Handle
from structpred.engine.coordination import read_epochs
from structpred.engine.worker import Outcome, failed
from structpred.errors import ConfigError, Interrupted, RunError
from structpred.metrics import Metric
from structpred.results import RunResult
from structpred.runs import Folder, Run
from structpred.task import loaded
from structpred.text import counted
from structpred.tuning.outcomes import STATES
from structpred.tuning.search import CheckedTrial, apart_from_seed, made
from structpred.tuning.studies import SECONDS, Study, scores_of
from structpred.tuning.summary import told
from structpred.tuning.trials import INTERRUPTED, MADE, REASON, RUN, SCORES, VOID, Ask, TrialQueue

ENOUGH = 4
"""Finished trials that it takes to call another one hopeless."""
LOOK, SAVE = 0.3, 10.0
"""Seconds between looks at the runs under way, and between notes of the time that was spent."""


class RunningTrial:
    """A trial under way: its runs, one seed after the other.

    The pruner sees the dev metric after each epoch of the first seed of a main trial, once.

    Args:
        study: the study of the trial.
        queue: one of the study's two, the trial's.
        trial: the trial.
        engine: trains the runs.
    """

    def __init__(self, study: Study, queue: TrialQueue, trial: optuna.Trial, engine: Engine) -> None:
        self.study, self.queue, self.trial, self.engine = study, queue, trial, engine
        self.handle: Handle | None = None
        self.began = time.monotonic()
        self._scores: dict[int, float] = {}
        self._reported: set[int] = set()
        self._pruned = 0
        """The epoch after which the pruner stopped the trial; 0 until then."""

    def begin(self) -> None:
        """Make the experiment and submit its first run; an exception of the space fails the trial."""
        try:
            if self.queue is self.study.main:
                asked = CheckedTrial(self.trial, self.study.parameters())
                self.experiment, self.seeds = made(self.study.space, asked), list(self.study.search.seeds)
                self.trial.set_user_attr(MADE, digest(apart_from_seed(self.experiment)))
            else:  # the parameters are the number of the main trial and one more seed
                main = self.study.main.trials()[self.trial.suggest_int("trial", 0, 2**31)]
                self.experiment = made(self.study.space, FixedTrial(main.params))
                self.seeds = [self.trial.suggest_int("seed", 0, 2**31)]
            self._submit()
        except TrialPruned as error:  # a space may judge a point without training
            self._end(failed(error, Folder(self.engine.root / "tracebacks")).failure)
        except (OptunaError, OSError):  # the machine's trouble, not the trial's
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the space is a user's code: the reason is kept
            self._end(failed(error, Folder(self.engine.root / "tracebacks")).failure)

    @property
    def name(self) -> str:
        """Study, number and parameters."""
        return f"{self.trial.study.study_name} {self.trial.number}: {told(self.trial.params)}"

    def look(self) -> None:
        """Report the epochs so far but the last one, and withdraw the run if the pruner says so."""
        if self.handle is not None and self.queue is self.study.main and not self._scores:
            epochs = read_epochs(self.handle.folder, self.study.metric)
            last = max(epochs, default=0) if self.handle.folder.finished else self.experiment.trainer.epochs
            self._report({epoch: score for epoch, score in epochs.items() if epoch < last}, prune=True)
            if self._pruned and not self.handle.cancelled:
                self.engine.cancel(self.handle)

    def take(self, outcome: Outcome) -> None:
        """Take in how the present run ended, and submit the next one or end the trial."""
        assert self.handle is not None
        self.look()
        if self._pruned:
            self._end(f"pruned after epoch {self._pruned}", TrialState.PRUNED)
        elif outcome.machine:
            raise RunError(f"{outcome.failure}; finished trials are kept, and the same command resumes from here")
        elif outcome.failure:
            self._end(outcome.failure)
        else:
            self._score(result_of(self.handle, self.study.metric))

    def _score(self, result: RunResult) -> None:
        metric, study, complete = self.study.metric, self.queue.study, (TrialState.COMPLETE,)
        self._report({e.epoch: e.dev[metric.name] for e in result.history if metric.name in e.dev}, prune=False)
        self._scores[self.seeds.pop(0)] = result.scores["dev"][metric.name]
        self.trial.set_user_attr(SCORES, {str(seed): score for seed, score in self._scores.items()})
        count, value = len(self._scores), fmean(self._scores.values())
        if not self.seeds and math.isfinite(value):
            study.tell(self.trial, value, skip_if_finished=True)
            self.handle = None
        elif not self.seeds:
            self._end(f"its dev metric is {value}")
        elif self.study.search.pruner != "none" and hopeless(
            self._scores, [*map(scores_of, study.get_trials(deepcopy=False, states=complete))], metric
        ):
            self._end(f"hopeless after {count} of {count + len(self.seeds)} seeds", TrialState.PRUNED)
        else:
            self._submit()

    def _submit(self) -> None:
        experiment = replace(self.experiment, seed=self.seeds[0])
        task, first = experiment.task, self.study.experiment.task
        splits = self.study.splits if task == first else loaded(task)
        if type(task) is not type(first) or len(splits.dev) != len(self.study.splits.dev):
            raise ConfigError(
                f"{type(task).__name__} with {counted(len(splits.dev), 'example')} in dev cannot be compared with the "
                f"study's {type(first).__name__} with {len(self.study.splits.dev)}; keep the dev data in all trials"
            )
        folder = Folder(self.engine.root / experiment.identity(splits.digest)[:16])
        self.trial.set_user_attr(RUN, folder.path.name)
        self._report(read_epochs(folder, self.study.metric), prune=False)  # judged when they were trained
        self.handle = self.engine.submit(experiment, folder)

    def _report(self, epochs: Mapping[int, float], *, prune: bool) -> None:
        """Report the epochs that are new, and let the pruner judge them or not."""
        for epoch, score in epochs.items():
            if self.queue is not self.study.main or self._scores or self._pruned:
                return  # a pruned trial stands by the epoch that pruned it
            if epoch not in self._reported and math.isfinite(score):
                self._reported.add(epoch)
                self.trial.report(score, epoch)
                self._pruned = epoch if prune and self.trial.should_prune() else 0

    def _end(self, why: str, state: TrialState = TrialState.FAIL) -> None:
        self.queue.end(self.trial, why, state)
        self.handle = None


def result_of(handle: Handle, metric: Metric) -> RunResult:
    """The result of a finished run, scored by a metric."""
    return Run.load(handle.folder.path).reported_by([metric]).result


def hopeless(scores: Mapping[int, float], others: Sequence[Mapping[int, float]], metric: Metric) -> bool:
    """True where the scores so far are on average worse than those of half of the others under the same seeds."""
    rivals = [fmean(other[seed] for seed in scores) for other in others if scores.keys() <= other.keys()]
    if len(rivals) < ENOUGH:
        return False
    mean, middle = fmean(scores.values()), median(rivals)
    return mean < middle if metric.higher_is_better else mean > middle


class StudyRunner:
    """Runs studies until all of them are over, or the time is up.

    Args:
        studies: the studies, run one after the other; no other process may drive them.
        engine: trains the runs.
        console: where progress is shown, if it is a terminal.
        stopping: asked often; True ends the studies, and each run under way with a checkpoint.
        lost: True once another driver has taken a study over.
    """

    def __init__(self, studies: Sequence[Study], engine: Engine, console: Console, stopping: Ask, lost: Ask) -> None:
        self.studies, self.engine, self.stopping, self.lost = studies, engine, stopping, lost
        self.console = console if console.is_terminal else Console(quiet=True)
        self.running: list[RunningTrial] = []
        self.seconds = {study.name: study.seconds() for study in studies}
        self._recovered: set[str] = set()
        self._now = self._saved = time.monotonic()

    def run(self, workers: int) -> None:
        """Run trials, at most ``workers`` at once.

        Raises:
            Interrupted: ``stopping`` returned True; trials under way are put back.
            RunError: the machine failed, such as a full disk, or another driver has taken a study over.
            OptunaError: the storage failed; `structpred.tuning.storage.opened` makes a `RunError` of it.
        """
        for study in self.studies:
            self._queue(study)
        owned = [trial for study in self.studies for queue in study.queues() for trial in queue.owned()]
        ended = sum(trial.state.is_finished() for trial in owned)
        rules, counts = self.studies[0].search, [len(study.main) for study in self.studies]
        total = sum(count + min(rules.finalists, count) * rules.more_seeds for count in counts)
        with Overview(self.console, ended, total) as shown:
            try:
                while self._start(workers, shown) or self.running:
                    self._look(shown)
            except BaseException:
                for trial in self.running:
                    with contextlib.suppress(OptunaError, OSError, UpdateFinishedTrialError, ValueError):
                        trial.queue.end(trial.trial, INTERRUPTED, attribute=VOID)
                raise
            finally:
                with contextlib.suppress(OptunaError, OSError):
                    self._count_seconds(save=True)

    def _look(self, shown: Overview) -> None:
        """Look at every trial under way once."""
        ended = self.engine.wait(LOOK)
        self._count_seconds(save=time.monotonic() - self._saved >= SAVE)
        for trial in list(self.running):
            trial.look()
            if trial.handle in ended and trial.handle is not None and trial.handle.outcome is not None:
                trial.take(trial.handle.outcome)
            self._show(trial, shown)
        if self.stopping():
            raise Interrupted
        if self.lost():
            raise RunError("another command has taken the study over, because this one was silent for too long")

    def _start(self, workers: int, shown: Overview) -> bool:
        """Start trials while there is room for them; False where nothing was left to start."""
        limit = self.studies[0].search.timeout
        while len(self.running) < workers and (limit is None or sum(self.seconds.values()) < limit):
            queues = ((study, self._queue(study)) for study in self.studies)
            asked = ((study, queue, trial) for study, queue in queues if (trial := queue.ask()) is not None)
            if (found := next(asked, None)) is None:
                return False
            started = RunningTrial(*found, self.engine)
            started.begin()
            self.running.append(started)
            self._show(started, shown)
        return bool(self.running)

    def _queue(self, study: Study) -> TrialQueue:
        """The study's trials; once they are over, its finalists under more seeds."""
        queue = study.queues()[-1]
        if queue.study.study_name not in self._recovered:
            self._recovered.add(queue.study.study_name)
            queue.recover()
        return queue

    def _show(self, trial: RunningTrial, shown: Overview) -> None:
        """Show where a trial stands; one that has ended is no longer running."""
        if trial.handle is not None:
            progress = trial.handle.progress()
            shown.update({} if progress is None else {trial.name: progress})
            return
        self.running.remove(trial)
        seconds = time.monotonic() - trial.began
        frozen = trial.queue.trials()[trial.trial.number]
        line = f"{STATES[frozen.state]}, {frozen.user_attrs.get(REASON, '')}"
        if frozen.state == TrialState.COMPLETE and frozen.value is not None:
            line = f"dev {frozen.value:.2f} after {duration(seconds)}"
        shown.end(trial.name, f"{trial.name}: {line}", seconds=seconds)

    def _count_seconds(self, *, save: bool) -> None:
        """Add the time since the last call to the seconds of the study under way, by this process's clock alone."""
        now = time.monotonic()
        if self.running:
            self.seconds[self.running[0].study.name] += now - self._now
        self._now = now
        if save:
            self._saved = now
            for study in self.studies:
                study.main.study.set_user_attr(SECONDS, self.seconds[study.name])
