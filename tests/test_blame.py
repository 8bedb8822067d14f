"""Errors in users' code, wherever training calls it: a sentence with class, file and line, caused by the error."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from structpred.blame import blaming
from structpred.errors import CodeError, ConfigError
from structpred.experiment import Experiment
from structpred.metrics import Metric, WordErrorRate
from structpred.models import LSTMTagger, Seq2Seq
from structpred.objective import Losses, StepContext
from structpred.objectives import MaximumLikelihood, MinimumRisk
from structpred.registry import models, objectives, rewards, tasks
from structpred.rewards import EditDistance, FunctionReward
from structpred.runs import train
from structpred.sequences import Sequences
from structpred.task import Sizes, Splits
from structpred.training import Adam, Trainer
from structpred.vocabulary import Symbols
from tests.support.tiny import Copying

HERE = Path(__file__)
TINY = Experiment(
    task=Copying(),
    model=Seq2Seq(embedding=8, hidden=8, dropout=0.0),
    objective=MaximumLikelihood(),
    optimiser=Adam(lr=1e-2),
    trainer=Trainer(epochs=1, batch_tokens=40),
)


def helper(where: str, wanted: str) -> None:
    if where == wanted:
        raise ZeroDivisionError("out of\nluck")  # here


def line() -> int:
    lines = HERE.read_text(encoding="utf-8").splitlines()
    return next(number for number, text in enumerate(lines, start=1) if text.endswith("  # here"))


class Own(BaseException):
    """Neither an Exception nor an end of the program."""


ENDS: dict[str, BaseException] = {
    "stop": StopIteration("over"),
    "generator": GeneratorExit("over"),
    "own": Own("over"),
    "group": BaseExceptionGroup("over", [Own("one")]),
}
"""By a name, what passes through a context made of a generator, or through ``except Exception``, as if by design."""


@rewards.register("test-failing-reward")
@dataclass(frozen=True, kw_only=True)
class FailingReward(EditDistance):
    where: str = "score"

    def score(self, outputs: Sequences, references: Sequences) -> Tensor:
        helper("score", self.where)
        if self.where == "exit":
            sys.exit("enough")
        if self.where == "ours":
            raise ConfigError("a sentence of its own")
        if self.where in ENDS:
            raise ENDS[self.where]
        if self.where == "torch":
            torch.ones(2) + torch.ones(3)
        return super().score(outputs, references)


@objectives.register("test-failing-objective")
@dataclass(frozen=True, kw_only=True)
class FailingObjective(MaximumLikelihood):
    where: str = "losses"

    def losses(self, p: Any, targets: Any, context: StepContext) -> Losses:
        helper("losses", self.where)
        return super().losses(p, targets, context)

    def draw(self, targets: Any, num_labels: int, generator: torch.Generator) -> None:
        helper("draw", self.where)

    def state(self, sizes: Sizes) -> nn.Module | None:
        helper("state", self.where)
        return None


@models.register("test-failing-model")
@dataclass(frozen=True, kw_only=True)
class FailingModel(LSTMTagger):
    where: str = "build"

    def build(self, sizes: Sizes) -> nn.Module:
        helper("build", self.where)
        return Network(super().build(sizes), self.where)


class Network(nn.Module):
    """Passes on, or fails."""

    def __init__(self, inner: nn.Module, where: str) -> None:
        super().__init__()
        self.inner, self.where = inner, where

    def forward(self, inputs: Any) -> Any:
        helper("forward", self.where)
        if not self.training:
            helper("predict", self.where)
        return self.inner(inputs)


class FailingMetric(WordErrorRate):
    where: ClassVar[str] = "counts"

    def counts(self, prediction: Symbols, references: tuple[Symbols, ...]) -> tuple[float, float]:
        helper("counts", "counts")
        return super().counts(prediction, references)


@tasks.register("test-failing-task")
@dataclass(frozen=True, kw_only=True)
class FailingTask(Copying):
    where: str = "load"

    def load(self) -> Splits:
        helper("load", self.where)
        return super().load()


@tasks.register("test-badly-measured")
@dataclass(frozen=True, kw_only=True)
class BadlyMeasured(Copying):
    metrics: ClassVar[tuple[Metric, ...]] = (FailingMetric(),)


def failing_function(output: list[int], reference: list[int]) -> float:
    helper("function", "function")
    return 0.0


CASES: dict[str, Experiment] = {
    "FailingReward.score": replace(TINY, objective=MinimumRisk(reward=FailingReward())),
    "FailingObjective.losses": replace(TINY, objective=FailingObjective()),
    "FailingObjective.draw": replace(TINY, objective=FailingObjective(where="draw")),
    "FailingObjective.state": replace(TINY, objective=FailingObjective(where="state")),
    "FailingModel.build": replace(TINY, model=FailingModel()),
    "Network.forward": replace(TINY, model=FailingModel(where="forward")),
    "Network.forward (predicting)": replace(TINY, model=FailingModel(where="predict")),
    "FailingMetric.counts": replace(TINY, task=BadlyMeasured()),
    "FailingTask.load": replace(TINY, task=FailingTask()),
}


@pytest.mark.parametrize("called", CASES)
def test_an_error_is_one_sentence_with_class_file_and_line(called: str, tmp_path: Path) -> None:
    with pytest.raises(CodeError) as caught:
        train(CASES[called], root=tmp_path)
    place = f"{called.partition(' ')[0]}, line {line()} of {HERE}, failed with ZeroDivisionError: out of luck"
    assert str(caught.value) == place
    assert isinstance(caught.value.__cause__, ZeroDivisionError), "whoever wants the traceback has it"


def test_a_function_is_named_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "own_failures", sys.modules[__name__])
    reward = FunctionReward(function="own_failures:failing_function")
    with pytest.raises(CodeError, match=rf"^failing_function, line {line()} of .*test_blame\.py, failed with Zero"):
        reward.score(candidates([[1]]), Sequences.of([[1]]))


def candidates(rows: list[list[int]]) -> Any:
    return Sequences.of(rows).candidates()


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("exit", r"^FailingReward\.score, line \d+ of .*, tried to end the program by SystemExit\(enough\)$"),
        (
            "torch",
            r"^FailingReward\.score, line \d+ of .*, failed with RuntimeError: The size of tensor a",
        ),
    ],
)
def test_errors_of_other_kinds(where: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(CodeError, match=words):
        train(replace(TINY, objective=MinimumRisk(reward=FailingReward(where=where))), root=tmp_path)


@pytest.mark.parametrize("where", ENDS)
def test_whatever_is_raised_is_blamed_on_the_code_that_raised_it(where: str, tmp_path: Path) -> None:
    words = rf"^FailingReward\.score, line \d+ of .*, failed with {type(ENDS[where]).__name__}: over"
    with pytest.raises(CodeError, match=words):
        train(replace(TINY, objective=MinimumRisk(reward=FailingReward(where=where))), root=tmp_path)


def test_ctrl_c_in_a_users_code_stays_what_it_is() -> None:
    for end in (KeyboardInterrupt(), BaseExceptionGroup("both", [KeyboardInterrupt(), ValueError()])):
        with pytest.raises(type(end)), blaming({__name__}):
            raise end


@objectives.register("test-without-context")
@dataclass(frozen=True, kw_only=True)
class WithoutContext(MaximumLikelihood):
    def losses(self, p: Any, targets: Any) -> Losses:  # type: ignore[override]  # the mistake
        raise AssertionError("never called")


def test_a_method_with_other_parameters_is_named(tmp_path: Path) -> None:
    words = r"^WithoutContext\.losses cannot be called as it is: WithoutContext\.losses\(\) takes 3 positional .* base"
    with pytest.raises(CodeError, match=words):
        train(replace(TINY, objective=WithoutContext()), root=tmp_path)


def test_a_sentence_stays_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^a sentence of its own$"):
        train(replace(TINY, objective=MinimumRisk(reward=FailingReward(where="ours"))), root=tmp_path)


def test_an_error_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("structpred.training.meters.NonfiniteGuard.count", lambda *_: [][0])
    with pytest.raises(IndexError):
        train(TINY, root=tmp_path)
