"""Workers: each takes trials of several studies until all of them are over, whoever else is at them."""

import contextlib
import math
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import optuna
import torch
from optuna.exceptions import OptunaError
from optuna.trial import FrozenTrial, TrialState

from structpred.errors import CodeError, Interrupted, StructpredError
from structpred.files import write_atomically
from structpred.tuning.evaluation import RUN, Evaluate, MeanOverSeeds, OneMoreSeed, Place
from structpred.tuning.lease import LEASE, Lease, Watch
from structpred.tuning.slots import INTERRUPTED, Slots
from structpred.tuning.studies import Study

IDLE = 0.3
"""Seconds between looks at trials that others run."""


def work(studies: Sequence[Study], place: Place, lease: float) -> None:
    """Run trials until every study is over, or its time is up.

    Args:
        studies: what to run, the first ones first.
        place: where, and until when.
        lease: seconds of silence after which another worker counts as dead.

    Raises:
        Interrupted: ``place.stopping`` said so; the trial under way is put back.
        OptunaError: the storage fails; `structpred.tuning.storage.opened` says it as a `RunError`.
        OSError: the disk fails.
    """
    lines = [Line(study, studies, lease) for study in studies]
    while not place.stopping():
        if any(line.step(place) for line in lines):
            continue
        if all(line.queue() is None for line in lines):
            return
        time.sleep(IDLE)
    raise Interrupted


class Line:
    """The queues of one study, one after the other: its trials, then its finalists under more seeds."""

    def __init__(self, study: Study, all_studies: Sequence[Study], lease: float) -> None:
        self.study, self.all_studies, self.lease = study, all_studies, lease
        self.main = Queue(study.main, MeanOverSeeds(study.space, study.search.seeds), lease)
        self.more: Queue | None = None

    def step(self, place: Place) -> bool:
        """Run one trial, if there is one to take."""
        queue = self.queue()
        return queue is not None and queue.step(place, self._late())

    def queue(self) -> "Queue | None":
        """The queue whose turn it is; None once all is over."""
        late = self._late()
        if not self.main.over(late):
            return self.main
        if not self.study.search.finalists or not self.study.main.over():
            return None
        if self.more is None:
            parameters = {trial.number: trial.params for trial in self.study.finalists()}
            self.more = Queue(self.study.more, OneMoreSeed(self.study.space, parameters), self.lease)
        return None if self.more.over(late) else self.more

    def _late(self) -> bool:
        limit = self.study.search.timeout
        if limit is None:
            return False
        trials = [trial for study in self.all_studies for slots in study.queues() for trial in slots.trials()]
        return worked(trials) >= limit


@dataclass
class Queue:
    """Slots, what their trials are worth, and a watch over those that others run."""

    slots: Slots
    evaluate: Evaluate
    lease: float

    def __post_init__(self) -> None:
        self.watch = Watch(self.lease)

    def over(self, late: bool) -> bool:
        """True once all trials have ended; where time is up, once none runs."""
        if self.slots.over():
            self.slots.sweep()
            return True
        self.slots.put_back(self.watch)
        return late and not self.slots.running()

    def step(self, place: Place, late: bool) -> bool:
        """Run one trial, if there is one to take and time left."""
        self.slots.put_back(self.watch)
        if late:
            return False
        self.slots.fill()
        trial = self.slots.take()
        if trial is None:
            return False
        lease = Lease(self.slots.study._storage, trial._trial_id, self.lease)
        with lease.held():
            self._run(trial, place, lease)
        return True

    def _run(self, trial: optuna.Trial, place: Place, lease: Lease) -> None:
        slots, number = self.slots, trial._trial_id
        try:
            value = self.evaluate(trial, replace(place, stopping=lambda: place.stopping() or lease.lost.is_set()))
        except optuna.TrialPruned:
            slots.study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)
        except Interrupted:
            slots.void(number, INTERRUPTED)
            if not lease.lost.is_set():
                raise
        except (OSError, OptunaError):  # the machine's trouble, not the trial's
            with contextlib.suppress(OptunaError, OSError):
                slots.void(number, INTERRUPTED)
            raise
        except Exception as error:  # noqa: BLE001 - the reason is kept, and other trials may be well
            slots.fail(number, _reason(error, trial, place.root))
        except BaseException:
            slots.void(number, INTERRUPTED)
            raise
        else:
            if math.isfinite(value):
                slots.study.tell(trial, value, skip_if_finished=True)
            else:
                slots.fail(number, f"its dev metric is {value}")
        place.told()


def _reason(error: Exception, trial: optuna.Trial, root: Path) -> str:
    """Why a trial failed, on one line."""
    said = " ".join(str(error).split())
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return f"out of memory: {said[:200]}" if said else "out of memory"
    known = isinstance(error, StructpredError) and not isinstance(error, CodeError)
    return said if known else _mistake_in_code(error, trial, root)


def _mistake_in_code(error: Exception, trial: optuna.Trial, root: Path) -> str:
    """A component failed in a way nobody foresaw: its author needs the traceback."""
    folder = root / str(trial.user_attrs.get(RUN, "tracebacks"))
    folder.mkdir(parents=True, exist_ok=True)
    place = write_atomically(folder / "traceback.txt", "".join(traceback.format_exception(error)))
    what = "" if isinstance(error, CodeError) else f"{type(error).__name__}: "
    return f"{what}{' '.join(str(error).split())} (traceback in {place})"


def worked(trials: Sequence[FrozenTrial]) -> float:
    """Seconds during which at least one worker was at work, over all restarts."""
    spans = sorted((trial.datetime_start, _end(trial)) for trial in trials if trial.datetime_start is not None)
    total, reached = 0.0, datetime.min
    for start, end in spans:
        total += max((end - max(start, reached)).total_seconds(), 0.0)
        reached = max(reached, end)
    return total


def _end(trial: FrozenTrial) -> datetime:
    """When a trial ended; for one that runs or whose worker died, the last sign of life."""
    assert trial.datetime_start is not None
    alive = trial.user_attrs.get(LEASE, {}).get("at")
    if alive is None or (trial.state.is_finished() and trial.state != TrialState.FAIL):
        return trial.datetime_complete or trial.datetime_start
    return datetime.fromtimestamp(alive)
