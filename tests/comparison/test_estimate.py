"""What a run should cost: by finished ones, and by rehearsals of its parts."""

import io
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console

from structpred.cli.commands import Compare
from structpred.cli.comparing import show_plan
from structpred.comparison import estimate
from structpred.comparison.estimate import FEWEST, SETTLING, STARTING, STEPS, jobs, known, rehearsed
from structpred.comparison.plan import Plan
from structpred.comparison.runner import costs
from structpred.distributions.protocols import Decoding
from structpred.errors import Interrupted
from structpred.experiment import Experiment
from structpred.models import CRF, Seq2Seq
from structpred.objectives import REINFORCE, RML, MaximumLikelihood
from structpred.runs import train
from structpred.task import Example
from structpred.tasks import LetterTagging
from structpred.training import Trainer
from structpred.training.trainer import Pace, Training
from tests.support.tiny import Copying
from tests.support.tuning import Failing

TINY = Experiment(
    task=Copying(),
    model=Seq2Seq(embedding=4, hidden=4),
    objective=MaximumLikelihood(),
    trainer=Trainer(epochs=2, batch_tokens=40),
)
WARM = replace(TINY, start=TINY, objective=RML())


def long(steps: int) -> Experiment:
    """An experiment whose training takes so many steps."""
    return replace(TINY, trainer=Trainer(epochs=10000, max_steps=steps, batch_tokens=40))


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The objective and the number of steps of every rehearsal of some."""
    seen: list[tuple[str, int]] = []
    real = Training.rehearse

    def watched(self: Training, steps: int, **options: Any) -> Pace:
        if steps:
            seen.append((type(self.recipe.objective).__name__, steps))
        return real(self, steps, **options)

    monkeypatch.setattr(Training, "rehearse", watched)
    return seen


def test_an_arm_is_estimated_by_its_finished_runs(tmp_path: Path) -> None:
    taken = [train(replace(TINY, seed=seed), root=tmp_path).result.seconds for seed in (0, 1, 2)]
    plan = Plan.of({"ML": TINY, "RML": replace(TINY, objective=RML())}, (0, 1, 2, 3), None, tmp_path)
    assert known(plan.runs)["ML"].seconds == sorted(taken)[1]
    found, failed = costs([plan], root=tmp_path, workers=1, device="cpu")
    assert found["ML"].seconds == sorted(taken)[1]
    assert 0 < found["RML"].seconds < 60
    assert 0 < found["RML"].testing < 1
    assert not failed


def test_what_cannot_be_rehearsed_has_a_reason_instead_of_a_cost(tmp_path: Path) -> None:
    plan = Plan.of({"ML": TINY, "failing": replace(TINY, objective=Failing(how="code"))}, (0,), None, tmp_path)
    found, failed = costs([plan], root=tmp_path, workers=1, device="cpu")
    assert list(found) == ["ML"]
    assert list(failed) == ["failing"]
    assert "surprise" in failed["failing"]
    console = Console(file=io.StringIO(), width=200)
    show_plan(Compare(root=tmp_path, workers=1), [plan], None, console)
    assert isinstance(console.file, io.StringIO)
    assert f"failing would fail: {failed['failing']}\n" in console.file.getvalue()


def test_an_interrupted_run_is_estimated_by_the_rest(tmp_path: Path) -> None:
    taken = iter(range(100))
    experiment = replace(TINY, trainer=Trainer(epochs=40, batch_tokens=40))
    from structpred.engine.coordination import ProgressFile

    plan = Plan.of({"ML": experiment}, (0,), None, tmp_path)
    with pytest.raises(Interrupted):
        train(experiment, root=tmp_path, stopping=lambda: next(taken) > 20, observer=ProgressFile(plan.runs[0].folder))
    (job,) = jobs(plan.unfinished)
    assert 0 <= job.done < 0.5
    plan.runs[0].folder.progress.write_text('{"phase": "training", "done": 0.25}', encoding="utf-8")
    (job,) = jobs(plan.unfinished)
    assert job.done == 0.25


@pytest.mark.parametrize(
    ("budget", "epochs", "steps", "most"),
    [
        ({}, 2, 400, math.inf),
        ({"max_steps": 1000}, 2, 400, math.inf),
        ({"max_steps": 250}, 2, 250, math.inf),
        ({"max_steps": 3}, 1, 3, math.inf),
        ({"max_seconds": 7.0}, 2, 400, 7.0),
        ({"max_seconds": 900.0}, 2, 400, 900.0),
        ({"max_seconds": 30.0, "max_steps": 3}, 1, 3, 30.0),
    ],
    ids=["epochs", "more steps than there are", "steps", "part of an epoch", "seconds", "more seconds", "both"],
)
def test_planning_and_scoring_dev_are_counted_once_an_epoch_and_testing_once(
    budget: dict[str, Any], epochs: int, steps: int, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock on which planning an epoch takes 1 s, a step 0.1 s, greedy search 2 s for dev and a beam 5 s."""
    clock = SimpleNamespace(now=0.0)

    def predict(self: Training, sources: Sequence[Any], decoding: Decoding) -> list[tuple[str, ...]]:
        clock.now += 2.0 if decoding.beam == 1 else 5.0
        longest = max(len(reference) for example in TINY.task.load().dev for reference in example.references)
        return [("a",) * longest] * len(sources)

    monkeypatch.setattr(Training, "rehearse", lambda self, steps, **options: Pace(1.0, 0.1, 200))
    monkeypatch.setattr(Training, "predict", predict)
    monkeypatch.setattr(estimate, "time", SimpleNamespace(monotonic=lambda: clock.now))
    experiment = replace(TINY, trainer=replace(TINY.trainer, **budget))
    cost = rehearsed(experiment, TINY.task.load(), "cpu")
    expected = min((1.0 + 2.0) * epochs + 0.1 * steps, most)
    assert cost.seconds == pytest.approx(expected + 10.0)
    assert cost.testing == pytest.approx(10.0 / (expected + 10.0))


