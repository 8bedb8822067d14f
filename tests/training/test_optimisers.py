"""Gradient descent with momentum: its steps by hand, skipped and resumed ones, and settings without effect."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from structpred.errors import ConfigError, Interrupted
from structpred.experiment import Experiment
from structpred.models import CRF
from structpred.objectives import MaximumLikelihood
from structpred.runs import train
from structpred.tasks import HiddenMarkov
from structpred.training import SGD, Trainer, checkpoint
from structpred.training.meters import step_unless
from structpred.training.parts import Part

TINY = Experiment(
    task=HiddenMarkov(size=40, held_out=20),
    model=CRF(embedding=4, layers=0, dropout=0.3),
    objective=MaximumLikelihood(),
    optimiser=SGD(lr=0.5, parts=(Part(name="chain", lr=0.1, weight_decay=0.01),)),
    trainer=Trainer(epochs=3, batch_tokens=60),
)
GRADIENTS = (1.0, -0.5, 0.25)


@pytest.mark.parametrize("nesterov", [False, True], ids=["momentum", "Nesterov"])
@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_steps_are_those_of_the_formula(momentum: float, nesterov: bool) -> None:
    nesterov = nesterov and momentum > 0
    parameter = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    optimizer = SGD(lr=0.1, momentum=momentum, nesterov=nesterov, weight_decay=0.01).build([parameter])
    weight, moved = 2.0, 0.0
    for gradient in GRADIENTS:
        parameter.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        decayed = gradient + 0.01 * weight
        moved = momentum * moved + decayed
        weight -= 0.1 * (decayed + momentum * moved if nesterov else moved)
        assert parameter.item() == pytest.approx(weight, abs=1e-12)


def test_a_first_step_that_is_skipped_leaves_no_trace() -> None:
    parameters = [nn.Parameter(torch.ones(50)) for _ in range(2)]
    for parameter, skips in zip(parameters, (3, 0), strict=True):
        optimizer = SGD(lr=0.1).build([parameter])
        for skip in [True] * skips + [False] * 3:
            parameter.grad = torch.full((50,), torch.nan if skip else 1.0)
            step_unless(torch.tensor(skip), optimizer)
    assert torch.equal(*parameters)


def test_a_run_that_is_stopped_goes_on_with_its_momentum(tmp_path: Path) -> None:
    whole = train(TINY, root=tmp_path / "whole")
    taken = iter(range(7))
    with pytest.raises(Interrupted):
        train(TINY, root=tmp_path / "parts", stopping=lambda: next(taken, None) is None)
    resumed = train(TINY, root=tmp_path / "parts")
    assert whole.result.steps > 7
    ours, theirs = (checkpoint.load(run.folder.weights) for run in (resumed, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    other = train(replace(TINY, optimiser=replace(TINY.optimiser, momentum=0.5)), root=tmp_path / "whole")  # type: ignore[call-arg]  # SGD
    assert other.result.identity != whole.result.identity


def test_an_optimiser_is_its_canonical_json() -> None:
    assert Experiment.from_json(TINY.to_json()) == TINY


def test_nesterov_without_momentum_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^SGD\.nesterov has no effect without momentum; set SGD\.momentum"):
        SGD(momentum=0.0, nesterov=True)
    with pytest.raises(ConfigError, match="overlap"):
        SGD(parts=(Part(name="chain"), Part(name="chain.transitions")))
