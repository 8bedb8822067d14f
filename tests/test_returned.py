"""What users' rewards, objectives and networks return: one sentence for whatever is not what it should be."""

import math
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
import torch
from torch import Tensor, nn

from structpred.distributions import Factorised
from structpred.distributions.protocols import LogProb
from structpred.errors import ConfigError
from structpred.models import LSTMTagger, Model
from structpred.objective import Losses, Objective, StepContext
from structpred.objectives import (
    REINFORCE,
    RML,
    CandidateHinge,
    Divergence,
    Exact,
    ExpectedReward,
    LabelSmoothing,
    MaximumLikelihood,
    MaxMargin,
    MinimumRisk,
    Mixer,
    OptimalCompletion,
    Point,
    SoftmaxMargin,
    Weighted,
    WeightedSum,
)
from structpred.payoffs import EditDistancePayoff, HammingPayoff, Temperature
from structpred.registry import models, objectives, rewards
from structpred.returned import waiting
from structpred.rewards import Hamming, Reward
from structpred.rewards.base import costs_of, increments_of, scores_of
from structpred.sequences import Sequences
from structpred.task import Sizes
from structpred.training.data import EncodedData
from structpred.training.meters import NonfiniteGuard
from structpred.training.monitoring import DiagnosticWarning
from structpred.training.trainer import Training
from tests.support.device import DEVICE, Watch, move
from tests.support.steps import CHAIN, TAGGER, TINY, one_step
from tests.support.tiny import tiny_p

DATA = TINY.task.load()
HERE = Path(__file__).name
OUTPUTS = Sequences(torch.ones(3, 2, 4, dtype=torch.long), torch.full((3, 2), 4))
TARGETS = Sequences(torch.zeros(3, 4, dtype=torch.long), torch.full((3,), 4))


CHANGES: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "column": (lambda x: x[:, :1], r"of shape \({shape}\), but returned one of shape \({batch}, 1"),
    "row": (lambda x: x[:1], r"of shape \({shape}\), but returned one of shape \(1, "),
    "number": (lambda x: x.sum(), r"of shape \({shape}\), but returned one of shape \(\);"),
    "list": (lambda x: x.tolist(), r"a tensor \[batch, .*, but returned a list: \[\["),
    "nothing": (lambda x: None, r"a tensor \[batch, .*, but returned None;"),
    "whole": (lambda x: x.long(), r"of floating-point numbers, but returned one of torch\.int64; convert it"),
    "complex": (lambda x: x + 1j, r"of floating-point numbers, but returned one of torch\.complex64"),
    "nan": (lambda x: x * math.nan, r"finite in single precision, but returned nan at \[0, 0"),
    "inf": (lambda x: x.masked_fill(x == x, math.inf), r"finite in single precision, but returned inf at \[0, 0"),
    "-inf": (lambda x: x.masked_fill(x == x, -math.inf), r"finite in single precision, but returned -inf at \[0, 0"),
    "1e300": (lambda x: x.double() * 0 + 1e300, r"finite in single precision, but returned 1e\+300 at \[0, 0"),
    "gradient": (lambda x: x.clone().requires_grad_(), r"without a gradient, but returned a tensor that requires one"),
    "sparse": (lambda x: x.to_sparse(), r"of floating-point numbers, but returned one of layout torch\.sparse_coo"),
    "elsewhere": (lambda x: x.to("meta"), r"on cpu, but returned one on meta; compute it where"),
}


