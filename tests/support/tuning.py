"""A study that takes seconds, and a script that runs it by worker processes."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from structpred import Experiment, Trainer
from structpred.models import Seq2Seq
from structpred.objectives import RML, MaximumLikelihood
from structpred.payoffs import EditDistancePayoff, Temperature
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


SCRIPT = """
import sys
from structpred import tune
from tests.support.tuning import longer

if __name__ == "__main__":
    storage, root, trials = sys.argv[1:]
    tune(longer, trials=int(trials), finalists=0, pruner="none", workers=2, storage=storage, root=root, lease=20)
"""


def start(folder: Path, storage: str, trials: int) -> subprocess.Popen[str]:
    """Two workers in processes of their own, below another one."""
    script = folder / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, str(script), storage, str(folder / "runs"), str(trials)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
