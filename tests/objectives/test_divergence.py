"""The dial between RML and the regularised expected reward, by enumeration in float64."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from structpred.distributions.protocols import kl
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.models import CRF, LSTMTagger, Seq2Seq
from structpred.objective import Objective
from structpred.objectives import (
    REINFORCE,
    RML,
    Best,
    Divergence,
    Exact,
    ExpectedReward,
    LabelSmoothing,
    Sampled,
)
from structpred.objectives.divergence import overlap_of_draws
from structpred.payoffs import (
    EditDistancePayoff,
    HammingPayoff,
    PublishedEditDistancePayoff,
    ReweightedPayoff,
    Temperature,
)
from structpred.rewards import EditDistance, Hamming
from structpred.sequences import Sequences
from structpred.testing.spaces import as_candidates, built, repeated, strings, tiny_models, tuples_of
from tests.support.tiny import Copying

V, TAU = 2, 0.6
INPUTS, TARGETS = Sequences.of([[0, 1, 2], [1], [2, 0]]), Sequences.of([[1, 0, 1], [1], [0, 0]])
TAGGERS = ["lstm-tagger", "crf"]
BETWEEN = [0.01, 0.3, 0.5, 0.9, 0.999]


def payoff(tau: float = TAU) -> HammingPayoff:
    return HammingPayoff(temperature=Temperature(literal=tau))


def dial(alpha: float, tau: float = TAU, **fields: object) -> Divergence:
    return replace(Divergence(alpha=alpha, payoff=payoff(tau), estimator=Exact()), **fields)  # type: ignore[arg-type]


def network(name: str) -> nn.Module:
    return built(tiny_models()[name], V)


def gradient(loss: Tensor, module: nn.Module) -> Tensor:
    found = torch.autograd.grad(loss, list(module.parameters()), allow_unused=True, retain_graph=True)
    pairs = zip(found, module.parameters(), strict=True)
    return torch.cat([(torch.zeros_like(one) if each is None else each).flatten() for each, one in pairs])


def dial_gradient(objective: Objective, module: nn.Module) -> Tensor:
    return gradient(objective(module(INPUTS), TARGETS).values.sum(), module)


def listed(module: nn.Module, row: int, tau: float = TAU) -> tuple[Tensor, Tensor]:
    """log p, with gradient, and log q of every output of one example, q from its definition."""
    one = slice(row, row + 1)
    length = int(TARGETS.lengths[row])
    every = as_candidates(strings(V, length, shortest=length))
    inputs = Sequences(INPUTS.labels[one, :length], INPUTS.lengths[one])
    log_q = (Hamming().score(every, TARGETS.select(one))[0].double() / tau).log_softmax(0)
    return module(inputs).log_prob(every)[0], log_q


# ------------------------------------------------------------------------------------------------ the exact dial


@pytest.mark.parametrize("tau", [0.2, 1.0, 4.0])
@pytest.mark.parametrize("alpha", BETWEEN)
@pytest.mark.parametrize("name", TAGGERS)
def test_between_the_ends_value_and_gradient_are_those_of_the_sum_over_all_outputs(
    name: str, alpha: float, tau: float
) -> None:
    module = network(name)
    found = dial(alpha, tau)(module(INPUTS), TARGETS).values
    sums = []
    for row in range(len(TARGETS)):
        log_p, log_q = listed(module, row, tau)
        total = (log_p.exp() ** alpha * log_q.exp() ** (1 - alpha)).sum()
        sums.append(-(tau**alpha) * total.log() / (alpha * (1 - alpha)))
    truth = torch.stack(sums)
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-9)
    weights = torch.tensor([1.0, 2.0, -0.5])
    slopes = [gradient((weights * each).sum(), module) for each in (found, truth)]
    torch.testing.assert_close(*slopes, rtol=0, atol=1e-9)


@pytest.mark.parametrize("tau", [0.2, 1.0, 4.0])
@pytest.mark.parametrize("name", TAGGERS)
def test_at_the_ends_the_gradients_are_those_of_the_two_divergences(name: str, tau: float) -> None:
    """Of KL(q‖p) at 0 and of τ KL(p‖q) at 1, by enumeration."""
    module = network(name)
    forward, backward = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for row in range(len(TARGETS)):
        log_p, log_q = listed(module, row, tau)
        forward = forward + (log_q.exp() * (log_q - log_p)).sum()
        backward = backward + tau * (log_p.exp() * (log_p - log_q)).sum()
    for alpha, truth in ((0.0, forward), (1.0, backward)):
        expected = gradient(truth, module)
        assert expected.norm() > 0.1
        torch.testing.assert_close(dial_gradient(dial(alpha, tau), module), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("tau", [0.2, 1.0, 4.0])
@pytest.mark.parametrize(("end", "near"), [(0.0, 1e-4), (1.0, 1 - 1e-4)])
@pytest.mark.parametrize("name", TAGGERS)
def test_near_an_end_the_gradient_is_nearly_that_of_the_end(name: str, end: float, near: float, tau: float) -> None:
    module = network(name)
    at_end, close = (dial_gradient(dial(alpha, tau), module) for alpha in (end, near))
    assert 0 < (close - at_end).norm() / at_end.norm() < 1e-3


@pytest.mark.parametrize("name", TAGGERS)
def test_at_an_end_it_is_the_objective_itself(name: str) -> None:
    p = network(name)(INPUTS)
    ends = {0.0: RML(payoff=payoff(), estimator=Exact()), 1.0: ExpectedReward(temperature=TAU)}
    for alpha, end in ends.items():
        found, truth = dial(alpha)(p, TARGETS), end(p, TARGETS)
        assert torch.equal(found.values, truth.values)
        assert found.diagnostics.keys() == truth.diagnostics.keys()


@pytest.mark.parametrize("alpha", BETWEEN)
def test_it_is_zero_where_p_is_q_and_positive_elsewhere(alpha: float) -> None:
    q = payoff().distribution(TARGETS, V)
    reached = network("crf")(INPUTS)
    reached = replace(reached, unary=q.local_log_prob().unary, transitions=torch.zeros_like(reached.transitions))
    torch.testing.assert_close(kl(q, reached), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(
        dial(alpha)(reached, TARGETS).values, torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-9
    )
    assert (dial(alpha)(network("crf")(INPUTS), TARGETS).values > 0.01).all()


@pytest.mark.parametrize("name", TAGGERS)
def test_in_nats_it_lies_in_the_order_of_divergences(name: str) -> None:
    """α D_α, Rényi's own, rises with α (van Erven and Harremoës 2014, theorem 3), and (1 − α) D_α falls by symmetry."""
    p = network(name)(INPUTS)
    in_nats = [dial(alpha)(p, TARGETS).values / TAU**alpha for alpha in BETWEEN]
    renyi = [alpha * each for alpha, each in zip(BETWEEN, in_nats, strict=True)]
    mirrored = [(1 - alpha) * each for alpha, each in zip(BETWEEN, in_nats, strict=True)]
    assert all((one < other).all() for one, other in pairwise(renyi))
    assert all((one > other).all() for one, other in pairwise(mirrored))