@rewards.register("test-changed")
@dataclass(frozen=True, kw_only=True)
class Changed(Hamming):
    """Hamming, but one of its methods returns something else."""

    method: str = "score"
    change: str = "column"

    def score(self, outputs: Sequences, references: Sequences) -> Any:
        return self._changed("score", -outputs.labels.sum(-1).float())

    def costs(self, references: Sequences, labels: int) -> Any:
        return self._changed("costs", super().costs(references, labels))

    def increments(self, outputs: Sequences, references: Sequences) -> Any:
        steps = torch.zeros(*outputs.lengths.shape, outputs.labels.shape[-1] + 1)
        return self._changed("increments", steps)

    def _changed(self, method: str, right: Tensor) -> Any:
        return CHANGES[self.change][0](right) if method == self.method else right


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    ("method", "ask", "shape"),
    [
        ("score", lambda reward: scores_of(reward, OUTPUTS, TARGETS), (3, 2)),
        ("costs", lambda reward: costs_of(reward, TARGETS, 5), (3, 4, 5)),
        ("increments", lambda reward: increments_of(reward, OUTPUTS, TARGETS), (3, 2, 5)),
    ],
)
def test_a_reward_that_returns_something_else_is_refused(
    change: str, method: str, ask: Callable[[Reward], Tensor], shape: tuple[int, ...]
) -> None:
    words = CHANGES[change][1].format(shape=", ".join(map(str, shape)), batch=shape[0])
    with pytest.raises(ConfigError, match=rf"^Changed\.{method} must return .*{words}"):
        ask(Changed(method=method, change=change))
    assert ask(Changed(method="none")).shape == shape


@rewards.register("test-spiteful")
@dataclass(frozen=True, kw_only=True)
class Spiteful(Hamming):
    """Hamming, but one label costs less than the reference's own, at one position."""

    place: tuple[int, int, int]

    def costs(self, references: Sequences, labels: int) -> Tensor:
        found = super().costs(references, labels)
        found[self.place] = -0.5
        return found


def test_a_cost_below_zero_is_refused_unless_it_is_of_padding() -> None:
    references = Sequences(TARGETS.labels, torch.tensor([4, 3, 4]))
    with pytest.raises(
        ConfigError, match=r"^Spiteful\.costs must return no negative numbers, but .* -0\.5 at \[1, 2, 4\]"
    ):
        costs_of(Spiteful(place=(1, 2, 4)), references, 5)
    assert costs_of(Spiteful(place=(1, 3, 4)), references, 5).shape == (3, 4, 5)


@rewards.register("test-free")
@dataclass(frozen=True, kw_only=True)
class Free(Reward):
    """One number for each example, whatever the candidate."""

    def score(self, outputs: Sequences, references: Sequences) -> Tensor:
        return -outputs.lengths.float()[:, :1]


ASKING: list[tuple[Model, Objective, str]] = [
    *((TAGGER, make(reward=Changed(change="row")), "score") for make in (REINFORCE, MinimumRisk, CandidateHinge)),
    (TAGGER, ExpectedReward(reward=Changed(change="row")), "score"),
    (TINY.model, Mixer(reward=Free(), start=Point(step=0), end=Point(step=1)), "score"),
    (TAGGER, REINFORCE(credit="token", reward=Changed(method="increments")), "increments"),
    (TAGGER, ExpectedReward(reward=Changed(method="costs")), "costs"),
    (CHAIN, MaxMargin(reward=Changed(method="costs")), "costs"),
    (CHAIN, MaxMargin(reward=Changed(change="row")), "score"),
    (CHAIN, SoftmaxMargin(reward=Changed(method="costs")), "costs"),
]


@pytest.mark.parametrize(("model", "objective", "method"), ASKING)
def test_every_objective_checks_what_its_reward_returns(model: Model, objective: Objective, method: str) -> None:
    with pytest.raises(ConfigError, match=rf"^(Changed|Free)\.{method} must return a tensor \[batch, .* of shape \("):
        one_step(replace(TINY, model=model, objective=objective))


def test_no_objective_asks_a_reward_itself() -> None:
    folder = Path(__file__).parents[1] / "objectives"
    asked = re.compile(r"reward\w*\.(score|costs|increments)\(")
    assert [path.name for path in folder.glob("*.py") if asked.search(path.read_text(encoding="utf-8"))] == []


