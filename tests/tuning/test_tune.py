"""Studies from their beginning to their report, in this process."""

import io
import json
import runpy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from rich.console import Console

from structpred import Experiment, Trainer, Tuning, tune
from structpred.errors import ConfigError, RunError
from structpred.metrics import SymbolErrorRate
from structpred.objectives import MaximumLikelihood
from structpred.runs import Folder
from structpred.train import Busy, train
from structpred.training.progress import Progress
from structpred.training.trainer import Interrupted
from structpred.tuning import Over, Range, Space, evaluation, samplers, spaces
from structpred.tuning.evaluation import Place, hopeless
from structpred.tuning.lease import LEASE
from structpred.tuning.search import Search
from structpred.tuning.slots import INTERRUPTED, LOST, VOID
from structpred.tuning.storage import open_storage, opened
from structpred.tuning.studies import Study
from structpred.tuning.workers import work, worked
from tests.support.tiny import Copying
from tests.support.tuning import TEMPERED, TINY, Failing, longer, rate


def quick(space: Space | Mapping[str, Space], root: Path, trials: int | None = 4, **options: Any) -> Tuning:
    settings: dict[str, Any] = {"finalists": 0, "pruner": "none", "sampler": "random"} | options
    return tune(space, trials=trials, root=root / "runs", **settings)


def trials_of(root: Path, name: str = "tuning") -> list[FrozenTrial]:
    storage = open_storage(str(root / "runs" / "tuning.journal"))
    return optuna.load_study(study_name=name, storage=storage).get_trials()


def never(*arguments: object, **options: object) -> None:
    raise AssertionError("a finished run was run again")


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


def test_the_same_call_trains_nothing_and_a_larger_one_only_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = quick(rate, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(evaluation, "train", never)
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


def test_a_grid_runs_every_point_once(tmp_path: Path) -> None:
    space = Over(TINY, (Range(field="optimiser.lr", low=0.01, high=0.1, log=True), Range(field="seed", choices=(1, 2))))
    outcomes = quick(space, tmp_path, trials=None, sampler="grid", points=3).studies["tuning"].outcomes
    assert len({tuple(each.parameters.values()) for each in outcomes}) == len(outcomes) == 6
    with pytest.raises(ConfigError, match="the grid has 6 points, but there are to be 5 trials"):
        quick(space, tmp_path / "b", trials=5, sampler="grid", points=3)


# ------------------------------------------------------------------------------------------------------- failures


@pytest.mark.filterwarnings("ignore::structpred.training.gradient.MemoryWarning")
def test_failing_trials_are_recorded_with_their_reason_and_stop_nothing(tmp_path: Path) -> None:
    base = replace(TINY, objective=Failing())
    space = Over(base, (Range(field="objective.how", choices=("finite", "memory", "code", "not")),))
    tuning = quick(space, tmp_path, trials=None, sampler="grid")
    found = {each.parameters["objective.how"]: each for each in tuning.studies["tuning"].outcomes}
    assert {how: each.state for how, each in found.items()} == {
        "finite": "failed", "memory": "failed", "code": "failed", "not": "finished",
    }  # fmt: skip
    assert "not finite in 10 steps in a row" in found["finite"].reason
    assert found["memory"].reason == "out of memory"
    assert found["code"].reason.startswith("KeyError: 'surprise' (traceback in ")
    assert 'raise KeyError("surprise")' in Path(found["code"].reason.split()[-1][:-1]).read_text(encoding="utf-8")
    assert tuning.best.objective == Failing()
    report = shown(tuning)
    assert "1 finished and 3 failed" in report
    assert "out of memory" in report


@pytest.mark.filterwarnings("ignore::structpred.training.gradient.MemoryWarning")
def test_where_every_trial_fails_the_report_says_why(tmp_path: Path) -> None:
    space = Over(replace(TINY, objective=Failing(how="memory")), (Range(field="optimiser.lr", low=0.01, high=0.1),))
    tuning = quick(space, tmp_path, trials=2)
    assert "No trial of tuning has finished: out of memory" in shown(tuning)
    assert sorted(path.name for path in tuning.write(tmp_path / "report")) == [
        "report.html", "report.md", "results.json",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="no trial of 'tuning' finished"):
        tuning.best  # noqa: B018 - it is a property


def test_a_full_disk_is_the_machines_trouble_and_the_trial_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device", "runs")

    with monkeypatch.context() as patched:
        patched.setattr(evaluation, "train", full)
        with pytest.raises(OSError, match="No space left"):
            quick(rate, tmp_path)
    (first, *_) = trials_of(tmp_path)
    assert first.user_attrs[VOID] == INTERRUPTED
    outcomes = quick(rate, tmp_path).studies["tuning"].outcomes
    assert [each.state for each in outcomes] == ["finished"] * 4
    assert first.params in [each.parameters for each in outcomes]


# --------------------------------------------------------------------------------------------- other spaces, other data


@pytest.mark.parametrize(
    ("space", "options", "said"),
    [
        (spaces.edit_rate(TEMPERED), {}, "searches lr, but this one does not"),
        (
            lambda trial: replace(TINY, seed=int(10 * trial.suggest_float("lr", 0.1, 0.3))),
            {},
            "from 0.001 to 0.3 .log.",
        ),
        (longer, {}, "is of another experiment: it has trainer.epochs=2, but this one 15"),
        (rate, {"seeds": (1, 2)}, "has the seeds 100, but this one 1, 2"),
    ],
    ids=["parameter", "range", "experiment", "seeds"],
)
def test_a_space_that_is_not_the_stored_one_is_refused(
    tmp_path: Path, space: Space, options: dict[str, Any], said: str
) -> None:
    with opened(str(tmp_path / "runs" / "tuning.journal")) as storage:
        Study.open("tuning", rate, Search(), storage)
    with pytest.raises(ConfigError, match=f"the stored study 'tuning' .*{said}.*another study name"):
        quick(space, tmp_path, **options)


def test_somebody_elses_study_is_refused(tmp_path: Path) -> None:
    with opened(str(tmp_path / "runs" / "tuning.journal")) as storage:
        optuna.create_study(storage=storage, study_name="tuning").add_trial(create_trial(value=1.0))
    with pytest.raises(ConfigError, match="was not made by structpred"):
        quick(rate, tmp_path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"trials": 0}, "trials must be at least 1, but got 0"),
        ({"seeds": ()}, "one seed or more"),
        ({"seeds": (1, 1)}, "each once, but got .1, 1."),
        ({"timeout": -1.0}, "timeout must be above 0"),
        ({"sampler": "grit"}, "did you mean 'grid'"),
        ({"pruner": "medium"}, "did you mean 'median'"),
        ({"workers": 0}, "workers must be at least 1"),
        ({"lease": 0.0}, "lease must be above 0"),
        ({"points": 1}, "points must be at least 2"),
        ({"finalists": -1}, "finalists must be at least 0"),
    ],
)
def test_budgets_that_cannot_be_are_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        quick(rate, tmp_path, **options)