@pytest.mark.parametrize("alpha", [1e-4, 0.5, 1 - 1e-6])
@pytest.mark.parametrize("name", TAGGERS)
def test_single_precision_keeps_value_and_gradient(name: str, alpha: float) -> None:
    """A small α or 1 − α is divided by, which would magnify what float32 rounds off the partition functions."""
    module, found = network(name), {}
    for dtype in (torch.float64, torch.float32):
        module = module.to(dtype)
        values = dial(alpha)(module(INPUTS), TARGETS).values
        assert values.dtype == dtype
        found[dtype] = (values.double().detach(), gradient(values.sum(), module).double())
    for one, other in zip(found[torch.float32], found[torch.float64], strict=True):
        assert ((one - other).norm() / other.norm()) < 1e-4


# --------------------------------------------------------------------------------------------------- from draws


def expected_gradient(alpha: float, k: int, name: str, row: int = 2) -> Tensor:
    """The mean over all tuples of k draws from q."""
    module, one = network(name), slice(row, row + 1)
    length = int(TARGETS.lengths[row])
    every = as_candidates(strings(V, length, shortest=length))
    tuples = tuples_of(every, k)
    count = len(tuples)
    targets = repeated(Sequences(TARGETS.labels[one, :length], TARGETS.lengths[one]), count)
    inputs = repeated(Sequences(INPUTS.labels[one, :length], INPUTS.lengths[one]), count)
    chances = payoff().distribution(targets, V).log_prob(tuples).sum(1).exp()
    torch.testing.assert_close(chances.sum(), torch.tensor(1.0, dtype=torch.float64))
    values = dial(alpha, estimator=Sampled(k=k))(module(inputs), targets, draws=tuples).values
    return gradient((chances * values).sum(), module)