LOSSES: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "one": (lambda x: Losses(x.mean().view(1)), r"values, must return a tensor \[batch\] of shape .* of shape \(1,\)"),
    "scalar": (lambda x: Losses(x.mean()), r"values, must return .* but returned one of shape \(\)"),
    "column": (lambda x: Losses(x.unsqueeze(1)), r"values, must return .* but returned one of shape \(\d+, 1\)"),
    "bare": (lambda x: x, r"must return Losses, but returned a Tensor: tensor\(.*; return Losses\(values\)"),
    "nothing": (lambda x: None, r"must return Losses, but returned None"),
    "numbers": (lambda x: Losses(cast(Any, x.tolist())), r"values, must return a tensor .*, but returned a list"),
    "whole": (lambda x: Losses(x.long()), r"values, must return .*, but returned one of torch\.int64"),
    "unconnected": (
        lambda x: Losses(torch.zeros_like(x, requires_grad=True)),
        r"must return losses with a gradient to the model's weights, but returned values that do not depend on them",
    ),
    "detached": (lambda x: Losses(x.detach()), r"must return losses with a gradient .*, but returned values without"),
    "diagnostics": (lambda x: Losses(x, cast(Any, [x.detach()])), r"must return a dictionary, but returned a list"),
    "name": (lambda x: Losses(x, cast(Any, {3: x.detach()})), r"diagnostics\[3\], must return a name that is text"),
    "mean": (lambda x: Losses(x, {"a": x.mean().detach()}), r"\['a'\], .*, but returned one of shape \(\)"),
    "plain": (lambda x: Losses(x, cast(Any, {"a": 0.5})), r"\['a'\], must .*, but returned a float: 0\.5"),
    "keeping": (lambda x: Losses(x, {}, cast(Any, [x])), r"kept, must return a dictionary, but returned a list"),
    "keeping nothing": (lambda x: Losses(x, {}, cast(Any, None)), r"kept, must return a dictionary, but returned None"),
    "kept scalar": (lambda x: Losses(x, {}, {"a": x.detach().sum()}), r"kept\['a'\], .*, but returned one of shape \("),
    "attached": (lambda x: Losses(x, {"a": x}), r"diagnostics\['a'\], must return numbers without a gradient"),
}  # fmt: skip


@objectives.register("test-returning")
@dataclass(frozen=True, kw_only=True)
class Returning(Objective):
    """Maximum likelihood, returned in another form."""

    form: str

    requires = (LogProb,)

    def losses(self, p: LogProb, targets: Sequences, context: StepContext) -> Any:
        return LOSSES[self.form][0](-p.log_prob(targets.candidates()).squeeze(1))


def test_a_diagnostic_that_is_not_finite_is_told_once() -> None:
    run = Training(replace(TINY, objective=Telling()), EncodedData.of(DATA, TINY.model), device="cpu")
    for _ in range(2):
        run._train(run._plan())
        if not run.history:
            with pytest.warns(
                DiagnosticWarning, match=r"^the diagnostic 'odd' of Telling is not finite in epoch 1, although"
            ):
                run._finish_epoch()
        else:
            run._finish_epoch()
    assert math.isfinite(run.history[1].loss)


@objectives.register("test-telling")
@dataclass(frozen=True, kw_only=True)
class Telling(MaximumLikelihood):
    """Maximum likelihood with an odd number beside it."""

    def losses(self, p: LogProb, targets: Sequences, context: StepContext) -> Losses:
        values = super().losses(p, targets, context).values
        return Losses(values, {"odd": values.detach() * math.nan, "even": values.detach()})


@pytest.mark.parametrize("form", LOSSES)
def test_an_objective_that_returns_something_else_is_refused(form: str) -> None:
    with pytest.raises(ConfigError, match=rf"^Returning\.losses.*{LOSSES[form][1]}"):
        one_step(replace(TINY, objective=Returning(form=form)))


