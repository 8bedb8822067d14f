"""The driver of studies: asks Optuna for trials, submits their runs, reads their progress, prunes, tells."""

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, median

import optuna
from optuna.exceptions import OptunaError, UpdateFinishedTrialError
from optuna.trial import FixedTrial, TrialState
from rich.console import Console

from structpred.display import Overview, duration
from structpred.engine import Engine, Handle
from structpred.engine.progress import read_epochs
from structpred.engine.worker import Outcome, failed
from structpred.errors import Interrupted, RunError
from structpred.experiment import Experiment
from structpred.metrics import Metric
from structpred.results import RunResult
from structpred.runs import Folder, Run
from structpred.task import Task, loaded
from structpred.tuning.outcomes import STATES
from structpred.tuning.studies import Study
from structpred.tuning.trials import INTERRUPTED, REASON, RUN, SCORES, TrialQueue
from structpred.tuning.wording import number, short

ENOUGH = 4
"""Finished trials that it takes to call another one hopeless."""
LOOK = 0.3
"""Seconds between looks at the runs under way."""
SAVE = 10.0
"""Seconds between notes of the time that was spent."""


@dataclass
class PruningCallback:
    """Reports the dev metric after each epoch to the pruner, once.

    Attributes:
        trial: whose epochs they are.
        pruned: the epoch after which the pruner stopped the trial; 0 until then.
    """

    trial: optuna.Trial
    pruned: int = 0
    seen: set[int] = field(default_factory=set)

    def report(self, epochs: Mapping[int, float], *, prune: bool) -> None:
        """Report the epochs that are new.

        Args:
            epochs: the metric by epoch.
            prune: let the pruner judge them; replayed epochs were judged when they were trained.
        """
        for epoch, score in epochs.items():
            if self.pruned or epoch in self.seen or not math.isfinite(score):
                continue  # a pruned trial stands by the epoch that pruned it
            self.seen.add(epoch)
            self.trial.report(score, epoch)
            if prune and self.trial.should_prune():
                self.pruned = epoch


@dataclass
class ExecutionContext:
    """Where the runs of trials are trained.

    Attributes:
        engine: trains them.
        stopping: asked often; True ends the study, and each run under way with a checkpoint.
    """

    engine: Engine
    stopping: Callable[[], bool] = lambda: False
    _digest: tuple[Task, str] | None = None

    def submit(self, experiment: Experiment) -> Handle:
        """Queue the run of an experiment."""
        return self.engine.submit(experiment, self.folder(experiment))

    def folder(self, experiment: Experiment) -> Folder:
        """Where its run is, or will be."""
        if self._digest is None or self._digest[0] != experiment.task:
            self._digest = experiment.task, loaded(experiment.task).digest
        return Folder(self.engine.root / experiment.identity(self._digest[1])[:16])


