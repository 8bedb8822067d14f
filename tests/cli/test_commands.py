"""Training, comparing, evaluating and predicting, in this process: what is printed and what is left behind."""

import io
import json
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import pytest

from structpred.cli import main, runs
from structpred.cli.commands import COMMANDS
from structpred.distributions.protocols import Decoding
from structpred.engine import driver
from structpred.rewards import EditDistance
from structpred.runs import Reranked, Run
from structpred.tasks import Tsv
from structpred.training import searching
from tests.support.commands import FILES, SMALL, tree

pytestmark = pytest.mark.usefixtures("own_folder")


def test_train_prints_scores_and_the_folder_and_trains_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["train", *FILES, "--root", "there", *SMALL, "seed=1"]) == 0
    first = capsys.readouterr()
    (folder,) = (tmp_path / "there").iterdir()
    header, dev, test, place = first.out.splitlines()
    assert header == "split\tSER\tWER"
    assert dev.startswith("dev\t")
    assert test.startswith("test\t")
    assert place == f"Run: there/{folder.name}"
    assert "\x1b" not in first.out + first.err
    assert Run.load(folder).experiment.seed == 1
    assert main(["train", *FILES, "--root", "there", *SMALL, "seed=1"]) == 0
    again = capsys.readouterr()
    assert again.out == first.out
    assert "epoch" in first.err
    assert "epoch" not in again.err