@objectives.register("test-updating")
@dataclass(frozen=True, kw_only=True)
class Updating(MaximumLikelihood):
    """Makes an odd number of updates on each batch."""

    number: str

    @property
    def updates(self) -> Any:
        return {"none": 0, "two": 2.0, "text": "2"}[self.number]


def test_targets_and_distributions_of_one_s_own_loop_are_checked() -> None:
    scores, lengths = torch.randn(2, 2, 3), torch.tensor([2, 1])
    padded = Sequences(torch.tensor([[1, 0], [2, -100]]), lengths)  # the padding of PyTorch's losses
    for p in Factorised(scores, lengths), tiny_p(labels=3):
        found = LabelSmoothing()(p, padded).values
        assert torch.equal(found, LabelSmoothing()(p, Sequences.of([[1, 0], [2]])).values)
        with pytest.raises(ConfigError, match=r"expected labels from 0 to 2, since there are 3, but got 1 to 3"):
            MaximumLikelihood()(p, Sequences.of([[1, 3], [2]]))
    near = Temperature(literal=0.5)
    with pytest.raises(ConfigError, match=r"needs `log_overlap`, which Autoregressive does not offer; use estimator="):
        Divergence(payoff=HammingPayoff(temperature=near), alpha=0.5, estimator=Exact())(tiny_p(labels=3), padded)
    free = RML(payoff=EditDistancePayoff(temperature=near))
    for objective in free, OptimalCompletion():
        with pytest.raises(ConfigError, match=r"but with Factorised the input decides the length; use"):
            objective(Factorised(scores, lengths), padded, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("number", ["none", "two", "text"])
def test_a_number_of_updates_that_is_none_is_refused(number: str) -> None:
    said = r"^Updating\.updates must return a whole number of at least 1, but returned \S+; return 1 for"
    with pytest.raises(ConfigError, match=said):
        one_step(replace(TINY, objective=Updating(number=number)))
    with pytest.raises(ConfigError, match=said):
        WeightedSum(parts=(Weighted(objective=Updating(number=number)),))


def test_a_part_of_a_sum_is_checked_as_well() -> None:
    """Of shape [1] it would be broadcast."""
    both = WeightedSum(parts=tuple(Weighted(objective=each) for each in (MaximumLikelihood(), Returning(form="one"))))
    with pytest.raises(ConfigError, match=r"^Returning\.losses, values, must return a tensor \[batch\]"):
        one_step(replace(TINY, objective=both))


@objectives.register("test-drawing-less")
@dataclass(frozen=True, kw_only=True)
class DrawingLess(MaximumLikelihood):
    """Draws for half of the examples."""

    say: int = 1
    forget: bool = False

    @property
    def drawn(self) -> int:
        return self.say

    def draw(self, targets: Sequences, labels: int, generator: torch.Generator) -> Sequences | None:
        return (
            None if self.forget else targets.candidates().select(slice(0, len(targets) // (2 if self.say == 1 else 1)))
        )

    def state(self, sizes: Sizes) -> Any:
        return 3 if self.say == 3 else None


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        (DrawingLess(), r"DrawingLess\.draw must return .* of \(40, 1\) outputs, but returned \(20, 1\) of them"),
        (DrawingLess(say=2), r"of \(40, 2\) outputs, but returned \(40, 1\) of them; its property `drawn` must say"),
        (DrawingLess(forget=True), r"of \(40, 1\) outputs, but returned None"),
        (DrawingLess(say=3), r"DrawingLess\.state must return a torch\.nn\.Module, but returned an int: 3"),
    ],
)
def test_draws_and_states_are_checked(objective: Objective, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        one_step(replace(TINY, objective=objective))


@models.register("test-odd-network")
@dataclass(frozen=True, kw_only=True)
class OddNetwork(LSTMTagger):
    """A tagger whose network is odd in a way."""

    way: str = "none"

    def build(self, sizes: Sizes) -> Any:
        network = super().build(sizes)
        if self.way == "frozen":
            return network.requires_grad_(False)
        return {"none": None, "class": nn.Linear, "scores": Bare(network)}[self.way]


class Bare(nn.Module):
    """Returns a tensor where a distribution belongs."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: Sequences) -> Tensor:
        return inputs.labels.float()


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("none", r"OddNetwork\.build must return a torch\.nn\.Module, but returned None"),
        ("class", r"OddNetwork\.build must return a torch\.nn\.Module, but returned a type: <class .*Linear'>"),
        ("frozen", r"OddNetwork\.build must return a network with weights to train, but returned one without"),
        ("scores", r"the network of OddNetwork must return its distribution, \w+, but returned a Tensor"),
    ],
)
def test_a_network_is_checked(way: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        one_step(replace(TINY, model=OddNetwork(way=way, embedding=8, hidden=8)))


def on_the_device(objective: Objective, monkeypatch: pytest.MonkeyPatch) -> Training:
    """A run on the stand-in for a device, before its first step."""
    monkeypatch.setattr(sys.modules["torch.optim.adam"], "_device_dtype_check_for_fused", lambda *_, **__: None)
    experiment = replace(TINY, objective=objective, model=TAGGER)
    run = Training(experiment, EncodedData.of(DATA, experiment.model), device="cpu")
    there = run.stepper
    move(there.modules)
    there.parameters = list(there.modules.parameters())
    there.optimizer = experiment.optimiser.build(there.parameters)
    there.guard = NonfiniteGuard(DEVICE)
    run.resident = run.prepared.training.to(DEVICE)
    return run


def test_numbers_on_a_device_are_looked_at_only_where_training_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    with Watch() as watch:
        run = on_the_device(MinimumRisk(reward=NotOnes()), monkeypatch)
        plan = run._plan()
        run.stepper.train_step(plan, 0, 0, 0.0)
        assert "structpred/returned.py: _check_finite" not in watch.waited
        with pytest.raises(ConfigError, match=r"^NotOnes\.score must return numbers that are finite"):
            run.stepper.examine(plan, 0, 0, 0.0)
        assert "structpred/returned.py: _check_finite" in watch.waited
        monkeypatch.setattr(run.reporter, "due", lambda: True)
        with pytest.raises(ConfigError, match=r"^NotOnes\.score must return numbers that are finite"):
            run._train(plan)


@pytest.mark.slow(seconds=2)
def test_many_skips_in_a_row_on_a_device_blame_the_reward(monkeypatch: pytest.MonkeyPatch) -> None:
    with Watch():
        run = on_the_device(MinimumRisk(reward=NotOnes()), monkeypatch)
        monkeypatch.setattr(run.reporter, "due", lambda: False)
        plan = run._plan()
        for step in range(10):
            run.position = step % len(plan)
            run._train(plan)
        run.guard.position = torch.tensor(run.position)  # the stand-in loses it
        with pytest.raises(ConfigError, match=r"^NotOnes\.score must return numbers that are finite"):
            run._refuse_what_is_not_finite(plan)


@rewards.register("test-not-ones")
@dataclass(frozen=True, kw_only=True)
class NotOnes(Reward):
    """NaN, wherever it is computed."""

    same_length: ClassVar[bool] = True

    def score(self, outputs: Sequences, references: Sequences) -> Tensor:
        return outputs.lengths.float() * math.nan


def test_waiting_ends_with_its_block() -> None:
    with Watch() as watch:
        outputs, targets = OUTPUTS.to(DEVICE), TARGETS.to(DEVICE)
        with pytest.raises(ConfigError), waiting():
            scores_of(NotOnes(), outputs, targets)
        watch.waited.clear()
        with waiting(False):
            scores_of(NotOnes(), outputs, targets)
        scores_of(NotOnes(), outputs, targets)
        assert watch.waited == []
