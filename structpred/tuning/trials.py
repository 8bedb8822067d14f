"""The trials of a study as numbered slots, each run once whoever dies, and the claim of a study by one driver.

A study of n trials has the slots 0 to n − 1, and each trial carries its slot as an attribute. A slot is owned by the
first of its trials that counts. A trial does not count if its driver gave it up (it then has the attribute ``void``),
or if another trial was put in its place after its driver had died (which then names it in ``replaces``).

A study has one driver at a time: it holds a file lock where studies are kept in a file, else a claim in the attributes
of the study.
"""

import contextlib
import functools
import hashlib
import itertools
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.exceptions import OptunaError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from structpred.engine.driver import TRIES
from structpred.errors import Interrupted
from structpred.tuning.search import Search, sampler_for
from structpred.tuning.storage import file_of

SLOT, POINT, MADE, RUN, WAY = "slot", "point", "experiment", "run", "way"
"""Attributes of a trial: its slot, the parameters that it was given, the digest of the experiment that the space made
of its parameters, the folder of its latest run, and `Search.way` of the command that queued it."""
REPLACES, VOID, REASON, SCORES = "replaces", "void", "reason", "scores"
"""More of them: the number of the trial it replaces, why it does not count, why it failed or was pruned, and the dev
metric by seed."""
LOST, INTERRUPTED, SURPLUS = "its worker died", "interrupted", "another trial has its place"
"""Values of ``void``; `LOST` only in studies of earlier versions."""
DIED = f"{TRIES} commands died while they ran it, perhaps for want of memory"
"""The reason of a failed trial whose drivers all died before they could write one."""


@dataclass(frozen=True)
class TrialQueue:
    """The trials of a study, as its driver runs them.

    Attributes:
        study: holds the trials.
        search: decides how parameters are sampled.
        fixed: the parameters of each slot; an empty mapping leaves them to the sampler.
    """

    study: optuna.Study
    search: Search
    fixed: Mapping[int, Mapping[str, Any]]

    def __len__(self) -> int:
        return len(self.fixed)

    def trials(self) -> list[FrozenTrial]:
        """All trials of the study, also those that do not count."""
        return self.study.get_trials(deepcopy=False)

    def owned(self) -> list[FrozenTrial]:
        """The owners of the slots that have one, in the order of the slots."""
        return [trial for slot, trial in owners(self.trials()).items() if slot in self.fixed]

    def over(self) -> bool:
        """True once the owner of every slot has ended."""
        owned = self.owned()
        return len(owned) == len(self) and all(trial.state.is_finished() for trial in owned)

    def recover(self) -> None:
        """Put back the trials that a dead driver left running, with their parameters; one that kills drivers fails."""
        trials = self.trials()
        replaced = {trial.user_attrs.get(REPLACES) for trial in trials}
        for trial in trials:
            slot = trial.user_attrs.get(SLOT)
            if trial.state == TrialState.RUNNING and slot is not None:
                if trial.number not in replaced and not _is_stuck(trial, trials):
                    self._enqueue(slot, {REPLACES: trial.number})
                # last, so that a driver that dies before it leaves a trial that is recovered again
                self.study.tell(trial.number, state=TrialState.FAIL)

    def ask(self) -> optuna.Trial | None:
        """The next trial, now running; None where every slot has an owner that runs or has ended."""
        while True:
            if not any(trial.state == TrialState.WAITING for trial in self.owned()):
                free = self.fixed.keys() - owners(self.trials()).keys()
                if not free:
                    return None
                self._enqueue(min(free))
            waiting = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
            self.study.sampler = sampler_for(self.search, waiting[0].user_attrs.get(SLOT, 0))  # the first one is next
            trial = self.study.ask()
            if any(owner.number == trial.number for owner in self.owned()):
                return trial
            # left by a larger search, which will fill the slot again, or not ours at all
            self.end(trial, SURPLUS, attribute=VOID)

    def end(self, trial: optuna.Trial, why: str, state: TrialState = TrialState.FAIL, attribute: str = REASON) -> None:
        """End a running trial as failed or pruned, with the reason; as `VOID` it frees its slot for another trial."""
        trial.set_user_attr(attribute, why)
        self.study.tell(trial, state=state, skip_if_finished=True)

    def _enqueue(self, slot: int, attributes: Mapping[str, Any] | None = None) -> None:
        """Queue a trial for a slot, with the parameters of the last one that had it, if any."""
        point = dict(self.fixed.get(slot, {}))
        lost = [trial.params for trial in self.trials() if trial.user_attrs.get(SLOT) == slot and trial.params]
        parameters = lost[-1] if lost and _agrees(lost[-1], point) else point
        given = {POINT: point} if point else {}
        queued = {SLOT: slot, WAY: self.search.way, **given, **(attributes or {})}
        self.study.enqueue_trial(parameters, user_attrs=queued)


