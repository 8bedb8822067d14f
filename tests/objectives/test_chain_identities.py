"""The identities of exact objectives on a linear chain, in float64, by enumeration."""

import math

import pytest
import torch
from torch import Tensor

from structpred.distributions import LinearChain
from structpred.distributions.protocols import cross_entropy, kl
from structpred.objectives import RML, Exact, ExpectedReward, MaximumLikelihood, Sampled
from structpred.payoffs import HammingPayoff, Temperature
from structpred.rewards import Hamming
from structpred.sequences import Sequences
from structpred.testing.spaces import as_candidates, strings

V = 3
TARGETS = Sequences.of([[0, 2, 1, 1], [1], [], [2, 2]])
LENGTHS = TARGETS.lengths.tolist()


def scores(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    unary = torch.randn(len(TARGETS), 4, V, generator=generator, dtype=torch.float64) * 2
    return unary.requires_grad_(), torch.randn(V, V, generator=generator, dtype=torch.float64).requires_grad_()


def chain(unary: Tensor, transitions: Tensor) -> LinearChain:
    return LinearChain(unary, transitions, TARGETS.lengths)


def payoff(tau: float) -> HammingPayoff:
    return HammingPayoff(temperature=Temperature(literal=tau))


def exact(tau: float) -> RML:
    return RML(payoff=payoff(tau), estimator=Exact())


def over_all_outputs(p: LinearChain, tau: float, example: int) -> tuple[Tensor, Tensor]:
    """q and log p of every output of one example."""
    length = LENGTHS[example]
    outputs = as_candidates(strings(V, length, shortest=length))
    one = slice(example, example + 1)
    alone = LinearChain(p.unary[one], p.transitions, p.lengths[one])
    return payoff(tau).distribution(TARGETS.select(one), V).log_prob(outputs)[0].exp(), alone.log_prob(outputs)[0]


@pytest.mark.parametrize("tau", [0.2, 0.7, 3.0])
def test_exact_rml_is_the_sum_over_all_outputs(tau: float) -> None:
    p = chain(*scores())
    found = exact(tau)(p, TARGETS).values
    for example in range(len(TARGETS)):
        q, log_probs = over_all_outputs(p, tau, example)
        assert abs(float((found[example] + (q * log_probs).sum()).detach())) < 1e-9


def test_its_gradient_is_the_model_s_marginals_less_the_payoff_s() -> None:
    unary, transitions = scores()
    p, q = chain(unary, transitions), payoff(0.7).distribution(TARGETS, V).marginals()
    found = torch.autograd.grad(exact(0.7)(p, TARGETS).values.sum(), (unary, transitions))
    torch.testing.assert_close(found[0], p.marginals().detach() - q, rtol=0, atol=1e-9)
    pairs = p.pair_marginals().detach().sum((0, 1)) - torch.einsum("bti,btj->ij", q[:, :-1], q[:, 1:])
    torch.testing.assert_close(found[1], pairs, rtol=0, atol=1e-9)


def test_it_is_the_divergence_plus_the_payoff_s_entropy_and_zero_divergence_can_be_reached() -> None:
    tau = 0.7
    q = payoff(tau).distribution(TARGETS, V)
    p = chain(*scores())
    loss = exact(tau)(p, TARGETS).values
    assert (loss[[0, 1, 3]] > q.entropy()[[0, 1, 3]]).all()
    torch.testing.assert_close(loss - q.entropy(), kl(q, p), rtol=0, atol=1e-9)
    right = torch.nn.functional.one_hot(TARGETS.labels, V).double() / tau
    reached = LinearChain(right, torch.zeros(V, V, dtype=torch.float64), TARGETS.lengths)
    torch.testing.assert_close(exact(tau)(reached, TARGETS).values, q.entropy(), rtol=0, atol=1e-9)


def test_smoothing_each_position_under_the_reference_s_own_neighbours_is_another_loss() -> None:
    """On a chain RML is not label smoothing: where labels are changed, so are transitions."""
    unary, transitions = scores()
    p = chain(unary, transitions)
    q = payoff(0.7).distribution(TARGETS, V).marginals()
    gold = TARGETS.labels[0]
    smoothed = p.log_partition()[0] - (q[0] * unary[0]).sum() - transitions[gold[:-1], gold[1:]].sum()
    assert abs(float((smoothed - exact(0.7)(p, TARGETS).values[0]).detach())) > 1e-2
    single = LinearChain(unary, torch.zeros_like(transitions), TARGETS.lengths)  # without transitions it is
    by_position = -(q * unary.log_softmax(-1)).sum((1, 2))
    torch.testing.assert_close(exact(0.7)(single, TARGETS).values, by_position, rtol=0, atol=1e-9)


def test_as_tau_vanishes_it_is_maximum_likelihood_for_value_and_gradient() -> None:
    unary, transitions = scores()
    found = []
    for objective in (exact(1e-4), MaximumLikelihood()):
        values = objective(chain(unary, transitions), TARGETS).values
        found.append((values, torch.autograd.grad(values.sum(), (unary, transitions))))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-9)


