"""The trials of a study as numbered slots, so that none is lost or run twice whenever its driver dies.

A study of n trials has the slots 0 to n − 1, and each trial carries its slot as an attribute. A slot is owned by the
first of its trials that counts. A trial does not count if its driver gave it up (it then has the attribute ``void``),
or if another trial was put in its place after its driver had died (which then names it in ``replaces``).
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from structpred.engine.driver import TRIES

SLOT, REPLACES, VOID, REASON, SCORES, RUN = "slot", "replaces", "void", "reason", "scores", "run"
"""Attributes of a trial: its slot, whose place it takes, why it does not count, why it failed or was pruned, the dev
metric by seed, and the folder of its latest run."""
LOST, INTERRUPTED, SURPLUS = "its worker died", "interrupted", "another trial has its place"
"""Values of ``void``; `LOST` only in studies of earlier versions."""
DIED = f"{TRIES} commands died while they ran it, perhaps for want of memory"
"""Why a trial failed that has no reason of its own: nobody was left to write it."""


@dataclass(frozen=True)
class TrialQueue:
    """The trials of a study that one driver runs.

    Attributes:
        study: where trials are kept.
        fixed: the parameters of each slot; an empty mapping leaves them to the sampler.
    """

    study: optuna.Study
    fixed: Sequence[Mapping[str, Any]]

    def __len__(self) -> int:
        return len(self.fixed)

    def trials(self) -> list[FrozenTrial]:
        """All trials of the study, also those that do not count."""
        return self.study.get_trials(deepcopy=False)

    def owned(self) -> list[FrozenTrial]:
        """The owners of the slots that have one."""
        trials = self.trials()
        return [trials[number] for slot, number in owners(trials).items() if slot < len(self)]

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
                self.study.tell(trial.number, state=TrialState.FAIL)  # last: whoever dies before it is recovered again

    def ask(self) -> optuna.Trial | None:
        """The next trial, now running; None where every slot has an owner that runs or has ended."""
        while True:
            trials = self.trials()
            owned = owners(trials)
            waiting = any(trials[n].state == TrialState.WAITING for slot, n in owned.items() if slot < len(self))
            free = next((slot for slot in range(len(self)) if slot not in owned), None)
            if not waiting:
                if free is None:
                    return None
                self._enqueue(free)
            trial = self.study.ask()
            slot = trial.user_attrs.get(SLOT, len(self))
            if slot < len(self) and owners(self.trials()).get(slot) == trial.number:
                return trial
            self.void(trial, SURPLUS)  # of a larger search, which will fill the slot again, or somebody else's

    def void(self, trial: optuna.Trial, why: str) -> None:
        """Give a running trial up, so that its slot is filled again."""
        trial.set_user_attr(VOID, why)
        self.study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)

    def end(self, trial: optuna.Trial, state: TrialState, why: str) -> None:
        """End a running trial as failed or pruned, with the reason."""
        trial.set_user_attr(REASON, why)
        self.study.tell(trial, state=state, skip_if_finished=True)

    def _enqueue(self, slot: int, attributes: Mapping[str, Any] | None = None) -> None:
        """Queue a trial for a slot, with the parameters of the last one that had it, if any."""
        lost = [trial.params for trial in self.trials() if trial.user_attrs.get(SLOT) == slot and trial.params]
        parameters = lost[-1] if lost else dict(self.fixed[slot] if slot < len(self) else {})
        self.study.enqueue_trial(parameters, user_attrs={SLOT: slot, **(attributes or {})})


def owners(trials: Sequence[FrozenTrial]) -> dict[int, int]:
    """The number of the owner of each slot that has one."""
    replaced, found = _replaced(trials), dict[int, int]()
    for trial in trials:
        slot = trial.user_attrs.get(SLOT)
        if slot is not None and not _void(trial) and trial.number not in replaced:
            found.setdefault(slot, trial.number)
    return found


def given_up(trials: Sequence[FrozenTrial]) -> int:
    """How many trials were put back because their worker or driver died or was interrupted."""
    return len(_replaced(trials)) + sum(_void(trial) in (LOST, INTERRUPTED) for trial in trials)


def _replaced(trials: Sequence[FrozenTrial]) -> set[int]:
    """The numbers of the trials that another one replaces."""
    numbers = {trial.user_attrs.get(REPLACES) for trial in trials}
    given_up = (TrialState.RUNNING, TrialState.FAIL)  # its driver may have been asleep and have ended it well after all
    return {trial.number for trial in trials if trial.number in numbers and trial.state in given_up}


def _void(trial: FrozenTrial) -> str:
    """Why a trial was given up; empty for one that was not, or that ended well just before."""
    return str(trial.user_attrs.get(VOID, "")) if trial.state == TrialState.FAIL else ""


def _is_stuck(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> bool:
    """True once `TRIES` drivers in a row have died of the same point, none an epoch further than the one before."""
    lost = _replaced(trials)
    before = [each for each in trials if each.number in lost or _void(each) == LOST]
    mine = [each for each in before if each.user_attrs.get(SLOT) == trial.user_attrs.get(SLOT)]
    stuck = itertools.takewhile(lambda each: _reached(each) >= _reached(trial), reversed(mine))
    return len(list(stuck)) + 1 >= TRIES


def _reached(trial: FrozenTrial) -> tuple[int, int]:
    """How far a trial came: seeds and epochs."""
    return len(trial.user_attrs.get(SCORES, ())), len(trial.intermediate_values)
