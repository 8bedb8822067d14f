"""Runs of a stored comparison, trained again."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from structpred import Experiment, Trainer, compare
from structpred.cli import main
from structpred.cli.comparing import refuse_incomparable
from structpred.comparison.report import Report
from structpred.comparison.reproduction import Repeated, reproduce
from structpred.errors import ConfigError, RunError
from structpred.models import LSTMTagger
from structpred.objectives import LabelSmoothing, MaximumLikelihood
from structpred.tasks import HiddenMarkov

BASE = Experiment(
    task=HiddenMarkov(size=8, held_out=4),
    model=LSTMTagger(embedding=4, hidden=4),
    objective=MaximumLikelihood(),
    trainer=Trainer(epochs=1),
)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of two arms under two seeds."""
    folder = tmp_path_factory.mktemp("stored")
    arms = {"ML": BASE, "smoothing": replace(BASE, objective=LabelSmoothing())}
    compare(arms, seeds=(0, 3), root=folder / "runs", workers=1).write(folder / "report")
    return folder / "report"


@pytest.fixture
def again(stored: Path, tmp_path: Path) -> Callable[..., int]:
    """The command, in a folder of its own, on a copy of the report that may have been changed."""

    def run(*words: str, change: Callable[[dict[str, Any]], None] = lambda tree: None, workers: int = 1) -> int:
        tree = json.loads((stored / "results.json").read_text(encoding="utf-8"))
        change(tree)
        (tmp_path / "results.json").write_text(json.dumps(tree), encoding="utf-8")
        root = str(tmp_path / "runs")
        return main(["reproduce", str(tmp_path), "--workers", str(workers), "--root", root, *words])

    return run


def test_the_same_settings_give_the_same_scores(again: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert again() == 0
    assert capsys.readouterr().out.splitlines()[:3] == [
        "arm\truns with equal scores",
        "ML\t2 of 2",
        "smoothing\t2 of 2",
    ]


@pytest.mark.slow(seconds=10)
def test_two_workers_give_the_scores_that_one_gave(
    again: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert again(workers=2) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1:3] == ["ML\t2 of 2", "smoothing\t2 of 2"]
    assert said[3].startswith("4 of 4 runs have the scores of ")
    records = [json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "runs").glob("*/record.json")]
    assert len(records) == 4


def test_another_score_is_told_with_both_numbers(
    again: Callable[..., int], stored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(tree: dict[str, Any]) -> None:
        run = tree["runs"]["smoothing"][1]
        run["scores"]["test"]["ACC"] += 1e-9
        run["trainer"] -= 1

    kept = Report.read(stored).results["smoothing"][1].scores["test"]["ACC"]
    assert again("--seeds", "3", change=change) == 2
    said = capsys.readouterr()
    assert said.out.splitlines()[1:] == ["ML\t1 of 1", "smoothing\t0 of 1"]
    assert f"first smoothing, seed 3, whose test ACC is {kept!r} and was {kept + 1e-9!r}; it was trained by" in said.err


def test_scores_of_other_names_are_compared_with_nothing(
    again: Callable[..., int], stored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def add(tree: dict[str, Any]) -> None:
        for runs in tree["runs"].values():
            for run in runs:
                run["scores"]["test"]["OLD"] = 1.0

    assert again("--seeds", "3", change=add) == 0
    said = capsys.readouterr().out
    assert "Not compared, as the tasks do not compute them here: test OLD" in said
    assert "2 of 2 runs have the scores of" in said
    found = Report.read(stored).results["ML"][0]
    kept = replace(found, scores={"dev": {"OLD": 1.0}, "test": {"OLD": 1.0}})
    with pytest.raises(
        RunError, match=r"^report holds dev OLD, test OLD of ML, seed 0, none of which the task computes"
    ):
        refuse_incomparable([Repeated("", "ML", 0, kept, found)], Path("report"))


def test_other_data_are_said_and_not_compared(again: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    def change(tree: dict[str, Any]) -> None:
        tree["material"]["digest"] = "0" * 64

    assert again("--seeds", "3", change=change) == 2
    said = capsys.readouterr()
    assert "so its scores cannot be compared; restore the files, whose SHA-256 it holds under material" in said.err
    assert "bit for bit" not in said.out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--arms", "smothing"], "the report has no arm 'smothing'; did you mean 'smoothing'"),
        (["--seeds", "1"], "the report has no seed 1; known names are 0, 3"),
    ],
)
def test_what_the_report_does_not_have_is_said(
    again: Callable[..., int], words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert again(*words) == 2
    assert expected in capsys.readouterr().err


def test_an_arm_and_a_seed_that_no_comparison_has_together_are_refused(stored: Path, tmp_path: Path) -> None:
    one = Report.read(stored)
    other = replace(
        one, arms={"other": one.arms["ML"]}, results={"other": one.results["ML"]}, baseline="other", seeds=(7, 8)
    )
    with pytest.raises(ConfigError, match=r"^no comparison in the report has these arms under these seeds; leave one"):
        reproduce({"one": one, "other": other}, arms=["other"], seeds=[0], root=tmp_path)


def test_components_that_are_not_known_and_tunings_are_refused(
    again: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    def change(tree: dict[str, Any]) -> None:
        tree["arms"]["ML"]["objective"]["type"] = "of-somebody-else"

    assert again(change=change) == 2
    assert "the arm 'ML' cannot be made here" in capsys.readouterr().err
    assert main(["reproduce", "experiments/records/pronunciation_tuning"]) == 2
    assert "must hold a comparison to be reproduced, but it holds a tuning" in capsys.readouterr().err
