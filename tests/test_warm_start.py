"""Training that starts from the finished weights of another experiment."""

import io
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from rich.console import Console

from structpred import compare
from structpred.cli import assignments, main
from structpred.comparison.estimate import jobs
from structpred.comparison.findings import ComparisonResult
from structpred.comparison.plan import Plan
from structpred.comparison.runner import _run_all, costs
from structpred.config import components
from structpred.engine import open_engine
from structpred.errors import ConfigError, Interrupted, RunError
from structpred.experiment import Experiment
from structpred.models import Seq2Seq
from structpred.objectives import RML, LabelSmoothing, MaximumLikelihood
from structpred.results import RunResult
from structpred.runs import Folder, Run, train
from structpred.training import Adam, Trainer, checkpoint
from structpred.training.monitoring import Progress
from structpred.training.trainer import Training
from tests.support.forked import python
from tests.support.tiny import Copying

FIRST = Experiment(
    task=Copying(),
    model=Seq2Seq(embedding=8, hidden=8, dropout=0.3),
    objective=MaximumLikelihood(),
    optimiser=Adam(lr=1e-2),
    trainer=Trainer(epochs=2, batch_tokens=40),
)
SECOND = replace(FIRST, objective=RML(), start=FIRST)
THIRD = replace(FIRST, objective=LabelSmoothing(), start=SECOND)


def stop_after(steps: int) -> Callable[[], bool]:
    taken = iter(range(steps))
    return lambda: next(taken, None) is None


def weights(run: Run) -> dict[str, torch.Tensor]:
    return checkpoint.load(run.folder.weights)


def folder_of(experiment: Experiment, root: Path) -> Folder:
    return Folder(root / experiment.identity(experiment.task.load().digest)[:16])


def same(one: Run, other: Run) -> bool:
    return all(torch.equal(value, weights(other)[name]) for name, value in weights(one).items())


def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


# ------------------------------------------------------------------------------------------------- the experiment


def test_json_holds_the_start_and_comes_back_equal() -> None:
    for experiment in (FIRST, SECOND, THIRD):
        assert Experiment.from_json(experiment.to_json()) == experiment
    assert json.loads(THIRD.to_json())["start"]["start"]["objective"] == {"type": "maximum-likelihood"}


def test_json_written_before_there_were_starts_is_read() -> None:
    node = json.loads(FIRST.to_json())
    del node["start"]
    assert Experiment.from_json(json.dumps(node)) == FIRST


