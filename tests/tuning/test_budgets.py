"""Seeds, finalists, pruning, time and interruptions."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from rich.console import Console

from structpred import Experiment, Trainer
from structpred.engine import open_engine, worker
from structpred.errors import Busy, ConfigError, Interrupted
from structpred.metrics import SymbolErrorRate
from structpred.runs import Folder, session, train
from structpred.tuning import Over, Range, Space, runner, spaces, studies
from structpred.tuning.runner import StudyRunner, hopeless
from structpred.tuning.search import Search
from structpred.tuning.storage import opened
from structpred.tuning.studies import SECONDS, Study
from structpred.tuning.trials import INTERRUPTED, VOID
from tests.support.studies import fake_runs, quick, shown_of, trials_of
from tests.support.tuning import TINY, longest, rate


def test_the_mean_over_seeds_is_optimised_and_hopeless_trials_skip_the_later_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = fake_runs(monkeypatch, lambda experiment: 1000 * experiment.optimiser.rate + experiment.seed)
    space = Over(TINY, (Range(field="optimiser.lr", low=0.01, high=0.08),))
    tuning = quick(space, tmp_path, trials=None, sampler="grid", points=8, seeds=(3, 5), pruner="median")
    outcomes = tuning.studies["tuning"].outcomes
    assert [each.state for each in outcomes] == ["finished"] * 4 + ["pruned"] * 4
    assert outcomes[0].mean == pytest.approx(14)
    assert len(ran) == 4 * 2 + 4
    assert {each.reason for each in outcomes[4:]} == {"hopeless after 1 of 2 seeds"}
    assert [len(each.scores) for each in outcomes] == [2] * 4 + [1] * 4


def test_without_a_pruner_every_trial_is_run_under_all_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = fake_runs(monkeypatch, lambda experiment: 1000 * experiment.optimiser.rate + experiment.seed)
    space = Over(TINY, (Range(field="optimiser.lr", low=0.01, high=0.08),))
    tuning = quick(space, tmp_path, trials=None, sampler="grid", points=8, seeds=(3, 5), pruner="none")
    assert {each.state for each in tuning.studies["tuning"].outcomes} == {"finished"}
    assert len(ran) == 8 * 2


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


def test_finalists_of_a_larger_search_run_under_the_same_more_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_runs(monkeypatch, lambda each: 100 * each.optimiser.rate)
    space = Over(TINY, (Range(field="optimiser.lr", low=0.01, high=0.05),))
    few = quick(space, tmp_path, trials=3, finalists=2, more_seeds=1).studies["tuning"]
    result = quick(space, tmp_path, trials=12, finalists=2, more_seeds=1).studies["tuning"]
    best = sorted(result.outcomes, key=lambda each: each.scores[100])  # an error rate
    assert result.best == best[0] != few.best  # else the test shows nothing
    assert all(len(each.scores) == 2 for each in best[:2])
    assert len(trials_of(tmp_path, "tuning, more seeds")) == len(
        {each.number for each in (*few.finished[:2], *best[:2])}
    )


@pytest.mark.parametrize("later", [(2, 2), (3, 1), (1, 3)])
def test_other_numbers_of_finalists_or_seeds_give_what_a_fresh_study_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: tuple[int, int]
) -> None:
    fake_runs(monkeypatch, lambda each: 100 * each.optimiser.rate * (1 if each.seed == 100 else -1) + each.seed)
    space = Over(TINY, (Range(field="optimiser.lr", low=0.01, high=0.05),))
    finalists, more_seeds = later
    quick(space, tmp_path / "again", finalists=1, more_seeds=2)
    again, fresh = (
        quick(space, tmp_path / where, finalists=finalists, more_seeds=more_seeds).studies["tuning"]
        for where in ("again", "fresh")
    )
    assert [each.scores for each in again.outcomes] == [each.scores for each in fresh.outcomes]
    assert again.best is not None
    assert fresh.best is not None
    assert again.best.parameters == fresh.best.parameters


def test_a_finer_grid_runs_the_points_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_runs(monkeypatch, lambda each: 100 * each.optimiser.rate)
    space = Over(TINY, (Range(field="optimiser.lr", low=0.01, high=0.05),))
    for points in (3, 5):
        result = quick(space, tmp_path, trials=None, sampler="grid", points=points).studies["tuning"]
    rates = [each.parameters["optimiser.lr"] for each in result.outcomes]
    assert rates == [0.01, 0.03, 0.05, 0.02, 0.04]


@pytest.mark.parametrize("options", [{"trials": 3}, {"trials": None, "sampler": "grid", "points": 4}])
def test_a_grid_is_refused_where_other_points_were_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    fake_runs(monkeypatch, lambda each: 100 * each.optimiser.rate)
    space = Over(TINY, (Range(field="optimiser.lr", low=0.01, high=0.05),))
    quick(space, tmp_path, **options)
    with pytest.raises(ConfigError, match=r"has trials that are no points of this grid of 3, such as trial [01] with"):
        quick(space, tmp_path, trials=None, sampler="grid", points=3)


@dataclass
class PruneAfter(optuna.pruners.BasePruner):
    """Prunes after one epoch, whatever it was like."""

    epoch: int

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        return trial.last_step == self.epoch


class PruneThird(optuna.pruners.BasePruner):
    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        return bool(trial.user_attrs["slot"] == 2)


def test_a_pruned_trial_ends_with_a_checkpoint_after_its_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studies, "pruner_for", lambda search, epochs: PruneAfter(2))
    (outcome,) = quick(longest, tmp_path, trials=1, pruner="median").studies["tuning"].outcomes
    assert (outcome.state, outcome.reason, list(outcome.epochs)) == ("pruned", "pruned after epoch 2", [1, 2])
    run = Folder(tmp_path / "runs" / trials_of(tmp_path)[0].user_attrs["run"])
    assert run.checkpoint.exists()
    assert not run.finished


def test_what_is_pruned_does_not_depend_on_how_soon_the_driver_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """These runs have ended before anybody looks at their first epoch."""
    monkeypatch.setattr(studies, "pruner_for", lambda search, epochs: PruneThird())
    monkeypatch.setattr(runner, "LOOK", 60.0)
    outcomes = quick(rate, tmp_path, pruner="median").studies["tuning"].outcomes
    assert [each.state for each in outcomes] == ["finished", "finished", "pruned", "finished"]
    assert list(outcomes[2].epochs) == [1]
    assert outcomes[2].reason == "pruned after epoch 1"


def interrupt(root: Path, space: Space, after: int) -> None:
    """Begin a study of one trial, and interrupt it once it has reported some epochs."""
    with opened(str(root / "runs" / "tuning.journal")) as storage:
        study = Study.open("tuning", space, Search(trials=1, pruner="none", finalists=0), storage)

        def stopping() -> bool:
            trials = study.main.trials()
            return bool(trials) and len(trials[0].intermediate_values) >= after

        with open_engine([], root=root / "runs", device="auto", workers=1) as engine, pytest.raises(Interrupted):
            StudyRunner([study], engine, Console(quiet=True), stopping, lost=lambda: False).run(1)


def test_replayed_epochs_of_a_resumed_trial_are_not_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(tmp_path, longest, after=4)
    reached = len(trials_of(tmp_path)[0].intermediate_values)
    monkeypatch.setattr(studies, "pruner_for", lambda search, epochs: PruneAfter(2))
    monkeypatch.setattr(PruneAfter, "prune", lambda self, study, trial: trial.last_step > 1)
    (outcome,) = quick(longest, tmp_path, trials=1, pruner="median").studies["tuning"].outcomes
    assert outcome.state == "pruned"
    assert len(outcome.epochs) > reached, "every epoch from the second on would be pruned, had it been judged"
    assert outcome.reason == f"pruned after epoch {max(outcome.epochs)}"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["median", "hyperband"])
def test_pruners_stop_some_trials_of_a_longer_study(tmp_path: Path, name: str) -> None:
    def space(trial: spaces.Suggest) -> Experiment:
        return replace(rate(trial), trainer=Trainer(epochs=9, batch_tokens=40))

    result = quick(space, tmp_path, trials=14, pruner=name).studies["tuning"]
    assert result.count("pruned") > 0
    assert result.count("pruned") + result.count("finished") == 14
    assert all(len(each.epochs) < 9 for each in result.outcomes if each.state == "pruned")


@pytest.mark.slow
def test_an_interrupted_trial_is_put_back_and_reports_all_its_epochs(tmp_path: Path) -> None:
    def space(trial: spaces.Suggest) -> Experiment:
        return replace(rate(trial), trainer=Trainer(epochs=150, batch_tokens=40))

    interrupt(tmp_path, space, after=4)
    first = trials_of(tmp_path)[0]
    assert (first.state, first.user_attrs[VOID]) == (TrialState.FAIL, INTERRUPTED)
    result = quick(space, tmp_path, trials=1).studies["tuning"]
    assert result.given_up == 1
    assert result.outcomes[0].parameters == first.params
    epochs = result.outcomes[0].epochs
    assert list(epochs) == list(range(1, 151))
    assert {epoch: epochs[epoch] for epoch in first.intermediate_values} == first.intermediate_values
    assert "1 put back after a worker had died or been stopped" in shown_of(result.name, result)


def test_no_trial_starts_once_the_time_is_up_over_all_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that moves on by a second with each run, and on which nothing else takes any time."""
    ran = fake_runs(monkeypatch, lambda experiment: 1.0)
    monkeypatch.setattr(runner, "time", SimpleNamespace(monotonic=lambda: float(len(ran))))
    result = quick(rate, tmp_path, trials=9, timeout=3.0, finalists=2).studies["tuning"]
    assert (result.count("finished"), len(result.outcomes)) == (3, 3)
    assert "6 not run to their end" in shown_of("tuning", result)
    again = quick(rate, tmp_path, trials=9, timeout=5.0).studies["tuning"]
    assert again.count("finished") == 5
    assert "4 not run to their end" in shown_of("tuning", again)