def test_a_space_that_cannot_be_sent_to_workers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="define it at the top of a module, or use one worker"):
        quick(lambda trial: rate(trial), tmp_path, workers=2)
    with pytest.raises(ConfigError, match="expected one space to tune or more"):
        quick({}, tmp_path)


def test_storages_that_cannot_be_used_are_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no journal\n", encoding="utf-8")
    with pytest.raises(RunError, match="is no journal of a study"):
        quick(rate, tmp_path, storage=tmp_path / "text")
    with pytest.raises(ConfigError, match="must be a journal file, but it is a folder"):
        quick(rate, tmp_path, storage=tmp_path)
    with pytest.raises(ConfigError, match="SQLite serves one process only"):
        quick(rate, tmp_path, storage="sqlite:///s.db", workers=2)
    with pytest.raises(ConfigError, match=r"strange://a:\*\*\*@b is no storage"):
        quick(rate, tmp_path, storage="strange://a:secret@b")
    with pytest.raises(ConfigError, match="expected grpc://HOST:PORT"):
        quick(rate, tmp_path, storage="grpc://nowhere")


def test_half_a_line_at_the_end_of_a_journal_is_forgotten(tmp_path: Path) -> None:
    first = quick(rate, tmp_path)
    journal = tmp_path / "runs" / "tuning.journal"
    with journal.open("a", encoding="utf-8") as stream:
        stream.write('{"op_code": 4, "wor')
    assert quick(rate, tmp_path).studies == first.studies


def test_a_database_serves_one_worker(tmp_path: Path) -> None:
    tuning = quick(rate, tmp_path, storage=f"sqlite:///{tmp_path}/s.db", finalists=1, more_seeds=1)
    assert len(tuning.studies["tuning"].finished) == 4