def test_the_start_has_the_seed_of_its_owner() -> None:
    assert replace(FIRST, start=replace(FIRST, seed=7)) == replace(FIRST, start=FIRST)
    moved = replace(THIRD, seed=3)
    assert moved.start is not None
    assert moved.start.start == replace(FIRST, seed=3)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (replace(FIRST, task=Copying(train=41)), r"same task, but Experiment\.task is Copying\(train=40.*train=41"),
        (replace(FIRST, model=Seq2Seq(hidden=4)), r"same model, but Experiment\.model is Seq2Seq.*both the same model"),
    ],
    ids=["task", "model"],
)
def test_a_start_of_another_kind_is_refused(start: Experiment, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(FIRST, start=start)


def test_the_identity_is_that_of_the_start_too() -> None:
    again = replace(FIRST, start=FIRST)
    others = [FIRST, again, SECOND, THIRD, replace(FIRST, start=SECOND), replace(again, seed=1)]
    others.append(replace(FIRST, start=replace(FIRST, optimiser=Adam(lr=2e-2))))
    assert len({each.identity("data") for each in others}) == len(others)
    assert again.identity("data") != again.identity("other data")


def test_a_component_of_the_start_that_changed_its_meaning_changes_the_identity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = SECOND.identity("data")
    monkeypatch.setattr(MaximumLikelihood, "version", 2)
    assert SECOND.identity("data") != before


def test_a_table_of_what_differs_tells_of_starts_what_is_not_told_of_the_arms() -> None:
    slow = replace(SECOND, start=replace(FIRST, optimiser=Adam(lr=0.5)))
    warm = differences(ML=replace(FIRST, start=FIRST), RML=SECOND)
    assert [field for field in warm if field.startswith("start")] == []
    assert differences(cold=FIRST, RML=SECOND)["start"] == {"cold": "-", "RML": ""}
    table = differences(cold=FIRST, RML=SECOND, slow=slow)
    shown = {field: row for field, row in table.items() if field.startswith("start.")}
    assert shown == {
        "start.objective": {"cold": "", "RML": "maximum-likelihood", "slow": "maximum-likelihood"},
        "start.optimiser.lr": {"cold": "", "RML": "0.01", "slow": "0.5"},
        "start.start": {"cold": "", "RML": "-", "slow": "-"},
    }
    assert MaximumLikelihood() in components(THIRD)


def differences(**arms: Experiment) -> dict[str, dict[str, str]]:
    result = RunResult("", {"dev": {"PER": 1.0}, "test": {"PER": 1.0}}, {}, 1, 1, 1.0, 1.0, 1.0, "cpu", ())
    found = ComparisonResult(arms, (0,), next(iter(arms)), {arm: (result,) for arm in arms}, Copying.metrics[:1])
    return found.differences()


# ------------------------------------------------------------------------------------------------------- one run


def test_training_begins_with_the_weights_of_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = train(FIRST, root=tmp_path)
    seen: list[dict[str, torch.Tensor]] = []

    def watched(self: Training, *arguments: Any) -> None:
        seen.append({name: value.clone() for name, value in self.model.state_dict().items()})
        step(self, *arguments)

    step = Training._train
    monkeypatch.setattr(Training, "_train", watched)
    run = train(SECOND, root=tmp_path)
    assert all(torch.equal(value, seen[0][name]) for name, value in weights(first).items())
    assert not same(run, first)
    assert json.loads(run.folder.record.read_text(encoding="utf-8"))["start"] == first.result.identity


@pytest.mark.slow
def test_the_start_is_trained_first_where_it_is_not_there(tmp_path: Path) -> None:
    seen: list[Progress] = []
    run = train(THIRD, root=tmp_path / "at once", observer=lambda progress: seen.append(progress))
    phases = list(dict.fromkeys(each.phase for each in seen))
    assert [phase.count("start, ") for phase in phases] == [2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0]
    assert all(each.done == 0 for each in seen if each.phase.startswith("start, "))
    for experiment in (FIRST, SECOND, THIRD):
        one_by_one = train(experiment, root=tmp_path / "one by one")
    assert same(run, one_by_one)


@pytest.mark.parametrize("steps", [3, 15])
def test_an_interrupted_run_goes_on_to_the_same_weights(steps: int, tmp_path: Path) -> None:
    undisturbed = train(SECOND, root=tmp_path / "undisturbed")
    with pytest.raises(Interrupted):
        train(SECOND, root=tmp_path / "interrupted", stopping=stop_after(steps))
    begun = folder_of(SECOND, tmp_path / "interrupted")
    assert begun.checkpoint.exists() == folder_of(FIRST, tmp_path / "interrupted").finished == (steps == 15)
    assert begun.path.exists() == begun.checkpoint.exists(), "a folder with nothing in it is removed"
    assert same(train(SECOND, root=tmp_path / "interrupted"), undisturbed)


def test_a_run_under_way_or_finished_needs_its_start_no_more(tmp_path: Path) -> None:
    first = train(FIRST, root=tmp_path)
    with pytest.raises(Interrupted):
        train(SECOND, root=tmp_path, stopping=stop_after(2))
    for path in first.folder.path.iterdir():
        path.unlink()
    first.folder.path.rmdir()
    run = train(SECOND, root=tmp_path)
    assert train(SECOND, root=tmp_path).result == run.result
    assert [path.name for path in tmp_path.iterdir()] == [run.folder.path.name]


def test_a_start_that_another_process_is_training_is_waited_for(tmp_path: Path) -> None:
    start = folder_of(FIRST, tmp_path)
    start.path.mkdir()
    seen: list[str] = []
    with FileLock(start.path / ".lock"), pytest.raises(Interrupted):
        train(SECOND, root=tmp_path, observer=lambda each: seen.append(each.phase), stopping=lambda: len(seen) > 2)
    assert seen == ["waiting for another process to train its start"] * 3
    assert [path.name for path in tmp_path.iterdir()] == [start.path.name]


SCRIPT = """
import sys
from structpred import train
from tests.test_warm_start import SECOND, THIRD, replace
train({"second": SECOND, "other": replace(SECOND, objective=THIRD.objective)}[sys.argv[2]], root=sys.argv[1])
"""


@pytest.mark.slow
def test_two_processes_may_want_the_same_start(tmp_path: Path) -> None:
    commands = [["-c", SCRIPT, str(tmp_path), name] for name in ("second", "other")]
    with ThreadPoolExecutor(2) as both:
        ends = list(both.map(lambda words: python(words, tmp_path, patience=240), commands))
    assert [each.returncode for each in ends] == [0, 0], ends
    assert len(list(tmp_path.glob("*/result.json"))) == 3


# -------------------------------------------------------------------------------------------------- a comparison

ARMS = {
    "RML": SECOND,
    "ML": replace(FIRST, start=FIRST),
    "cold": replace(FIRST, trainer=Trainer(epochs=4, batch_tokens=40)),
}


def test_a_start_that_arms_share_is_planned_once_a_seed(tmp_path: Path) -> None:
    plan = Plan.of(ARMS, (0, 1), "ML", tmp_path)
    assert [run.name for run in plan.starts] == [
        "start of RML, ML, seed 0",
        "start of RML, ML, seed 1",
    ]
    assert [run.name for run in plan.unfinished] == [run.name for run in (*plan.starts, *plan.runs)]
    assert [run.ready for run in plan.runs[:3]] == [False, False, True]
    train(FIRST, root=tmp_path)
    assert [run.experiment.seed for run in plan.unfinished if run in plan.starts] == [1]
    assert [run.ready for run in plan.runs[:3]] == [True, True, True]
    for arm in ("RML", "ML"):
        train(replace(ARMS[arm], seed=1), root=tmp_path / "other")
    assert Plan.of(ARMS, (1,), "ML", tmp_path / "other").unfinished == plan_of_cold(tmp_path / "other")


def plan_of_cold(root: Path) -> tuple[object, ...]:
    return Plan.of({"cold": ARMS["cold"]}, (1,), None, root).runs


def test_an_arm_that_others_start_from_is_trained_once(tmp_path: Path) -> None:
    long = replace(FIRST, start=replace(FIRST, start=FIRST))
    arms = {"later": replace(SECOND, start=replace(FIRST, start=FIRST)), "long": long}
    plan = Plan.of(arms, (0,), None, tmp_path)
    assert [run.arm for run in plan.starts] == [
        "start of start of later, long",
        "start of later, long",
    ]
    assert plan.unfinished == (*plan.starts, *plan.runs)


def test_arms_are_compared_after_equally_long_training(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"share their trainer, but 'ML' and 'RML' .*\(2 and 4 epochs in all, with"):
        Plan.of({"ML": FIRST, "RML": SECOND}, (0,), None, tmp_path)


@pytest.mark.slow
def test_starts_are_in_the_estimate(tmp_path: Path) -> None:
    plan = Plan.of(ARMS, (0,), "ML", tmp_path)
    found, failed = costs([plan], root=tmp_path, workers=1, device="cpu")
    assert set(found) == {*ARMS, "start of RML, ML"}
    assert not failed
    after = {job.name: job.after for job in jobs(plan.unfinished)}
    assert after == {
        "start of RML, ML, seed 0": None,
        "RML, seed 0": "start of RML, ML, seed 0",
        "ML, seed 0": "start of RML, ML, seed 0",
        "cold, seed 0": None,
    }
    train(FIRST, root=tmp_path)
    found, _ = costs([plan], root=tmp_path, workers=1, device="cpu")
    assert found["start of RML, ML"].seconds == Run.load(plan.starts[0].folder.path).result.seconds
    assert {job.after for job in jobs(plan.unfinished)} == {None}


@pytest.mark.slow
def test_a_comparison_trains_starts_first_and_each_once(tmp_path: Path) -> None:
    console = quiet()
    with ThreadPoolExecutor(2) as executor:
        report = compare(ARMS, seeds=(0, 1), baseline="ML", root=tmp_path, executor=executor, console=console)
    assert len(list(tmp_path.glob("*/result.json"))) == 8
    assert "(8 of 8)" in console.file.getvalue()  # type: ignore[attr-defined]  # the StringIO of `quiet`
    for seed, result in zip((0, 1), report.results["RML"], strict=True):
        assert Run.load(tmp_path / result.identity[:16]).experiment.start == replace(FIRST, seed=seed)
    assert report.differences()["start.objective"]["RML"] == "maximum-likelihood"
    assert report.differences()["start"]["cold"] == "-"


@pytest.mark.slow
def test_an_interrupted_comparison_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from structpred.engine import driver

    def interrupt(*arguments: object, **options: object) -> None:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("*/result.json")) and time.monotonic() < deadline:
            time.sleep(0.01)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, ThreadPoolExecutor(1) as executor:
        patched.setattr(driver, "wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            compare(ARMS, seeds=(0,), baseline="ML", root=tmp_path, executor=executor, console=quiet())
    assert Plan.of(ARMS, (0,), "ML", tmp_path).unfinished
    with ThreadPoolExecutor(1) as executor:
        resumed = compare(ARMS, seeds=(0,), baseline="ML", root=tmp_path, executor=executor, console=quiet())
    assert resumed.results["ML"][0].scores == train(ARMS["ML"], root=tmp_path / "undisturbed").result.scores


def test_what_starts_from_a_run_that_failed_is_not_trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(self: Training, *arguments: Any) -> None:
        raise RunError("this went wrong; do that")

    monkeypatch.setattr(Training, "_train", broken)
    plan = Plan.of({"ML": ARMS["ML"], "RML": SECOND}, (0,), None, tmp_path)
    with (
        ThreadPoolExecutor(1) as executor,
        open_engine([], root=tmp_path, device="cpu", workers=1, executor=executor) as engine,
        pytest.raises(RunError, match=r"^3 of 3 runs did not finish, first start of ML, RML, seed 0: this"),
    ):
        _run_all([plan], engine, 1, quiet())
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------------------------- the command line


def test_assignments_of_task_and_model_reach_the_start() -> None:
    changed = assignments.experiment(["task.train=41", "model.hidden=4", "trainer.epochs=9", "seed=2"], THIRD)
    task, model = Copying(train=41), Seq2Seq(embedding=8, hidden=4, dropout=0.3)
    first = replace(FIRST, task=task, model=model)
    second = replace(first, objective=RML(), start=first)
    trainer = Trainer(epochs=9, batch_tokens=40)
    assert changed == replace(first, objective=LabelSmoothing(), start=second, trainer=trainer, seed=2)
    again = assignments.experiment(["start.trainer.epochs=5"], SECOND)
    assert again.start == replace(FIRST, trainer=Trainer(epochs=5, batch_tokens=40))
    for begun in (SECOND, replace(SECOND, start_seed=1)):
        assert assignments.experiment(["start=null"], begun) == replace(FIRST, objective=RML())


def test_what_cannot_be_assigned_to_a_start_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"start can only be assigned null, but got 'runs/3'; .* train --start RUN"):
        assignments.experiment(["start=runs/3"], SECOND)
    with pytest.raises(ConfigError, match=r"start\.seed: 'start' of Experiment has no fields of its own"):
        assignments.experiment(["start.seed=3"], FIRST)


