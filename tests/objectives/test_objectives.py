"""Every objective passes the published checks on every model it can serve, and refuses the others."""

import pytest
import torch

from structpred.capabilities import combinations
from structpred.config import registered_name
from structpred.models import Model
from structpred.objective import Objective
from structpred.objectives import (
    CPO,
    DPO,
    GRPO,
    REINFORCE,
    RML,
    Adversarial,
    Anneal,
    Beam,
    Best,
    CandidateHinge,
    Critic,
    DataNoising,
    Distillation,
    Divergence,
    Exact,
    ExpectedReward,
    Greedy,
    KLToRun,
    LabelSmoothing,
    Learned,
    MaximumLikelihood,
    MaxMargin,
    MinimumRisk,
    Mixer,
    NBest,
    OptimalCompletion,
    OptimalToken,
    Perceptron,
    Point,
    Sampled,
    ScheduledSampling,
    SelfNormalised,
    SoftmaxMargin,
    Switch,
    SwitchOut,
    Weighted,
    WeightedSum,
)
from structpred.objectives.distillation import Teacher
from structpred.payoffs import (
    EditDistancePayoff,
    HammingPayoff,
    PublishedEditDistancePayoff,
    ReweightedPayoff,
    Temperature,
)
from structpred.registry import objectives
from structpred.sequences import Sequences
from structpred.testing import check_objective
from structpred.testing.spaces import built, tiny_models
from tests.support.tiny import DECODERS, QUICK, tiny_seq2seq

TAU = Temperature(literal=0.5)
EVERY, TAGGERS, CHAIN = ("crf", "lstm-tagger", "seq2seq"), ("crf", "lstm-tagger"), ("crf",)
FREE, STEPPED = ("seq2seq",), ("lstm-tagger", "seq2seq")


CASES: dict[str, tuple[Objective, tuple[str, ...]]] = {
    "maximum likelihood": (MaximumLikelihood(), EVERY),
    "smoothing": (LabelSmoothing(epsilon=0.1), STEPPED),
    "smoothing, others": (LabelSmoothing(epsilon=0.2, mass="others"), STEPPED),
    "smoothing, unigram": (LabelSmoothing(epsilon=0.2, prior="unigram"), STEPPED),
    "smoothing, unigram, others": (LabelSmoothing(epsilon=0.2, prior="unigram", mass="others"), STEPPED),
    "RML, edit distance": (RML(payoff=EditDistancePayoff(temperature=TAU)), FREE),
    "RML, edit distance, 3 draws": (RML(payoff=EditDistancePayoff(temperature=TAU), estimator=Sampled(k=3)), FREE),
    "RML, published": (RML(payoff=PublishedEditDistancePayoff(temperature=TAU)), FREE),
    "RML, Hamming": (RML(payoff=HammingPayoff(temperature=TAU)), EVERY),
    "RML, Hamming, exact": (RML(payoff=HammingPayoff(temperature=TAU), estimator=Exact()), TAGGERS),
    "RML, reweighted": (RML(payoff=ReweightedPayoff(), estimator=SelfNormalised(k=3)), EVERY),
    "max-margin": (MaxMargin(), TAGGERS),
    "softmax-margin": (SoftmaxMargin(), TAGGERS),
    "perceptron": (Perceptron(), TAGGERS),
    "candidate hinge": (CandidateHinge(), EVERY),
    "candidate hinge, sum": (CandidateHinge(violations="sum", against="best", length_penalty=1.0), EVERY),
    "candidate softmax-margin": (CandidateHinge(violations="softmax"), EVERY),
    "distillation, per position": (Distillation(teacher="given"), STEPPED),
    "distillation, per sequence": (Distillation(teacher="given", per="sequence"), TAGGERS),
    "distillation, sampled": (Distillation(teacher="given", per="sequence", estimator=Sampled(k=2)), EVERY),
    "distillation, best": (Distillation(teacher="given", per="sequence", estimator=Best()), EVERY),
    "divergence": (Divergence(payoff=EditDistancePayoff(temperature=TAU), estimator=Sampled(k=3)), FREE),
    "divergence, Hamming": (Divergence(payoff=HammingPayoff(temperature=TAU)), EVERY),
    "divergence, exact": (Divergence(alpha=0.3, payoff=HammingPayoff(temperature=TAU), estimator=Exact()), TAGGERS),
    "divergence, expected reward": (Divergence(alpha=1.0, payoff=EditDistancePayoff(temperature=TAU)), FREE),
    "expected reward": (ExpectedReward(), TAGGERS),
    "expected reward, regularised": (ExpectedReward(temperature=0.5), TAGGERS),
    "GRPO": (GRPO(), EVERY),
    "GRPO, without its normalisations": (GRPO(scale="none", length="kept"), EVERY),
    "KL to a run": (KLToRun(run="given"), EVERY),
    "KL to a run, exact": (KLToRun(run="given", estimator=Exact()), TAGGERS),
    "DPO": (DPO(run="given"), EVERY),
    "CPO": (CPO(), EVERY),
    "minimum risk, n-best": (MinimumRisk(candidates=NBest(k=4)), EVERY),
    "minimum risk, beam": (MinimumRisk(candidates=Beam(k=3, reference="left out")), FREE),
    "minimum risk, samples": (MinimumRisk(), EVERY),
    "optimal completion": (OptimalCompletion(k=2), FREE),
    "REINFORCE": (REINFORCE(), EVERY),
    "REINFORCE, credit for tokens": (REINFORCE(credit="token", baseline=Learned(), ml_weight=0.5), EVERY),
    "REINFORCE, greedy baseline": (REINFORCE(baseline=Greedy(), entropy=0.1), EVERY),
    "REINFORCE, optimal baseline": (REINFORCE(baseline=OptimalToken(), credit="token"), STEPPED),
    "REINFORCE, critic": (REINFORCE(baseline=Critic(embedding=4, hidden=4), credit="token"), EVERY),
    "scheduled sampling": (ScheduledSampling(), FREE),
    "data noising": (DataNoising(rate=0.3), FREE),
    "SwitchOut": (SwitchOut(), EVERY),
    "weighted sum": (
        WeightedSum(
            parts=(
                Weighted(objective=MaximumLikelihood(), weight=0.3),
                Weighted(objective=LabelSmoothing(prior="unigram")),
                Weighted(objective=RML(payoff=HammingPayoff(temperature=TAU), estimator=Sampled(k=2)), weight=2),
            )
        ),
        STEPPED,
    ),
    "switch": (Switch(first=MaximumLikelihood(), second=LabelSmoothing(), at=Point(step=1)), STEPPED),
    "anneal": (Anneal(first=LabelSmoothing(), second=RML(), start=Point(share=0), end=Point(share=1)), FREE),
    "MIXER": (Mixer(), FREE),
    "adversarial": (Adversarial(objective=MaximumLikelihood()), EVERY),
    "adversarial, of drawn outputs": (Adversarial(objective=REINFORCE(), epsilon=2.0, weight=0.5), EVERY),
    "adversarial, exact RML": (
        Adversarial(objective=RML(payoff=HammingPayoff(temperature=TAU), estimator=Exact())),
        TAGGERS,
    ),
    "adversarial, in a sum": (
        WeightedSum(
            parts=(
                Weighted(objective=Adversarial(objective=RML(payoff=HammingPayoff(temperature=TAU)))),
                Weighted(objective=MaximumLikelihood()),
            )
        ),
        EVERY,
    ),
}
"""Every objective in each of its ways, and the quick models of the kit that it serves."""


