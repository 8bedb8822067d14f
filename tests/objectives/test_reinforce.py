"""REINFORCE: its expected gradient, over all tuples of outputs, is that of the exact expected reward."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from structpred.distributions import Autoregressive, Factorised
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.models import CRF, Seq2Seq
from structpred.objectives import (
    REINFORCE,
    Baseline,
    Greedy,
    Learned,
    LeaveOneOut,
    MaximumLikelihood,
    NoBaseline,
    OptimalToken,
    RunningMean,
)
from structpred.objectives.baselines import Group, Returns
from structpred.rewards import EditDistance, FunctionReward, Hamming, Reward
from structpred.sequences import Sequences
from structpred.testing import check_objective
from structpred.testing.spaces import (
    Dictated,
    every_output,
    log_probs_of,
    repeated,
    sizes_of,
    tuples_of,
)
from tests.support.policy_gradients import INPUTS, OTHERS, gradient, prepared, warmed
from tests.support.tiny import QUICK, Copying, as_candidates, tiny_p, tiny_seq2seq

MODELS = ("lstm-tagger", "crf", "seq2seq")
BASELINES = (NoBaseline(), RunningMean(decay=0.5), Greedy(), LeaveOneOut(), Learned(decay=0.5))


def name_of(value: object) -> str:
    return value if isinstance(value, str) else type(value).__name__


def expected_gradient(objective: REINFORCE, network: nn.Module, targets: Sequences) -> Tensor:
    """The mean gradient, as the sum over all tuples of ``samples`` outputs."""
    every = every_output(network(INPUTS), 2)
    tuples = tuples_of(every, objective.samples)
    p = network(repeated(INPUTS, len(tuples)))
    weights = log_probs_of(p, tuples).sum(1).exp()
    torch.testing.assert_close(weights.sum(), torch.tensor(1.0, dtype=torch.float64))
    state = warmed(objective, network, targets)
    losses = objective(Dictated(p, tuples), repeated(targets, len(tuples)), state=state)
    return gradient((weights * losses.values).sum(), network)


def true_gradient(objective: REINFORCE, network: nn.Module, targets: Sequences) -> Tensor:
    """That of −E_p[r] − β H(p), by enumeration."""
    p = network(INPUTS)
    every = every_output(p, 2)
    log_probs = p.log_prob(every)[0]
    rewards = objective.reward.score(every, targets)[0].double()
    return gradient(-(log_probs.exp() * (rewards - objective.entropy * log_probs)).sum(), network)


# ------------------------------------------------------------------------------------------------------ exactness


@pytest.mark.parametrize("credit", ["sequence", "token"])
@pytest.mark.parametrize("baseline", BASELINES, ids=name_of)
@pytest.mark.parametrize("name", MODELS)
def test_the_expected_gradient_is_that_of_the_expected_reward(
    name: str, baseline: Baseline, credit: Literal["sequence", "token"]
) -> None:
    network, targets = prepared(name)
    for entropy in (0.0, 0.7):
        objective = REINFORCE(samples=2, baseline=baseline, credit=credit, entropy=entropy)
        found, truth = (f(objective, network, targets) for f in (expected_gradient, true_gradient))
        assert truth.norm() > 0.01
        torch.testing.assert_close(found, truth, rtol=0, atol=1e-9)


@pytest.mark.parametrize("credit", ["sequence", "token"])
@pytest.mark.parametrize(("name", "samples"), [("lstm-tagger", 2), ("lstm-tagger", 3), ("seq2seq", 2)])
def test_the_optimal_baseline_leaves_the_expected_gradient_alone(
    name: str, samples: int, credit: Literal["sequence", "token"]
) -> None:
    network, targets = prepared(name)
    objective = REINFORCE(samples=samples, baseline=OptimalToken(), credit=credit, entropy=0.3)
    found, truth = (f(objective, network, targets) for f in (expected_gradient, true_gradient))
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-9)


@pytest.mark.parametrize("credit", ["sequence", "token"])
@pytest.mark.parametrize("name", ["lstm-tagger", "crf"])
def test_three_samples_and_hamming(name: str, credit: Literal["sequence", "token"]) -> None:
    network, targets = prepared(name)
    objective = REINFORCE(reward=Hamming(), samples=3, credit=credit)
    found, truth = (f(objective, network, targets) for f in (expected_gradient, true_gradient))
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-9)


@dataclass(frozen=True, kw_only=True)
class OwnIncluded(Baseline):
    """The mean over all samples, the own one included."""

    def values(self, group: Group, state: nn.Module | None) -> Returns:
        del state
        return group.returns.mean(1, keepdim=True)


@pytest.mark.parametrize("samples", [2, 3])
def test_including_the_own_sample_shrinks_the_gradient_to_k_less_one_over_k(samples: int) -> None:
    network, targets = prepared("lstm-tagger")
    objective = REINFORCE(samples=samples, baseline=OwnIncluded())
    found, truth = (f(objective, network, targets) for f in (expected_gradient, true_gradient))
    torch.testing.assert_close(found, truth * (samples - 1) / samples, rtol=0, atol=1e-9)


@dataclass(frozen=True, kw_only=True)
class Shifted(Reward):
    """The edit distance and a constant."""

    by: float
    times: float = 1.0

    def score(self, outputs: Sequences, references: Sequences) -> Tensor:
        return self.times * EditDistance().score(outputs, references).double() + self.by


@pytest.mark.parametrize("baseline", BASELINES, ids=name_of)
def test_a_constant_added_to_rewards_changes_no_expected_gradient(baseline: Baseline) -> None:
    network, targets = prepared("seq2seq")
    plain, shifted = (REINFORCE(reward=each, samples=2, baseline=baseline) for each in (Shifted(by=0), Shifted(by=9)))
    found, other = (expected_gradient(objective, network, targets) for objective in (plain, shifted))
    torch.testing.assert_close(found, other, rtol=0, atol=1e-9)


@pytest.mark.parametrize("constant", [0.1, -7.3, 1e6])
def test_a_constant_reward_has_no_leave_one_out_gradient_in_any_batch(constant: float) -> None:
    network = tiny_seq2seq(2)
    norms = {}
    for baseline in (LeaveOneOut(), NoBaseline()):
        objective = REINFORCE(reward=Shifted(by=constant, times=0), samples=3, baseline=baseline)
        losses = objective(network(OTHERS), Sequences.of([[0], [1, 1], []]), generator=torch.Generator().manual_seed(0))
        norms[name_of(baseline)] = gradient(losses.values.sum(), network).norm().item()
    assert norms["LeaveOneOut"] == 0.0
    assert norms["NoBaseline"] > 0.01  # which is how a constant reward "trains": by sharpening what was drawn


def test_token_credit_has_less_variance_for_the_same_mean() -> None:
    network, targets = prepared("lstm-tagger")
    spread = {}
    for credit in ("sequence", "token"):
        objective = REINFORCE(reward=Hamming(), samples=1, baseline=NoBaseline(), credit=credit)
        truth, total = true_gradient(objective, network, targets), 0.0
        for row in range(4):
            p = network(INPUTS)
            output = every_output(p, 2)
            one = Sequences(output.labels[:, row : row + 1], output.lengths[:, row : row + 1])
            weight = float(log_probs_of(p, one).exp())
            total += weight * float(
                (gradient(objective(Dictated(p, one), targets).values.sum(), network) - truth).norm() ** 2
            )
        spread[credit] = total
    assert spread["token"] < 0.9 * spread["sequence"]


@pytest.mark.parametrize("credit", ["sequence", "token"])
def test_it_passes_the_conformance_kit(credit: Literal["sequence", "token"]) -> None:
    def exactly(log_probs: Tensor, outputs: Sequences, target: Sequences) -> Tensor:
        return -(log_probs.exp() * EditDistance().score(outputs, target)[0]).sum()

    objective = REINFORCE(samples=2, credit=credit)
    assert check_objective(objective, models=QUICK, samples=2, exactly=exactly) == tuple(QUICK)


# -------------------------------------------------------------------------------------------------------- dropout


def masked(seed: int) -> tuple[nn.Module, Autoregressive, Sequences]:
    """A network with dropout on, and one p with the mask that the seed gives."""
    network = tiny_seq2seq(2, longest=1, dropout=0.5, sharpness=1.5).train()
    torch.manual_seed(seed)
    p: Autoregressive = network(Sequences.of([[0, 1]]))
    return network, p, every_output(p, 1, longest=1)


@pytest.mark.parametrize("credit", ["sequence", "token"])
@pytest.mark.parametrize("baseline", [LeaveOneOut(), Greedy()], ids=name_of)
def test_under_dropout_the_sample_is_scored_under_the_mask_it_was_drawn_with(
    baseline: Baseline, credit: Literal["sequence", "token"]
) -> None:
    targets = Sequences.of([[1]])
    for seed in (1, 2):
        network, p, every = masked(seed)
        objective = REINFORCE(samples=2, baseline=baseline, credit=credit)
        tuples, total = tuples_of(every, 2), torch.zeros((), dtype=torch.float64)
        for row in range(len(tuples)):
            one = tuples.select(slice(row, row + 1))
            weight = log_probs_of(p, one).sum().exp()
            total = total + weight * objective(Dictated(p, one), targets).values.sum()
        exact = -(p.log_prob(every).exp() * EditDistance().score(every, targets)).sum()
        found, truth = (
            torch.autograd.grad(each, list(network.parameters()), retain_graph=True) for each in (total, exact)
        )
        torch.testing.assert_close(found, truth, rtol=0, atol=1e-9)


def as_keys(outputs: Sequences) -> list[tuple[tuple[int, ...], bool]]:
    flat = outputs.flatten()
    assert flat.ended is not None
    return list(zip(map(tuple, flat.tolist()), flat.ended.tolist(), strict=True))


def test_draws_under_dropout_follow_the_probabilities_under_the_same_mask() -> None:
    _, p, every = masked(1)
    _, other, _ = masked(2)
    probabilities, elsewhere = (log_probs_of(each, every)[0].exp() for each in (p, other))
    drawn = p.sample(20_000, torch.Generator().manual_seed(0))
    counts = Counter(as_keys(drawn))
    shares = torch.tensor([counts[output] / 20_000 for output in as_keys(every)], dtype=torch.float64)
    # A share has a standard error below 0.0036: beyond 0.02 is a false alarm in 10^7.
    assert (shares - probabilities).abs().max() < 0.02
    assert (shares - elsewhere).abs().max() > 0.05


def test_scoring_under_another_mask_would_be_biased() -> None:
    network, drawn_from, every = masked(1)
    torch.manual_seed(2)
    scored_by = network(Sequences.of([[0, 1]]))
    rewards = EditDistance().score(every, Sequences.of([[1]])).double()
    weights = log_probs_of(drawn_from, every).exp()
    wrong = gradient(-(weights * rewards * scored_by.log_prob(every)).sum(), network)
    for p in (drawn_from, scored_by):
        truth = gradient(-(p.log_prob(every).exp() * rewards).sum(), network)
        assert (wrong - truth).norm() > 0.1 * truth.norm()


# ----------------------------------------------------------------------------------- what went wrong in other code


def test_log_probs_after_the_end_do_not_count() -> None:
    network, targets = tiny_seq2seq(2), Sequences.of([[0, 1], [1], []])
    short = as_candidates([[0], [1, 0]], batch=3)
    garbage = Sequences(torch.where(short.mask(), short.labels, 1), short.lengths)
    longer = Sequences(torch.nn.functional.pad(garbage.labels, (0, 3), value=1), short.lengths)
    for credit in ("sequence", "token"):
        objective = REINFORCE(samples=2, credit=credit)
        found = [objective(Dictated(network(OTHERS), each), targets).values for each in (short, garbage, longer)]
        for other in found[1:]:
            torch.testing.assert_close(other, found[0], rtol=0, atol=1e-12)
            difference = gradient(other.sum(), network) - gradient(found[0].sum(), network)
            assert difference.abs().max() < 1e-12


def test_every_sample_counts_and_only_the_symbols_that_were_drawn() -> None:
    logits = torch.tensor([[[0.3, -0.2, 0.9], [0.1, 0.4, -0.5]]], dtype=torch.float64, requires_grad=True)
    p = Factorised(logits, torch.tensor([2]))
    outputs, targets = as_candidates([[0, 1], [2, 1], [2, 0]]), Sequences.of([[2, 1]])
    objective = REINFORCE(reward=Hamming(), samples=3, baseline=NoBaseline())
    (found,) = torch.autograd.grad(objective(Dictated(p, outputs), targets).values.sum(), logits)
    by_hand = torch.zeros_like(logits)
    for output, reward in zip(outputs.labels[0].tolist(), (-1.0, 0.0, -1.0), strict=True):
        for t, label in enumerate(output):  # ∇ log softmax is the drawn symbol less the probabilities
            drawn = torch.nn.functional.one_hot(torch.tensor(label), 3)
            by_hand[0, t] -= reward * (drawn - logits[0, t].detach().softmax(-1)) / 3
    torch.testing.assert_close(found, by_hand, rtol=0, atol=1e-12)


# ------------------------------------------------------------------------------------------- value, mixing, refusals


def test_the_value_is_minus_the_mean_reward_and_the_guards_are_told() -> None:
    p, targets = tiny_p(2), Sequences.of([[0, 1], [1]])
    outputs = as_candidates([[0], [0], [0, 1], [0]], batch=2)
    losses = REINFORCE()(Dictated(p, outputs), targets)
    rewards = EditDistance().score(outputs, targets).double()
    torch.testing.assert_close(losses.values, -rewards.mean(1), rtol=0, atol=1e-12)
    expected = {"reward": rewards.mean(1), "distinct": torch.tensor([0.5, 0.5])}
    expected |= {"length_ratio": torch.tensor([2.25 / 3, 2.25 / 2]), "zero_variance": torch.tensor([0.0, 1.0])}
    expected |= {"entropy": -log_probs_of(p, outputs).mean(1)}
    assert losses.diagnostics.keys() == expected.keys()
    for name, values in expected.items():
        torch.testing.assert_close(losses.diagnostics[name].double(), values.double(), msg=name)


def test_groups_that_tie_have_no_variance_and_one_sample_is_no_group() -> None:
    p, targets = tiny_p(2), Sequences.of([[0, 1], [1]])
    tied = REINFORCE(samples=2)(Dictated(p, as_candidates([[0], [1]], batch=2)), targets)
    assert tied.diagnostics["zero_variance"].tolist() == [1.0, 0.0]
    alone = REINFORCE(samples=1, baseline=NoBaseline())(Dictated(p, as_candidates([[0]], batch=2)), targets)
    assert alone.diagnostics.keys() == {"reward", "length_ratio", "entropy"}


def test_mixing_adds_the_likelihood() -> None:
    network, targets = tiny_seq2seq(2), Sequences.of([[0], [1, 1], []])
    outputs = as_candidates([[0], [1, 1]], batch=3)
    found = {}
    for weight in (0.0, 0.25):
        losses = REINFORCE(samples=2, ml_weight=weight)(Dictated(network(OTHERS), outputs), targets).values
        found[weight] = (losses.detach(), gradient(losses.sum(), network))
    likelihood = MaximumLikelihood()(network(OTHERS), targets).values
    torch.testing.assert_close(found[0.25][0], found[0.0][0] + 0.25 * likelihood.detach())
    torch.testing.assert_close(found[0.25][1], found[0.0][1] + 0.25 * gradient(likelihood.sum(), network))


@pytest.mark.parametrize("credit", ["sequence", "token"])
@pytest.mark.parametrize("baseline", BASELINES, ids=name_of)
def test_only_empty_outputs_are_no_special_case(baseline: Baseline, credit: Literal["sequence", "token"]) -> None:
    p = Factorised(torch.zeros(2, 0, 3, dtype=torch.float64, requires_grad=True), torch.tensor([0, 0]))
    objective = REINFORCE(reward=Hamming(), samples=2, credit=credit, baseline=baseline)
    values = objective(p, Sequences.of([[], []]), state=objective.state(sizes_of(3))).values
    assert values.tolist() == [0.0, 0.0]


def test_what_cannot_work_is_refused_in_words() -> None:
    with pytest.raises(
        ConfigError, match=r"baseline=LeaveOneOut\(\) compares .* at least 2 samples, but got samples=1"
    ):
        REINFORCE(samples=1)
    with pytest.raises(
        ConfigError, match=r"FunctionReward does not; use such a reward \(bleu, edit-distance, gleu, hamming"
    ):
        REINFORCE(reward=FunctionReward(function="a:b"), credit="token")
    with pytest.raises(ConfigError, match=r"REINFORCE with the reward Hamming needs outputs as long .* Seq2Seq"):
        Experiment(task=Copying(), model=Seq2Seq(), objective=REINFORCE(reward=Hamming()))
    Experiment(task=Copying(), model=CRF(), objective=REINFORCE(reward=Hamming(), credit="token"))