@pytest.mark.slow
def test_a_dry_run_shows_runs_and_time_and_leaves_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    before = tree(tmp_path)
    assert main(["compare", "--dry-run", *FILES, *SMALL, "--seeds", "2", "--objectives", "rml", "label-smoothing"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("\t") == ["arm", "finished", "to be resumed", "to be run", "one run takes"]
    assert re.fullmatch(r"rml\t0\t0\t2\tabout \d+ s", lines[1])
    assert re.fullmatch(r"4 of 4 runs to do, about \d+ s on \d process(es)?", lines[3])
    assert tree(tmp_path) == before


def test_assignments_may_stand_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr(COMMANDS["compare"], "run", lambda self, console: seen.append(self))
    words = [
        "a=1",
        "arms.py",
        "--seeds",
        "2",
        "b=2",
        "--dry-run",
        "c=3",
        "--report",
        "out=1",
        "--objectives",
        "x",
        "d=4",
    ]
    assert main(["compare", *words]) == 0
    (given,) = seen
    assert isinstance(given, COMMANDS["compare"])
    found = {name: str(value) for name, value in vars(given).items()}
    assert found["words"] == "('arms.py', 'a=1', 'b=2', 'c=3', 'd=4')"
    assert (found["report"], found["objectives"], found["seeds"]) == ("out=1", "('x',)", "2")


ARMS = """
from dataclasses import dataclass, replace
from structpred.cli.assignments import experiment
from structpred.objectives import MaximumLikelihood
from structpred.registry import objectives

@objectives.register("test-mine")
@dataclass(frozen=True, kw_only=True)
class Mine(MaximumLikelihood):
    '''Mine.'''

def experiments():
    base = experiment("task=tsv task.train=train.tsv task.dev=dev.tsv task.test=test.tsv".split())
    return {"ML": base, "mine": replace(base, objective=Mine())}
"""


@pytest.fixture
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Comparisons train in a thread of this process, which imports nothing again."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as executor:
        monkeypatch.setattr(driver, "local_executor", lambda count: nullcontext(executor))
        yield


@pytest.mark.slow(seconds=4)
@pytest.mark.usefixtures("_one_thread", "own_registries")
def test_compare_trains_a_users_own_arms_and_writes_the_report(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "test_own_arms.py").write_text(ARMS, encoding="utf-8")
    command = ["compare", "test_own_arms.py", "--seeds", "2", *SMALL, "--report", "deep/report"]
    assert main(command) == 0
    first = capsys.readouterr()
    assert len(list((tmp_path / "runs").iterdir())) == 4
    assert "# Comparison of ML and mine" in first.out
    assert "| objective | maximum-likelihood | test-mine |" in re.sub(" +", " ", first.out)
    assert len(re.findall(r"^(ML|mine), seed [01]: dev SER .* \([1-4] of 4", first.err, re.MULTILINE)) == 4
    written = tmp_path / "deep" / "report"
    assert {path.name for path in written.iterdir()} == {"report.csv", "report.md", "report.html", "results.json"}
    assert json.loads((written / "results.json").read_text(encoding="utf-8"))["seeds"] == [0, 1]
    assert main(command) == 0
    again = capsys.readouterr()
    assert again.err == "4 of 4 runs are finished already, 0 to train\n"
    assert main([*command, "--dry-run"]) == 0
    assert "All 4 runs are finished" in capsys.readouterr().out
    assert json.loads((written / "results.json").read_text(encoding="utf-8"))["design"]["rule"] == "fixed"
    more = [*command[:3], "3", *command[4:], "--margin", "PER=2", "--until", "decided", "--max-seeds", "3"]
    assert main([*more, "--dry-run"]) == 0
    assert "Seeds are added until all is decided, up to 3 in all" in capsys.readouterr().out
    assert main([*more[:-4]]) == 0
    kept = json.loads((written / "results.json").read_text(encoding="utf-8"))
    assert (kept["seeds"], kept["design"]["rule"], kept["design"]["margins"]) == ([0, 1, 2], "anytime", {"SER": 2.0})
    assert "Seeds were added after results had been seen" in capsys.readouterr().out


PANELS = """
from dataclasses import replace
from structpred.cli.assignments import experiment
from structpred.comparison.panels import Panel
from structpred.objectives import LabelSmoothing, RML

def panels():
    base = experiment("task=tsv task.train=train.tsv task.dev=dev.tsv task.test=test.tsv".split())
    one = {"ML": base, "smoothing": replace(base, objective=LabelSmoothing())}
    two = {"ML": base, "RML": replace(base, objective=RML())}
    return {"first": Panel(arms=one, seeds=(0, 1)), "second": Panel(arms=two, seeds=(1,), baseline="RML")}
"""


@pytest.mark.slow
@pytest.mark.usefixtures("_one_thread")
def test_compare_runs_the_panels_of_a_module_and_writes_one_report(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "test_own_panels.py").write_text(PANELS, encoding="utf-8")
    command = ["compare", "test_own_panels.py", *SMALL]
    assert main([*command, "--dry-run", "--workers", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[:4] for line in lines[1:5]] == [
        ["first: ML", "0", "0", "2"],
        ["first: smoothing", "0", "0", "2"],
        ["second: ML", "0", "0", "1"],
        ["second: RML", "0", "0", "1"],
    ]
    assert all(re.fullmatch(r"about \d+ s", line.split("\t")[4]) for line in lines[1:5]), "also what panels share"
    assert re.fullmatch(r"5 of 5 runs to do, about \d+ s on 1 process", lines[5]), "one run is of both panels"
    assert main(command) == 0
    said = capsys.readouterr()
    assert "# Comparison in 2 panels: first and second" in said.out
    assert len(re.findall(r"^(first|second): \w+, seed [01]: dev SER .* \([1-5] of 5", said.err, re.MULTILINE)) == 5
    written = tmp_path / "reports" / "comparison"
    files = {"report.csv", "report.md", "report.html", "report.svg", "results.json"}
    assert {path.name for path in written.iterdir()} == files
    kept = json.loads((written / "results.json").read_text(encoding="utf-8"))["panels"]
    assert {name: (panel["seeds"], panel["baseline"]) for name, panel in kept.items()} == {
        "first": ([0, 1], "ML"),
        "second": ([1], "RML"),
    }
    assert main([*command, "--seeds", "1", "--baseline", "ML"]) == 0
    assert len(re.findall(r"seed 0: dev", capsys.readouterr().err)) == 1, "only RML of the second panel is new"
    assert main([*command, "--dry-run"]) == 0
    assert "All 5 runs are finished" in capsys.readouterr().out, "and one is of both panels"
    (written / "results.json").unlink()
    assert main(command) == 2
    assert "report.md is not from a report of structpred and would be overwritten" in capsys.readouterr().err


def test_evaluate_scores_other_data_with_another_search(
    trained: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["evaluate", str(trained)]) == 0
    lines = capsys.readouterr().out.splitlines()
    scores = Run.load(trained).result.scores["test"]
    assert lines[:2] == ["split\tSER\tWER", f"test\t{scores['SER']:.2f}\t{scores['WER']:.2f}"]
    assert lines[2].startswith("SER|edits:levenshtein")
    (tmp_path / "other.tsv").write_text("c\tC\n", encoding="utf-8")
    assert main(["evaluate", str(trained), "--split", "dev", "--beam", "2", "task.dev=other.tsv"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("dev\t")


def test_evaluate_with_settings_of_the_search(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is printed is what the same settings give in Python."""
    run = Run.load(trained)
    test = run.experiment.task.load().test
    decoding = Decoding(beam=3, length_penalty=1.0, least_length_ratio=1.5)
    words = ["decoding.beam=3", "decoding.length_penalty=1", "decoding.least_length_ratio=1.5"]
    assert main(["evaluate", str(trained), *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    wanted = [f"{value:.2f}" for value in run.evaluate(test, decoding=decoding).values()]
    assert lines[1].split("\t") == ["test", *wanted]
    outputs = run.decode([example.source for example in test], decoding)
    ratio = sum(len(each) + 1 for each in outputs) / sum(len(each.references[0]) + 1 for each in test)
    search = "a beam of 3, length penalty 1, at least 1.5 times as long as the input"
    assert lines[-1] == f"Search: {search}; outputs are {ratio:.3f} times as long as references, ends counted"
    monkeypatch.setattr(searching, "LEAST_REFERENCES", 1)
    monkeypatch.setattr(searching, "WORSE_BY", -1e9)
    monkeypatch.setattr(searching, "WORSE_PART", -1e9)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main(["evaluate", str(trained), "decoding.most_length_ratio=0.1"]) == 0
    assert "a beam of 5, at most 0.1 times as long as the input does worse than greedy" in capsys.readouterr().err


@pytest.mark.filterwarnings("always::structpred.cli.runs.RepeatedRunWarning")
def test_evaluate_and_predict_with_other_runs(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A run averaged with itself, or reranked by itself, is itself but for rounding."""
    (tmp_path / "in.txt").write_text("ab\ncab\n", encoding="utf-8")
    said = {}
    for name, words in {"alone": [], "together": ["--with", str(trained)]}.items():
        assert main(["evaluate", str(trained), *words]) == 0
        shown = capsys.readouterr()
        scores = shown.out.splitlines()
        assert ("is given 2 times, so it counts as much as 2 runs in the ensemble" in shown.err) == bool(words)
        assert main(["predict", str(trained), "in.txt", *words]) == 0
        said[name] = scores, capsys.readouterr().out
    assert said["together"][0][1] == said["alone"][0][1]
    assert said["together"][1] == said["alone"][1]
    assert said["together"][0][-2] == "Ensemble of 2 runs: the mean of the probabilities of each next symbol"
    searched: list[Any] = []
    own = runs._searched

    def seen(run: Any, *others: Any) -> Any:
        searched.append(run)
        return own(run, *others)

    monkeypatch.setattr(runs, "_searched", seen)
    assert main(["evaluate", str(trained), "--rerank-by", str(trained), "--candidates", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [type(each) for each in searched] == [Reranked, Run], "greedy search is that of the run alone"
    assert lines[1] == said["alone"][0][1]
    assert lines[-1].startswith("Search: the first of 5 outputs in the order of another run; outputs are")
    assert main(["evaluate", str(trained), "--with", str(trained), "--rerank-by", str(trained)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2] == "Ensemble of 2 runs: the mean of the probabilities of each next symbol"
    assert lines[-1].startswith("Search: the first of 32 outputs in the order of another run; outputs are")
    assert main(["predict", str(trained), "in.txt", "--decoding", "reward=edit-distance"]) == 0
    wanted = Run.load(trained).predict(["ab", "cab"], decoding=Decoding(reward=EditDistance()))
    assert capsys.readouterr().out.splitlines() == wanted


def test_evaluate_says_so_where_the_data_have_changed(
    trained: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = Run.load(trained)
    path = Path(str(cast(Tsv, run.experiment.task).test))
    before = path.read_text(encoding="utf-8")
    assert main(["evaluate", str(trained)]) == 0
    assert capsys.readouterr().err == ""
    path.write_text(before.partition("\n")[0] + "\n", encoding="utf-8")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            assert main(["evaluate", str(trained)]) == 0
            (line,) = capsys.readouterr().err.splitlines()
            assert main(["evaluate", str(trained), f"task.test={path}"]) == 0
            assert "data have changed" not in capsys.readouterr().err
    finally:
        path.write_text(before, encoding="utf-8")
    assert line.startswith(f"structpred: warning: {trained}: the task's data have changed since the run, so these may")


def test_evaluate_warns_once_of_symbols_that_training_never_saw(
    trained: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "strange.tsv").write_text("c\tC\nxc\tC\nxd\tC\n", encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main(["evaluate", str(trained), "task.test=strange.tsv"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("structpred: warning: strange.tsv line 2: the symbol 'x' never occurs")


def test_predict_from_a_file_and_from_the_standard_input(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "in.txt").write_text("ab\ncab\n", encoding="utf-8")
    assert main(["predict", str(trained), "in.txt"]) == 0
    from_file = capsys.readouterr().out
    assert from_file.splitlines() == Run.load(trained).predict(["ab", "cab"])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"ab\r\ncab")))
    assert main(["predict", str(trained)]) == 0
    assert capsys.readouterr().out == from_file
    assert main(["predict", str(trained), "in.txt", "--output", "out.txt"]) == 0
    assert capsys.readouterr().out == ""
    assert (tmp_path / "out.txt").read_text(encoding="utf-8") == from_file


def test_predict_the_best_outputs_with_log_probabilities(
    trained: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "in.txt").write_text("ab\nc\n", encoding="utf-8")
    assert main(["predict", str(trained), "in.txt", "--n-best", "3"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == ["ab"] * 3 + ["c"] * 3
    log_probs = [float(row[2]) for row in rows]
    assert log_probs[:3] == sorted(log_probs[:3], reverse=True)
    assert len({row[1] for row in rows[:3]}) == 3


def test_predict_reads_unknown_symbols_where_it_is_allowed(
    trained: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "in.txt").write_text("axb\n", encoding="utf-8")
    assert main(["predict", str(trained), "in.txt", "--keep-unknown"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
