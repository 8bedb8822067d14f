"""The identities that tie objectives together, in float64, by enumeration."""

import math
from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch.nn import functional

from structpred.distributions import Factorised
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.models import CRF, LSTMTagger, Seq2Seq
from structpred.objective import Losses, Objective
from structpred.objectives import RML, Exact, LabelSmoothing, MaximumLikelihood, Sampled
from structpred.objectives.label_smoothing import smoothed_cross_entropy
from structpred.payoffs import EditDistancePayoff, HammingPayoff, Temperature
from structpred.sequences import Sequences
from structpred.task import Sizes
from tests.support.tiny import Copying, as_candidates, strings, tiny_p, tiny_seq2seq

V, TIME = 3, 3


def factorised(requires_grad: bool = False) -> tuple[torch.Tensor, Factorised, Sequences]:
    torch.manual_seed(1)
    logits = torch.randn(2, TIME, V, dtype=torch.float64, requires_grad=requires_grad)
    targets = Sequences.of([[0, 2, 1], [1, 1]])
    return logits, Factorised(logits.log_softmax(-1), targets.lengths), targets


def hamming(tau: float, **fields: object) -> RML:
    return RML(payoff=HammingPayoff(temperature=Temperature(literal=tau)), **fields)  # type: ignore[arg-type]


def test_exact_hamming_rml_is_the_sum_over_all_outputs() -> None:
    _, p, targets = factorised()
    tau = 0.7
    q = HammingPayoff(temperature=Temperature(literal=tau)).distribution(targets, V)
    for example, length in enumerate(targets.lengths.tolist()):
        outputs = as_candidates(strings(V, length, shortest=length), batch=2)
        one = slice(example, example + 1)
        narrow = Factorised(p.log_probs[one], targets.lengths[one])
        around = HammingPayoff(temperature=Temperature(literal=tau)).distribution(targets.select(one), V)
        weights = around.log_prob(outputs.select(one)).exp()
        torch.testing.assert_close(weights.sum(), torch.tensor(1.0, dtype=torch.float64), rtol=0, atol=1e-12)
        enumerated = -(weights * narrow.log_prob(outputs.select(one))).sum()
        exact = hamming(tau, estimator=Exact())(p, targets).values[example]
        assert abs(exact - enumerated) < 1e-9
    assert q.num_labels == V


def test_sampled_rml_has_the_exact_loss_as_its_mean() -> None:
    _, p, targets = factorised()
    objective = hamming(0.7, estimator=Sampled(k=20_000))
    sampled = objective(p, targets, generator=torch.Generator().manual_seed(0)).values
    exact = hamming(0.7, estimator=Exact())(p, targets).values
    # log p varies by less than 3 nats a draw here, so 5 standard errors are below 0.11: a false alarm in 10^6.
    assert (sampled - exact).abs().max() < 0.11


@pytest.mark.parametrize("mass", ["all", "others"])
@pytest.mark.parametrize("tau", [0.2, 0.5, 2.0])
def test_hamming_rml_is_label_smoothing_on_a_factorised_model(mass: Literal["all", "others"], tau: float) -> None:
    all_mass = V / (math.exp(1 / tau) + V - 1)
    epsilon = all_mass if mass == "all" else all_mass * (V - 1) / V
    first_logits, p, targets = factorised(requires_grad=True)
    exact = hamming(tau, estimator=Exact())(p, targets).values
    (first_grad,) = torch.autograd.grad(exact.sum(), first_logits)
    second_logits, again, _ = factorised(requires_grad=True)
    smoothed = LabelSmoothing(epsilon=epsilon, mass=mass)(again, targets).values
    (second_grad,) = torch.autograd.grad(smoothed.sum(), second_logits)
    torch.testing.assert_close(exact, smoothed, rtol=0, atol=1e-9)
    torch.testing.assert_close(first_grad, second_grad, rtol=0, atol=1e-9)


@pytest.mark.parametrize("edit_rate", [0.02, 0.3])
def test_an_objective_says_what_it_equals_on_a_model(edit_rate: float) -> None:
    rml = RML(payoff=HammingPayoff(temperature=Temperature(edit_rate=edit_rate)), estimator=Exact())
    plainer = rml.same_as(LSTMTagger())
    assert plainer == LabelSmoothing(epsilon=edit_rate, mass="others")
    gradients, values = [], []
    for objective in (rml, plainer):
        logits, p, targets = factorised(requires_grad=True)
        values.append(objective(p, targets).values)
        gradients.append(torch.autograd.grad(values[-1].sum(), logits)[0])
    torch.testing.assert_close(*values, rtol=0, atol=1e-9)
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-9)
    assert rml.same_as(CRF()) is None
    assert rml.same_as(Seq2Seq()) is None
    assert replace(rml, estimator=Sampled(k=1)).same_as(LSTMTagger()) is None
    assert hamming(0.5, estimator=Exact()).same_as(LSTMTagger()) is None  # its ε depends on the number of labels
    assert plainer.same_as(LSTMTagger()) is None


