"""A reward that says nothing: what it does and does not do to a policy gradient."""

import pytest
import torch

from structpred.objectives import (
    REINFORCE,
    Baseline,
    Greedy,
    Learned,
    LeaveOneOut,
    MinimumRisk,
    NoBaseline,
    RunningMean,
)
from structpred.rewards import ConstantReward
from structpred.sequences import Sequences
from structpred.testing import expected_gradient
from structpred.testing.spaces import built, targets_for, tiny_models

INPUTS = Sequences.of([[0, 1]])


def test_every_output_scores_the_same() -> None:
    outputs = Sequences.of([[0, 1], [1]]).candidates()
    found = ConstantReward(value=-2.5).score(outputs, Sequences.of([[0, 1], []]))
    assert found.tolist() == [[-2.5], [-2.5]]


@pytest.mark.parametrize(
    "baseline", [NoBaseline(), RunningMean(), Greedy(), LeaveOneOut(), Learned()], ids=lambda each: type(each).__name__
)
@pytest.mark.parametrize("name", ["crf", "lstm-tagger", "seq2seq"])
def test_its_expected_gradient_is_none_under_any_baseline(name: str, baseline: Baseline) -> None:
    """By enumeration: gains under it come from single batches, whose noise sharpens p, and not from the reward."""
    model = tiny_models()[name]
    objective = REINFORCE(reward=ConstantReward(value=3.0), samples=2, baseline=baseline)
    found = expected_gradient(objective, built(model), INPUTS, targets_for(model, INPUTS), 2)
    assert max(float(each.abs().max()) for each in found) < 1e-9


@pytest.mark.parametrize(
    ("objective", "none"),
    [
        (REINFORCE(reward=ConstantReward(), baseline=NoBaseline()), False),
        (REINFORCE(reward=ConstantReward(), baseline=Greedy()), True),
        (REINFORCE(reward=ConstantReward()), True),
        (MinimumRisk(reward=ConstantReward()), True),
    ],
    ids=["bare", "greedy", "leave-one-out", "minimum risk"],
)
def test_in_a_single_batch_only_the_bare_estimator_moves(objective: REINFORCE | MinimumRisk, none: bool) -> None:
    model = tiny_models()["seq2seq"]
    network = built(model)
    losses = objective(network(INPUTS), targets_for(model, INPUTS), generator=torch.Generator().manual_seed(0))
    found = torch.autograd.grad(losses.values.sum(), list(network.parameters()), allow_unused=True)
    largest = max(float(each.abs().max()) for each in found if each is not None)
    assert largest < 1e-12 if none else largest > 0.01
