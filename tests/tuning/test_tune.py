"""Studies in this process: what is found, what is run again, and what is left behind."""

import io
import json
import runpy
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import optuna
import pytest
from rich.console import Console

from structpred import Experiment, Run
from structpred.engine import driver
from structpred.errors import ConfigError
from structpred.metrics import Chrf, ChunkF1, SymbolErrorRate, WordErrorRate
from structpred.objectives import MaximumLikelihood
from structpred.training.monitoring import Progress
from structpred.tuning import Over, Range, spaces
from structpred.tuning.storage import opened
from tests.support.studies import fake_runs, never, quick, shown, trials_of
from tests.support.tiny import Copying
from tests.support.tuning import TEMPERED, TINY, longer, rate


def test_the_best_of_all_trials_is_found_and_kept_as_runs(tmp_path: Path) -> None:
    tuning = quick(rate, tmp_path)
    (result,) = tuning.studies.values()
    means = [each.mean for each in result.outcomes]
    assert [each.state for each in result.outcomes] == ["finished"] * 4
    assert result.best is not None
    assert result.best.mean == min(means)
    assert tuning.best == replace(rate(optuna.trial.FixedTrial(dict(result.best.parameters))), seed=100)
    assert len(list((tmp_path / "runs").glob("*/result.json"))) == 4
    assert all(list(each.epochs) == [1, 2] for each in result.outcomes)


