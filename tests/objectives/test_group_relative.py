"""GRPO: what its gradient is in expectation, over all tuples of outputs, and where it is not that of a reward."""

from itertools import product
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from structpred.errors import ConfigError
from structpred.objective import Objective
from structpred.objectives import GRPO, REINFORCE
from structpred.objectives.group_relative import LEAST_DEVIATION, relative
from structpred.rewards import EditDistance
from structpred.rewards.constant import ConstantReward
from structpred.sequences import Sequences
from structpred.testing import expected_gradient
from structpred.testing.spaces import built, every_output, targets_for, tiny_models

MODELS = ("crf", "lstm-tagger", "seq2seq")
INPUTS = Sequences.of([[0, 1]])


def prepared(name: str) -> tuple[nn.Module, Sequences]:
    model = tiny_models()[name]
    return built(model), targets_for(model, INPUTS)


def flat(found: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([each.flatten() for each in found])


def gradient(loss: Tensor, network: nn.Module) -> Tensor:
    parameters = list(network.parameters())
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return flat(tuple(torch.zeros_like(p) if g is None else g for g, p in zip(found, parameters, strict=True)))


def expected(objective: Objective, name: str, k: int) -> Tensor:
    network, target = prepared(name)
    return flat(expected_gradient(objective, network, INPUTS, target, k))


def written_out(name: str, k: int, scale: str, length: str) -> Tensor:
    """−Σ over tuples of Π p · (1/k) Σ_i A_i ∇log p(y_i) / |y_i|, one tuple after another, as the paper has it."""
    network, target = prepared(name)
    p = network(INPUTS)
    every = every_output(p, 2)
    log_probs, rewards = p.log_prob(every)[0], EditDistance().score(every, target)[0].tolist()
    steps = []
    for row, labels in enumerate(every.lengths[0].tolist()):
        ended = every.ended is None or bool(every.ended[0, row])
        steps.append(labels if p.fixed_length else labels + ended)
    loss = torch.zeros((), dtype=torch.float64)
    for rows in product(range(len(rewards)), repeat=k):
        group = [rewards[row] for row in rows]
        mean = sum(group) / k
        deviation = (sum((each - mean) ** 2 for each in group) / (k - 1)) ** 0.5
        chance = float(log_probs.detach()[list(rows)].sum().exp())
        for row, reward in zip(rows, group, strict=True):
            advantage = (reward - mean) / (deviation + LEAST_DEVIATION) if scale == "deviation" else reward - mean
            loss = loss - chance * advantage * log_probs[row] / (k * (steps[row] if length == "mean" else 1))
    return gradient(loss, network)


@pytest.mark.parametrize("length", ["mean", "kept"])
@pytest.mark.parametrize("scale", ["deviation", "none"])
@pytest.mark.parametrize("name", MODELS)
def test_its_expected_gradient_is_that_of_the_paper_s_formula(
    name: str, scale: Literal["deviation", "none"], length: Literal["mean", "kept"]
) -> None:
    found = expected(GRPO(samples=2, scale=scale, length=length), name, 2)
    assert found.norm() > 0.01
    torch.testing.assert_close(found, written_out(name, 2, scale, length), rtol=0, atol=1e-9)


@pytest.mark.parametrize("samples", [2, 3])
@pytest.mark.parametrize("name", ["crf", "lstm-tagger"])
def test_dr_grpo_is_reinforce_times_k_less_one_over_k(name: str, samples: int) -> None:
    """In expectation, and so the gradient of the expected reward but for that factor."""
    found = expected(GRPO(samples=samples, scale="none", length="kept"), name, samples)
    network, target = prepared(name)
    every = every_output(network(INPUTS), 2)
    log_probs = network(INPUTS).log_prob(every)[0]
    truth = gradient(-(log_probs.exp() * EditDistance().score(every, target)[0]).sum(), network)
    torch.testing.assert_close(found, truth * (samples - 1) / samples, rtol=0, atol=1e-9)


def test_dr_grpo_is_that_in_every_batch_too() -> None:
    network, target = prepared("seq2seq")
    slopes = []
    for objective in (GRPO(samples=4, scale="none", length="kept"), REINFORCE(samples=4)):
        values = objective(network(INPUTS), target, generator=torch.Generator().manual_seed(0)).values
        slopes.append((values, gradient(values.sum(), network)))
    torch.testing.assert_close(slopes[0][0], slopes[1][0])
    torch.testing.assert_close(slopes[0][1], slopes[1][1] * 3 / 4, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("scale", "length"), [("deviation", "kept"), ("none", "mean")])
def test_either_normalisation_points_another_way_than_the_expected_reward(
    scale: Literal["deviation", "none"], length: Literal["mean", "kept"]
) -> None:
    """The bias is no mere factor: the angle to the true gradient does not vanish."""
    plain, scaled = (
        expected(GRPO(samples=2, scale=each[0], length=each[1]), "seq2seq", 2)
        for each in (("none", "kept"), (scale, length))
    )
    assert torch.nn.functional.cosine_similarity(plain, scaled, 0) < 0.9999


def test_scale_and_offset_of_rewards_hardly_matter_after_normalisation() -> None:
    rewards = torch.tensor([[1.0, 2.0, 4.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(
        relative(rewards, "deviation"), relative(50 * rewards - 7, "deviation"), rtol=1e-3, atol=0
    )
    assert (relative(rewards, "deviation")[1] == 0).all()


@pytest.mark.parametrize("value", [1.0, -7.3, 1e6])
def test_a_reward_that_says_nothing_teaches_nothing(value: float) -> None:
    network, target = prepared("seq2seq")
    objective = GRPO(reward=ConstantReward(value=value))
    losses = objective(network(INPUTS), target, generator=torch.Generator().manual_seed(0))
    assert gradient(losses.values.sum(), network).abs().max() == 0


def test_a_single_sample_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"GRPO compares .* at least 2 samples, but got samples=1; .* Greedy\(\)"):
        GRPO(samples=1)
