"""The expected reward in closed form, against enumeration and against the payoff it is a divergence from."""

import math

import pytest
import torch
from torch import Tensor, nn

from structpred.distributions import Factorised
from structpred.distributions.protocols import kl
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.models import Seq2Seq
from structpred.objectives import ExpectedReward
from structpred.payoffs import HammingPayoff, Temperature
from structpred.rewards import EditDistance, Hamming
from structpred.sequences import Sequences
from structpred.testing import check_objective
from structpred.testing.spaces import as_candidates, built, strings, tiny_models
from tests.support.tiny import Copying

V = 3
INPUTS, TARGETS = Sequences.of([[0, 1, 2], [1], [2, 0, 0]]), Sequences.of([[2, 0, 1], [1], [1, 1, 2]])
MODELS = ["lstm-tagger", "crf"]


def network(name: str) -> nn.Module:
    return built(tiny_models()[name], V)


def payoff(tau: float) -> tuple[Factorised, Tensor]:
    """q written out, and log Z_q = m ln(1 + (V − 1)a)."""
    q = HammingPayoff(temperature=Temperature(literal=tau)).distribution(TARGETS, V)
    log_partition = TARGETS.lengths.double() * math.log1p((V - 1) * math.exp(-1 / tau))
    return Factorised(q.marginals().log(), TARGETS.lengths), log_partition


def enumerated(p: nn.Module, temperature: float) -> Tensor:
    """Σ_y p(y) (τ log p(y) − r(y)) of each example, over all outputs."""
    totals = []
    for row, length in enumerate(TARGETS.lengths.tolist()):
        one = Sequences(INPUTS.labels[row : row + 1, :length], INPUTS.lengths[row : row + 1])
        every = as_candidates(strings(V, length, shortest=length))
        log_probs = p(one).log_prob(every)
        rewards = Hamming().score(every, TARGETS.select(slice(row, row + 1)))
        totals.append((log_probs.exp() * (temperature * log_probs - rewards)).sum())
    return torch.stack(totals)


@pytest.mark.parametrize("temperature", [0.0, 0.4, 5.0])
@pytest.mark.parametrize("name", MODELS)
def test_value_and_gradient_are_those_of_the_sum_over_all_outputs(name: str, temperature: float) -> None:
    module = network(name)
    found = ExpectedReward(temperature=temperature)(module(INPUTS), TARGETS).values
    truth = enumerated(module, temperature)
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-9)
    weights = torch.tensor([1.0, 2.0, -0.5])
    gradients = [torch.autograd.grad((weights * each).sum(), list(module.parameters())) for each in (found, truth)]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("tau", [0.3, 1.0])
@pytest.mark.parametrize("name", MODELS)
def test_regularised_it_is_the_divergence_from_the_payoff(name: str, tau: float) -> None:
    p = network(name)(INPUTS)
    q, log_partition = payoff(tau)
    divergence = tau * kl(p, q) - tau * log_partition
    found = ExpectedReward(temperature=tau)(p, TARGETS).values
    torch.testing.assert_close(found, divergence, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", MODELS)
def test_the_payoff_itself_is_the_best_there_is(name: str) -> None:
    """No p has a lower L_RL(τ) than q, whose value is −τ log Z_q."""
    q, log_partition = payoff(0.8)
    objective = ExpectedReward(temperature=0.8)
    best = objective(q, TARGETS).values
    torch.testing.assert_close(best, -0.8 * log_partition, rtol=0, atol=1e-9)
    assert (objective(network(name)(INPUTS), TARGETS).values > best).all()


def test_it_passes_the_conformance_kit_where_expectations_have_a_closed_form() -> None:
    def exactly(log_probs: Tensor, outputs: Sequences, target: Sequences) -> Tensor:
        return -(log_probs.exp() * Hamming().score(outputs, target)[0]).sum()

    assert check_objective(ExpectedReward(temperature=0.5)) == ("crf", "lstm-tagger")
    assert check_objective(ExpectedReward(), samples=1, exactly=exactly) == ("crf", "lstm-tagger")


def test_diagnostics_tell_reward_and_entropy() -> None:
    p = network("crf")(INPUTS)
    losses = ExpectedReward(temperature=0.5)(p, TARGETS)
    reward, entropy = losses.diagnostics["reward"], losses.diagnostics["entropy"]
    torch.testing.assert_close(losses.values.detach(), -reward - 0.5 * entropy)
    torch.testing.assert_close(entropy, p.entropy().detach())


def test_what_cannot_work_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match=r"EditDistance is not; use such a reward \(hamming.*\), or REINFORCE or Min"):
        ExpectedReward(reward=EditDistance())
    with pytest.raises(ConfigError, match=r"ExpectedReward needs `expected_score`.*Seq2Seq.*REINFORCE or MinimumRisk"):
        Experiment(task=Copying(), model=Seq2Seq(), objective=ExpectedReward())
    with pytest.raises(ConfigError, match=r"ExpectedReward\.temperature must be at least 0, but got -1"):
        ExpectedReward(temperature=-1.0)