def test_as_tau_grows_the_payoff_is_uniform() -> None:
    p = chain(*scores())
    found = exact(1e9)(p, TARGETS).values
    for example in range(len(TARGETS)):
        _, log_probs = over_all_outputs(p, 1.0, example)
        assert abs(float((found[example] + log_probs.mean()).detach())) < 1e-7


def test_draws_have_the_exact_loss_and_gradient_as_their_mean() -> None:
    """Over 40,000 draws; 6 standard errors: a false alarm in 10^8 for each of the numbers."""
    unary, transitions = scores()
    k = 40_000
    sampled = RML(payoff=payoff(0.7), estimator=Sampled(k=k))
    p = chain(unary, transitions)
    draws = sampled.draw(TARGETS, V, torch.Generator().manual_seed(0))
    assert draws is not None
    spread = p.log_prob(draws).std(1) / math.sqrt(k)
    gap = (sampled(p, TARGETS, draws=draws).values - exact(0.7)(p, TARGETS).values).abs()
    assert (gap <= 6 * spread + 1e-9).all()
    slopes = [
        torch.autograd.grad(each(chain(unary, transitions), TARGETS, draws=draws).values.sum(), unary)[0]
        for each in (sampled, exact(0.7))
    ]
    # a gradient to a unary score is p_t(v) less the share of draws with v at t, whose standard error is at most 0.5/√k
    assert (slopes[0] - slopes[1]).abs().max() < 6 * 0.5 / math.sqrt(k)


@pytest.mark.parametrize("tau", [0.0, 0.5, 2.0])
def test_the_regularised_expected_reward_is_the_other_divergence(tau: float) -> None:
    """L_RL(τ) = τ KL(p‖q) − τ log Z_q."""
    p = chain(*scores())
    found = ExpectedReward(reward=Hamming(), temperature=tau)(p, TARGETS).values
    for example, length in enumerate(LENGTHS):
        _, log_probs = over_all_outputs(p, 1.0, example)
        outputs = as_candidates(strings(V, length, shortest=length))
        rewards = Hamming().score(outputs, TARGETS.select(slice(example, example + 1)))[0].double()
        divergence = (log_probs.exp() * (tau * log_probs - rewards)).sum()  # τ KL − τ log Z_q, written out
        assert abs(float((found[example] - divergence).detach())) < 1e-9
        if tau:
            log_z = torch.logsumexp(rewards / tau, 0)
            q = rewards / tau - log_z
            by_divergence = tau * (log_probs.exp() * (log_probs - q)).sum() - tau * log_z
            assert abs(float((found[example] - by_divergence).detach())) < 1e-9


def test_both_divergences_agree_to_second_order_near_their_common_optimum() -> None:
    """KL(q‖p) − KL(p‖q) is of third order: halving the distance divides it by eight, and each of them by four."""
    generator = torch.Generator().manual_seed(3)
    start = torch.randn(1, 3, V, generator=generator, dtype=torch.float64)
    moved = torch.randn(1, 3, V, generator=generator, dtype=torch.float64)
    none, lengths = torch.zeros(V, V, dtype=torch.float64), torch.tensor([3])
    q = LinearChain(start, none, lengths)
    gaps, divergences = [], []
    for step in (0.1, 0.05, 0.025):
        p = LinearChain(start + step * moved, none, lengths)
        gaps.append(float(kl(q, p) - kl(p, q)))
        divergences.append(float(kl(q, p)))
    for before, after in ((0, 1), (1, 2)):
        assert 7.0 < gaps[before] / gaps[after] < 9.0
        assert 3.8 < divergences[before] / divergences[after] < 4.2


def test_a_cross_entropy_from_itself_is_the_entropy() -> None:
    p = chain(*scores())
    torch.testing.assert_close(cross_entropy(p, p), p.entropy(), rtol=0, atol=1e-12)
    torch.testing.assert_close(kl(p, p), torch.zeros(len(TARGETS), dtype=torch.float64), rtol=0, atol=1e-12)
