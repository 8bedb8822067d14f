"""Steps that are skipped, batches that are split, budgets, averaged weights and the log."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from structpred.distributions.protocols import LogProb
from structpred.errors import Interrupted, RunError
from structpred.experiment import Experiment
from structpred.models import Seq2Seq
from structpred.objective import Losses, Objective, StepContext
from structpred.objectives import RML, MaximumLikelihood
from structpred.registry import objectives
from structpred.results import Epoch
from structpred.runs import Run, train
from structpred.sequences import Sequences
from structpred.task import Sizes
from structpred.training import Adam, Constant, Trainer, checkpoint
from structpred.training.data import EncodedData
from structpred.training.gradient import MemoryWarning
from structpred.training.meters import Average, NonfiniteGuard, Totals, not_finite, step_unless, to_skip
from structpred.training.monitoring import JsonlLogger, of_epoch
from structpred.training.trainer import Training
from tests.support.tiny import Copying

TINY = Experiment(
    task=Copying(),
    model=Seq2Seq(embedding=8, hidden=8, dropout=0.0),
    objective=MaximumLikelihood(),
    optimiser=Adam(lr=1e-2, schedule=Constant()),
    trainer=Trainer(epochs=2, batch_tokens=40),
)
DATA = TINY.task.load()


def training(experiment: Experiment) -> Training:
    return Training(experiment, EncodedData.of(DATA, experiment.model), device="cpu")


def with_trainer(**fields: object) -> Experiment:
    return replace(TINY, trainer=replace(TINY.trainer, **fields))  # type: ignore[arg-type]


def weights(run: Run) -> dict[str, torch.Tensor]:
    return checkpoint.load(run.folder.weights)


def stop_after(steps: int) -> Callable[[], bool]:
    taken = iter(range(steps))
    return lambda: next(taken, None) is None


class Counter(nn.Module):
    """Counts steps, in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.calls: torch.Tensor


@objectives.register("test-sometimes-infinite")
@dataclass(frozen=True, kw_only=True)
class SometimesInfinite(Objective):
    """Maximum likelihood, but not finite every so many steps."""

    every: int = 3
    gradient_only: bool = False

    requires = (LogProb,)

    def state(self, sizes: Sizes) -> nn.Module:
        return Counter()

    def losses(self, p: LogProb, targets: Sequences, context: StepContext) -> Losses:
        assert isinstance(context.state, Counter)
        context.state.calls += 1
        losses = -p.log_prob(targets.candidates()).squeeze(1)
        if (context.step + 1) % self.every == 0:
            losses = losses + (losses - losses.detach()).sqrt() if self.gradient_only else losses * math.nan
        return Losses(losses, {"loss": losses.detach()})


@pytest.mark.parametrize("gradient_only", [False, True])
def test_a_step_that_is_not_finite_is_skipped_and_counted_and_leaves_no_trace(gradient_only: bool) -> None:
    run = training(replace(TINY, objective=SometimesInfinite(gradient_only=gradient_only)))
    plan = run._plan()
    for position in range(3):
        run.position = position
        before = {name: value.clone() for name, value in run.stepper.modules.state_dict().items()}
        moments = [state["step"].clone() for state in run.stepper.optimizer.state.values()]
        run._train(plan)
        same = [torch.equal(value, before[name]) for name, value in run.stepper.modules.state_dict().items()]
        assert all(same) if position == 2 else not all(same)
        if position == 2:
            assert moments == [state["step"] for state in run.stepper.optimizer.state.values()]
    assert int(run.guard.skipped) == int(run.guard.longest) == 1
    assert int(run.totals.tokens) == plan.tokens(0) + plan.tokens(1)
    assert math.isfinite(run.totals.loss())
    assert math.isfinite(run.totals.diagnostics()["loss"])


def test_a_run_survives_some_and_says_how_many(tmp_path: Path) -> None:
    result = train(replace(TINY, objective=SometimesInfinite()), root=tmp_path).result
    assert result.skipped == result.steps // 3
    assert all(math.isfinite(epoch.loss) for epoch in result.history)


@pytest.mark.parametrize("gradient_only", [False, True])
def test_too_many_in_a_row_end_the_run_with_the_batch_for_inspection(gradient_only: bool, tmp_path: Path) -> None:
    experiment = replace(with_trainer(tolerate=4), objective=SometimesInfinite(every=1, gradient_only=gradient_only))
    what = f"{'the gradient of ' if gradient_only else ''}the loss of SometimesInfinite was"
    with pytest.raises(
        RunError, match=rf"^{what} not finite in \d+ steps in a row in epoch 1; lower the learning rate"
    ):
        train(experiment, root=tmp_path)
    (place,) = tmp_path.glob("*/not_finite.json")
    examples = json.loads(place.read_text(encoding="utf-8"))["examples"]
    references = {example.where: example.references for example in DATA.train}
    assert all(tuple(each["target"]) in references[each["where"]] for each in examples)