@pytest.mark.parametrize(("length", "scale"), [(0, 5.0), (4, 1.0), (9, 0.5)], ids=["empty", "right", "too long"])
def test_searching_for_outputs_of_another_length_is_scaled_to_that_of_references(
    length: int, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=0.0)

    def predict(self: Training, sources: Sequence[Any], decoding: Decoding) -> list[tuple[str, ...]]:
        clock.now += 1.0
        return [("a",) * length] * len(sources)

    monkeypatch.setattr(Training, "rehearse", lambda self, steps, **options: Pace(0.0, 0.0, 200))
    monkeypatch.setattr(Training, "predict", predict)
    monkeypatch.setattr(estimate, "time", SimpleNamespace(monotonic=lambda: clock.now))
    splits = TINY.task.load()
    dev = (Example(("a",) * 4, (("a",) * 4,), "here"),)
    cost = rehearsed(TINY, replace(splits, dev=dev), "cpu")
    assert cost.seconds == pytest.approx((2 + 2) * scale), "two epochs, then dev and test"


def test_a_rehearsal_takes_a_few_steps_and_of_a_short_run_fewer(steps: list[tuple[str, int]]) -> None:
    splits = TINY.task.load()
    rehearsed(long(10000), splits, "cpu")
    assert steps == [("MaximumLikelihood", SETTLING), ("MaximumLikelihood", STEPS)]
    steps.clear()
    rehearsed(long(100), splits, "cpu")
    assert steps == [("MaximumLikelihood", 5)] * 2
    steps.clear()
    rehearsed(TINY, splits, "cpu")
    assert steps == [("MaximumLikelihood", FEWEST)] * 2


def test_what_starts_from_a_run_is_rehearsed_from_its_weights_or_a_few_steps_of_it(
    steps: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    splits = TINY.task.load()
    (plan,) = [Plan.of({"warm": WARM}, (0,), None, tmp_path)]
    rehearsed(WARM, splits, "cpu", plan.runs[0].start)
    assert steps == [("MaximumLikelihood", STARTING), ("RML", FEWEST), ("RML", FEWEST)]
    steps.clear()
    finished = train(TINY, root=tmp_path)
    given: list[dict[str, torch.Tensor]] = []
    begun = estimate._begin

    def watched(training: Training, *others: Any) -> None:
        begun(training, *others)
        given.append({name: value.clone() for name, value in training.model.state_dict().items()})

    monkeypatch.setattr(estimate, "_begin", watched)
    rehearsed(WARM, splits, "cpu", plan.runs[0].start)
    assert steps == [("RML", FEWEST), ("RML", FEWEST)]
    assert all(torch.equal(value, given[0][name]) for name, value in finished.weights().items())


def test_a_rehearsal_leaves_the_random_state_alone_and_can_be_stopped() -> None:
    splits, before = TINY.task.load(), torch.random.get_rng_state()
    rehearsed(replace(TINY, model=Seq2Seq(embedding=4, hidden=4, dropout=0.3)), splits, "cpu")
    assert torch.equal(torch.random.get_rng_state(), before)
    with pytest.raises(Interrupted):
        rehearsed(long(10000), splits, "cpu", stopping=lambda: True)


def test_steps_that_take_long_are_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("structpred.training.trainer.time", SimpleNamespace(monotonic=lambda: clock.now))

    def slow(self: Training, *arguments: Any, **options: Any) -> None:
        clock.now += 2.0
        taken.append(1)

    monkeypatch.setattr(Training, "_train", slow)
    rehearsed(long(10000), TINY.task.load(), "cpu")
    assert len(taken) == 4, "two settle the weights, and two are timed"


@pytest.mark.slow
@pytest.mark.parametrize(
    "experiment",
    [
        Experiment(
            task=LetterTagging(size=200, held_out=100),
            model=CRF(embedding=32, hidden=64),
            objective=MaximumLikelihood(),
            trainer=Trainer(epochs=5, batch_tokens=200),
        ),
        Experiment(
            task=Copying(train=300, longest=5),
            model=Seq2Seq(embedding=16, hidden=32),
            objective=REINFORCE(samples=5),
            trainer=Trainer(epochs=6, batch_tokens=200),
        ),
    ],
    ids=["CRF", "REINFORCE"],
)
def test_an_estimate_is_near_the_time_that_the_run_takes(experiment: Experiment, tmp_path: Path) -> None:
    """Other work may disturb either measurement, so the bound is wide and the better of two estimates counts."""
    splits, threads = experiment.task.load(), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        told = [rehearsed(experiment, splits, "cpu").seconds for _ in range(2)]
        taken = train(experiment, root=tmp_path).result.seconds
    finally:
        torch.set_num_threads(threads)
    assert min(max(each / taken, taken / each) for each in told) < 2.5
