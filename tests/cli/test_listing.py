"""Finding runs again: lists, one run in full, and reports of finished runs."""

import csv
import io
import itertools
import json
import os
import shlex
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rapidfuzz.distance import Levenshtein

from structpred.cli import assignments, main
from structpred.cli.listing import words
from structpred.comparison.from_runs import of_runs
from structpred.comparison.report import Report
from structpred.config import encode
from structpred.errors import ConfigError, RunError
from structpred.experiment import Experiment
from structpred.experiments import five_objectives, pronunciation
from structpred.objectives import RML, MaximumLikelihood, Weighted, WeightedSum
from structpred.runs import Run, train
from structpred.runs.listing import listed
from tests.support.commands import FILES, SMALL, absolute, write_data

LONGER = ("trainer.epochs=12", "trainer.batch_tokens=100", "optimiser.lr=0.03")
"""Enough to predict something."""
OBJECTIVES = ("maximum-likelihood", "rml")


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with two arms under two seeds, an unfinished run, a damaged one, and what is no run."""
    folder = tmp_path_factory.mktemp("six")
    write_data(folder)
    base = assignments.experiment([*absolute(folder), *SMALL[:2], *LONGER])
    root = folder / "runs"
    for seed in (0, 1):
        for objective in (MaximumLikelihood(), RML()):
            train(replace(base, objective=objective, seed=seed), root=root)
    brief = replace(base, trainer=replace(base.trainer, epochs=1))
    unfinished = train(replace(brief, seed=2), root=root).folder
    unfinished.result.unlink()
    damaged = train(replace(brief, seed=3), root=root).folder
    damaged.result.write_text('{"identity": 3', encoding="utf-8")
    (root / "notes").mkdir()
    (root / "notes" / "record.json").write_text("{}", encoding="utf-8")
    (root / ("0" * 16)).mkdir()
    return folder


@pytest.fixture
def there(six: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(six, tmp_path / "there")
    monkeypatch.chdir(tmp_path / "there")
    return tmp_path / "there"


def output(capsys: pytest.CaptureFixture[str], command: str) -> str:
    assert main(command.split()) == 0
    said = capsys.readouterr()
    assert said.err == ""
    return said.out


def names(table: str) -> list[str]:
    return [line.partition("\t")[0] for line in table.splitlines()[1:] if "\t" in line]


def test_a_list_has_a_line_for_each_run(capsys: pytest.CaptureFixture[str], there: Path) -> None:
    table = output(capsys, "runs --sort seed")
    heading, *lines = [line.split("\t") for line in table.splitlines()]
    assert heading == ["run", "task", "model", "objective", "seed", "state", "dev", "test", "age"]
    assert [line[4:6] for line in lines[:6]] == [
        *[["0", "finished"]] * 2, *[["1", "finished"]] * 2, ["2", "unfinished"], ["3", "damaged"],
    ]  # fmt: skip
    assert {line[3] for line in lines[:6]} == set(OBJECTIVES)
    run = Run.load(there / "runs" / lines[0][0])
    assert lines[0][7] == "  ".join(f"{name} {value:.2f}" for name, value in run.result.scores["test"].items())
    assert lines[4][6:8] == lines[5][6:8] == ["", ""]
    assert lines[6:] == [[f"{lines[5][0]}: result.json is damaged"]]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--state finished", 4),
        ("--state unfinished", 1),
        ("--state damaged", 1),
        ("--objective rml", 2),
        ("--objective rml --seed 1", 1),
        ("--task tsv --model seq2seq", 6),
        ("--task copying", 0),
    ],
)
def test_a_list_is_filtered(words: str, expected: int, capsys: pytest.CaptureFixture[str], there: Path) -> None:
    words = words.replace("copying", "pronunciation")
    text = output(capsys, f"runs {words}")
    assert len(names(text)) == expected
    assert expected or text == "No such runs in runs\n"
    assert len(json.loads(output(capsys, f"runs --format json {words}"))) == expected


def test_a_list_is_sorted_by_scores_with_what_has_none_last(capsys: pytest.CaptureFixture[str], there: Path) -> None:
    for flags, sign in (("", 1), (" --reverse", -1)):
        found = json.loads(output(capsys, f"runs --format json --sort test.PER{flags}"))
        scores = [run["scores"]["test"]["SER"] for run in found[:4]]
        assert scores == sorted(scores, key=lambda score: sign * score)
        assert [run["scores"] for run in found[4:]] == [{}, {}]


def test_the_youngest_come_first(capsys: pytest.CaptureFixture[str], there: Path) -> None:
    now = time.time()
    runs = listed(there / "runs")
    for age, run in enumerate(runs):
        for path in (*run.folder.path.iterdir(), run.folder.path):
            os.utime(path, (now - 3600 * (age + 1), now - 3600 * (age + 1)))
    found = json.loads(output(capsys, "runs --format json"))
    assert [run["run"] for run in found] == [run.folder.path.name for run in runs]
    assert [round(run["age_seconds"] / 3600) for run in found] == [1, 2, 3, 4, 5, 6]
    assert names(output(capsys, "runs --reverse")) == [run.folder.path.name for run in runs][::-1]


def test_csv_and_json_hold_the_same(capsys: pytest.CaptureFixture[str], there: Path) -> None:
    tree = json.loads(output(capsys, "runs --format json --sort run"))
    rows = list(csv.DictReader(io.StringIO(output(capsys, "runs --format csv --sort run"))))
    for run, row in zip(tree, rows, strict=True):
        assert (row["identity"], row["state"], row["seed"]) == (run["identity"], run["state"], str(run["seed"]))
        score = run["scores"].get("test", {}).get("SER")
        assert row["test.SER"] == ("" if score is None else repr(score))
    assert {len(run["identity"]) for run in tree} == {64}


DAMAGE: dict[str, dict[str, bytes | None]] = {
    "no record": {"record.json": None},
    "other record": {"record.json": b'{"identity": 7}'},
    "deep": {"experiment.json": b"[" * 100_000},
    "not utf-8": {"result.json": b"\xff"},
    "list": {"result.json": b"[]"},
    "null": {"result.json": b"null"},
    "no scores": {"result.json": b'{"identity": "x", "scores": {}, "history": []}'},
    "strange": {"experiment.json": b'{"task": {"type": 3}, "model": [], "objective": null, "seed": true}'},
    "only result": {"record.json": None, "experiment.json": None},
    "folder": {"result.json": None},
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_one_line_and_never_a_traceback(case: str, capsys: pytest.CaptureFixture[str], there: Path) -> None:
    run = next(run.folder.path for run in listed(there / "runs") if run.state == "finished")
    for name, content in DAMAGE[case].items():
        (run / name).unlink()
        if content is not None:
            (run / name).write_bytes(content)
        elif case == "folder":
            (run / name).mkdir()
    text = output(capsys, "runs --state damaged")
    assert run.name in names(text)
    (line,) = (line for line in text.splitlines() if line.startswith(f"{run.name}: "))
    assert " is damaged" in line or " of another run" in line
    json.loads(output(capsys, "runs --format json"))
    assert main(["show", str(run)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("structpred: ")


def test_a_list_needs_three_small_files_of_each_run_that_is_older_than_checksums(there: Path) -> None:
    finished = next(run.folder.path for run in listed(there / "runs") if run.state == "finished")
    texts = {name: (finished / name).read_text("utf-8") for name in ("record.json", "experiment.json", "result.json")}
    for number in range(20):
        name = f"{number:016x}"
        (there / "many" / name).mkdir(parents=True)
        for file, text in texts.items():
            older = text.replace(finished.name, name).replace('"checksums"', '"none"')
            (there / "many" / name / file).write_text(older, encoding="utf-8")
    runs = listed(there / "many")
    assert len(runs) == 20
    assert {run.state for run in runs} == {"finished"}


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no weights": (lambda run: (run / "weights.pt").unlink(), "weights.pt is missing"),
    "no checksums": (lambda run: (run / "SHA256SUMS").unlink(), "SHA256SUMS is missing"),
    "odd checksums": (lambda run: (run / "SHA256SUMS").write_text("0\n"), "SHA256SUMS is damaged"),
    "other scores": (lambda run: _changed(run / "result.json", "}", " }"), "result.json is not what was written when"),
    "other seed": (lambda run: _changed(run / "experiment.json", "}", " }"), "experiment.json is not what was written"),
}


def _changed(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_finished_run_is_damaged_where_its_small_files_or_the_names_of_others_show_it(
    damage: str, there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = next(run.folder.path for run in listed(there / "runs") if run.state == "finished")
    change, words = DAMAGES[damage]
    change(folder)
    (found,) = [run for run in listed(there / "runs") if run.folder.path == folder]
    assert (found.state, found.trouble.partition(words)[1]) == ("damaged", words)
    if damage.startswith("no "):
        assert f"damaged: {words}" in output(capsys, f"show {folder.name}")


def test_show_tells_everything_of_a_run(capsys: pytest.CaptureFixture[str], there: Path) -> None:
    name = next(r.folder.path.name for r in listed(there / "runs") if (r.objective, r.state) == ("rml", "finished"))
    run = Run.load(there / "runs" / name)
    text = output(capsys, f"show {name[:6]}")
    assert text.startswith(f"Run runs/{name}, finished\nIdentity {run.result.identity}\n")
    for word in ("objective=rml", f"seed={run.experiment.seed}", "model.hidden=8", "task.train="):
        assert f"\n  {word}" in text, word
    assert f"test\t{run.result.scores['test']['SER']:.2f}" in text
    for epoch in run.result.history:
        assert f"\n{epoch.epoch}\t{epoch.loss:.4f}\t{epoch.dev['SER']:.2f}\t" in text
    assert "weights.pt\t" in text
    assert f"data: {run.data}" in text
    assert "Python: " in text
    unfinished = next(run.folder.path for run in listed(there / "runs") if run.state == "unfinished")
    text = output(capsys, f"show {unfinished}")
    assert "unfinished: the command that began it resumes it" in text
    assert "Scores" not in text


EXPERIMENTS: dict[str, Experiment] = {
    **{f"{panel} {name}": arm for panel, each in five_objectives.panels().items() for name, arm in each.arms.items()},
    **pronunciation.experiments(),
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_assignments_make_the_experiment_again(name: str) -> None:
    experiment = replace(EXPERIMENTS[name], seed=7)
    tree: Any = encode(experiment)
    again = assignments.experiment(shlex.split(" ".join(shlex.quote(word) for word in words(tree))))
    assert again == replace(experiment, start=None)


def test_lists_and_texts_survive_as_assignments() -> None:
    several = WeightedSum(
        parts=(Weighted(objective=MaximumLikelihood(), weight=0.25), Weighted(objective=RML(), weight=0.75))
    )
    experiment = replace(pronunciation.experiments()["ML"], objective=several)
    tree: Any = encode(experiment)
    assert assignments.experiment(list(words(tree))) == experiment


@pytest.mark.slow
def test_a_report_is_made_of_runs_by_their_prefixes(capsys: pytest.CaptureFixture[str], there: Path) -> None:
    finished = [run for run in listed(there / "runs") if run.state == "finished"]
    before = {path: path.stat().st_mtime_ns for path in (there / "runs").rglob("*")}
    text = output(capsys, "report " + " ".join(f"runs/{run.folder.path.name[:8]}…" for run in finished))
    assert {path: path.stat().st_mtime_ns for path in (there / "runs").rglob("*")} == before, "nothing is trained"
    report = Report.read("reports/runs")
    assert report.seeds == (0, 1)
    assert set(report.arms) == set(OBJECTIVES)
    assert report.baseline == "maximum-likelihood"
    assert {run.identity for runs in report.results.values() for run in runs} == {run.identity for run in finished}
    assert "Report: reports/runs/results.json, reports/runs/report.csv" in text
    assert main(["report", *(str(run.folder.path) for run in finished), "--baseline", "rml", "--to", "other"]) == 0
    assert Report.read("other").baseline == "rml"
    inspected, made_of = report.inspection, report.material
    assert inspected is not None
    assert made_of is not None
    assert inspected.breakdowns
    ((pair, crossed),) = report.crossed.items()
    assert pair == ("rml", "maximum-likelihood")
    assert crossed.difference == pytest.approx(report.tests()[pair].difference.mean)
    assert "licence rules it out or is not known; --examples all puts them" in inspected.notice
    lost = Path(Run.load(finished[0].folder.path).experiment.task.test)  # type: ignore[attr-defined]  # of files
    lost.rename(lost.with_suffix(".lost"))
    text = output(capsys, "report --examples all --to lost " + " ".join(str(run.folder.path) for run in finished))
    lost.with_suffix(".lost").rename(lost)
    assert "are left out: the data could not be read when this report was made" in text
    left = Report.read("lost").material
    assert left is not None
    assert left.examples == {split: made_of.examples[split] for split in ("dev", "test")}
    assert left.parameters == made_of.parameters
    assert main(["report", "lost", "--examples", "none", "--to", "again"]) == 2
    assert "--examples applies to reports made from runs" in capsys.readouterr().err


def test_a_report_of_runs_refuses_what_is_no_comparison(capsys: pytest.CaptureFixture[str], there: Path) -> None:
    runs = listed(there / "runs")
    finished = [str(run.folder.path) for run in runs if run.state == "finished"]
    three = [path for path in finished if path != finished[0]]
    lost = Run.load(finished[0])
    unfinished = next(str(run.folder.path) for run in runs if run.state == "unfinished")
    mistakes = {
        (*finished, finished[0]): "are one arm under one seed; leave one of them out",
        tuple(three): f"has no run of seed {lost.experiment.seed} among these, but other arms have; add it",
        (unfinished,): "this run is not finished; start it again with the command that began it",
        (*finished, "--baseline", "ML"): "the baseline must be one of the arms, but got 'ML'",
        (*finished, "runs/nowhere"): "runs/nowhere: expected the folder of a run, but there is no experiment.json",
    }
    for given, says in mistakes.items():
        assert main(["report", *given]) == 2, says
        (line,) = capsys.readouterr().err.splitlines()
        assert says in line
    assert not (there / "reports").exists()


@pytest.mark.slow
def test_runs_of_other_data_or_budgets_are_told_apart(capsys: pytest.CaptureFixture[str], there: Path) -> None:
    ml = next(r.folder.path for r in listed(there / "runs") if (r.state, r.objective) == ("finished", OBJECTIVES[0]))
    assert main(["train", *FILES, *SMALL, "trainer.epochs=2", f"seed={Run.load(ml).experiment.seed}"]) == 2
    capsys.readouterr()
    base = Run.load(ml).experiment
    longer = train(replace(base, trainer=replace(base.trainer, epochs=2)), root="runs").folder.path
    assert main(["report", str(ml), str(longer)]) == 2
    assert "share their trainer" in capsys.readouterr().err
    Path("few.tsv").write_text("".join(f"{a}{b}\tA B\n" for a in "abc" for b in "abc") * 1, encoding="utf-8")
    other = train(assignments.experiment([f"task.dev={Path('few.tsv').resolve()}"], base), root="runs").folder.path
    assert main(["report", str(ml), str(other)]) == 2
    assert "was trained on other data than" in capsys.readouterr().err


def test_an_ambiguous_prefix_names_the_candidates(capsys: pytest.CaptureFixture[str], there: Path) -> None:
    run = next(run.folder.path for run in listed(there / "runs") if run.state == "finished")
    twin = run.with_name(run.name[:8] + "0" * 8)
    shutil.copytree(run, twin)
    for command in ("show", "report", "evaluate", "predict"):
        assert main([command, f"runs/{run.name[:8]}"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{twin}" in line.replace("runs/", str(there / "runs") + "/")
        assert "give more digits" in line


@pytest.mark.slow(seconds=3)
def test_arms_of_one_objective_are_named_by_what_differs(there: Path) -> None:
    base = Run.load(
        next(r.folder.path for r in listed(there / "runs") if r.objective == "rml" and r.state == "finished")
    )
    words = ("objective.payoff.temperature.edit_rate=0.2",)
    other = train(assignments.experiment(words, base.experiment), root="runs")
    wide = train(assignments.experiment(["model.hidden=10", *words], base.experiment), root="runs")
    assert list(of_runs([base, other]).arms) == ["rml, rescaled=0.8", "rml, edit_rate=0.2"]
    assert list(of_runs([other, wide]).arms) == ["rml, hidden=8", "rml, hidden=10"]
    assert list(of_runs([base]).arms) == ["rml"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--objective rlm", "there is no objective named 'rlm'; did you mean 'rml'?"),
        ("--task tvs", "there is no task named 'tvs'; did you mean 'tsv'?"),
        ("--model crff", "there is no model named 'crff'; did you mean 'crf'?"),
        ("--sort test.SRE", "but got 'test.SRE'; did you mean 'test.SER'?"),
        ("--sort size", "--sort is one of run, task, model, objective, seed, state, age, dev.SER, dev.WER, test.SER,"),
    ],
)
def test_a_filter_that_nothing_is_called_is_a_mistake(
    words: str, says: str, capsys: pytest.CaptureFixture[str], there: Path
) -> None:
    assert main(["runs", *words.split()]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert says in line


def test_disagreements_come_from_the_run_folders(there: Path) -> None:
    runs = [Run.load(run.folder.path) for run in listed(there / "runs") if run.state == "finished"]
    of_runs(runs).write("kept")
    report, root = Report.read("kept"), there / "runs"
    of = {(run.experiment.objective, run.experiment.seed): run for run in runs}
    for seed, split in itertools.product((None, 0, 1), ("dev", "test")):
        one, other = (of[objective, seed or 0] for objective in (MaximumLikelihood(), RML()))
        found = report.disagreements(*OBJECTIVES, split=split, seed=seed, root=root)  # type: ignore[arg-type]
        rows = list(zip(one.predictions(split), other.predictions(split), strict=True))  # type: ignore[arg-type]
        assert {each.number for each in found} == {
            n for n, (a, b) in enumerate(rows, 1) if a.prediction != b.prediction
        }
        assert found
        for each in found:
            mine, theirs = rows[each.number - 1]
            assert (each.source, each.references) == (mine.source, mine.references)
            assert each.outputs == (mine.prediction, theirs.prediction)
            for output, score in zip(each.outputs, each.scores, strict=True):
                edits = Levenshtein.distance(output.split(), each.references[0].split())
                assert score == pytest.approx(100 * edits / len(each.references[0].split()))
            assert each.gain == each.scores[0] - each.scores[1], "fewer errors are a gain"
        assert [each.gain for each in found] == sorted((each.gain for each in found), reverse=True)
        back = report.disagreements(*OBJECTIVES[::-1], split=split, seed=seed, root=root)  # type: ignore[arg-type]
        assert {(each.number, -each.gain) for each in back} == {(each.number, each.gain) for each in found}
    with pytest.raises(ConfigError, match="expected one of the arms, but got 'RML'"):
        report.disagreements("RML", "rml", root=root)
    with pytest.raises(ConfigError, match="expected one of the seeds 0, 1, but got 7"):
        report.disagreements(*OBJECTIVES, seed=7, root=root)
    with pytest.raises(ConfigError, match="split must be one of 'dev', 'test'"):
        report.disagreements(*OBJECTIVES, split="train", root=root)  # type: ignore[arg-type]
    with pytest.raises(RunError, match=r"expected its run folder .*, but there is none; give its root="):
        report.disagreements(*OBJECTIVES, root="elsewhere")


@pytest.mark.parametrize(
    ("flag", "told"), [("--sort nonsense", "--sort is one of run, "), ("--model nope", "no model")]
)
def test_names_that_no_run_can_have_are_refused_where_there_are_no_runs_too(
    flag: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs", "--root", str(tmp_path), "--sort", "test.PER"]) == 0
    capsys.readouterr()
    assert main(["runs", "--root", str(tmp_path), *flag.split()]) == 2
    assert told in capsys.readouterr().err
