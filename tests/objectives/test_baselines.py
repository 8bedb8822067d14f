"""Baselines of REINFORCE: what each one is, what it learns, and that the best one has the least variance."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from structpred.distributions import Factorised
from structpred.distributions.protocols import Decoding
from structpred.errors import ConfigError
from structpred.objectives import REINFORCE, Greedy, Learned, LeaveOneOut, OptimalToken, RunningMean
from structpred.objectives.baselines import Group
from structpred.objectives.critics import Fit
from structpred.rewards import EditDistance, Reward
from structpred.sequences import Sequences
from structpred.testing.spaces import Dictated, sizes_of
from structpred.training.step import TrainingStep
from tests.support.policy_gradients import INPUTS, OTHERS, gradient, prepared, warmed
from tests.support.tiny import as_candidates, tiny_p, tiny_seq2seq


def test_a_running_baseline_does_not_grow_and_is_saved_with_the_weights() -> None:
    objective, network = REINFORCE(samples=2, baseline=RunningMean()), tiny_seq2seq(2)
    step = TrainingStep(network, objective, objective.state(sizes_of(2)), torch.Generator())
    sizes = []
    for _ in range(30):
        step(OTHERS.tensors(), Sequences.of([[0], [1], []]).tensors(), ())
        sizes.append(sum(each.numel() for name, each in step.state_dict().items() if name.startswith("state.")))
    assert set(sizes) == {2}
    assert step.state is not None
    fresh = objective.state(sizes_of(2))
    assert isinstance(fresh, Fit)
    fresh.load_state_dict(step.state.state_dict())
    assert fresh.weights().item() < 0
    assert list(step.state.parameters()) == []


def test_a_running_mean_is_used_before_it_learns_and_old_values_fade() -> None:
    p, targets = tiny_p(2), Sequences.of([[0, 1], [1]])
    objective = REINFORCE(samples=2, baseline=RunningMean(decay=0.75))
    state = objective.state(sizes_of(2))
    assert isinstance(state, Fit)
    seen, weight = 0.0, 0.0
    for rows in ([[0], [1, 1]], [[], [0, 0, 0]], [[0, 1], [0]]):
        outputs = as_candidates(rows, batch=2)
        returns = EditDistance().score(outputs, targets).double()
        before = seen / weight if weight else 0.0
        assert state.weights().item() == pytest.approx(before, abs=1e-12)
        objective(Dictated(p, outputs), targets, state=state)
        seen, weight = 0.75 * seen + 0.25 * returns.mean().item(), 0.75 * weight + 0.25
    assert state.weights().item() == pytest.approx(seen / weight, abs=1e-12)
    state.eval()
    objective(Dictated(p, outputs), targets, state=state)
    assert state.weights().item() == pytest.approx(seen / weight, abs=1e-12)


def test_a_learned_baseline_finds_a_return_that_depends_on_the_reference() -> None:
    @dataclass(frozen=True, kw_only=True)
    class ByLength(Reward):
        def score(self, outputs: Sequences, references: Sequences) -> Tensor:
            return (3.0 - 2.0 * references.lengths).unsqueeze(1).expand_as(outputs.lengths).double()

    objective = REINFORCE(reward=ByLength(), samples=1, baseline=Learned())
    network, targets = tiny_seq2seq(2), Sequences.of([[0, 1, 1], [1], []])
    state = warmed(objective, network, Sequences.of([[0, 1]]))
    for seed in range(3):
        objective(network(OTHERS), targets, state=state, generator=torch.Generator().manual_seed(seed))
    losses = objective(network(OTHERS), targets, state=state, generator=torch.Generator().manual_seed(9))
    assert gradient(losses.values.sum(), network).norm() < 1e-6  # the baseline knows all that there is to know


def test_a_reference_that_is_impossible_does_not_poison_the_critic() -> None:
    scores = torch.tensor([[[0.0, -torch.inf]]], dtype=torch.float64)
    objective = REINFORCE(samples=1, baseline=Learned())
    state = objective.state(sizes_of(2))
    objective(Factorised(scores, torch.tensor([1])), Sequences.of([[1]]), state=state)
    assert isinstance(state, Fit)
    assert torch.isfinite(state.weights()).all()


def test_the_greedy_baseline_is_the_reward_of_the_greedy_output() -> None:
    p, targets = tiny_p(2), Sequences.of([[0, 1], [1]])
    greedy = EditDistance().score(p.decode(Decoding(beam=1)).candidates(), targets)[:, 0]
    outputs = as_candidates([[0], [1, 1]], batch=2)
    losses = REINFORCE(samples=2, baseline=Greedy(), entropy=0.3)(Dictated(p, outputs), targets)
    mean = EditDistance().score(outputs, targets).mean(1)
    torch.testing.assert_close(losses.diagnostics["gap"].float(), mean - greedy)


def test_a_baseline_without_its_state_says_what_to_pass() -> None:
    with pytest.raises(ConfigError, match=r"RunningMean needs its learned state: pass state=objective\.state\(sizes\)"):
        REINFORCE(baseline=RunningMean())(tiny_p(2), Sequences.of([[0], [1]]))


def test_the_optimal_baseline_is_the_minimiser_of_the_variance_in_the_logits() -> None:
    """5,000 draws of one symbol: W spans 0.02 to 1.6 and rewards 3, so 6 standard errors are below 0.2 (10^-8)."""
    logits = torch.tensor([[[2.0, 0.0, -1.0]]], dtype=torch.float64, requires_grad=True)
    p, rewards = Factorised(logits, torch.tensor([1])), torch.tensor([0.0, 3.0, -1.0], dtype=torch.float64)
    outputs = p.sample(5_000, torch.Generator().manual_seed(0))
    returns = rewards[outputs.labels].detach()
    everywhere = torch.ones_like(returns, dtype=torch.bool)
    group = Group(
        p=p,
        targets=Sequences.of([[0]]),
        outputs=outputs,
        rewards=returns[..., 0],
        returns=returns,
        mask=everywhere,
        returns_of=lambda others: rewards[others.labels],
    )
    found = OptimalToken().values(group, None)[0, 0, 0]
    chances = logits.detach()[0, 0].softmax(-1)
    norms = (torch.eye(3, dtype=torch.float64) - chances).square().sum(-1)  # of ∇ log p(v) in the logits
    best = (chances * norms * rewards).sum() / (chances * norms).sum()
    assert abs(found - best) < 0.2
    mean = (chances * rewards).sum()
    assert abs(best - mean) > 0.5

    def variance(baseline: Tensor) -> Tensor:
        return (chances * norms * (rewards - baseline).square()).sum()

    assert variance(best) < min(variance(best - 0.1), variance(best + 0.1), 0.9 * variance(mean))


def test_with_two_samples_the_optimal_baseline_of_a_whole_output_is_the_other_one_s_reward() -> None:
    network, targets = prepared("seq2seq")
    values = []
    for baseline in (OptimalToken(), LeaveOneOut()):
        generator = torch.Generator().manual_seed(0)
        objective = REINFORCE(samples=2, baseline=baseline)
        values.append(gradient(objective(network(INPUTS), targets, generator=generator).values.sum(), network))
    torch.testing.assert_close(*values, rtol=0, atol=1e-12)
