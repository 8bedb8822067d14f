"""What there is to run."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from structpred.comparison.plan import Plan, unfinished
from structpred.engine.coordination import ProgressFile, read_progress
from structpred.errors import ConfigError, Interrupted
from structpred.experiment import Experiment
from structpred.models import Seq2Seq
from structpred.objectives import RML, MaximumLikelihood
from structpred.runs import Folder, train
from structpred.training import Adam, Trainer
from structpred.training.monitoring import Progress
from tests.support.tiny import Copying

TINY = Experiment(
    task=Copying(),
    model=Seq2Seq(embedding=4, hidden=4),
    objective=MaximumLikelihood(),
    trainer=Trainer(epochs=2, batch_tokens=40),
)
ARMS = {"ML": TINY, "RML": replace(TINY, objective=RML())}


def stop_after(steps: int) -> Callable[[], bool]:
    taken: Iterator[int] = count()
    return lambda: next(taken) >= steps


def test_every_arm_is_run_under_every_seed_with_early_results_for_all(tmp_path: Path) -> None:
    plan = Plan.of(ARMS, (3, 5), None, tmp_path)
    assert [(run.arm, run.experiment.seed) for run in plan.runs] == [("ML", 3), ("RML", 3), ("ML", 5), ("RML", 5)]
    assert [run.name for run in plan.runs][:2] == ["ML, seed 3", "RML, seed 3"]
    assert len({run.folder.path for run in plan.runs}) == 4
    assert plan.baseline == "ML"
    assert plan.unfinished == plan.runs
    assert not list(tmp_path.iterdir()), "planning must leave nothing behind"


def test_what_is_there_is_found(tmp_path: Path) -> None:
    train(TINY, root=tmp_path)
    with pytest.raises(Interrupted):
        train(replace(TINY, seed=1), root=tmp_path, stopping=stop_after(2))
    plan = Plan.of(ARMS, (0, 1), "RML", tmp_path)
    assert {run.name: run.state for run in plan.runs} == {
        "ML, seed 0": "finished",
        "RML, seed 0": "to be run",
        "ML, seed 1": "to be resumed",
        "RML, seed 1": "to be run",
    }
    assert [run.name for run in plan.unfinished] == ["RML, seed 0", "ML, seed 1", "RML, seed 1"]


def test_several_comparisons_run_seed_by_seed_after_all_starts_and_what_they_share_once(tmp_path: Path) -> None:
    warm = {"warm": replace(TINY, start=TINY, objective=RML())}
    one = Plan.of(ARMS, (0, 1), None, tmp_path, "one")
    two = Plan.of(warm, (0, 1, 2), None, tmp_path, "two")
    assert [run.name for run in unfinished([one, two])] == [
        "two: start of warm, seed 0",  # the runs of ML in the other comparison, too
        "two: start of warm, seed 1",
        "two: start of warm, seed 2",
        "one: RML, seed 0",
        "two: warm, seed 0",
        "one: RML, seed 1",
        "two: warm, seed 1",
        "two: warm, seed 2",
    ]
    train(TINY, root=tmp_path)
    assert [run.name for run in unfinished([one, two])][:1] == ["two: start of warm, seed 1"]


@pytest.mark.parametrize(
    ("arms", "seeds", "baseline", "message"),
    [
        ({}, (0,), None, "at least one arm"),
        (ARMS, (), None, r"at least one seed, each once, but got \[\]"),
        (ARMS, (1, 1), None, r"each once, but got \[1, 1\]"),
        (ARMS, (0,), "RLM", "the baseline must be one of the arms, but got 'RLM'; did you mean 'RML'?"),
        (
            ARMS | {"longer": replace(TINY, trainer=Trainer(epochs=3))},
            (0,),
            None,
            "share their trainer, but 'ML' and 'lo",
        ),
        (ARMS | {"other": replace(TINY, task=Copying(train=41))}, (0,), None, "share their task, but 'ML' and 'other'"),
        (ARMS | {"again": replace(TINY, seed=4)}, (0,), None, "'ML' and 'again' are the same experiment"),
    ],
    ids=["no arm", "no seed", "a seed twice", "no such baseline", "another budget", "another task", "an arm twice"],
)
def test_what_cannot_be_compared_is_refused(
    arms: dict[str, Experiment], seeds: tuple[int, ...], baseline: str | None, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        Plan.of(arms, seeds, baseline, tmp_path)


def test_arms_may_differ_in_model_and_optimiser(tmp_path: Path) -> None:
    arms = ARMS | {"faster": replace(TINY, optimiser=Adam(lr=1e-2)), "wider": replace(TINY, model=Seq2Seq(hidden=8))}
    assert len(Plan.of(arms, (0,), None, tmp_path).runs) == 4


def test_progress_reaches_another_process_through_the_folder(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert read_progress(folder) is None
    observer, first = ProgressFile(folder), Progress("training", 1, 3, 0.1, 10.0, 2.0, 0.5, {"PER": 3.0})
    observer(first)
    observer(replace(first, done=0.2))
    assert read_progress(folder) == first, "within a second, only the first is written"
    observer(Progress("done", done=1.0))
    assert read_progress(folder) == Progress("done", done=1.0)
    assert [path.name for path in tmp_path.iterdir()] == [folder.progress.name]


@pytest.mark.parametrize("text", ["", "{", '{"stage": 1}', "3"])
def test_progress_that_cannot_be_read_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "progress.json").write_text(text, encoding="utf-8")
    assert read_progress(Folder(tmp_path)) is None