def placed(points: Sequence[Mapping[str, Any]], trials: Sequence[FrozenTrial]) -> dict[int, Mapping[str, Any]]:
    """A slot for each of some points: the one that has run it already, else one that no trial owns.

    Points change from command to command: a grid gets finer, and with more trials others become finalists.

    Args:
        points: parameters, each mapping once.
        trials: those of the study.
    """
    owned, left, slots = owners(trials), list(points), dict[int, Mapping[str, Any]]()
    for slot, trial in owned.items():
        ran = trial.user_attrs.get(POINT) or trial.params
        if (same := next((point for point in left if ran and _agrees(ran, point)), None)) is not None:
            slots[slot] = same
            left.remove(same)
    free = (slot for slot in itertools.count() if slot not in owned)
    return dict(sorted((slots | dict(zip(free, left, strict=False))).items()))


def _agrees(parameters: Mapping[str, Any], point: Mapping[str, Any]) -> bool:
    """Whether parameters are those of a point, as far as the trial has asked for them."""
    return all(parameters[name] == value for name, value in point.items() if name in parameters)


def owners(trials: Sequence[FrozenTrial]) -> dict[int, FrozenTrial]:
    """The owner of each slot that has one, in the order of the slots."""
    replaced, found = _replaced(trials), dict[int, FrozenTrial]()
    for trial in trials:
        slot = trial.user_attrs.get(SLOT)
        if slot is not None and not _void(trial) and trial.number not in replaced:
            found.setdefault(slot, trial)
    return {slot: found[slot] for slot in sorted(found)}


def given_up(trials: Sequence[FrozenTrial]) -> int:
    """How many trials were put back because their worker or driver died or was interrupted."""
    return len(_replaced(trials)) + sum(_void(trial) in (LOST, INTERRUPTED) for trial in trials)


def _replaced(trials: Sequence[FrozenTrial]) -> set[int]:
    """The numbers of the trials that another one replaces."""
    numbers = {trial.user_attrs.get(REPLACES) for trial in trials}
    lost = (TrialState.RUNNING, TrialState.FAIL)  # a driver that was only asleep may have completed it after all
    return {trial.number for trial in trials if trial.number in numbers and trial.state in lost}


def _void(trial: FrozenTrial) -> str:
    """Why a trial was given up; empty for one that was not, or that completed just before."""
    return str(trial.user_attrs.get(VOID, "")) if trial.state == TrialState.FAIL else ""