def test_time_is_what_one_driver_counts_and_studies_of_earlier_versions_have_that_of_their_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noon = datetime(2026, 1, 1, 12)

    def trial(start: float, end: float, state: TrialState = TrialState.COMPLETE) -> FrozenTrial:
        made = create_trial(value=1.0 if state == TrialState.COMPLETE else None, state=state)
        made.datetime_start, made.datetime_complete = noon + timedelta(seconds=start), noon + timedelta(seconds=end)
        return made

    with opened(str(tmp_path / "journal")) as storage:
        study = Study.open("tuning", rate, Search(), storage)
        assert study.seconds() == 0
        for span in ((0, 10), (5, 20), (6, 8), (50, 60)):
            study.main.study.add_trial(trial(*span))
        study.main.study.add_trial(trial(100, 90000, TrialState.FAIL))  # ends when somebody found that it was dead
        study.main.study.add_trial(create_trial(state=TrialState.WAITING))
        assert study.seconds() == pytest.approx(30)
        study.main.study.set_user_attr(SECONDS, 7.0)
        assert study.seconds() == 7.0


def test_a_run_that_another_process_trains_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def busy_once(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise Busy(tmp_path)
        return train(*arguments, **options)

    monkeypatch.setattr(worker, "train", busy_once)
    monkeypatch.setattr(session, "WAIT", 0.01)
    assert quick(rate, tmp_path, trials=1).studies["tuning"].count("finished") == 1
    assert len(calls) == 2
