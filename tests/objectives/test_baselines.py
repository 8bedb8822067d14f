"""Baselines of REINFORCE: what each one is, what it learns, and that the best one has the least variance."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from structpred.distributions import Factorised
from structpred.distributions.protocols import Decoding
from structpred.errors import ConfigError
from structpred.objectives import REINFORCE, Greedy, Learned, LeaveOneOut, OptimalToken, RunningMean
from structpred.objectives.baselines import Baseline, Group, Returns
from structpred.objectives.critics import Fit
from structpred.rewards import EditDistance, Hamming, Reward
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


def unasked(outputs: Sequences) -> Tensor:
    raise AssertionError


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_certain_samples_still_make_a_baseline(kind: torch.dtype) -> None:
    """All rewards tie, so that nothing is to be learnt, however unlikely the other sample is."""
    for gap in (5.0, 15.0, 200.0):
        scores = torch.zeros(1, 1, 5, dtype=kind)
        scores[..., 0] = gap
        outputs = Sequences(torch.tensor([[[0], [1], [0], [0]]]), torch.ones(1, 4, dtype=torch.long))
        p = Dictated(Factorised(scores, torch.tensor([1])), outputs)
        rewards = torch.full((1, 4), -1.0, dtype=kind)
        group = Group(p, Sequences.of([[2]]), outputs, rewards, rewards.unsqueeze(-1), outputs.mask(), unasked)
        assert OptimalToken().values(group, None).flatten().tolist() == pytest.approx([-1.0] * 4)


def test_weights_have_their_digits_where_probabilities_are_near_one() -> None:
    """The baseline in single precision is that in double, also at steps whose symbols have 1 − p below 1e-7."""
    source = torch.Generator().manual_seed(0)
    found = []
    scores, returns = torch.randn(6, 4, 5, generator=source), torch.rand(6, 8, 4, generator=source)
    scores[..., 0] += 17
    labels = torch.randint(0, 2, (6, 8, 4), generator=source)
    outputs = Sequences(labels, torch.full((6, 8), 4))
    for kind in (torch.float32, torch.float64):
        p = Factorised(scores.to(kind), torch.full((6,), 4))
        given = returns.to(kind)
        group = Group(p, Sequences.of([[2]] * 6), outputs, given[..., 0], given, outputs.mask(), unasked)
        found.append(OptimalToken().values(group, None).double())
    assert bool((found[1] != 0).all())
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


@dataclass(frozen=True, kw_only=True)
class Own(Baseline):
    """A user's baseline, made of functions, which may be wrong."""

    made: ClassVar[dict[str, Any]] = {}

    def values(self, group: Group, state: nn.Module | None) -> Returns:
        value: Tensor = self.made.get("values", lambda given: torch.zeros_like(given.returns))(group)
        return value

    def loss(self, group: Group, values: Returns, state: nn.Module | None) -> Tensor | None:
        found: Tensor | None = self.made.get("loss", lambda given: None)(group)
        return found

    def diagnostics(self, group: Group, values: Returns) -> dict[str, Tensor]:
        found: dict[str, Tensor] = self.made.get("diagnostics", lambda given: {})(group)
        return found


@pytest.mark.parametrize(
    ("method", "function", "words"),
    [
        (
            "values",
            lambda given: given.rewards[:, 0],
            r"Own\.values must return .* \(2, 3, 1\), .* shape \(2,\)",
        ),
        ("values", lambda given: given.rewards, r"must return a tensor .*, but returned one of shape \(2, 3\)"),
        ("values", lambda given: given.returns[:1], r"one of shape \(1, 3, 1\); only candidates and steps may"),
        ("values", lambda given: None, r"Own\.values must return a tensor .*, but returned None"),
        ("values", lambda given: 0.5, "but returned a float: 0.5"),
        ("values", lambda given: given.returns.long(), r"but returned one of torch\.int64"),
        (
            "loss",
            lambda given: given.rewards.sum(),
            r"Own\.loss must return a tensor .* \(2,\), .* \(\)",
        ),
        ("loss", lambda given: 0.5, r"Own\.loss must return a tensor"),
        ("diagnostics", lambda given: 3, r"Own\.diagnostics must return a dictionary, but returned an int: 3"),
    ],
)
def test_what_a_baseline_returns_is_checked_and_never_broadcast(
    method: str, function: Any, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Own, "made", {method: function})
    p = Factorised(torch.zeros(2, 2, 2).log_softmax(-1), torch.tensor([2, 1]))
    objective = REINFORCE(reward=Hamming(), baseline=Own(), samples=3)
    with pytest.raises(ConfigError, match=words):
        objective(p, Sequences.of([[0, 1], [1]]), generator=torch.Generator())


def test_a_baseline_may_write_into_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    p = Factorised(torch.zeros(2, 2, 2, requires_grad=True).log_softmax(-1), torch.tensor([2, 1]))
    found = []
    for values in (lambda given: given.returns.zero_(), lambda given: torch.zeros_like(given.returns)):
        monkeypatch.setattr(Own, "made", {"values": values})
        objective = REINFORCE(reward=Hamming(), baseline=Own(), samples=3)
        found.append(objective(p, Sequences.of([[0, 1], [1]]), generator=torch.Generator().manual_seed(0)).values)
    assert torch.equal(*found)
    assert found[0].any()