def _is_stuck(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> bool:
    """True once `TRIES` drivers in a row have died of the same point without training an epoch further."""
    lost = _replaced(trials)
    before = [other for other in trials if other.number in lost or _void(other) == LOST]
    mine = [other for other in before if other.user_attrs.get(SLOT) == trial.user_attrs.get(SLOT)]
    no_further = itertools.takewhile(lambda other: _reached(other) >= _reached(trial), reversed(mine))
    return len(list(no_further)) + 1 >= TRIES


def _reached(trial: FrozenTrial) -> tuple[int, int]:
    """How far a trial came: seeds and epochs."""
    return len(trial.user_attrs.get(SCORES, ())), len(trial.intermediate_values)


CLAIM = "driver"
"""The attribute of a study: ``{"id": …, "who": …, "beat": …}``; None once its driver has ended."""
POLL, SETTLE = 0.5, 1.0
"""Seconds between looks at a study that another command drives; and seconds after which a claim is read back."""
Ask = Callable[[], bool]
Say = Callable[[str], None]
RENEWALS = 6
"""A claim is renewed this often in the time of silence after which another driver takes it over."""


@contextmanager
def claimed(
    place: str, storage: BaseStorage, studies: Sequence[optuna.Study], silence: float, *, waiting: Say, stopping: Ask
) -> Iterator[Ask]:
    """Drive some studies alone for the time of a block; waits while another command drives one of them.

    Args:
        place: path or URL of the storage.
        storage: the same, opened.
        studies: the studies.
        silence: seconds without a renewal after which the driver of a study in a database counts as dead; the lock of a
            file is released by the OS at once.
        waiting: called with a sentence, once for each driver that has to be waited for.
        stopping: asked while waiting.

    Yields:
        A function that returns True once another driver has taken one of the studies over.

    Raises:
        Interrupted: ``stopping`` returned True.
    """
    file, say = file_of(place), functools.cache(waiting)

    def wait(name: str, where: str) -> None:
        say(
            f"another command drives the study {name!r} in {where}; waiting until it has ended: a study has one driver "
            "at a time. Ctrl-C stops this one; to use more machines, give the other one a cluster"
        )
        if stopping():
            raise Interrupted
        time.sleep(POLL)

    claims = []
    with ExitStack() as held:
        for study in sorted(studies, key=lambda each: each.study_name):  # in one order, or two would wait in a circle
            waits = functools.partial(wait, study.study_name)
            if file is None:
                claims.append(Claim(study, silence))
                held.enter_context(claims[-1].held(storage, waits))
            else:
                held.enter_context(_locked(file, study.study_name, waits))
        yield lambda: any(claim.lost for claim in claims)


@contextmanager
def _locked(file: Path, name: str, wait: Say) -> Iterator[None]:
    """Hold the lock of a study in a file; the OS releases it even on kill -9."""
    path = file.with_name(f".{file.name}.{hashlib.sha256(name.encode()).hexdigest()[:8]}.lock")
    lock = FileLock(path)
    while not lock.is_locked:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            wait(str(file))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows keeps an open file
            path.unlink()
        lock.release()


class Claim:
    """A claim on a study in a database, which has no locks that outlive a transaction.

    Attributes:
        lost: another driver has taken the study over, because this one was silent for too long.
    """

    def __init__(self, study: optuna.Study, silence: float) -> None:
        self.study, self.silence, self.lost = study, silence, False
        self._id, self._beat = uuid.uuid4().hex, 0

    @contextmanager
    def held(self, storage: BaseStorage, wait: Say) -> Iterator[None]:
        """Hold the claim for the time of a block, renewed by a thread: reading data may take longer than it lasts."""
        self.acquire(wait)
        ended = threading.Event()

        def renew() -> None:
            while not ended.wait(self.silence / RENEWALS):
                self.renew()
            storage.remove_session()  # this thread's connection

        thread = threading.Thread(target=renew, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self.release()

    def acquire(self, wait: Say) -> None:
        """Wait until there is no other holder, or it has been silent for too long by this process's own clock."""
        seen, since = self._stored(), time.monotonic()
        while True:
            stored = self._stored()
            if stored != seen:
                seen, since = stored, time.monotonic()
            if not stored or time.monotonic() - since > self.silence:
                self._write()
                time.sleep(SETTLE)  # of two that write at once, the last one has it
                if self._mine():
                    return
            wait(f"process {stored.get('who', 'unknown')}, the same storage")

    def renew(self) -> None:
        """Show that this driver is alive; a storage that cannot be reached for a while is tried again the next time."""
        with contextlib.suppress(OptunaError, OSError):
            if self._mine():
                self._write()
            else:
                self.lost = True

    def release(self) -> None:
        """Let the next driver have it."""
        with contextlib.suppress(OptunaError, OSError):
            if self._mine():
                self.study.set_user_attr(CLAIM, None)

    def _write(self) -> None:
        self._beat += 1
        who = f"{os.getpid()} on {platform.node()}"
        self.study.set_user_attr(CLAIM, {"id": self._id, "who": who, "beat": self._beat})

    def _stored(self) -> dict[str, object]:
        return self.study.user_attrs.get(CLAIM) or {}

    def _mine(self) -> bool:
        return self._stored().get("id") == self._id
