"""Comparisons: what runs, what is kept, and what is left when something dies."""

import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from structpred import Report, compare
from structpred.comparison import runner
from structpred.comparison.design import Design
from structpred.comparison.panels import Panel
from structpred.comparison.plan import Plan
from structpred.comparison.runner import costs
from structpred.distributions.protocols import LogProb
from structpred.engine import driver, open_engine, worker
from structpred.errors import ConfigError, RunError
from structpred.experiment import Experiment
from structpred.metrics import SymbolErrorRate
from structpred.models import Seq2Seq
from structpred.objective import Losses, Objective, StepContext
from structpred.objectives import RML, MaximumLikelihood
from structpred.registry import objectives
from structpred.results import RunResult
from structpred.runs import Folder, Run, train
from structpred.sequences import Sequences
from structpred.statistics import over_examples
from structpred.task import Splits, Task, loaded
from structpred.training import Trainer, checkpoint
from tests.support.processes import workers_of
from tests.support.reports import a_report
from tests.support.tiny import Copying

TINY = Experiment(
    task=Copying(),
    model=Seq2Seq(embedding=4, hidden=8, dropout=0.3),
    objective=MaximumLikelihood(),
    trainer=Trainer(epochs=2, batch_tokens=40),
)
ARMS = {"ML": TINY, "RML": replace(TINY, objective=RML())}
LONG = {name: replace(arm, trainer=Trainer(epochs=1000, batch_tokens=40)) for name, arm in ARMS.items()}


class Idle(Executor):
    """Must not be given anything to do."""

    def submit(self, *arguments: Any, **options: Any) -> Future[Any]:
        raise AssertionError("a finished run was run again")


@pytest.fixture
def executor() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def identities(report: Report) -> dict[str, list[str]]:
    return {arm: [result.identity for result in results] for arm, results in report.results.items()}


def _test_counts(root: Path, result: RunResult, metric: str) -> np.ndarray:
    return np.asarray(np.load(root / result.identity[:16] / "counts.npz")[f"test/{metric}"], dtype=float)


def test_every_arm_is_run_under_every_seed_and_reported(executor: Executor, tmp_path: Path) -> None:
    console = quiet()
    report = compare(ARMS, seeds=(1, 4), baseline="RML", root=tmp_path, executor=executor, console=console)
    assert (report.seeds, report.baseline, set(report.results)) == ((1, 4), "RML", {"ML", "RML"})
    counts = {arm: [_test_counts(tmp_path, run, "PER") for run in report.results[arm]] for arm in report.arms}
    assert report.over_examples == {("ML", "RML"): over_examples(counts["ML"], counts["RML"], SymbolErrorRate().score)}
    assert report.crossed == {}, "models of this size put out nothing, so nothing varies"
    found = report.over_examples["ML", "RML"]
    difference = report.tests()["ML", "RML"].difference.mean
    assert found.difference == pytest.approx(difference)
    assert found.models == 2
    for arm, results in report.results.items():
        for seed, result in zip((1, 4), results, strict=True):
            experiment = Run.load(tmp_path / result.identity[:16]).experiment
            assert experiment == replace(ARMS[arm], seed=seed)
    known, *lines = said(console).strip().splitlines()
    assert known == "0 of 4 runs are finished already, 4 to train"
    assert len(lines) == 4
    assert re.match(r"ML, seed 1: dev PER [\d.]+  WER [\d.]+ after \d+ s \(1 of 4, about \d+ s left\)", lines[0])
    assert lines[3].endswith("(4 of 4)")


@pytest.mark.slow(seconds=2)
def test_a_second_call_uses_finished_runs_and_a_larger_one_adds_to_them(executor: Executor, tmp_path: Path) -> None:
    first = compare(ARMS, seeds=(0,), root=tmp_path, executor=executor, console=quiet())
    again = compare(ARMS, seeds=(0,), root=tmp_path, executor=Idle(), console=quiet())
    assert again == first
    console = quiet()
    larger = compare(ARMS, seeds=(0, 1), root=tmp_path, executor=executor, console=console)
    assert [results[0] for results in larger.results.values()] == [results[0] for results in first.results.values()]
    assert said(console).startswith("2 of 4 runs are finished already, 2 to train\n")
    assert "seed 0" not in said(console)
    assert said(console).count("seed 1") == 2


@pytest.mark.slow
def test_threads_take_turns_so_that_results_do_not_depend_on_them(executor: Executor, tmp_path: Path) -> None:
    one = compare(ARMS, seeds=(0, 1), root=tmp_path / "one", executor=executor, console=quiet())
    with ThreadPoolExecutor(4) as many:
        four = compare(ARMS, seeds=(0, 1), root=tmp_path / "four", executor=many, console=quiet())
    assert identities(one) == identities(four)
    for result in (result for results in one.results.values() for result in results):
        weights = [checkpoint.load(Folder(tmp_path / n / result.identity[:16]).weights) for n in ("one", "four")]
        assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_what_a_killed_process_left_half_written_is_removed(executor: Executor, tmp_path: Path) -> None:
    folder = tmp_path / TINY.identity(TINY.task.load().digest)[:16]
    folder.mkdir()
    (folder / ".checkpoint.pt.0123.unfinished").write_bytes(b"half")
    compare({"ML": TINY}, seeds=(0,), root=tmp_path, executor=executor, console=quiet())
    assert not list(folder.glob("*unfinished"))
    assert (folder / "result.json").exists()