def test_hamming_rml_is_not_label_smoothing_on_an_autoregressive_model() -> None:
    p, tau = tiny_p(V), 0.5
    targets = Sequences.of([[0, 2, 1], [1, 1]])
    payoff = HammingPayoff(temperature=Temperature(literal=tau))
    epsilon = (V - 1) / (math.exp(1 / tau) + V - 1)
    q = payoff.distribution(targets, V)
    for example, length in enumerate(targets.lengths.tolist()):
        outputs = as_candidates(strings(V, length, shortest=length), batch=2)
        narrowed = Sequences(outputs.labels, outputs.lengths)
        if length != int(targets.lengths.max()):
            q = payoff.distribution(targets.select(torch.tensor([example, example])), V)
        weights = q.log_prob(narrowed).exp()[example]
        rml = -(weights * p.log_prob(narrowed)[example]).sum()
        steps = p.steps(targets.candidates())
        smooth = torch.full((V + 1,), 0.0, dtype=torch.float64)
        total = torch.tensor(0.0, dtype=torch.float64)
        for time in range(length + 1):  # the end is not edited by the payoff, so it is not smoothed here either
            log_probs, target = steps.log_probs[example, 0, time], int(steps.targets[example, 0, time])
            smooth[:V], smooth[V] = epsilon / (V - 1), 0.0
            smooth[target] = 1 - epsilon if target < V else 1.0
            weights_here = smooth if target < V else functional.one_hot(torch.tensor(V), V + 1).double()
            total -= (weights_here * log_probs).sum()
        assert abs(rml - total) > 1e-3


@pytest.mark.parametrize("payoff", [HammingPayoff, EditDistancePayoff])
def test_rml_becomes_maximum_likelihood_as_tau_vanishes(payoff: type[HammingPayoff] | type[EditDistancePayoff]) -> None:
    targets, inputs = Sequences.of([[0, 2, 1], []]), Sequences.of([[0, 1], [2]])
    objective = RML(payoff=payoff(temperature=Temperature(literal=1e-3)), estimator=Sampled(k=4))
    gradients = []
    for each in (objective, MaximumLikelihood()):
        module = tiny_seq2seq(V)
        values = each(module(inputs), targets, generator=torch.Generator().manual_seed(0)).values
        gradients.append((values, torch.autograd.grad(values.sum(), list(module.parameters()))))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=1e-12)


def test_exact_rml_becomes_maximum_likelihood_as_tau_vanishes() -> None:
    _, p, targets = factorised()
    exact = hamming(1e-4, estimator=Exact())(p, targets).values
    torch.testing.assert_close(exact, MaximumLikelihood()(p, targets).values, rtol=0, atol=1e-12)


def test_no_smoothing_is_maximum_likelihood() -> None:
    p, targets = tiny_p(V), Sequences.of([[0, 2, 1], []])
    for mass in ("all", "others"):
        smoothed = LabelSmoothing(epsilon=0.0, mass=mass)(p, targets).values
        torch.testing.assert_close(smoothed, MaximumLikelihood()(p, targets).values, rtol=0, atol=1e-12)


@pytest.mark.parametrize("mass", ["all", "others"])
@pytest.mark.parametrize("prior", ["even", "one symbol", "uneven"])
def test_gradients_of_smoothing_are_those_of_small_differences(mass: Literal["all", "others"], prior: str) -> None:
    logits, _, targets = factorised(requires_grad=True)
    u = {"even": [1 / 3] * 3, "one symbol": [1.0, 0.0, 0.0], "uneven": [0.2, 0.5, 0.3]}[prior]

    def loss(logits: torch.Tensor) -> torch.Tensor:
        steps = Factorised(logits.log_softmax(-1), targets.lengths).steps(targets.candidates())
        return smoothed_cross_entropy(steps, 0.3, torch.tensor(u, dtype=torch.float64), mass)

    assert torch.autograd.gradcheck(loss, logits)
    assert torch.autograd.gradgradcheck(loss, logits)