def test_the_command_starts_from_a_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    first = train(FIRST).folder.path
    threads = torch.get_num_threads()
    assert main(["train", "--start", str(first), "objective=rml", "--threads", str(threads)]) == 0
    place = capsys.readouterr().out.splitlines()[-1].removeprefix("Run: ")
    assert Run.load(place).experiment == SECOND
    assert main(["train", "--start", str(first), "objective=rml", "seed=3", "--threads", str(threads)]) == 0
    place = capsys.readouterr().out.splitlines()[-1].removeprefix("Run: ")
    assert Run.load(place).experiment == replace(SECOND, seed=3, start_seed=0)
    assert len(list(Path("runs").iterdir())) == 3
    theirs = "task, model and the seed of the start are those of --start, but got"
    wrong = {
        "model.hidden=4": f"{theirs} 'model.hidden=4'; leave it out",
        "start_seed=1": f"{theirs} 'start_seed=1'; leave it out",
        "--root": f"the run to start from must be in there, but got {first}; add --root runs",
    }
    for word, message in wrong.items():
        assert main(["train", "--start", str(first), word, *(["there"] if word == "--root" else [])]) == 2
        assert capsys.readouterr().err == f"structpred: {message}\n"
    monkeypatch.setattr(MaximumLikelihood, "version", 2)
    assert main(["train", "--start", str(first)]) == 2
    assert "have changed since this run; train it again first" in capsys.readouterr().err


@pytest.mark.slow
def test_a_dry_run_counts_starts(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from structpred.cli.commands import Compare
    from structpred.cli.comparing import show_plan

    plans = [Plan.of(ARMS, (0, 1), "ML", tmp_path)]
    show_plan(Compare(root=tmp_path, workers=1, device="cpu"), plans, None, Console(width=200))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3].startswith("start of RML, ML\t0\t0\t2\tabout")
    assert lines[-2].startswith("8 of 8 runs to do, about")
    assert "activations" in lines[-1]
