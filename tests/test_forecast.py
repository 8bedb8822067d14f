"""Time left of many runs: right to a factor of 1.5, whatever they cost and however late their workers begin."""

import heapq
import random
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from structpred import forecast
from structpred.forecast import Cost, Forecast, Job, makespan
from structpred.training.monitoring import Progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(forecast, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def training(done: float) -> Progress:
    return Progress("training", done=done)


# ------------------------------------------------------------------------------------------------------- makespan


@pytest.mark.parametrize(
    ("seconds", "workers", "expected"),
    [((), 2, 0.0), ((3.0,), 2, 3.0), ((3.0, 2.0, 2.0), 1, 7.0), ((3.0, 2.0, 2.0), 2, 4.0), ((1.0, 1.0, 5.0), 2, 6.0)],
    ids=["nothing", "one", "in a row", "two at once", "the longest last"],
)
def test_a_free_worker_takes_the_next_job(seconds: tuple[float, ...], workers: int, expected: float) -> None:
    assert makespan([(Job(str(i), ""), each) for i, each in enumerate(seconds)], workers) == expected


def test_a_job_waits_for_the_one_it_starts_from_and_lets_others_pass() -> None:
    jobs = [(Job("start", ""), 5.0), (Job("warm", "", after="start"), 4.0), (Job("cold", ""), 3.0)]
    assert makespan(jobs, 2) == 9.0
    assert makespan(jobs, 1) == 12.0
    assert makespan(jobs[1:], 2) == 4.0, "a start that is not among them is finished"


def test_a_job_that_waits_for_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="one waits for itself"):
        makespan([(Job("one", "", after="one"), 1.0)], 1)


# ------------------------------------------------------------------------------------- comparisons that are made up

# Seconds a run takes, by arm; the estimates of a rehearsal are wrong by up to a fifth, each way.
ALIKE = {"ML": 4.0, "smoothing": 4.0, "RML": 5.0}
UNLIKE = {"ML": 12.0, "smoothing": 12.0, "RML": 22.0, "risk": 58.0, "REINFORCE": 27.0, "hinge": 61.0}
STARTS = {"start": 8.0, "warm risk": 25.0, "warm ML": 6.0, "cold": 14.0}


def simulate(
    clock: SimpleNamespace, arms: dict[str, float], seeds: int, workers: int, *, slower: float, costs: dict[str, Cost]
) -> Iterator[tuple[float, float | None]]:
    """Pairs of the true time left and the forecast, every second; workers need 6 seconds to import."""
    names = [(f"{arm}, seed {seed}", arm) for seed in range(seeds) for arm in arms]
    after = {name: f"start, seed {name[-1]}" for name, arm in names if "start" in arms and "warm" in arm}
    shown = Forecast([Job(name, arm, after=after.get(name)) for name, arm in names], workers)
    took = {name: arms[arm] * slower for name, arm in names}
    begins, ends = schedule(names, after, took, workers)
    total, ended = max(ends.values()), set[str]()
    while clock.now < total:
        clock.now += 1.0
        if clock.now >= 8.0:
            shown.costs = costs
        under_way = {n: b for n, b in begins.items() if b <= clock.now and ends[n] > clock.now}
        shown.update({n: training((clock.now - b) / took[n]) for n, b in under_way.items()})
        for name in [n for n, e in ends.items() if e <= clock.now and n not in ended]:
            shown.end(name, took[name])
            ended.add(name)
        yield total - clock.now, shown.left()


def schedule(
    names: list[tuple[str, str]], after: dict[str, str], took: dict[str, float], workers: int
) -> tuple[dict[str, float], dict[str, float]]:
    """When each run begins and ends, by workers that are there after 6 seconds and read data for half a second."""
    free, waiting = [6.0] * workers, [name for name, _ in names]
    begins: dict[str, float] = {}
    ends: dict[str, float] = {}
    while waiting:
        now = heapq.heappop(free)
        ready = [n for n in waiting if n not in after or ends.get(after[n], 1e9) <= now]
        if not ready:
            heapq.heappush(free, min(end for end in ends.values() if end > now))
            continue
        waiting.remove(ready[0])
        begins[ready[0]], ends[ready[0]] = now + 0.5, now + 0.5 + took[ready[0]]
        heapq.heappush(free, ends[ready[0]])
    return begins, ends