@pytest.mark.parametrize("mass", ["all", "others"])
@pytest.mark.parametrize(("epsilon", "u"), [(0.0, [1 / 3] * 3), (0.3, [0.5, 0.0, 0.5])])
def test_a_forbidden_symbol_that_gets_no_mass_counts_for_nothing(
    epsilon: float, u: list[float], mass: Literal["all", "others"]
) -> None:
    """0 · log 0 is 0: the values are those of a distribution that barely allows the symbol."""
    targets = Sequences.of([[0, 2, 0]])

    def loss_and_gradient(lowest: float) -> tuple[torch.Tensor, torch.Tensor]:
        logits = torch.tensor([[[0.3, lowest, -0.2]] * 3], dtype=torch.float64, requires_grad=True)
        steps = Factorised(logits.log_softmax(-1), targets.lengths).steps(targets.candidates())
        loss = smoothed_cross_entropy(steps, epsilon, torch.tensor(u, dtype=torch.float64), mass)
        return loss.detach(), torch.autograd.grad(loss.sum(), logits)[0]

    for forbidden, unlikely in zip(loss_and_gradient(-torch.inf), loss_and_gradient(-200.0), strict=True):
        torch.testing.assert_close(forbidden, unlikely, rtol=0, atol=1e-12)


def test_smoothing_all_the_mass_agrees_with_pytorch() -> None:
    p, targets = tiny_p(V), Sequences.of([[0, 2, 1], [1]])
    steps = p.steps(targets.candidates())
    expected = functional.cross_entropy(
        steps.log_probs.flatten(0, 2), steps.targets.flatten(), reduction="none", label_smoothing=0.3
    ).view(steps.mask.shape)
    smoothed = LabelSmoothing(epsilon=0.3)(p, targets).values
    torch.testing.assert_close(smoothed, torch.where(steps.mask, expected, 0).sum((1, 2)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("mass", ["all", "others"])
def test_unigram_smoothing_by_hand(mass: Literal["all", "others"]) -> None:
    p, targets = tiny_p(2), Sequences.of([[0], [1, 1]])
    objective = LabelSmoothing(epsilon=0.25, prior="unigram", mass=mass)
    state = objective.state(Sizes(num_inputs=3, num_labels=2, label_counts=(6, 1), references=3))
    values = objective(p, targets, state=state).values
    prior = torch.tensor([0.6, 0.1, 0.3], dtype=torch.float64)  # the end occurs once a reference
    steps = p.steps(targets.candidates())
    for example, output in enumerate([[0, 2], [1, 1, 2]]):
        total = 0.0
        for time, target in enumerate(output):
            log_probs = steps.log_probs[example, 0, time].detach()
            others = prior.clone()
            if mass == "others":
                others[target] = 0.0
                others /= others.sum()
            total -= float(0.75 * log_probs[target] + 0.25 * (others * log_probs).sum())
        assert abs(values[example].item() - total) < 1e-9


def test_unigram_smoothing_without_frequencies_says_what_to_pass() -> None:
    with pytest.raises(ConfigError, match=r"state=objective\.state\(sizes\)"):
        LabelSmoothing(prior="unigram")(tiny_p(2), Sequences.of([[0], [1]]))


def test_smoothing_with_a_single_label_on_a_tagger_is_certain() -> None:
    p = Factorised(torch.zeros(1, 2, 1, dtype=torch.float64), torch.tensor([2]))
    assert LabelSmoothing(mass="others")(p, Sequences.of([[0, 0]])).values.item() == 0.0


def test_pairs_that_cannot_work_are_refused_in_words() -> None:
    with pytest.raises(ConfigError, match=r"RML cannot take Exact\(\) with EditDistancePayoff.*Sampled\(k=1\)"):
        RML(payoff=EditDistancePayoff(temperature=Temperature(literal=0.1)), estimator=Exact())
    with pytest.raises(ConfigError, match=r"RML with Exact\(\) needs `cross_entropy_from`.*Seq2Seq.*Sampled\(k=1\)"):
        Experiment(task=Copying(), model=Seq2Seq(), objective=hamming(0.3, estimator=Exact()))


@pytest.mark.parametrize("epsilon", [-0.1, 1.0, float("nan"), True, "0.1"])
def test_a_bad_epsilon_is_refused(epsilon: object) -> None:
    with pytest.raises(ConfigError, match=r"LabelSmoothing\.epsilon must be"):
        LabelSmoothing(epsilon=epsilon)  # type: ignore[arg-type]


def test_k_of_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Sampled\.k must be at least 1, but got 0"):
        Sampled(k=0)


def test_share_unchanged_counts_draws_that_equal_their_reference() -> None:
    objective: Objective = RML(payoff=EditDistancePayoff(temperature=Temperature(literal=0.1)))
    targets = Sequences.of([[0, 1], [1]])
    draws = Sequences(torch.tensor([[[0, 1, 0], [0, 1, 1]], [[1, 0, 0], [0, 0, 0]]]), torch.tensor([[2, 3], [1, 1]]))
    result: Losses = objective(tiny_p(2), targets, draws=draws)
    assert result.diagnostics["unchanged"].tolist() == [0.5, 0.5]
