"""The trials of a study as numbered slots, so that many processes share them out without losing or repeating one.

A study of n trials has the slots 0 to n − 1, and a trial carries its slot as an attribute. Trials are put into the
queue ahead of time, as waiting ones; taking one is atomic in every storage. A trial is void if its holder died or was
interrupted, or if two processes filled one slot at once; it is then a failed one with the reason in ``void``. The
owner of a slot is the first of its trials that is not void. Everything else follows from reading the storage:
a slot without an owner is filled again, with the parameters that were lost; a trial that finds it is not the owner
steps back. No step has to be atomic with another, so a process may die between any two.
"""

import contextlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from structpred.tuning.lease import Watch

SLOT, VOID, REASON, SCORES = "slot", "void", "reason", "scores"
"""Attributes of a trial: its slot, why it does not count, why it failed or was pruned, and the dev metric by seed."""
LOST, INTERRUPTED, SURPLUS = "its worker died", "interrupted", "another trial has its place"
TRIES = 5
"""So many workers in a row may die of one trial, none getting an epoch further, before it counts as failed."""


@dataclass(frozen=True)
class Slots:
    """What a study has to run.

    Attributes:
        study: where trials are kept.
        fixed: the parameters of each slot; an empty mapping leaves them to the sampler.
    """

    study: optuna.Study
    fixed: Sequence[Mapping[str, Any]]

    def __len__(self) -> int:
        return len(self.fixed)

    def trials(self) -> list[FrozenTrial]:
        """All trials of the study, void ones too."""
        return self.study.get_trials(deepcopy=False)

    def fill(self) -> None:
        """Put a waiting trial into every slot that has no owner."""
        owned = owners(self.trials())
        for slot in range(len(self)):
            if slot not in owned:
                self._put(slot)

    def _put(self, slot: int) -> None:
        """Fill a slot, unless somebody just has; what two do within an instant is sorted out when it is taken."""
        trials = self.trials()
        if slot in owners(trials):
            return
        lost = [params for trial in trials if trial.user_attrs.get(SLOT) == slot and (params := _parameters(trial))]
        parameters = lost[-1] if lost else dict(self.fixed[slot])
        fixed = {"fixed_params": parameters} if parameters else {}
        waiting = optuna.trial.create_trial(state=TrialState.WAITING, user_attrs={SLOT: slot}, system_attrs=fixed)
        self.study.add_trial(waiting)

    def put_back(self, watch: Watch) -> None:
        """Fail the trials of the dead, so that `fill` puts them back."""
        for trial in self.trials():
            if trial.state == TrialState.RUNNING and watch.dead(trial):
                self._bury(trial)

    def _bury(self, trial: FrozenTrial) -> None:
        slot = trial.user_attrs.get(SLOT)
        before = [each for each in self.trials() if each.user_attrs.get(SLOT) == slot and _void(each) == LOST]
        stuck = list(itertools.takewhile(lambda each: _reached(each) >= _reached(trial), reversed(before)))
        if len(stuck) + 1 < TRIES:
            self.void(trial._trial_id, LOST)
        else:
            self.fail(trial._trial_id, f"{TRIES} workers died while they ran it, perhaps for want of memory")

    def void(self, trial: int, why: str) -> None:
        """Give a trial up, so that its slot is filled again; nothing happens if it has ended."""
        self._fail(trial, VOID, why)

    def fail(self, trial: int, why: str) -> None:
        """End a trial as failed, with its reason; nothing happens if it has ended."""
        self._fail(trial, REASON, why)

    def _fail(self, trial: int, attribute: str, why: str) -> None:
        storage = self.study._storage
        with contextlib.suppress(UpdateFinishedTrialError):
            storage.set_trial_user_attr(trial, attribute, why)
            storage.set_trial_state_values(trial, TrialState.FAIL)

    def take(self) -> optuna.Trial | None:
        """Take a waiting trial, if there is one that this study has room for."""
        if not self.waiting():
            return None
        trial = self.study.ask()
        slot = trial.user_attrs.get(SLOT)
        if slot is not None and slot < len(self) and owners(self.trials()).get(slot) == trial.number:
            return trial
        self.void(trial._trial_id, SURPLUS)
        return None

    def waiting(self) -> bool:
        """True while there are trials to take."""
        return any(trial.state == TrialState.WAITING for trial in self.owned())

    def over(self) -> bool:
        """True once every slot's owner has ended."""
        own = self.owned()
        return len(own) == len(self) and all(trial.state.is_finished() for trial in own)

    def running(self) -> bool:
        """True while trials run, here or elsewhere."""
        return any(trial.state == TrialState.RUNNING for trial in self.owned())

    def sweep(self) -> None:
        """Take trials out of the queue that two processes put there at once."""
        trials = self.trials()
        own = set(owners(trials).values())
        for trial in trials:
            if trial.state == TrialState.WAITING and trial.number not in own:
                self.void(trial._trial_id, SURPLUS)

    def owned(self) -> list[FrozenTrial]:
        """The owners of the slots that have one."""
        trials = self.trials()
        found = owners(trials)
        return [trials[number] for slot, number in found.items() if slot < len(self)]


def owners(trials: Sequence[FrozenTrial]) -> dict[int, int]:
    """The number of the owner of each slot that has one."""
    found: dict[int, int] = {}
    for trial in trials:
        slot = trial.user_attrs.get(SLOT)
        if slot is not None and not _void(trial):
            found.setdefault(slot, trial.number)
    return found


def given_up(trials: Sequence[FrozenTrial]) -> int:
    """How many trials were put back because their worker died or was interrupted."""
    return sum(_void(trial) in (LOST, INTERRUPTED) for trial in trials)


def _void(trial: FrozenTrial) -> str:
    """Why a trial does not count; empty for one that does, such as one that ended well just before it was given up."""
    return str(trial.user_attrs.get(VOID, "")) if trial.state == TrialState.FAIL else ""


def _reached(trial: FrozenTrial) -> tuple[int, int]:
    """How far a trial came: seeds and epochs."""
    return len(trial.user_attrs.get(SCORES, ())), len(trial.intermediate_values)


def _parameters(trial: FrozenTrial) -> dict[str, Any]:
    """What a trial was, or was to be, run with."""
    fixed: dict[str, Any] = trial.system_attrs.get("fixed_params", {})
    return {**fixed, **trial.params}
