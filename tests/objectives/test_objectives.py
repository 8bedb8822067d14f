"""Every objective: shape, differentiability, determinism, invariance; each on every distribution it can serve."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch

from structpred.distributions import Factorised
from structpred.objective import Objective
from structpred.objectives import (
    REINFORCE,
    RML,
    Anneal,
    Beam,
    CandidateHinge,
    DataNoising,
    Exact,
    ExpectedReward,
    LabelSmoothing,
    Learned,
    MaximumLikelihood,
    MaxMargin,
    MinimumRisk,
    Mixer,
    NBest,
    Perceptron,
    Point,
    Sampled,
    ScheduledSampling,
    SoftmaxMargin,
    Switch,
    SwitchOut,
    Weighted,
    WeightedSum,
)
from structpred.payoffs import EditDistancePayoff, HammingPayoff, PublishedEditDistancePayoff, Temperature
from structpred.sequences import Sequences
from structpred.task import Sizes
from tests.support.tiny import tiny_seq2seq

LABELS = 3
SIZES = Sizes(inputs=3, labels=LABELS, label_counts=(5, 1, 2), references=4)
TARGETS = [[0, 1, 2], [2], [], [1, 1]]
TAU = Temperature(literal=0.5)


def factorised(targets: Sequences) -> Factorised:
    torch.manual_seed(0)
    logits = torch.randn(len(TARGETS), 3, LABELS, dtype=torch.float64)[: len(targets)]
    return Factorised(logits.log_softmax(-1), targets.lengths)


@dataclass(frozen=True)
class Case:
    name: str
    objective: Objective
    free: bool = True
    fixed: bool = True


CASES = [
    Case("maximum likelihood", MaximumLikelihood()),
    Case("smoothing", LabelSmoothing(epsilon=0.1)),
    Case("smoothing, others", LabelSmoothing(epsilon=0.2, mass="others")),
    Case("smoothing, unigram", LabelSmoothing(epsilon=0.2, prior="unigram")),
    Case("smoothing, unigram, others", LabelSmoothing(epsilon=0.2, prior="unigram", mass="others")),
    Case("RML, edit distance", RML(payoff=EditDistancePayoff(temperature=TAU)), fixed=False),
    Case(
        "RML, edit distance, 3 draws",
        RML(payoff=EditDistancePayoff(temperature=TAU), estimator=Sampled(k=3)),
        fixed=False,
    ),
    Case("RML, published", RML(payoff=PublishedEditDistancePayoff(temperature=TAU)), fixed=False),
    Case("RML, Hamming", RML(payoff=HammingPayoff(temperature=TAU))),
    Case("RML, Hamming, exact", RML(payoff=HammingPayoff(temperature=TAU), estimator=Exact()), free=False),
    Case("max-margin", MaxMargin(), free=False),
    Case("softmax-margin", SoftmaxMargin(), free=False),
    Case("perceptron", Perceptron(), free=False),
    Case("candidate hinge", CandidateHinge()),
    Case("candidate hinge, sum", CandidateHinge(violations="sum", against="best", length_penalty=1.0)),
    Case("candidate softmax-margin", CandidateHinge(violations="softmax")),
    Case("expected reward", ExpectedReward(), free=False),
    Case("expected reward, regularised", ExpectedReward(temperature=0.5), free=False),
    Case("minimum risk, n-best", MinimumRisk(candidates=NBest(k=4))),
    Case("minimum risk, beam", MinimumRisk(candidates=Beam(k=3, reference="left out")), fixed=False),
    Case("minimum risk, samples", MinimumRisk(), free=False),  # draws belong to the batch: see their own tests
    Case("REINFORCE", REINFORCE(), free=False),
    Case("REINFORCE, credit for tokens", REINFORCE(credit="token", baseline=Learned(), ml_weight=0.5), free=False),
    Case("scheduled sampling, at the start", ScheduledSampling(), fixed=False),
    Case("data noising, without noise", DataNoising(rate=0.0), fixed=False),
    Case("SwitchOut", SwitchOut()),
    Case(
        "weighted sum",
        WeightedSum(
            parts=(
                Weighted(objective=MaximumLikelihood(), weight=0.3),
                Weighted(objective=LabelSmoothing(prior="unigram")),
                Weighted(objective=RML(payoff=HammingPayoff(temperature=TAU), estimator=Sampled(k=2)), weight=2),
            )
        ),
    ),
    Case("switch", Switch(first=MaximumLikelihood(), second=LabelSmoothing(), at=Point(step=1))),
    Case("anneal", Anneal(first=LabelSmoothing(), second=RML(), start=Point(share=0), end=Point(share=1)), fixed=False),
    Case("MIXER, at the start", Mixer(), fixed=False),
]
FREE = [pytest.param(case.objective, id=case.name) for case in CASES if case.free]
FIXED = [pytest.param(case.objective, id=case.name) for case in CASES if case.fixed]


def losses(objective: Objective, p: object, targets: Sequences, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    result = objective(p, targets, state=objective.state(SIZES), generator=generator)
    assert result.values.shape == (len(targets),)
    assert torch.isfinite(result.values).all()
    for name, values in result.diagnostics.items():
        assert values.shape == (len(targets),), name
        assert not values.requires_grad, name
    return result.values


@pytest.mark.parametrize("objective", FREE)
def test_on_an_autoregressive_model_it_is_differentiable_and_repeats_itself(objective: Objective) -> None:
    module, targets = tiny_seq2seq(LABELS).eval(), Sequences.of(TARGETS)
    inputs = Sequences.of([[0, 1], [2], [1, 1, 0], []])
    first = losses(objective, module(inputs), targets)
    torch.testing.assert_close(losses(objective, module(inputs), targets), first, rtol=0, atol=0)
    gradients = torch.autograd.grad(first.sum(), list(module.parameters()))
    assert all(torch.isfinite(each).all() for each in gradients)


@pytest.mark.parametrize("objective", FIXED)
def test_on_a_factorised_model_it_repeats_itself(objective: Objective) -> None:
    targets = Sequences.of(TARGETS)
    first = losses(objective, factorised(targets), targets)
    torch.testing.assert_close(losses(objective, factorised(targets), targets), first, rtol=0, atol=0)


@pytest.mark.parametrize("objective", FREE)
def test_permuting_the_batch_permutes_the_losses_and_padding_changes_nothing(objective: Objective) -> None:
    module, targets = tiny_seq2seq(LABELS).eval(), Sequences.of(TARGETS)
    inputs = Sequences.of([[0, 1], [2], [1, 1, 0], []])
    state, order = objective.state(SIZES), torch.tensor([2, 0, 3, 1])
    draws = objective.draw(targets, LABELS, torch.Generator().manual_seed(1))
    expected = objective(module(inputs), targets, draws=draws, state=state).values
    permuted = objective(
        module(inputs.select(order)),
        targets.select(order),
        draws=None if draws is None else draws.select(order),
        state=state,
    )
    torch.testing.assert_close(permuted.values, expected[order], rtol=0, atol=1e-12)
    garbage = Sequences(torch.nn.functional.pad(targets.labels, (0, 2), value=1), targets.lengths)
    if draws is not None:
        draws = Sequences(torch.nn.functional.pad(draws.labels, (0, 3), value=2), draws.lengths)
    padded = objective(module(inputs), garbage, draws=draws, state=state).values
    torch.testing.assert_close(padded, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("objective", FREE)
def test_gradients_are_those_of_finite_differences(objective: Objective) -> None:
    module, targets = tiny_seq2seq(2), Sequences.of([[0, 1], []])
    state = objective.state(Sizes(inputs=3, labels=2, label_counts=(5, 1), references=4))
    draws = objective.draw(targets, 2, torch.Generator().manual_seed(1))
    names = [name for name, _ in module.named_parameters()]

    def values(*parameters: torch.Tensor) -> torch.Tensor:
        weights = dict(zip(names, parameters, strict=True))
        p = torch.func.functional_call(module, weights, Sequences.of([[0, 1], [2]]))
        return objective(p, targets, draws=draws, state=state).values

    assert torch.autograd.gradcheck(values, tuple(module.parameters()), fast_mode=True)


@pytest.mark.parametrize("make", [lambda k: RML(estimator=Sampled(k=k))])
def test_draws_made_ahead_are_those_made_in_the_step(make: Callable[[int], Objective]) -> None:
    objective, targets = make(2), Sequences.of([[0, 1], [2, 2, 1]])
    p = tiny_seq2seq(LABELS).eval()(Sequences.of([[0], [1, 2]]))
    draws = objective.draw(targets, LABELS, torch.Generator().manual_seed(3))
    ahead = objective(p, targets, draws=draws)
    within = objective(p, targets, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(ahead.values, within.values, rtol=0, atol=0)
