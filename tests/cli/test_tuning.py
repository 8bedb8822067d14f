"""``structpred tune``: what it searches, what it leaves behind, and one line for each mistake."""

import itertools
from pathlib import Path

import pytest

from structpred.cli import main
from structpred.cli.comparing import load_arms
from structpred.cli.tuning import searched
from structpred.experiment import Experiment
from structpred.tuning import Range

DATA = ("task=tsv", "task.train=train.tsv", "task.dev=dev.tsv", "task.test=test.tsv")
SMALL = (*DATA, "model.hidden=8", "model.embedding=4", "trainer.epochs=1")
QUICK = ("--trials", "2", "--finalists", "1", "--more-seeds", "1")

SPACE = '''
"""A space of one's own."""
from dataclasses import replace
from structpred.cli.assignments import experiment
BASE = experiment({words!r})
def {name}:
    return {returned}
'''


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["".join(word) for n in range(1, 5) for word in itertools.product("abc", repeat=n)]
    for name, part in {"train": words[30:], "dev": words[:15], "test": words[15:30]}.items():
        lines = [f"{word}\t{' '.join(word.upper())}\n" for word in part]
        Path(f"{name}.tsv").write_text("".join(lines), encoding="utf-8")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("optimiser.lr=0.001..0.01:log", Range(field="optimiser.lr", low=0.001, high=0.01, log=True)),
        ("model.dropout=0..0.5", Range(field="model.dropout", low=0, high=0.5)),
        ("trainer.epochs=3..9", Range(field="trainer.epochs", low=3, high=9)),
        ("objective=one-of:rml,maximum-likelihood", Range(field="objective", choices=("rml", "maximum-likelihood"))),
        ("model.hidden=one-of:64,128", Range(field="model.hidden", choices=(64, 128))),
        ("task.train=../data/train.tsv", None),
        ("optimiser.lr=0.01", None),
        ("structpred.experiments.pronunciation_tuning", None),
    ],
)
def test_ranges_are_told_from_values(word: str, expected: Range | None) -> None:
    assert searched(word) == expected


@pytest.mark.slow
def test_fields_go_by_dotted_name_and_ready_ranges_by_theirs(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tune", "objective=rml", *SMALL, "optimiser.lr=0.001..0.01:log", "--over", "edit-rate", *QUICK]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "2 finished" in said.out
    assert "edit_rate" in said.out
    assert said.out.splitlines()[-1].startswith("Report: reports/tuning/results.json")
    assert said.err == ""
    arms = load_arms("reports/tuning/best_tuning.py")
    assert list(arms) == ["ML", "tuned"]
    best = Experiment.from_json(Path("reports/tuning/best_tuning.json").read_text(encoding="utf-8"))
    assert arms["tuned"].objective == best.objective
    assert Path("runs/tuning.journal").exists()


@pytest.mark.parametrize(
    ("name", "returned", "names"),
    [
        ("space(trial)", "replace(BASE, seed=int(trial.suggest_float('x', 0, 9)))", ["best_tuning.py"]),
        ("spaces()", "{n: lambda trial: (trial.suggest_float('x', 0, 9), BASE)[1] for n in 'ab'}", ["best_a.py"]),
    ],
    ids=["one", "several"],
)
def test_a_file_with_a_space_and_assignments_to_it(name: str, returned: str, names: list[str]) -> None:
    file = f"{'one' if 'trial' in name else 'several'}_space.py"
    Path(file).write_text(
        SPACE.format(name=name, returned=returned, words=[*UNTRAINED, "trainer.epochs=9"]), encoding="utf-8"
    )
    assert main(["tune", file, "trainer.epochs=1", *QUICK]) == 0
    for each in names:
        text = (Path("reports/tuning") / each).read_text(encoding="utf-8")
        assert "Trainer(epochs=1)" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["objective=rml"], "no field is searched; write FIELD=LOW..HIGH, or name ready ranges with --over"),
        (["--over", "edit-rat"], "there is no ready range 'edit-rat'; did you mean 'edit-rate'?"),
        (["optimiser.lr=0.1..0.01"], "optimiser.lr: expected a low end below a high one, but got 0.1 and 0.01"),
        (["optimiser.lr=a..b"], "with two numbers, but got 'optimiser.lr=a..b'"),
        (["optimizer.lr=0.1..0.2"], "Experiment has no field 'optimizer'; did you mean 'optimiser'?"),
        (["optimiser.lr=0.1..0.2", "--trials", "0"], "--trials must be at least 1 and at most 100000, but got 0"),
        (["optimiser.lr=0.1..0.2", "--seeds", "0"], "--seeds must be at least 1 and at most 1000, but got 0"),
        (["seed=1", "--over", "dropout"], "seed cannot be assigned; use --seeds"),
        (["nowhere", "--over", "dropout"], "expected one module with a space, or fields to search"),
        (["nowhere"], "nowhere cannot be imported"),
        (["structpred.experiments.pronunciation"], "must define space(trial), returning an Experiment, or spaces()"),
        (["--over", "dropout", "--storage", "mysql+nodriver://nobody@nowhere/x"], "is no storage; expected a path, or"),
        (
            ["optimiser.lr=0.1..0.2", "--trials", "9" * 9],
            "--trials must be at least 1 and at most 100000, but got 999",
        ),
        (["optimiser.lr=0.1..0.2", "--seeds", "9" * 9], "--seeds must be at least 1 and at most 1000, but got 999"),
        (["optimiser.lr=0.1..0.2", "--points", "9" * 9], "--points must be at least 2 and at most 1000, but got 999"),
        (["optimiser.lr=0.1..0.2", "--workers", "9" * 9], "--workers must be at least 1 and at most 1000, but got 999"),
        (["optimiser.lr=0.1..0.2", "--lease", "1e30"], "lease must be above 0 and at most 1e+06, but got 1e+30"),
        (["optimiser.lr=0.1..0.2", "--more-seeds", "9" * 9], "--more-seeds must be at least 1 and at most 1000"),
        (["optimiser.lr=0.1..1e999"], "asks for optimiser.lr from 0.1 to inf; both ends must be finite"),
        (["optimiser.lr=0.1..0.2", "optimiser.lr=0.1"], "optimiser.lr is both assigned and searched"),
        (["model.hidden=one-of:4,x"], "model.hidden must be a whole number, but got 'x'"),
        (["model.hidden=one-of:4,4"], "model.hidden: expected each choice once, but got [4, 4]"),
        (["--over", "dropout", "--study", "a\nb"], "the name of a study must be one line of text"),
        (["--over", "dropout", "--storage", "train.tsv"], "train.tsv holds something else than a journal of studies"),
        (["--over", "dropout", "--storage", "/dev/full"], "/dev/full must be a journal file, but it is no regular"),
        (["--over", "dropout", "--storage", ""], "--storage needs a value, but it is empty"),
        (
            [
                *("optimiser.lr=0.1..0.2", "model.dropout=0..0.5", "trainer.epochs=1..500", "model.embedding=2..2000"),
                *("--sampler", "grid", "--points", "99"),
            ],
            "a grid may have 100,000 points, but 99 · 99 · 99 · 99 values make 96,059,601; lower points",
        ),
        (["--over", "dropout", "--storage", "grpc://nowhere"], "expected grpc://HOST:PORT, but got grpc://nowhere"),
    ],
)
def test_mistakes_are_said_in_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_an_assignment_to_what_a_space_searches_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    returned = "replace(BASE, optimiser=replace(BASE.optimiser, lr=trial.suggest_float('rate', 0.001, 0.1)))"
    Path("overwritten.py").write_text(
        SPACE.format(words=SMALL, name="space(trial)", returned=returned), encoding="utf-8"
    )
    assert main(["tune", "overwritten.py", "optimiser.lr=0.3", "trainer.epochs=2"]) == 2
    said = "the space searches rate, which optimiser.lr=0.3 and trainer.epochs=2 would overwrite in every trial"
    assert said in capsys.readouterr().err
    assert not Path("runs").exists()


