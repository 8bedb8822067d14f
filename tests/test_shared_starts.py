"""Several seeds that go on from one run."""

from dataclasses import replace
from pathlib import Path

import pytest

from structpred import compare
from structpred.comparison import compared
from structpred.comparison.estimate import jobs
from structpred.comparison.from_runs import of_runs
from structpred.comparison.plan import Plan
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.runs import Run, train
from structpred.tuning.search import apart_from_seed
from tests.test_warm_start import FIRST, SECOND, THIRD, quiet


def test_seeds_may_share_the_start_of_one() -> None:
    shared = replace(SECOND, start_seed=5)
    assert Experiment.from_json(shared.to_json()) == shared
    for seed in (0, 5):
        moved = replace(shared, seed=seed)
        assert (moved.seed, moved.start) == (seed, replace(FIRST, seed=5))
    last = replace(THIRD, start=shared, seed=2)
    assert last.start is not None
    assert (last.start.seed, last.start.start) == (2, replace(FIRST, seed=5))


def test_a_shared_start_makes_another_run_only_where_its_seed_is_another() -> None:
    own = replace(SECOND, seed=5)
    assert replace(own, start_seed=5).identity("data") == own.identity("data")
    assert replace(own, start_seed=6).identity("data") != own.identity("data")


def test_a_seed_for_a_start_needs_one() -> None:
    message = (
        r"Experiment\.start_seed is the seed of what training starts from, but got 1 without a start; give a start"
    )
    with pytest.raises(ConfigError, match=message):
        replace(FIRST, start_seed=1)


def test_a_start_that_seeds_share_is_trained_once(tmp_path: Path) -> None:
    arms = {"ML": replace(FIRST, start=FIRST, start_seed=0), "RML": replace(SECOND, start_seed=0)}
    plan = Plan.of(arms, (0, 1), "ML", tmp_path)
    assert [run.name for run in plan.starts] == ["start of ML, RML, seed 0"]
    assert [job.after for job in jobs(plan.unfinished)] == [None, *["start of ML, RML, seed 0"] * 4]
    report = compare(arms, seeds=(0, 1), root=tmp_path, workers=1, console=quiet())
    assert len(list(tmp_path.glob("*/result.json"))) == 5
    assert report.material is not None
    assert report.material.starts["ML"].cpu_seconds == Run.load(plan.starts[0].folder.path).result.cpu_seconds
    text = "".join(map(str, compared.sections(report)))
    assert "after 2 epochs of maximum likelihood, which all seeds share (seed 0)." in text
    assert "Where seeds share a start, intervals and tests over seeds do not show how starts differ, and costs" in text
    again = of_runs([Run.load(tmp_path / run.identity[:16]) for runs in report.results.values() for run in runs])
    assert list(again.arms.values()) == [replace(arms["ML"], seed=0), replace(arms["RML"], seed=0)]


def test_a_run_of_the_seed_that_is_shared_counts_whoever_trained_it(tmp_path: Path) -> None:
    train(SECOND, root=tmp_path)
    shared = replace(SECOND, start_seed=0)
    runs = [train(replace(shared, seed=seed), root=tmp_path) for seed in (0, 1, 2)]
    assert [run.experiment.start_seed for run in runs] == [None, 0, 0]
    report = of_runs(runs)
    assert list(report.arms.values()) == [shared]
    assert report.seeds == (0, 1, 2)


@pytest.mark.parametrize(
    "experiment",
    [THIRD, replace(THIRD, start_seed=1), replace(THIRD, start=replace(SECOND, start_seed=1))],
    ids=["own", "shared", "shared further down"],
)
def test_arms_of_runs_have_the_starts_that_they_had(experiment: Experiment, tmp_path: Path) -> None:
    runs = [train(replace(experiment, seed=seed), root=tmp_path) for seed in (0, 1)]
    report = of_runs(runs)
    assert list(report.arms.values()) == [experiment]
    words = "".join(map(str, compared.sections(report)))
    assert ("Where seeds share a start" in words) == (experiment != THIRD)
    assert words.count("which all seeds share (seed 1)") == (experiment != THIRD)


def test_arms_that_are_one_run_under_a_seed_are_refused(tmp_path: Path) -> None:
    arms = {"own": SECOND, "shared": replace(SECOND, start_seed=2)}
    assert len(Plan.of(arms, (0, 1), None, tmp_path).starts) == 3
    with pytest.raises(ConfigError, match="the arms 'own' and 'shared' are one and the same run under seed 2; use a"):
        Plan.of(arms, (0, 1, 2), None, tmp_path)


def test_a_search_that_began_before_starts_were_shared_is_the_same() -> None:
    """What a study keeps of its experiment has no field that is new and not used."""
    assert "start_seed" not in apart_from_seed(SECOND)
    assert "start_seed" in apart_from_seed(replace(SECOND, start_seed=1))