# ------------------------------------------------------------------------------- seeds, pruning, time, interruptions


@dataclass
class FakeRun:
    result: Any


def fake_runs(monkeypatch: pytest.MonkeyPatch, score: Callable[[Experiment], float]) -> list[Experiment]:
    """Trials end at once with a score of our choice; returns what was run, as it is run."""
    ran: list[Experiment] = []

    def run(self: evaluation.Training) -> FakeRun:
        ran.append(self.experiment)
        return FakeRun(SimpleNamespace(scores={"dev": {"PER": score(self.experiment)}}))

    monkeypatch.setattr(evaluation.Training, "run", run)
    return ran


def test_the_mean_over_seeds_is_optimised_and_hopeless_trials_skip_the_later_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = fake_runs(monkeypatch, lambda experiment: 1000 * experiment.optimiser.rate + experiment.seed)
    space = Over(TINY, (Range(field="optimiser.lr", low=0.01, high=0.08),))
    tuning = quick(space, tmp_path, trials=None, sampler="grid", points=8, seeds=(3, 5))
    outcomes = tuning.studies["tuning"].outcomes
    assert [each.state for each in outcomes] == ["finished"] * 4 + ["pruned"] * 4
    assert outcomes[0].mean == pytest.approx(14)
    assert len(ran) == 4 * 2 + 4
    assert {each.reason for each in outcomes[4:]} == {"hopeless after 1 of 2 seeds"}
    assert [len(each.scores) for each in outcomes] == [2] * 4 + [1] * 4


def test_what_is_hopeless() -> None:
    others = [{0: score, 1: score} for score in (1.0, 2.0, 3.0, 4.0)]
    metric = SymbolErrorRate()
    assert [hopeless({0: score}, others, metric) for score in (2.4, 2.6)] == [False, True]
    assert not hopeless({0: 99.0}, others[:3], metric)
    assert not hopeless({7: 99.0}, others, metric)


def test_finalists_run_under_more_seeds_which_choose_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # under the first seed the lowest rate is luckily best; under the others it is worst
    fake_runs(monkeypatch, lambda each: 100 * each.optimiser.rate * (1 if each.seed == 100 else -1) + each.seed % 2)
    space = Over(TINY, (Range(field="optimiser.lr", low=0.01, high=0.05),))
    options = {"sampler": "grid", "points": 5, "finalists": 2, "more_seeds": 3}
    result = quick(space, tmp_path, trials=None, **options).studies["tuning"]
    assert sorted(len(each.scores) for each in result.outcomes) == [1, 1, 1, 4, 4]
    assert result.best is not None
    assert result.best.parameters == {"optimiser.lr": pytest.approx(0.02)}
    assert sorted(result.best.scores) == [100, 101, 102, 103]
    assert len(result.best.fresh) == 3
    assert result.best.mean == pytest.approx(-2 + 2 / 3)
    assert len(trials_of(tmp_path, "tuning, more seeds")) == 6


class PruneThird(optuna.pruners.BasePruner):
    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        return bool(trial.user_attrs["slot"] == 2)


def test_a_pruned_trial_ends_with_a_checkpoint_after_its_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "pruner", lambda search, epochs: PruneThird())
    outcomes = quick(rate, tmp_path, pruner="median").studies["tuning"].outcomes
    assert [each.state for each in outcomes] == ["finished", "finished", "pruned", "finished"]
    assert list(outcomes[2].epochs) == [1]
    assert outcomes[2].reason == "pruned after epoch 1"
    run = Folder(tmp_path / "runs" / trials_of(tmp_path)[2].user_attrs["run"])
    assert run.checkpoint.exists()
    assert not run.finished


@pytest.mark.slow
@pytest.mark.parametrize("name", ["median", "hyperband"])
def test_pruners_stop_some_trials_of_a_longer_study(tmp_path: Path, name: str) -> None:
    def space(trial: spaces.Suggest) -> Experiment:
        return replace(rate(trial), trainer=Trainer(epochs=9, batch_tokens=40))

    result = quick(space, tmp_path, trials=14, pruner=name).studies["tuning"]
    assert result.count("pruned") > 0
    assert result.count("pruned") + result.count("finished") == 14
    assert all(len(each.epochs) < 9 for each in result.outcomes if each.state == "pruned")