class RunningTrial:
    """A trial under way: its runs, one seed after the other.

    Args:
        study: the trial's.
        queue: of the study's two, the trial's.
        trial: the trial.
        context: where runs are trained.
    """

    def __init__(self, study: Study, queue: TrialQueue, trial: optuna.Trial, context: ExecutionContext) -> None:
        self.study, self.queue, self.trial, self.context = study, queue, trial, context
        self.metric = study.metric
        self.scores: dict[int, float] = {}
        self.callback: PruningCallback | None = None
        self.handle: Handle | None = None
        self.began = time.monotonic()

    def begin(self, make: Callable[[], Experiment], seeds: Sequence[int], *, prune: bool) -> None:
        """Make the experiment and submit its first run.

        Args:
            make: the experiment; the seed is replaced.
            seeds: what it is run under.
            prune: report the first seed to the pruner, and leave later ones out where the first ones are hopeless.
        """
        try:
            self.experiment, self.seeds = make(), list(seeds)
            self.callback = PruningCallback(self.trial) if prune else None
            self._submit()
        except (OptunaError, OSError):  # the machine's trouble, not the trial's
            raise
        except Exception as error:  # noqa: BLE001 - the space is a user's code: the reason is kept
            self._end(failed(error, Folder(self.context.engine.root / "tracebacks")).failure)

    @property
    def name(self) -> str:
        """For people."""
        values = ", ".join(f"{short(field)} {number(value)}" for field, value in self.trial.params.items())
        return f"{self.trial.study.study_name} {self.trial.number}: {values}"

    def look(self) -> None:
        """Report the epochs of the first seed but its last one, and withdraw its run if the pruner says so."""
        if self.handle is not None and self._judged():
            assert self.callback is not None
            epochs = read_epochs(self.handle.folder, self.metric.name)
            last = max(epochs, default=0) if self.handle.folder.finished else self.experiment.trainer.epochs
            self.callback.report({epoch: score for epoch, score in epochs.items() if epoch < last}, prune=True)
            if self.callback.pruned and not self.handle.cancelled:
                self.context.engine.cancel(self.handle)

    def take(self, outcome: Outcome) -> None:
        """Take in how the present run ended, and submit the next one or end the trial."""
        assert self.handle is not None
        self.look()
        if self.callback is not None and self.callback.pruned:
            self._end(f"pruned after epoch {self.callback.pruned}", TrialState.PRUNED)
        elif outcome.machine:
            raise RunError(f"{outcome.failure}; finished trials are kept, and the same command goes on from here")
        elif outcome.failure:
            self._end(outcome.failure)
        else:
            self._score(result_of(self.handle))

    def _score(self, result: RunResult) -> None:
        if self._judged():
            assert self.callback is not None
            self.callback.report({e.epoch: e.dev[self.metric.name] for e in result.history}, prune=False)
        self.scores[self.seeds.pop(0)] = result.scores["dev"][self.metric.name]
        self.trial.set_user_attr(SCORES, {str(seed): score for seed, score in self.scores.items()})
        if not self.seeds:
            self._complete(fmean(self.scores.values()))
        elif self.callback is not None and hopeless(self.scores, self._others(), self.metric):
            count = len(self.scores)
            self._end(f"hopeless after {count} of {count + len(self.seeds)} seeds", TrialState.PRUNED)
        else:
            self._submit()

    def _submit(self) -> None:
        experiment = replace(self.experiment, seed=self.seeds[0])
        folder = self.context.folder(experiment)
        self.trial.set_user_attr(RUN, folder.path.name)
        if self._judged():
            assert self.callback is not None
            self.callback.report(read_epochs(folder, self.metric.name), prune=False)
        self.handle = self.context.submit(experiment)

    def _complete(self, value: float) -> None:
        if math.isfinite(value):
            self.queue.study.tell(self.trial, value, skip_if_finished=True)
            self.handle = None
        else:
            self._end(f"its dev metric is {value}")

    def _end(self, why: str, state: TrialState = TrialState.FAIL) -> None:
        self.queue.end(self.trial, state, why)
        self.handle = None

    def _judged(self) -> bool:
        return self.callback is not None and not self.scores

    def _others(self) -> list[dict[int, float]]:
        trials = self.queue.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return [{int(seed): score for seed, score in each.user_attrs.get(SCORES, {}).items()} for each in trials]


def result_of(handle: Handle) -> RunResult:
    """What a finished run came to."""
    return Run.load(handle.folder.path).result


def hopeless(found: Mapping[int, float], others: Sequence[Mapping[int, float]], metric: Metric) -> bool:
    """True where the scores found so far are on average worse than those of half of the others under the same seeds."""
    rivals = [fmean(other[seed] for seed in found) for other in others if found.keys() <= other.keys()]
    if len(rivals) < ENOUGH:
        return False
    mean, middle = fmean(found.values()), median(rivals)
    return mean < middle if metric.higher_is_better else mean > middle


