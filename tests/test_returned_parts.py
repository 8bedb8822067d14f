"""What an objective's noise and draws, an optimiser, a schedule, a payoff and a network are is checked before use."""

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from structpred.distributions.protocols import LogProb
from structpred.errors import CodeError, ConfigError
from structpred.experiment import Experiment
from structpred.models import LSTMTagger
from structpred.objective import Losses, StepContext
from structpred.objectives import RML, ExpectedReward, MaximumLikelihood, MaxMargin
from structpred.payoffs import HammingPayoff, Temperature
from structpred.registry import models, objectives, optimisers, payoffs, rewards, schedules
from structpred.rewards import Reward
from structpred.sequences import Sequences
from structpred.task import Sizes
from structpred.training import Adam
from structpred.training.settings import Schedule
from tests.support.steps import TAGGER, TINY, one_step

SWAPPED: dict[str, Any] = {}
"""What a component of a user's returns in place of what it should, by the name of the method."""


@objectives.register("test-noisy-inputs")
@dataclass(frozen=True, kw_only=True)
class Noisy(MaximumLikelihood):
    """Adds noise of its own to inputs, draws outputs, and may break its gradient."""

    def corrupt(self, inputs: Sequences, symbols: int, generator: torch.Generator | None) -> Any:
        return SWAPPED.get("corrupt", lambda given, known: given)(inputs, symbols)

    @property
    def drawn(self) -> int:
        return 1

    def draw(self, targets: Sequences, num_labels: int, generator: torch.Generator) -> Any:
        return SWAPPED.get("draw", lambda given, known: given.candidates())(targets, num_labels)

    def losses(self, p: LogProb, targets: Sequences, context: StepContext) -> Losses:
        found = super().losses(p, targets, context)
        SWAPPED.get("losses", lambda given: None)(found.values)
        return found


@optimisers.register("test-own-optimiser")
@dataclass(frozen=True, kw_only=True)
class OwnOptimiser(Adam):
    @property
    def rate(self) -> Any:
        return SWAPPED.get("rate", 0.1)

    def build(self, parameters: Any) -> Any:
        return SWAPPED.get("build", lambda given: torch.optim.SGD(given, lr=0.1))(parameters)


@schedules.register("test-own-schedule")
@dataclass(frozen=True, kw_only=True)
class OwnSchedule(Schedule):
    def after_warmup(self, progress: float) -> Any:
        return SWAPPED.get("factor", 1.0)


@models.register("test-lazy")
@dataclass(frozen=True, kw_only=True)
class Lazy(LSTMTagger):
    def build(self, sizes: Sizes) -> nn.Module:
        network = super().build(sizes)
        network.extra = nn.LazyLinear(2)
        return network


@rewards.register("test-no-costs")
@dataclass(frozen=True, kw_only=True)
class NoCosts(Reward):
    decomposes: ClassVar[bool] = True
    same_length: ClassVar[bool] = True

    def score(self, outputs: Sequences, references: Sequences) -> Tensor:
        return -outputs.lengths.float()


@payoffs.register("test-other-payoff")
@dataclass(frozen=True, kw_only=True)
class OtherPayoff(HammingPayoff):
    def distribution(self, targets: Sequences, num_labels: int) -> Any:
        return SWAPPED.get("distribution")


NOISY = replace(TINY, model=TAGGER, objective=Noisy())
OPTIMISED = replace(TINY, model=TAGGER, optimiser=OwnOptimiser(schedule=OwnSchedule()))
COSTLESS = [replace(TINY, model=TAGGER, objective=kind(reward=NoCosts())) for kind in (MaxMargin, ExpectedReward)]
OTHER = RML(payoff=OtherPayoff(temperature=Temperature(edit_rate=0.1)))
WRONG: list[tuple[Experiment, str, Any, str]] = [
    (NOISY, "corrupt", lambda given, known: None, r"Noisy\.corrupt must return the inputs with noise, .* None"),
    (NOISY, "corrupt", lambda given, known: given.labels, r"Noisy\.corrupt must return .*, but returned a Tensor"),
    (NOISY, "corrupt", lambda given, known: given.select(slice(1)), r"examples, but returned inputs of 1 examples"),
    (
        NOISY,
        "corrupt",
        lambda given, known: replace(given, lengths=given.lengths + 9),
        r"Noisy\.corrupt, lengths, must",
    ),
    (
        NOISY,
        "corrupt",
        lambda given, known: replace(given, labels=given.labels + known + 1),
        r"symbols 0 to \d, but returned the symbol \d; draw",
    ),
    (
        NOISY,
        "draw",
        lambda given, known: replace(given.candidates(), labels=given.labels.unsqueeze(1) + known),
        r"Noisy\.draw must return outputs of the labels 0 to \d, but returned the label \d; draw others",
    ),
    (NOISY, "draw", lambda given, known: replace(given.candidates(), labels=given.labels.unsqueeze(1) - 9), "label -9"),
    (
        NOISY,
        "draw",
        lambda given, known: replace(given.candidates(), lengths=given.lengths.unsqueeze(1) + 9),
        r"Noisy\.draw, lengths, must return numbers from 0 to \d, the size of the time axis, but returned \d+ to \d+",
    ),
    (
        NOISY,
        "losses",
        lambda given: given.sum().backward(),
        r"^the gradient of the losses cannot be computed \(Trying to backward .*\); a component of your own may have",
    ),
    (OPTIMISED, "rate", None, r"OwnOptimiser\.rate must return a finite number of at least 0, but returned None"),
    (OPTIMISED, "rate", -1.0, "but returned a float: -1.0; return a float"),
    (OPTIMISED, "factor", math.nan, r"OwnSchedule, at 0 of training, as a factor, must .* returned a float: nan"),
    (OPTIMISED, "factor", "1", r"but returned a str: '1'"),
    (OPTIMISED, "build", lambda given: None, r"OwnOptimiser\.build must return a torch\.optim\.Optimizer, .* None"),
    (OPTIMISED, "build", torch.optim.LBFGS, "whose step needs no closure, but returned LBFGS"),
    (
        OPTIMISED,
        "build",
        lambda given: torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1),
        "an optimiser of the given parameters, but returned one of none of them",
    ),
    (replace(TINY, model=Lazy()), "", None, r"Lazy\.build must return .*, but returned one with extra\."),
    (COSTLESS[0], "", None, r"^NoCosts, which says decomposes = True, must return the terms .*write it, or leave"),
    (COSTLESS[1], "", None, r"^NoCosts, which says decomposes = True, must return the terms"),
    (replace(NOISY, objective=OTHER), "", None, r"^OtherPayoff\.distribution must return a \w+, but returned None"),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_what_else_a_component_returns_is_checked(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, method, value, words = WRONG[number]
    if method:
        monkeypatch.setitem(SWAPPED, method, value)
    with pytest.raises((ConfigError, CodeError), match=words):
        one_step(experiment)


@pytest.mark.parametrize("experiment", [NOISY, OPTIMISED])
def test_the_right_values_pass(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SWAPPED, "factor", torch.tensor(0.5))
    assert one_step(experiment).steps == 2
