"""Seeds, finalists, pruning, time and interruptions."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from structpred import Experiment, Trainer
from structpred.errors import Busy, Interrupted
from structpred.metrics import SymbolErrorRate
from structpred.running import train
from structpred.runs import Folder
from structpred.tuning import Over, Range, evaluation, samplers, spaces
from structpred.tuning.evaluation import Place, hopeless
from structpred.tuning.lease import LEASE
from structpred.tuning.search import Search
from structpred.tuning.slots import INTERRUPTED, LOST, VOID
from structpred.tuning.storage import opened
from structpred.tuning.studies import Study
from structpred.tuning.workers import work, worked
from tests.support.studies import fake_runs, quick, shown_of, trials_of
from tests.support.tuning import TINY, longer, rate


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


def test_a_pruned_trial_stands_by_the_epoch_that_pruned_it_whatever_its_run_had_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(str(tmp_path / "runs" / "tuning.journal")) as storage:
        study = Study.open("tuning", longer, Search(trials=1, pruner="none", finalists=0), storage)

        def stopping() -> bool:
            trials = study.main.trials()
            return bool(trials) and len(trials[0].intermediate_values) >= 4

        with pytest.raises(Interrupted):
            work([study], Place(tmp_path / "runs", "auto", stopping, lambda: None), 60.0)

    class AfterTwo(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
            return trial.last_step == 2

    monkeypatch.setattr(samplers, "pruner", lambda search, epochs: AfterTwo())
    (outcome,) = quick(longer, tmp_path, trials=1, pruner="median").studies["tuning"].outcomes
    assert (outcome.state, outcome.reason, list(outcome.epochs)) == ("pruned", "pruned after epoch 2", [1, 2])


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
            raise Busy(tmp_path)
        return real(*arguments, **options)

    monkeypatch.setattr(evaluation, "train", busy_once)
    monkeypatch.setattr(evaluation, "WAIT", 0.01)
    assert quick(rate, tmp_path, trials=1).studies["tuning"].count("finished") == 1
    assert len(calls) == 2