@objectives.register("test-breaking")
@dataclass(frozen=True, kw_only=True)
class Breaking(Objective):
    """Somebody's objective with a mistake in it."""

    words: bool = True

    requires = (LogProb,)

    def losses(self, p: LogProb, targets: Sequences, context: StepContext) -> Losses:
        if self.words:
            raise RunError("this went wrong; do that")
        raise KeyError("surprise")


def test_when_an_arm_fails_the_others_are_finished_and_kept(executor: Executor, tmp_path: Path) -> None:
    arms = {"bad": replace(TINY, objective=Breaking()), "ML": TINY}
    console = quiet()
    with pytest.raises(
        RunError, match=r"^1 of 2 runs did not finish, first bad, seed 0: this went wrong; do that; fin"
    ):
        compare(arms, seeds=(0,), root=tmp_path, executor=executor, console=console)
    assert "bad, seed 0: failed: this went wrong; do that (1 of 2" in said(console)
    (folder,) = tmp_path.iterdir()
    assert Run.load(folder).experiment == TINY


def test_a_mistake_in_somebodys_code_comes_with_its_traceback(executor: Executor, tmp_path: Path) -> None:
    arms = {"bad": replace(TINY, objective=Breaking(words=False))}
    place = r"line \d+ of .*test_runner\.py, failed with KeyError: 'surprise' \(traceback in .*traceback\.txt\)"
    with pytest.raises(RunError, match=place) as caught:
        compare(arms, seeds=(0,), root=tmp_path, executor=executor, console=quiet())
    (place,) = re.findall(r"traceback in (\S+)\)", str(caught.value))
    assert 'raise KeyError("surprise")' in Path(place).read_text(encoding="utf-8")


