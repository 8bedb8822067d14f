import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from structpred import Experiment, Trainer, train
from structpred.errors import RunError
from structpred.models import Seq2Seq
from structpred.objectives import RML, MaximumLikelihood
from structpred.payoffs import EditDistancePayoff, Temperature
from structpred.training import checkpoint
from tests.support.tiny import Copying

ROOT = Path(__file__).resolve().parents[2]
BASE = Experiment(
    task=Copying(train=16),
    model=Seq2Seq(embedding=4, hidden=6, dropout=0.0),
    objective=MaximumLikelihood(),
    trainer=Trainer(epochs=2, batch_tokens=24),
)
COLD_RML = RML(payoff=EditDistancePayoff(temperature=Temperature(edit_rate=0.1)))


def compare_steps(objective: RML, root: Path) -> None:
    torch.compile = partial(torch.compile, backend="eager")  # traces, but makes no code
    plain = replace(BASE, objective=objective)
    runs = [
        train(replace(plain, trainer=replace(plain.trainer, compile=compiled)), root=root, device="cpu")
        for compiled in (False, True)
    ]
    weights = [checkpoint.load(run.folder.weights) for run in runs]
    assert weights[0].keys() == weights[1].keys()
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, rtol=1e-4, atol=1e-6)


@pytest.mark.slow(seconds=15)
def test_compiled_steps_are_the_same_steps(tmp_path: Path) -> None:
    """In a process of its own: the shape checks of these tests cannot be traced."""
    program = f"from tests.training.test_compile import *; compare_steps(COLD_RML, Path({str(tmp_path)!r}))"
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_a_missing_compiler_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(RunError, match=r"^expected a C\+\+ compiler for Trainer\.compile, but there is none; install"):
        train(replace(BASE, trainer=Trainer(compile=True)), root=tmp_path, device="cpu")


def test_it_is_no_part_of_an_older_runs_identity() -> None:
    assert BASE.identity("data") == replace(BASE, trainer=replace(BASE.trainer, compile=False)).identity("data")
    assert BASE.identity("data") != replace(BASE, trainer=replace(BASE.trainer, compile=True)).identity("data")