def test_an_optimiser_that_is_not_fused_skips_as_well() -> None:
    parameter = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    for skip in (True, False):
        parameter.grad = torch.ones(2)
        step_unless(torch.tensor(skip), optimizer)
        assert parameter.tolist() == ([1.0, 1.0] if skip else [0.0, 0.0])


def test_a_step_that_is_known_to_be_taken_is_the_same_step() -> None:
    results = []
    for skip in (None, torch.tensor(False)):
        parameter = nn.Parameter(torch.linspace(-1, 1, 7))
        optimizer = Adam(lr=0.1).build([parameter])
        for turn in (torch.tensor(True), skip, skip, torch.tensor(True), skip):
            parameter.grad = parameter.detach().sin()
            step_unless(turn, optimizer)
        (state,) = optimizer.state.values()
        assert int(state["step"]) == 3
        totals, guard = Totals(), NonfiniteGuard(torch.device("cpu"))
        for turn in (skip, torch.tensor(True), skip):
            totals.add(torch.tensor([0.1, 0.7]), {"whole": torch.tensor(7)}, 5, turn)
            guard.count(turn, 6, torch.tensor(False))
        counted = (totals.numbers(), [int(value) for value in guard.state().values()])
        results.append((parameter.tolist(), state["exp_avg"].tolist(), state["exp_avg_sq"].tolist(), counted))
    assert results[0] == results[1]
    assert results[0][-1] == (Totals(pytest.approx(1.6), 10, {"whole": 14.0}, {"whole": 4}), [1, 0, 1, 6, 0])


@pytest.mark.parametrize("value", [0.0, -3.4e38, 1e-45, math.inf, -math.inf, math.nan])
def test_what_is_not_finite(value: float) -> None:
    doubtful = not_finite(torch.tensor(value))
    assert bool(doubtful) is not math.isfinite(value)
    assert to_skip(doubtful) is (None if math.isfinite(value) else doubtful)


@objectives.register("test-hungry")
@dataclass(frozen=True, kw_only=True)
class Hungry(MaximumLikelihood):
    """Has room for so many examples."""

    room: int = 4

    def losses(self, p: LogProb, targets: Sequences, context: StepContext) -> Losses:
        if len(targets) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        return super().losses(p, targets, context)


def test_a_batch_that_does_not_fit_is_split_until_it_does(tmp_path: Path) -> None:
    with pytest.warns(MemoryWarning, match=r"processed in pieces \(CUDA out of memory") as caught:
        split = train(replace(TINY, objective=Hungry()), root=tmp_path)
    assert len(caught) == 1, "said once"
    whole = train(TINY, root=tmp_path)
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(split)[name], value, rtol=1e-4, atol=1e-5)
    with pytest.raises(torch.OutOfMemoryError), pytest.warns(MemoryWarning):
        train(replace(TINY, objective=Hungry(room=0)), root=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("objective", [MaximumLikelihood(), RML()])
def test_a_batch_in_pieces_gives_the_losses_of_the_whole(objective: Objective) -> None:
    losses = []
    for pieces in (1, 2, 3):
        run = training(replace(with_trainer(accumulate=pieces), objective=objective))
        plan, seen = run._plan(), []
        for step in range(50):
            run.position = step % len(plan)
            before = float(run.totals.losses)
            run._train(plan)
            seen.append(float(run.totals.losses) - before)
        losses.append(torch.tensor(seen))
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-5, atol=1e-4)  # differences of sums, hence atol
    torch.testing.assert_close(losses[2], losses[0], rtol=1e-5, atol=1e-4)


class Offset(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(100))


@objectives.register("test-telling-a-weight")
@dataclass(frozen=True, kw_only=True)
class TellingAWeight(MaximumLikelihood):
    """Learns a number for each row of a batch, and tells these numbers by a view of its weights."""

    def state(self, sizes: Sizes) -> nn.Module:
        return Offset()

    def losses(self, p: Any, targets: Sequences, context: StepContext) -> Losses:
        assert isinstance(context.state, Offset)
        own = context.state.weight[: len(targets)]
        return Losses(super().losses(p, targets, context).values + own, {"own": own.detach()})


@pytest.mark.parametrize("batch_tokens", [1, 40])
def test_a_diagnostic_that_is_a_view_of_a_weight_is_that_before_the_step(batch_tokens: int) -> None:
    run = training(replace(with_trainer(batch_tokens=batch_tokens), objective=TellingAWeight()))
    run._train(run._plan())
    assert run.totals.numbers().diagnostics()["own"] == 0.0
    run._train(run._plan())
    assert run.totals.numbers().diagnostics()["own"] != 0.0


def test_steps_end_training_wherever_they_do_and_the_schedule_ends_with_them(tmp_path: Path) -> None:
    experiment = with_trainer(epochs=30, max_steps=11)
    run = train(experiment, root=tmp_path / "whole")
    assert run.result.steps == 11
    assert all(epoch.dev for epoch in run.result.history), "the last, unfinished epoch is scored too"
    assert experiment.trainer.share(0.1, 11) == 1.0
    assert experiment.trainer.share(15.0, 0) == 0.5
    for steps in (3, 4):
        with pytest.raises(Interrupted):
            train(experiment, root=tmp_path / "resumed", stopping=stop_after(steps))
    resumed = train(experiment, root=tmp_path / "resumed")
    assert all(torch.equal(value, weights(resumed)[name]) for name, value in weights(run).items())