@pytest.mark.parametrize("workers", [0, -1])
def test_a_comparison_needs_a_worker(workers: int, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="workers must be"):
        compare(ARMS, workers=workers, root=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_interrupted_comparison_stops_its_threads_and_goes_on_later(
    executor: Executor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupt(*arguments: object, **options: object) -> None:
        deadline = time.monotonic() + 240
        while not list(tmp_path.glob("*/progress.json")) and time.monotonic() < deadline:
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(driver, "wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        compare(LONG, seeds=(0,), root=tmp_path, executor=executor, console=quiet())
    executor.shutdown()  # waits for the thread, which would train on
    (folder,) = tmp_path.iterdir()
    assert (folder / "checkpoint.pt").exists()
    assert not (folder / "result.json").exists()


# ------------------------------------------------------------------------------------------ processes of our own

SCRIPT = """
import signal
import sys
from dataclasses import replace
from structpred import Trainer, compare
from structpred.cli import main
from structpred.cli.commands import COMMANDS
from tests.comparison.test_runner import ARMS, EPOCHS

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores Ctrl-C
    arms = {name: replace(arm, trainer=Trainer(epochs=EPOCHS, batch_tokens=40)) for name, arm in ARMS.items()}
    COMMANDS["compare"].run = lambda self, console: compare(arms, seeds=(0,), root=sys.argv[1], workers=2)
    raise SystemExit(main(["compare"]))
"""
EPOCHS = 60


def start(root: Path, script: Path) -> subprocess.Popen[str]:
    script.write_text(SCRIPT, encoding="utf-8")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, str(script), str(root)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_until_both_train(root: Path, process: subprocess.Popen[str]) -> None:
    before = time.time()
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        written = [path for path in root.glob("*/progress.json") if path.stat().st_mtime > before]
        if len([path for path in written if '"training"' in path.read_text(encoding="utf-8")]) == 2:
            return
        time.sleep(0.05)
    pytest.fail(f"the runs ended too early or did not begin; status {process.poll()}")


def gone(pids: list[int]) -> bool:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow(seconds=30)
@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in Linux's /proc")
def test_after_ctrl_c_no_process_stays_and_the_same_command_goes_on(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    process = start(root, tmp_path / "script.py")
    wait_until_both_train(root, process)
    helpers = workers_of(process.pid)
    assert len(helpers) == 2
    os.killpg(process.pid, signal.SIGINT)  # as a terminal sends Ctrl-C to all of them
    try:
        _, errors = process.communicate(timeout=240)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        pytest.fail("the comparison hangs")
    assert gone(helpers), "workers outlived the driver"
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert errors.splitlines()[-1] == "structpred: interrupted; the same command resumes from here"
    assert "told to end" not in errors, "the signal is for the driver alone"
    assert len(list(root.glob("*/checkpoint.pt"))) == 2
    assert not list(root.glob("*/result.json"))
    arms = {name: replace(arm, trainer=Trainer(epochs=EPOCHS, batch_tokens=40)) for name, arm in ARMS.items()}
    resumed = compare(arms, seeds=(0,), root=root, workers=2, console=quiet()).results["ML"][0]
    assert not list(root.glob(".*")), "the permits of the interrupted one are gone as well"
    undisturbed = train(arms["ML"], root=tmp_path / "undisturbed", device="cpu").result
    assert (resumed.identity, resumed.scores, resumed.steps) == (
        undisturbed.identity,
        undisturbed.scores,
        undisturbed.steps,
    )


# ------------------------------------------------------------------------------------------------------ rehearsals


def test_an_arm_that_cannot_be_rehearsed_has_no_estimate_and_data_are_read_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    read: list[Task] = []

    def reading(task: Task) -> Splits:
        read.append(task)
        return loaded(task)

    monkeypatch.setattr(worker, "loaded", reading)
    arms = {"bad": replace(TINY, objective=Breaking(words=False)), **ARMS}
    found, failed = costs([Plan.of(arms, (0,), None, tmp_path)], root=tmp_path, workers=1, device="cpu")
    assert set(found) == set(ARMS)
    assert list(failed) == ["bad"]
    assert read == [TINY.task]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("count", "rehearsed"), [(1, 2), (2, 0)], ids=["one worker", "a worker an arm"])
def test_arms_are_rehearsed_where_not_all_begin_at_once(
    count: int, rehearsed: int, executor: Executor, tmp_path: Path
) -> None:
    plan = Plan.of(ARMS, (0, 1), None, tmp_path)
    with open_engine([], root=tmp_path, device="cpu", workers=count, executor=executor) as engine:
        work = runner._Work(plan.unfinished, {}, engine, count)
        assert len(work.rehearsals) == rehearsed
        wait(work.rehearsals.values())
        work.hear()
    assert set(work.forecast.costs) == (set(ARMS) if rehearsed else set())


def a_round(monkeypatch: pytest.MonkeyPatch, scores: dict[str, Sequence[float]]) -> list[int]:
    """Makes every training end at once with made-up scores, one a seed; returns the numbers of seeds looked at."""
    looks: list[int] = []

    def reported(panel: Panel) -> Report:
        looks.append(len(panel.seeds))
        rates = {arm: rates[: looks[-1]] for arm, rates in scores.items()}
        return replace(a_report(**rates), design=panel.design, seeds=tuple(panel.seeds))

    monkeypatch.setattr(runner, "_trained", lambda panels, root, where: panels)
    monkeypatch.setattr(runner, "_reported", reported)
    monkeypatch.setattr(runner, "completed", lambda report, plan, examples: report)
    return looks


CLEAR = [12.0 - 1.5 - 0.2 * (i % 3) for i in range(30)]
NOISE = [12.0 + (0.9 if i % 2 else -0.8) for i in range(30)]


def test_seeds_are_added_until_every_pair_is_decided(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    looks = a_round(monkeypatch, {"ML": [12.0] * 30, "RML": CLEAR})
    report = compare(ARMS, seeds=range(2), until="decided", root=tmp_path)
    assert looks == list(range(2, looks[-1] + 1))
    assert 3 < looks[-1] < 10
    assert (report.design.rule, report.decided, report.table()[1].verdict) == ("anytime", True, "better")
    fewer = a_report(ML=[12.0] * (looks[-1] - 1), RML=CLEAR[: looks[-1] - 1])
    assert not replace(fewer, design=Design(rule="anytime")).decided


def test_seeds_end_at_the_most_that_were_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    looks = a_round(monkeypatch, {"ML": [12.0] * 30, "RML": NOISE})
    console = quiet()
    report = compare(ARMS, seeds=(3, 7, 5), until="decided", max_seeds=6, root=tmp_path, console=console)
    assert said(console).splitlines()[0] == "1 of 1 pairs undecided on PER after 3 seeds; next is seed 8"
    assert len(said(console).splitlines()) == 3
    assert (looks, report.seeds, report.decided) == ([3, 4, 5, 6], (3, 7, 5, 8, 9, 10), False)


def test_equivalence_is_a_verdict_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    a_round(monkeypatch, {"ML": [12.0] * 30, "RML": [12.0 + (0.05 if i % 2 else -0.04) for i in range(30)]})
    report = compare(ARMS, seeds=range(2), until="decided", design=Design(margins={"PER": 0.4}), root=tmp_path)
    assert (len(report.seeds), report.table()[1].verdict) == (4, "within ±0.4")


@pytest.mark.slow(seconds=2)
def test_seeds_are_really_run_in_rounds(executor: Executor, tmp_path: Path) -> None:
    report = compare(
        ARMS, seeds=(0, 1), until="decided", max_seeds=3, root=tmp_path, executor=executor, console=quiet()
    )
    assert report.seeds in ((0, 1), (0, 1, 2))
    assert len(list(tmp_path.iterdir())) >= 2 * len(report.seeds)