def teacher_for(model: Model) -> Teacher:
    """Another network of the same model as a teacher, without a run that trained it."""
    return Teacher(built(model, seed=7), "symbols", "given")


@pytest.mark.parametrize(("objective", "models"), CASES.values(), ids=CASES)
def test_it_has_what_every_objective_must_have(objective: Objective, models: tuple[str, ...]) -> None:
    state = teacher_for if objective.learns_from else None
    assert check_objective(objective, state=state, models=QUICK) == models


@pytest.mark.parametrize(
    "name",
    ["scheduled sampling", "MIXER", "REINFORCE"],
)
def test_it_has_all_this_on_a_transformer_by_each_of_the_verbs(name: str) -> None:
    assert check_objective(CASES[name][0], models={"transformer": tiny_models()["transformer"]}) == ("transformer",)


def test_a_transformer_serves_every_objective_that_another_decoder_serves() -> None:
    served = {
        name: [objective for objective, model in combinations() if registered_name(model) == name] for name in DECODERS
    }
    assert served["transformer"] == served["seq2seq"] != []


def test_every_objective_has_a_case() -> None:
    ours = {objectives[name] for name in objectives if objectives[name].__module__.startswith("structpred.")}
    assert {type(objective) for objective, _ in CASES.values()} == ours


def test_draws_made_ahead_are_those_made_in_the_step() -> None:
    objective, targets = RML(estimator=Sampled(k=2)), Sequences.of([[0, 1], [2, 2, 1]])
    p = tiny_seq2seq(3).eval()(Sequences.of([[0], [1, 2]]))
    draws = objective.draw(targets, 3, torch.Generator().manual_seed(3))
    ahead = objective(p, targets, draws=draws)
    within = objective(p, targets, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(ahead.values, within.values, rtol=0, atol=0)