def test_time_ends_training_but_moves_no_schedule(tmp_path: Path) -> None:
    experiment = with_trainer(epochs=1000, max_seconds=0.05)
    run = train(experiment, root=tmp_path)
    assert 1 <= run.result.steps < 1000
    assert len(run.result.history) >= 1
    assert experiment.trainer.share(10.0, 5) == 0.01


def test_the_average_follows_its_formula() -> None:
    model = nn.Linear(1, 1)
    average = Average(model, decay=0.9)
    expected = model.weight.detach().clone()
    for steps in range(1, 200):
        with torch.no_grad():
            model.weight.add_(0.1)
        average.follow(steps)
        decay = min(0.9, (1 + steps) / (10 + steps))
        expected = decay * expected + (1 - decay) * model.weight.detach()
    torch.testing.assert_close(next(average.model.parameters()).detach(), expected)


def test_averaged_weights_are_what_is_scored_kept_and_resumed(tmp_path: Path) -> None:
    experiment = with_trainer(average=0.9)
    run = train(experiment, root=tmp_path / "whole")
    plain = train(TINY, root=tmp_path / "whole")
    assert run.result.history[0].loss == plain.result.history[0].loss, "training itself is the same"
    assert not all(torch.equal(value, weights(plain)[name]) for name, value in weights(run).items())
    assert run.evaluate(DATA.test) == pytest.approx(run.result.scores["test"])
    with pytest.raises(Interrupted):
        train(experiment, root=tmp_path / "resumed", stopping=stop_after(5))
    resumed = weights(train(experiment, root=tmp_path / "resumed"))
    assert all(torch.equal(value, resumed[name]) for name, value in weights(run).items())


def test_new_settings_leave_the_identity_of_older_runs_alone() -> None:
    same = Trainer(epochs=2, batch_tokens=40, accumulate=1, tolerate=10)
    assert replace(TINY, trainer=same).identity("data") == TINY.identity("data")
    others = [with_trainer(**{name: 3}) for name in ("accumulate", "max_steps", "max_seconds", "tolerate")]
    identities = {each.identity("data") for each in (TINY, with_trainer(average=0.9), *others)}
    assert len(identities) == len(others) + 2


@dataclass
class Collected:
    """A logger such as those of the engine."""

    entries: list[tuple[dict[str, float], int | None]]

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.entries.append((metrics, step))


def test_a_run_logs_every_epoch_once_however_often_it_is_interrupted(tmp_path: Path) -> None:
    for steps in (2, 6):
        with pytest.raises(Interrupted):
            train(TINY, root=tmp_path, stopping=stop_after(steps))
    (place,) = tmp_path.glob("*/log.jsonl")
    with place.open("a", encoding="utf-8") as stream:
        stream.write('{"step": 999, "loss": 1.0}\n{"half')  # by a process that was killed after its last checkpoint
    collected = Collected([])
    run = train(TINY, root=tmp_path, loggers=[collected])
    lines = [json.loads(line) for line in run.folder.log.read_text(encoding="utf-8").splitlines()]
    epochs = [line for line in lines if "dev/PER" in line]
    assert [line["epoch"] for line in epochs] == [1, 2]
    assert [line["loss"] for line in epochs] == [epoch.loss for epoch in run.result.history]
    assert lines[-1]["step"] == run.result.steps
    assert collected.entries[-1] == ({k: v for k, v in lines[-1].items() if k != "step"}, run.result.steps)


def test_numbers_that_are_not_finite_are_null(tmp_path: Path) -> None:
    JsonlLogger(tmp_path / "log.jsonl").log_metrics({"loss": math.nan, "other": 1.0}, 3)
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {"step": 3, "loss": None, "other": 1.0}


def test_an_epoch_whose_end_is_to_be_repeated_is_not_logged_twice(tmp_path: Path) -> None:
    """Its last step was saved, its end was logged, and then the run was killed."""
    log = JsonlLogger(tmp_path / "log.jsonl")
    for epoch, end in ((1, 5), (2, 10)):
        log.log_metrics({"epoch": epoch, "loss": 1.0}, end - 1)
        log.log_metrics(of_epoch(Epoch(epoch, 1.0, {"PER": 2.0}, 3.0, {}, {})), end)
    log.rewind(10, epochs=1)
    lines = [json.loads(line) for line in log.path.read_text(encoding="utf-8").splitlines()]
    assert [(line["step"], "dev/PER" in line) for line in lines] == [(4, False), (5, True), (9, False)]
    log.rewind(5, epochs=1)
    assert len(log.path.read_text(encoding="utf-8").splitlines()) == 2
