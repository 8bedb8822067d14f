"""How far studies have come, for people at a terminal."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from structpred.display import Overview, duration
from structpred.engine.progress import read_progress
from structpred.runs import Folder
from structpred.tuning.evaluation import RUN
from structpred.tuning.outcomes import STATES
from structpred.tuning.slots import REASON, Slots
from structpred.tuning.studies import Study
from structpred.tuning.wording import number, short

EVERY = 0.5
"""Seconds between looks at the storage."""


class Board:
    """Bars on a terminal; nothing elsewhere.

    Args:
        studies: what is run.
        root: the folder of run folders.
        console: where it is shown.
    """

    def __init__(self, studies: Sequence[Study], root: Path, console: Console) -> None:
        self.studies, self.root = studies, root
        self.shows = console.is_terminal
        self._console, self._stack = console, ExitStack()
        self._last = 0.0
        self._told: set[tuple[str, int]] = set()

    def __enter__(self) -> "Board":
        if self.shows:
            self._told = {_key(slots, trial) for slots, trial in self._trials() if trial.state.is_finished()}
            total = sum(study.search.runs(len(study.main)) for study in self.studies)
            self._overview = self._stack.enter_context(Overview(self._console, len(self._told), total))
        return self

    def __exit__(self, kind: object, *details: object) -> None:
        if kind is None:
            self._last = 0.0
            self.refresh()
        self._stack.close()

    def refresh(self) -> None:
        """Show where things stand, at most twice a second."""
        now = time.monotonic()
        if not self.shows or now - self._last < EVERY:
            return
        self._last = now
        for slots, trial in self._trials():
            self._look(slots, trial)

    def _trials(self) -> Iterator[tuple[Slots, FrozenTrial]]:
        for study in self.studies:
            for slots in study.queues():
                for trial in slots.owned():
                    yield slots, trial

    def _look(self, slots: Slots, trial: FrozenTrial) -> None:
        key, name = _key(slots, trial), _name(slots, trial)
        if trial.state == TrialState.RUNNING and RUN in trial.user_attrs:
            progress = read_progress(Folder(self.root / trial.user_attrs[RUN]))
            if progress is not None:
                self._overview.update({name: progress})
        elif trial.state.is_finished() and key not in self._told:
            self._told.add(key)
            taken = None if trial.duration is None else trial.duration.total_seconds()
            self._overview.end(name, f"{name}: {_line(trial)}", seconds=taken)


def _key(slots: Slots, trial: FrozenTrial) -> tuple[str, int]:
    return slots.study.study_name, trial.number


def _name(slots: Slots, trial: FrozenTrial) -> str:
    values = ", ".join(f"{short(field)} {number(value)}" for field, value in trial.params.items())
    return f"{slots.study.study_name} {trial.number}: {values}"


def _line(trial: FrozenTrial) -> str:
    if trial.state != TrialState.COMPLETE or trial.value is None:
        return f"{STATES[trial.state]}, {trial.user_attrs.get(REASON, 'without a reason')}"
    assert trial.duration is not None
    return f"dev {trial.value:.2f} after {duration(trial.duration.total_seconds())}"
