"""Trials are shared out without losing or repeating one, whoever dies between which two steps."""

import itertools
import os
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import optuna
import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from structpred.tuning import lease as leases
from structpred.tuning.lease import LEASE, Lease, Watch, born
from structpred.tuning.samplers import sampler
from structpred.tuning.search import Search
from structpred.tuning.slots import INTERRUPTED, LOST, REASON, SURPLUS, TRIES, VOID, Slots, given_up, owners
from structpred.tuning.storage import open_storage, opened


@pytest.fixture(params=["memory", "journal", "sqlite"])
def slots(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Slots]:
    place = {"journal": str(tmp_path / "j"), "sqlite": f"sqlite:///{tmp_path}/s.db"}.get(request.param)
    with nullcontext(InMemoryStorage()) if place is None else opened(place) as storage:
        yield make(storage, 4)


def make(storage: optuna.storages.BaseStorage, count: int) -> Slots:
    study = optuna.create_study(
        storage=storage, study_name="s", load_if_exists=True, sampler=sampler(Search(sampler="random"))
    )
    return Slots(study, [{}] * count)


def take(slots: Slots) -> optuna.Trial:
    trial = slots.take()
    assert trial is not None
    return trial


def x_of(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0.0, 1.0)


def finish_all(slots: Slots) -> list[float]:
    slots.fill()
    while (trial := slots.take()) is not None:
        slots.study.tell(trial, x_of(trial))
    return [trial.params["x"] for trial in slots.trials() if trial.state == TrialState.COMPLETE]


class Dead(Watch):
    """Takes every holder for dead."""

    def __init__(self) -> None:
        super().__init__(1.0)

    def dead(self, trial: optuna.trial.FrozenTrial) -> bool:
        return trial.state == TrialState.RUNNING


def test_every_slot_is_run_once_with_points_of_its_own(slots: Slots) -> None:
    assert not slots.over()
    points = finish_all(slots)
    assert len(set(points)) == len(points) == 4
    assert slots.over()
    slots.fill()
    assert len(slots.trials()) == 4


def test_more_slots_later_are_filled_and_fewer_are_not_run(slots: Slots) -> None:
    finish_all(slots)
    more = Slots(slots.study, [{}] * 6)
    assert not more.over()
    more.fill()
    assert slots.over()
    assert slots.take() is None  # the larger search's trials are left to it
    assert len(set(finish_all(more))) == 6


def test_what_a_dead_worker_held_is_put_back_with_its_parameters(slots: Slots) -> None:
    slots.fill()
    trial = take(slots)
    point = x_of(trial)
    assert not slots.over()
    slots.put_back(Dead())
    points = finish_all(slots)
    assert point in points
    assert len(set(points)) == len(points) == 4
    voids = [trial for trial in slots.trials() if trial.state == TrialState.FAIL]
    assert [each.user_attrs[VOID] for each in voids] == [LOST]
    assert given_up(slots.trials()) == 1
    slots.study.tell(trial, 0.5, skip_if_finished=True)  # it was not dead but asleep: too late
    assert len(slots.study.get_trials(states=(TrialState.COMPLETE,))) == 4


def test_who_puts_back_may_die_before_the_slot_is_filled_again(slots: Slots) -> None:
    slots.fill()
    point = x_of(take(slots))
    slots.put_back(Dead())  # and dies
    assert not slots.over()
    assert point in finish_all(slots)


