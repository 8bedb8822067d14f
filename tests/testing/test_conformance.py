"""The conformance kit passes what is right and says what is wrong with what is not."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from structpred.distributions import Factorised
from structpred.distributions.protocols import LogProb, Sample
from structpred.models import CRF, LSTMTagger, Model, Seq2Seq, Transformer
from structpred.objective import Losses, Objective, StepContext
from structpred.objectives import MaximumLikelihood
from structpred.payoffs import EditDistancePayoff, HammingPayoff, Payoff, PublishedEditDistancePayoff, Temperature
from structpred.registry import rewards
from structpred.rewards import (
    ConstantReward,
    EditDistance,
    EveryReference,
    FunctionReward,
    Hamming,
    Reward,
    SentenceBleu,
    SentenceChrf,
    SentenceGleu,
    SentenceTer,
    TextBleu,
    WeightedReward,
    WeightedRewards,
)
from structpred.sequences import Sequences
from structpred.task import Sizes
from structpred.testing import check_model, check_objective, check_payoff, check_reward
from structpred.testing.spaces import tiny_models
from tests.support.tiny import QUICK

TEPID = Temperature(literal=0.6)


# --------------------------------------------------------------------------------------------------- ours pass


@pytest.mark.parametrize("name", tiny_models())
def test_our_models_pass(name: str) -> None:
    check_model(tiny_models()[name])


def agreement(output: str, reference: str) -> float:
    """How many characters agree, on whatever it sees."""
    return float(sum(one == other for one, other in zip(output, reference, strict=False)))


def weighted(*parts: Reward) -> WeightedRewards:
    return WeightedRewards(parts=tuple(WeightedReward(reward=each, weight=0.5 + i) for i, each in enumerate(parts)))


REWARDS: tuple[Reward, ...] = (
    ConstantReward(),
    Hamming(),
    EditDistance(),
    EveryReference(),
    SentenceBleu(),
    SentenceBleu(order=2, smoothing="add-k"),
    SentenceGleu(),
    SentenceGleu(order=1),
    SentenceChrf(),
    SentenceChrf(word_order=2, whitespace=True),
    SentenceTer(),
    TextBleu(),
    FunctionReward(function=f"{__name__}:agreement", on="text"),
    weighted(EditDistance()),
    weighted(Hamming(), weighted(Hamming(), Hamming())),
    weighted(EditDistance(), SentenceBleu(), SentenceTer()),
)


@pytest.mark.parametrize("reward", REWARDS, ids=lambda reward: type(reward).__name__)
def test_our_rewards_pass(reward: Reward) -> None:
    check_reward(reward)


def test_every_reward_is_among_them() -> None:
    ours = {rewards[name] for name in rewards if rewards[name].__module__.startswith("structpred.")}
    assert {type(reward) for reward in REWARDS} == ours


@pytest.mark.parametrize(
    "payoff",
    [HammingPayoff(temperature=TEPID), EditDistancePayoff(temperature=TEPID)],
    ids=lambda payoff: type(payoff).__name__,
)
def test_our_exact_payoffs_pass(payoff: Payoff) -> None:
    check_payoff(payoff)


def test_the_published_sampler_does_not_pass_for_exact() -> None:
    with pytest.raises(AssertionError, match=r"draws do not follow exp\(r/τ\)"):
        check_payoff(PublishedEditDistancePayoff(temperature=TEPID))


# ------------------------------------------------------------------------------------------- faults are found


class Probed(LogProb, Sample):
    """For the type checker: what the planted objectives use."""


@dataclass(frozen=True, kw_only=True)
class Planted(Objective):
    """An objective whose fault is chosen by name; the estimator draws two outputs and centres their rewards."""

    fault: str

    @property
    def exact(self) -> bool:
        return self.fault not in ("own sample", "none")

    requires = (LogProb, Sample)

    def losses(self, p: Probed, targets: Sequences, context: StepContext) -> Losses:
        log_prob = p.log_prob(targets.candidates()).squeeze(1)
        if self.fault == "reduced":
            return Losses((-log_prob).mean().unsqueeze(0))
        if self.fault == "attached":
            return Losses(-log_prob, {"likelihood": log_prob})
        if self.fault == "infinite":
            return Losses(log_prob / 0.0)
        if self.fault == "coupled":
            return Losses(-log_prob - torch.arange(len(targets)) * log_prob)
        if self.fault == "global draws":
            return Losses(-log_prob * torch.rand(len(targets), dtype=torch.float64))
        if self.fault == "stopped":
            return Losses(-log_prob * log_prob.detach())
        outputs = p.sample(2, context.generator)
        rewards = length_reward(outputs)
        baseline = rewards.flip(1) if self.fault == "none" else rewards.mean(1, keepdim=True)
        return Losses(-((rewards - baseline) * p.log_prob(outputs)).mean(1))


def length_reward(outputs: Sequences) -> Tensor:
    first = outputs.labels[..., 0] if outputs.labels.shape[-1] else torch.zeros_like(outputs.lengths)
    return outputs.lengths.double() + 3 * first.double()


def minus_expected_reward(log_probs: Tensor, outputs: Sequences, target: Sequences) -> Tensor:
    del target
    return -(log_probs.exp() * length_reward(outputs)[0]).sum()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("reduced", "expected one loss per example"),
        ("attached", "the diagnostic 'likelihood' must be detached"),
        ("infinite", "losses must be finite"),
        ("coupled", "permuting the batch must permute the losses"),
        ("global draws", "the same generator must give the same losses"),
        ("stopped", "not that of finite differences"),
    ],
)
def test_a_faulty_objective_is_told_what_is_wrong(fault: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_objective(Planted(fault=fault))


def test_a_biased_estimator_is_found_by_enumeration_and_an_unbiased_one_passes() -> None:
    assert check_objective(Planted(fault="none"), models=QUICK, samples=2, exactly=minus_expected_reward) == tuple(
        QUICK
    )
    with pytest.raises(AssertionError, match="the estimator is biased"):
        check_objective(Planted(fault="own sample"), samples=2, exactly=minus_expected_reward)


def test_an_objective_that_refuses_every_model_is_said_to() -> None:
    with pytest.raises(AssertionError, match="refuses every model"):
        check_objective(MaximumLikelihood(), models={"mute": OddMute(fault="none")})


@dataclass(frozen=True, kw_only=True)
class PlantedReward(Reward):
    """Minus the difference in length, with a fault chosen by name."""

    fault: str

    def score(self, outputs: Sequences, references: Sequences) -> Tensor:
        several = references if references.lengths.ndim == 2 else references.candidates()
        if self.fault == "padding":
            return -outputs.labels.sum(-1).double()
        gaps = (outputs.lengths.unsqueeze(-1) - several.lengths.unsqueeze(1)).double()
        if self.fault == "sign":
            return gaps.abs().amax(-1)
        if self.fault == "worst":
            return -gaps.abs().amax(-1)
        scores = -gaps.abs().amin(-1)
        return scores - scores.mean(1, keepdim=True) if self.fault == "centred" else scores


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("padding", "scores higher than the reference itself|padding must not matter"),
        ("sign", "scores higher than the reference itself"),
        ("centred", "scores higher than the reference itself|candidates must not interact"),
        ("worst", "of several references the best must count"),
    ],
)
def test_a_faulty_reward_is_told_what_is_wrong(fault: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_reward(PlantedReward(fault=fault))


def test_a_sound_reward_of_one_s_own_passes() -> None:
    check_reward(PlantedReward(fault="none"))


@dataclass(frozen=True, kw_only=True)
class PooledReward(Reward):
    """Minus the difference from the mean length of the references, with a fault chosen by name."""

    pools_references: ClassVar[bool] = True

    fault: str

    def score(self, outputs: Sequences, references: Sequences) -> Tensor:
        several = references if references.lengths.ndim == 2 else references.candidates()
        lengths = several.lengths.double()
        middle = {"first": lengths[:, :1], "sum": lengths.sum(1, keepdim=True)}.get(
            self.fault, lengths.mean(1, keepdim=True)
        )
        return -(outputs.lengths - middle).abs()


@pytest.mark.parametrize(
    ("fault", "message"),
    [("first", "the order of references must not matter"), ("sum", "given twice must be worth what it is alone")],
)
def test_a_reward_that_pools_references_passes_if_it_is_sound(fault: str, message: str) -> None:
    check_reward(PooledReward(fault="none"))
    with pytest.raises(AssertionError, match=message):
        check_reward(PooledReward(fault=fault))


@dataclass(frozen=True)
class Skewed:
    """Draws of another payoff, changed."""

    q: Sample
    fault: str

    def sample(self, k: int, generator: torch.Generator | None = None) -> Sequences:
        drawn = self.q.sample(k, torch.Generator() if self.fault == "unseeded" else generator)
        if self.fault == "unseeded":
            return self.q.sample(k, torch.Generator().manual_seed(int(torch.randint(2**31, ()))))
        labels = drawn.labels + 7 if self.fault == "specials" else drawn.labels
        lengths = drawn.lengths if self.fault != "longer" else drawn.lengths.clamp(min=1)
        return Sequences(labels if labels.shape[-1] else labels.new_zeros(*labels.shape[:-1], 1), lengths)


@dataclass(frozen=True, kw_only=True)
class PlantedPayoff(Payoff):
    """Hamming's, with a fault chosen by name."""

    distribution_class: ClassVar[type] = Skewed
    keeps_length: ClassVar[bool] = True

    fault: str

    @property
    def reward(self) -> Reward:
        return Hamming()

    def literal(self, num_labels: int) -> float:
        return HammingPayoff(temperature=self.temperature).literal(num_labels)

    def distribution(self, targets: Sequences, num_labels: int) -> Sample:
        hotter = Temperature(literal=self.literal(num_labels) * (1.3 if self.fault == "hotter" else 1.0))
        return Skewed(HammingPayoff(temperature=hotter).distribution(targets, num_labels), self.fault)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("specials", "only the labels 0 to 1 may be drawn"),
        ("longer", "as long as their reference"),
        ("hotter", "do not follow"),
        ("unseeded", "the same generator must give the same draws"),
    ],
)
def test_a_faulty_payoff_is_told_what_is_wrong(fault: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_payoff(PlantedPayoff(temperature=TEPID, fault=fault))
    check_payoff(PlantedPayoff(temperature=TEPID, fault="none"))


class OddNetwork(nn.Module):
    """A table of scores for each input symbol, with a fault chosen by name."""

    def __init__(self, sizes: Sizes, fault: str) -> None:
        super().__init__()
        self.fault = fault
        self.scores = nn.Embedding(sizes.num_inputs + 1, sizes.num_labels)

    def forward(self, inputs: Sequences) -> "Factorised | Unnormalised":
        assert isinstance(inputs, Sequences)
        scores = self.scores(inputs.labels)
        if self.fault == "batch":
            scores = scores + torch.arange(2.0, dtype=scores.dtype) * (len(inputs) - 1)
        if self.fault == "padding":
            scores = scores - scores.sum(1, keepdim=True)
        p = Factorised(scores, inputs.lengths)
        return Unnormalised(p) if self.fault == "unnormalised" else p


@dataclass(frozen=True)
class Unnormalised:
    """A distribution whose probabilities sum to more than one."""

    fixed_length: ClassVar[bool] = True

    p: Factorised

    @property
    def num_labels(self) -> int:
        return self.p.num_labels

    def log_prob(self, outputs: Sequences) -> Tensor:
        return self.p.log_prob(outputs) + 0.1


class Mute:
    """A distribution that offers nothing."""

    num_labels = 2
    fixed_length: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class Odd(Model):
    """A model with a fault chosen by name."""

    distribution: ClassVar[type] = Factorised

    fault: str

    def build(self, sizes: Sizes) -> nn.Module:
        return OddNetwork(sizes, self.fault)


@dataclass(frozen=True, kw_only=True)
class OddUnnormalised(Odd):
    """One that declares it."""

    distribution: ClassVar[type] = Unnormalised


@dataclass(frozen=True, kw_only=True)
class OddMute(Odd):
    """One that offers no verb."""

    distribution: ClassVar[type] = Mute


def test_a_sound_model_of_one_s_own_passes() -> None:
    check_model(Odd(fault="none"))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Odd(fault="batch"), "other inputs of the batch, or padding, change the probabilities"),
        (Odd(fault="padding"), "other inputs of the batch, or padding, change the probabilities"),
        (Odd(fault="unnormalised"), "declares Factorised, but returns Unnormalised"),
        (OddUnnormalised(fault="unnormalised"), "probabilities sum to 1.105"),
    ],
)
def test_a_faulty_model_is_told_what_is_wrong(model: Model, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_model(model)


def test_tiny_models_are_of_every_kind() -> None:
    kinds = {type(model) for model in tiny_models().values()}
    assert kinds == {CRF, LSTMTagger, Seq2Seq, Transformer}
    assert all(replace(model) == model for model in tiny_models().values())
