"""A study that takes seconds, and a process that runs it by worker processes."""

import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from structpred import Experiment, Trainer, tune
from structpred.distributions.protocols import LogProb
from structpred.models import Seq2Seq
from structpred.objective import Losses, Objective, StepContext
from structpred.objectives import RML, MaximumLikelihood
from structpred.payoffs import EditDistancePayoff, Temperature
from structpred.registry import objectives
from structpred.sequences import Sequences
from structpred.training import Adam
from structpred.tuning import Suggest
from tests.support.forked import forks, hear_ctrl_c
from tests.support.tiny import Copying

TINY = Experiment(
    task=Copying(),
    model=Seq2Seq(embedding=4, hidden=8, dropout=0.0),
    objective=MaximumLikelihood(),
    optimiser=Adam(lr=0.03),
    trainer=Trainer(epochs=2, batch_tokens=40),
)
TEMPERED = replace(TINY, objective=RML(payoff=EditDistancePayoff(temperature=Temperature(edit_rate=0.1))))


def rate(trial: Suggest) -> Experiment:
    """The learning rate of a tiny experiment."""
    return replace(TINY, optimiser=Adam(lr=trial.suggest_float("lr", 1e-3, 0.3, log=True)))


def longer(trial: Suggest) -> Experiment:
    """The same, long enough for somebody to be killed meanwhile."""
    return replace(rate(trial), trainer=Trainer(epochs=15, batch_tokens=40))


def lasting(trial: Suggest) -> Experiment:
    """The same, long enough for another command to start meanwhile."""
    return replace(rate(trial), trainer=Trainer(epochs=40, batch_tokens=40))


def longest(trial: Suggest) -> Experiment:
    """The same, too long to end before somebody looks."""
    return replace(rate(trial), trainer=Trainer(epochs=2000, batch_tokens=40))


OPTIONS: dict[str, Any] = {"finalists": 0, "pruner": "none", "workers": 2, "lease": 6}


@dataclass(frozen=True)
class Driver:
    """A process that tunes.

    Attributes:
        process: the process.
        errors: what it says on its standard error.
    """

    process: ForkServerProcess
    errors: Path

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def ended(self, patience: float) -> int | None:
        """Its status; None where it has not ended after that many seconds."""
        self.process.join(patience)
        return self.process.exitcode

    def said(self) -> str:
        """What it has said so far."""
        return self.errors.read_text(encoding="utf-8")


def start(folder: Path, storage: str, trials: int, space: Callable[[Suggest], Experiment] = longer) -> Driver:
    """A driver in a process of its own, with two workers.

    It is forked from a process that has imported everything, which a new interpreter would take seconds for.
    """
    errors = folder / f"errors-{len(list(folder.glob('errors-*')))}"
    errors.touch()
    process = forks(__name__).Process(target=_drive, args=(errors, storage, folder / "runs", trials, space))
    process.start()
    return Driver(process, errors)


def _drive(errors: Path, storage: str, root: Path, trials: int, space: Callable[[Suggest], Experiment]) -> None:
    hear_ctrl_c()
    os.dup2(os.open(errors, os.O_WRONLY), sys.stderr.fileno())
    os.environ["OMP_NUM_THREADS"] = "1"
    tune(space, trials=trials, storage=storage, root=root, **OPTIONS)


@objectives.register("test-failing")
@dataclass(frozen=True, kw_only=True)
class Failing(Objective):
    """Likelihood that fails in one of several ways.

    Attributes:
        how: ``"not"``, ``"finite"``, ``"memory"`` or ``"code"``.
    """

    how: str = "not"

    requires = (LogProb,)

    def losses(self, p: LogProb, targets: Sequences, context: StepContext) -> Losses:
        if self.how == "memory":
            raise MemoryError
        if self.how == "code":
            raise KeyError("surprise")
        log_probs = p.log_prob(targets.candidates()).squeeze(1)
        return Losses(-log_probs * (math.nan if self.how == "finite" else 1.0))