def test_two_who_fill_at_once_leave_nothing_twice(slots: Slots, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing_yet = slots.trials()
    monkeypatch.setattr(Slots, "trials", lambda self: nothing_yet)
    slots.fill()
    slots.fill()
    monkeypatch.undo()
    assert len(slots.trials()) == 8
    assert len(finish_all(slots)) == 4
    slots.sweep()
    assert slots.over()
    surplus = [trial.user_attrs[VOID] for trial in slots.trials() if trial.state == TrialState.FAIL]
    assert surplus == [SURPLUS] * 4
    assert given_up(slots.trials()) == 0
    assert not [trial for trial in slots.trials() if trial.state == TrialState.WAITING]


def test_who_pops_what_is_not_his_steps_back(slots: Slots) -> None:
    slots.fill()
    slots.study.ask()
    stray = slots.study.ask({})
    slots.void(stray._trial_id, INTERRUPTED)
    assert set(owners(slots.trials()).values()) == {0, 2, 3}
    slots.fill()
    assert set(owners(slots.trials()).values()) == {0, 2, 3, 4}


def test_a_trial_that_ended_well_just_before_it_was_given_up_stays(slots: Slots) -> None:
    slots.fill()
    trial = take(slots)
    trial.set_user_attr(VOID, LOST)  # the one who took it for dead is slow
    slots.study.tell(trial, x_of(trial))
    slots.void(trial._trial_id, LOST)
    assert owners(slots.trials())[0] == trial.number


def test_a_trial_that_kills_its_workers_fails_in_the_end(slots: Slots) -> None:
    slots.fill()
    for _ in range(TRIES):
        while take(slots).user_attrs["slot"] != 0:
            pass
        for trial in slots.trials():
            if trial.state == TrialState.RUNNING and trial.user_attrs["slot"] != 0:
                slots.study.tell(trial.number, 0.0)
        slots.put_back(Dead())
        slots.fill()
    first = slots.trials()[owners(slots.trials())[0]]
    assert first.state == TrialState.FAIL
    assert "5 workers died while they ran it" in first.user_attrs[REASON]


def test_a_trial_that_gets_further_each_time_may_be_killed_as_often_as_somebody_likes(slots: Slots) -> None:
    only = Slots(slots.study, [{}])
    for number in range(2 * TRIES):
        only.fill()
        trial = take(only)
        x_of(trial)
        for epoch in range(number + 1):
            trial.report(0.0, epoch)
        only.put_back(Dead())
    only.fill()
    assert len(finish_all(only)) == 1
    assert given_up(only.trials()) == 2 * TRIES


def test_threads_share_the_trials_out(tmp_path: Path) -> None:
    found: list[float] = []

    def run() -> None:
        own = make(open_storage(str(tmp_path / "journal")), 12)
        while not own.over():
            own.fill()
            trial = own.take()
            if trial is not None:
                found.append(x_of(trial))
                own.study.tell(trial, 0.0)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == len(set(found)) == 12


# ---------------------------------------------------------------------------------------------------------- leases


def test_a_lease_is_renewed_while_it_is_held(slots: Slots) -> None:
    slots.fill()
    trial = take(slots)
    lease = Lease(slots.study._storage, trial._trial_id, 0.2)
    with lease.held():
        until = time.monotonic() + 20
        while slots.trials()[0].user_attrs[LEASE]["beat"] < 3 and time.monotonic() < until:
            time.sleep(0.01)
    assert slots.trials()[0].user_attrs[LEASE]["beat"] >= 3
    assert slots.trials()[0].user_attrs[LEASE]["pid"] == os.getpid()
    assert not lease.lost.is_set()


def test_whose_trial_was_taken_away_learns_of_it(slots: Slots) -> None:
    slots.fill()
    trial = take(slots)
    lease = Lease(slots.study._storage, trial._trial_id, 100.0)
    slots.put_back(Dead())
    lease.renew()
    assert lease.lost.is_set()


def test_silence_counts_by_the_own_clock(slots: Slots, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(0, 40)
    slots.fill()
    trial = take(slots)
    Lease(slots.study._storage, trial._trial_id, 100.0).renew()
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    watch = Watch(60.0)
    assert [watch.dead(slots.trials()[0]) for _ in range(3)] == [False, False, True]
    Lease(slots.study._storage, trial._trial_id, 100.0)._beat = 5
    trial.set_user_attr(LEASE, {"beat": 6})
    assert not watch.dead(slots.trials()[0])


@pytest.mark.skipif(leases.place() is None, reason="the system does not tell which processes live")
def test_an_ended_process_of_this_machine_is_dead_at_once(slots: Slots) -> None:
    slots.fill()
    trial = take(slots)
    Lease(slots.study._storage, trial._trial_id, 100.0).renew()
    watch = Watch(1e9)
    assert not watch.dead(slots.trials()[0])
    assert born(os.getpid()) is not None
    trial.set_user_attr(LEASE, {"place": leases.place(), "pid": os.getpid(), "born": "1", "beat": 1})
    assert watch.dead(slots.trials()[0]), "the number is another process's now"
    trial.set_user_attr(LEASE, {"place": "elsewhere", "pid": os.getpid(), "born": "1", "beat": 2})
    assert not watch.dead(slots.trials()[0])