def test_a_space_that_is_not_the_stored_one_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", *SMALL, "optimiser.lr=0.001..0.01", *QUICK[:2], "--finalists", "0"]) == 0
    assert main(["tune", *SMALL, "optimiser.lr=0.001..0.02", *QUICK[:2], "--finalists", "0"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "has parameter optimiser.lr = from 0.001 to 0.01, but this one has from 0.001 to 0.02" in line


UNTRAINED = [word for word in SMALL if not word.startswith("trainer.epochs=")]

FAILING = """
from dataclasses import dataclass, replace
from structpred.cli.assignments import experiment
from structpred.objectives import MaximumLikelihood
from structpred.registry import objectives

@objectives.register("{name}")
@dataclass(frozen=True, kw_only=True)
class Failing(MaximumLikelihood):
    share: float = 0.5

    def losses(self, p, targets, given):
        raise ValueError("on purpose")

BASE = replace(experiment({words!r}), objective=Failing())

def space(trial):
    return replace(BASE, objective=Failing(share=trial.suggest_float("share", 0, 1)))
"""


@pytest.mark.usefixtures("own_registries")
def test_where_no_trial_finished_the_status_says_so_and_nothing_older_stays(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", *SMALL, "optimiser.lr=0.001..0.01", "--trials", "1", "--finalists", "0"]) == 0
    assert Path("reports/tuning/best_tuning.py").exists()
    Path("reports/tuning/best_mine.py").write_text("CAKE = 1\n", encoding="utf-8")
    capsys.readouterr()
    Path("failing_space.py").write_text(FAILING.format(words=[*SMALL], name="failing-on-purpose"), encoding="utf-8")
    assert main(["tune", "failing_space.py", "--trials", "1", "--study", "second"]) == 2
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert line.startswith("structpred: No trial of second has finished: Failing.losses, line ")
    assert "failed with ValueError: on purpose" in line
    assert "No trial of second has finished" in Path("reports/tuning/report.md").read_text(encoding="utf-8")
    assert [path.name for path in Path("reports/tuning").glob("best_*")] == ["best_mine.py"]


def test_a_report_that_would_write_over_a_users_file_is_refused_before_the_search(
    capsys: pytest.CaptureFixture[str],
) -> None:
    mine = Path("reports/tuning/best_tuning.py")
    mine.parent.mkdir(parents=True)
    mine.write_text("CAKE = 1\n", encoding="utf-8")
    assert main(["tune", *SMALL, "optimiser.lr=0.001..0.01", "--trials", "1"]) == 2
    assert "best_tuning.py was not written by structpred tune, or was changed" in capsys.readouterr().err
    assert mine.read_text(encoding="utf-8") == "CAKE = 1\n"
    assert not Path("runs").exists()