def true_gradient(alpha: float, name: str, row: int = 2) -> Tensor:
    """Over the outputs that q can give, which for a decoder are not all of p's."""
    module, one = network(name), slice(row, row + 1)
    length = int(TARGETS.lengths[row])
    every = as_candidates(strings(V, length, shortest=length))
    log_p = module(Sequences(INPUTS.labels[one, :length], INPUTS.lengths[one])).log_prob(every)[0]
    log_q = payoff().distribution(Sequences(TARGETS.labels[one, :length], TARGETS.lengths[one]), V).log_prob(every)[0]
    if alpha == 0:
        return gradient(-(log_q.exp() * log_p).sum(), module)
    overlap = (alpha * log_p + (1 - alpha) * log_q).logsumexp(0)
    return gradient(-(TAU**alpha) * overlap / (alpha * (1 - alpha)), module)


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("name", ["lstm-tagger", "crf", "seq2seq"])
def test_the_bias_of_draws_falls_as_one_over_k_and_is_none_at_zero(name: str, alpha: float) -> None:
    truth = true_gradient(alpha, name)
    bias = [float((expected_gradient(alpha, k, name) - truth).norm() / truth.norm()) for k in (2, 4, 6)]
    if alpha == 0:
        assert max(bias) < 1e-9
    else:
        assert bias[0] > bias[1] > bias[2] > 1e-6
        assert bias[2] < 0.75 * bias[1]  # 4/6 and terms of higher order, which a larger α makes larger
        assert bias[1] < 0.75 * bias[0]


def test_a_single_draw_would_teach_rml_over_one_less_alpha_whatever_its_ratio() -> None:
    """Which is where the bias leads; so one draw is refused."""
    ratios = torch.randn(3, 1, dtype=torch.float64).requires_grad_()
    overlap, _ = overlap_of_draws(ratios, torch.ones(3, 1, dtype=torch.long), 0.4)
    (slopes,) = torch.autograd.grad((-overlap / (0.4 * 0.6)).sum(), ratios)
    torch.testing.assert_close(slopes, torch.full_like(slopes, -1 / 0.6))
    with pytest.raises(ConfigError, match=r"compares draws with each other, so it needs at least 2"):
        Divergence(estimator=Sampled(k=1))
    assert Divergence(alpha=0.0, estimator=Sampled(k=1)).drawn == 1


def test_draws_give_what_the_exact_sum_does() -> None:
    """60,000 draws, whose log-mean has a standard error below 0.01 here; 6 of them: a false alarm in 10^8."""
    p = network("crf")(INPUTS)
    objective = dial(0.5, estimator=Sampled(k=60_000))
    draws = objective.draw(TARGETS, V, torch.Generator().manual_seed(0))
    assert draws is not None
    ratios = p.log_prob(draws) - payoff().distribution(TARGETS, V).log_prob(draws)
    powers = (ratios / 2).exp()
    error = (powers.std(1) / powers.mean(1)).detach() / math.sqrt(60_000) * 4 * TAU**0.5
    assert (error < 0.01).all()
    gap = (objective(p, TARGETS, draws=draws).values - dial(0.5)(p, TARGETS).values).abs()
    assert (gap < 6 * error).all()