@pytest.mark.slow
def test_the_same_call_trains_nothing_and_a_larger_one_only_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = quick(rate, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(driver, "train_run", never)
        assert quick(rate, tmp_path).studies == first.studies
    larger = quick(rate, tmp_path, trials=6).studies["tuning"].outcomes
    assert larger[:4] == first.studies["tuning"].outcomes
    assert len({each.parameters["lr"] for each in larger}) == len(larger) == 6
    at_once = quick(rate, tmp_path / "elsewhere", trials=6).studies["tuning"].outcomes
    assert [each.parameters for each in at_once] == [each.parameters for each in larger], "a restart draws as one call"


def test_tpe_proposes_the_same_whether_or_not_it_was_restarted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_runs(monkeypatch, lambda experiment: abs(experiment.optimiser.rate - 0.01))
    whole = quick(rate, tmp_path / "a", trials=16, sampler="tpe").studies["tuning"].outcomes
    for trials in (5, 11, 13, 16):
        parts = quick(rate, tmp_path / "b", trials=trials, sampler="tpe").studies["tuning"].outcomes
    assert [each.parameters for each in parts] == [each.parameters for each in whole]
    errors = [abs(each.parameters["lr"] - 0.01) for each in whole]
    assert fmean(errors[11:]) < fmean(errors[:8]), "it learns"


SCORED = {"task's second": WordErrorRate(), "not the task's": Chrf()}


@pytest.mark.slow
@pytest.mark.parametrize("name", SCORED)
def test_the_first_of_the_chosen_metrics_is_optimised(name: str, tmp_path: Path) -> None:
    metric = SCORED[name]
    quick(longer, tmp_path, name="before")  # runs that know nothing of the metric are found again
    tuning = quick(lambda trial: replace(longer(trial), metrics=(metric, SymbolErrorRate())), tmp_path)
    (result,) = tuning.studies.values()
    runs = [Run.load(path.parent) for path in (tmp_path / "runs").glob("*/result.json")]
    assert len(runs) == 4
    scores = [run.reported_by([metric]).result.scores["dev"][metric.name] for run in runs]
    assert sorted(each.mean for each in result.outcomes) == sorted(scores)
    assert len(set(scores)) > 1
    assert result.best is not None
    assert result.best.mean == (max if metric.higher_is_better else min)(scores)
    aim = "maximises dev chrF" if metric.higher_is_better else "minimises dev WER"
    assert f"tuning {aim}; trials: 4 finished" in shown(tuning)
    tuning.write(tmp_path / "report")
    (arm,) = runpy.run_path(str(tmp_path / "report" / "best_tuning.py"))["experiments"]().values()
    assert arm.metrics == (metric, SymbolErrorRate())
    with pytest.raises(ConfigError, match=rf"has metric = PER, lower is better, but this one has {metric.name}, "):
        quick(lambda trial: replace(longer(trial), metrics=(metric,)), tmp_path, name="before")


def test_epochs_are_judged_by_the_chosen_metric(tmp_path: Path) -> None:
    space = Over(replace(TINY, metrics=(Chrf(),)), (Range(field="optimiser.lr", low=0.01, high=0.1),))
    (outcome,) = quick(space, tmp_path, trials=1, pruner="median").studies["tuning"].outcomes
    (run,) = (Run.load(path.parent) for path in (tmp_path / "runs").glob("*/result.json"))
    assert outcome.epochs == {epoch.epoch: epoch.dev["chrF"] for epoch in run.result.history}
    assert list(outcome.epochs) == [1, 2]


def test_a_metric_that_does_not_fit_the_task_is_refused_before_any_trial(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the metric F1 does not fit the task Copying"):
        quick(lambda trial: replace(rate(trial), metrics=(ChunkF1(),)), tmp_path)
    with opened(str(tmp_path / "runs" / "tuning.journal")) as storage:
        assert storage.get_all_studies() == []
    assert not list((tmp_path / "runs").glob("*/experiment.json"))


def test_a_grid_runs_every_point_once(tmp_path: Path) -> None:
    space = Over(TINY, (Range(field="optimiser.lr", low=0.01, high=0.1, log=True), Range(field="seed", choices=(1, 2))))
    outcomes = quick(space, tmp_path, trials=None, sampler="grid", points=3).studies["tuning"].outcomes
    assert len({tuple(each.parameters.values()) for each in outcomes}) == len(outcomes) == 6
    with pytest.raises(ConfigError, match="the grid has 6 points, but there are to be 5 trials"):
        quick(space, tmp_path / "b", trials=5, sampler="grid", points=3)


@pytest.mark.slow
def test_several_tasks_have_a_study_each_and_one_report(tmp_path: Path) -> None:
    larger = replace(TEMPERED, task=Copying(longest=3))
    both = {"short": spaces.edit_rate(larger), "long": spaces.edit_rate(TEMPERED)}
    tuning = quick(both, tmp_path, trials=3, finalists=1, more_seeds=2)
    assert list(tuning.studies) == ["short", "long"]
    assert [len(trials_of(tmp_path, f"tuning/{name}")) for name in both] == [3, 3]
    report = shown(tuning)
    assert "Every one of the 2 studies had the same budget: 3 trials of 1 seed each" in report
    (table,) = [part for part in report.split("## ") if part.startswith("The best temperature")]
    assert len([line for line in table.splitlines() if line.startswith("| tuning/")]) == 2
    names = {path.name for path in tuning.write(tmp_path / "report")}
    assert names >= {"best_short.py", "best_long.py", "best_short.json", "best_long.json"}
    with pytest.raises(ValueError, match="too many values"):
        tuning.best  # noqa: B018


@pytest.mark.slow
def test_the_best_experiment_is_json_and_a_module_of_arms(tmp_path: Path) -> None:
    tuning = quick(spaces.edit_rate(TEMPERED), tmp_path)
    tuning.write(tmp_path / "report")
    text = (tmp_path / "report" / "best_tuning.json").read_text(encoding="utf-8")
    assert Experiment.from_json(text) == tuning.best
    arms = runpy.run_path(str(tmp_path / "report" / "best_tuning.py"))["experiments"]()
    assert arms["tuned"] == replace(tuning.best, seed=0)
    assert arms["ML"] == replace(arms["tuned"], objective=MaximumLikelihood())
    quick(rate, tmp_path, name="rate").write(tmp_path / "report")
    assert list(runpy.run_path(str(tmp_path / "report" / "best_rate.py"))["experiments"]()) == ["tuned"]
    record = json.loads((tmp_path / "report" / "results.json").read_text(encoding="utf-8"))
    assert len(record["studies"]["rate"]["trials"]) == 4
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg ") == 3  # the slice, the history and the curves


def test_importance_is_told_of_several_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_runs(monkeypatch, lambda experiment: experiment.optimiser.rate)
    space = Over(TINY, (Range(field="optimiser.lr", low=0.01, high=0.1), Range(field="model.embedding", low=2, high=9)))
    tuning = quick(space, tmp_path, trials=30)
    importances = tuning.importances["tuning"]
    assert importances["optimiser.lr"] > importances["model.embedding"]
    tuning.write(tmp_path / "report")
    assert "what mattered" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_nothing_is_said_where_there_is_no_terminal_and_bars_are_drawn_on_one(tmp_path: Path) -> None:
    silent, terminal = Console(file=io.StringIO()), Console(file=io.StringIO(), force_terminal=True, width=120)
    quick(rate, tmp_path / "a", console=silent)
    quick(rate, tmp_path / "b", console=terminal, finalists=1, more_seeds=2)
    assert isinstance(silent.file, io.StringIO)
    assert isinstance(terminal.file, io.StringIO)
    assert silent.file.getvalue() == ""
    assert "tuning 0: lr 0." in terminal.file.getvalue()
    assert "tuning, more seeds 1: " in terminal.file.getvalue()
    assert "(6 of 6)" in terminal.file.getvalue()


def test_a_trial_leaves_its_progress_in_the_folder_of_its_run(tmp_path: Path) -> None:
    quick(rate, tmp_path, trials=1)
    (written,) = (tmp_path / "runs").glob("*/progress.json")
    assert Progress(**json.loads(written.read_text(encoding="utf-8"))).phase == "done"


@pytest.mark.slow
def test_a_space_need_not_be_importable_by_worker_processes(tmp_path: Path) -> None:
    tuning = quick(lambda trial: rate(trial), tmp_path, workers=2)
    assert tuning.studies["tuning"].count("finished") == 4
    alone = quick(rate, tmp_path / "alone")
    found = [{(e.parameters["lr"], e.mean) for e in each.studies["tuning"].outcomes} for each in (tuning, alone)]
    assert found[0] == found[1], "random points and their scores do not depend on the number of workers"