@pytest.mark.parametrize("slower", [0.7, 1.0, 1.8], ids=["faster", "as rehearsed", "slower"])
@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize(("arms", "seeds"), [(ALIKE, 5), (UNLIKE, 3), (STARTS, 4)], ids=["alike", "unlike", "starts"])
def test_from_the_first_minute_the_forecast_is_right_to_a_factor_of_one_and_a_half(
    arms: dict[str, float], seeds: int, workers: int, slower: float, clock: SimpleNamespace
) -> None:
    """The last 10 seconds are left out: the clock looks once a second, and a run's data are read unseen."""
    source = random.Random(3)
    costs = {arm: Cost(seconds * source.uniform(0.8, 1.25), reading=0.5) for arm, seconds in arms.items()}
    said = list(simulate(clock, arms, seeds, workers, slower=slower, costs=costs))
    late = [(true, told) for true, told in said[60 if len(said) > 90 else 15 :] if true > 10]
    assert late or len(said) < 30
    assert all(told is not None for _, told in late)
    assert max((max(true / told, told / true) for true, told in late if told), default=1.0) <= 1.5


def test_a_job_of_a_minute_is_never_said_to_take_thirteen(clock: SimpleNamespace) -> None:
    """Imports used to count as training: 6 seconds for the first twentieth of 15 runs were "13 minutes left"."""
    said = list(simulate(clock, ALIKE, 5, 2, slower=1.0, costs={}))
    assert 30 < said[0][0] < 60
    assert max(told for _, told in said if told is not None) < 90


# ------------------------------------------------------------------------------------------------------ its parts


def test_nothing_is_said_before_there_is_something_to_go_by(clock: SimpleNamespace) -> None:
    shown = Forecast([Job("a", "x"), Job("b", "x")], 1)
    assert shown.left() is None
    shown.update({"a": training(0.0)})
    clock.now = 10.0
    shown.update({"a": training(0.04)})
    assert shown.left() is None
    shown.update({"a": training(0.1)})
    assert shown.left() == pytest.approx(190.0)


def test_a_kind_that_was_seen_follows_itself_and_another_the_pace_of_all(clock: SimpleNamespace) -> None:
    shown = Forecast([Job("a", "x"), Job("b", "y"), Job("c", "x")], 1, {"x": Cost(100.0), "y": Cost(50.0)})
    assert shown.left() == pytest.approx(250.0)
    shown.update({"a": training(0.0)})
    clock.now = 200.0
    shown.end("a", 200.0)
    pace = (forecast.TRUST + 200) / (forecast.TRUST + 100)
    again = (forecast.TRUST_OF_KIND * pace * 100 + 200) / (forecast.TRUST_OF_KIND + 1)
    assert shown.left() == pytest.approx(50 * pace + again)


def test_what_an_interrupted_attempt_has_done_is_not_done_again(clock: SimpleNamespace) -> None:
    shown = Forecast([Job("a", "x", done=0.75), Job("b", "x")], 1, {"x": Cost(40.0)})
    assert shown.left() == pytest.approx(50.0)
    shown.update({"a": training(0.75)})
    clock.now = 10.0
    shown.update({"a": training(1.0)})
    assert shown.left() == pytest.approx(40.0)


def test_testing_after_training_counts(clock: SimpleNamespace) -> None:
    shown = Forecast([Job("a", "x")], 1, {"x": Cost(40.0, testing=0.25)})
    shown.update({"a": training(0.0)})
    clock.now = 30.0
    shown.update({"a": Progress("testing", done=1.0)})
    assert shown.left() == pytest.approx(10.0)


def test_waiting_for_another_process_is_no_time_of_the_run(clock: SimpleNamespace) -> None:
    shown = Forecast([Job("a", "x"), Job("b", "x")], 1, {"x": Cost(10.0)})
    shown.update({"a": Progress("waiting for another process to train it")})
    clock.now = 500.0
    shown.update({"a": Progress("start, training")})
    assert shown.left() == pytest.approx(20.0)


def test_a_run_that_fails_at_once_makes_the_others_no_faster(clock: SimpleNamespace) -> None:
    shown = Forecast([Job("a", "x"), Job("b", "x")], 1, {"x": Cost(10.0)})
    shown.update({"a": training(0.0)})
    clock.now = 1.0
    shown.update({"a": training(0.1)})
    shown.end("a")
    assert shown.left() == pytest.approx(10.0)


def test_without_names_all_runs_are_alike_and_as_many_work_as_were_seen(clock: SimpleNamespace) -> None:
    shown = Forecast.alike(4)
    shown.update({"a": training(0.0), "b": training(0.0)})
    clock.now = 10.0
    shown.update({"a": training(0.5), "b": training(0.5)})
    assert shown.left() == pytest.approx(30.0)