def test_on_a_decoder_equal_draws_are_scored_once_to_the_same_effect() -> None:
    module = network("seq2seq")
    objective = Divergence(alpha=0.4, payoff=EditDistancePayoff(temperature=Temperature(literal=0.4)))
    draws = objective.draw(TARGETS, V, torch.Generator().manual_seed(1))
    assert draws is not None
    found = objective(module(INPUTS), TARGETS, draws=draws)
    log_p = module(INPUTS).log_prob(draws)
    log_q = EditDistance().score(draws, TARGETS).double() / 0.4
    powers = 0.4 * (log_p - log_q)
    truth = -(0.4**0.4) * (powers.logsumexp(1) - math.log(8)) / (0.4 * 0.6)
    torch.testing.assert_close(found.values, truth, rtol=0, atol=1e-9)
    slopes = [gradient(each.sum(), module) for each in (found.values, truth)]
    torch.testing.assert_close(*slopes, rtol=0, atol=1e-9)
    shares = powers.softmax(1)
    torch.testing.assert_close(found.diagnostics["effective_samples"], (1 / shares.square().sum(1)).detach())


def test_sampled_it_is_reinforce_with_an_entropy_at_one() -> None:
    p = network("seq2seq")(INPUTS)
    tau = Temperature(literal=0.4)
    objective = Divergence(alpha=1.0, payoff=EditDistancePayoff(temperature=tau), estimator=Sampled(k=3))
    assert objective.draw(TARGETS, V, torch.Generator()) is None
    assert objective.drawn == 0
    found, truth = (
        each(p, TARGETS, generator=torch.Generator().manual_seed(2)).values
        for each in (objective, REINFORCE(samples=3, entropy=0.4))
    )
    assert torch.equal(found, truth)


# ---------------------------------------------------------------------------------------------------- in words


def test_it_says_what_it_equals() -> None:
    rates = HammingPayoff(temperature=Temperature(edit_rate=0.1))
    assert dial(0.0).same_as(CRF()) == RML(payoff=payoff(), estimator=Exact())
    assert dial(0.0, payoff=rates).same_as(LSTMTagger()) == LabelSmoothing(epsilon=0.1, mass="others")
    assert dial(1.0).same_as(CRF()) == ExpectedReward(temperature=TAU)
    assert dial(1.0, payoff=rates).same_as(CRF()) is None  # its τ depends on the number of labels
    assert dial(0.5).same_as(CRF()) is None


def test_what_cannot_work_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match=r"Divergence\.alpha must be .*1"):
        Divergence(alpha=1.5)
    with pytest.raises(ConfigError, match=r"estimator must be Exact\(\) or Sampled\(k=8\), but got Best"):
        dial(0.5, estimator=Best())
    with pytest.raises(ConfigError, match=r"product over positions, but EditDistancePayoff is not; use HammingPayoff"):
        Divergence(estimator=Exact())
    published = PublishedEditDistancePayoff(temperature=Temperature(literal=0.3))
    for other in (published, ReweightedPayoff()):
        with pytest.raises(ConfigError, match=r"needs exact draws from q and their probability up to a constant"):
            Divergence(payoff=other)
    with pytest.raises(ConfigError, match=r"needs `log_overlap`.*Seq2Seq.*Sampled\(k=8\)"):
        Experiment(task=Copying(), model=Seq2Seq(), objective=dial(0.5))
    with pytest.raises(ConfigError, match="draws outputs of any length, but with CRF the input decides"):
        Experiment(task=Copying(), model=CRF(), objective=Divergence())
    with pytest.raises(ConfigError, match=r"Divergence\(alpha=1\) with the reward Hamming needs outputs as long"):
        Experiment(task=Copying(), model=Seq2Seq(), objective=dial(1.0, estimator=Sampled(k=2)))