class StudyRunner:
    """Runs studies until all of them are over, or the time is up.

    Args:
        studies: what to run, the first ones first; no other process may drive them.
        context: where.
        console: where progress is shown, if it is a terminal.
        lost: True once another driver has taken a study over.
    """

    def __init__(
        self,
        studies: Sequence[Study],
        context: ExecutionContext,
        console: Console,
        lost: Callable[[], bool] = lambda: False,
    ) -> None:
        self.studies, self.context, self.console, self.lost = studies, context, console, lost
        self.running: list[RunningTrial] = []
        self.seconds = {study.name: study.seconds() for study in studies}
        self._recovered: set[str] = set()
        self._now = self._saved = time.monotonic()

    def run(self, workers: int) -> None:
        """Run trials, at most ``workers`` at once.

        Raises:
            Interrupted: the context's ``stopping`` returned True; trials under way are put back.
            RunError: the machine failed, such as a full disk, or another driver has taken a study over.
            OptunaError: the storage failed; `structpred.tuning.storage.opened` makes a `RunError` of it.
        """
        for study in self.studies:
            self._queue(study)
        quiet = self.console if self.console.is_terminal else Console(quiet=True)
        with Overview(quiet, *self._counts()) as shown:
            try:
                self._drive(workers, shown)
            except BaseException:
                self._give_up()
                raise
            finally:
                self._note_time(always=True)

    def _drive(self, workers: int, shown: Overview) -> None:
        while self._start(workers, shown) or self.running:
            ended = self.context.engine.wait(LOOK)
            self._note_time()
            for trial in list(self.running):
                trial.look()
                for handle in ended:
                    if handle is trial.handle and handle.outcome is not None:
                        trial.take(handle.outcome)
                self._show(trial, shown)
            if self.context.stopping():
                raise Interrupted
            if self.lost():
                raise RunError("another command has taken the study over, because this one was silent for too long")

    def _start(self, workers: int, shown: Overview) -> bool:
        """Start trials while there is room for them; False where nothing was left to start."""
        while len(self.running) < workers and not self._late():
            started = next(filter(None, map(self._next, self.studies)), None)
            if started is None:
                return False
            self.running.append(started)
            self._show(started, shown)
        return bool(self.running)

    def _next(self, study: Study) -> RunningTrial | None:
        """The next trial of a study, begun; None where there is none at present."""
        queue = self._queue(study)
        trial = queue.ask()
        if trial is None:
            return None
        running = RunningTrial(study, queue, trial, self.context)
        if queue is study.main:
            running.begin(lambda: study.space(trial), study.search.seeds, prune=True)
        else:  # the trial that is run under one more seed, and the seed, are its parameters
            of = trial.suggest_int("trial", 0, 2**31)
            parameters = study.main.trials()[of].params
            seeds = [trial.suggest_int("seed", 0, 2**31)]
            running.begin(lambda: study.space(FixedTrial(parameters)), seeds, prune=False)
        return running

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

    def _counts(self) -> tuple[int, int]:
        """How many trials have ended, and how many there are to be in all."""
        ended = sum(each.state.is_finished() for study in self.studies for q in study.queues() for each in q.owned())
        return ended, sum(study.search.runs(len(study.main)) for study in self.studies)

    def _late(self) -> bool:
        limit = self.studies[0].search.timeout
        return limit is not None and sum(self.seconds.values()) >= limit

    def _note_time(self, *, always: bool = False) -> None:
        """Add the time since the last call to that of the studies, by this process's clock alone."""
        now = time.monotonic()
        if self.running:
            self.seconds[self.running[0].study.name] += now - self._now
        self._now = now
        if always or now - self._saved >= SAVE:
            self._saved = now
            with contextlib.suppress(OptunaError, OSError) if always else contextlib.nullcontext():
                for study in self.studies:
                    study.save_seconds(self.seconds[study.name])

    def _give_up(self) -> None:
        for trial in self.running:
            with contextlib.suppress(OptunaError, OSError, UpdateFinishedTrialError, ValueError):
                trial.queue.void(trial.trial, INTERRUPTED)
