"""A study that takes seconds, and a script that runs it by worker processes."""

import math
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from structpred import Experiment, Trainer
from structpred.distributions.protocols import LogProb
from structpred.models import Seq2Seq
from structpred.objective import Losses, Objective, StepContext
from structpred.objectives import RML, MaximumLikelihood
from structpred.payoffs import EditDistancePayoff, Temperature
from structpred.registry import objectives
from structpred.sequences import Sequences
from structpred.training import Adam
from structpred.tuning import Suggest
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
    return replace(rate(trial), trainer=Trainer(epochs=200, batch_tokens=40))


def longest(trial: Suggest) -> Experiment:
    """The same, too long to end before somebody looks."""
    return replace(rate(trial), trainer=Trainer(epochs=2000, batch_tokens=40))


SCRIPT = """
import sys
from structpred import tune
from tests.support import tuning

if __name__ == "__main__":
    storage, root, trials, space = sys.argv[1:]
    options = {"finalists": 0, "pruner": "none", "workers": 2, "lease": 6}
    tune(getattr(tuning, space), trials=int(trials), storage=storage, root=root, **options)
"""


def start(folder: Path, storage: str, trials: int, space: str = "longer") -> subprocess.Popen[str]:
    """A driver in a process of its own, with two workers."""
    script = folder / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, str(script), storage, str(folder / "runs"), str(trials), space]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


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
