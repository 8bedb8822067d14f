"""No trial is lost or run twice, whoever dies between which two steps."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import optuna
import pytest
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import TrialState

from structpred.engine.driver import TRIES
from structpred.tuning.search import Search
from structpred.tuning.storage import opened
from structpred.tuning.trials import (
    INTERRUPTED,
    LOST,
    REPLACES,
    SLOT,
    SURPLUS,
    VOID,
    WAY,
    TrialQueue,
    given_up,
    owners,
)


@pytest.fixture(params=["memory", "journal", "sqlite"])
def queue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TrialQueue]:
    place = {"journal": str(tmp_path / "j"), "sqlite": f"sqlite:///{tmp_path}/s.db"}.get(request.param)
    with nullcontext(InMemoryStorage()) if place is None else opened(place) as storage:
        yield make(storage, 4)


def make(storage: BaseStorage, count: int) -> TrialQueue:
    study = optuna.create_study(storage=storage, study_name="s", load_if_exists=True)
    return TrialQueue(study, Search(sampler="random"), {slot: {} for slot in range(count)})


def ask(queue: TrialQueue) -> optuna.Trial:
    trial = queue.ask()
    assert trial is not None
    return trial


def x_of(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0.0, 1.0)


def finish_all(queue: TrialQueue) -> list[float]:
    while (trial := queue.ask()) is not None:
        queue.study.tell(trial, x_of(trial))
    trials = queue.study.get_trials(states=(TrialState.COMPLETE,))
    return [trial.params["x"] for trial in trials if trial.params]


def test_every_slot_is_run_once_with_points_of_its_own(queue: TrialQueue) -> None:
    assert not queue.over()
    points = finish_all(queue)
    assert len(set(points)) == len(points) == 4
    assert queue.over()
    assert queue.ask() is None
    assert len(queue.trials()) == 4


def test_several_trials_may_be_under_way(queue: TrialQueue) -> None:
    trials = [ask(queue) for _ in range(4)]
    assert [trial.user_attrs[SLOT] for trial in trials] == [0, 1, 2, 3]
    assert queue.ask() is None
    assert not queue.over()
    assert len({x_of(trial) for trial in trials}) == 4


def test_more_slots_later_are_filled_and_fewer_are_not_run(queue: TrialQueue) -> None:
    finish_all(queue)
    more = TrialQueue(queue.study, queue.search, {slot: {} for slot in range(6)})
    assert not more.over()
    trial = ask(more)
    more.study.tell(trial, x_of(trial))
    queue.study.enqueue_trial({}, user_attrs={SLOT: 5})  # as a larger search leaves it when it is killed
    assert queue.over()
    assert queue.ask() is None
    finish_all(more)
    assert more.over()
    assert len(owners(more.trials())) == 6


def test_a_waiting_trial_of_a_larger_search_is_not_run_by_a_smaller_one(queue: TrialQueue) -> None:
    queue.study.enqueue_trial({"x": 0.25}, user_attrs={SLOT: 9})
    assert sorted(trial.user_attrs[SLOT] for trial in (ask(queue) for _ in range(4))) == [0, 1, 2, 3]
    (surplus,) = [trial for trial in queue.trials() if trial.state == TrialState.FAIL]
    assert surplus.user_attrs[VOID] == SURPLUS
    assert given_up(queue.trials()) == 0


def test_what_a_dead_driver_left_running_is_put_back_with_its_parameters_and_slot(queue: TrialQueue) -> None:
    first = ask(queue)
    queue.study.tell(first, x_of(first))
    left = ask(queue)
    point = x_of(left)
    queue.recover()
    (dead,) = [trial for trial in queue.trials() if trial.state == TrialState.FAIL]
    assert (dead.number, dead.params) == (left.number, {"x": point})
    (waiting,) = [trial for trial in queue.trials() if trial.state == TrialState.WAITING]
    slot = left.user_attrs[SLOT]
    assert waiting.user_attrs == {SLOT: slot, REPLACES: left.number, WAY: queue.search.way}
    assert x_of(ask(queue)) == point
    assert given_up(queue.trials()) == 1


def test_a_driver_that_dies_while_it_recovers_loses_nothing(queue: TrialQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    left = ask(queue)
    point = x_of(left)

    def die(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(queue.study, "tell", die)
        with pytest.raises(KeyboardInterrupt):
            queue.recover()
    queue.recover()
    assert len(queue.trials()) == 2, "it is put back once"
    points = finish_all(queue)
    assert point in points
    assert len(set(points)) == len(points) == 4
    assert queue.over()


@pytest.mark.parametrize("asked", [False, True], ids=["while waiting", "before it asked for parameters"])
def test_a_driver_that_dies_at_once_leaves_a_slot_that_is_filled(asked: bool, queue: TrialQueue) -> None:
    queue.study.enqueue_trial({}, user_attrs={SLOT: 0})
    if asked:
        queue.study.ask()
    queue.recover()
    assert len(set(finish_all(queue))) == 4
    assert queue.over()


def test_an_interrupted_trial_is_put_back_with_its_parameters(queue: TrialQueue) -> None:
    trial = ask(queue)
    point = x_of(trial)
    queue.end(trial, INTERRUPTED, attribute=VOID)
    assert owners(queue.trials()) == {}
    again = ask(queue)
    assert (again.user_attrs[SLOT], x_of(again)) == (0, point)
    assert given_up(queue.trials()) == 1


def test_a_trial_that_ended_well_after_it_was_given_up_stays(queue: TrialQueue) -> None:
    """Its driver was not dead but asleep, and another one is about to take over."""
    trial = ask(queue)
    queue.study.enqueue_trial({"x": x_of(trial)}, user_attrs={SLOT: 0, REPLACES: trial.number})
    queue.study.tell(trial, x_of(trial))
    queue.recover()
    assert owners(queue.trials())[0].number == trial.number
    assert len(finish_all(queue)) == 4
    queue.study.tell(trial, 0.5, skip_if_finished=True)
    assert len(queue.study.get_trials(states=(TrialState.COMPLETE,))) == 4


def test_a_point_that_kills_its_drivers_fails_in_the_end(queue: TrialQueue) -> None:
    for _ in range(TRIES):
        assert x_of(ask(queue)) >= 0
        queue.recover()
    first = owners(queue.trials())[0]
    assert first.state == TrialState.FAIL
    assert len(queue.trials()) == TRIES
    finish_all(queue)
    assert queue.over()


def test_a_point_that_gets_further_each_time_may_be_killed_as_often_as_somebody_likes(queue: TrialQueue) -> None:
    only = TrialQueue(queue.study, queue.search, {0: {}})
    for number in range(2 * TRIES):
        trial = ask(only)
        x_of(trial)
        for epoch in range(number + 1):
            trial.report(0.0, epoch)
        only.recover()
    assert len(finish_all(only)) == 1
    assert given_up(only.trials()) == 2 * TRIES


def test_trials_of_earlier_versions_count_as_they_did(queue: TrialQueue) -> None:
    """They were all put into the queue at first; surplus ones and those of dead workers say so themselves."""
    for slot in (0, 1, 1, 2, 3):
        queue.study.enqueue_trial({}, user_attrs={SLOT: slot})
    point = 0.0
    for number, void in ((0, LOST), (1, ""), (2, SURPLUS)):
        trial = queue.study.ask()
        assert trial.number == number
        if void == LOST:
            point = x_of(trial)
        if void:
            queue.end(trial, void, attribute=VOID)
    assert {slot: trial.number for slot, trial in owners(queue.trials()).items()} == {1: 1, 2: 3, 3: 4}
    queue.study.tell(1, 0.5)
    points = finish_all(queue)
    assert point in points
    assert sorted(owners(queue.trials())) == [0, 1, 2, 3]
    assert given_up(queue.trials()) == 1