def test_an_interrupted_trial_is_put_back_and_reports_all_its_epochs(tmp_path: Path) -> None:
    with opened(str(tmp_path / "runs" / "tuning.journal")) as storage:
        study = Study.open("tuning", longer, Search(trials=1, pruner="none", finalists=0), storage)

        def stopping() -> bool:
            trials = study.main.trials()
            return bool(trials) and len(trials[0].intermediate_values) >= 4

        with pytest.raises(Interrupted):
            work([study], Place(tmp_path / "runs", "auto", stopping, lambda: None), 60.0)
    first = trials_of(tmp_path)[0]
    assert (first.state, first.user_attrs[VOID]) == (TrialState.FAIL, INTERRUPTED)
    result = quick(longer, tmp_path, trials=1).studies["tuning"]
    assert result.given_up == 1
    assert result.outcomes[0].parameters == first.params
    epochs = result.outcomes[0].epochs
    assert list(epochs) == list(range(1, 16))
    assert {epoch: epochs[epoch] for epoch in first.intermediate_values} == first.intermediate_values
    assert "1 put back after a worker had died or been stopped" in shown_of(result.name, result)


def shown_of(name: str, result: Any) -> str:
    return shown(Tuning({name: result}, {}, ""))


def test_no_trial_starts_once_the_time_is_up_over_all_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("structpred.tuning.workers.worked", lambda trials: float(sum(bool(t.params) for t in trials)))
    fake_runs(monkeypatch, lambda experiment: 1.0)
    result = quick(rate, tmp_path, trials=9, timeout=3.0, finalists=2).studies["tuning"]
    assert (result.count("finished"), result.count("waiting")) == (3, 6)
    again = quick(rate, tmp_path, trials=9, timeout=5.0).studies["tuning"]
    assert again.count("finished") == 5
    assert "4 not run to their end" in shown_of("tuning", again)


def test_time_is_what_at_least_one_worker_was_at_work() -> None:
    noon = datetime(2026, 1, 1, 12)

    def trial(start: float, end: float, **fields: Any) -> FrozenTrial:
        made = create_trial(value=None if fields else 1.0, **fields)
        made.datetime_start, made.datetime_complete = noon + timedelta(seconds=start), noon + timedelta(seconds=end)
        return made

    died = {VOID: LOST, LEASE: {"at": (noon + timedelta(seconds=130)).timestamp()}}
    found = trial(100, 90000, state=TrialState.FAIL, user_attrs=died)
    assert worked([trial(0, 10), trial(5, 20), trial(6, 8), trial(50, 60)]) == pytest.approx(30)
    assert worked([trial(0, 10), found]) == pytest.approx(40), "until its last sign of life, not until it was found"
    assert worked([create_trial(state=TrialState.WAITING)]) == 0


def test_a_run_that_another_process_trains_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = train

    def busy_once(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise Busy(Folder(tmp_path))
        return real(*arguments, **options)

    monkeypatch.setattr(evaluation, "train", busy_once)
    monkeypatch.setattr(evaluation, "WAIT", 0.01)
    assert quick(rate, tmp_path, trials=1).studies["tuning"].count("finished") == 1
    assert len(calls) == 2


# -------------------------------------------------------------------------------------------------- what is left behind


def shown(tuning: Tuning) -> str:
    console = Console(file=io.StringIO(), width=240)
    tuning.show(console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


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
    assert page.count("<svg") == 3  # the slice, the history and the curves


def test_importance_is_told_of_several_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_runs(monkeypatch, lambda experiment: experiment.optimiser.rate)
    space = Over(TINY, (Range(field="optimiser.lr", low=0.01, high=0.1), Range(field="model.embedding", low=2, high=9)))
    tuning = quick(space, tmp_path, trials=30)
    importances = tuning.importances["tuning"]
    assert importances["optimiser.lr"] > importances["model.embedding"]
    tuning.write(tmp_path / "report")
    assert "what mattered" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")


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


def test_the_evaluation_tells_of_progress(tmp_path: Path) -> None:
    told: list[int] = []
    with opened(str(tmp_path / "journal")) as storage:
        study = Study.open("tuning", rate, Search(trials=1, finalists=0), storage)
        work([study], Place(tmp_path / "runs", "auto", lambda: False, lambda: told.append(1)), 60.0)
    assert told
    (written,) = (tmp_path / "runs").glob("*/progress.json")
    assert Progress(**json.loads(written.read_text(encoding="utf-8"))).phase == "done"
